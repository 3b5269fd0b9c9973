"""Randomisation inference: brute-force enumeration, scipy's permutation test, and size under strong dependence."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stats.switchback import randomisation_test


def brute_force(y: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    """Return difference and p by going through all assignments with as many treated."""
    observed = y[z == 1].mean() - y[z == 0].mean()
    shown = []
    for chosen in combinations(range(len(y)), int(z.sum())):
        own = np.isin(np.arange(len(y)), chosen)
        shown.append(y[own].mean() - y[~own].mean())
    return float(observed), float(np.mean(np.abs(shown) >= abs(observed) - 1e-12))


@pytest.mark.parametrize("seed", range(4))
def test_all_assignments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, z = rng.gamma(2, 1, 11), rng.permutation(np.arange(11) < 5).astype(int)
    test = randomisation_test(y, z)
    assert (test.estimate, test.p_value) == pytest.approx(brute_force(y, z), rel=1e-12)
    assert (test.exact, test.assignments) == (True, 462)


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_is_the_test_inverted(seed: int) -> None:
    """Just inside an end the shifted hypothesis is not rejected at alpha, just outside it is."""
    rng = np.random.default_rng(seed + 10)
    y, z = rng.gamma(2, 1, 10), rng.permutation(np.arange(10) < 5).astype(int)
    test = randomisation_test(y, z, alpha=0.1)
    for end, outward in ((test.ci_low, -1.0), (test.ci_high, 1.0)):
        assert brute_force(y - (end - 1e-6 * outward) * z, z)[1] > 0.1
        assert brute_force(y - (end + 1e-6 * outward) * z, z)[1] <= 0.1


def test_scipys_permutation_test_agrees() -> None:
    rng = np.random.default_rng(3)
    y, z = rng.normal(0, 1, 14) + np.arange(14) % 2, np.arange(14) % 2
    theirs = stats.permutation_test(
        (y[z == 1], y[z == 0]), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=10**6, vectorized=True
    )
    assert randomisation_test(y, z).p_value == pytest.approx(theirs.pvalue, abs=1e-9)


def test_blocks_are_least_squares_with_an_effect_of_each() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(4)
    blocks = np.repeat(np.arange(6), 7)
    z = (rng.random(42) < 0.5).astype(int)
    y = 10 * blocks + z + rng.normal(0, 1, 42)
    dummies = np.eye(6)[blocks]
    theirs = sm.OLS(y, np.column_stack([z, dummies])).fit()
    test = randomisation_test(y, z, blocks, draws=500, seed=1)
    assert test.estimate == pytest.approx(theirs.params[0], rel=1e-9)
    assert test.std_error == pytest.approx(theirs.bse[0], rel=0.15)
    assert (test.exact, test.assignments) == (False, 501)


def test_drawing_agrees_with_all_and_is_seeded() -> None:
    """Four blocks of six have 160,000 assignments; two have 400: the drawn p within 4 s.e. (.02) of the exact one."""
    rng = np.random.default_rng(5)
    y, z, blocks = rng.normal(0, 1, 12), np.tile([0, 1], 6), np.repeat([0, 1], 6)
    exact = randomisation_test(y, z, blocks)
    wide_y, wide_z, wide_blocks = (np.concatenate([a, b]) for a, b in ((y, y * 0), (z, z), (blocks, blocks + 2)))
    drawn = randomisation_test(wide_y, wide_z, wide_blocks, seed=6)
    again = randomisation_test(wide_y, wide_z, wide_blocks, seed=6)
    assert (drawn.p_value, drawn.ci_low) == (again.p_value, again.ci_low)
    assert exact.exact
    assert not drawn.exact
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.02)


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_swapping_scaling_shifting_and_agreement_about_zero(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    z = rng.permutation(np.tile([0, 1], 6))
    blocks = np.repeat([0, 1], 6)
    y = rng.integers(0, 12, 12) + 5.0 * z * rng.integers(0, 2)  # ties on purpose
    test = randomisation_test(y, z, blocks)
    other = randomisation_test(y * scale + shift, 1 - z, blocks)
    if test.why:
        assert other.why == test.why
        return
    assert other.estimate == pytest.approx(-test.estimate * scale, rel=1e-6, abs=1e-6 * scale)
    assert other.p_value == pytest.approx(test.p_value)
    assert (test.ci_low > 0 or test.ci_high < 0) == (test.p_value <= 0.05)
    assert test.ci_low <= test.estimate <= test.ci_high


def test_too_few_to_tell_gives_an_interval_without_end() -> None:
    test = randomisation_test([1.0, 5.0, 2.0, 6.0], [0, 1, 0, 1])
    assert test.p_value == pytest.approx(2 / 6)
    value = test.value()
    assert value.ci_low is None
    assert value.ci_high is None
    assert value.p_value == pytest.approx(2 / 6)


def test_nothing_to_compare_says_why() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert randomisation_test([1.0, 2.0], [1, 1]).value().why_code == "no_units"
        assert randomisation_test([], []).value().why_code == "no_units"
        alone = randomisation_test([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], ["a", "a", "b", "b"]).value()
        flat = randomisation_test([3.0, 3.0, 7.0, 7.0], [0, 1, 0, 1], ["a", "a", "b", "b"]).value()
        missing = randomisation_test([1.0, np.nan, 3.0, 4.0, 2.0], [0, 0, 1, 1, 0])
    assert (alone.why_code, alone.p_value) == ("too_few_assignments", None)
    assert (flat.why_code, flat.estimate, flat.p_value) == ("zero_variance", 0.0, None)
    assert missing.assignments == 6
    for bad in ([0, 2], [0.5, 1]):
        with pytest.raises(ValueError, match="0 or 1"):
            randomisation_test([1.0, 2.0], bad)
    with pytest.raises(ValueError, match="fit"):
        randomisation_test([1.0, 2.0], [1])
