"""Policies by the name that a command gives them: ``igw``, ``igw,explore=0``, ``mabwiser:linucb``, ``variant:gift``."""

from __future__ import annotations

import math
from typing import Any

from experiments.errors import InputError
from experiments.simulating.environment import Environment
from experiments.simulating.learner import Always, Learner, Oracle, Uniform

OURS = (
    "igw", "thompson", "linucb", "greedy", "softmax", "beta_thompson", "normal_thompson", "epsilon_greedy", "ucb1",
    "popularity", "clusters", "tree",
)  # fmt: skip
NUMBERS = {"explore", "half_life_days", "sharpness", "optimism", "min_rows_per_variant"}
"""What may follow one of ours, beside ``model``."""
MODELS = ("logistic", "hurdle", "linear")


def learner_named(text: str, environment: Environment, *, seed: int) -> Learner:
    """Return a fresh learner.

    Args:
        text: ``uniform``, ``oracle``, ``variant:KEY``, ``mabwiser:NAME``, or one of ours, with settings behind it:
            ``igw,explore=0,half_life_days=6`` (``inf``: nothing is forgotten; by default as the environment declares).
        environment: the problem it will be in.
        seed: of what it draws itself.

    Raises:
        InputError: there is no such policy, variant or setting.

    >>> from experiments.simulating.environments import ENVIRONMENTS
    >>> learner_named("variant:gift", ENVIRONMENTS["offers"], seed=1).name
    'variant:gift'
    """
    if text in {"uniform", "oracle"}:
        return Uniform() if text == "uniform" else Oracle()
    kind, _, rest = text.partition(":")
    if kind == "variant":
        if rest not in environment.variants:
            raise InputError(f'"{rest}" is no variant of {environment.name}: {", ".join(environment.variants)}')
        return Always(environment, rest)
    if kind == "mabwiser":
        from experiments.simulating.mabwiser import POLICIES, Mabwiser

        if rest not in POLICIES:
            raise InputError(f'"{rest}" is not among mabwiser\'s policies here: {", ".join(sorted(POLICIES))}')
        return Mabwiser(environment, rest, seed=seed)
    name, *parts = text.split(",")
    if name not in OURS:
        others = "uniform, oracle, variant:KEY, mabwiser:NAME"
        raise InputError(f'there is no policy "{name}"; take one of {", ".join(OURS)}, or {others}')
    from experiments.simulating.ours import Ours

    settings = dict(_setting(part, text) for part in parts)
    try:
        return Ours(environment, name, name=text, seed=seed, **settings)
    except ValueError as error:
        raise InputError(f'policy "{text}": {error}') from error


def _setting(part: str, text: str) -> tuple[str, Any]:
    name, equals, value = part.partition("=")
    if name == "model" and value in MODELS:
        return name, value
    if name not in NUMBERS or not equals:
        known = ", ".join(f"{one}=NUMBER" for one in sorted(NUMBERS))
        raise InputError(f'policy "{text}": "{part}" is no setting; write {known} or model={"|".join(MODELS)}')
    try:
        number = float(value)
    except ValueError:
        raise InputError(f'policy "{text}": {name} must be a number, not "{value}"') from None
    if name == "explore" and not 0 <= number <= 1:
        raise InputError(f'policy "{text}": explore must be from 0 to 1, not {value}')
    if (
        not number >= 0
        or (number == math.inf and name != "half_life_days")
        or (name == "half_life_days" and number == 0)
    ):
        raise InputError(f'policy "{text}": {name} must not be {value}')
    return name, int(number) if name == "min_rows_per_variant" else number
