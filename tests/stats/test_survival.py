"""Time to an event: statsmodels' curve, error and log-rank; the restricted mean against influence functions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from stats.survival import (
    FollowUp,
    difference_of_restricted_means,
    kaplan_meier,
    log_rank,
    relative_restricted_mean,
    restricted_mean,
    share_within,
)

UNITS = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=5, max_size=80)


def follow_up(units: list[tuple[int, bool]]) -> FollowUp:
    return FollowUp.from_units([time for time, _ in units], [event for _, event in units])


@given(UNITS)
@settings(max_examples=60, deadline=None)
def test_the_curve_is_that_of_statsmodels(units: list[tuple[int, bool]]) -> None:
    ours = follow_up(units)
    curve = kaplan_meier(ours.times, ours.events, ours.censored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SurvfuncRight([time for time, _ in units], [int(event) for _, event in units])
    at = np.isin(curve.times, theirs.surv_times) & (curve.events > 0)
    keep = np.isin(theirs.surv_times, curve.times[at])
    assert curve.share[at] == pytest.approx(theirs.surv_prob[keep], rel=1e-9)
    alive = curve.share[at] > 0
    assert curve.std_error[at][alive] == pytest.approx(theirs.surv_prob_se[keep][alive], rel=1e-9)
    inside = ~np.isnan(curve.ci_low)
    assert (curve.ci_low[inside] <= curve.share[inside]).all()
    assert (curve.ci_high[inside] >= curve.share[inside]).all()


@given(UNITS, UNITS)
@settings(max_examples=60, deadline=None)
def test_log_rank_is_that_of_statsmodels(control: list[tuple[int, bool]], variant: list[tuple[int, bool]]) -> None:
    ours = log_rank(follow_up(control), follow_up(variant))
    both = control + variant
    if ours.p_value is None:
        assert ours.why
        return
    group = [0] * len(control) + [1] * len(variant)
    chi_square, p_value = survdiff([t for t, _ in both], [int(e) for _, e in both], group)
    assert ours.chi_square == pytest.approx(chi_square, rel=1e-9)
    assert ours.p_value == pytest.approx(p_value, rel=1e-9)
    swapped = log_rank(follow_up(variant), follow_up(control))
    assert swapped.chi_square == pytest.approx(ours.chi_square, rel=1e-9)


def test_without_censoring_the_restricted_mean_is_a_plain_mean() -> None:
    """Closed form: mean of min(T, horizon), and its variance with n in the place of n − 1."""
    rng = np.random.default_rng(3)
    times = rng.exponential(10, 400)
    sample = restricted_mean(FollowUp.from_units(times, np.ones(400, bool)), 14.0)
    cut = np.minimum(times, 14.0)
    assert float(sample.mean) == pytest.approx(cut.mean(), rel=1e-12)
    assert float(sample.std_error) == pytest.approx(cut.std() / 20, rel=1e-9)
    within = share_within(FollowUp.from_units(times, np.ones(400, bool)), 14.0)
    share = (times <= 14).mean()
    assert float(within.mean) == pytest.approx(share, rel=1e-12)
    assert float(within.std_error) == pytest.approx((share * (1 - share) / 400) ** 0.5, rel=1e-9)


def test_restricted_means_cover_with_censoring_and_a_plain_mean_does_not() -> None:
    """Exponential times of mean 20 and 26, followed for 5 to 60 days, horizon 28: truth m(1 − e^(−28/m)).

    1,500 runs, s.e. .0056: coverage .95 ± .017. Leaving out who is still waiting is off by days. Seed fixed.
    """
    rng = np.random.default_rng(4)
    truth = [m * (1 - np.exp(-28 / m)) for m in (20.0, 26.0)]
    covered, naive = 0, []
    for _ in range(1500):
        arms, plain = [], []
        for mean in (20.0, 26.0):
            time, seen = rng.exponential(mean, 250), rng.uniform(5, 60, 250)
            arms.append(FollowUp.from_units(np.minimum(time, seen), time <= seen))
            plain.append(np.minimum(time[time <= seen], 28).mean())
        effect = difference_of_restricted_means(*arms, 28.0).value()
        covered += effect.ci_low <= truth[1] - truth[0] <= effect.ci_high
        naive.append(plain[0] - truth[0])
    assert covered / 1500 == pytest.approx(0.95, abs=0.017)
    assert np.mean(naive) < -2


def test_relative_and_absolute_ask_one_question() -> None:
    control = FollowUp.of([1, 5, 10, 14], [10, 20, 5, 0], [0, 0, 5, 160])
    variant = FollowUp.of([1, 5, 10, 14], [15, 40, 5, 0], [0, 0, 5, 135])
    absolute = difference_of_restricted_means(control, variant, 14).value()
    lift = relative_restricted_mean(control, variant, 14).value()
    assert lift.p_value == absolute.p_value
    assert (lift.ci_high < 0) == (absolute.ci_high < 0)
    assert lift.estimate == pytest.approx(absolute.estimate / float(restricted_mean(control, 14).mean))
    scaled = [FollowUp.of(part.times * 24, part.events, part.censored) for part in (control, variant)]
    hours = difference_of_restricted_means(*scaled, 14 * 24).value()
    assert (hours.estimate, hours.p_value) == pytest.approx((absolute.estimate * 24, absolute.p_value), rel=1e-9)


def test_what_cannot_be_said_has_its_reason() -> None:
    good = FollowUp.of([1, 14], [5, 0], [0, 45])
    quiet = FollowUp.of([14], [0], [50])
    short = FollowUp.of([1, 7], [5, 0], [0, 45])
    none = FollowUp.of([], [], [])
    assert difference_of_restricted_means(quiet, quiet, 14).value().why_code == "no_outcomes"
    assert difference_of_restricted_means(good, short, 14).value().why_code == "horizon_not_reached"
    assert difference_of_restricted_means(good, none, 14).value().why_code == "no_units"
    assert difference_of_restricted_means(good, quiet, 14).value().why is None
    assert log_rank(quiet, quiet).why
    assert log_rank(quiet, none).p_value is None
    assert share_within(short, 10).why == 14
    all_gone = restricted_mean(FollowUp.of([1, 2], [5, 5], [0, 0]), 14)  # nobody waits: the curve is known to the end
    assert float(all_gone.mean) == 1.5
    for bad in (([1, 2], [1], [0]), ([1], [-1], [0]), ([-1.0], [1], [0])):
        with pytest.raises(ValueError, match=r"shape|negative|finite"):
            FollowUp.of(*bad)
    with pytest.raises(ValueError, match="horizon"):
        restricted_mean(good, 0)
