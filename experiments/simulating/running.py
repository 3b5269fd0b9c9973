"""One policy in one world: decisions in batches, rewards when they have matured, an update between."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from experiments.simulating.environment import Environment, FloatArray, World
from experiments.simulating.history import History
from experiments.simulating.learner import Learner, even

POINTS = 40
"""Points of a regret curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one policy earned in one world.

    Attributes:
        learner: its name.
        seed: of the world.
        percent: 100 × expected profit of what was decided, over that of always deciding best.
        regret: (POINTS,) what was lost by then against always deciding best, currency units.
        at: (POINTS,) after how many decisions.
        least_propensity: least probability of any eligible variant at any decision; 0 where a choice was certain.
        seconds: of processor time, learning and deciding.
    """

    learner: str
    seed: int
    percent: float
    regret: FloatArray
    at: FloatArray
    least_propensity: float
    seconds: float


def run(environment: Environment, world: World, learner: Learner, *, seed: int) -> Run:
    """Let a learner decide through a world.

    Who learns starts with an even split, until a first batch has matured; after each batch it gets what has matured
    since. Rewards are counted by their expectation, which leaves out the luck of the draw and nothing else.

    >>> from experiments.simulating.environments import ENVIRONMENTS
    >>> from experiments.simulating.learner import Oracle, Uniform
    >>> small = ENVIRONMENTS["offers"].resized(decisions=1000)
    >>> run(small, small.world(1), Oracle(), seed=1).percent > run(small, small.world(1), Uniform(), seed=1).percent
    True
    """
    n, every = len(world), environment.every
    variant = np.zeros(n, dtype=np.intp)
    propensity = np.ones(n)
    begun, seen, least = time.process_time(), 0, 1.0
    for start in range(0, n, every):
        batch = slice(start, min(start + every, n))
        cold = learner.learns and seen == 0
        p = even(world.eligible[batch]) if cold else learner.probabilities(world, batch)
        variant[batch], propensity[batch] = draw(p, world.draw[batch])
        least = min(least, float(p[world.eligible[batch]].min()))
        if batch.stop < n:
            # A decision is learned from when its window is over at the time of the next one.
            now = float(world.at_days[batch.stop])
            matured = int((world.at_days[: batch.stop] + environment.window_days <= now).sum())
            rows = np.arange(matured)
            if matured > seen:
                history = History(
                    environment=environment,
                    world=world,
                    rows=rows,
                    fresh=rows[seen:],
                    variant=variant,
                    propensity=propensity,
                    now_days=now,
                )
                learner.learn(history)
                seen = matured
    earned = world.expected[np.arange(n), variant]
    best = world.best
    at = np.unique(np.linspace(n / POINTS, n, POINTS).round().astype(np.intp))
    return Run(
        learner=learner.name,
        seed=seed,
        percent=float(100 * earned.sum() / best.sum()),
        regret=np.cumsum(best - earned)[at - 1],
        at=at.astype(np.float64),
        least_propensity=least,
        seconds=time.process_time() - begun,
    )


def draw(p: FloatArray, u: FloatArray) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], FloatArray]:
    """Return the variant that a uniform number picks from each row's probabilities, and its probability.

    >>> draw(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0.6, 0.0]))
    (array([1, 1]), array([0.5, 1. ]))
    """
    ends = np.cumsum(p, axis=1)
    chosen = (u[:, None] * ends[:, -1:] >= ends).sum(axis=1)
    chosen = np.minimum(chosen, p.shape[1] - 1 - (p[:, ::-1] > 0).argmax(axis=1))
    return chosen, np.take_along_axis(p, chosen[:, None], axis=1)[:, 0]
