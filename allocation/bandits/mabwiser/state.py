"""What a fitted ``MAB`` of mabwiser knows, in a form of our own: counts, ridge regressions, cells.

Everything that comes in or goes out passes through it: `reading` makes it from an object, `documents` from JSON,
`importing` turns it into a policy, `exporting` into an object again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Arm = str | int | float

COUNTERS = frozenset({"epsilon_greedy", "popularity", "random", "softmax", "thompson", "ucb1"})
"""Learners that keep a number for each arm."""
RIDGES = frozenset({"lingreedy", "lints", "linucb"})
"""Learners that keep a ridge regression for each arm."""
_PARAMETER = {"softmax": "tau", "ucb1": "alpha", "lints": "alpha", "linucb": "alpha"}


@dataclass(frozen=True, eq=False)
class Counts:
    """What a context-free learner counted.

    Attributes:
        learner: one of `COUNTERS`.
        parameters: ``epsilon``, ``tau`` or ``alpha``, as the learner has one.
        count: rewards seen of each arm, shape (K,).
        total: their sum, shape (K,); for ``thompson`` the successes.

    >>> Counts("ucb1", {"alpha": 1.0}, np.array([4.0, 0.0]), np.array([3.0, 0.0])).mean.tolist()
    [0.75, 0.75]
    """

    learner: str
    parameters: Mapping[str, float]
    count: Floats
    total: Floats

    def __post_init__(self) -> None:
        _one_of(self.learner, COUNTERS)
        _has(self.learner, self.parameters)
        _finite(count=self.count, total=self.total)
        if self.count.shape != self.total.shape or self.count.ndim != 1:
            raise ValueError("count and total must have one number for each arm")
        if (self.count < 0).any():
            raise ValueError("count has a negative number")

    @property
    def mean(self) -> Floats:
        """Mean reward of each arm, shape (K,); of an arm that was never tried the mean of all the others' rewards."""
        seen = float(self.count.sum())
        pooled = float(self.total.sum()) / seen if seen else 0.0
        mean = np.full(len(self.count), pooled)
        np.divide(self.total, self.count, out=mean, where=self.count > 0)
        return mean


@dataclass(frozen=True, eq=False)
class Ridges:
    """Ridge regressions, one for each arm: A = λI + XᵀX over its own rows, b = Xᵀy.

    Attributes:
        learner: one of `RIDGES`.
        parameters: ``alpha``, ``epsilon`` and ``l2_lambda``.
        gram: A, shape (K, d, d).
        moment: b, shape (K, d).
        centre: what is subtracted from a context, shape (K, d).
        scale: what it is divided by then, shape (K, d).
    """

    learner: str
    parameters: Mapping[str, float]
    gram: Floats
    moment: Floats
    centre: Floats
    scale: Floats

    def __post_init__(self) -> None:
        _one_of(self.learner, RIDGES)
        _has(self.learner, self.parameters)
        _finite(gram=self.gram, moment=self.moment, centre=self.centre, scale=self.scale)
        arms, width = self.moment.shape
        if self.gram.shape != (arms, width, width) or not self.centre.shape == self.scale.shape == (arms, width):
            raise ValueError(f"{arms} arms of {width} columns need matrices of {width} × {width}")
        if (self.scale <= 0).any():
            raise ValueError("scale must be above 0")

    @property
    def covariance(self) -> Floats:
        """A⁻¹ of each arm, shape (K, d, d): always inverted here, also for an arm that was never tried."""
        try:
            inverse: Floats = np.linalg.inv(self.gram).astype(np.float64)
        except np.linalg.LinAlgError:
            raise ValueError("a ridge regression cannot be inverted; l2_lambda must be above 0") from None
        return inverse

    @property
    def beta(self) -> Floats:
        """Coefficients A⁻¹b of each arm on centred and scaled contexts, shape (K, d)."""
        beta: Floats = np.einsum("kij,kj->ki", self.covariance, self.moment)
        return beta


@dataclass(frozen=True, eq=False)
class Clusters:
    """A learner for each cluster of contexts.

    Attributes:
        centroids: shape (C, d); a context belongs to the nearest one.
        learners: one for each centroid.
    """

    centroids: Floats
    learners: tuple[Counts | Ridges, ...]

    def __post_init__(self) -> None:
        _finite(centroids=self.centroids)
        if self.centroids.ndim != 2 or len(self.centroids) != len(self.learners) or not self.learners:
            raise ValueError(f"{len(self.centroids)} centroids need as many learners, not {len(self.learners)}")


