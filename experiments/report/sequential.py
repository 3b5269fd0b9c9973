"""A group-sequential test as its report tells it: every look with its bounds, and the estimate after stopping."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from experiments.definitions.analysis import Futility
from experiments.report.document import Estimate, MetricResult, SequentialLook, SequentialTest
from experiments.report.inference import GroupSequential, monitored
from experiments.report.looks import Looks
from experiments.report.measured import Measured
from stats.arrays import FloatArray, number
from stats.sequential import Spending, after_stopping, bounds, futility_bounds
from stats.why import Why


def sequential_tests(
    measured: Sequence[Measured],
    variants: Sequence[str],
    looks: Looks,
    alpha: float,
    futility: Futility | None = None,
) -> list[SequentialTest]:
    """Return the looks at each primary metric and variant, at the level of a single comparison.

    Args:
        measured: the metrics, with their history.
        variants: names in the samples' order.
        looks: when.
        alpha: of one comparison.
        futility: when to give up, where that was declared.
    """
    tests = []
    for metric in _looked_at(measured, looks):
        assert isinstance(metric.inference, GroupSequential)  # noqa: S101 - for the type checker
        found = monitored(metric.history_contrast(), metric.inference, alpha)
        floor = None if futility is None else _floor(metric.inference, alpha, futility)
        sign = 1.0 if metric.spec.direction == "increase" else -1.0
        for j, place in enumerate(metric.variants):
            crossed = int(found.crossed[j])
            rows = [
                SequentialLook(
                    day=day - looks.first_day + 1,
                    units=int(looks.units[k]),
                    information=float(looks.information[k]),
                    alpha_spent=float(found.alpha_spent[j, k]),
                    z=number(found.z[j, k]),
                    bound=number(found.bounds[j, k]),
                    futility=None if floor is None else number(floor[k]),
                )
                for k, day in enumerate(looks.days)
            ]
            last = sign * found.z[j, -1]
            tests.append(
                SequentialTest(
                    metric=metric.spec.name,
                    variant=variants[place],
                    looks=rows,
                    crossed_day=rows[crossed].day if crossed >= 0 else None,
                    futile=bool(floor is not None and crossed < 0 and not looks.complete and last <= floor[-1]),
                )
            )
    return tests


def _looked_at(measured: Sequence[Measured], looks: Looks) -> list[Measured]:
    return [
        metric
        for metric in measured
        if metric.spec.role == "primary" and metric.inference.kind == "group_sequential" and looks.days
    ]


def _floor(inference: GroupSequential, alpha: float, futility: Futility) -> npt.NDArray[np.float64]:
    """Return the futility bound of each look so far, for the effect that the whole plan was made for."""
    information = inference.information
    reached = information >= 1
    made = int(reached.argmax()) + 1 if reached.any() else information.size
    # The looks that are left do not move the bounds of those made; the last one gives the plan its power.
    plan = information[:made] if reached.any() else np.append(information, 1.0)
    limit = bounds(plan, alpha * (1 - inference.reserve), inference.spending)
    spending = Spending(futility.spending, futility.gamma if futility.spending == "hwang_shih_decani" else None)
    found = futility_bounds(plan, limit, futility.power, spending).bounds[:made]
    return np.append(found, np.full(information.size - made, np.nan))


def little_hope(tests: Sequence[SequentialTest], metric: str) -> bool:
    """Return whether hope is small for every variant on a metric."""
    of_metric = [test for test in tests if test.metric == metric]
    return bool(of_metric) and all(test.futile for test in of_metric)


def with_stopped(
    results: Sequence[MetricResult], measured: Sequence[Measured], variants: Sequence[str], looks: Looks, alpha: float
) -> list[MetricResult]:
    """Return the scorecard with the estimate after stopping, wherever a bound was crossed or the plan was reached.

    An effect that stops a test early looks larger than it is; the median-unbiased estimate does not.
    """
    found: dict[tuple[str, str], Estimate] = {}
    for metric in _looked_at(measured, looks):
        assert isinstance(metric.inference, GroupSequential)  # noqa: S101 - for the type checker
        contrast = metric.history_contrast()
        seen = monitored(contrast, metric.inference, alpha)
        stopped = after_stopping(seen.z * contrast.std_error, contrast.std_error, looks.information, seen.bounds, alpha)
        for j, place in enumerate(metric.variants):
            if seen.crossed[j] >= 0 or looks.complete:
                parts = (stopped.estimate[j], stopped.ci_low[j], stopped.ci_high[j])
                found[metric.spec.name, variants[place]] = _estimate(parts, int(stopped.why[j]))
    return [
        msgspec.structs.replace(
            result,
            comparisons=[
                msgspec.structs.replace(c, after_stopping=found.get((result.name, c.variant)))
                for c in result.comparisons
            ],
        )
        for result in results
    ]


def _estimate(parts: tuple[FloatArray, FloatArray, FloatArray], why: int) -> Estimate:
    estimate, low, high = parts
    return Estimate(
        estimate=number(estimate),
        ci_low=number(low),
        ci_high=number(high),
        ci_low_adjusted=None,
        ci_high_adjusted=None,
        why=Why(why).text,
    )
