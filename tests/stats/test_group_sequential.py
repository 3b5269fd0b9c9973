"""Bounds of a planned sample and what they can show, against tables and scipy's multivariate normal.

Numbers come from the reference file, from Jennison and Turnbull's and Armitage's printed tables, and from
``scipy.stats.multivariate_normal`` with the correlation √(s/t) of Z at shares s < t.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stats.sequential import (
    Spending,
    bounds,
    crossing,
    design,
    drift_for_power,
    end_width,
    expected_information,
    peeking_risk,
    peeking_warning,
    power,
)
from stats.sequential.boundaries import plan_walk
from stats.sequential.spending import Kind

OBF, POCOCK, MIDDLE, POWER = (Spending(k) for k in ("obrien_fleming", "pocock", "hwang_shih_decani", "power"))
ALL = [OBF, POCOCK, MIDDLE, POWER]
HUNDRED = np.arange(1, 101) / 100


@st.composite
def schedules(draw: st.DrawFn, least: int = 1) -> list[float]:
    """Unequal looks, the last one at the plan or before."""
    gaps = draw(st.lists(st.floats(0.02, 1), min_size=least, max_size=7))
    ends = np.cumsum(gaps)
    return list(ends / ends[-1] * draw(st.floats(0.3, 1)))


def inside(t: np.ndarray, low: np.ndarray, high: np.ndarray, drift: float = 0.0) -> float:
    """P(all Z within their limits) by scipy's multivariate normal."""
    smaller, larger = np.minimum.outer(t, t), np.maximum.outer(t, t)
    law = stats.multivariate_normal(
        drift * np.sqrt(t), np.sqrt(smaller / larger), seed=1, maxpts=2_000_000, abseps=1e-7, releps=1e-7
    )
    return float(law.cdf(high, lower_limit=low))


# ---- spending ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ALL)
@given(schedules(least=2), st.sampled_from([1e-4, 0.05, 0.3]))
def test_spending_rises_from_nothing_to_alpha(rule: Spending, t: list[float], alpha: float) -> None:
    spent = rule.spent([0.0, *t, 1.0, 1.7], alpha)
    assert spent[0] == 0
    assert (np.diff(spent) >= 0).all()
    assert spent[-2:] == pytest.approx([alpha, alpha], rel=1e-12)


def test_obrien_fleming_spends_half_on_each_side() -> None:
    """4(1 − Φ(z_{α/4}/√t)); the one-sided formula with the whole alpha would start the first of 5 looks at 4.38."""
    t = np.array([0.2, 0.5, 0.9])
    closed = 4 * stats.norm.sf(stats.norm.isf(0.05 / 4) / np.sqrt(t))
    assert OBF.spent(t, 0.05) == pytest.approx(closed, rel=1e-9)
    assert float(bounds(0.2 * np.arange(1, 6))[0]) == pytest.approx(4.877, abs=5e-4)


def test_the_other_families_in_closed_form() -> None:
    t = np.array([0.1, 0.5, 0.8])
    assert POCOCK.spent(t, 0.05) == pytest.approx(0.05 * np.log(1 + (np.e - 1) * t), rel=1e-12)
    assert Spending("hwang_shih_decani", 1.5).spent(t, 0.1) == pytest.approx(
        0.1 * (1 - np.exp(-1.5 * t)) / (1 - np.exp(-1.5)), rel=1e-12
    )
    assert Spending("hwang_shih_decani", 0.0).spent(t, 0.1) == pytest.approx(0.1 * t, rel=1e-12)
    assert Spending("power", 3).spent(t, 0.05) == pytest.approx(0.05 * t**3, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "gamma", "message"),
    [("triangular", None, "no spending"), ("pocock", 2.0, "no gamma"), ("power", 0.0, "positive")],
)
def test_wrong_spending_is_named(kind: Kind, gamma: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spending(kind, gamma)


# ---- bounds --------------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_reference_file(cases: dict[str, dict[str, Any]]) -> None:
    case = cases["group_sequential"]
    t, uneven, expected = case["inputs"]["t"], case["inputs"]["t_uneven"], case["expected"]
    tolerance = case["rtol"]
    for name, times, rule in [
        ("ld_obf", t, OBF), ("ld_pocock", t, POCOCK), ("power2", t, POWER), ("hsd_gamma_minus4", t, MIDDLE),
        ("ld_obf_uneven", uneven, OBF), ("power2_uneven", uneven, POWER),
        ("spotify_confidence_power2", t, POWER), ("spotify_confidence_power2_uneven", uneven, POWER),
    ]:  # fmt: skip
        assert bounds(times, case["inputs"]["alpha"], rule) == pytest.approx(expected[name], rel=tolerance), name
    got = float(power(t, bounds(t), 2.801585218112969))
    assert got == pytest.approx(expected["obf_power_at_drift_2_8016"], rel=tolerance)


def test_the_printed_tables() -> None:
    """Reboussin et al. (2000), two-sided .05; Jennison, Turnbull (2000), tables 2.1, 2.3; Armitage et al. (1969)."""
    t = np.arange(1, 6) / 5
    assert bounds(t) == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)
    for looks, constant in ((2, 2.178), (5, 2.413), (10, 2.555)):
        times = np.arange(1, looks + 1) / looks
        assert float(power(times, np.full(looks, constant), 0.0)) == pytest.approx(0.05, abs=1e-4)
    for looks, constant in ((2, 1.977), (5, 2.040), (10, 2.087)):
        times = np.arange(1, looks + 1) / looks
        assert float(power(times, constant / np.sqrt(times), 0.0)) == pytest.approx(0.05, abs=2e-4)
    for looks, risk in ((2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193), (20, 0.248), (50, 0.320)):
        assert peeking_risk(np.arange(1, looks + 1) / looks) == pytest.approx(risk, abs=6e-4)


