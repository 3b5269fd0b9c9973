"""The tree of two questions against all trees, one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stats.uplift import policy_tree
from stats.uplift.policy_tree import Leaf


def best_by_trying(scores: np.ndarray, features: np.ndarray, least: int) -> float:
    """Value of the best tree of depth 2, by going through all of them."""
    cuts = [(column, cut) for column in range(features.shape[1]) for cut in np.unique(features[:, column])[:-1] + 0.5]

    def side(inside: np.ndarray) -> float:
        best = float(scores[inside].sum(axis=0).max())
        for column, cut in cuts:
            yes = inside & (features[:, column] <= cut)
            no = inside & ~yes
            if yes.sum() >= least and no.sum() >= least:
                best = max(best, float(scores[yes].sum(axis=0).max() + scores[no].sum(axis=0).max()))
        return best

    everyone = np.ones(len(scores), dtype=bool)
    best = side(everyone)
    for column, cut in cuts:
        yes = features[:, column] <= cut
        if yes.sum() >= least and (~yes).sum() >= least:
            best = max(best, side(yes) + side(~yes))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("least", [1, 12])
def test_no_tree_is_worth_more(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 4, (60, 3)).astype(float)
    scores = rng.normal(size=(60, 3))
    tree = policy_tree.fit(scores, features, ["a", "b", "c"], least=least)
    found = scores[np.arange(60), tree.choice(features)].sum()
    assert found == pytest.approx(best_by_trying(scores, features, least), rel=1e-9)
    assert min(leaf.rows for _, leaf in tree.leaves) >= least


def test_crossed_effects_need_two_questions_and_get_them() -> None:
    a, b = (np.array(values) for values in zip(*itertools.product([0.0, 1.0], [0.0, 1.0]), strict=True))
    features = np.tile(np.column_stack([a, b]), (50, 1))
    scores = np.column_stack([np.zeros(200), np.where(features[:, 0] == features[:, 1], 1.0, -1.0)])
    tree = policy_tree.fit(scores, features, ["a", "b"])
    assert scores[np.arange(200), tree.choice(features)].mean() == 0.5
    assert len(tree.splits) == 3
    assert policy_tree.fit(scores, features, ["a", "b"], depth=1).splits == ()


def test_leaves_say_how_one_gets_there() -> None:
    features = np.arange(100.0)[:, None]
    scores = np.column_stack([np.zeros(100), np.where((features[:, 0] >= 30) & (features[:, 0] < 60), 1.0, -1.0)])
    tree = policy_tree.fit(scores, features, ["days"], thresholds=99)
    offered = [path for path, leaf in tree.leaves if leaf.arm == 1]
    assert [(one.name, one.at_most, one.threshold) for one in offered[0]] in (
        [("days", False, 29.5), ("days", True, 59.5)],
        [("days", True, 59.5), ("days", False, 29.5)],
    )
    assert len(offered) == 1


def test_unknown_goes_right_and_a_column_of_nothing_asks_nothing() -> None:
    x = np.r_[np.zeros(50), np.ones(50), np.full(50, np.nan)]
    scores = np.column_stack([np.zeros(150), np.where(x == 0, 1.0, -1.0)])
    tree = policy_tree.fit(scores, np.column_stack([x, np.full(150, np.nan)]), ["x", "nothing"])
    assert tree.choice(np.array([[0.0, np.nan], [1.0, 3.0], [np.nan, 1.0]])).tolist() == [1, 0, 0]


def test_one_arm_for_all_is_one_leaf() -> None:
    features = np.random.default_rng(1).normal(size=(100, 2))
    tree = policy_tree.fit(np.tile([0.0, 1.0], (100, 1)), features, ["a", "b"])
    assert tree.root == Leaf(1, 100, 1.0)


def test_arms_of_equal_worth_are_control() -> None:
    tree = policy_tree.fit(np.zeros((40, 3)), np.arange(40.0)[:, None], ["a"])
    assert tree.choice(np.array([[1.0]])).tolist() == [0]


@pytest.mark.parametrize(
    ("rows", "names", "depth", "told"), [(0, ["a"], 2, "no rows"), (5, ["a"], 3, "2 questions"), (5, [], 2, "0 names")]
)
def test_what_cannot_be_fitted_is_named(rows: int, names: list[str], depth: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        policy_tree.fit(np.zeros((rows, 2)), np.ones((rows, 1)), names, depth=depth)
