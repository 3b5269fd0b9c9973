"""Dunnett: scipy's own test, its multivariate distributions and a two-dimensional quadrature are the oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy import stats as sps

from stats.distributions import normal_upper, t_quantile, t_upper
from stats.multiplicity import (
    adjust,
    dunnett,
    dunnett_critical,
    dunnett_intervals,
    dunnett_step_down,
    holm,
    loadings,
    product_loadings,
)

EQUAL = np.full(3, np.sqrt(0.5))


def matrix(shared: np.ndarray) -> np.ndarray:
    out = np.outer(shared, shared)
    np.fill_diagonal(out, 1)
    return out


def test_scipy_agrees_on_rows() -> None:
    """Unequal n; scipy integrates by quasi Monte Carlo to about 1e-4."""
    rng = np.random.default_rng(2)
    control, *variants = (rng.normal(m, 1, n) for m, n in ((0, 30), (0.4, 22), (0.8, 41), (0.1, 17)))
    theirs = sps.dunnett(*variants, control=control, rng=np.random.default_rng(0))
    df = sum(group.size - 1 for group in (control, *variants))
    pooled = sum((group.size - 1) * group.var(ddof=1) for group in (control, *variants)) / df
    sizes = np.array([v.size for v in variants])
    error = np.sqrt(pooled * (1 / control.size + 1 / sizes))
    estimate = np.array([v.mean() - control.mean() for v in variants])
    shared = loadings(1 / control.size, 1 / sizes)
    assert estimate / error == pytest.approx(theirs.statistic, rel=1e-9)
    assert dunnett(estimate / error, shared, df) == pytest.approx(theirs.pvalue, abs=5e-4)
    interval = theirs.confidence_interval(0.95)
    low, high = dunnett_intervals(estimate, error, shared, df)
    assert low == pytest.approx(interval.low, abs=5e-3)
    assert high == pytest.approx(interval.high, abs=5e-3)


@pytest.mark.parametrize("size", [0.3, 1.5, 2.4, 4.0])
@pytest.mark.parametrize("n", [(50, 50, 50), (400, 30, 7), (5, 900, 60)])
def test_multivariate_normal_agrees(size: float, n: tuple[int, ...]) -> None:
    shared = loadings(1 / 40, 1 / np.array(n))
    box = sps.multivariate_normal(cov=matrix(shared), seed=1, maxpts=500_000, abseps=1e-9)
    expected = 1 - box.cdf([size] * 3, lower_limit=[-size] * 3)
    assert float(dunnett([size, 0, 0], shared)[0]) == pytest.approx(expected, abs=1e-6)


def test_two_variants_against_double_integration() -> None:
    """Student's form by nested adaptive quadrature over the pooled spread and control's error."""
    shared, df, size = np.array([0.8, 0.6]), 7, 2.1
    own = np.sqrt(1 - shared**2)

    def inside(u: float, s: float) -> float:
        ends = (size * s - shared * u) / own, (-size * s - shared * u) / own
        return float(np.prod(sps.norm.cdf(ends[0]) - sps.norm.cdf(ends[1])) * sps.norm.pdf(u))

    spread = sps.chi(df, scale=1 / np.sqrt(df))
    within = integrate.quad(
        lambda s: integrate.quad(inside, -9, 9, args=(s,), epsabs=1e-9)[0] * spread.pdf(s), 0, 4, epsabs=1e-8
    )[0]
    assert float(dunnett([size, 0.0], shared, df)[0]) == pytest.approx(1 - within, abs=1e-7)


def test_published_critical_values() -> None:
    """Dunnett (1964), New tables, Biometrics 20, table II: two-sided .05, equal n."""
    tables = {
        10: {2: 2.57, 3: 2.76, 4: 2.89, 5: 2.99},
        20: {2: 2.38, 3: 2.54, 4: 2.65, 5: 2.73},
        np.inf: {2: 2.21, 3: 2.35, 4: 2.44, 5: 2.51},
    }
    for df, row in tables.items():
        for k, value in row.items():
            assert float(dunnett_critical(0.05, np.full(k, np.sqrt(0.5)), df)) == pytest.approx(value, abs=0.0051)


def test_ends_of_the_range() -> None:
    z = np.array([2.3, 1.0, -0.4])
    assert dunnett([2.3], [0.7]) == pytest.approx([2 * normal_upper(2.3)], rel=1e-9)
    assert dunnett([2.3], [0.7], df=9) == pytest.approx([2 * t_upper(9, 2.3)], rel=1e-9)
    # Independent comparisons: Šidák's closed form.
    assert dunnett(z, np.zeros(3)) == pytest.approx(1 - (1 - 2 * normal_upper(np.abs(z))) ** 3, rel=1e-9)
    # A control without units of its own to speak of: all comparisons are one.
    assert dunnett(z, np.full(3, 1 - 1e-9)) == pytest.approx(2 * normal_upper(np.abs(z)), rel=2e-3)
    # Far out the tails add up, however small.
    assert dunnett([9.0, 0, 0], EQUAL)[0] == pytest.approx(6 * normal_upper(9.0), rel=1e-3)
    assert np.isnan(dunnett([np.nan, 2.0], EQUAL[:2])[0])
    assert dunnett([np.nan, 2.0], EQUAL[:2])[1] == pytest.approx(2 * normal_upper(2.0))


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=4),
    st.floats(0, 0.98),
    st.sampled_from([0.01, 0.05, 0.2]),
    st.sampled_from([6.0, 80.0, np.inf]),
)
@settings(max_examples=15, deadline=None)
def test_p_interval_and_critical_value_agree(z: list[float], shared: float, alpha: float, df: float) -> None:
    values, weights = np.array(z), np.full(len(z), shared)
    p = dunnett(values, weights, df)
    critical = float(dunnett_critical(alpha, weights, df))
    low, high = dunnett_intervals(values, np.ones(len(z)), weights, df, alpha)
    clear = np.abs(np.abs(values) - critical) > 1e-7
    assert np.array_equal((p <= alpha)[clear], (np.abs(values) > critical)[clear])
    assert np.array_equal(((low > 0) | (high < 0))[clear], (p <= alpha)[clear])
    single = 2 * t_upper(df, np.abs(values))
    assert (p >= single - 1e-8).all()
    assert (p <= np.minimum(len(z) * single, 1) + 1e-8).all()
    assert critical <= float(t_quantile(df, 1 - alpha / 2 / len(z))) + 1e-7
    down = dunnett_step_down(values, weights, df)
    assert (down <= p + 1e-8).all()
    # Stepping down with the true correlation never rejects less than Holm, which steps down without it.
    assert (down <= holm(single) + 1e-8).all()


def test_loadings_from_a_correlation_matrix() -> None:
    shared = np.array([0.3, 0.9, 0.5, 0.0])
    assert product_loadings(matrix(shared)) == pytest.approx(shared, abs=1e-9)
    assert product_loadings([[1.0, 0.36], [0.36, 1.0]]) == pytest.approx([0.6, 0.6])
    assert loadings([1 / 50], [[1 / 50, 1 / 200]]).shape == (1, 2)
    for wrong in (
        [[1, 0.5]],
        [[1, 0.5], [0.4, 1]],
        [[1, -0.5], [-0.5, 1]],
        [[1, 0.9, 0.1], [0.9, 1, 0.9], [0.1, 0.9, 1]],
    ):
        with pytest.raises(ValueError):
            product_loadings(wrong)


def test_as_a_family_in_a_report() -> None:
    p = 2 * normal_upper(np.array([[2.5, 1.0, 2.0], [0.3, np.nan, 3.5]]))
    found = adjust("dunnett", p, correlation=EQUAL)
    # Two metrics, joined by Bonferroni; the second has two comparisons.
    assert found.p_adjusted[0] == pytest.approx(np.minimum(2 * dunnett([2.5, 1.0, 2.0], EQUAL), 1), rel=1e-6)
    assert found.p_adjusted[1, 2] == pytest.approx(2 * dunnett([0.3, 3.5], EQUAL[:2])[1], rel=1e-6)
    assert np.isnan(found.p_adjusted[1, 1])
    critical = float(dunnett_critical(0.025, EQUAL))
    assert found.interval_alpha[0] == pytest.approx(2 * normal_upper(critical), rel=1e-6)
    assert not found.shortens
    same = adjust("dunnett", p[0], correlation=matrix(EQUAL))
    assert same.p_adjusted == pytest.approx(dunnett([2.5, 1.0, 2.0], EQUAL), rel=1e-6)
    # Nothing known of the correlation: Šidák, which holds for any.
    unknown = adjust("dunnett", p[0])
    assert unknown.p_adjusted == pytest.approx(1 - (1 - p[0]) ** 3, rel=1e-6)
    assert (unknown.p_adjusted >= same.p_adjusted).all()
    for wrong in ([0.5], [0.5, 1.5, 0.2], [[1.0, 0.5], [0.5, 1.0]]):
        with pytest.raises(ValueError):
            adjust("dunnett", p[0], correlation=wrong)
    with pytest.raises(ValueError, match="axis"):
        adjust("dunnett", 0.04)
    with pytest.raises(ValueError, match="single axis"):
        dunnett_step_down(p, EQUAL)
    assert adjust("dunnett", np.full((2, 0), np.nan)).p_adjusted.shape == (2, 0)


def test_nobody_in_a_variant_has_no_loading() -> None:
    assert np.isnan(loadings(np.inf, [0.1, np.inf])).all()
    assert loadings(0.0, [0.1, 0.2]).tolist() == [0.0, 0.0]
    empty = adjust("dunnett", [0.02, np.nan], correlation=loadings(0.1, [0.1, np.inf]))
    assert empty.p_adjusted[0] == pytest.approx(0.02, rel=1e-6)
