"""The private state of mabwiser means what is read of it: a version that changes it fails here, not in production."""

from __future__ import annotations

import importlib.metadata
import math

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy, NeighborhoodPolicy
from sklearn.cluster import KMeans

from allocation.bandits.mabwiser.probing import probe
from allocation.bandits.mabwiser.reading import read
from allocation.bandits.mabwiser.recounting import leaves, nearest
from allocation.bandits.mabwiser.state import Clusters, Counts, Ridges, Trees
from tests.allocation.mabwiser_cases import ARMS, CLUSTERS, COUNTERS, LINEAR, TREE, fitted, log


def test_the_version_is_one_that_was_looked_at() -> None:
    version = tuple(int(part) for part in importlib.metadata.version("mabwiser").split(".")[:2])
    assert version == (2, 7)


def own(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the count and the sum of rewards of each arm, from the log alone."""
    decisions, rewards, _ = log()
    return (
        np.array([(decisions == arm).sum() for arm in ARMS], float),
        np.array([rewards[decisions == arm].sum() for arm in ARMS]),
    )


@pytest.mark.parametrize("name", sorted(COUNTERS))
def test_counters_count(name: str) -> None:
    learned = read(fitted(COUNTERS[name])).learned
    assert isinstance(learned, Counts)
    assert learned.learner == name
    count, total = own(name)
    if name != "random":  # which keeps nothing
        np.testing.assert_array_equal(learned.count, count)
        np.testing.assert_array_equal(learned.total, total)


def test_thompson_starts_at_one_success_and_one_failure() -> None:
    imp = fitted(COUNTERS["thompson"])._imp
    count, total = own("thompson")
    assert list(imp.arm_to_success_count.values()) == (1 + total).tolist()
    assert list(imp.arm_to_fail_count.values()) == (1 + count - total).tolist()


def test_ucb1_is_the_mean_and_its_bound() -> None:
    mab = fitted(COUNTERS["ucb1"])
    count, total = own("ucb1")
    for k, arm in enumerate(ARMS):
        bound = total[k] / count[k] + 0.5 * math.sqrt(2 * math.log(count.sum()) / count[k])
        assert mab.predict_expectations()[arm] == pytest.approx(bound, abs=1e-12)


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_ridges_are_sums_over_the_arms_own_rows(name: str) -> None:
    mab = fitted(LINEAR[name])
    learned = read(mab).learned
    assert isinstance(learned, Ridges)
    assert learned.parameters["l2_lambda"] == 2.0
    decisions, rewards, contexts = log()
    for k, arm in enumerate(ARMS):
        mine = contexts[decisions == arm]
        gram = 2.0 * np.eye(3) + mine.T @ mine
        np.testing.assert_allclose(learned.gram[k], gram, rtol=0, atol=1e-11)
        np.testing.assert_allclose(
            learned.beta[k], np.linalg.solve(gram, mine.T @ rewards[decisions == arm]), atol=1e-12
        )
        np.testing.assert_allclose(learned.beta[k], mab._imp.arm_to_model[arm].beta, atol=1e-12)
        np.testing.assert_allclose(learned.covariance[k], mab._imp.arm_to_model[arm].A_inv, atol=1e-12)


def test_clusters_are_those_of_scikit_learn_with_a_counter_each() -> None:
    learned = read(fitted(COUNTERS["epsilon_greedy"], CLUSTERS)).learned
    assert isinstance(learned, Clusters)
    decisions, rewards, contexts = log()
    # mabwiser gives its seed and ten starts to scikit-learn's k-means.
    alone = KMeans(3, random_state=7, n_init=10).fit(contexts)
    np.testing.assert_allclose(learned.centroids, alone.cluster_centers_, atol=1e-12)
    place = nearest(contexts, learned.centroids)
    np.testing.assert_array_equal(place, alone.predict(contexts))
    for cell, counts in enumerate(learned.learners):
        assert isinstance(counts, Counts)
        for k, arm in enumerate(ARMS):
            mine = rewards[(place == cell) & (decisions == arm)]
            assert (counts.count[k], counts.total[k]) == (len(mine), pytest.approx(mine.sum()))


def test_trees_are_those_of_scikit_learn_with_their_leaves_rewards() -> None:
    mab = fitted(COUNTERS["epsilon_greedy"], TREE)
    learned = read(mab).learned
    assert isinstance(learned, Trees)
    decisions, rewards, contexts = log()
    for tree, arm in zip(learned.trees, ARMS, strict=True):
        mine = decisions == arm
        place = leaves(tree, contexts[mine])
        np.testing.assert_array_equal(place, mab._imp.arm_to_tree[arm].apply(contexts[mine]))
        for leaf in np.unique(place):
            assert tree.count[leaf] == (place == leaf).sum()
            assert tree.total[leaf] == pytest.approx(rewards[mine][place == leaf].sum())


@pytest.mark.parametrize("name", ["lingreedy", "linucb"])
def test_what_is_public_tells_the_same(name: str) -> None:
    """β, A⁻¹ by polarisation of the expectations, to 1e-12 of the private fields."""
    mab = fitted(LINEAR[name])
    found, private = probe(mab), read(mab).learned
    assert found is not None
    assert isinstance(private, Ridges)
    np.testing.assert_allclose(found.beta, private.beta, rtol=0, atol=1e-12)
    if name == "linucb":
        np.testing.assert_allclose(found.covariance, private.covariance, rtol=0, atol=1e-12)


def test_probing_sees_through_random_expectations() -> None:
    mab = fitted(LearningPolicy.LinGreedy(epsilon=0.5))
    found, private = probe(mab), read(mab).learned
    assert found is not None
    assert isinstance(private, Ridges)
    np.testing.assert_allclose(found.beta, private.beta, atol=1e-12)


@pytest.mark.parametrize(
    ("policy", "around"),
    [
        (LearningPolicy.LinTS(alpha=1.0), None),
        (LearningPolicy.LinUCB(alpha=0.0), None),
        (LearningPolicy.LinGreedy(epsilon=1.0), None),
        (LearningPolicy.LinUCB(alpha=1.0, scale=True), None),
        (LearningPolicy.UCB1(1.0), None),
        (LearningPolicy.LinUCB(alpha=1.0), CLUSTERS),
    ],
)
def test_probing_says_what_it_cannot_see(policy: object, around: object) -> None:
    assert probe(fitted(policy, around)) is None


@pytest.mark.parametrize("renamed", ["Xty", "A"])
def test_a_renamed_field_is_read_through_what_is_public(renamed: str) -> None:
    """As another version of mabwiser would be: `Xty` and `A` are kept but not read by predict."""
    mab = fitted(LINEAR["linucb"])
    expected = read(mab).learned
    assert isinstance(expected, Ridges)
    for model in mab._imp.arm_to_model.values():
        model.__dict__["renamed"] = model.__dict__.pop(renamed)
    found = read(mab).learned
    assert isinstance(found, Ridges)
    np.testing.assert_allclose(found.beta, expected.beta, atol=1e-12)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-12)


def test_a_renamed_field_that_nothing_public_replaces_is_an_error() -> None:
    mab = fitted(COUNTERS["ucb1"])
    mab._imp.__dict__["renamed"] = mab._imp.__dict__.pop("arm_to_count")
    with pytest.raises(ValueError, match="keeps its state elsewhere"):
        read(mab)


def test_reading_leaves_the_object_as_it_is() -> None:
    for policy, around in ((LINEAR["linucb"], None), (LINEAR["lints"], None), (COUNTERS["thompson"], CLUSTERS)):
        mab, untouched = fitted(policy, around), fitted(policy, around)
        read(mab)
        probe(mab)
        contexts = log(50, seed=3)[2]
        assert mab.predict(contexts) == untouched.predict(contexts)


def test_what_cannot_be_read_says_why() -> None:
    with pytest.raises(ValueError, match="is no MAB"):
        read({"arms": ARMS})
    with pytest.raises(ValueError, match="was not fitted"):
        read(MAB(ARMS, COUNTERS["ucb1"]))
    for around in (NeighborhoodPolicy.KNearest(3), NeighborhoodPolicy.Radius(1.0), NeighborhoodPolicy.LSHNearest()):
        with pytest.raises(ValueError, match="each row it was fitted on"):
            read(fitted(COUNTERS["ucb1"], around))
