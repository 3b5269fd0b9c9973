"""Holm, Hochberg, Benjamini–Hochberg: statsmodels is the oracle for p; intervals agree with it and cover together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from statsmodels.stats.multitest import multipletests

from stats.distributions import normal_upper, t_quantile, t_upper
from stats.effects import proportions, ratio_of_proportions
from stats.multiplicity import (
    METHODS,
    Method,
    adjust,
    benjamini_hochberg,
    coverage_alpha,
    hochberg,
    holm,
    holm_intervals,
    interval_alpha,
    shorten,
)

P_VALUES = hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1))


@given(P_VALUES)
@settings(max_examples=10, deadline=None)  # statsmodels takes 70 ms a call
def test_statsmodels_agrees(p_values: np.ndarray) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-12)


@given(P_VALUES, st.randoms())
def test_order_and_shape_do_not_matter(p_values: np.ndarray, random: object) -> None:
    order = np.random.default_rng(0).permutation(p_values.size)
    assert np.array_equal(holm(p_values)[order], holm(p_values[order]))
    assert np.array_equal(holm(p_values.reshape(-1, 1)).ravel(), holm(p_values))


def test_what_is_missing_does_not_count() -> None:
    assert holm([0.02, np.nan, 0.03]).tolist()[::2] == [0.04, 0.04]
    assert interval_alpha([0.02, np.nan, 0.03]) == 0.025
    assert np.isnan(holm([np.nan])).all()
    assert holm([]).shape == (0,)
    assert interval_alpha([]) == 0.05


@given(
    hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-6, 6)),
    st.sampled_from([5.0, 50.0, np.inf]),
    st.sampled_from([0.01, 0.05, 0.2]),
)
def test_intervals_exclude_zero_exactly_where_holm_rejects(z: np.ndarray, df: float, alpha: float) -> None:
    p_values = 2 * t_upper(df, np.abs(z))
    adjusted = holm(p_values)
    low, high = holm_intervals(z, np.ones_like(z), df, p_values, alpha)
    clear = np.abs(adjusted / alpha - 1) > 1e-9
    # A bound of exactly 0 is an open end.
    excludes = (low >= 0) | (high <= 0)
    assert np.array_equal(excludes[clear], (adjusted <= alpha)[clear])
    assert ((low <= z) & (z <= high)).all()
    half = t_quantile(df, 1 - alpha / z.size / 2)
    moved = (low == 0) | (high == 0)
    np.testing.assert_allclose(np.where(moved, half, high - z), half)
    np.testing.assert_allclose(np.where(moved, half, z - low), half)


def test_missing_comparisons_get_no_interval() -> None:
    low, high = holm_intervals([1.0, 2.0], [0.1, np.nan], np.inf, [1e-9, np.nan])
    assert np.isnan(low[1])
    assert np.isnan(high[1])
    assert low[0] > 0.8


def test_other_intervals_can_be_shortened() -> None:
    low, high = shorten([-0.001, -0.4], [0.3, 0.1], [0.03, 0.001], alpha=0.05)
    assert (low.tolist(), high.tolist()) == ([0.0, -0.4], [0.3, 0.0])


def test_skewed_intervals_are_shortened_on_the_side_of_zero_that_the_estimate_is_not_on() -> None:
    """Complaints fell from 7 to 1 of 4,000, and eleven other comparisons are clear, so Holm rejects at .05.

    The relative interval at .05/12 reaches from −100 % to +102 %: its middle is positive, the estimate is not. Holm's
    interval of something found to be lower must not say that it is higher.
    """
    control, variant = proportions([7] + [400] * 11, 4000), proportions([1] + [100] * 11, 4000)
    strict = ratio_of_proportions(control, variant, interval_alpha(np.zeros(12)))
    assert strict.ci_low[0] + strict.ci_high[0] > 0
    low, high = shorten(strict.ci_low, strict.ci_high, strict.p_value, estimate=strict.estimate)
    assert (low[0], high[0]) == (strict.ci_low[0], 0.0)
    np.testing.assert_array_equal((low[1:], high[1:]), (strict.ci_low[1:], strict.ci_high[1:]))


@pytest.mark.parametrize("truth", [(0.0, 0.0, 0.0), (0.0, 0.0, 3.0), (2.6, 2.6, 2.6), (0.2, 3.0, -2.5)])
def test_false_alarms_and_coverage_hold_for_the_whole_family(truth: tuple[float, ...]) -> None:
    """100,000 families of three, correlated .5; every bound with 3 s.e. (.0021); seed fixed.

    Strict: a true zero is excluded anywhere in at most .05 of families, and each interval alone covers .95. All
    intervals together cover at least 1 − alpha · (1 + share of true effects), which is what finite intervals that
    follow Holm can promise (docs/statistics.md).
    """
    rng = np.random.default_rng(61)
    runs = 100_000
    means = np.array(truth)
    z = means + rng.multivariate_normal(np.zeros(3), 0.5 + 0.5 * np.eye(3), runs)
    p_values = 2 * normal_upper(np.abs(z))
    order = np.argsort(p_values, axis=1)
    sorted_p = np.take_along_axis(p_values, order, axis=1)
    stepped = np.minimum(np.maximum.accumulate(sorted_p * [3, 2, 1], axis=1), 1)
    adjusted = np.empty_like(stepped)
    np.put_along_axis(adjusted, order, stepped, axis=1)
    assert adjusted[0] == pytest.approx(holm(p_values[0]))
    null = means == 0
    assert (adjusted[:, null] <= 0.05).any(axis=1).mean() <= 0.05 + 0.0021
    # The intervals of `holm_intervals`, for all families at once.
    half = t_quantile(np.inf, 1 - 0.05 / 6)
    low, high = z - half, z + half
    alone = (adjusted <= 0.05) & (low <= 0) & (high >= 0)
    low, high = np.where(alone & (z > 0), 0, low), np.where(alone & (z < 0), 0, high)
    first = holm_intervals(z[0], np.ones(3), np.inf, p_values[0])
    assert (low[0], high[0]) == (pytest.approx(first[0]), pytest.approx(first[1]))
    opened = alone & null  # an open end at 0 does not hold 0
    covered = (low <= means) & (means <= high) & ~opened
    assert covered.all(axis=1).mean() >= 1 - 0.05 * (1 + (~null).mean()) - 0.0021
    assert (covered.mean(axis=0) >= 0.95 - 0.0021).all()


@given(P_VALUES)
@settings(max_examples=10, deadline=None)
def test_statsmodels_agrees_on_step_up(p_values: np.ndarray) -> None:
    assert hochberg(p_values) == pytest.approx(multipletests(p_values, method="simes-hochberg")[1], rel=1e-12)
    assert benjamini_hochberg(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1], rel=1e-12)


@given(hnp.arrays(np.float64, st.integers(1, 10), elements=st.floats(0, 1) | st.just(np.nan)))
def test_families_order_and_missing(p_values: np.ndarray) -> None:
    order = np.random.default_rng(1).permutation(p_values.size)
    for method in METHODS:
        found, moved = adjust(method, p_values), adjust(method, p_values[order])
        np.testing.assert_allclose(found.p_adjusted[order], moved.p_adjusted, rtol=1e-9)
        np.testing.assert_allclose(found.interval_alpha[order], moved.interval_alpha, rtol=1e-9)
        assert np.array_equal(np.isnan(found.p_adjusted), np.isnan(p_values))
        assert (found.interval_alpha > 0).all()
        assert (found.interval_alpha <= 0.05 + 1e-12).all()
        kept = p_values[~np.isnan(p_values)]
        np.testing.assert_allclose(found.p_adjusted[~np.isnan(p_values)], adjust(method, kept).p_adjusted, rtol=1e-9)
    # From the strictest on: Hochberg never rejects less than Holm, nor Benjamini–Hochberg less than Hochberg.
    ok = ~np.isnan(p_values)
    assert (hochberg(p_values)[ok] <= holm(p_values)[ok] + 1e-15).all()
    assert (benjamini_hochberg(p_values)[ok] <= hochberg(p_values)[ok] + 1e-15).all()


@given(
    hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-6, 6)),
    st.sampled_from([0.01, 0.05, 0.2]),
    st.sampled_from([m for m in METHODS if m != "hochberg"]),
)
@settings(deadline=None)
def test_intervals_of_each_method_exclude_zero_exactly_where_it_rejects(
    z: np.ndarray, alpha: float, method: Method
) -> None:
    p_values = 2 * normal_upper(np.abs(z))
    found = adjust(method, p_values, alpha, correlation=np.full(z.size, 0.5) if method == "dunnett" else None)
    assert found.agrees
    half = t_quantile(np.inf, 1 - found.interval_alpha / 2)
    low, high = z - half, z + half
    if found.shortens:
        low, high = shorten(low, high, p_values, alpha)
    clear = np.abs(found.p_adjusted / alpha - 1) > 1e-6
    excludes = (low >= 0) | (high <= 0)
    assert np.array_equal(excludes[clear], (found.p_adjusted <= alpha)[clear])


def test_hochberg_has_no_interval_of_its_own() -> None:
    found = adjust("hochberg", [0.04, 0.045])
    assert not found.agrees
    assert (found.p_adjusted <= 0.05).all()
    assert found.interval_alpha.tolist() == [0.025, 0.025]
    assert holm([0.04, 0.045]).min() > 0.05


def test_false_coverage_levels() -> None:
    """Benjamini and Yekutieli (2005): R of m selected get R·alpha/m."""
    p_values = np.array([0.001, 0.011, 0.012, 0.3, 0.9])
    assert coverage_alpha(p_values, 0.05) == pytest.approx([0.03, 0.03, 0.03, 0.04, 0.04])
    assert coverage_alpha([0.9, 0.8], 0.05) == pytest.approx([0.025, 0.025])
    assert coverage_alpha([0.001, 0.01], 0.05) == pytest.approx([0.05, 0.05])
    assert coverage_alpha([np.nan], 0.05).tolist() == [0.05]


def test_wrong_method_or_alpha_is_refused() -> None:
    with pytest.raises(ValueError, match="method must be one of holm"):
        adjust("tukey", [0.1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="alpha"):
        adjust("holm", [0.1], alpha=1.0)


@pytest.mark.shared
def test_reference_case(cases: dict[str, Any]) -> None:
    case = cases["multiple_testing"]
    p_values = case["inputs"]["pvalues"]
    assert hochberg(p_values) == pytest.approx(case["expected"]["simes-hochberg"], rel=1e-9)
    assert benjamini_hochberg(p_values) == pytest.approx(case["expected"]["fdr_bh"], rel=1e-9)
