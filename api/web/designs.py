"""Sections that the declared analysis adds: waves, the effect on those reached, factors, other experiments, waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.web.charts import Chart, ForestRow, IntervalLook, forest
from api.web.charts.steps import StepLine, step_chart
from api.web.language import Language
from api.web.numbers import MISSING, Numbers
from api.web.scorecard import bounds, control_mean, variant_names
from api.web.standings import PlainTable, best_variant, other_experiments
from api.web.vocabulary import units_word
from experiments.report.document import Estimate, MetricResult, Reading, Report
from experiments.report.figures import plain
from experiments.report.whys import NOT_FOR_THIS_KIND, why_text
from stats.decision import read_effect


@dataclass(frozen=True, slots=True)
class DesignLine:
    """One row of a section's table."""

    cells: tuple[str, ...]
    chart: Chart | None = None
    why: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class DesignTable:
    """One table: the first ``leading`` cells stand before the interval's picture, the others behind it."""

    label: str
    heads: tuple[str, ...]
    leading: int
    axis: Markup | None
    lines: tuple[DesignLine, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class DesignCurves:
    """One metric's curves."""

    label: str
    chart: Chart


@dataclass(frozen=True, slots=True)
class DesignSection:
    """One section of the page."""

    key: str
    title: str
    note: str
    tables: tuple[DesignTable, ...] = ()
    curves: tuple[DesignCurves, ...] = ()


def build_designs(report: Report, language: Language, numbers: Numbers) -> tuple[DesignSection, ...]:
    """Return the sections that a report has, in the order of the page."""
    view = _View(report, language, numbers)
    found = (
        view.looks(),
        view.survival(),
        view.waves(),
        view.reached(),
        view.factorial(),
        view.plain("best", best_variant(report, language)),
        view.plain("others", other_experiments(report, language, numbers)),
    )
    return tuple(section for section in found if section is not None)


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a table with an axis."""

    before: tuple[str, ...]
    effect: Estimate
    behind: tuple[str, ...] = ()
    why: str | None = None
    strong: bool = False
    p_value: float | None = None
    """Adjusted, where there is one: it decides whether the effect is clear."""


class _View:
    """A report with everything that its cells are written with."""

    def __init__(self, report: Report, language: Language, numbers: Numbers) -> None:
        self.report, self.language, self.numbers = report, language, numbers
        self.metrics = {m.name: m for m in report.metrics}
        self.names = variant_names(report, language)
        self.bayesian = report.plan.inference == "bayesian"
        self.level = numbers.share(1 - report.plan.alpha, 0)

    def label(self, metric: str) -> str:
        found = self.metrics.get(metric)
        return (self.language.text(found.label) if found else "") or metric

    def table(
        self,
        label: str,
        heads: tuple[str, ...],
        leading: int,
        metric: MetricResult,
        rows: Sequence[_Row],
        note: str = "",
    ) -> DesignTable:
        """Put rows on one axis."""
        values = [v for r in rows for v in (r.effect.ci_low, r.effect.estimate, r.effect.ci_high) if v is not None]
        size = control_mean(metric) or max((abs(v) for v in values), default=None)
        drawn = []
        for row in rows:
            effect = row.effect
            low, high, _adjusted = bounds(effect)
            change = self.numbers.effect(effect.estimate, metric.unit, scale=size)
            phrase = self.numbers.range_in(low, high, "absolute", metric.unit, scale=size)
            reading: Reading = read_effect(effect.estimate, row.p_value, metric.direction, self.report.plan.alpha)
            if row.p_value is None:
                reading = _reading(low, high, metric)
            said = f"{row.before[0]}: {change}, {phrase}"
            look = IntervalLook(low, effect.estimate, high, reading=reading, label=said)
            drawn.append(ForestRow(look, (*row.before, change, phrase, *row.behind)))
        found = forest(
            drawn,
            caption=label,
            columns=heads,
            write=lambda v, step: self.numbers.tick(v, metric.unit, step),
        )
        lines = tuple(
            DesignLine(shown.cells, chart, why_text(row.why, self.language.tag), row.strong)
            for shown, chart, row in zip(drawn, found.charts, rows, strict=True)
        )
        return DesignTable(label, heads, leading, found.axis, lines, note)

    def looks(self) -> DesignSection | None:
        """Return the looks of a group-sequential test, where no curve over time shows them."""
        _ = self.language.gettext
        if not self.report.sequential or self.report.curves:
            return None
        heads = (
            _("Look"),
            units_word(self.report.plan, self.language),
            _("Share of the plan"),
            _("Alpha spent"),
            _("Bound on |z|"),
        )
        lines = tuple(
            DesignLine(
                (
                    self.numbers.count(look.day),
                    self.numbers.count(look.units),
                    self.numbers.share(look.information),
                    f"{look.alpha_spent:.4f}",
                    MISSING if look.bound is None else f"{look.bound:.2f}",
                )
            )
            for look in self.report.sequential[0].looks
        )
        said = "; ".join(
            f"{self.label(test.metric)}, {self.names[test.variant]}: {_written(test.looks[-1].z)}"
            for test in self.report.sequential
            if test.looks[-1].z is not None
        )
        found = _("z at the last look: %(figures)s", figures=said) if said else ""
        table = DesignTable(_("Looks"), heads, len(heads), None, lines, found)
        note = _("A look at which |z| reaches its bound stops the test; the file holds the data of the last look")
        return DesignSection("looks", _("Looks"), note, (table,))

    def waves(self) -> DesignSection | None:
        """Return the waves of each metric and variant, the pooled effect below them."""
        _ = self.language.gettext
        if not self.report.pooled:
            return None
        interval = _("%(level)s interval", level=self.level)
        heads = (_("Wave"), units_word(self.report.plan, self.language), _("Weight"), _("Change"), interval)
        tables = []
        for pooled in self.report.pooled:
            metric = self.metrics[pooled.metric]
            rows = [
                _Row(
                    (
                        wave.occasion or _("Without an occasion"),
                        self.numbers.count(wave.n),
                        self.numbers.share(wave.weight),
                    ),
                    wave.effect,
                    why=wave.effect.why,
                )
                for wave in pooled.waves
            ]
            everyone = self.numbers.count(sum(w.n for w in pooled.waves))
            rows.append(_Row((_("All waves"), everyone, MISSING), pooled.effect, why=pooled.why, strong=True))
            size = control_mean(metric)
            said = []
            if pooled.prediction_low is not None and pooled.prediction_high is not None:
                phrase = self.numbers.range_in(
                    pooled.prediction_low, pooled.prediction_high, "absolute", metric.unit, scale=size
                )
                said.append(_("A next wave is expected between %(range)s.", range=phrase))
            if pooled.heterogeneity_p is not None:
                p_value = self.numbers.p_value(pooled.heterogeneity_p)
                said.append(self.waves_differ(pooled.heterogeneity_p <= self.report.plan.alpha, p_value))
            label = _("%(metric)s, %(variant)s", metric=self.label(pooled.metric), variant=self.names[pooled.variant])
            tables.append(self.table(label, heads, 3, metric, rows, " ".join(said)))
        note = _("Each occasion is a test of its own; random effects let their true effects differ")
        return DesignSection("waves", _("Waves"), note, tuple(tables))

    def waves_differ(self, differ: bool, p_value: str) -> str:
        """Say whether true effects differ between waves; a Bayesian report has no p."""
        _ = self.language.gettext
        if self.bayesian:
            alike = _("There is no sign that the waves differ by more than chance.")
            return _("The waves differ by more than chance.") if differ else alike
        if differ:
            return _("The waves differ by more than chance (p %(p)s).", p=p_value)
        return _("There is no sign that the waves differ by more than chance (p %(p)s).", p=p_value)

    def reached(self) -> DesignSection | None:
        """Return the effects per unit reached."""
        _ = self.language.gettext
        if not self.report.reached:
            return None
        interval = _("%(level)s interval", level=self.level)
        heads = (_("Variant"), _("Reached"), _("Reached in control"), _("Change"), interval)
        tables, undefined = [], []
        for name in dict.fromkeys(r.metric for r in self.report.reached):
            if all(r.why == NOT_FOR_THIS_KIND for r in self.report.reached if r.metric == name):
                undefined.append(self.label(name))
                continue
            rows = [
                _Row(
                    (self.names[r.variant], self.numbers.share(r.reached), self.numbers.share(r.reached_control)),
                    r.effect,
                    why=r.why,
                )
                for r in self.report.reached
                if r.metric == name
            ]
            tables.append(self.table(self.label(name), heads, 3, self.metrics[name], rows))
        note = _("Effect on a member whom the offer reached, if it does nothing to those it did not reach")
        if undefined:
            note = _(
                "Effect on a member whom the offer reached, if it does nothing to those it did not reach; "
                "not defined for %(metrics)s",
                metrics=_(", ").join(undefined),
            )
        return DesignSection("reached", _("Effect on those reached"), note, tuple(tables))

    def factorial(self) -> DesignSection | None:
        """Return main effects and interactions."""
        _ = self.language.gettext
        if not self.report.factorial:
            return None
        interval = _("%(level)s interval", level=self.level)
        judged = () if self.bayesian else (_("p (adjusted)"),)
        heads = (_("Term"), _("Change"), interval, *judged, _("Cannot be told from"))
        tables = []
        for found in self.report.factorial:
            rows = [
                _Row(
                    (" × ".join(term.factors),),
                    term.effect,
                    (
                        *(self.numbers.p_value(term.p_value_adjusted) for _head in judged),
                        _(", ").join(" × ".join(a) or _("the mean") for a in term.aliases) or MISSING,
                    ),
                    why=term.why,
                    strong=len(term.factors) == 1,
                    p_value=term.p_value_adjusted,
                )
                for term in found.terms
            ]
            tables.append(self.table(self.label(found.metric), heads, 1, self.metrics[found.metric], rows))
        note = _(
            "Each factor on all members, at a fixed horizon; a product is what factors do together beyond their sum"
        )
        return DesignSection("factors", _("Factors"), note, tuple(tables))

    def plain(self, key: str, found: PlainTable | None) -> DesignSection | None:
        """Return a section that is a table of words."""
        if found is None:
            return None
        table = DesignTable(found.title, found.heads, len(found.heads), None, tuple(map(DesignLine, found.rows)))
        return DesignSection(key, found.title, found.note, (table,))

    def survival(self) -> DesignSection | None:
        """Return the curves of waiting times."""
        _ = self.language.gettext
        if not self.report.survival:
            return None
        curves = []
        for name in dict.fromkeys(c.metric for c in self.report.survival):
            found = [c for c in self.report.survival if c.metric == name]
            lines = [
                StepLine(
                    self.names.get(c.variant, c.variant),
                    [(p.day, p.survival, p.ci_low, p.ci_high) for p in c.points],
                )
                for c in found
            ]
            last = _(", ").join(
                f"{line.name} {self.numbers.share(line.points[-1][1])}" for line in lines if line.points
            )
            label = _("%(metric)s: still waiting at the end: %(shares)s", metric=self.label(name), shares=last)
            rows = tuple(
                (
                    self.names.get(c.variant, c.variant),
                    f"{p.day:.2f}",
                    self.numbers.count(p.at_risk),
                    self.numbers.share(p.survival),
                    self.numbers.interval(
                        None if p.ci_low is None else self.numbers.share(p.ci_low),
                        None if p.ci_high is None else self.numbers.share(p.ci_high),
                    ),
                )
                for c in found
                for p in c.points
            )
            interval = _("%(level)s interval", level=self.level)
            chart = step_chart(
                lines,
                end=found[0].horizon_days,
                write=lambda v: self.numbers.share(v, 0),
                label=label,
                columns=(_("Variant"), _("Day"), _("At risk"), _("Still waiting"), interval),
                rows=rows,
                axis_label=_("days"),
            )
            curves.append(DesignCurves(self.label(name), chart))
        note = _("Share of members without the event so far (Kaplan–Meier), by days since they entered")
        return DesignSection("waiting", _("Time to the event"), note, curves=tuple(curves))


def _written(z: float | None) -> str:
    return MISSING if z is None else plain(z, 2)


def _reading(low: float | None, high: float | None, metric: MetricResult) -> Reading:
    if low is None or high is None or low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == (metric.direction == "increase") else "worse"
