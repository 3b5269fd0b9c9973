"""Guardrails: a limit kept must be proved; parity with statsmodels, agreement with intervals, error rates."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as sps
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from stats.adjustment import cuped_means
from stats.effects import (
    difference_of_means,
    difference_of_proportions,
    equivalence,
    non_inferiority,
    non_inferiority_of_proportions,
    proportions,
    ratio_of_proportions,
    read_guardrail,
    relative,
)
from stats.moments import Moments
from stats.samples import Sample, means

RNG = np.random.default_rng(71)
A, B = RNG.gamma(3, 2, 300), RNG.gamma(3, 2.05, 280)
CELLS = means(Moments.from_rows(["x"], np.concatenate([A, B])[:, None], cell=np.repeat([0, 1], [300, 280])), "x")
SUMMARY = st.tuples(st.integers(50, 10**5), st.floats(2.0, 20.0), st.floats(0.1, 20.0))


def test_statsmodels_agrees() -> None:
    theirs = CompareMeans(DescrStatsW(B), DescrStatsW(A)).ttest_ind(alternative="larger", usevar="unequal", value=-0.4)
    ours = non_inferiority(CELLS[0], CELLS[1], 0.4)
    assert (float(ours.statistic), float(ours.p_value), float(ours.df)) == pytest.approx(theirs, rel=1e-9)
    smaller = CompareMeans(DescrStatsW(B), DescrStatsW(A)).ttest_ind(alternative="smaller", usevar="unequal", value=0.4)
    assert float(non_inferiority(CELLS[0], CELLS[1], 0.4, direction="decrease").p_value) == pytest.approx(smaller[1])
    tost = ttost_ind(B, A, -0.8, 0.8, usevar="unequal")
    assert float(equivalence(CELLS[0], CELLS[1], -0.8, 0.8)) == pytest.approx(tost[0], rel=1e-9)


@given(SUMMARY, SUMMARY, st.floats(0.01, 3.0), st.sampled_from(["increase", "decrease"]))
def test_the_reading_agrees_with_the_interval(
    control: tuple[int, float, float], variant: tuple[int, float, float], margin: float, direction: str
) -> None:
    effect = difference_of_means(Sample.of(*control), Sample.of(*variant)).value()
    guardrail = non_inferiority(Sample.of(*control), Sample.of(*variant), margin, direction=direction).value()
    low, high = (effect.ci_low, effect.ci_high) if direction == "increase" else (-effect.ci_high, -effect.ci_low)
    assume(min(abs(low + margin), abs(high + margin)) > 1e-9)
    expected = "within_limit" if low > -margin else "broken" if high < -margin else "not_proven"
    assert guardrail.reading == expected


@given(SUMMARY, SUMMARY, st.floats(0.01, 0.5))
def test_a_relative_margin_agrees_with_fieller(
    control: tuple[int, float, float], variant: tuple[int, float, float], margin: float
) -> None:
    """Same contrast, same variance; only Welch's df differ a little, hence the gap around the margin."""
    lift = relative(Sample.of(*control), Sample.of(*variant)).value()
    assume(lift.why is None)
    guardrail = non_inferiority(Sample.of(*control), Sample.of(*variant), margin, relative=True).value()
    assume(abs(guardrail.p_value - 0.025) > 0.004)
    assert (guardrail.reading == "within_limit") == (lift.ci_low > -margin)


@given(
    st.integers(200, 10**5).flatmap(lambda n: st.tuples(st.integers(60, n - 60), st.just(n))),
    st.integers(200, 10**5).flatmap(lambda n: st.tuples(st.integers(60, n - 60), st.just(n))),
    st.floats(0.01, 0.9),
    st.sampled_from(["increase", "decrease"]),
)
@settings(deadline=None)
def test_proportions_agree_with_their_score_intervals(
    control: tuple[int, int], variant: tuple[int, int], margin: float, direction: str
) -> None:
    a, b = proportions(*control), proportions(*variant)
    sign = 1 if direction == "increase" else -1
    for is_share, interval in ((True, ratio_of_proportions), (False, difference_of_proportions)):
        guardrail = non_inferiority_of_proportions(a, b, margin, direction=direction, relative=is_share).value()
        effect = interval(a, b).value()
        near = effect.ci_low if sign > 0 else effect.ci_high
        assume(guardrail.p_value is not None and abs(guardrail.p_value - 0.025) > 1e-6)
        # Where outcomes are few the interval is also scaled, so that it agrees with the exact p about zero.
        share = (control[0] + variant[0]) / (control[1] + variant[1])
        assume(min(share, 1 - share) * min(control[1], variant[1]) > 10)
        assert (guardrail.reading == "within_limit") == (sign * near > -margin)


@given(SUMMARY, SUMMARY, st.floats(0.01, 0.5))
def test_better_up_and_better_down_are_mirrors(
    control: tuple[int, float, float], variant: tuple[int, float, float], margin: float
) -> None:
    up = non_inferiority(Sample.of(*control), Sample.of(*variant), margin).value()
    turned = [Sample.of(n, -mean, variance) for n, mean, variance in (control, variant)]
    assert non_inferiority(*turned, margin, direction="decrease").value() == up
    assert up.p_value + up.p_value_broken == pytest.approx(1)


