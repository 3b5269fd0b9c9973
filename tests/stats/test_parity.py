"""Where others compute the same thing, random data give the same numbers; where they are wrong, ours is not.

Peers: scipy, statsmodels and tea-tasting. Further bugs of peers stand with the function they concern: NULLs counted in
n (test_moments), θ over variants thrown together (test_adjustment), log intervals near zero (test_relative), a wrong
coefficient in constrained proportions (test_proportions).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tea_tasting.aggr
import tea_tasting.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from stats.adjustment import cuped_means, cuped_ratios
from stats.distributions import normal_critical, normal_upper, t_critical, t_quantile, t_upper
from stats.effects import (
    agresti_caffo,
    difference_of_means,
    difference_of_proportions,
    difference_of_ratios,
    equivalence,
    newcombe,
    non_inferiority,
    proportions,
    relative,
    wilson,
)
from stats.effects.result import EffectValue
from stats.moments import Moments
from stats.samples import Sample, linearise, means, quadratic, ratios

SEEDS = st.integers(0, 2**32 - 1)
COLUMNS = ["spend", "orders", "visits", "spend_before", "orders_before", "visits_before"]


def drawn(seed: int) -> tuple[list[np.ndarray], Moments]:
    """Return rows of both variants, with a history that tells something, and their moments."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in rng.integers(20, 300, 2):
        keen = rng.gamma(2, 1, n)
        visits, before = (1 + rng.poisson(3 * keen) for _ in range(2))
        orders, orders_before = rng.binomial(visits, 0.3), rng.binomial(before, 0.3)
        parts.append(
            np.column_stack(
                [
                    orders * rng.lognormal(3, 1, n),
                    orders,
                    visits,
                    orders_before * rng.lognormal(3, 1, n),
                    orders_before,
                    before,
                ]
            )
        )
    cell = np.repeat([0, 1], [len(part) for part in parts])
    return parts, Moments.from_rows(COLUMNS, np.concatenate(parts), cell=cell)


def aggregates(parts: list[np.ndarray]) -> list[tea_tasting.aggr.Aggregates]:
    """Return the same rows as tea-tasting's sums."""
    out = []
    for rows in parts:
        covariance = np.cov(rows, rowvar=False)
        pairs = {(a, b): float(covariance[i, j]) for i, a in enumerate(COLUMNS) for j, b in enumerate(COLUMNS) if a < b}
        out.append(
            tea_tasting.aggr.Aggregates(
                count_=len(rows),
                mean_=dict(zip(COLUMNS, rows.mean(axis=0).tolist(), strict=True)),
                var_={a: float(covariance[i, i]) for i, a in enumerate(COLUMNS)},
                cov_=pairs,
            )
        )
    return out


def same(ours: EffectValue, theirs: Any) -> None:
    """Compare estimate, interval and p with a tea-tasting result."""
    assert ours.estimate == pytest.approx(theirs.effect_size, rel=1e-8, abs=1e-10)
    ends = (theirs.effect_size_ci_lower, theirs.effect_size_ci_upper)
    assert (ours.ci_low, ours.ci_high) == pytest.approx(ends, rel=1e-8, abs=1e-10)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-8)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_tea_tasting_agrees_on_means_and_ratios(seed: int) -> None:
    parts, moments = drawn(seed)
    sums = aggregates(parts)
    spend, rate = means(moments, "spend"), ratios(moments, "orders", "visits")
    same(difference_of_means(*spend).value(), tea_tasting.metrics.Mean("spend").analyze_aggregates(*sums))
    theirs = tea_tasting.metrics.RatioOfMeans("orders", "visits").analyze_aggregates(*sums)
    same(difference_of_ratios(*rate).value(), theirs)
    assert relative(*rate).value().estimate == pytest.approx(theirs.rel_effect_size, rel=1e-8, abs=1e-10)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_tea_tasting_agrees_on_cuped_with_its_own_theta(seed: int) -> None:
    """Its θ is that of all rows together; with that one everything else is the same."""
    parts, moments = drawn(seed)
    sums, whole = aggregates(parts), moments.sum()
    theta = whole.covariance()[0, 3] / whole.covariance()[3, 3]
    adjusted = cuped_means(moments, "spend", ["spend_before"], theta=[theta])
    theirs = tea_tasting.metrics.Mean("spend", "spend_before").analyze_aggregates(*sums)
    same(difference_of_means(*adjusted.sample).value(), theirs)
    _, now = linearise(whole, ("orders", "visits"))
    _, before = linearise(whole, ("orders_before", "visits_before"))
    theta = quadratic(whole, now, before) / quadratic(whole, before)
    ratio = cuped_ratios(moments, "orders", "visits", [("orders_before", "visits_before")], theta=[theta])
    theirs = tea_tasting.metrics.RatioOfMeans("orders", "visits", "orders_before", "visits_before").analyze_aggregates(
        *sums
    )
    same(difference_of_means(*ratio.sample).value(), theirs)


