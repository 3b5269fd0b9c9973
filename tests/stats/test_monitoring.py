"""Sequential p-values and monitoring, against one root at a time, closed forms and their agreement with each other."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from stats.multiplicity import holm
from stats.sequential import Spending, bounds, mixture_band, monitor, sequential_p
from tests.stats.test_group_sequential import ALL, HUNDRED, OBF, schedules

# ---- sequential p-values ---------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(schedules(least=2), st.sampled_from(ALL), st.integers(0, 10**6), st.floats(0, 4))
def test_p_is_the_alpha_whose_bounds_touch(t: list[float], rule: Spending, seed: int, drift: float) -> None:
    """Against scipy's root of one alpha at a time."""
    times = np.array(t)
    z = np.random.default_rng(seed).standard_normal(times.size) + drift * np.sqrt(times)

    def slack(alpha: float) -> float:
        return float((np.abs(z) - bounds(times, alpha, rule)).max())

    got = float(sequential_p(z, times, rule))
    if slack(0.99) < 0:
        assert got == 1.0
    elif slack(1e-9) >= 0:
        assert got == 1e-9
    else:
        assert got == pytest.approx(optimize.brentq(slack, 1e-9, 0.99, xtol=1e-14), rel=1e-5, abs=1e-9)


def test_one_look_gives_the_plain_p() -> None:
    z = np.array([0.3, 1.0, 1.959964, 3.0, 5.0])
    assert sequential_p(z[:, None], [1.0]) == pytest.approx(2 * stats.norm.sf(z), rel=1e-7)


def test_p_never_rises_with_looks_and_ignores_sign_and_order() -> None:
    rng = np.random.default_rng(11)
    t = np.arange(1, 9) / 8
    z = rng.standard_normal((6, 8)) + 0.5
    p = sequential_p(z, t)
    assert (sequential_p(z[:, :5], t[:5]) >= p - 1e-9).all()
    assert sequential_p(-z, t) == pytest.approx(p)
    assert sequential_p(z[::-1], t) == pytest.approx(p[::-1], rel=1e-7)
    assert sequential_p(z.reshape(2, 3, 8), t) == pytest.approx(p.reshape(2, 3), rel=1e-7)


def test_p_where_looks_are_missing() -> None:
    p = sequential_p([[np.nan, 2.5], [np.nan, np.nan]], [0.5, 1.0])
    assert float(p[0]) == pytest.approx(float(sequential_p([0.0, 2.5], [0.5, 1.0])))
    assert np.isnan(p[1])


def test_a_dozen_comparisons_of_100_looks_cost_hardly_more_than_one() -> None:
    """About .35 s on a quiet machine; a root for each comparison and look alone would take 20 s or more."""
    rng = np.random.default_rng(1)
    z = np.cumsum(rng.standard_normal((12, 100)) + 0.15, axis=1) / np.sqrt(np.arange(1, 101))
    took = []
    for _ in range(3):
        begun = time.process_time()
        sequential_p(z, HUNDRED)
        took.append(time.process_time() - begun)
    assert min(took) < 3.0


# ---- monitoring ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(schedules(least=2), st.integers(0, 10**6), st.floats(-4, 4), st.sampled_from([0.0, 0.3]), st.booleans())
def test_interval_p_and_crossing_agree(t: list[float], seed: int, drift: float, reserve: float, beyond: bool) -> None:
    times = np.array(t) / (t[-2] if beyond else 1.0)  # the last look may lie past the plan
    z = np.random.default_rng(seed).standard_normal((3, times.size)) + drift * np.sqrt(times)
    error = 1 / np.sqrt(times)
    seen = monitor(z * error, error, times, np.array([0.05, 0.2, 0.01]), reserve=reserve)
    excludes = (seen.ci_low > 0) | (seen.ci_high < 0) | (seen.ci_low == 0) | (seen.ci_high == 0)
    crossed = seen.crossed >= 0
    assert ((seen.p_value <= [0.05, 0.2, 0.01]) == crossed).all()
    # A crossing that a later look takes back on the other side leaves an interval on the other side, or around 0.
    same = np.sign(seen.z[..., seen.at]) == np.sign(np.take_along_axis(seen.z, seen.crossed[:, None], axis=1)[:, 0])
    assert (excludes == crossed)[same | ~crossed].all()


def test_units_and_signs_do_not_matter() -> None:
    t, rng = np.array([0.2, 0.6, 1.0]), np.random.default_rng(2)
    estimate, error = rng.normal(1, 1, (4, 3)), np.array([0.9, 0.5, 0.4])
    one = monitor(estimate, error, t)
    for scale in (100.0, 1e-4, -1.0):
        other = monitor(estimate * scale, error * abs(scale), t)
        assert other.p_value == pytest.approx(one.p_value, rel=1e-6)
        low, high = (one.ci_low, one.ci_high) if scale > 0 else (one.ci_high, one.ci_low)
        assert other.ci_low == pytest.approx(low * scale, rel=1e-9)
        assert other.ci_high == pytest.approx(high * scale, rel=1e-9)


def test_the_interval_is_the_estimate_with_the_looks_bound() -> None:
    t, estimate, error = [0.3, 0.6, 1.0], [0.30, 0.22, 0.15], np.array([0.16, 0.11, 0.09])
    seen = monitor(estimate, error, t)
    limit = bounds(t)
    assert (float(seen.ci_low), float(seen.ci_high)) == pytest.approx(
        (0.15 - limit[2] * 0.09, 0.15 + limit[2] * 0.09), rel=1e-9
    )
    assert seen.path_high == pytest.approx(estimate + limit * error, rel=1e-9)
    assert float(seen.level) == pytest.approx(2 * stats.norm.sf(limit[2]), rel=1e-9)
    assert seen.alpha_spent == pytest.approx(OBF.spent(t, 0.05), rel=1e-9)