@pytest.mark.parametrize("rule", ALL)
def test_against_scipys_multivariate_normal(rule: Spending) -> None:
    """P(no bound crossed by look k) = 1 − what may be spent by then; drifts too. scipy's error: about 1e-6."""
    t = np.array([0.15, 0.4, 0.75, 1.0])
    limit = bounds(t, 0.05, rule)
    for k in range(1, 5):
        stays = inside(t[:k], -limit[:k], limit[:k])
        assert 1 - stays == pytest.approx(float(rule.spent(t[k - 1], 0.05)), abs=5e-6)
    assert float(power(t, limit, 2.5)) == pytest.approx(1 - inside(t, -limit, limit, 2.5), abs=5e-6)


@pytest.mark.parametrize("rule", ALL)
@pytest.mark.parametrize("alpha", [0.5, 0.05, 1e-3, 1e-8])
def test_bounds_of_100_looks_are_converged(rule: Spending, alpha: float) -> None:
    level = np.array([alpha])
    fine = plan_walk(HUNDRED, level, rule, density=6).bounds[0]
    assert bounds(HUNDRED, alpha, rule) == pytest.approx(fine, rel=1e-8)


@settings(deadline=None, max_examples=25)
@given(schedules(), st.sampled_from(ALL), st.sampled_from([0.2, 0.05, 0.001]))
def test_what_is_crossed_is_what_is_spent(t: list[float], rule: Spending, alpha: float) -> None:
    limit = bounds(t, alpha, rule)
    chance = crossing(t, limit)
    assert chance.upper == pytest.approx(chance.lower, rel=1e-6, abs=1e-12)
    assert np.cumsum(chance.upper + chance.lower) == pytest.approx(rule.spent(t, alpha), rel=1e-6, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(schedules(), st.sampled_from(ALL))
def test_a_smaller_alpha_has_wider_bounds_at_every_look(t: list[float], rule: Spending) -> None:
    """What makes the sequential p a p-value: the regions are nested."""
    found = bounds(t, np.geomspace(1e-9, 0.99, 24), rule)
    assert (np.diff(found, axis=0) <= 1e-9 * found[1:]).all()


def test_a_bound_depends_on_looks_made_only() -> None:
    early = bounds([0.1, 0.35, 0.5])
    assert bounds([0.1, 0.35, 0.5, 0.8, 1.0])[:3] == pytest.approx(early, rel=1e-9)


def test_batches_are_their_rows() -> None:
    t, alphas = [0.2, 0.25, 0.9], np.array([[0.05, 0.01], [0.2, 0.001]])
    together = bounds(t, alphas, POCOCK)
    assert together.shape == (2, 2, 3)
    for i in np.ndindex(2, 2):
        assert together[i] == pytest.approx(bounds(t, alphas[i], POCOCK), rel=1e-9)


def test_a_look_past_the_plan_spends_the_rest_with_its_own_information() -> None:
    t = np.array([0.6, 1.07, 1.2])
    limit = bounds(t)
    assert np.isinf(limit[2])
    assert float(power(t[:2], limit[:2], 0.0)) == pytest.approx(0.05, abs=1e-9)
    assert limit[1] != pytest.approx(bounds([0.6, 1.0])[1], rel=1e-5)


def test_looks_that_add_nothing_or_next_to_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repeated = bounds([0.0, 0.3, 0.3, 0.7, 0.7, 1.0])
        crowded = bounds([0.5, 0.5 + 1e-9, 0.500001, 1.0], 0.05, POCOCK)
    assert np.isinf(repeated[0])
    assert repeated[[1, 3, 5]] == pytest.approx(bounds([0.3, 0.7, 1.0]), rel=1e-9)
    assert repeated[[2, 4]] == pytest.approx(repeated[[1, 3]])
    assert np.isfinite(crowded).all()
    assert float(power([0.5, 0.5001, 0.5002, 1.0], crowded, 0.0)) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    ("t", "alpha", "message"),
    [([0.5, 0.4], 0.05, "not fall"), ([np.nan], 0.05, "finite"), ([-0.1], 0.05, "finite"), ([0.5], 1.0, "alpha")],
)
def test_wrong_bounds_are_named(t: list[float], alpha: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bounds(t, alpha)


# ---- what a plan can show ------------------------------------------------------------------------


def test_one_look_is_the_fixed_test() -> None:
    plan = design([1.0], 0.05, OBF, 0.8)
    assert plan.drift == pytest.approx(stats.norm.isf(0.025) + stats.norm.isf(0.2), abs=1e-4)  # the far side: 1e-6
    assert (plan.inflation, plan.end_width, plan.expected) == pytest.approx((1, 1, 1), rel=1e-9)


def test_known_inflation_of_a_plan() -> None:
    """Jennison, Turnbull (2000): Pocock's five looks at power .8 need 1.228, O'Brien and Fleming's 1.028 as many."""
    t = np.arange(1, 6) / 5
    fixed = float(drift_for_power([1.0], [stats.norm.isf(0.025)], 0.8))
    pocock = (float(drift_for_power(t, np.full(5, 2.413), 0.8)) / fixed) ** 2
    obf = (float(drift_for_power(t, 2.040 / np.sqrt(t), 0.8)) / fixed) ** 2
    assert (pocock, obf) == pytest.approx((1.228, 1.028), abs=2e-3)


@settings(deadline=None, max_examples=20)
@given(schedules(least=2), st.sampled_from(ALL), st.floats(0.3, 0.99))
def test_drift_and_power_are_inverse(t: list[float], rule: Spending, wanted: float) -> None:
    limit = bounds(t, 0.05, rule)
    assert float(power(t, limit, drift_for_power(t, limit, wanted))) == pytest.approx(wanted, abs=1e-9)


def test_expected_sample_by_simulation() -> None:
    """40,000 paths; the mean share used has a standard error of .0011. Seed fixed, ± 4 s.e."""
    t, rng = np.array([0.2, 0.3, 0.7, 1.0]), np.random.default_rng(5)
    limit = bounds(t, 0.05, POCOCK)
    z = (np.cumsum(rng.standard_normal((40_000, 4)) * np.sqrt(np.diff(t, prepend=0)), axis=1) + 3 * t) / np.sqrt(t)
    hits = np.abs(z) >= limit
    used = np.where(hits.any(axis=1), t[hits.argmax(axis=1)], 1.0)
    assert float(expected_information(t, limit, 3.0)) == pytest.approx(used.mean(), abs=4 * used.std() / 200)


def test_the_goals_of_100_looks() -> None:
    plan = design(HUNDRED)
    assert plan.end_width <= 1.12
    assert float(power(HUNDRED, plan.bounds, stats.norm.isf(0.025) + stats.norm.isf(0.2))) >= 0.775
    assert end_width(bounds(HUNDRED, [0.05, 0.01]), [0.05, 0.01]).shape == (2,)


def test_impossible_powers_are_named() -> None:
    with pytest.raises(ValueError, match="power"):
        drift_for_power([0.5, 1.0], bounds([0.5, 1.0]), 0.04)
    with pytest.raises(ValueError, match="end with 1"):
        design([0.5, 0.9])


def test_a_peeked_fixed_test_is_warned_about() -> None:
    told = peeking_warning(HUNDRED)
    assert told is not None
    assert "37 %" in told
    assert peeking_warning([0.0, 1.0]) is None
