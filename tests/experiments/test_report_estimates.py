"""Always-valid inference: the drawn interval, the guardrail's reading, its p and the rule come from one method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.report.estimates import Measured, MetricSpec, measure_metric, scorecard
from experiments.report.inference import AlwaysValid, Fixed
from stats.moments import Moments

ALPHA = 0.05


def measured(
    values: list[np.ndarray[Any, Any]], *, kind: str, margin: float | None = None, n_star: float | None, **spec: Any
) -> Measured:
    """One metric over samples, control's first; columns are value, denominator, covariate."""
    columns = ("value", "denominator", "covariate")[: values[0].shape[1]]
    cells = [Moments.from_rows(columns, rows, pivot=np.zeros(len(columns))) for rows in values]
    moments = Moments(
        columns,
        np.stack([c.n for c in cells]),
        cells[0].pivot,
        np.stack([c.mean for c in cells]),
        np.stack([c.m2 for c in cells]),
    )
    role = "primary" if margin is None else "guardrail"
    metric = MetricSpec("m", {"en": "m"}, kind, "value", role=role, margin_relative=margin, **spec)
    return measure_metric(metric, moments, 0, inference=AlwaysValid(n_star) if n_star else Fixed())


def samples(kind: str, rng: np.random.Generator, n: int, lift: float) -> list[np.ndarray[Any, Any]]:
    """Control and variant; the variant's mean is ``lift`` higher, relative."""
    found = []
    for factor in (1.0, 1 + lift):
        if kind == "proportion":
            rows = (rng.random((n, 1)) < 0.05 * factor).astype(float)
        elif kind == "ratio":
            orders = rng.poisson(2.0, n) + 1.0
            rows = np.column_stack([orders * rng.normal(10 * factor, 4, n), orders])
        else:
            before = rng.normal(20, 6, n)
            rows = np.column_stack([rng.normal(20 * factor, 8, n) + before - 20, np.ones(n), before])
        found.append(rows)
    return found


SPECS: dict[str, dict[str, Any]] = {
    "proportion": {},
    "ratio": {"denominator": "denominator"},
    "mean": {"covariates": ("covariate",)},
}


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize("n_star", [None, 3000.0])
def test_a_guardrail_reads_as_its_drawn_interval_does(kind: str, direction: str, n_star: float | None) -> None:
    # Deterministic: an algebraic identity (Fieller's set holds a margin where the distance's interval holds zero), so
    # it must hold on every draw; the fixed horizon's means differ in their degrees of freedom alone, hence the slack.
    rng = np.random.default_rng(11)
    seen = set()
    for lift in (-0.3, -0.23, 0.0, 0.23, 0.5):
        for n in (400, 3000):
            metric = measured(
                samples(kind, rng, n, lift), kind=kind, margin=0.25, n_star=n_star, direction=direction, **SPECS[kind]
            )
            (result,) = scorecard([metric], ["control", "a"], ALPHA)
            comparison = result.comparisons[0]
            low, high = comparison.relative.ci_low, comparison.relative.ci_high
            assert low is not None
            assert high is not None
            inside, outside = (low > -0.25, high < -0.25) if direction == "increase" else (high < 0.25, low > 0.25)
            near = n_star is None and min(abs(abs(low) - 0.25), abs(abs(high) - 0.25)) < 0.003
            expected = "within_limit" if inside else "broken" if outside else "not_proven"
            assert near or comparison.reading == expected
            assert comparison.p_value_margin is not None
            level = ALPHA if n_star else ALPHA / 2
            assert near or (comparison.p_value_margin <= level) == inside
            seen.add(comparison.reading)
    assert {"within_limit", "not_proven"} <= seen


def test_looking_every_day_proves_no_guardrail_that_is_just_broken() -> None:
    # The variant stands exactly at its margin. Ten looks; one-sided error of the band at most 2.5 %: of 150 runs at
    # most 12 prove the limit with probability .9998 (binomial). The fixed-horizon test, looked at as often, errs more.
    rng = np.random.default_rng(3)
    wrong = naive = 0
    for _ in range(150):
        control, variant = (rng.normal(mean, 5.0, 4000)[:, None] for mean in (10.0, 9.0))
        readings: dict[float | None, set[str]] = {None: set(), 2000.0: set()}
        for n in range(400, 4001, 400):
            for n_star, found in readings.items():
                metric = measured([control[:n], variant[:n]], kind="mean", margin=0.1, n_star=n_star)
                found.add(scorecard([metric], ["control", "a"], ALPHA)[0].comparisons[0].reading)
        wrong += "within_limit" in readings[2000.0]
        naive += "within_limit" in readings[None]
    assert wrong <= 12
    assert naive > wrong


def test_adjusted_intervals_agree_with_adjusted_p() -> None:
    # Both forms, several variants: the interval excludes zero exactly where the adjusted p is at most alpha.
    rng = np.random.default_rng(8)
    for lift in np.linspace(0, 0.06, 13):
        rows = samples("mean", rng, 2500, float(lift))
        metric = measured([*rows, samples("mean", rng, 2500, 0.0)[0]], kind="mean", n_star=6000.0)
        for comparison in scorecard([metric], ["control", "a", "b"], ALPHA)[0].comparisons:
            low, high = comparison.effect.ci_low_adjusted, comparison.effect.ci_high_adjusted
            assert low is not None
            assert high is not None
            assert comparison.p_value_adjusted is not None
            clear = comparison.p_value_adjusted <= ALPHA
            assert clear == (low >= 0 or high <= 0)
            assert (comparison.reading != "unclear") == clear
