"""Logged decisions as arrays, whatever file they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from experiments.learning.as_drawn import Floors

Format = Literal["decisions", "open_bandit", "experiment"]


@dataclass(frozen=True, eq=False)
class DecisionLog:
    """One row per decision, in the file's order.

    Attributes:
        path: where it comes from, as it is printed.
        format: ``decisions`` (a file of ours), ``open_bandit``, or ``experiment`` (of this deployment).
        variants: keys of the K variants.
        variant: index of the drawn one, shape (n,).
        reward: what each decision earned, shape (n,).
        propensity: probability with which it was drawn, shape (n,).
        eligible: who could get what, shape (n, K), or ``None``: everybody everything.
        unit: codes of the members, shape (n,), or ``None``: decisions are taken as independent.
        position: place on the page as codes, shape (n,), or ``None``: there was one place.
        features: attribute → values, each of shape (n,): floats with NaN, or texts with ``None``, for missing.
        left_out: why rows were left out → how many.
        floors: what versions are drawn with, of an experiment whose definition says so.
    """

    path: str
    format: Format
    variants: tuple[str, ...]
    variant: npt.NDArray[np.intp]
    reward: npt.NDArray[np.float64]
    propensity: npt.NDArray[np.float64]
    eligible: npt.NDArray[np.bool_] | None = None
    unit: npt.NDArray[np.intp] | None = None
    position: npt.NDArray[np.intp] | None = None
    features: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    floors: Floors | None = None

    @property
    def n(self) -> int:
        """How many decisions."""
        return self.variant.size

    @property
    def allowed(self) -> npt.NDArray[np.bool_]:
        """Who could get what, shape (n, K)."""
        if self.eligible is None:
            return np.ones((self.n, len(self.variants)), dtype=np.bool_)
        return self.eligible
