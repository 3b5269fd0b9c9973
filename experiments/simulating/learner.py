"""A learner: whatever gives probabilities for decisions and learns from what they earned."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from experiments.simulating.environment import Environment, FloatArray, World
from experiments.simulating.history import History


class Learner(Protocol):
    """What a run drives. One learner object serves one run."""

    name: str
    learns: bool
    """Whether it starts with an even split, having nothing to go by."""

    def probabilities(self, world: World, rows: slice) -> FloatArray:
        """Return (m, K) probabilities of the next decisions, 0 where not eligible; one that chooses says 0 or 1."""
        ...

    def learn(self, history: History) -> None:
        """Learn from what has matured."""
        ...


class Uniform:
    """Every eligible variant alike, for ever."""

    name = "uniform"
    learns = False

    def probabilities(self, world: World, rows: slice) -> FloatArray:
        """Return an even split over the eligible variants."""
        return even(world.eligible[rows])

    def learn(self, history: History) -> None:
        """Learn nothing."""


class Oracle:
    """The best variant by the truth: what nobody can beat."""

    name = "oracle"
    learns = False

    def probabilities(self, world: World, rows: slice) -> FloatArray:
        """Return certainty of the best eligible variant."""
        return surely(np.where(world.eligible[rows], world.expected[rows], -np.inf))

    def learn(self, history: History) -> None:
        """Know it all already."""


class Always:
    """One variant for everybody who may get it; who may not gets the first one."""

    learns = False

    def __init__(self, environment: Environment, variant: str) -> None:
        """Keep which one; it must be one of the environment's variants."""
        self.name = f"variant:{variant}"
        self._index = environment.variants.index(variant)

    def probabilities(self, world: World, rows: slice) -> FloatArray:
        """Return certainty of the variant."""
        scores = np.zeros(world.eligible[rows].shape)
        scores[:, 0], scores[:, self._index] = 1.0, 2.0
        return surely(np.where(world.eligible[rows], scores, -np.inf))

    def learn(self, history: History) -> None:
        """Learn nothing."""


def even(eligible: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> FloatArray:
    """Return an even split over the eligible ones of each row.

    >>> even(np.array([[True, False, True]]))
    array([[0.5, 0. , 0.5]])
    """
    return np.asarray(eligible / eligible.sum(axis=1, keepdims=True))


def surely(scores: FloatArray) -> FloatArray:
    """Return certainty of the highest score of each row; the first one of several.

    >>> surely(np.array([[1.0, 3.0, 2.0]]))
    array([[0., 1., 0.]])
    """
    return np.asarray(np.eye(scores.shape[1])[scores.argmax(axis=1)])
