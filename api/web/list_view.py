"""The experiment list as its page shows it: figures, what needs somebody, tabs, and a table on one shared axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts import Chart, IntervalLook, Scale, axis_header, interval, progress_bar, shared_scale
from api.web.language import Language, unbroken
from api.web.numbers import Numbers, step_digits
from api.web.views import ExperimentListRow
from api.web.vocabulary import Badge, reading_badge, state_badge

PLOT_WIDTH = 196.0
STATUSES = ("all", "running", "ready", "draft", "decided")
MOST_REFUSED = 1000
"""Refused rows are counted so far; a page says "1,000 or more" then."""
READY = frozenset({"roll_out", "stop_harm", "stop_no_effect"})
DRAFTS = frozenset({"draft", "review", "testing"})


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure above the list."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that waits for a person."""

    key: str
    head: str
    sentence: str
    icon: str
    tone: str
    action: str


@dataclass(frozen=True, slots=True)
class Tab:
    """A status with its number of experiments."""

    status: str
    label: str
    count: str


@dataclass(frozen=True, slots=True)
class ListLine:
    """One experiment in the table."""

    key: str
    title: str
    kind: str
    audience: str
    badge: Badge
    next_step: str
    next_tone: str
    progress: str
    bar: Chart | None
    units: str
    plot: Chart | None
    effect: str
    effect_tone: str
    effect_of: str
    hidden_why: str
    owner: str
    initials: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class ListView:
    """Everything that the list's template prints."""

    figures: tuple[Figure, ...]
    needs: tuple[Need, ...]
    tabs: tuple[Tab, ...]
    status: str
    search: str
    lines: tuple[ListLine, ...]
    axis: Markup | None
    """None where no row has an effect to show."""
    total: int
    none_at_all: bool
    data_time: str
    refused: str
    """How many rows could not be taken lately; empty when all were."""


def status_of(row: ExperimentListRow) -> str:
    """Return the tab that a row belongs to: running, ready, draft or decided."""
    if row.state in DRAFTS:
        return "draft"
    if row.state == "decided":
        return "decided"
    if row.attention not in {"srm", "quality"} and row.decision in READY:
        return "ready"
    return "ready" if row.state == "ended" else "running"


def build_list_view(
    rows: Sequence[ExperimentListRow],
    language: Language,
    numbers: Numbers,
    *,
    status: str = "all",
    search: str = "",
    refused: int = 0,
) -> ListView:
    """Turn rows into text and charts.

    Args:
        rows: all experiments.
        language: of the page.
        numbers: formats in that language.
        status: the tab; an unknown one shows all.
        search: words that must occur in key, title, audience or owner.
        refused: rows of the last seven days that could not be taken.
    """
    status = status if status in STATUSES else "all"
    ordered = sorted(rows, key=_urgency)
    found = [row for row in ordered if _matches(row, search)]
    shown = chosen(ordered, status, search)
    effects = [row.best for row in shown if row.best is not None]
    scale = shared_scale([(b.ci_low, b.estimate, b.ci_high) for b in effects], width=PLOT_WIDTH, about=6)
    times = [row.data_time for row in rows if row.data_time]
    return ListView(
        figures=_figures(rows, language, numbers),
        needs=tuple(need for row in ordered if (need := _need(row, language)) is not None),
        tabs=_tabs(found, language, numbers),
        status=status,
        search=search,
        lines=tuple(_line(row, scale, language, numbers) for row in shown),
        axis=axis_header(
            scale, lambda v: numbers.change(v, digits=step_digits(100 * (scale.ticks[1] - scale.ticks[0])))
        )
        if effects
        else None,
        total=len(rows),
        none_at_all=not rows,
        data_time=numbers.time(max(times)) if times else "",
        refused=_refused(refused, language, numbers),
    )


def chosen(rows: Sequence[ExperimentListRow], status: str, search: str) -> list[ExperimentListRow]:
    """Return the rows of a tab that match a search, what needs somebody first; an unknown tab is all of them."""
    status = status if status in STATUSES else "all"
    ordered = sorted(rows, key=_urgency)
    return [row for row in ordered if _matches(row, search) and status in {"all", status_of(row)}]


def _urgency(row: ExperimentListRow) -> tuple[int, str]:
    if row.attention is not None:
        return ({"srm": 0, "quality": 1, "harm": 2, "ready": 3, "late": 4}[row.attention], row.key)
    return ({"ready": 5, "running": 6, "draft": 7, "decided": 8}[status_of(row)], row.key)


