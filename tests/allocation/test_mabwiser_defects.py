"""What mabwiser 2.7.4 does wrong, shown on the stock object, and that what we serve of it is free of it.

Should a stock half of a test fail, mabwiser has mended it: docs/mabwiser.md then wants a line less.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy, NeighborhoodPolicy
from scipy.stats import gamma

from allocation.bandits.learning.statistics import LinearStatistics
from allocation.bandits.mabwiser.importing import from_mabwiser
from allocation.bandits.mabwiser.reading import read
from allocation.bandits.mabwiser.state import Counts, Ridges
from tests.allocation.mabwiser_cases import ARMS, FEATURES, choices, encoded, fitted, log, shares

N = 20_000


def close_arms() -> MAB:
    """LinTS whose arms' means are less than a standard error apart at (1, 0.5, −0.3)."""
    rng = np.random.default_rng(1)
    contexts = rng.normal(size=(3000, 3))
    decisions = rng.choice(ARMS, 3000)
    rewards = contexts @ [0.1, 0.2, 0.0] + 0.02 * (decisions == "coupon") + rng.normal(size=3000)
    mab = MAB(list(ARMS), LearningPolicy.LinTS(alpha=1.0), seed=7)
    mab.fit(decisions, rewards, contexts)
    return mab


def test_lints_draws_the_same_noise_for_every_arm() -> None:
    """Stock: correlation 1.00 and one arm always chosen. Ours: what independent noise gives, to 1.5 points.

    The reference is 200,000 independent draws of numpy: standard error of a share at most 0.11 points; ours are 20,000
    frozen normals: 0.36 points. So 1.5 points are four standard errors of the difference.
    """
    mab = close_arms()
    member = np.array([1.0, 0.5, -0.3])
    drawn = mab.predict_expectations(np.repeat(member[None], N, axis=0))
    samples = np.array([[row[arm] for arm in ARMS] for row in drawn])
    assert np.corrcoef(samples.T).min() > 0.99
    stock = shares(choices(mab, np.repeat(member[None], N, axis=0)))
    assert stock.max() > 0.99

    ridges = read(mab).learned
    assert isinstance(ridges, Ridges)
    mean = ridges.beta @ member
    error = np.sqrt(np.einsum("i,kij,j->k", member, ridges.covariance, member))
    independent = np.random.default_rng(0).normal(mean, error, (200_000, 3))
    expected = np.bincount(independent.argmax(axis=1), minlength=3) / 200_000
    assert expected.max() < 0.75

    policy = from_mabwiser(mab, features=FEATURES, draws=N)
    ours = policy.probabilities(policy.encode(dict(zip(FEATURES, member.tolist(), strict=True))), [0, 1, 2])
    np.testing.assert_allclose(ours, expected, atol=0.015)
    normals = policy.normals
    assert normals is not None
    assert np.abs(np.corrcoef(normals.T) - np.eye(3)).max() < 0.03


def test_lints_of_one_column_adds_up_the_whole_batch() -> None:
    """Stock: a batch of 1,000 members of value 1 is expected to earn 1,000 times what one of them is."""
    mab = MAB(["a", "b"], LearningPolicy.LinTS(alpha=0.01), seed=1)
    mab.fit(["a", "b"] * 50, [0.5] * 100, np.ones((100, 1)))
    one = mab.predict_expectations(np.ones((1, 1)))["a"]
    many = mab.predict_expectations(np.ones((1000, 1)))[0]["a"]
    assert one == pytest.approx(0.5, abs=0.05)
    assert many == pytest.approx(500, abs=50)

    policy = from_mabwiser(mab, features=["one"])
    batch = policy.scores_batch(policy.encoder.encode_columns({"one": np.ones(1000)}, 1000))
    np.testing.assert_allclose(batch, np.tile(policy.scores([1.0]), (1000, 1)), atol=1e-12)
    assert batch.max() == pytest.approx(0.5, abs=0.01)


