"""The decisions that the report of a policy that learns is computed from, as plain columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Logged:
    """Matured decisions, in the order of their time. Every array has one row for each."""

    variants: tuple[str, ...]
    at: Whole
    """Microseconds since 1970 UTC."""
    day: Whole
    """Local day."""
    unit: Whole
    """Whose: codes from 0."""
    variant: Whole
    """Index of the one that was drawn."""
    uniform: Flags
    """Of the control group, which nothing is learned for."""
    version: Whole
    """0 where no version drew."""
    p: Floats
    """Probabilities that were drawn from, shape (n, K); 0 for those not eligible."""
    reward: Floats
    """What it earned, contact included, in the reward's unit."""
    converted: Flags
    """Whether it earned anything."""
    columns: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    """Raw attributes."""

    @property
    def n(self) -> int:
        """Number of decisions."""
        return int(self.at.size)

    @cached_property
    def units(self) -> int:
        """Number of units."""
        return int(self.unit.max()) + 1 if self.n else 0

    def take(self, keep: Flags) -> Logged:
        """Return some of the decisions; units keep their codes."""
        columns = ("at", "day", "unit", "variant", "uniform", "version", "p", "reward", "converted")
        found = {name: getattr(self, name)[keep] for name in columns}
        return Logged(self.variants, **found, columns={k: v[keep] for k, v in self.columns.items()})

    @cached_property
    def propensity(self) -> Floats:
        """Return the probability of the variant that was drawn, shape (n,)."""
        found: Floats = self.p[np.arange(self.n), self.variant] if self.n else np.empty(0)
        return found


@dataclass(frozen=True)
class Drawn:
    """Every decision of the experiment, matured or not, counted."""

    by_day: Mapping[int, Mapping[str, int]]
    """Local day → variant → decisions of the policy, without the control group."""
    starts: Mapping[int, int]
    """Version → the first local day on which it drew."""
    by_version: Mapping[int, int]
    """Version → decisions."""
    total: int
    """Decisions of both groups."""
    without_propensity: int
    """Of these, without a propensity or without what the policy says of it."""
    units: Mapping[str, int]
    """Group (``policy``, ``uniform``) → units."""
    bins: tuple[int, ...]
    """Decisions by the propensity of what was drawn: `BINS` equal bins of [0, 1]."""
    lowest: float | None
    segments: tuple[Mix, ...] = ()


@dataclass(frozen=True)
class Mix:
    """How the decisions of the last days within one level of an attribute went over the variants."""

    attribute: str
    level: str
    """Empty: the attribute was not known."""
    counts: Mapping[str, int]


BINS = 20
