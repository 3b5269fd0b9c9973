"""Fitted objects of mabwiser that several tests look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from mabwiser.mab import MAB, LearningPolicy, NeighborhoodPolicy

from allocation.bandits.encoding import Encoded
from allocation.bandits.policy import Policy

ARMS = ["control", "coupon", "points"]
FEATURES = ["age", "spend", "visits"]
Floats = npt.NDArray[np.float64]


def log(n: int = 900, seed: int = 1) -> tuple[npt.NDArray[Any], Floats, Floats]:
    """Return (decisions, 0/1 rewards, contexts) of ``n`` members; contexts have six decimals, as policies keep."""
    rng = np.random.default_rng(seed)
    contexts = rng.normal(size=(n, len(FEATURES))).round(6)
    decisions = rng.choice(ARMS, n)
    eta = -0.5 + contexts @ [0.5, 0.2, -0.3] + 0.8 * contexts[:, 0] * (decisions == "coupon")
    rewards = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)
    return decisions, rewards, contexts


COUNTERS = {
    "epsilon_greedy": LearningPolicy.EpsilonGreedy(0.0),
    "popularity": LearningPolicy.Popularity(),
    "random": LearningPolicy.Random(),
    "softmax": LearningPolicy.Softmax(0.2),
    "thompson": LearningPolicy.ThompsonSampling(),
    "ucb1": LearningPolicy.UCB1(0.5),
}
LINEAR = {
    "lingreedy": LearningPolicy.LinGreedy(epsilon=0.0, l2_lambda=2.0),
    "lints": LearningPolicy.LinTS(alpha=0.5, l2_lambda=2.0),
    "linucb": LearningPolicy.LinUCB(alpha=1.0, l2_lambda=2.0),
}
TREE = NeighborhoodPolicy.TreeBandit({"max_depth": 3})
CLUSTERS = NeighborhoodPolicy.Clusters(3)
CASES: dict[str, tuple[Any, Any]] = {
    **{name: (policy, None) for name, policy in (COUNTERS | LINEAR).items()},
    **{f"clusters of {name}": (policy, CLUSTERS) for name, policy in COUNTERS.items()},
    **{f"trees of {name}": (COUNTERS[name], TREE) for name in ("epsilon_greedy", "thompson", "ucb1")},
}
"""Name → (learning policy, neighbourhood policy): all that can be served."""


def fitted(policy: Any, around: Any = None, n: int = 900, seed: int = 7) -> Any:
    """Return an object fitted on `log`."""
    mab = MAB(list(ARMS), policy, around, seed=seed)
    decisions, rewards, contexts = log(n)
    if mab.is_contextual:
        mab.fit(decisions, rewards, contexts)
    else:
        mab.fit(decisions, rewards)
    return mab


def encoded(policy: Policy, contexts: Floats) -> Encoded:
    """Return contexts as a policy reads them, whose features are named as ours."""
    columns = {name: contexts[:, place] for place, name in enumerate(FEATURES[: contexts.shape[1]])}
    return policy.encoder.encode_columns(columns, len(contexts))


def choices(mab: Any, contexts: Floats) -> list[str]:
    """Return what ``predict()`` chooses for each context, asked once for each where it looks at none."""
    if mab.is_contextual:
        return list(mab.predict(contexts))
    return [mab.predict() for _ in range(len(contexts))]


def shares(chosen: list[str]) -> Floats:
    """Return the share of each arm among choices."""
    return np.array([chosen.count(arm) / len(chosen) for arm in ARMS])
