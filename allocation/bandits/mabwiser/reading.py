"""From a fitted ``MAB`` to what it knows. The only place that reads mabwiser's private fields.

mabwiser has no public way to most of its state (fidelity/mabwiser#86, #88). The fields are those of 2.7.4;
``tests/allocation/test_mabwiser_contract.py`` holds that they mean what is read here. Should another version keep them
elsewhere, a LinUCB or LinGreedy is still read through what is public, see `probing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from allocation.bandits.mabwiser.probing import probe
from allocation.bandits.mabwiser.state import (
    Clusters,
    Counts,
    Floats,
    Ridges,
    State,
    Tree,
    Trees,
)

SUPPORTED = "mabwiser 2.7.4 and later 2.7"
_NEIGHBOURS = {"KNearest": "each row it was fitted on", "Radius": "each row it was fitted on"}
_NEIGHBOURS["LSHNearest"] = _NEIGHBOURS["Radius"]


def read(mab: Any, features: Sequence[str] | None = None) -> State:
    """Return what a fitted ``mabwiser.mab.MAB`` knows; the object stays as it is.

    Args:
        mab: the object.
        features: names of its contexts' columns, in their order.

    Raises:
        ValueError: an object that is no fitted ``MAB``, one whose state is not a number somewhere (mabwiser accepts
            missing contexts and rewards), or a neighbourhood that would have to carry members' rows.

    >>> from mabwiser.mab import MAB, LearningPolicy
    >>> mab = MAB(["a", "b"], LearningPolicy.EpsilonGreedy(epsilon=0.1))
    >>> mab.fit(["a", "a", "b"], [1, 0, 1])
    >>> read(mab).learned.mean.tolist()
    [0.5, 1.0]
    """
    from mabwiser.mab import MAB

    if not isinstance(mab, MAB):
        raise ValueError(f"a {type(mab).__name__} is no MAB of mabwiser; give the object that was fitted")  # noqa: TRY004
    policy = type(mab.neighborhood_policy).__name__
    if policy in _NEIGHBOURS:
        raise ValueError(
            f"{policy} answers from {_NEIGHBOURS[policy]}, which a policy does not carry; "
            "fit Clusters or TreeBandit on the same rows instead"
        )
    if not mab._is_initial_fit:  # noqa: SLF001 - see the module's docstring
        raise ValueError("the MAB was not fitted; call fit first")
    try:
        learned = _learned(mab._imp, mab)  # noqa: SLF001
    except (AttributeError, KeyError, TypeError) as missing:
        probed = probe(mab)
        if probed is None:
            raise ValueError(
                f"this version of mabwiser keeps its state elsewhere ({missing}); use {SUPPORTED}"
            ) from missing
        learned = probed
    names = None if features is None else tuple(features)
    return State(tuple(mab.arms), learned, names)


def _learned(imp: Any, mab: Any) -> Counts | Ridges | Clusters | Trees:
    kind = type(imp).__name__
    if kind == "_Clusters":
        learners = tuple(_learner(lp, mab.arms) for lp in imp.lp_list)
        return Clusters(np.asarray(imp.kmeans.cluster_centers_, np.float64), learners)
    if kind == "_TreeBandit":
        name, parameters = _specification(imp.lp)
        return Trees(name, parameters, tuple(_tree(imp, arm) for arm in mab.arms))
    return _learner(imp, mab.arms)


def _specification(lp: Any) -> tuple[str, dict[str, float]]:
    """Return a learner's name and parameters."""
    kind = type(lp).__name__
    if kind == "_Linear":
        name = {"ridge": "lingreedy", "ts": "lints", "ucb": "linucb"}[lp.regression]
        return name, {key: float(getattr(lp, key)) for key in ("alpha", "epsilon", "l2_lambda")}
    name, key = {
        "_EpsilonGreedy": ("epsilon_greedy", "epsilon"),
        "_Popularity": ("popularity", ""),
        "_Random": ("random", ""),
        "_Softmax": ("softmax", "tau"),
        "_ThompsonSampling": ("thompson", ""),
        "_UCB1": ("ucb1", "alpha"),
    }[kind]
    return name, {key: float(getattr(lp, key))} if key else {}


def _learner(lp: Any, arms: list[Any]) -> Counts | Ridges:
    name, parameters = _specification(lp)
    if type(lp).__name__ == "_Linear":
        return _ridges(lp, arms, name, parameters)
    if name == "random":
        return Counts(name, parameters, np.zeros(len(arms)), np.zeros(len(arms)))
    if name == "thompson":  # both start at 1
        successes = _by_arm(lp.arm_to_success_count, arms) - 1.0
        return Counts(name, parameters, successes + _by_arm(lp.arm_to_fail_count, arms) - 1.0, successes)
    # Sums and counts, never `arm_to_expectation`: Popularity's is normalised, and after a partial_fit that left an arm
    # out it mixes normalised and raw means.
    return Counts(name, parameters, _by_arm(lp.arm_to_count, arms), _by_arm(lp.arm_to_sum, arms))


def _ridges(lp: Any, arms: list[Any], name: str, parameters: dict[str, float]) -> Ridges:
    models = [lp.arm_to_model[arm] for arm in arms]
    width = len(models[0].Xty)
    centre, scale = np.zeros((len(arms), width)), np.ones((len(arms), width))
    for index, model in enumerate(models):
        if model.scaler is not None and hasattr(model.scaler, "scale_"):
            centre[index], scale[index] = model.scaler.mean_, model.scaler.scale_
    # A and not A_inv, which for an arm that was never tried is λI instead of I/λ.
    gram, moment = np.stack([model.A for model in models]), np.stack([model.Xty for model in models])
    return Ridges(name, parameters, gram.astype(np.float64), moment.astype(np.float64), centre, scale)


def _tree(imp: Any, arm: Any) -> Tree:
    rewards = imp.arm_to_leaf_to_rewards[arm]
    if not rewards:  # never tried: one leaf that saw nothing
        leaf = np.array([-1], np.intp)
        return Tree(leaf, leaf, np.array([0], np.intp), np.zeros(1), np.zeros(1), np.zeros(1))
    nodes = imp.arm_to_tree[arm].tree_
    count, total = np.zeros(nodes.node_count), np.zeros(nodes.node_count)
    for leaf, seen in rewards.items():
        count[leaf], total[leaf] = len(seen), np.sum(seen)
    inner = nodes.children_left >= 0
    return Tree(
        nodes.children_left.astype(np.intp),
        nodes.children_right.astype(np.intp),
        np.where(inner, nodes.feature, 0).astype(np.intp),
        np.where(inner, nodes.threshold, 0.0).astype(np.float64),
        count,
        total,
    )


def _by_arm(numbers: dict[Any, Any], arms: list[Any]) -> Floats:
    return np.array([float(numbers[arm]) for arm in arms])
