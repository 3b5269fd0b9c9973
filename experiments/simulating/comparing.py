"""Several policies in the same worlds: means, standard errors, and differences world by world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.simulating.environment import Environment, FloatArray
from experiments.simulating.learner import Learner
from experiments.simulating.running import Run, run

Maker = Callable[[Environment, int], Learner]
"""Makes a fresh learner for an environment and a seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one policy did over all seeds.

    Attributes:
        policy: its name.
        percent: mean share of the best possible profit, percent.
        std_error: of that mean; None for one seed.
        versus: mean difference to the first policy, points of percent, seed by seed.
        versus_std_error: of that difference; None for one seed.
        regret: (points,) mean loss by then against always deciding best, currency units.
        regret_std_error: (points,) of those means; None for one seed.
        at: (points,) after how many decisions.
        least_propensity: least probability of any eligible variant at any decision.
        seconds: mean processor time of a run.
        by_seed: percent for each seed.
    """

    policy: str
    percent: float
    std_error: float | None
    versus: float
    versus_std_error: float | None
    regret: FloatArray
    regret_std_error: FloatArray | None
    at: FloatArray
    least_propensity: float
    seconds: float
    by_seed: tuple[float, ...]


def compare(
    environment: Environment,
    makers: Mapping[str, Maker],
    seeds: Sequence[int],
    *,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Standing]:
    """Let each policy decide through the same worlds, one for each seed.

    Args:
        environment: the problem.
        makers: name → how a learner is made; differences are to the first one.
        seeds: of the worlds.
        tell: is told the number of runs done, after each.

    Returns:
        One standing for each policy, in the order given.

    >>> from experiments.simulating.environments import ENVIRONMENTS
    >>> from experiments.simulating.learner import Oracle, Uniform
    >>> made = {"uniform": lambda *_: Uniform(), "oracle": lambda *_: Oracle()}
    >>> compare(ENVIRONMENTS["offers"].resized(decisions=500), made, [1, 2])[1].percent
    100.0
    """
    runs: dict[str, list[Run]] = {name: [] for name in makers}
    for seed in seeds:
        world = environment.world(seed)
        for name, make in makers.items():
            done = run(environment, world, make(environment, seed), seed=seed)
            runs[name].append(done)
            tell(sum(map(len, runs.values())))
    return stand(runs)


def stand(runs: Mapping[str, Sequence[Run]]) -> list[Standing]:
    """Return the standings of runs that were made in the same worlds, in the same order of seeds."""
    first = _percents(next(iter(runs.values())))
    return [_standing(name, made, first) for name, made in runs.items()]


def _standing(name: str, made: Sequence[Run], first: FloatArray) -> Standing:
    percent = _percents(made)
    regret = np.stack([one.regret for one in made])
    several = len(made) > 1
    return Standing(
        policy=name,
        percent=float(percent.mean()),
        std_error=_error(percent),
        versus=float((percent - first).mean()),
        versus_std_error=_error(percent - first),
        regret=np.asarray(regret.mean(axis=0)),
        regret_std_error=regret.std(axis=0, ddof=1) / len(made) ** 0.5 if several else None,
        at=made[0].at,
        least_propensity=min(one.least_propensity for one in made),
        seconds=float(np.mean([one.seconds for one in made])),
        by_seed=tuple(float(one) for one in percent),
    )


def _percents(made: Sequence[Run]) -> FloatArray:
    return np.array([one.percent for one in made])


def _error(values: FloatArray) -> float | None:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
