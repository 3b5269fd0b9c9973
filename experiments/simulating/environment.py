"""What an environment is, and one world drawn from it: every decision's truth, whatever is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from experiments.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Look:
    """An attribute that policies may look at.

    Attributes:
        attribute: its name among the world's columns.
        kind: a number, or one of several levels.
        transform: ``log`` takes sign(x)·log(1 + |x|) of a number first.
    """

    attribute: str
    kind: Literal["numeric", "categorical"]
    transform: Literal["none", "log"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One draw of an environment: ``n`` decisions in their order, and what each of ``K`` variants would earn.

    What a member does depends on the member, the time and the variant, never on what was decided before, so the same
    seed shows every policy the same members with the same minds (paired comparisons).

    Attributes:
        columns: attribute → (n,) values as they come: numbers (NaN where unknown) or text (None where unknown).
        unit: (n,) codes of members; members come again.
        at_days: (n,) time of the decision, growing.
        expected: (n, K) expected profit, currency units.
        converted: (n, K) whether the member would convert.
        amount: (n, K) what that would earn after the offer's cost, before contact; 0 where not converted.
        delay_days: (n,) from the decision to the conversion, at most the window.
        eligible: (n, K) who may get what.
        draw: (n,) uniform numbers that choose from a policy's probabilities.
    """

    columns: Mapping[str, NDArray[Any]]
    unit: IntArray
    at_days: FloatArray
    expected: FloatArray
    converted: BoolArray
    amount: FloatArray
    delay_days: FloatArray
    eligible: BoolArray
    draw: FloatArray

    @property
    def best(self) -> FloatArray:
        """(n,) expected profit of the best eligible variant."""
        return np.asarray(np.where(self.eligible, self.expected, -np.inf).max(axis=1))

    def __len__(self) -> int:
        return len(self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An offer problem with a known truth.

    Attributes:
        name: how it is called on the command line.
        title: language → what it is, in a sentence.
        variants: the first one gives nothing.
        features: what policies may look at.
        pairs: pairs of features whose joint effect a team would declare.
        model: what ours learns: ``logistic`` where a conversion is worth the same, ``hurdle`` where orders differ.
        worth: (K,) what a conversion earns after the offer's cost; empty for ``hurdle``.
        contact: (K,) cost of the contact, whether converted or not.
        decisions: how many.
        every: decisions between two updates.
        days: how long they take; evenly spread.
        window_days: attribution window: a decision is learned from after it.
        half_life_days: what a team that expects drift would declare.
        held_out: never looked at while methods were tuned.
        make: draws a world from a generator.
    """

    name: str
    title: Mapping[str, str]
    variants: tuple[str, ...]
    features: tuple[Look, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    model: Literal["logistic", "hurdle"]
    worth: tuple[float, ...] = ()
    contact: tuple[float, ...]
    decisions: int
    every: int
    days: float = 60.0
    window_days: float = 0.0
    half_life_days: float | None = None
    held_out: bool = False
    make: Callable[[Environment, np.random.Generator], World]

    def world(self, seed: int) -> World:
        """Draw the world of a seed: truth, members and minds.

        >>> from experiments.simulating.environments import ENVIRONMENTS
        >>> world = ENVIRONMENTS["offers"].resized(decisions=500).world(1)
        >>> len(world), world.expected.shape
        (500, (500, 5))
        """
        return self.make(self, np.random.default_rng([seed, *self.name.encode()]))

    def resized(self, *, decisions: int | None = None, every: int | None = None) -> Environment:
        """Return the same problem with more or fewer decisions or updates; its worlds are others then.

        Raises:
            InputError: fewer than 100 decisions, or none between two updates.
        """
        count = self.decisions if decisions is None else decisions
        chosen = replace(self, decisions=count, every=min(self.every, count) if every is None else every)
        if chosen.decisions < 100:
            raise InputError(f"{chosen.decisions} decisions are too few to learn from; ask for 100 or more")
        if not 1 <= chosen.every <= chosen.decisions:
            raise InputError(f"an update every {chosen.every} of {chosen.decisions} decisions: take 1 to all of them")
        return chosen
