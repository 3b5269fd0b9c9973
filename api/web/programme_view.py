"""What the whole programme earned, as its page shows it: a sentence in money, whether it may be read, and by month."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts.forest import Forest, ForestRow, forest
from api.web.charts.interval import IntervalLook
from api.web.charts.markup import Chart
from api.web.charts.money import MoneyLook, money_bars, money_reach
from api.web.language import Language, unbroken
from api.web.numbers import Numbers
from api.web.programme_checks import Check, comparable
from api.web.vocabulary import Badge
from experiments.programme.document import Figure, HoldoutResult, Month, Programme
from experiments.report.document import Reading, Unit
from experiments.report.whys import why_text


@dataclass(frozen=True, slots=True)
class Line:
    """One figure."""

    name: str
    value: str
    interval: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class MonthLine:
    """Members who came in one month."""

    name: str
    held_out: str
    reached: str
    per_member: str
    interval: str
    chart: Markup


@dataclass(frozen=True, slots=True)
class HoldoutView:
    """One holdout."""

    key: str
    name: str
    tone: str
    badge: Badge
    sentence: str
    since: str
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    lines: tuple[Line, ...]
    bars: Chart | None
    months: tuple[MonthLine, ...]
    by_month: Forest | None
    experiments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProgrammeView:
    """Everything that the page shows of a return."""

    computed: str
    counted: str
    """By which metric, for how long, at which fixed cost."""
    level: str
    holdouts: tuple[HoldoutView, ...]
    notes: tuple[str, ...]


def build_programme_view(document: Programme, words: Language, numbers: Numbers) -> ProgrammeView:
    """Turn a return into text and charts.

    Args:
        document: as the job left it.
        words: of the page.
        numbers: formats in that language and the document's currency.
    """
    writing = _Writing(document, words, numbers)
    return ProgrammeView(
        computed=numbers.time(document.computed_at),
        counted=writing.counted(),
        level=writing.level,
        holdouts=tuple(writing.holdout(found) for found in document.holdouts),
        notes=tuple(words.text(note) for note in document.notes),
    )


@dataclass(frozen=True, slots=True)
class _Writing:
    document: Programme
    language: Language
    numbers: Numbers

    @property
    def level(self) -> str:
        return self.numbers.share(1 - self.document.alpha, 0)

    def counted(self) -> str:
        """Return how the return was counted."""
        _ = self.language.gettext
        document = self.document
        fixed = max((found.fixed_cost for found in document.holdouts), default=0.0)
        how = (
            _("Orders until now, counted by %(metric)s.", metric=document.metric)
            if document.days is None
            else _(
                "Orders of each member's first %(days)s days, counted by %(metric)s.",
                days=self.numbers.count(document.days),
                metric=document.metric,
            )
        )
        if fixed:
            how += " " + _("Fixed cost of the programme: %(cost)s.", cost=self.numbers.money(fixed, 0))
        return how

    def holdout(self, found: HoldoutResult) -> HoldoutView:
        """Return one holdout."""
        months = found.months if found.readable else []
        by_month = self.forest(months) if len(months) > 1 else None
        tone, badge = self.badge(found)
        return HoldoutView(
            key=found.holdout,
            name=self.language.text(found.name) or found.holdout,
            tone=tone,
            badge=badge,
            sentence=unbroken(self.sentence(found)),
            since=self.numbers.date(found.since) if found.since else "",
            reasons=tuple(unbroken(reason) for reason in self.reasons(found)),
            checks=comparable(found, self.language, self.numbers) if found.since else (),
            lines=self.lines(found) if found.readable else (),
            bars=self.bars(found) if found.readable else None,
            months=() if by_month is None else self.month_lines(by_month),
            by_month=by_month,
            experiments=tuple(found.experiments),
        )

    def badge(self, found: HoldoutResult) -> tuple[str, Badge]:
        """Return the tone of the card and what it says in a word."""
        _ = self.language.gettext
        if not found.readable:
            broken = found.split_p is not None
            return (
                ("bad", Badge(_("Do not read"), "stop", "bad"))
                if broken
                else ("", Badge(_("Nothing yet"), "clock", ""))
            )
        reading = _reading(found.profit)
        return {
            "better": ("good", Badge(_("Earns"), "up", "good")),
            "worse": ("bad", Badge(_("Loses"), "down", "bad")),
        }.get(reading, ("warn", Badge(_("Unclear"), "dash", "")))

    def sentence(self, found: HoldoutResult) -> str:
        """Return what the programme earned, in money."""
        _ = self.language.gettext
        profit = found.profit
        if not found.readable:
            return self.language.text(found.why_not)
        if profit.estimate is None or profit.ci_low is None or profit.ci_high is None:
            return _("No profit can be told: %(why)s.", why=why_text(profit.why or "", self.language.tag))
        between = self.numbers.interval(self.total(profit.ci_low), self.total(profit.ci_high))
        reading = _reading(profit)
        if reading == "better":
            return _(
                "The programme earned %(total)s more than doing nothing would have (%(between)s).",
                total=self.amount(profit.estimate),
                between=between,
            )
        if reading == "worse":
            return _(
                "The programme lost %(total)s against doing nothing (%(between)s).",
                total=self.amount(-profit.estimate),
                between=between,
            )
        return _(
            "Unclear yet: between %(low)s and %(high)s against doing nothing.",
            low=self.total(profit.ci_low),
            high=self.total(profit.ci_high),
        )

    def reasons(self, found: HoldoutResult) -> list[str]:
        """Return what stands below the sentence: a member's profit, and whether the holdout is large enough."""
        _ = self.language.gettext
        numbers = self.numbers
        if not found.readable:
            return []
        said = []
        each = found.profit_per_member
        if each.estimate is not None:
            said.append(
                _(
                    "%(profit)s a member reached (%(between)s).",
                    profit=self.money(each.estimate),
                    between=self.between(each),
                )
            )
        if found.detectable is not None:
            said.append(
                _(
                    "These members find a difference of %(least)s a member with 80%% power.",
                    least=numbers.money(found.detectable),
                )
            )
        if found.needed is not None and found.needed_for:
            said.append(self.advice(found, found.needed, numbers.money(abs(found.needed_for))))
        return said

    def advice(self, found: HoldoutResult, needed: int, difference: str) -> str:
        """Return how many members to hold out."""
        _ = self.language.gettext
        numbers = self.numbers
        if needed <= found.held_out:
            return _(
                "%(held)s held out are enough to find %(difference)s a member: %(needed)s are needed.",
                held=numbers.count(found.held_out),
                difference=difference,
                needed=numbers.count(needed),
            )
        if needed >= found.held_out + found.reached:
            return _(
                "To find %(difference)s a member, %(needed)s members would have to be held out, more than there are: "
                "let more members come, or take it that a difference this small stays unknown.",
                difference=difference,
                needed=numbers.count(needed),
            )
        return _(
            "To find %(difference)s a member, hold out %(needed)s members (%(held)s are now).",
            difference=difference,
            needed=numbers.count(needed),
            held=numbers.count(found.held_out),
        )

    def lines(self, found: HoldoutResult) -> tuple[Line, ...]:
        """Return the table of figures."""
        _ = self.language.gettext
        numbers = self.numbers
        tone = {"better": "good", "worse": "bad"}.get(_reading(found.profit), "")
        parts = [
            _("redemptions %(cost)s", cost=self.amount(found.redemption_cost)),
            _("contacts %(cost)s", cost=self.amount(found.contact_cost)),
        ]
        if found.fixed_cost:
            parts.append(_("fixed %(cost)s", cost=self.amount(found.fixed_cost)))
        roi = found.roi
        ends = [None if end is None else numbers.change(end, digits=0) for end in (roi.ci_low, roi.ci_high)]
        return (
            Line(
                _("Profit a member"),
                self.money(found.profit_per_member.estimate),
                self.between(found.profit_per_member),
                tone,
            ),
            Line(_("Profit"), self.total(found.profit.estimate), self.totals(found.profit), tone),
            Line(_("Extra margin"), self.total(found.extra_margin.estimate), self.totals(found.extra_margin)),
            Line(
                _("Extra buyers"),
                numbers.total(found.extra_buyers.estimate, "count"),
                self.totals(found.extra_buyers, money=False),
            ),
            Line(_("Cost"), self.amount(found.cost), ", ".join(parts)),
            Line(_("ROI"), numbers.change(roi.estimate, digits=0), self.why(roi) or numbers.interval(*ends)),
        )

    def bars(self, found: HoldoutResult) -> Chart:
        """Return margin, cost and profit as bars."""
        _ = self.language.gettext
        profit = found.profit
        written = (self.total(found.extra_margin.estimate), self.amount(found.cost), self.total(profit.estimate))
        label = _(
            "Extra margin %(margin)s, cost %(cost)s, profit %(profit)s",
            margin=written[0],
            cost=written[1],
            profit=written[2],
        )
        tone = {"better": "good", "worse": "bad"}.get(_reading(profit), "flat")
        look = MoneyLook(
            found.extra_margin.estimate, found.cost, profit.estimate, profit.ci_low, profit.ci_high, tone, label
        )
        columns = (_("Holdout"), _("Extra margin"), _("Cost"), _("Profit"), _("Interval"))
        row = (self.language.text(found.name) or found.holdout, *written, self.totals(profit))
        return money_bars(look, money_reach([look]), columns=columns, row=row)

    def forest(self, months: list[Month]) -> Forest:
        """Return the profit a member by the month in which members came, on one axis."""
        _ = self.language.gettext
        numbers = self.numbers
        columns = (
            _("Month of entry"),
            _("Held out"),
            _("Reached"),
            _("Profit a member"),
            _("%(level)s interval", level=self.level),
        )
        rows = []
        for month in months:
            each = month.profit_per_member
            label = _(
                "%(month)s: %(profit)s a member, %(between)s",
                month=month.month,
                profit=self.money(each.estimate),
                between=self.between(each),
            )
            look = IntervalLook(each.ci_low, each.estimate, each.ci_high, _reading(each), label)
            cells = (
                month.month,
                numbers.count(month.held_out),
                numbers.count(month.reached),
                self.money(each.estimate),
                self.between(each),
            )
            rows.append(ForestRow(look, cells))
        return forest(
            rows,
            caption=_("Profit a member by month of entry"),
            columns=columns,
            write=lambda value, step: numbers.tick(value, "money", step),
        )

    def month_lines(self, drawn: Forest) -> tuple[MonthLine, ...]:
        """Return the rows of the table around the picture."""
        return tuple(
            MonthLine(name, held_out, reached, per_member, interval, chart.svg)
            for (name, held_out, reached, per_member, interval), chart in zip(
                drawn.table.rows, drawn.charts, strict=True
            )
        )

    def money(self, value: float | None) -> str:
        """Return an effect a member."""
        return self.numbers.effect(value, "money")

    def amount(self, value: float | None) -> str:
        """Return a total without a plus."""
        return self.numbers.total(value, "money").removeprefix("+")

    def total(self, value: float | None) -> str:
        """Return an effect in total."""
        return self.numbers.total(value, "money")

    def between(self, found: Figure) -> str:
        """Return the interval of a figure a member, or why there is none."""
        ends = [None if end is None else self.money(end) for end in (found.ci_low, found.ci_high)]
        return self.why(found) or self.numbers.interval(*ends)

    def totals(self, found: Figure, *, money: bool = True) -> str:
        """Return the interval of a figure in total, or why there is none."""
        unit: Unit = "money" if money else "count"
        ends = [None if end is None else self.numbers.total(end, unit) for end in (found.ci_low, found.ci_high)]
        return self.why(found) or self.numbers.interval(*ends)

    def why(self, found: Figure) -> str:
        """Return why there is no figure."""
        if found.why and found.why.startswith("too few units"):
            return self.language.gettext("too few members")
        return why_text(found.why, self.language.tag)


def _reading(found: Figure) -> Reading:
    if found.ci_low is not None and found.ci_low > 0:
        return "better"
    return "worse" if found.ci_high is not None and found.ci_high < 0 else "unclear"
