"""Ratios of sums: the delta method against tea-tasting, scale invariance, coverage, and zero denominators."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tea_tasting.aggr
import tea_tasting.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.effects import difference_of_ratios, relative
from stats.moments import Moments
from stats.samples import ratios


def simulate(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    visits = rng.poisson(4, n) + 1
    return rng.integers(0, 2, n), np.column_stack([rng.binomial(visits, 0.3), visits]).astype(float)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_peer_agrees(seed: int) -> None:
    arm, rows = simulate(seed)
    sample = ratios(Moments.from_rows(["orders", "visits"], rows, cell=arm, n_cells=2), "orders", "visits")
    ours = difference_of_ratios(sample[0], sample[1]).value()
    aggregates = []
    for k in (0, 1):
        own = rows[arm == k]
        covariance = np.cov(own.T)
        aggregates.append(
            tea_tasting.aggr.Aggregates(
                count_=len(own),
                mean_={"orders": own[:, 0].mean(), "visits": own[:, 1].mean()},
                var_={"orders": covariance[0, 0], "visits": covariance[1, 1]},
                cov_={("orders", "visits"): covariance[0, 1]},
            )
        )
    theirs = tea_tasting.metrics.RatioOfMeans("orders", "visits").analyze_aggregates(*aggregates)
    assert ours.estimate == pytest.approx(theirs.effect_size, rel=1e-9, abs=1e-14)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-8)
    assert (ours.ci_low, ours.ci_high) == pytest.approx(
        (theirs.effect_size_ci_lower, theirs.effect_size_ci_upper), rel=1e-8
    )


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_units_do_not_matter(seed: int, top: float, bottom: float) -> None:
    arm, rows = simulate(seed)
    base = ratios(Moments.from_rows(["x", "y"], rows, cell=arm, n_cells=2), "x", "y")
    scaled = ratios(Moments.from_rows(["x", "y"], rows * [top, bottom], cell=arm, n_cells=2), "x", "y")
    one, other = difference_of_ratios(base[0], base[1]).value(), difference_of_ratios(scaled[0], scaled[1]).value()
    assert other.estimate * bottom / top == pytest.approx(one.estimate, rel=1e-7, abs=1e-12)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([[1.0, 0.0], [2.0, 0.0], [1.0, 3.0], [2.0, 4.0]], "zero_denominator"),
        ([[1.0, 2.0], [2.0, 4.0], [2.0, 4.0], [3.0, 6.0]], "zero_variance"),
        ([[0.0, 2.0], [0.0, 4.0], [0.0, 4.0], [0.0, 6.0]], "zero_variance"),
    ],
)
def test_edges_say_why_and_warn_of_nothing(rows: list[list[float]], why: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample = ratios(Moments.from_rows(["x", "y"], rows, cell=[0, 0, 1, 1]), "x", "y")
        effect = difference_of_ratios(sample[0], sample[1]).value()
        lift = relative(sample[0], sample[1]).value()
    assert effect.why_code == lift.why_code == why
    assert effect.p_value is None
    assert (effect.estimate is None) == (why == "zero_denominator")


def test_false_alarms_come_at_the_stated_rate() -> None:
    """20,000 A/A pairs, 300 members with correlated orders and visits: .05 ± 3 s.e. (.0046); seed fixed."""
    rng = np.random.default_rng(41)
    alarms = []
    for _ in range(20):
        taste = rng.gamma(3, 1, (1000, 2, 300))
        visits = rng.poisson(2 * taste) + 1.0
        orders = rng.binomial(visits.astype(int), 0.25).astype(float)
        rows = np.stack([orders, visits], axis=-1)
        mean = rows.mean(axis=2)
        centred = rows - mean[:, :, None, :]
        moments = Moments(
            ("x", "y"),
            np.full((1000, 2), 300),
            np.zeros(2),
            mean,
            np.einsum("abci,abcj->abij", centred, centred),
        )
        sample = ratios(moments, "x", "y")
        alarms.append(difference_of_ratios(sample[:, 0], sample[:, 1]).p_value <= 0.05)
    assert np.concatenate(alarms).mean() == pytest.approx(0.05, abs=0.0046)
