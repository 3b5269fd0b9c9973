"""Ranks: p is scipy's Brunner–Munzel and Mann–Whitney; histograms give what rows give; nothing out of no overlap."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stats.ranks import above_to_odds, mann_whitney, share_above

VALUES = st.lists(st.integers(0, 9), min_size=4, max_size=60)


@given(VALUES, VALUES)
@settings(max_examples=80, deadline=None)
def test_scipy_agrees(control: list[int], variant: list[int]) -> None:
    effect = share_above(control, variant).value()
    brute = np.mean([(x < y) + 0.5 * (x == y) for x in control for y in variant]) - 0.5
    assert effect.estimate == pytest.approx(brute, abs=1e-12)
    if effect.why is None:
        theirs = scipy.stats.brunnermunzel(control, variant)
        assert effect.p_value == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-300)
    ours = mann_whitney(control, variant)
    assume(ours is not None)
    test = scipy.stats.mannwhitneyu(control, variant, use_continuity=False, method="asymptotic")
    assert ours == pytest.approx(test.pvalue, rel=1e-9)


@given(VALUES, VALUES, st.sampled_from([0.01, 0.05, 0.3]))
@settings(max_examples=80, deadline=None)
def test_p_and_interval_agree_and_swapping_mirrors(control: list[int], variant: list[int], alpha: float) -> None:
    there, back = share_above(control, variant, alpha).value(), share_above(variant, control, alpha).value()
    assert there.why == back.why
    if there.why is None:
        assert (there.estimate, there.ci_low) == pytest.approx((-back.estimate, -back.ci_high), abs=1e-9)
        assert -0.5 <= there.ci_low <= there.ci_high <= 0.5
        if abs(there.p_value / alpha - 1) > 1e-6:
            assert (there.ci_low > 0 or there.ci_high < 0) == (there.p_value < alpha)


def test_histograms_and_monotone_scales_change_nothing() -> None:
    rng = np.random.default_rng(3)
    rows = [rng.negative_binomial(0.6, 0.1, n) for n in (800, 600)]
    (x, m), (y, n) = (np.unique(part, return_counts=True) for part in rows)
    expected = share_above(*rows).value()
    assert share_above(x, y, control_counts=m, variant_counts=n).value() == expected
    assert share_above(np.sqrt(x), np.sqrt(y), control_counts=m, variant_counts=n).value() == expected
    assert mann_whitney(x, y, control_counts=m, variant_counts=n) == pytest.approx(mann_whitney(*rows), rel=1e-12)


def test_what_cannot_be_said_has_its_reason() -> None:
    assert share_above([], [1, 2]).value().why_code == "no_units"
    assert share_above([1], [1, 2]).value().why_code == "too_few_units"
    assert share_above([1, 1], [1, 1, 1]).value().why_code == "zero_variance"
    apart = share_above([1, 2, 3], [4, 5]).value()
    assert (apart.why_code, apart.estimate, apart.p_value) == ("no_overlap", 0.5, None)
    assert mann_whitney([1, 1], [1]) is None
    assert float(above_to_odds(0.0)) == 1.0
    with pytest.raises(ValueError, match="counts"):
        share_above([1, 2], [3, 4], control_counts=[1, -1])
    with pytest.raises(ValueError, match="infinity"):
        share_above([1, np.inf], [3, 4])


@pytest.mark.parametrize(("shift", "spread"), [(0.0, 1.0), (0.4, 3.0)])
def test_intervals_cover_with_unequal_spreads(shift: float, spread: float) -> None:
    """Normal variants of sd 1 and ``spread``, 60 and 40 units: P(A < B) = Φ(shift/√(1 + spread²)), closed form.

    1,500 runs, s.e. .0056: at least .95 less 3 s.e. (.017); the logit scale makes it a little wide, up to .985. Seed
    fixed.
    """
    rng = np.random.default_rng(12)
    truth = scipy.stats.norm.cdf(shift / (1 + spread**2) ** 0.5) - 0.5
    covered = 0
    for _ in range(1500):
        effect = share_above(rng.normal(0, 1, 60), rng.normal(shift, spread, 40)).value()
        covered += effect.ci_low <= truth <= effect.ci_high
    assert 0.95 - 0.017 <= covered / 1500 <= 0.985


def test_two_units_against_many_at_a_strict_level_say_next_to_nothing_without_a_warning() -> None:
    """One degree of freedom: 637 standard errors at .001, on the logit scale beyond what exp can hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        effect = share_above(np.arange(100.0), [958.0, -2255.0], alpha=0.001).value()
    assert (effect.ci_low, effect.ci_high) == (-0.5, 0.5)
    assert effect.p_value is not None
    assert effect.p_value > 0.9
