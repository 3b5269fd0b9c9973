"""Intervals of curves: the draws themselves, the same figures for the same seed, and how often intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from stats.uplift.bootstrap import curve_intervals
from stats.uplift.curves import uplift_curve
from tests.stats.uplift.test_curves import some_rows

SLOPE, LEAST = 0.2, 0.1


def world(generator: np.random.Generator, n: int, levels: int | None = None) -> tuple[np.ndarray, ...]:
    """An offer that adds .2 × the score, which is uniform: the Qini coefficient is .2 × (1/3 − 1/4) = 1/60."""
    score, treated = generator.random(n), generator.random(n) < 0.5
    outcome = (generator.random(n) < LEAST + SLOPE * score * treated).astype(float)
    return outcome, treated, score if levels is None else np.floor(score * levels)


def test_spread_is_that_of_drawing_rows_again() -> None:
    """Against a bootstrap that takes rows and computes each curve anew; 400 draws know an sd to 3.5 %."""
    outcome, treated, score = some_rows(5, 800, scores=40)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        rows = generator.integers(0, 800, 800)
        curve = uplift_curve(outcome[rows], treated[rows], score[rows])
        drawn.append((curve.qini_coefficient(), curve.auuc(), np.interp(0.4, curve.share, curve.gain)))
    expected = np.std(drawn, axis=0, ddof=1)
    found = curve_intervals(outcome, treated, score, draws=400, shares=[0.4])
    band = (found.gain_high[0] - found.gain_low[0]) / 2 / 1.959964
    assert [found.qini.std_error, found.auuc.std_error, band] == pytest.approx(expected.tolist(), rel=0.2)


@pytest.mark.parametrize("scores", [None, 3])
def test_the_order_of_rows_does_not_matter(scores: int | None) -> None:
    rows = some_rows(2, 500, binary=False, scores=scores)
    mixed = np.random.default_rng(9).permutation(500)
    first = curve_intervals(*rows, draws=30, seed=4)
    again = curve_intervals(*(column[mixed] for column in rows), draws=30, seed=4)
    assert again.qini.std_error == pytest.approx(first.qini.std_error, rel=1e-9)
    assert again.gain_low == pytest.approx(first.gain_low, abs=1e-9)
    assert curve_intervals(*rows, draws=30, seed=5).qini.std_error != first.qini.std_error


def test_the_band_starts_at_nobody_and_ends_at_the_difference_of_means() -> None:
    outcome, treated, score = some_rows(7, 2000)
    found = curve_intervals(outcome, treated, score)
    assert (found.gain[0], found.gain_low[0], found.gain_high[0]) == (0.0, 0.0, 0.0)
    t, c = outcome[treated], outcome[~treated]
    welch = np.sqrt(t.var(ddof=1) / len(t) + c.var(ddof=1) / len(c))
    assert found.gain[-1] == pytest.approx(t.mean() - c.mean())
    assert (found.gain_high[-1] - found.gain_low[-1]) / 2 / 1.959964 == pytest.approx(welch, rel=0.15)
    with pytest.raises(ValueError, match="2 draws"):
        curve_intervals(outcome, treated, score, draws=1)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [None, 5])
def test_intervals_hold_as_often_as_they_say(levels: int | None) -> None:
    """300 experiments of 2,000 units: 95 % ± 3 × 1.3 %; false alarm .005 were coverage exactly .95."""
    truth = SLOPE / 12 if levels is None else SLOPE / 12 * (1 - 1 / levels**2)
    hits = np.zeros(2)
    for seed in range(300):
        found = curve_intervals(*world(np.random.default_rng(seed), 2000, levels), draws=100, seed=seed)
        effect = SLOPE / 2
        hits += (
            found.qini.ci_low <= truth <= found.qini.ci_high,
            found.auuc.ci_low <= truth + effect / 2 <= found.auuc.ci_high,
        )
    assert (hits / 300).tolist() == pytest.approx([0.95, 0.95], abs=0.039)