def _matches(row: ExperimentListRow, search: str) -> bool:
    text = " ".join([row.key, row.owner or "", *row.title.values(), *row.audience.values()]).casefold()
    return all(word in text for word in search.casefold().split())


def _figures(rows: Sequence[ExperimentListRow], language: Language, numbers: Numbers) -> tuple[Figure, ...]:
    _ = language.gettext
    running = [r for r in rows if r.state == "running"]
    drafts = sum(status_of(r) == "draft" for r in rows)
    ready = [r for r in rows if status_of(r) == "ready"]
    attention = [r for r in rows if r.attention in {"srm", "quality", "harm", "late"}]
    units = sum(r.units for r in running)
    return (
        Figure(
            _("Running now"),
            numbers.count(len(running)),
            language.ngettext("%(num)s draft", "%(num)s drafts", drafts) if drafts else _("no drafts"),
        ),
        Figure(
            _("Waiting for a decision"),
            numbers.count(len(ready)),
            _("read the reports below") if ready else _("nothing waits"),
        ),
        Figure(
            _("Need attention"),
            numbers.count(len(attention)),
            _("do not read their effects yet") if any(r.attention in {"srm", "quality"} for r in attention) else "",
        ),
        Figure(
            _("Members in running experiments"),
            numbers.count(units),
            language.ngettext("in %(num)s experiment", "in %(num)s experiments", len(running)),
        ),
    )


def _refused(count: int, language: Language, numbers: Numbers) -> str:
    _ = language.gettext
    if count >= MOST_REFUSED:
        return _("%(count)s rows or more of the last seven days could not be taken.", count=numbers.count(MOST_REFUSED))
    sentence = language.ngettext(
        "%(num)s row of the last seven days could not be taken.",
        "%(num)s rows of the last seven days could not be taken.",
        count,
    )
    return sentence if count else ""


def _need(row: ExperimentListRow, language: Language) -> Need | None:
    if row.attention is None:
        return None
    _ = language.gettext
    head, icon, tone, action = {
        "srm": (_("Traffic split is off."), "warn", "warn", _("Investigate")),
        "quality": (_("Do not read yet."), "warn", "warn", _("Investigate")),
        "harm": (_("Harm found."), "no", "bad", _("Review")),
        "ready": (_("Ready to decide."), "ok", "good", _("Read report")),
        "late": (_("Outcome data is late."), "clock", "mut", _("Review")),
    }[row.attention]
    if row.attention == "ready" and row.decision not in READY:
        head, icon, tone = _("Waits for your decision."), "clock", "mut"
    return Need(row.key, head, unbroken(language.text(row.next_step)), icon, tone, action)


def _tabs(rows: Sequence[ExperimentListRow], language: Language, numbers: Numbers) -> tuple[Tab, ...]:
    _ = language.gettext
    labels = {
        "all": _("All"),
        "running": _("Running"),
        "ready": _("Ready to decide"),
        "draft": _("Draft"),
        "decided": _("Decided"),
    }
    counts = {s: len(rows) if s == "all" else sum(status_of(r) == s for r in rows) for s in STATUSES}
    return tuple(Tab(s, labels[s], numbers.count(counts[s])) for s in STATUSES)


def _status_badge(row: ExperimentListRow, language: Language) -> Badge:
    _ = language.gettext
    if row.attention in {"srm", "quality", "harm", "late"}:
        return Badge(_("Needs attention"), "warn", "warn")
    if status_of(row) == "ready" and row.decision in READY:
        return Badge(_("Ready to decide"), "ok", "acc")
    if row.state == "decided" and row.decision == "roll_out":
        return Badge(_("Decided"), "ok", "good")
    return state_badge(row.state, language)