def test_a_crossing_stands_when_the_estimate_falls_back() -> None:
    seen = monitor([0.5, 0.1], [0.1, 0.1], [0.6, 0.9])
    assert int(seen.crossed) == 0
    assert float(seen.p_value) <= 0.05
    assert float(seen.ci_low) == 0.0  # open: 0 itself was excluded
    assert seen.path_low[1] < 0


def test_without_a_reserve_nothing_moves_past_the_plan() -> None:
    estimate, error, t = np.array([0.1, 0.15, 0.9]), np.array([0.2, 0.1, 0.09]), [0.5, 1.01, 1.3]
    short, long = monitor(estimate[:2], error[:2], t[:2]), monitor(estimate, error, t)
    assert long.past_plan
    assert not short.past_plan
    assert long.at == 1
    assert list(long.counted) == [True, True, False]
    for name in ("estimate", "ci_low", "ci_high", "p_value", "crossed"):
        assert getattr(long, name) == pytest.approx(getattr(short, name))


def test_a_reserve_is_shared_between_bounds_and_mixture() -> None:
    t, error = np.array([0.5, 1.0, 1.5]), 1 / np.sqrt([0.5, 1.0, 1.5])
    seen = monitor(np.zeros(3), error, t, 0.05, reserve=0.2)
    assert seen.bounds[:2] == pytest.approx(bounds(t[:2], 0.04), rel=1e-9)
    assert seen.alpha_spent == pytest.approx([float(OBF.spent(0.5, 0.04)), 0.04, 0.05])
    spread = 1.5 * error[2] ** 2 * (-2 * np.log(0.01) + np.log(1 - 2 * np.log(0.01)))
    band = mixture_band(0.0, error[2], 0.01, tau2=spread)
    assert float(seen.ci_high) == pytest.approx(float(band.ci_high), rel=1e-9)
    strong = monitor(4.6 * error, error, t, 0.05, reserve=0.2)
    touched = monitor(seen.bounds[2] * error * [0, 0, 1], error, t, 0.05 * (1 + 1e-9), reserve=0.2)
    assert int(strong.crossed) == 0
    assert int(touched.crossed) == 2
    assert float(touched.p_value) == pytest.approx(0.05, rel=1e-6)


def test_students_statistic_is_judged_by_its_tail() -> None:
    few = monitor([[1.0], [1.0]], 0.4, [1.0], df=[[8.0], [np.inf]])
    assert few.p_value == pytest.approx([2 * stats.t.sf(2.5, 8), 2 * stats.norm.sf(2.5)], rel=1e-6)
    assert few.ci_high == pytest.approx([1 + 0.4 * stats.t.isf(0.025, 8), 1 + 0.4 * stats.norm.isf(0.025)], rel=1e-9)
    early = monitor([[0.1, 0.1]], 0.4, [0.02, 0.04], df=30.0)
    assert float(early.path_high[0, 0]) == pytest.approx(
        0.1 + 0.4 * stats.t.isf(stats.norm.sf(early.bounds[0, 0]), 30), rel=1e-6
    )


def test_days_that_add_a_handful_are_no_looks_of_their_own() -> None:
    t = np.array([0.4, 0.4004, 0.8, 0.8 + 5e-4])
    seen = monitor(np.full(4, 0.5), np.full(4, 0.3), t)
    assert list(seen.counted) == [True, False, True, False]
    assert seen.at == 2
    assert seen.bounds[[0, 2]] == pytest.approx(bounds(t[[0, 2]]), rel=1e-9)


def test_what_cannot_be_computed_says_why() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = monitor([[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.5]], [0.3, 0.7])
        empty = monitor([0.1], [0.2], [0.0])
    assert nothing.value(0).p_value is None
    assert nothing.value(0).why_code == "zero_variance"
    assert nothing.value(1).why is None
    assert nothing.value(1).p_value == pytest.approx(float(sequential_p([0.0, 2.0], [0.3, 0.7])), rel=1e-6)
    assert (empty.value().ci_low, empty.value().why_code) == (None, "no_units")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [({"reserve": 1.0}, "reserve"), ({"alpha": 0.0}, "alpha"), ({"information": [0.5]}, "looks")],
)
def test_wrong_monitoring_is_named(keywords: dict[str, Any], message: str) -> None:
    given_: dict[str, Any] = {"information": [0.5, 1.0], **keywords}
    with pytest.raises(ValueError, match=message):
        monitor([0.1, 0.2], [0.1, 0.1], **given_)


def test_holm_on_sequential_p_agrees_with_intervals_at_the_families_level() -> None:
    """Where Holm's first step rejects, the repeated interval at alpha/m excludes 0."""
    rng, t = np.random.default_rng(8), np.arange(1, 11) / 10
    z = np.cumsum(rng.standard_normal((40, 10)) + 0.5, axis=1) / np.sqrt(np.arange(1, 11))
    error = 1 / np.sqrt(t)
    seen = monitor(z * error, error, t, 0.05 / 4)
    for rows in np.arange(40).reshape(10, 4):
        first = rows[np.argmin(seen.p_value[rows])]
        rejects = bool((holm(seen.p_value[rows]) <= 0.05).any())
        assert rejects == bool(seen.ci_low[first] >= 0 or seen.ci_high[first] <= 0)
