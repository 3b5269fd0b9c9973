"""From a baseline and a question to the answer: units, weeks, what each number of units can show, and the curve."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from experiments.planning.document import Baseline, BreakEven, CurvePoint, PowerPlan, Row, Target
from experiments.planning.question import Amount, Question, check
from experiments.planning.words import methods_of, notes_of
from stats.arrays import number
from stats.power import (
    Crossing,
    ExactProportions,
    Looks,
    Planned,
    assurance,
    design_effect,
    duration,
    mde,
    power,
    sample_size,
    units_by_week,
)

EXACT_BELOW = 20.0
"""Expected outcomes of the smaller group below which every possible result is gone through."""
MOST_WEEKS = 12
MOST_STEPS = 40
CURVE_POINTS = 12
UNITS_SHOWN = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
NO_NUMBER = "no number of units is enough"
TOO_FEW = "too few units: not even the largest possible effect would be found"


def plan_power(
    baseline: Baseline,
    question: Question,
    *,
    currency: str | None = None,
    break_even: BreakEven | None = None,
    purchases: Baseline | None = None,
) -> PowerPlan:
    """Answer a planning question.

    Args:
        baseline: what is known of the metric.
        question: what is asked.
        currency: of money metrics.
        break_even: of an offer, shown beside the smallest detectable effect.
        purchases: the share that buys, where the plan is made for another metric.

    Raises:
        InputError: the question has no answer.
    """
    check(question, baseline)
    crossing = question.crossing()
    test = question.planned(baseline, crossing)
    per_week = list(question.per_week) or baseline.per_week
    target = _target(baseline, question, test, crossing, per_week)
    rows = _rows(baseline, question, test, per_week, target)
    curve_units = question.units or (target.units if target else None) or (rows[-1].units if rows else None)
    detectable = next((row.mde for row in rows if row.units == curve_units), None)
    if detectable is None and curve_units:
        detectable = _row(baseline, question, test, curve_units, None).mde
    split = {name: part / sum(question.split) for name, part in zip(_names(question), question.split, strict=True)}
    wider = None
    if question.cluster_size is not None:
        wider = float(design_effect(question.cluster_size, question.icc or 0.0, question.cluster_cv))
    return PowerPlan(
        baseline=baseline,
        goal="difference" if question.margin is None else "non_inferiority",
        direction=question.direction,
        currency=currency,
        alpha=question.alpha,
        power=question.power,
        level=question.level,
        power_each=question.power_each,
        split=split,
        inference=question.inference,
        looks=None if crossing is None else question.looks,
        inflation=None if crossing is None else crossing.inflation(question.level, question.power_each),
        design_effect=wider,
        target=target,
        rows=rows,
        curve=_curve(baseline, question, test, curve_units, detectable) if curve_units else [],
        curve_units=curve_units,
        assurance=_assurance(baseline, question, test, curve_units),
        break_even=None if break_even is None else _beside(break_even, purchases or baseline, question, curve_units),
        notes=notes_of(baseline, question, rows),
        methods=methods_of(baseline, question, any(row.exact for row in rows)),
    )


def _names(question: Question) -> list[str]:
    return list(question.names) or ["control", *(chr(ord("A") + i) for i in range(len(question.split) - 1))]


def _wish(question: Question, baseline: Baseline) -> float:
    """Return the effect that the plan is made for: the one asked for, or none beside a margin."""
    if question.margin is not None:
        return 0.0
    return 0.0 if question.effect is None else question.effect.of(baseline.mean)


def _sign(question: Question) -> float:
    if question.effect is not None and question.margin is None:
        return math.copysign(1.0, question.effect.value)
    return -1.0 if question.direction == "decrease" and question.margin is None else 1.0


def _target(
    baseline: Baseline, question: Question, test: Planned, crossing: Crossing | None, per_week: Sequence[float]
) -> Target | None:
    asked: Amount | None = question.margin or question.effect
    if asked is None:
        return None
    amount, wish = asked.of(baseline.mean), _wish(question, baseline)
    relative = asked.value if asked.is_relative else (amount / abs(baseline.mean) if baseline.mean else None)
    n = number(sample_size(test, wish, question.power_each, question.level))
    if n is None:
        return Target(effect=amount, relative=relative, units=None, why=NO_NUMBER)
    n = _enough_exactly(baseline, question, n, wish)
    counts = [math.ceil(n * part / question.split[0] - 1e-9) for part in question.split]
    if question.cluster_size is not None:
        size = question.cluster_size
        counts = [math.ceil(math.ceil(count / size - 1e-9) * size) for count in counts]
    units = sum(counts)
    expected = None
    if crossing is not None and isinstance(test, Looks):
        expected = math.ceil(float(test.expected_share(wish, n)) * units)
    found = duration(units, per_week, baseline.window_days) if per_week else None
    return Target(
        effect=amount,
        relative=relative,
        units=units,
        units_by_variant=dict(zip(_names(question), counts, strict=True)),
        clusters=None if question.cluster_size is None else round(units / question.cluster_size),
        expected_units=expected,
        weeks=found.weeks if found else None,
        days=found.days if found else None,
        why="this many units never come at that pace" if per_week and found is None else None,
    )


def _rows(
    baseline: Baseline, question: Question, test: Planned, per_week: Sequence[float], target: Target | None
) -> list[Row]:
    """Return what numbers of units can show: week by week, or of one list and parts of it."""
    if question.units is not None:
        sizes = [question.units * share // 100 for share in (25, 50, 75, 100)]
        return [_row(baseline, question, test, size, None) for size in dict.fromkeys(sizes) if size >= 2]
    if per_week:
        last = MOST_WEEKS if target is None or target.weeks is None else max(4, target.weeks)
        weeks = list(range(1, last + 1))
        if len(weeks) > MOST_WEEKS:
            weeks = sorted({*range(1, 5), *(round(w) for w in np.geomspace(5, last, MOST_WEEKS - 4))})
        entered = ((week, int(units_by_week(per_week, week))) for week in weeks)
        return [_row(baseline, question, test, units, week) for week, units in entered if units >= 2]
    sizes = list(UNITS_SHOWN)
    if target is not None and target.units is not None:
        around = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
        sizes = sorted({math.ceil(target.units * share) for share in around})
    return [_row(baseline, question, test, size, None) for size in sizes if size >= 2]


def _row(baseline: Baseline, question: Question, test: Planned, units: int, weeks: int | None) -> Row:
    n, sign, wish = units * question.control_share, _sign(question), _wish(question, baseline)
    exact = _exact(baseline, question, n)
    chance: float | None = None
    if exact is not None:
        size = number(exact.mde(baseline.mean, question.power_each))
        if question.effect is not None:
            chance = number(exact.power(baseline.mean, baseline.mean + wish))
    elif question.margin is not None:
        size = _provable(baseline, question, n)
        chance = number(power(test, wish, n, question.level))
    else:
        size = number(mde(test, n, question.power_each, question.level, sign=sign))
        if question.effect is not None:
            chance = number(power(test, wish, n, question.level))
    return Row(
        units=units,
        weeks=weeks,
        mde=size,
        mde_relative=None if size is None or baseline.mean == 0 else size / abs(baseline.mean),
        power=chance,
        exact=exact is not None,
        why=TOO_FEW if size is None else None,
    )


def _provable(baseline: Baseline, question: Question, n: float) -> float | None:
    """Return the smallest margin that can be proved, by bisection: a relative margin's own errors depend on it."""
    relative = question.margin is not None and question.margin.is_relative
    unit = abs(baseline.mean) if relative else 1.0
    low, high = 0.0, abs(baseline.mean) if baseline.mean else (baseline.sd or 1.0)
    if baseline.kind == "proportion":
        high = baseline.mean if question.direction == "increase" else 1 - baseline.mean

    def enough(margin: float) -> bool:
        tried = dataclasses.replace(question, margin=Amount(margin / unit, relative))
        found = number(power(tried.planned(baseline, None), 0.0, n, question.level))
        return found is not None and found >= question.power_each

    if question.inference != "fixed" or not enough(high * (1 - 1e-9)):
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _exact(baseline: Baseline, question: Question, n: float) -> ExactProportions | None:
    """Return the enumeration where outcomes are few and nothing else complicates the test."""
    plain = question.inference == "fixed" and question.cluster_size is None and question.waves == 1
    if baseline.kind != "proportion" or not plain or question.margin is not None or _sign(question) < 0:
        return None
    smaller = n * min(1.0, question.ratio)
    if smaller * baseline.mean >= EXACT_BELOW or baseline.reduction or smaller < 2:
        return None
    most = min(1.0, baseline.mean + 6 * math.sqrt(baseline.mean / smaller) + 40 / smaller)
    try:
        return ExactProportions.of(int(n), int(n * question.ratio), baseline.mean, most, question.level)
    except ValueError:
        return None


