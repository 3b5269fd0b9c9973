"""Rankings that know nothing of effects."""

from __future__ import annotations

import numpy as np
import pytest

from stats.uplift.baselines import random, response, rfm
from stats.uplift.curves import uplift_curve
from stats.uplift.trial import Trial


@pytest.fixture(scope="module")
def trial() -> Trial:
    """Buyers by one attribute, who gain from the offer by another."""
    generator = np.random.default_rng(6)
    features, arm = generator.normal(size=(20_000, 2)), generator.integers(0, 2, 20_000)
    chance = 0.2 + 0.15 * np.tanh(features[:, 0]) + 0.1 * arm * (features[:, 1] > 0)
    outcome = (generator.random(20_000) < chance).astype(float)
    return Trial(outcome, arm, features, np.full((20_000, 2), 0.5))


def test_response_finds_buyers_not_those_who_gain(trial: Trial) -> None:
    score = response(trial)
    assert np.corrcoef(score, trial.features[:, 0])[0, 1] > 0.9
    effect = uplift_curve(trial.outcome, trial.arm, trial.features[:, 1]).qini_coefficient()
    assert uplift_curve(trial.outcome, trial.arm, score).qini_coefficient() < effect / 2


def test_response_knows_neither_the_unit_itself_nor_the_order_of_rows() -> None:
    generator = np.random.default_rng(0)
    noise = Trial(
        generator.normal(size=500),
        generator.integers(0, 3, 500),
        generator.normal(size=(500, 40)),
        np.full((500, 3), 1 / 3),
    )
    score, mixed = response(noise, seed=3), generator.permutation(500)
    # 40 columns of noise fitted to the same rows would correlate by about √(40/500) = .28.
    assert np.corrcoef(score, noise.outcome)[0, 1] < 0.15
    assert response(noise.take(mixed), seed=3) == pytest.approx(score[mixed])


def test_rfm_is_the_mean_of_three_ranks() -> None:
    recency, orders, spend = [5, 40, 400, np.nan], [9, 3, 3, 0], [900.0, 90.0, 95.0, np.nan]
    # Ranks: 4, 3, 2, 1 by recency; 4, 2.5, 2.5, 1 by orders; 4, 2, 3, 1 by spend; a rank r of 4 is the share (r − ½)/4.
    expected = (np.array([4 + 4 + 4, 3 + 2.5 + 2, 2 + 2.5 + 3, 1 + 1 + 1]) / 3 - 0.5) / 4
    assert rfm(recency, orders, spend) == pytest.approx(expected)
    assert rfm(recency).argsort().tolist() == [3, 2, 1, 0]


def test_random_is_the_seed_s() -> None:
    assert random(1000, 1).tolist() == random(1000, 1).tolist() != random(1000, 2).tolist()
    assert random(1000, 1).mean() == pytest.approx(0.5, abs=0.04)
