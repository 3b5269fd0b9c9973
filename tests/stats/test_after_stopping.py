"""Estimates after stopping and futility, against two looks by the bivariate normal and against simulated paths."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stats.sequential import Spending, after_stopping, bounds, crossing, futility_bounds, monitor, power

T = np.array([0.4, 1.0])
LIMIT = bounds(T, 0.05, Spending("pocock"))


def both(drift: float) -> stats._multivariate.multivariate_normal_frozen:
    """Z at the two looks."""
    correlation = np.sqrt(T[0] / T[1])
    cov = [[1, correlation], [correlation, 1]]
    return stats.multivariate_normal(drift * np.sqrt(T), cov, maxpts=10**6, abseps=1e-9, releps=1e-9, seed=1)


def more_extreme(z: float, drift: float) -> float:
    """P(upper bound crossed at the first look, or inside there and Z at least z at the second)."""
    law = both(drift)
    return float(
        stats.norm.sf(LIMIT[0] - drift * np.sqrt(T[0]))
        + law.cdf([LIMIT[0], np.inf], lower_limit=[-LIMIT[0], -np.inf])
        - law.cdf([LIMIT[0], z], lower_limit=[-LIMIT[0], -np.inf])
    )


@pytest.mark.parametrize("z", [-1.4, 0.0, 1.9, 2.6])
def test_the_second_of_two_looks_by_the_bivariate_normal(z: float) -> None:
    found = after_stopping([0.0, z], 1 / np.sqrt(T), T, LIMIT)
    assert int(found.look) == 1
    for end, share in ((found.ci_low, 0.025), (found.estimate, 0.5), (found.ci_high, 0.975)):
        assert more_extreme(z, float(end)) == pytest.approx(share, abs=2e-6)
    tail = more_extreme(z, 0.0)
    assert float(found.p_value) == pytest.approx(2 * min(tail, 1 - tail), abs=2e-6)


def test_a_stop_at_the_first_look_is_the_fixed_test() -> None:
    """Nothing was looked at before: the plain estimate and interval."""
    found = after_stopping([3.0, -2.0], 1.0, T, LIMIT)
    half = stats.norm.isf(0.025)
    assert int(found.look) == 0
    assert float(found.estimate) == pytest.approx(3.0, rel=1e-9)
    assert (float(found.ci_low), float(found.ci_high)) == pytest.approx((3 - half, 3 + half), rel=1e-9)
    assert float(found.p_value) == pytest.approx(2 * stats.norm.sf(3.0), rel=1e-9)


def test_a_late_stop_is_pulled_towards_zero() -> None:
    t = np.arange(1, 11) / 10
    limit = bounds(t)
    z = np.zeros(10)
    z[6] = limit[6] + 0.1
    found = after_stopping(z, np.ones(10), t, limit)
    assert int(found.look) == 6
    assert 0 < float(found.estimate) < z[6]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(-6, 6), st.sampled_from([1.0, 100.0, 1e-4]))
def test_symmetry_units_and_agreement_with_crossing(seed: int, drift: float, scale: float) -> None:
    rng, t = np.random.default_rng(seed), np.array([0.1, 0.35, 0.6, 1.0])
    error = scale / np.sqrt(t)
    z = np.cumsum(rng.standard_normal((5, 4)) * np.sqrt(np.diff(t, prepend=0)), axis=1) / np.sqrt(t) + drift * np.sqrt(
        t
    )
    limit = bounds(t, 0.05, Spending("hwang_shih_decani"))
    found, mirrored = after_stopping(z * error, error, t, limit), after_stopping(-z * error, error, t, limit)
    assert (found.ci_low < found.estimate).all()
    assert (found.estimate < found.ci_high).all()
    assert found.estimate == pytest.approx(-mirrored.estimate, rel=1e-6, abs=1e-9 * scale)
    assert found.ci_low == pytest.approx(-mirrored.ci_high, rel=1e-6, abs=1e-9 * scale)
    crossed = (np.abs(z) >= limit).any(axis=1)
    assert ((found.ci_low > 0) | (found.ci_high < 0)).tolist() == crossed.tolist()
    assert (found.p_value <= 0.05).tolist() == crossed.tolist()
    plain = after_stopping(z / np.sqrt(t), 1 / np.sqrt(t), t, limit)
    assert found.estimate == pytest.approx(plain.estimate * scale, rel=1e-6, abs=1e-9 * scale)


def test_several_bounds_at_once_and_those_of_a_monitor() -> None:
    t, error = np.array([0.3, 0.3002, 0.7, 1.0, 1.2]), np.full(5, 0.2)
    estimate = np.array([[0.9, 0.9, 0.5, 0.5, 0.4], [0.1, 0.1, 0.2, 0.3, 0.9], [-0.1, 0.0, -0.9, 0.0, 0.0]])
    seen = monitor(estimate, error, t, [0.05, 0.01, 0.05])
    found = after_stopping(estimate, error, t, seen.bounds)
    assert found.look.tolist() == [0, 3, 2]  # past the plan nothing counts
    for row in range(3):
        alone = after_stopping(estimate[row], error, t, seen.bounds[row])
        assert float(found.estimate[row]) == pytest.approx(float(alone.estimate), rel=1e-9)


def test_what_cannot_be_computed_says_why() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = after_stopping([[0.1, 0.1], [0.0, 0.0]], [[0.1, 0.0], [0.0, 0.0]], T, LIMIT)
        never = after_stopping([0.1], [0.1], [0.5], [np.inf])
    assert none.value(0).why_code == "zero_variance"
    assert none.value(1).estimate is None
    assert (never.value().estimate, never.value().look, never.value().why_code) == (None, None, "no_units")


def test_a_look_without_a_new_unit_is_the_look_before() -> None:
    """Also where its figures differ a little, as when a late correction comes in."""
    t, z = np.array([0.0, 0.4, 0.4, 1.0]), np.array([0.0, 2.0, 2.6, 3.0])
    limit = bounds(t, 0.05, Spending("pocock"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = after_stopping(z, 1.0, t, limit)
        late = after_stopping([0.0, 1.0, 1.0, 1.9], 1.0, t, limit)
    assert int(found.look) == 2
    assert float(found.estimate) == pytest.approx(2.6, rel=1e-9)
    plain = after_stopping([1.0, 1.9], 1.0, t[[1, 3]], limit[[1, 3]])
    assert float(late.estimate) == pytest.approx(float(plain.estimate), rel=1e-9)


def test_far_effects_stay_finite() -> None:
    t = np.arange(1, 101) / 100
    z = 40 * np.sqrt(t)
    found = after_stopping(z / np.sqrt(t), 1 / np.sqrt(t), t, bounds(t))
    assert np.isfinite([float(found.ci_low), float(found.estimate), float(found.ci_high)]).all()
    assert float(found.ci_low) > 0


# ---- futility --------------------------------------------------------------------------------------


def test_the_chance_to_miss_is_spent_as_planned_by_the_bivariate_normal() -> None:
    """β(t) = 2(1 − Φ(z_{β/2}/√t)) under the drift, at the first look and at the second."""
    t = np.array([0.4, 0.7, 1.0])
    limit = bounds(t)
    plan = futility_bounds(t, limit, 0.8)
    spent = 2 * stats.norm.sf(stats.norm.isf(0.1) / np.sqrt(t))
    mean = plan.drift * np.sqrt(t)
    assert stats.norm.cdf(plan.bounds[0] - mean[0]) == pytest.approx(spent[0], abs=1e-9)
    c = np.sqrt(t[0] / t[1])
    law = stats.multivariate_normal(mean[:2], [[1, c], [c, 1]], maxpts=10**6, abseps=1e-9, releps=1e-9, seed=1)
    second = law.cdf([limit[0], plan.bounds[1]], lower_limit=[plan.bounds[0], -np.inf])
    assert second == pytest.approx(spent[1] - spent[0], abs=1e-6)
    assert plan.bounds[2] == limit[2]
    assert plan.power_ignored == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("rule", [Spending(), Spending("pocock"), Spending("hwang_shih_decani", -2.0)])
def test_power_and_sample_when_obeyed_by_simulation(rule: Spending) -> None:
    """50,000 paths a drift; seed fixed, ± 4 s.e."""
    t, rng, runs = np.array([0.2, 0.45, 0.6, 0.8, 1.0]), np.random.default_rng(17), 50_000
    limit = bounds(t)
    plan = futility_bounds(t, limit, 0.9, rule)
    for drift, mean_used in ((0.0, plan.expected_none), (plan.drift, plan.expected)):
        steps = rng.standard_normal((runs, 5)) * np.sqrt(np.diff(t, prepend=0))
        z = (np.cumsum(steps, axis=1) + drift * t) / np.sqrt(t)
        up = z >= limit
        stop = up | (z <= plan.bounds)
        stop[:, -1] = True
        at = stop.argmax(axis=1)
        assert t[at].mean() == pytest.approx(mean_used, abs=4 * t[at].std() / np.sqrt(runs))
        won = np.take_along_axis(up, at[:, None], axis=1).mean()
        if drift:
            assert won == pytest.approx(plan.power_obeyed, abs=4 * np.sqrt(0.25 / runs))
        else:
            gave_up = (~np.take_along_axis(up, at[:, None], axis=1)[:, 0] & (at < 4)).mean()
            assert gave_up == pytest.approx(plan.stops_none, abs=4 * np.sqrt(0.25 / runs))
            assert won <= 0.025


def test_it_costs_power_and_saves_sample_and_never_lies_above_the_bound() -> None:
    t = np.arange(1, 101) / 100
    limit = bounds(t)
    plan = futility_bounds(t, limit)
    assert plan.power_obeyed < plan.power_ignored
    assert plan.expected_none < 0.6
    assert (plan.bounds <= limit).all()
    assert (np.diff(plan.bounds[plan.bounds > -np.inf]) > 0).all()
    # A larger effect to find keeps the power at the price of a larger sample.
    stronger = futility_bounds(t, limit, drift=plan.drift * 1.1)
    assert stronger.power_obeyed > 0.8


def test_looks_that_add_nothing_are_the_look_before() -> None:
    t = np.array([0.0, 0.3, 0.3, 0.7, 1.0])
    plan = futility_bounds(t, bounds(t))
    plain = futility_bounds([0.3, 0.7, 1.0], bounds([0.3, 0.7, 1.0]))
    assert plan.bounds[0] == -np.inf
    assert plan.bounds[[1, 2, 3, 4]] == pytest.approx(plain.bounds[[0, 0, 1, 2]], rel=1e-9)
    assert plan.power_obeyed == pytest.approx(plain.power_obeyed, rel=1e-9)


def test_looks_past_the_plan_have_no_futility_bound() -> None:
    """Those of ``bounds`` have none either (infinite); what is said of the plan is not changed by them."""
    t = [0.3, 0.7, 1.2, 1.4, 1.9]
    with np.errstate(all="raise", under="ignore"):
        plan, plain = futility_bounds(t, bounds(t)), futility_bounds(t[:3], bounds(t[:3]))
    assert plan.bounds[:3] == pytest.approx(plain.bounds, rel=1e-12)
    assert (plan.bounds[3:] == -np.inf).all()
    assert (plan.drift, plan.power_obeyed, plan.expected) == (plain.drift, plain.power_obeyed, plain.expected)


def test_non_binding_bounds_leave_false_alarms_alone() -> None:
    """The bounds of the effect are those without futility: ignoring it gives alpha."""
    t = [0.25, 0.5, 0.75, 1.0]
    limit = bounds(t)
    futility_bounds(t, limit)
    assert float(power(t, limit, 0.0)) == pytest.approx(0.05, abs=1e-8)
    assert crossing(t, limit, [0.0, 1.0]).upper.shape == (2, 4)


def test_wrong_futility_is_named() -> None:
    with pytest.raises(ValueError, match="power"):
        futility_bounds([0.5, 1.0], [2.8, 1.97], 1.0)
    with pytest.raises(ValueError, match="not fall"):
        futility_bounds([0.5, 0.4], [2.8, 1.97])
