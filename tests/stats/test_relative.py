"""Fieller: parity with closed forms, scale invariance, coverage, and "not defined" near a zero baseline."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tea_tasting.aggr
import tea_tasting.metrics
from hypothesis import given
from hypothesis import strategies as st

from stats.adjustment import cuped_means
from stats.effects import difference_of_means, relative
from stats.moments import Moments
from stats.samples import Sample
from stats.sequential import monitor

POSITIVE = st.tuples(st.integers(30, 10**5), st.floats(1.0, 100.0), st.floats(1e-2, 1.0))


@given(POSITIVE, POSITIVE, st.floats(1e-3, 1e3))
def test_a_share_has_no_unit(
    control: tuple[int, float, float], variant: tuple[int, float, float], scale: float
) -> None:
    base = relative(Sample.of(*control), Sample.of(*variant)).value()
    scaled = relative(*(Sample.of(n, m * scale, v * scale**2) for n, m, v in (control, variant))).value()
    assert scaled.estimate == pytest.approx(base.estimate, rel=1e-9, abs=1e-12)
    assert (scaled.ci_low, scaled.ci_high) == pytest.approx((base.ci_low, base.ci_high), rel=1e-6, abs=1e-9)


@given(POSITIVE, POSITIVE, st.floats(0.001, 0.3))
def test_it_agrees_with_the_difference_about_zero(
    control: tuple[int, float, float], variant: tuple[int, float, float], alpha: float
) -> None:
    lift = relative(Sample.of(*control), Sample.of(*variant), alpha).value()
    effect = difference_of_means(Sample.of(*control), Sample.of(*variant), alpha).value()
    assert lift.p_value == effect.p_value
    if abs(effect.p_value / alpha - 1) > 1e-6:
        assert (lift.ci_low > 0 or lift.ci_high < 0) == (effect.p_value < alpha)


@given(POSITIVE, POSITIVE)
def test_every_end_is_a_share_that_is_just_rejected(
    control: tuple[int, float, float], variant: tuple[int, float, float]
) -> None:
    """Fieller's definition: at an end ρ, (difference − ρ·baseline)² equals t² times its variance."""
    from stats.distributions import t_quantile

    lift = relative(Sample.of(*control), Sample.of(*variant)).value()
    (n0, m0, v0), (n1, m1, v1) = control, variant
    critical = float(t_quantile(lift.df, 0.975))
    for share in (lift.ci_low, lift.ci_high):
        spread = v1 / n1 + (1 + share) ** 2 * v0 / n0
        assert (m1 - (1 + share) * m0) ** 2 == pytest.approx(critical**2 * spread, rel=1e-5)


def test_far_from_zero_it_is_the_log_interval_of_a_peer() -> None:
    """tea-tasting's relative interval (delta on the log) is right far from a zero mean; there the two meet."""
    aggregates = [
        tea_tasting.aggr.Aggregates(count_=n, mean_={"x": m}, var_={"x": v}, cov_={})
        for n, m, v in ((20_000, 50.0, 100.0), (21_000, 50.4, 110.0))
    ]
    theirs = tea_tasting.metrics.Mean("x").analyze_aggregates(*aggregates)
    ours = relative(Sample.of(20_000, 50.0, 100.0), Sample.of(21_000, 50.4, 110.0)).value()
    assert ours.estimate == pytest.approx(theirs.rel_effect_size, rel=1e-12)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.ci_low == pytest.approx(theirs.rel_effect_size_ci_lower, abs=2e-6)
    assert ours.ci_high == pytest.approx(theirs.rel_effect_size_ci_upper, abs=2e-6)


def test_near_a_zero_baseline_a_peer_reports_nonsense_and_we_report_nothing() -> None:
    """The peer's ends there: lower −100 %, upper far below; Fieller's set is unbounded, which we say."""
    control, variant = (50, 0.01, 4.0), (50, -0.5, 4.0)
    aggregates = [
        tea_tasting.aggr.Aggregates(count_=n, mean_={"x": m}, var_={"x": v}, cov_={}) for n, m, v in (control, variant)
    ]
    with np.errstate(all="ignore"):
        theirs = tea_tasting.metrics.Mean("x").analyze_aggregates(*aggregates)
    assert theirs.rel_effect_size_ci_lower > theirs.rel_effect_size_ci_upper
    ours = relative(Sample.of(*control), Sample.of(*variant)).value()
    assert (ours.estimate, ours.ci_low, ours.ci_high, ours.p_value) == (None, None, None, None)
    assert ours.why == "relative change is not defined: control's mean cannot be told from zero"