def test_an_arm_never_tried_has_the_wrong_uncertainty() -> None:
    """Stock: A⁻¹ = λI where it is I/λ: with λ = 10 its bound is 10 times what it should be."""
    mab = MAB(["tried", "new"], LearningPolicy.LinUCB(alpha=1.0, l2_lambda=10.0), seed=1)
    mab.fit(["tried"], [1.0], np.array([[1.0, 0.0]]))
    assert mab.predict_expectations(np.array([[1.0, 0.0]]))["new"] == pytest.approx(np.sqrt(10))

    ridges = read(mab).learned
    assert isinstance(ridges, Ridges)
    np.testing.assert_allclose(ridges.covariance[1], np.eye(2) / 10)
    policy = from_mabwiser(mab, features=["x", "y"])
    # Bounds: tried 1/11 + √(1/11) = 0.392, new √(1/10) = 0.316; the stock object chooses the new arm.
    assert policy.probabilities([1.0, 0.0], [0, 1]) == [1.0, 0.0]
    assert mab.predict(np.array([[1.0, 0.0]])) == "new"


def test_a_missing_context_makes_an_arm_win_for_ever() -> None:
    """Stock: one NaN makes the arm's coefficients NaN, and `argmax` takes NaN for the largest. Ours refuses it."""
    contexts = np.ones((10, 2))
    contexts[3, 0] = np.nan
    mab = MAB(["bad", "good"], LearningPolicy.LinGreedy(epsilon=0.0), seed=1)
    mab.fit(["bad"] * 5 + ["good"] * 5, [0.0] * 5 + [1.0] * 5, contexts)
    assert mab.predict(np.ones((1, 2))) == "bad"

    with pytest.raises(ValueError, match="missing rewards or contexts"):
        from_mabwiser(mab, features=["x", "y"])
    with pytest.raises(ValueError, match="not a finite number"):
        LinearStatistics.from_rows(contexts, np.repeat([0, 1], 5), np.ones(10), 2)


def test_a_missing_value_at_serving_is_served() -> None:
    policy = from_mabwiser(fitted(LearningPolicy.LinUCB(1.0)), features=FEATURES)
    for missing in (None, float("nan"), "text"):
        p = policy.probabilities(policy.encode({"age": missing, "spend": 1.0, "visits": 2.0}), [0, 1, 2])
        assert sum(p) == pytest.approx(1.0)
        assert p == policy.probabilities(policy.encode({"spend": 1.0, "visits": 2.0}), [0, 1, 2])


def test_decisions_for_unknown_arms_vanish_silently() -> None:
    """Stock counts them in UCB1's total, and nowhere else."""
    mab = MAB(["a", "b"], LearningPolicy.UCB1(1.0), seed=1)
    mab.fit(["a", "b", "typo", "typo"], [1, 0, 1, 1])
    assert mab._imp.total_count == 4
    assert sum(mab._imp.arm_to_count.values()) == 2
    learned = read(mab).learned
    assert isinstance(learned, Counts)
    assert learned.count.sum() == 2


def test_ucb1_never_tries_an_arm_that_was_not_tried() -> None:
    """Stock: its expectation is 0, whatever the others earn. Ours: the mean, and the bound of one trial."""
    mab = MAB(["a", "b", "new"], LearningPolicy.UCB1(1.0), seed=1)
    mab.fit(["a", "b"] * 50, [0.5] * 100)
    assert {mab.predict() for _ in range(100)} == {"a"}  # and of equal ones always the first
    policy = from_mabwiser(mab)
    assert policy.probabilities([], [0, 1, 2]) == [0.0, 0.0, 1.0]
    assert policy.probabilities([], [0, 1]) == [0.5, 0.5]


def test_scaled_contexts_make_fit_and_partial_fit_differ() -> None:
    """Stock: the scaler moves on, the sums stay in the old scale. Ours are additive: pieces give the whole."""
    rng = np.random.default_rng(2)
    contexts = np.concatenate([rng.normal(0, 1, (200, 2)), rng.normal(5, 3, (200, 2))])
    rewards = contexts @ [0.3, -0.2] + rng.normal(size=400)
    decisions = np.array(["a", "b"] * 200)
    whole, pieces = (MAB(["a", "b"], LearningPolicy.LinUCB(1.0, scale=True), seed=1) for _ in range(2))
    whole.fit(decisions, rewards, contexts)
    pieces.fit(decisions[:200], rewards[:200], contexts[:200])
    pieces.partial_fit(decisions[200:], rewards[200:], contexts[200:])
    assert np.abs(whole._imp.arm_to_model["a"].beta - pieces._imp.arm_to_model["a"].beta).max() > 0.01

    variant = np.tile([0, 1], 200)
    once = LinearStatistics.from_rows(contexts, variant, rewards, 2)
    half = [LinearStatistics.from_rows(contexts[s], variant[s], rewards[s], 2) for s in (slice(200), slice(200, 400))]
    np.testing.assert_allclose((half[0] + half[1]).gram, once.gram, rtol=1e-13)


