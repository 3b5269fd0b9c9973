"""Means of variants after adaptive collection: scores by hand, invariances, and the simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest

from bench.simulations import adaptive
from stats.ope import aipw_scores, arm_means, score_mean, wald, widened
from stats.ope.adaptive import batches, past_means, stabilising
from stats.sequential import mixture_band


def collected(seed: int = 1, n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = np.repeat([[0.4, 0.3, 0.3], [0.1, 0.8, 0.1], [0.05, 0.9, 0.05], [0.6, 0.2, 0.2]], n // 4, axis=0)
    variant = (rng.random((n, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)
    reward = rng.normal(np.array([1.0, 2.0, 3.0])[variant], 1.0)
    return variant, reward, p, np.repeat(np.arange(4), n // 4)


def test_scores_by_hand() -> None:
    """Hadad et al. (2021), eq. 5: m + 1{W = w} / e · (Y − m), on numbers small enough for paper."""
    scores = aipw_scores([1, 0], [5.0, 1.0], [[0.75, 0.25], [0.5, 0.5]], predicted=[[1.0, 2.0], [3.0, 4.0]])
    assert scores.tolist() == [[1.0, 2.0 + 3.0 / 0.25], [3.0 - 2.0 / 0.5, 4.0]]


def test_weighted_mean_and_error_by_hand() -> None:
    """Hadad et al. (2021): Σh·Γ / Σh, and Σh²(Γ − Q̂)² / (Σh)² times G / (G − 1)."""
    scores, h = np.array([1.0, 4.0, 2.0]), np.array([1.0, 0.5, 0.5])
    value = (1.0 + 2.0 + 1.0) / 2.0
    variance = (1.0 * 1.0 + 0.25 * 4.0 + 0.25 * 0.0) / 4.0 * 3 / 2
    found = score_mean(scores, weight=h)
    assert found.value == pytest.approx(value)
    assert found.std_error == pytest.approx(variance**0.5)


def test_with_equal_propensities_the_mean_is_near_the_plain_one_and_no_wider() -> None:
    rng = np.random.default_rng(3)
    variant = rng.integers(0, 3, 3000)
    reward = rng.normal(np.array([1.0, 2.0, 3.0])[variant], 1.0)
    found = arm_means(variant, reward, np.full((3000, 3), 1 / 3))
    for arm, one in enumerate(found):
        plain = wald(reward[variant == arm])
        assert one.value == pytest.approx(plain.value, abs=0.3 * plain.std_error)
        assert one.std_error == pytest.approx(plain.std_error, rel=0.06)  # shares of a third, give or take
        assert one.rows == 3000


def test_predictions_come_from_earlier_batches_only() -> None:
    variant, reward, _, batch = collected()
    before = past_means(variant, reward, 3, batch=batch)
    changed = reward.copy()
    changed[batch == 2] += 100.0
    after = past_means(variant, changed, 3, batch=batch)
    assert np.array_equal(before[batch <= 2], after[batch <= 2])
    assert (after[batch == 3] > before[batch == 3]).all()
    # Within the first batch no decision predicts itself.
    first = reward.copy()
    first[0] += 1000.0
    assert np.array_equal(past_means(variant, first, 3, batch=batch)[0], before[0])


def test_members_of_the_first_batch_are_not_predicted_from_themselves() -> None:
    variant, reward, _, batch = collected()
    member = np.arange(2000) // 4
    before = past_means(variant, reward, 3, batch=batch, cluster=member)
    changed = reward.copy()
    changed[0] += 1000.0
    assert np.array_equal(past_means(variant, changed, 3, batch=batch, cluster=member)[:4], before[:4])


def test_a_constant_added_to_rewards_is_added_to_the_means() -> None:
    variant, reward, p, batch = collected()
    for method in ("uniform", "weighted"):
        base = arm_means(variant, reward, p, batch=batch, method=method)
        moved = arm_means(variant, 10 * (reward + 7.0), p, batch=batch, method=method)
        for before, after in zip(base, moved, strict=True):
            assert after.value == pytest.approx(10 * (before.value + 7.0))
            assert after.std_error == pytest.approx(10 * before.std_error)


def test_only_those_who_were_eligible_count() -> None:
    _, reward, p, batch = collected()
    masked = p.copy()
    masked[batch == 0, 2] = 0.0
    masked /= masked.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(8)
    redrawn = (rng.random((2000, 1)) > np.cumsum(masked, axis=1)[:, :-1]).sum(axis=1)
    found = arm_means(redrawn, reward, masked, batch=batch)
    assert [one.rows for one in found] == [2000, 2000, 1500]
    with pytest.raises(ValueError, match="drew a variant that had no probability"):
        arm_means(np.full(2000, 2), reward, masked, batch=batch)


def test_variants_nobody_could_get_or_got_have_a_reason() -> None:
    p = np.array([[0.5, 0.0, 0.5]] * 10)
    found = arm_means([0] * 10, np.arange(10.0), p)
    assert [one.why_code for one in found] == [None, "never_eligible", "never_drawn"]
    assert [one.value is None for one in found] == [False, True, True]


def test_always_valid_is_the_mixture_band_and_wider() -> None:
    variant, reward, p, batch = collected()
    plain = arm_means(variant, reward, p, batch=batch)[0]
    wide = arm_means(variant, reward, p, batch=batch, always_valid=True, n_star=1000)[0]
    band = mixture_band(plain.value, plain.std_error, n=2000, n_star=1000)
    assert (wide.ci_low, wide.ci_high) == pytest.approx((float(band.ci_low), float(band.ci_high)))
    assert wide.ci_high - wide.ci_low > 1.3 * (plain.ci_high - plain.ci_low)
    assert widened(wald([1.0])).ci_low is None


def test_differences_of_variants_are_paired() -> None:
    variant, reward, p, batch = collected()
    scores = aipw_scores(variant, reward, p, batch=batch)
    found = score_mean(scores[:, 1] - scores[:, 0])
    first, second = (score_mean(scores[:, arm]) for arm in (0, 1))
    assert found.value == pytest.approx(second.value - first.value)
    assert found.ci_low <= 1.0 <= found.ci_high


def test_weights_of_a_batch_follow_its_propensities() -> None:
    assert stabilising(np.array([0.25, 0.25, 0.04, 0.0]), np.array([0, 0, 1, 1])).tolist() == [0.5, 0.5, 0.2, 0.0]
    # Contexts within a batch keep their shares, whatever their propensities.
    mixed = stabilising(np.array([0.5, 0.1]), np.array([0, 0]))
    assert mixed[0] == mixed[1] == pytest.approx((2 / (2 + 10)) ** 0.5)
    assert batches(None, 40).tolist() == [i // 2 for i in range(40)]


@pytest.mark.slow
def test_coverage_after_adaptive_collection() -> None:
    """Six ways of collecting, 500 runs each, fixed seeds; goals of .94 to .96 with two standard errors allowed."""
    figures = adaptive.run(runs=500)
    assert [f"{f.subject}: {f.measure} {f.value:.4f}" for f in figures if not f.met] == []
    by_name = {(f.subject, f.measure): f for f in figures}
    for how in adaptive.COLLECTIONS:
        biased = by_name[how.name, "bias × 1,000, naive mean"]
        sound = by_name[how.name, "bias × 1,000, uniform AIPW"]
        assert abs(biased.value) > 5 * biased.std_error
        assert abs(sound.value) < 3.3 * sound.std_error
