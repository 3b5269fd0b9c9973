"""How the false-alarm probability is spent over the looks: spending functions.

References:
    Lan, DeMets (1983), Discrete sequential boundaries for clinical trials, Biometrika 70(3).
    Hwang, Shih, DeCani (1990), Group sequential designs using a family of type I error probability spending functions,
    Statistics in Medicine 9(12).
    Jennison, Turnbull (2000), Group Sequential Methods with Applications to Clinical Trials, section 7.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float
from stats.distributions import normal_critical

Kind = Literal["obrien_fleming", "pocock", "hwang_shih_decani", "power"]
DEFAULT_GAMMA: dict[Kind, float] = {"hwang_shih_decani": -4.0, "power": 2.0}


@dataclass(frozen=True, slots=True)
class Spending:
    """A spending function: how much of alpha may be used up by the time a share of the planned sample is in.

    Attributes:
        kind: ``obrien_fleming`` spends almost nothing early and costs least power; ``pocock`` spends evenly, so stops
            large effects sooner and costs more; ``hwang_shih_decani`` lies between, by ``gamma``; ``power`` spends
            alpha · t^gamma.
        gamma: of ``hwang_shih_decani`` (below 0 spends late, above 0 early; −4 by default) and ``power`` (above 0;
            2 by default).

    Raises:
        ValueError: unknown ``kind``, or a ``gamma`` that the kind does not have.

    >>> Spending().spent([0.2, 1.0], 0.05).round(7)
    array([1.1e-06, 5.0e-02])
    >>> Spending("pocock").spent(0.5, 0.05).round(4)
    np.float64(0.031)
    """

    kind: Kind = "obrien_fleming"
    gamma: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("obrien_fleming", "pocock", "hwang_shih_decani", "power"):
            raise ValueError(f"no spending function {self.kind!r}")
        if self.gamma is not None and (self.kind not in DEFAULT_GAMMA or not np.isfinite(self.gamma)):
            raise ValueError(f"{self.kind} has no gamma of {self.gamma}")
        if self.kind == "power" and self.gamma is not None and self.gamma <= 0:
            raise ValueError("the gamma of power spending must be positive")

    def spent(self, information: npt.ArrayLike, alpha: npt.ArrayLike = 0.05) -> FloatArray:
        """Return the part of a two-sided alpha, half of it on each side, that is spent by a share of the sample.

        Args:
            information: share of the planned sample, t; taken as 1 beyond 1 and as 0 below 0.
            alpha: to be spent in all; broadcast against ``information``.

        Source: O'Brien–Fleming type 4(1 − Φ(z(α/4)/√t)), which is Lan and DeMets' function with α/2 on each side;
        Pocock type α·ln(1 + (e − 1)t); Hwang–Shih–DeCani α(1 − e^(−γt))/(1 − e^(−γ)); power α·t^γ.
        """
        return np.asarray(np.exp(self.log_spent(information, alpha)))[()]

    def log_spent(self, information: npt.ArrayLike, alpha: npt.ArrayLike = 0.05) -> FloatArray:
        """Return the logarithm of ``spent``: what O'Brien–Fleming type spends early is below the smallest double."""
        share, level = np.broadcast_arrays(np.clip(as_float(information), 0.0, 1.0), as_float(alpha))
        if not ((level > 0) & (level < 1)).all():
            raise ValueError("alpha must lie between 0 and 1")
        with np.errstate(divide="ignore"):
            if self.kind == "obrien_fleming":
                start = normal_critical(level / 4)
                part = np.log(4) + special.log_ndtr(-start / np.sqrt(np.where(share > 0, share, np.nan)))
                return np.where(share >= 1, np.log(level), np.where(share > 0, part, -np.inf))
            return np.asarray(np.log(level) + np.log(self._proportion(share)))

    def _proportion(self, share: FloatArray) -> FloatArray:
        """Return the part of alpha spent, for the kinds that spend in proportion to it."""
        if self.kind == "pocock":
            return np.log1p((np.e - 1) * share)
        gamma = DEFAULT_GAMMA[self.kind] if self.gamma is None else self.gamma
        if self.kind == "power":
            return np.asarray(share**gamma)
        if gamma == 0:
            return share
        return np.asarray(np.expm1(-gamma * share) / np.expm1(-gamma))
