"""Novelty: a fading effect is found, a steady one seldom called so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from stats.moments import Moments
from stats.novelty import Novelty, novelty


def halves(seed: int, n: int, first: float, second: float, variants: int = 2) -> Novelty:
    """Units with a common level in both halves, and the variants' effects in each."""
    rng = np.random.default_rng(seed)
    arm = np.repeat(np.arange(variants), n)
    level = rng.gamma(2, 2, variants * n)
    early = level + rng.normal(size=variants * n) + first * (arm > 0)
    late = 0.7 * level + rng.normal(size=variants * n) + second * (arm > 0)
    return novelty(Moments.from_rows(["a", "b"], np.column_stack([early, late]), cell=arm), "a", "b")


def test_the_change_is_welchs_test_on_the_units_own_differences() -> None:
    """Against scipy's Welch test of late − early."""
    rng = np.random.default_rng(1)
    rows, arm = rng.gamma(2, 2, (400, 2)), np.repeat([0, 1], [150, 250])
    found = novelty(Moments.from_rows(["a", "b"], rows, cell=arm), "a", "b")
    change = rows[:, 1] - rows[:, 0]
    expected = ttest_ind(change[arm == 1], change[arm == 0], equal_var=False)
    assert found.change.p_value[0] == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.p_adjusted[0] == found.change.p_value[0]


def test_a_fading_effect_is_found() -> None:
    found = halves(2, 4000, first=0.4, second=0.1)
    assert found.p_adjusted[0] < 0.001
    assert found.change.estimate[0] == pytest.approx(-0.3, abs=4 * found.change.std_error[0])


def test_a_steady_effect_is_seldom_called_fading() -> None:
    """Three variants, 400 tests of a steady effect, Holm: at most 5 % + three standard errors (3.3 %) say otherwise."""
    alarms = sum(bool((halves(seed, 200, 0.3, 0.3, variants=4).p_adjusted < 0.05).any()) for seed in range(400))
    assert alarms / 400 < 0.083


def test_too_few_units_have_no_answer() -> None:
    found = halves(3, 1, 0.0, 0.0)
    assert np.isnan(found.p_adjusted[0])
    assert found.change.value(0).why == "too few units: 2 needed in each variant"