def _enough_exactly(baseline: Baseline, question: Question, n: float, wish: float) -> float:
    """Return n, for few outcomes as it follows from going through every result, in steps of 2 %.

    Exact tests move in steps, so their power does too; the first n in a row of growing ones is taken.
    """
    if _exact(baseline, question, n) is None:
        return n
    tried = 0.8 * n
    for _ in range(MOST_STEPS):
        exact = _exact(baseline, question, tried)
        if exact is None or float(exact.power(baseline.mean, baseline.mean + wish)) >= question.power_each:
            return math.ceil(tried)
        tried *= 1.02
    return n


def _curve(
    baseline: Baseline, question: Question, test: Planned, units: int, detectable: float | None
) -> list[CurvePoint]:
    """Return power at equally spaced effects, up to what is found almost certainly."""
    wish = abs(_wish(question, baseline))
    reach = max(1.6 * abs(detectable or 0.0), 1.2 * wish)
    if question.margin is not None:
        reach = 0.8 * question.margin.of(baseline.mean)
    if not reach:
        return []
    steps = np.linspace(0, reach, CURVE_POINTS + 1)[1:] * _sign(question)
    if question.margin is not None:
        # How the guardrail fares when the variant is truly a little worse, or better.
        steps = np.linspace(-reach, reach, CURVE_POINTS + 1)
    n = np.full(steps.shape, units * question.control_share)
    exact = _exact(baseline, question, float(n[0]))
    if exact is not None:
        chances = exact.power(np.full(steps.shape, baseline.mean), np.minimum(baseline.mean + steps, 1.0))
    else:
        chances = power(test, steps, n, question.level)
    return [
        CurvePoint(effect=float(e), relative=float(e) / abs(baseline.mean) if baseline.mean else None, power=number(p))
        for e, p in zip(steps, chances, strict=True)
    ]


def _assurance(baseline: Baseline, question: Question, test: Planned, units: int | None) -> float | None:
    if question.prior is None or units is None or question.margin is not None:
        return None
    mean, sd = (part.of(baseline.mean) for part in question.prior)
    if _sign(question) < 0:
        return None
    return number(assurance(test, units * question.control_share, mean, sd, question.level))


def _beside(found: BreakEven, bought: Baseline, question: Question, units: int | None) -> BreakEven:
    """Put beside the break-even uplift what the plan detects of the share that buys."""
    if bought.kind != "proportion" or units is None or not 0 < bought.mean < 1:
        return found
    rise = dataclasses.replace(question, margin=None, effect=None, direction="increase")
    seen = _row(bought, rise, rise.planned(bought, rise.crossing()), units, None)
    return msgspec.structs.replace(found, mde=seen.mde)
