"""Rank-weighted average effects: the definition, a world whose AUTOC is known, and how often intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from stats.uplift.rate import autoc, toc


def by_hand(difference: np.ndarray, priority: np.ndarray) -> float:
    """Mean over all counts of units of TOC; equal units in a random order on average, each with their mean."""
    averaged = np.array([difference[priority == level].mean() for level in priority])
    ranked = averaged[np.argsort(-priority, kind="stable")]
    return float(np.mean([ranked[: count + 1].mean() - difference.mean() for count in range(len(ranked))]))


@pytest.mark.parametrize("levels", [None, 8, 2])
def test_estimates_are_those_of_the_definition(levels: int | None) -> None:
    for seed in range(10):
        generator = np.random.default_rng(seed)
        difference, priority = generator.normal(1, 3, 150), generator.normal(size=150)
        if levels:
            priority = np.floor(generator.random(150) * levels)
        assert autoc(difference, priority).estimate == pytest.approx(by_hand(difference, priority), abs=1e-10)
        curve = toc(difference, priority, np.arange(1, 151) / 150)
        assert autoc(difference, priority).estimate == pytest.approx(curve.mean(), abs=1e-10)
        assert curve[-1] == pytest.approx(0.0, abs=1e-12)


def test_a_constant_priority_is_worth_exactly_nothing() -> None:
    difference = np.random.default_rng(1).normal(5, 3, 999)
    found = autoc(difference, np.full(999, 0.1))
    assert (found.estimate, found.std_error, found.ci_low, found.ci_high) == (0.0, 0.0, 0.0, 0.0)


def test_order_of_rows_scale_and_shift() -> None:
    generator = np.random.default_rng(2)
    difference, priority = generator.normal(size=700), np.floor(generator.random(700) * 30)
    found, mixed = autoc(difference, priority, seed=5), generator.permutation(700)
    again = autoc(difference[mixed], priority[mixed], seed=5)
    assert (again.estimate, again.std_error) == pytest.approx((found.estimate, found.std_error), abs=1e-12)
    other = autoc(7 - 3 * difference, np.exp(priority / 9), seed=5)
    assert other.estimate == pytest.approx(-3 * found.estimate)
    assert other.std_error == pytest.approx(3 * found.std_error, rel=0.3)  # ties are drawn in another order


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="each priority"):
        autoc(np.zeros(3), [1, 2])
    with pytest.raises(ValueError, match="each priority"):
        autoc(np.array([1.0, np.nan]), [1, 2])
    with pytest.raises(ValueError, match="2 draws"):
        autoc(np.zeros(3), [1, 2, 3], draws=1)


@pytest.mark.slow
def test_intervals_hold_as_often_as_they_say() -> None:
    """Effects that are uniform and ranked perfectly, behind noise: E[effect | top u] − E[effect] = (1 − u)/2, area ¼.

    300 samples: 95 % ± 3.5 × 1.3 %; a false alarm of .0005 were coverage exactly .95.
    """
    hits = nothing = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        effect, noise = generator.random(600), generator.normal(0, 1, 600)
        found = autoc(effect + noise, effect, draws=100, seed=seed)
        hits += found.ci_low <= 0.25 <= found.ci_high
        null = autoc(noise, effect, draws=100, seed=seed)
        nothing += null.ci_low <= 0 <= null.ci_high
    assert (hits / 300, nothing / 300) == pytest.approx((0.95, 0.95), abs=0.045)