def test_popularity_and_softmax_do_not_draw_the_shares_they_report() -> None:
    """Stock: the largest of a Dirichlet sample, which prefers large shares. Ours are the shares themselves.

    Expected of the stock object: the probability that one gamma variable is the largest, by numerical integration. Its
    share of 20,000 draws has a standard error of at most 0.35 points; the tolerance is four.
    """
    mab = MAB(list(ARMS), LearningPolicy.Popularity(), seed=1)
    mab.fit(
        ["control"] * 10 + ["coupon"] * 10 + ["points"] * 10, [1] * 5 + [0] * 5 + [1] * 3 + [0] * 7 + [1] * 2 + [0] * 8
    )
    stated = np.array([0.5, 0.3, 0.2])
    # Uniform in the quantile of each arm's own gamma variable, so that the pole of its density at 0 does no harm.
    quantile = (np.arange(40_000) + 0.5) / 40_000
    largest = np.array(
        [
            np.prod([gamma.cdf(gamma.ppf(quantile, stated[k]), stated[j]) for j in range(3) if j != k], axis=0).mean()
            for k in range(3)
        ]
    )
    assert largest.sum() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(largest - stated).max() > 0.015
    stock = shares(list(mab.predict(np.zeros((N, 1)))))
    np.testing.assert_allclose(stock, largest, atol=0.014)
    np.testing.assert_allclose(from_mabwiser(mab).probabilities([], [0, 1, 2]), stated, atol=1e-12)


def test_popularity_mixes_shares_and_means_after_a_partial_fit() -> None:
    """Stock: an arm that a batch leaves out keeps its share and is compared with the others' new means."""
    whole, pieces = (MAB(["a", "b"], LearningPolicy.Popularity(), seed=1) for _ in range(2))
    first, second = (["a", "a", "b", "b"], [1, 0, 1, 0]), (["a"] * 6, [0] * 6)
    whole.fit(first[0] + second[0], first[1] + second[1])
    pieces.fit(*first)
    pieces.partial_fit(*second)
    assert whole._imp.arm_to_expectation["a"] == pytest.approx(0.2)  # means 1/8 and 1/2
    assert pieces._imp.arm_to_expectation["a"] == pytest.approx(0.2)
    pieces.partial_fit(["b"] * 2, [1, 1])
    whole.partial_fit(["b"] * 2, [1, 1])
    # b's mean is 3/4 and a's 1/8, so a's share is 1/7; it comes out as 0.2 of 0.95.
    assert pieces._imp.arm_to_expectation["a"] == pytest.approx(0.2 / 0.95)
    for mab in (whole, pieces):
        assert from_mabwiser(mab).probabilities([], [0, 1])[0] == pytest.approx(1 / 7)


def test_a_members_choice_depends_on_who_was_asked_before() -> None:
    """Stock: one generator, moved by every call. Ours: the same probabilities for the same member, and a hash draws."""
    contexts = log(50, seed=3)[2]
    first, later = close_arms(), close_arms()
    later.predict(contexts)
    members = np.repeat(contexts[:1], 40, axis=0)
    assert first.predict_expectations(members) != later.predict_expectations(members)
    policy = from_mabwiser(first, features=FEATURES)
    before = policy.probabilities_batch(encoded(policy, contexts))
    policy.probabilities_batch(encoded(policy, contexts[::-1].copy()))
    np.testing.assert_array_equal(policy.probabilities_batch(encoded(policy, contexts)), before)


def test_no_cluster_with_an_untried_arm_is_lost() -> None:
    """Stock: an arm not tried in a cluster counts as 0 there. Ours: as the cluster's mean."""
    contexts = np.concatenate([np.full((50, 1), -1.0), np.full((50, 1), 1.0)])
    decisions = np.array(["a"] * 50 + ["a", "b"] * 25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mab = MAB(["a", "b"], LearningPolicy.EpsilonGreedy(0.0), NeighborhoodPolicy.Clusters(2), seed=1)
        mab.fit(decisions, np.full(100, 0.5), contexts)
    policy = from_mabwiser(mab, features=["x"])
    assert policy.probabilities([-1.0], [0, 1]) == [0.5, 0.5]
    assert mab.predict_expectations(np.array([[-1.0]]))["b"] == 0