def _next_step(row: ExperimentListRow, language: Language) -> tuple[str, str]:
    """Return what comes next, short, and its tone."""
    _ = language.gettext
    if row.attention == "srm":
        return _("Traffic split is off"), "warn"
    if row.attention == "quality":
        return _("Do not read yet"), "warn"
    if row.attention == "harm":
        return _("Stop: harm found"), "warn"
    if row.state in DRAFTS:
        return language.text(row.next_step) or _("Not started"), "mut"
    if row.decision == "roll_out":
        name = language.text(row.best.variant_name) or row.best.variant if row.best else ""
        return (_("Roll out %(variant)s", variant=name) if name else _("Roll out")), ""
    if row.decision == "stop_no_effect":
        return _("Stop: no effect that matters"), ""
    if row.decision == "keep_running" and row.stands != "open":
        return (_("Wait for outcomes") if row.stands == "waiting" else _("No answer")), ""
    if row.decision == "keep_running" and row.state in {"ended", "decided"}:
        # The report is older than the end.
        return _("Decide: effects are unclear"), ""
    if row.decision == "do_not_read":
        return _("Too early to read"), "mut"
    if row.state == "paused":
        return _("No new members"), "mut"
    return (_("Keep running") if row.decision else _("No report yet")), "mut"


def _progress(row: ExperimentListRow, language: Language, numbers: Numbers) -> tuple[str, Chart | None]:
    _ = language.gettext
    share: float | None = None
    if row.day is not None and row.planned_days:
        done = min(row.day, row.planned_days)
        share = row.day / row.planned_days
        if row.day >= row.planned_days:
            text = _("%(day)s of %(days)s days", day=done, days=row.planned_days)
        else:
            text = _("Day %(day)s of %(days)s", day=done, days=row.planned_days)
    elif row.planned_units and row.state not in DRAFTS:
        share = row.units / row.planned_units
        text = _("%(share)s of sample", share=numbers.share(min(share, 1.0), 0))
    elif row.day is not None:
        text = _("Day %(day)s", day=row.day)
    elif row.planned_days:
        text = language.ngettext("%(num)s day planned", "%(num)s days planned", row.planned_days)
    else:
        text = ""
    if share is None:
        return text, None
    label = _("%(share)s of the plan", share=numbers.share(min(share, 1.0), 0))
    return text, progress_bar(share, label=label, columns=(_("Progress"),), row=(text,))


def _line(row: ExperimentListRow, scale: Scale, language: Language, numbers: Numbers) -> ListLine:
    _ = language.gettext
    progress, bar = _progress(row, language, numbers)
    next_step, tone = _next_step(row, language)
    plot, effect, effect_tone, effect_of = None, "", "", ""
    if row.best is not None:
        best = row.best
        effect = numbers.change(best.estimate)
        phrase = numbers.interval(
            None if best.ci_low is None else numbers.change(best.ci_low),
            None if best.ci_high is None else numbers.change(best.ci_high),
        )
        badge = reading_badge(best.reading, language)
        effect_of = _(
            "%(metric)s, %(variant)s",
            metric=language.text(best.metric),
            variant=language.text(best.variant_name) or best.variant,
        )
        conclusion = _(
            "%(what)s: %(change)s, interval %(interval)s, %(reading)s",
            what=effect_of,
            change=effect,
            interval=phrase,
            reading=badge.word,
        )
        look = IntervalLook(best.ci_low, best.estimate, best.ci_high, reading=best.reading, label=conclusion)
        columns = (_("Experiment"), _("Change"), _("Interval"))
        plot = interval(look, scale, columns=columns, row=(row.key, effect, phrase))
        effect_tone = {"better": "good", "worse": "bad"}.get(best.reading, "")
    hidden = language.text(row.hidden_why)
    if plot is None and not hidden:
        hidden = _("Not started") if row.state in DRAFTS else _("No effect yet")
    kind = _("A/B") if row.variants == 2 else (_("A/B/n") if row.variants > 2 else "")
    if kind:
        kind = language.ngettext("%(kind)s, %(num)s variant", "%(kind)s, %(num)s variants", row.variants, kind=kind)
    return ListLine(
        key=row.key,
        title=language.text(row.title) or row.key,
        kind=kind,
        audience=language.text(row.audience),
        badge=_status_badge(row, language),
        next_step=next_step,
        next_tone=tone,
        progress=progress,
        bar=bar,
        units=numbers.count(row.units) if row.units else "",
        plot=plot,
        effect=effect,
        effect_tone=effect_tone,
        effect_of=effect_of,
        hidden_why=hidden,
        owner=row.owner or "",
        initials=_initials(row.owner or ""),
        simulated=row.simulated,
    )


def _initials(owner: str) -> str:
    words = owner.split()
    if len(words) > 1:
        return (words[0][:1] + words[1][:1]).upper()
    return owner[:2].upper() if owner.isascii() else owner[:1]
