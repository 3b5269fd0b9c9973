"""The page of members as data: how many are in each stage, who moved in a week, and the grid of scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from markupsafe import Markup

from api.web.charts.area import Area, fill, stacked_area
from api.web.charts.flow import flow_row, share_bar
from api.web.charts.markup import Chart
from api.web.language import Language
from api.web.numbers import Numbers
from experiments.stages.document import StagesDocument, Week

BAR_WIDTH = 150.0
FLOW_WIDTH = 170.0
STALE_DAYS = 2
ORDERS_LATE_DAYS = 4


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage."""

    name: str
    key: str
    units: str
    share: str
    bar: Markup
    entered: str
    left: str
    net: str
    flow: Markup | None
    swatch: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table that shows size by depth of colour."""

    text: str
    heat: str = ""
    under: str = ""
    stays: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of such a table."""

    name: str
    cells: tuple[Cell, ...]
    total: str


@dataclass(frozen=True, slots=True)
class WeekTab:
    """One week that can be chosen."""

    week: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class MembersView:
    """Everything that the page shows."""

    rule: str
    rules: tuple[tuple[str, str], ...]
    """Key and name of every rule that is computed here."""
    as_of: str
    units: str
    stale: str
    """What is late, in a sentence; empty where nothing is."""
    notes: tuple[str, ...]
    lines: tuple[StageLine, ...]
    flows: bool
    trend: Chart | None
    weeks: tuple[WeekTab, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    moved: str
    """How many moved, in a sentence."""
    rule_changed: bool
    grid_columns: tuple[str, ...]
    grid: tuple[Row, ...]


def build_members_view(
    document: StagesDocument,
    words: Language,
    numbers: Numbers,
    *,
    rules: Mapping[str, Mapping[str, str]],
    week: str = "",
    today: date,
    under_way: bool = False,
) -> MembersView:
    """Return the page's data.

    Args:
        document: of the rule that is shown; computed at least once.
        words: the page's language.
        numbers: how figures are written.
        rules: every rule that is computed here, with its name.
        week: the Monday whose moves are shown; the latest where there is none such.
        today: in the project's time zone.
        under_way: whether they are being computed.
    """
    names = _names(document, words)
    chosen = next((each for each in document.weeks if each.week == week), document.weeks[0])
    columns, rows, moved = _moves(chosen, names, words, numbers)
    return MembersView(
        rule=document.rule,
        rules=tuple((key, words.text(dict(name)) or key) for key, name in rules.items()),
        as_of=numbers.time(document.as_of),
        units=numbers.count(document.units),
        stale="" if under_way else _stale(document, words, numbers, today),
        notes=tuple(document.notes),
        lines=_lines(document, names, words, numbers),
        flows=any(stage.entered is not None for stage in document.stages),
        trend=_trend(document, names, words, numbers),
        weeks=tuple(WeekTab(w.week, _week_name(w, words, numbers), w is chosen) for w in document.weeks),
        columns=columns,
        rows=rows,
        moved=moved,
        rule_changed=chosen.rule_changed,
        grid_columns=tuple(str(score) for score in range(1, document.groups + 1)),
        grid=_grid(document, words, numbers),
    )


def _names(document: StagesDocument, words: Language) -> dict[str | None, str]:
    _ = words.gettext
    found: dict[str | None, str] = {s.stage: words.text(s.name) or s.stage or "" for s in document.stages}
    return {**found, None: _("In no stage")}


def _week_name(week: Week, words: Language, numbers: Numbers) -> str:
    del words
    return numbers.date(week.week)


def _stale(document: StagesDocument, words: Language, numbers: Numbers, today: date) -> str:
    _ = words.gettext
    if document.as_of is not None and today - date.fromisoformat(document.as_of[:10]) > timedelta(days=STALE_DAYS):
        return _("Computed last on %(day)s: the worker that computes stages once a day does not run.",
                 day=numbers.date(document.as_of))  # fmt: skip
    last = document.last_order
    if last is not None and today - date.fromisoformat(last) > timedelta(days=ORDERS_LATE_DAYS):
        return _("The latest order is of %(day)s. If orders have stopped arriving, members seem to go dormant who do "
                 "not.", day=numbers.date(last))  # fmt: skip
    return ""


def _lines(
    document: StagesDocument, names: Mapping[str | None, str], words: Language, numbers: Numbers
) -> tuple[StageLine, ...]:
    _ = words.gettext
    largest = max((max(s.entered or 0, s.left or 0) for s in document.stages), default=0)
    found = []
    for index, stage in enumerate(document.stages):
        entered, left, flow, net = stage.entered, stage.left, None, ""
        if entered is not None and left is not None:
            came, went = numbers.total(entered, "count"), numbers.total(-left, "count")
            net = numbers.total(entered - left, "count")
            label = _("%(stage)s: %(came)s came, %(went)s left this week", stage=names[stage.stage],
                      came=numbers.count(entered), went=numbers.count(left))  # fmt: skip
            flow = flow_row(entered, left, max(largest, 1), width=FLOW_WIDTH, label=label)
        found.append(
            StageLine(
                name=names[stage.stage],
                key=stage.stage or "",
                units=numbers.count(stage.units),
                share=numbers.share(stage.share, 1),
                bar=share_bar(stage.share or 0.0, width=BAR_WIDTH, fill=fill(index)),
                entered=came if flow is not None else "",
                left=went if flow is not None else "",
                net=net,
                flow=flow,
                swatch=f"c{index % 8}",
            )
        )
    return tuple(found)


def _trend(
    document: StagesDocument, names: Mapping[str | None, str], words: Language, numbers: Numbers
) -> Chart | None:
    _ = words.gettext
    weeks = document.weeks[::-1]
    if len(weeks) < 2:
        return None
    stages = [stage.stage or "" for stage in document.stages if stage.stage is not None]
    totals = [sum(week.counts.get(stage, 0) for stage in stages) or 1 for week in weeks]
    areas = [
        Area(
            name=names[stage],
            shares=[week.counts.get(stage, 0) / total for week, total in zip(weeks, totals, strict=True)],
            label=f"{names[stage]} {numbers.share(weeks[-1].counts.get(stage, 0) / totals[-1], 0)}",
        )
        for stage in stages
    ]
    days = [numbers.date(week.as_of) for week in weeks]
    rows = tuple(
        (day, *(numbers.count(week.counts.get(stage, 0)) for stage in stages))
        for day, week in zip(days, weeks, strict=True)
    )
    label = _("Shares of members in each stage over %(num)s weeks", num=len(weeks))
    return stacked_area(areas, days, label=label, columns=(_("As of"), *(names[s] for s in stages)), rows=rows)


def _moves(
    week: Week, names: Mapping[str | None, str], words: Language, numbers: Numbers
) -> tuple[tuple[str, ...], tuple[Row, ...], str]:
    """Return the headings, the rows, and how many moved."""
    _ = words.gettext
    if week.moves is None:
        return (), (), ""
    counted = {(move.before, move.after): move.units for move in week.moves}
    known = [stage for stage in names if stage is not None]
    known += sorted({s for pair in counted for s in pair if s is not None and s not in names})
    before: list[str | None] = [s for s in (*known, None) if any(pair[0] == s for pair in counted)]
    after: list[str | None] = [s for s in (*known, None) if any(pair[1] == s for pair in counted)]
    rows = []
    for start in before:
        total = sum(counted.get((start, end), 0) for end in after)
        cells = []
        for end in after:
            units = counted.get((start, end), 0)
            share = units / total if total else 0.0
            if start == end:
                cells.append(Cell(numbers.count(units), under=numbers.share(share, 0), stays=True))
            else:
                # Moves are few: full colour is a fifth of those who were there.
                heat = f"h{min(4, 1 + int(share * 20))}" if units else ""
                under = _part(share, numbers) if units and start is not None else ""
                cells.append(Cell(numbers.count(units) if units else "·", heat, under))
        name = _("New here") if start is None else names.get(start, start)
        rows.append(Row(name, tuple(cells), numbers.count(total)))
    moved = sum(units for (start, end), units in counted.items() if start is not None and start != end)
    stood = sum(units for (start, _end), units in counted.items() if start is not None)
    said = _("%(moved)s of %(all)s members changed their stage in the week from %(day)s to %(until)s.",
             moved=numbers.count(moved), all=numbers.count(stood), day=numbers.date(week.week),
             until=numbers.date(week.as_of))  # fmt: skip
    return tuple(_("Left") if s is None else names.get(s, s) for s in after), tuple(rows), said


def _part(share: float, numbers: Numbers) -> str:
    """Write a share with one decimal; a small one is never 0."""
    return f"<{numbers.share(0.001, 1)}" if 0 < share < 0.0005 else numbers.share(share, 1)


def _grid(document: StagesDocument, words: Language, numbers: Numbers) -> tuple[Row, ...]:
    _ = words.gettext
    units = sum(cell.units for cell in document.grid)
    spend = sum(cell.spend for cell in document.grid)
    if not units:
        return ()
    held = {(cell.recency, cell.frequency): cell for cell in document.grid}
    largest = max(cell.units for cell in document.grid)
    rows = []
    for recency in range(document.groups, 0, -1):
        cells, total = [], 0
        for frequency in range(1, document.groups + 1):
            cell = held.get((recency, frequency))
            if cell is None:
                cells.append(Cell("·"))
                continue
            total += cell.units
            part = numbers.share(cell.spend / spend, 0) if spend else ""
            cells.append(
                Cell(
                    numbers.count(cell.units),
                    f"h{max(1, round(4 * cell.units / largest))}",
                    _("%(share)s of spend", share=part) if part else "",
                )
            )
        rows.append(Row(str(recency), tuple(cells), numbers.count(total)))
    return tuple(rows)