@pytest.mark.slow
def test_the_baselines_shift_counts_with_a_relative_margin() -> None:
    """Oracle: the variance of m1 − w·m0 from the joint covariance of adjusted means, over 4,000 simulated tests.

    Variances agree to ± 7 % (3 s.e. of a variance over 4,000 runs is 6.7 %); seed fixed.
    """
    rng = np.random.default_rng(73)
    weight, contrasts, claimed = 0.7, [], []
    for _ in range(4000):
        before = rng.normal(3.0, 1.0, 60)
        rows = np.column_stack([3 * before + rng.normal(0, 1.5, 60), before])
        both = cuped_means(Moments.from_rows(["y", "x"], rows, cell=np.arange(60) % 2), "y", ["x"]).sample
        contrasts.append(both.mean[1] - weight * both.mean[0])
        guardrail = non_inferiority(both[0], both[1], 1 - weight, relative=True)
        claimed.append((contrasts[-1] / float(guardrail.statistic)) ** 2)
    assert np.mean(claimed) == pytest.approx(np.var(contrasts), rel=0.07)


def test_distance_and_error_serve_an_always_valid_guardrail() -> None:
    from stats.sequential import mixture_band

    guardrail = non_inferiority(CELLS[0], CELLS[1], 0.4)
    assert float(guardrail.distance / guardrail.std_error) == pytest.approx(float(guardrail.statistic))
    band = mixture_band(guardrail.distance, guardrail.std_error, n=580, n_star=580)
    assert float(band.ci_low) < float(guardrail.distance) < float(band.ci_high)


@pytest.mark.parametrize("relative_margin", [True, False])
def test_a_limit_that_is_just_broken_is_rarely_called_kept(relative_margin: bool) -> None:
    """20,000 runs with the truth exactly at the limit, rare outcome (.8 %): at most .025 + .004 + 3 s.e. (.0033)."""
    rng = np.random.default_rng(79)
    n, rate = 8000, 0.008
    margin = 0.3 if relative_margin else 0.0024
    a = proportions(rng.binomial(n, rate, 20_000), n)
    b = proportions(rng.binomial(n, rate * 1.3, 20_000), n)
    p = non_inferiority_of_proportions(a, b, margin, direction="decrease", relative=relative_margin).p_value
    assert (p <= 0.025).mean() <= 0.025 + 0.004 + 0.0033


@pytest.mark.parametrize(
    ("control", "variant", "why"),
    [
        ((0, np.nan, np.nan), (9, 1.0, 1.0), "no_units"),
        ((1, 2.0, np.nan), (9, 1.0, 1.0), "too_few_units"),
        ((9, 2.0, 0.0), (9, 1.0, 0.0), "zero_variance"),
        ((9, -2.0, 1.0), (9, 1.0, 1.0), "baseline_negative"),
    ],
)
def test_edges_say_why_and_warn_of_nothing(
    control: tuple[float, float, float], variant: tuple[float, float, float], why: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = non_inferiority(Sample.of(*control), Sample.of(*variant), 0.1, relative=True).value()
    assert (value.why_code, value.p_value, value.reading) == (why, None, "not_computed")
    assert value.why


def test_no_outcome_anywhere_is_not_proof() -> None:
    """Of a *share* of nothing; nothing among 5,000 is far from one percentage point more than nothing."""
    value = non_inferiority_of_proportions(proportions(0, 50), proportions(0, 50), 0.3, relative=True).value()
    assert (value.reading, value.why_code) == ("not_computed", "no_outcomes")
    none = proportions(0, 5000)
    absolute = non_inferiority_of_proportions(none, none, 0.01, direction="decrease").value()
    assert absolute.reading == "within_limit"
    few = proportions(0, 200)
    assert non_inferiority_of_proportions(few, few, 0.01, direction="decrease").value().reading == "not_proven"


@pytest.mark.parametrize(
    ("n0", "n1", "rate", "margin", "relative_margin"),
    [
        (400, 3600, 0.01, 0.3, True),
        (3600, 400, 0.01, 0.3, True),
        (100, 900, 0.02, 0.3, True),
        (900, 100, 0.02, 0.01, False),
        (2000, 2000, 0.002, 0.3, True),
        (20_000, 2000, 0.002, 0.3, True),
    ],
)
def test_few_outcomes_and_unequal_variants_keep_the_level(
    n0: int, n1: int, rate: float, margin: float, relative_margin: bool
) -> None:
    """Every possible result, by its binomial probability, with the truth exactly at the limit: .025 on either side.

    Counts are discrete, so no test gives .025 exactly: at most .031 here, where the statistic without the correction
    gives up to .040.
    """
    worse = rate * (1 + margin) if relative_margin else rate + margin
    x0, x1 = (np.arange(int(sps.binom.ppf(1 - 1e-9, n, p)) + 1) for n, p in ((n0, rate), (n1, worse)))
    chance = sps.binom.pmf(x0, n0, rate)[:, None] * sps.binom.pmf(x1, n1, worse)
    found = non_inferiority_of_proportions(
        proportions(x0[:, None], n0), proportions(x1, n1), margin, direction="decrease", relative=relative_margin
    )
    for p_value in (found.p_value, found.p_value_broken):
        assert chance[np.nan_to_num(p_value, nan=1.0) <= 0.025].sum() <= 0.031


@pytest.mark.parametrize("margin", [0.0, -0.1, np.nan, np.inf])
def test_a_margin_must_be_positive(margin: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        non_inferiority(CELLS[0], CELLS[1], margin)
    with pytest.raises(ValueError, match="low must be below high"):
        equivalence(CELLS[0], CELLS[1], 1.0, 1.0)


def test_readings() -> None:
    assert read_guardrail(0.02, 0.98, alpha=0.05) == "within_limit"
    assert read_guardrail(0.02, 0.98, alpha=0.01) == "not_proven"
    assert read_guardrail(0.99, 0.01) == "broken"
