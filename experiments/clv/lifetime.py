"""From orders to what members will still order and spend: models fitted, checked on the last days, told by group."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.clv.document import Check, CheckRow, Lifetime, Parameter, SegmentRow, Sum
from experiments.clv.orders import ORIGIN, Orders
from experiments.clv.words import CAUTIONS, SEGMENTS
from experiments.errors import InputError
from stats import rfm
from stats.arrays import FloatArray, number
from stats.clv import bgnbd, gamma_gamma
from stats.clv.bgnbd import BgNbd
from stats.clv.gamma_gamma import GammaGamma
from stats.clv.summary import Summary, summary
from stats.clv.value import Expected, Members, Total, expected_value, member_intervals, total

YEAR_DAYS = 365.0
MOST_INTERVALS = 100_000
"""Members up to which each gets an interval unless asked otherwise: 200 futures of each cost about 40 µs."""
MOST_REPEATS = 7
FEWEST_CHECKED = 50
CORRELATED = 0.3
OFF = 0.2
GAP_DAYS, STRAY = 60, 0.01
"""Days without any order after which at most this share of the orders came: their dates may be wrong."""


@dataclass(frozen=True, slots=True)
class LifetimeOptions:
    """What is asked.

    Attributes:
        horizon_days: how far ahead.
        until: the day of looking; the last order's day when ``None``. Later orders are left out.
        margin: share of an order's value that is earned, 0 to 1.
        discount: of money a year ahead, 0.1: a tenth less in a year.
        alpha: 1 − confidence of the intervals.
        intervals: of each member too; ``None``: where there are at most 100,000.
        seed: of the simulated futures.
    """

    horizon_days: int = 90
    until: dt.date | None = None
    margin: float = 1.0
    discount: float = 0.0
    alpha: float = 0.05
    intervals: bool | None = None
    seed: int = 0

    @property
    def daily_rate(self) -> float:
        """The discount as a continuous rate per day."""
        return float(np.log1p(self.discount)) / YEAR_DAYS


@dataclass(frozen=True, slots=True, eq=False)
class Customers:
    """One row a member; ``order_value`` and ``value`` are ``None`` without money, ``ends`` where not asked for."""

    units: list[str]
    summary: Summary
    scores: npt.NDArray[np.int64]
    segment: npt.NDArray[np.int64]
    expected: Expected
    ends: FloatArray | None


@dataclass(frozen=True, slots=True, eq=False)
class _Models:
    buying: BgNbd
    spend: GammaGamma | None


def lifetime(orders: Orders, options: LifetimeOptions, source: str) -> tuple[Lifetime, Customers]:
    """Fit, foretell and check.

    Args:
        orders: of the file.
        options: what is asked.
        source: where the orders come from, for the document and for errors.

    Raises:
        InputError: when nobody ordered on a second day, or every order is after the day of looking.
    """
    until = int(orders.day.max()) if options.until is None else (options.until - ORIGIN).days
    found = summary(orders.unit, orders.day, until, orders.value)
    if not len(found.unit):
        raise InputError(f"{source}: every order is after {options.until}: name a later day with --until")
    models, no_spend = _fit(found, source, with_value=orders.value is not None)
    members = Members.of(found, money=models.spend is not None)
    asked = {"horizon": float(options.horizon_days), "discount": options.daily_rate, "margin": options.margin}
    expected = expected_value(models.buying, models.spend, members, **asked)
    drawn = {**asked, "alpha": options.alpha, "seed": options.seed}
    wanted = len(found.unit) <= MOST_INTERVALS if options.intervals is None else options.intervals
    ends = member_intervals(models.buying, models.spend, members, **drawn) if wanted else None  # type: ignore[arg-type]
    purchases = total(models.buying, None, members, **drawn)  # type: ignore[arg-type]
    value = None if models.spend is None else total(models.buying, models.spend, members, **drawn)  # type: ignore[arg-type]
    scores = rfm.scores(found.since_last, found.frequency + 1, None if orders.value is None else found.spend)
    customers = Customers(
        [orders.units[place] for place in found.unit], found, scores, rfm.segments(scores), expected, ends
    )
    first = int(orders.day.min())
    check = _check(orders, until, first, options)
    late = int(np.count_nonzero(orders.day > until))
    document = Lifetime(
        source=source,
        first=_iso(first),
        until=_iso(until),
        horizon_days=options.horizon_days,
        alpha=options.alpha,
        discount=options.discount,
        margin=options.margin,
        orders=int(found.frequency.sum()) + len(found.unit),
        left_out=orders.left_out | ({"after the day of looking": late} if late else {}),
        members=len(found.unit),
        returned=int(np.count_nonzero(found.frequency)),
        alive=float(expected.alive.sum()),
        purchases=_sum(purchases, known=models.buying.converged),
        value=None if value is None else _sum(value, known=models.buying.converged),
        order_value=None if models.spend is None else float(models.spend.expected_value(0.0, 0.0)),
        buying=_parameters(models.buying, models.buying.std_errors()),
        spend=[] if models.spend is None else _parameters(models.spend, models.spend.std_errors()),
        correlation=None if models.spend is None else models.spend.correlation,
        segments=_by_segment(customers),
        check=check,
        cautions=[*_stray(orders, until), *_cautions(models, no_spend, check, options, until - first)],
    )
    return document, customers


def _fit(found: Summary, source: str, *, with_value: bool) -> tuple[_Models, bool]:
    """Return the models, and whether money was given but cannot be modelled."""
    try:
        buying = bgnbd.fit(found.frequency, found.recency, found.age)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error
    if not with_value:
        return _Models(buying, None), False
    try:
        return _Models(buying, gamma_gamma.fit(found.frequency, found.monetary)), False
    except ValueError:
        return _Models(buying, None), True


def _check(orders: Orders, until: int, first: int, options: LifetimeOptions) -> Check | None:
    """Fit on what was known ``horizon`` days ago and hold it against what came; ``None`` where history is short."""
    days = options.horizon_days
    day = until - days
    if day - first < days:
        return None
    before = summary(orders.unit, orders.day, day, orders.value)
    if np.count_nonzero(before.frequency) < FEWEST_CHECKED:
        return None
    models, _ = _fit(before, "", with_value=orders.value is not None)
    members = Members.of(before, money=models.spend is not None)
    expected = expected_value(models.buying, models.spend, members, horizon=float(days))
    place = np.full(len(orders.units), -1)
    place[before.unit] = np.arange(len(before.unit))
    came = (orders.day > day) & (orders.day <= until) & (place[orders.unit] >= 0)
    real = np.bincount(place[orders.unit[came]], minlength=len(before.unit)).astype(np.float64)
    group = np.minimum(before.frequency, MOST_REPEATS).astype(np.int64)
    rows = []
    for repeats in np.unique(group):
        of = group == repeats
        n = int(of.sum())
        error = float(np.std(real[of], ddof=1) / np.sqrt(n)) if n > 1 else None
        rows.append(
            CheckRow(
                repeats=int(repeats),
                members=n,
                foretold=float(expected.purchases[of].mean()),
                real=float(real[of].mean()),
                std_error=error,
            )
        )
    worth = None if expected.value is None or orders.value is None else float(orders.value[came].sum())
    return Check(
        learned_until=_iso(day),
        days=days,
        members=len(before.unit),
        foretold=float(expected.purchases.sum()),
        real=float(real.sum()),
        rows=rows,
        value_foretold=None if expected.value is None else float(expected.value.sum()),
        value_real=worth,
    )


def _by_segment(customers: Customers) -> list[SegmentRow]:
    expected = customers.expected
    rows = []
    for code, name in SEGMENTS.items():
        of = customers.segment == rfm.SEGMENTS.index(code)
        if not of.any():
            continue
        rows.append(
            SegmentRow(
                segment=code,
                name=name,
                members=int(of.sum()),
                alive=float(expected.alive[of].mean()),
                orders=float(expected.purchases[of].sum()),
                value=None if expected.value is None else float(expected.value[of].sum()),
            )
        )
    return rows


def _cautions(
    models: _Models, no_spend: bool, check: Check | None, options: LifetimeOptions, history: int
) -> list[dict[str, str]]:
    said = []
    if not models.buying.converged:
        said.append(CAUTIONS["not_bounded"])
    if no_spend:
        said.append(CAUTIONS["no_spend"])
    spend = models.spend
    if spend is not None and not spend.converged:
        said.append(CAUTIONS["spend_not_bounded"])
    if spend is not None and spend.correlation is not None and abs(spend.correlation) > CORRELATED:
        sign = {"en": "more", "zh-CN": "高"} if spend.correlation > 0 else {"en": "less", "zh-CN": "低"}
        said.append(
            {
                lang: text.format(sign=sign[lang], correlation=spend.correlation)
                for lang, text in CAUTIONS["correlated"].items()
            }
        )
    if history < options.horizon_days:
        said.append(_filled("short", days=options.horizon_days, history=history))
    if check is not None and check.real > 0 and abs(check.foretold / check.real - 1) > OFF:
        said.append(_filled("off", ratio=check.foretold / check.real))
    return said


def _stray(orders: Orders, until: int) -> list[dict[str, str]]:
    """Say where a few orders came long after all others: one mistyped year makes everybody look gone."""
    days, counts = np.unique(orders.day[orders.day <= until], return_counts=True)
    rest = counts[::-1].cumsum()[::-1]
    after = np.flatnonzero((np.diff(days) > GAP_DAYS) & (rest[1:] <= STRAY * counts.sum()))
    if not after.size:
        return []
    at = int(after[0])
    return [_filled("stray", n=int(rest[at + 1]), gap=int(days[at + 1] - days[at]), before=_iso(int(days[at])))]


def _filled(key: str, **values: object) -> dict[str, str]:
    return {lang: text.format(**values) for lang, text in CAUTIONS[key].items()}


def _parameters(model: BgNbd | GammaGamma, errors: dict[str, float | None]) -> list[Parameter]:
    return [Parameter(name=name, value=float(getattr(model, name)), std_error=error) for name, error in errors.items()]


def _sum(found: Total, *, known: bool) -> Sum:
    ends = (number(found.ci_low), number(found.ci_high)) if known else (None, None)
    return Sum(estimate=found.estimate, ci_low=ends[0], ci_high=ends[1])


def _iso(day: int) -> str:
    return (ORIGIN + dt.timedelta(days=day)).isoformat()
