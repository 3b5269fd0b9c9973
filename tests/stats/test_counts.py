"""Counts: robust ratios are statsmodels' Poisson regression, exact ones are binomial tails; totals and profit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.effects import (
    difference_of_means,
    dispersion,
    exact_rate_ratio,
    profit_per_unit,
    rate_ratio,
    total,
)
from stats.moments import Moments
from stats.samples import Sample, means


def test_the_robust_ratio_is_a_poisson_regression_with_robust_errors() -> None:
    """Oracle: statsmodels GLM, Poisson, HC0; its sums divide by n where ours divide by n − 1."""
    rng = np.random.default_rng(2)
    n = np.array([900, 700])
    rows = [rng.negative_binomial(0.4, 0.2, size) for size in n]
    cells = means(Moments.from_rows(["orders"], np.concatenate(rows)[:, None], cell=np.repeat([0, 1], n)), "orders")
    lift = rate_ratio(cells[0], cells[1]).value()
    design = np.column_stack([np.ones(n.sum()), np.repeat([0, 1], n)])
    fit = sm.GLM(np.concatenate(rows), design, family=sm.families.Poisson()).fit(cov_type="HC0")
    assert np.log1p(lift.estimate) == pytest.approx(fit.params[1], rel=1e-9)
    unbiased = [part.var(ddof=1) / size / part.mean() ** 2 for part, size in zip(rows, n, strict=True)]
    biased = [part.var() / size / part.mean() ** 2 for part, size in zip(rows, n, strict=True)]
    assert sum(biased) ** 0.5 == pytest.approx(fit.bse[1], rel=1e-6)
    assert lift.std_error / (1 + lift.estimate) == pytest.approx(sum(unbiased) ** 0.5, rel=1e-9)
    assert float(dispersion(cells[0])) > 3


def test_overdispersed_counts_are_not_poisson() -> None:
    """A/A with variance four times the mean: robust .05 ± 3 s.e. (.0092 of 5,000), Poisson far more. Seed fixed."""
    rng = np.random.default_rng(3)
    a, b = (rng.negative_binomial(0.5, 0.25, (5000, 400)) for _ in range(2))
    control, variant = (Sample.of(np.full(5000, 400), x.mean(axis=1), x.var(axis=1, ddof=1)) for x in (a, b))
    assert (rate_ratio(control, variant).p_value <= 0.05).mean() == pytest.approx(0.05, abs=0.0092)
    poisson = exact_rate_ratio(a.sum(axis=1)[:500], 400, b.sum(axis=1)[:500], 400)
    assert (poisson.p_value <= 0.05).mean() > 0.2


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 500), st.integers(1, 500))
@settings(max_examples=80, deadline=None)
def test_the_exact_ratio_inverts_binomial_tails(x0: int, x1: int, t0: int, t1: int) -> None:
    """Oracle: scipy.stats.binom."""
    effect = exact_rate_ratio(x0, t0, x1, t1).value()
    if x0 + x1 == 0:
        assert (effect.why_code, effect.p_value) == ("no_outcomes", None)
        return
    law = scipy.stats.binom(x0 + x1, t1 / (t0 + t1))
    half = law.pmf(x1) / 2
    assert effect.p_value == pytest.approx(min(1, 2 * min(law.cdf(x1) - half, law.sf(x1) + half)), rel=1e-9)
    if x0 == 0:
        assert (effect.why_code, effect.ci_high) == ("baseline_near_zero", None)
        return
    for end, upper in ((effect.ci_low, False), (effect.ci_high, True)):
        if end == -1:
            assert x1 == 0
            continue
        odds = (end + 1) * t1 / t0
        there = scipy.stats.binom(x0 + x1, odds / (1 + odds))
        tail = (there.cdf(x1) if upper else there.sf(x1 - 1)) - there.pmf(x1) / 2
        assert tail == pytest.approx(0.025, rel=1e-6)
    if abs(effect.p_value / 0.05 - 1) > 1e-6:
        assert (effect.ci_low > 0 or effect.ci_high < 0) == (effect.p_value < 0.05)


def test_exact_ratios_cover_by_enumeration() -> None:
    """3 and 4.5 events expected, Poisson probabilities of all pairs up to 40: mid-p covers .95 within .03, or more."""
    x = np.arange(41)
    x0, x1 = np.meshgrid(x, x, indexing="ij")
    effect = exact_rate_ratio(x0, 1000, x1, 1500)
    weight = np.outer(scipy.stats.poisson.pmf(x, 3), scipy.stats.poisson.pmf(x, 4.5))
    told = effect.why == 0
    covered = (effect.ci_low <= 0) & (effect.ci_high >= 0)
    assert (weight * covered * told).sum() / weight[told].sum() >= 0.92
    assert (weight * (effect.p_value <= 0.05)).sum() <= 0.06


def test_edges_of_rate_ratios_say_why() -> None:
    some, none = Sample.of(50, 0.5, 0.6), Sample.of(50, 0.0, 0.0)
    assert rate_ratio(none, none).value().why_code == "no_outcomes"
    assert rate_ratio(none, some).value().why_code == "baseline_near_zero"
    below = rate_ratio(some, none).value()
    assert (below.why_code, below.p_value) == ("baseline_near_zero", None)
    assert rate_ratio(Sample.of(50, -1.0, 1.0), some).value().why_code == "baseline_negative"
    assert rate_ratio(Sample.of(50, 1.0, 0.0), Sample.of(50, 2.0, 0.0)).value().why_code == "zero_variance"
    with pytest.raises(ValueError, match="whole numbers"):
        exact_rate_ratio(1.5, 10, 2, 10)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 3), st.floats(-4, -0.1))
@settings(max_examples=40, deadline=None)
def test_profit_per_unit_is_the_mean_of_each_units_profit(seed: int, margin: float, cost: float) -> None:
    """Oracle: the profit of every row, compared by Welch in scipy."""
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.gamma(1, 40, 120), rng.binomial(1, 0.3, 120)])
    cell = np.repeat([0, 1], 60)
    sample = profit_per_unit(
        Moments.from_rows(["revenue", "redeemed"], rows, cell=cell), {"revenue": margin, "redeemed": cost}
    )
    profit = margin * rows[:, 0] + cost * rows[:, 1]
    effect = difference_of_means(sample[0], sample[1])
    theirs = scipy.stats.ttest_ind(profit[60:], profit[:60], equal_var=False)
    assert effect.value().p_value == pytest.approx(theirs.pvalue, rel=1e-8)
    whole = total(effect, 25_000).value()
    assert whole.estimate == pytest.approx(25_000 * (profit[60:].mean() - profit[:60].mean()), rel=1e-8, abs=1e-7)
    assert whole.p_value == effect.value().p_value
    with pytest.raises(ValueError, match="negative"):
        total(effect, -1)


def test_ratios_of_noise_about_zero_are_not_given() -> None:
    """Their interval on the log scale would end beyond the largest double, with a warning and without a reason."""
    lift = rate_ratio(Sample.of(1000, 8e-5, 480.0), Sample.of(900, 7e-5, 500.0)).value()
    assert lift.why_code == "baseline_near_zero"
    assert (lift.ci_low, lift.ci_high, lift.p_value) == (None, None, None)


def test_the_exact_test_keeps_its_digits_in_either_tail() -> None:
    """Closed form: 100 events of 100 on one side have mid-p 2 · ½ · ½¹⁰⁰."""
    for counts in ((100, 0), (0, 100)):
        found = exact_rate_ratio(counts[0], 5000, counts[1], 5000)
        assert float(found.p_value) == pytest.approx(0.5**100, rel=1e-10)


@pytest.mark.parametrize("alpha", [0.05, 1e-9, 1e-15, 1e-30])
def test_the_ends_of_exact_ratios_swap_with_the_variants(alpha: float) -> None:
    """1 + ρ of one order is 1 / (1 + ρ) of the other: each end comes from its own tail, however small."""
    one = exact_rate_ratio(100, 10_000, 140, 12_000, alpha).value()
    other = exact_rate_ratio(140, 12_000, 100, 10_000, alpha).value()
    assert one.ci_low is not None
    assert one.ci_high is not None
    assert (other.ci_low, other.ci_high) == pytest.approx((1 / (1 + one.ci_high) - 1, 1 / (1 + one.ci_low) - 1))