@dataclass(frozen=True, eq=False)
class Tree:
    """One arm's regression tree and what each of its leaves saw.

    Attributes:
        left: child of each node where the context's value is at most the threshold, shape (nodes,); −1 in a leaf.
        right: child where it is above.
        feature: column that is compared.
        threshold: what it is compared with; values are rounded to single precision first, as scikit-learn does.
        count: rewards seen in each leaf, shape (nodes,).
        total: their sum; for ``thompson`` the successes.
    """

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    count: Floats
    total: Floats

    def __post_init__(self) -> None:
        _finite(threshold=self.threshold, count=self.count, total=self.total)
        nodes = len(self.left)
        inner = self.left >= 0
        ahead = np.arange(nodes)
        if (
            {len(self.right), len(self.feature), len(self.threshold), len(self.count), len(self.total)} != {nodes}
            or not nodes
            or (inner != (self.right >= 0)).any()
            or (self.feature[inner] < 0).any()
            # Children come after their parent: every walk ends.
            or (self.left[inner] <= ahead[inner]).any()
            or (self.right[inner] <= ahead[inner]).any()
            or max(self.left.max(), self.right.max()) >= nodes
        ):
            raise ValueError("the nodes of a tree do not hang together")


@dataclass(frozen=True, eq=False)
class Trees:
    """A regression tree for each arm, and a context-free learner in its leaves."""

    learner: str
    parameters: Mapping[str, float]
    trees: tuple[Tree, ...]

    def __post_init__(self) -> None:
        _one_of(self.learner, frozenset({"epsilon_greedy", "thompson", "ucb1"}))
        _has(self.learner, self.parameters)


@dataclass(frozen=True, eq=False)
class State:
    """A fitted ``MAB``.

    Attributes:
        arms: in the object's order.
        learned: what it learned about them.
        features: names of the contexts' columns, where known.
    """

    arms: tuple[Arm, ...]
    learned: Counts | Ridges | Clusters | Trees
    features: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        names = [str(arm) for arm in self.arms]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"arms must be different as text, not {self.arms}")
        if {arms_of(part) for part in parts_of(self.learned)} != {len(names)}:
            raise ValueError(f"what was learned is not about the {len(names)} arms {', '.join(names)}")
        width = width_of(self.learned)
        if self.features is not None and width is not None and len(self.features) != width:
            raise ValueError(f"{len(self.features)} features are named for contexts of {width} columns")


def parts_of(learned: Counts | Ridges | Clusters | Trees) -> tuple[Counts | Ridges | Trees, ...]:
    """Return the learners in it: one for each cluster, else itself."""
    return learned.learners if isinstance(learned, Clusters) else (learned,)


def arms_of(part: Counts | Ridges | Trees) -> int:
    """Return how many arms a learner knows."""
    if isinstance(part, Trees):
        return len(part.trees)
    return len(part.count) if isinstance(part, Counts) else len(part.moment)


def width_of(learned: Counts | Ridges | Clusters | Trees) -> int | None:
    """Return how many columns its contexts have; ``None`` where it looks at none, or cannot tell (trees)."""
    if isinstance(learned, Clusters):
        return int(learned.centroids.shape[1])
    return int(learned.moment.shape[1]) if isinstance(learned, Ridges) else None


def _one_of(learner: str, known: frozenset[str]) -> None:
    if learner not in known:
        raise ValueError(f'learner "{learner}" must be one of {", ".join(sorted(known))}')


def _has(learner: str, parameters: Mapping[str, float]) -> None:
    """Check the one parameter that serving a learner needs, and that ε is a share."""
    needed = _PARAMETER.get(learner)
    if needed is not None and needed not in parameters:
        raise ValueError(f"{learner} needs the parameter {needed}")
    least = 0.0 if learner != "softmax" else 1e-300
    if needed is not None and not least <= parameters[needed] < np.inf:
        raise ValueError(f"{needed} of {learner} must be {'at least' if least == 0 else 'above'} 0")
    if not 0 <= parameters.get("epsilon", 0.0) <= 1:
        raise ValueError("epsilon must be from 0 to 1")


def _finite(**arrays: Floats) -> None:
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} holds a value that is not a number: the object was fitted on missing rewards or contexts; "
                "fit it again without those rows"
            )