@given(SEEDS, st.sampled_from([0.01, 0.05, 0.2]), st.floats(-30, 30))
@settings(max_examples=40, deadline=None)
def test_statsmodels_and_scipy_agree_on_welch_margins_and_equivalence(seed: int, alpha: float, margin: float) -> None:
    parts, moments = drawn(seed)
    spend = means(moments, "spend")
    ours = difference_of_means(*spend, alpha).value()
    peer = CompareMeans(DescrStatsW(parts[1][:, 0]), DescrStatsW(parts[0][:, 0]))
    assert (ours.ci_low, ours.ci_high) == pytest.approx(peer.tconfint_diff(alpha, usevar="unequal"), rel=1e-8, abs=1e-9)
    theirs = scipy.stats.ttest_ind(parts[1][:, 0], parts[0][:, 0], equal_var=False)
    assert (ours.p_value, ours.df) == pytest.approx((theirs.pvalue, theirs.df), rel=1e-8)
    limit = abs(margin) + 0.1
    guardrail = non_inferiority(*spend, limit)
    _, p_value, _ = peer.ttest_ind(alternative="larger", usevar="unequal", value=-limit)
    assert float(guardrail.p_value) == pytest.approx(p_value, rel=1e-8)
    p_value, *_ = peer.ttost_ind(-limit, limit, usevar="unequal")
    assert float(equivalence(*spend, -limit, limit)) == pytest.approx(p_value, rel=1e-8)


COUNTS = st.integers(50, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, COUNTS, st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=100, deadline=None)
def test_statsmodels_agrees_on_proportions(control: tuple[int, int], variant: tuple[int, int], alpha: float) -> None:
    counts = (*control, *variant)
    theirs = confint_proportions_2indep(*variant, *control, compare="diff", method="newcomb", alpha=alpha)
    assert newcombe(*counts, alpha) == pytest.approx(theirs, rel=1e-7, abs=1e-9)
    theirs = confint_proportions_2indep(*variant, *control, compare="diff", method="agresti-caffo", alpha=alpha)
    assert agresti_caffo(*counts, alpha) == pytest.approx(theirs, rel=1e-7, abs=1e-12)
    assert wilson(*control, alpha) == pytest.approx(proportion_confint(*control, alpha, "wilson"), rel=1e-7, abs=1e-9)
    pooled = (control[0] + variant[0]) / (control[1] + variant[1])
    if min(pooled, 1 - pooled) * min(control[1], variant[1]) >= 10:
        _, p_value = proportions_ztest([variant[0], control[0]], [variant[1], control[1]])
        ours = difference_of_proportions(proportions(*control), proportions(*variant), alpha).value()
        assert ours.p_value == pytest.approx(p_value, rel=1e-8, abs=1e-300)


@given(st.floats(2, 1e9), st.floats(-8, 8))
@settings(max_examples=300, deadline=None)
def test_students_distribution_is_scipys_on_both_sides_of_the_switch(df: float, t: float) -> None:
    """Oracle: the incomplete beta function; the tail area of large df comes from a series."""
    tail = scipy.special.betaincc(0.5, df / 2, t * t / (df + t * t)) / 2
    assert float(t_upper(df, t)) == pytest.approx(tail if t >= 0 else 1 - tail, rel=1e-9)
    share = float(t_upper(df, abs(t)))
    if share > 1e-12:
        assert float(t_quantile(df, share)) == pytest.approx(-abs(t), rel=1e-8, abs=1e-9)


