"""What the economics of an offer and the look for novelty need beside the metrics, measured in the same pass.

Of the profit metric: what redemptions and contacts cost, who bought, how often and for how much; and what was earned in
an equally long time after the window. Of the first primary metric: the two halves of its window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.measure.cells import ColumnGroup, compute_cells
from experiments.measure.days import DAY_US
from experiments.measure.experiment import MeasuredExperiment
from experiments.measure.parts import MeasuredMetric, Part
from stats.economics.columns import Columns
from stats.moments import Moments

ECONOMICS, AFTER, NOVELTY = "economics", "after", "novelty"
HALVED = ("proportion", "count", "sum", "profit")
"""Types of metrics whose window can be cut in two."""


@dataclass(frozen=True)
class Beside:
    """What is measured beside the metrics of an experiment."""

    profit: MeasuredMetric | None
    """The profit metric whose money is told."""
    halved: MeasuredMetric | None
    """The metric whose window is cut in two."""

    @classmethod
    def of(cls, metrics: Sequence[MeasuredMetric]) -> Beside:
        """Return the first profit metric, and the first primary one whose window can be cut."""
        profit = next((m for m in metrics if m.spec.kind == "profit"), None)
        primary = [m for m in metrics if m.spec.role == "primary"]
        halved = next((m for m in primary if m.spec.kind in HALVED and _half_days(m)), None)
        return cls(profit, halved)

    @property
    def metrics(self) -> list[MeasuredMetric]:
        """The columns to measure."""
        found = [] if self.profit is None else [_money(self.profit), _after(self.profit)]
        return found if self.halved is None else [*found, _halves(self.halved)]

    @property
    def columns(self) -> Columns | None:
        """Names of the columns with the money."""
        if self.profit is None:
            return None
        name = self.profit.spec.value
        return Columns(
            profit=name,
            redemption=f"{name}_redemption",
            contact=f"{name}_redemption_contact",
            buyers=f"{name}_buyers",
            redemptions=f"{name}_redeemed",
            orders=f"{name}_orders",
            value=f"{name}_value",
            covariates=tuple(c for c in self.profit.spec.covariates if isinstance(c, str)),
        )

    @property
    def days_after(self) -> tuple[float, float] | None:
        """From when to when an equally long time after the window is."""
        if self.profit is None:
            return None
        part = _window(self.profit)
        return part.end_us / DAY_US, (2 * part.end_us - part.start_us) / DAY_US

    @property
    def half_days(self) -> int:
        """Days of half the window that is cut."""
        return 0 if self.halved is None else _half_days(self.halved)

    def moments(self, measured: MeasuredExperiment) -> dict[str, Moments]:
        """Return the moments of what was measured beside, by variant: ``economics``, ``after`` and ``novelty``."""
        groups = [] if self.columns is None else [ColumnGroup(ECONOMICS, self._money_columns(self.columns))]
        if self.columns is not None:
            groups.append(ColumnGroup(AFTER, (self.columns.profit, f"{self.columns.profit}_after")))
        if self.halved is not None:
            name = self.halved.spec.value
            groups.append(ColumnGroup(NOVELTY, (f"{name}_first", f"{name}_second")))
        if not groups:
            return {}
        cells = compute_cells(measured.table, groups, measured.scans, variant="variant", variants=measured.variants)
        return cells.totals

    def money_by_day(self, measured: MeasuredExperiment) -> Moments:
        """Return the moments of the money by variant and day of entry, for tests that are judged at looks.

        Raises:
            ValueError: no profit is measured.
        """
        if self.columns is None:
            raise ValueError("no profit is measured")
        group = ColumnGroup(ECONOMICS, self._money_columns(self.columns))
        cells = compute_cells(
            measured.table, [group], measured.scans, variant="variant", variants=measured.variants, day="day"
        )
        return cells.by_day(ECONOMICS)

    @staticmethod
    def _money_columns(c: Columns) -> tuple[str, ...]:
        return (c.profit, c.redemption, c.contact, c.buyers, c.redemptions, c.orders, c.value, *c.covariates)


def _window(metric: MeasuredMetric) -> Part:
    """Return the part that holds the metric's value."""
    return metric.parts[0]


def _half_days(metric: MeasuredMetric) -> int:
    """Return the whole days of half the window, 0 where it has fewer than two days."""
    part = _window(metric)
    return (part.end_us - part.start_us) // (2 * DAY_US)


def _money(metric: MeasuredMetric) -> MeasuredMetric:
    """Return what the profit is made of."""
    part, name = _window(metric), metric.spec.value
    exponent = metric.minor[name]
    plain = replace(part, number=None, margin_rate=None)
    parts = (
        replace(plain, column=f"{name}_redemption", measure="redemption"),
        replace(plain, column=f"{name}_redeemed", measure="redeemed"),
        replace(plain, column=f"{name}_buyers", measure="any"),
        replace(plain, column=f"{name}_orders", measure="count"),
        replace(plain, column=f"{name}_value", measure="value"),
    )
    return _beside(metric, parts, {f"{name}_redemption": exponent, f"{name}_value": exponent})


def _after(metric: MeasuredMetric) -> MeasuredMetric:
    """Return what was earned in an equally long time after the window, of those for whom that is over."""
    part, column = _window(metric), f"{metric.spec.value}_after"
    end = 2 * part.end_us - part.start_us
    after = replace(part, column=column, measure="earned", start_us=part.end_us, end_us=end, matured_us=end)
    return _beside(metric, (after,), {column: metric.minor[part.column]})


def _halves(metric: MeasuredMetric) -> MeasuredMetric:
    """Return both halves of the window, of those for whom all of it is over."""
    part, name = _window(metric), metric.spec.value
    half = _half_days(metric) * DAY_US
    measure = "earned" if part.measure == "profit" else part.measure
    whole = replace(part, measure=measure, matured_us=part.end_us)
    first = replace(whole, column=f"{name}_first", end_us=part.start_us + half)
    second = replace(whole, column=f"{name}_second", start_us=part.start_us + half, end_us=part.start_us + 2 * half)
    minor = metric.minor.get(part.column)
    return _beside(metric, (first, second), {} if minor is None else {p.column: minor for p in (first, second)})


def _beside(metric: MeasuredMetric, parts: tuple[Part, ...], minor: dict[str, int]) -> MeasuredMetric:
    """Return columns in the shape of a metric; amounts are cut off where the metric's own are."""
    quantile = metric.winsorise.get(metric.spec.value)
    cut = {p.column: quantile for p in parts if quantile and p.measure in ("earned", "property", "value")}
    spec = replace(metric.spec, covariates=(), denominator=None)
    return MeasuredMetric(parts, spec, cut, minor, 0)