@pytest.mark.parametrize(
    ("baseline", "why"), [(-5.0, "baseline_negative"), (0.0, "baseline_near_zero"), (0.2, "baseline_near_zero")]
)
def test_negative_zero_and_near_zero_baselines_are_named(baseline: float, why: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lift = relative(Sample.of(100, baseline, 4.0), Sample.of(100, 3.0, 4.0)).value()
    assert lift.why_code == why
    assert (lift.estimate, lift.ci_low, lift.p_value) == (None, None, None)


def test_it_covers_also_where_the_delta_method_does_not() -> None:
    """20,000 runs at a baseline 6 standard errors from zero: coverage .95 ± 3 s.e. (.0046) ± .001; seed fixed.

    Undefined intervals (unbounded sets, a few in 100,000 here) count as covering.
    """
    rng = np.random.default_rng(31)
    runs, n, truth = 20_000, 144, 0.5
    a = rng.normal(1.0, 2.0, (runs, n))
    b = rng.normal(1.0 + truth, 2.0, (runs, n))
    lift = relative(
        Sample.of(n, a.mean(axis=1), a.var(axis=1, ddof=1)), Sample.of(n, b.mean(axis=1), b.var(axis=1, ddof=1))
    )
    covered = (lift.why != 0) | ((lift.ci_low <= truth) & (lift.ci_high >= truth))
    assert covered.mean() == pytest.approx(0.95, abs=0.0046 + 0.001)


@pytest.mark.slow
def test_it_covers_with_an_adjusted_baseline() -> None:
    """4,000 runs with a covariate of correlation .8, 40 members a variant; coverage .95 ± 3 s.e. (.0103) ± .004.

    The covariates' common mean is an estimate too: without its variance the baseline would look too sure.
    """
    rng = np.random.default_rng(37)
    covered, narrow = [], []
    for _ in range(4000):
        before = rng.normal(3.0, 1.0, 80)
        arm = np.repeat([0, 1], 40)
        after = 3 * (before - 3) + 4.0 + 6.0 * arm + rng.normal(0, 2.25, 80)
        moments = Moments.from_rows(["after", "before"], np.column_stack([after, before]), cell=arm)
        both = cuped_means(moments, "after", ["before"]).sample
        lift = relative(both[0], both[1]).value()
        covered.append(lift.ci_low <= 1.5 <= lift.ci_high)
        blind = Sample(both.n, both.mean, both.variance, both.why, both.shift_cov * 0, both.shift_var * 0)
        lift = relative(blind[0], blind[1]).value()
        narrow.append(lift.ci_low <= 1.5 <= lift.ci_high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.0103 + 0.004)
    assert np.mean(narrow) < 0.93


def test_a_covariance_beyond_both_errors_does_not_shut_the_interval() -> None:
    """Corrections of variances one by one can leave a covariance that no two estimates have (Cauchy, Schwarz)."""
    control, variant = Sample.of(3, 0.00871, 4.4e-8), Sample.of(22, 0.00444, 2.6e-6)
    apart = (
        Sample(control.n, control.mean, control.variance, control.why, np.asarray(8.2e-10), np.asarray(2.7e-7)),
        Sample(variant.n, variant.mean, variant.variance, variant.why, np.asarray(-2.8e-6), np.asarray(2.7e-7)),
    )
    lift = relative(*apart, df=24).value()
    assert lift.estimate is not None
    assert lift.ci_low is not None
    assert lift.ci_high is not None
    assert lift.ci_low < lift.estimate < lift.ci_high


def test_at_the_level_of_an_early_look_there_is_an_interval() -> None:
    """O'Brien and Fleming's first look in fifty has a level of 1e-56; control's mean is told from zero all the same."""
    control, variant = Sample.of(200_000, 0.2, 0.16), Sample.of(200_000, 0.205, 0.163)
    watched = monitor([0.005], [float(difference_of_means(control, variant).std_error)], [0.02])
    assert float(watched.level) < 1e-50
    found = relative(control, variant, watched.level, df=np.inf).value()
    # Oracle: the set of shares ρ at which variant − (1 + ρ)·control is within the bound of its standard error.
    bound = float(watched.bounds[0])
    for end in (found.ci_low, found.ci_high):
        assert end is not None
        distance = 0.205 - (1 + end) * 0.2
        error = (0.163 / 200_000 + (1 + end) ** 2 * 0.16 / 200_000) ** 0.5
        assert abs(distance) / error == pytest.approx(bound, rel=1e-6)