@given(st.one_of(st.floats(1, 40), st.floats(40, 1e9), st.just(np.inf)), st.floats(-300, -0.31))
@settings(max_examples=200, deadline=None)
def test_a_critical_value_has_its_tail_however_small_that_is(df: float, magnitude: float) -> None:
    """Oracle: the incomplete beta function's own tail. Levels of early looks are far below 1e-16."""
    tail = 10.0**magnitude
    critical = float(t_critical(df, tail))
    assert critical > 0
    if np.isinf(df) or df > 1e7:
        assert critical == pytest.approx(-scipy.special.ndtri(tail), rel=2e-5)
    elif critical < 1e150 and (df < 2000 or tail > 1e-100):
        assert scipy.special.stdtr(df, -critical) == pytest.approx(tail, rel=1e-8)
    assert float(normal_upper(normal_critical(tail))) == pytest.approx(tail, rel=1e-11)


def test_the_quantiles_of_nothing_and_of_all_are_infinite() -> None:
    """The series for large df would multiply them by 1/∞, and warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for df in ([3.0], [np.inf], [3.0, 5000.0, np.inf]):
            assert np.isposinf(t_critical(df, 0.0)).all()
            assert np.isposinf(t_quantile(df, 1.0)).all()
            assert np.isneginf(t_quantile(df, 0.0)).all()
        # A level that is zero in doubles: nothing is told from zero, with a reason and without a warning.
        lift = relative(Sample.of(50, 1.0, 0.0), Sample.of(50, 0.9, 0.09), 0.0, df=np.inf).value()
        assert lift.ci_low is None
        assert lift.why_code == "baseline_near_zero"


def test_an_array_of_mixed_df_gives_what_single_calls_give() -> None:
    df = np.array([3.0, 1999.0, 2000.0, 1e7, np.inf, np.nan])
    single = [float(t_quantile(one, 0.975)) for one in df]
    assert t_quantile(df, 0.975) == pytest.approx(single, rel=1e-15, nan_ok=True)
    assert t_quantile(df, 0.975)[4] == pytest.approx(1.959963984540054, rel=1e-14)
    single = [float(t_upper(one, 2.2)) for one in df]
    assert t_upper(df, 2.2) == pytest.approx(single, rel=1e-15, nan_ok=True)
    assert float(t_upper(np.inf, 60.0)) == 0.0


@pytest.mark.parametrize("scale", [1e-140, 1e-77, 1.0, 1e77, 1e140])
def test_no_scale_overflows(scale: float) -> None:
    """Fourth powers of values of 1e77 would; p and degrees of freedom must not depend on the unit."""
    plain = difference_of_means(Sample.of(40, 3.0, 2.0), Sample.of(60, 4.0, 5.0)).value()
    scaled = difference_of_means(
        Sample.of(40, 3.0 * scale, 2.0 * scale**2), Sample.of(60, 4.0 * scale, 5.0 * scale**2)
    ).value()
    assert (scaled.df, scaled.p_value) == pytest.approx((plain.df, plain.p_value), rel=1e-9)
    assert scaled.ci_low / scale == pytest.approx(plain.ci_low, rel=1e-9)


def test_every_interval_holds_its_own_estimate() -> None:
    """A peer's bug: its one-sided interval "lesser" was [−∞, estimate − w], without the estimate."""
    _, moments = drawn(1)
    for sample in (means(moments, "spend"), ratios(moments, "orders", "visits")):
        for effect in (difference_of_means(*sample).value(), relative(*sample).value()):
            assert effect.ci_low < effect.estimate < effect.ci_high
    for x in (0, 1, 7, 50):
        effect = difference_of_proportions(proportions(x, 50), proportions(3, 60)).value()
        assert effect.ci_low <= effect.estimate <= effect.ci_high


def test_a_grid_never_mixes_its_groups_up() -> None:
    """A peer's bug: groups taken in another order than their labels. Each cell is what it would be alone."""
    rng = np.random.default_rng(4)
    n = rng.integers(20, 400, (3, 5))
    grid = Sample.of(n, rng.normal(5, 2, n.shape), rng.gamma(3, 2, n.shape))
    effects = difference_of_means(grid[:1], grid[1:])
    for variant, segment in np.ndindex(2, 5):
        alone = difference_of_means(grid[0, segment], grid[1 + variant, segment]).value()
        assert effects.value(variant, segment) == alone
