"""What clusters and trees are told: names and values of ``parameters``, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LEARNERS = {
    "clusters": ("thompson", "ucb1", "softmax", "popularity", "epsilon_greedy"),
    "tree": ("thompson", "ucb1", "epsilon_greedy"),
}
"""Policy → what may decide within a group."""
PARAMETERS: dict[str, dict[str, int]] = {
    "clusters": {"learner": 0, "minibatch": 0, "n_clusters": 2, "draws": 1},
    "tree": {"learner": 0, "max_depth": 1, "min_samples_leaf": 1, "max_leaf_nodes": 2, "draws": 1},
}
"""Policy → its parameters, with the least that a whole number may be."""


def problems(policy: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, what is wrong and what to do) of each wrong parameter.

    >>> list(problems("clusters", {"n_clusters": 1}))
    [('n_clusters', 'must be a whole number from 2, not 1')]
    >>> list(problems("ucb1", {"alpha": 1.0}))
    [('alpha', 'is no parameter of ucb1, which has none; remove it')]
    """
    known = PARAMETERS.get(policy, {})
    for name, value in parameters.items():
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            yield name, f"is no parameter of {policy}, which has {has}; remove it"
        elif name == "learner":
            if value not in LEARNERS[policy]:
                yield name, f"must be one of {', '.join(LEARNERS[policy])}, not {value!r}"
        elif name == "minibatch":
            if not isinstance(value, bool):
                yield name, f"must be true or false, not {value!r}"
        elif isinstance(value, bool) or not isinstance(value, int | float) or value % 1 or value < known[name]:
            yield name, f"must be a whole number from {known[name]}, not {value!r}"
