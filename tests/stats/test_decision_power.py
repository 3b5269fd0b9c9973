"""Levels of joint decisions: the closed forms of the paper; bench/simulations/several.py tries the errors out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.decision_power import declared_levels, risk_aware_levels, ships


@given(st.integers(1, 6), st.integers(0, 8), st.floats(0.001, 0.2), st.floats(0.5, 0.99))
def test_the_papers_closed_forms(success: int, guardrails: int, alpha: float, power: float) -> None:
    """Schultzberg, Ankargren, Frånberg (2024): alpha/S, alpha, β/(G + 1)."""
    levels = risk_aware_levels(success, guardrails, alpha=alpha, power=power)
    assert levels.alpha_success == pytest.approx(alpha / success)
    assert levels.alpha_guardrail == alpha
    assert levels.power == pytest.approx(1 - (1 - power) / (guardrails + 1))
    assert (levels.alpha_deterioration, levels.alpha_quality) == (0, 0)


@given(st.integers(1, 4), st.integers(0, 4), st.floats(0, 0.1), st.floats(0.001, 0.05), st.integers(1, 4))
def test_all_ways_to_miss_add_up_to_what_was_declared(
    success: int, guardrails: int, deterioration: float, quality: float, tests: int
) -> None:
    """Boole: one success test, every guardrail and every veto together miss at most 1 − power."""
    levels = risk_aware_levels(
        success, guardrails, power=0.8, deterioration=deterioration, quality=quality, quality_tests=tests
    )
    vetoes = levels.alpha_deterioration * (success + guardrails) + levels.alpha_quality * tests
    assert levels.beta * (guardrails + 1) + vetoes == pytest.approx(0.2)


def test_what_decide_does() -> None:
    levels = declared_levels(3, 2, 2, alpha=0.06, power=0.8)
    assert levels.alpha_success == pytest.approx(0.005)  # 0.06 over six comparisons and two sides
    assert levels.alpha_guardrail == pytest.approx(0.03)
    assert levels.beta == pytest.approx((0.2 - 0.06) / 3)
    assert levels.false_safety == pytest.approx(0.09)
    assert declared_levels(1, 1, 0).false_safety == 0


def test_ships_needs_one_success_all_guardrails_and_no_veto() -> None:
    levels = risk_aware_levels(2, 2, deterioration=0.02, quality=0.01, quality_tests=1)
    success = np.array([[0.01, 0.9], [0.03, 0.9], [0.01, 0.9], [0.01, 0.9], [0.01, 0.9], [0.01, 0.9]])
    guard = np.array([[0.04, 0.01], [0.04, 0.01], [0.06, 0.01], [np.nan, 0.01], [0.04, 0.01], [0.04, 0.01]])
    worse = np.full((6, 4), 0.5)
    worse[4, 3] = 0.004
    quality = np.full((6, 1), 0.5)
    quality[5] = 0.01
    found = ships(success, guard, levels, deterioration=worse, quality=quality)
    assert found.tolist() == [True, False, False, False, False, False]
    assert bool(ships([0.01, 1.0], np.zeros(0), risk_aware_levels(2, 0)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: risk_aware_levels(0, 1),
        lambda: risk_aware_levels(1, -1),
        lambda: risk_aware_levels(1, 1, alpha=0),
        lambda: risk_aware_levels(1, 1, power=1),
        lambda: risk_aware_levels(1, 1, deterioration=0.2),
        lambda: risk_aware_levels(1, 1, quality=0.01),
        lambda: risk_aware_levels(1, 1, quality_tests=1),
        lambda: declared_levels(0, 1, 1),
        lambda: declared_levels(1, 2, 1, power=0.97),
    ],
)
def test_wrong_input_is_refused(call: Any) -> None:
    with pytest.raises(ValueError):
        call()
