"""A ``MAB`` of mabwiser made from what we know, for whoever wants to go on with it in a notebook.

A ``MAB`` has no public way in for a state, so its private fields are written, the same that `reading` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from allocation.bandits.learning.statistics import LinearStatistics
from allocation.bandits.mabwiser.state import RIDGES, Counts, Floats, Ridges, State
from allocation.bandits.policy import Policy

CERTAIN = 1e-12
"""Variance given to a coefficient that a policy has no doubt about: mabwiser must be able to invert it."""


def to_mabwiser(
    source: Policy | LinearStatistics | State,
    *,
    variants: Sequence[str] | None = None,
    learner: str | None = None,
    alpha: float = 1.0,
    l2_lambda: float = 1.0,
    seed: int = 123456,
) -> Any:
    """Return a fitted ``mabwiser.mab.MAB``.

    From a linear `Policy`, its contexts are rows of ``policy.encoder.design(…)``, and LinGreedy, LinUCB or LinTS have
    its coefficients and, but for LinGreedy, its uncertainty. From `LinearStatistics`, they are what mabwiser itself
    would have learned from those rows, with its own ridge. From a `State` of counts or ridges, the object it was.

    Args:
        source: what is known.
        variants: statistics: the arms, one for each of their variants.
        learner: ``lingreedy``, ``linucb`` or ``lints``; by default that of the policy's rule, else ``linucb``.
        alpha: statistics: how many standard errors LinUCB adds, or LinTS draws from.
        l2_lambda: statistics: ridge that mabwiser adds.
        seed: of the object's generator.

    Raises:
        ValueError: something that mabwiser has no learner for: a logistic or hurdle model, a table of shares.

    >>> statistics = LinearStatistics.from_rows(np.array([[1.0], [1.0]]), np.array([0, 1]), np.array([1.0, 3.0]), 2)
    >>> mab = to_mabwiser(statistics, variants=["a", "b"], learner="lingreedy")
    >>> mab.predict([[1.0]])
    'b'
    """
    if isinstance(source, Policy):
        return _of_state(_of_policy(source, learner), seed)
    if isinstance(source, State):
        return _of_state(source, seed)
    if variants is None or len(variants) != len(source.weight):
        raise ValueError(f"name the {len(source.weight)} variants that the statistics are about")
    learner = _linear(learner or "linucb")
    parameters = {"alpha": alpha, "epsilon": 0.0, "l2_lambda": l2_lambda}
    gram = source.gram + l2_lambda * np.eye(source.gram.shape[-1])
    moment = source.moment
    ridges = Ridges(learner, parameters, gram, moment, np.zeros_like(moment), np.ones_like(moment))
    return _of_state(State(tuple(variants), ridges), seed)


def _linear(learner: str) -> str:
    if learner not in RIDGES:
        raise ValueError(f'learner "{learner}" must be one of {", ".join(sorted(RIDGES))}')
    return learner


def _of_policy(policy: Policy, learner: str | None) -> State:
    if policy.kind == "uniform":
        nothing = np.zeros(len(policy.variants))
        return State(policy.variants, Counts("random", {}, nothing, nothing))
    if policy.kind == "table" or policy.model != "linear" or policy.coef is None:
        what = "a table" if policy.kind == "table" else f"a {policy.model} model"
        raise ValueError(
            f"mabwiser has no learner for {what}; export a policy of model: linear, the statistics of its rows, or "
            "the state that was imported"
        )
    default = {"linucb": "linucb", "thompson": "lints"}.get(policy.rule, "lingreedy")
    learner = _linear(learner or default)
    coef = policy.coef.copy()
    if policy.contact is not None:
        coef[:, 0] -= policy.contact  # the design's first column is the intercept
    count, columns = coef.shape
    covariance = np.broadcast_to(np.eye(columns), (count, columns, columns)).copy()
    if policy.spread is not None:
        lower = np.tril_indices(columns)
        for k in range(count):
            triangle = np.zeros((columns, columns))
            triangle[lower] = policy.spread[k]
            covariance[k] = triangle @ triangle.T
    elif learner != "lingreedy":
        raise ValueError(f"{learner} needs to know how uncertain the coefficients are, which this policy does not keep")
    gram = np.linalg.inv(covariance + CERTAIN * np.eye(columns)).astype(np.float64)
    gram = (gram + gram.transpose(0, 2, 1)) / 2
    moment = np.einsum("kij,kj->ki", gram, coef)
    parameters = {"alpha": policy.optimism, "epsilon": 0.0, "l2_lambda": 1.0}
    return State(policy.variants, Ridges(learner, parameters, gram, moment, np.zeros_like(coef), np.ones_like(coef)))


def _of_state(state: State, seed: int) -> Any:
    from mabwiser.mab import MAB, LearningPolicy

    learned = state.learned
    if not isinstance(learned, Counts | Ridges):
        raise ValueError(f"{type(learned).__name__} cannot be handed back: what scikit-learn fitted is not kept")  # noqa: TRY004
    make = {
        "epsilon_greedy": LearningPolicy.EpsilonGreedy, "popularity": LearningPolicy.Popularity,
        "random": LearningPolicy.Random, "softmax": LearningPolicy.Softmax, "ucb1": LearningPolicy.UCB1,
        "thompson": LearningPolicy.ThompsonSampling, "lingreedy": LearningPolicy.LinGreedy,
        "lints": LearningPolicy.LinTS, "linucb": LearningPolicy.LinUCB,
    }[learned.learner]  # fmt: skip
    given = dict(learned.parameters)
    if isinstance(learned, Ridges):
        given.pop("alpha" if learned.learner == "lingreedy" else "epsilon", None)
        given["scale"] = bool((learned.centre != 0).any() or (learned.scale != 1).any())
    mab = MAB(list(state.arms), make(**given), seed=seed)
    if isinstance(learned, Ridges):
        _fill_ridges(mab, learned)
    else:
        _fill_counts(mab, learned)
    mab._is_initial_fit = True  # noqa: SLF001 - see the module's docstring
    return mab


def _fill_ridges(mab: Any, learned: Ridges) -> None:
    imp = mab._imp  # noqa: SLF001
    imp.num_features = learned.moment.shape[1]
    covariance, beta = learned.covariance, learned.beta
    for k, arm in enumerate(mab.arms):
        model = imp.arm_to_model[arm]
        model.init(imp.num_features)
        model.A, model.A_inv = learned.gram[k].copy(), covariance[k].copy()
        model.Xty, model.beta = learned.moment[k].copy(), beta[k].copy()
        if model.scaler is not None:
            # The scaler of an arm is that of the rows it saw, whose number is not known; as of one row, so that a
            # partial_fit moves it at once. mabwiser's own drifts too, see docs/mabwiser.md.
            model.scaler.mean_, model.scaler.scale_ = learned.centre[k].copy(), learned.scale[k].copy()
            model.scaler.var_, model.scaler.n_samples_seen_ = learned.scale[k] ** 2, 1
            model.scaler.n_features_in_ = imp.num_features
        _trained(imp, arm)


def _fill_counts(mab: Any, learned: Counts) -> None:
    imp = mab._imp  # noqa: SLF001
    by_arm = partial(zip, mab.arms, strict=True)
    for arm in mab.arms:
        _trained(imp, arm)
    if learned.learner == "random":
        return
    if learned.learner == "thompson":
        imp.arm_to_success_count = dict(by_arm((1 + learned.total).tolist()))
        imp.arm_to_fail_count = dict(by_arm((1 + learned.count - learned.total).tolist()))
        return
    seen = learned.count > 0
    mean: Floats = np.where(seen, learned.total / np.maximum(learned.count, 1e-300), 0.0)
    imp.arm_to_count, imp.arm_to_sum = dict(by_arm(learned.count.tolist())), dict(by_arm(learned.total.tolist()))
    if learned.learner in {"softmax", "ucb1"}:
        imp.arm_to_mean = dict(by_arm(mean.tolist()))
    if learned.learner == "softmax":
        imp._expectation_operation()  # noqa: SLF001
        return
    imp.arm_to_expectation = dict(by_arm(mean.tolist()))
    if learned.learner == "popularity":
        imp._normalize_expectations()  # noqa: SLF001
    if learned.learner == "ucb1":
        imp.total_count = float(learned.count.sum())
        for arm, count in by_arm(learned.count.tolist()):
            if count:
                bound = imp._get_ucb(imp.arm_to_mean[arm], imp.alpha, imp.total_count, count)  # noqa: SLF001
                imp.arm_to_expectation[arm] = bound


def _trained(imp: Any, arm: Any) -> None:
    imp.arm_to_status[arm] = {"is_trained": True, "is_warm": False, "warm_started_by": None}
