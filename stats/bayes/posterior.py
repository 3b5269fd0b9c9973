"""The shape of every posterior of an effect: arrays for grids, plain numbers or ``None`` with a reason for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stats.arrays import FloatArray, IntArray, number
from stats.why import Why


@dataclass(frozen=True, slots=True)
class PosteriorValue:
    """One posterior as plain numbers; ``None`` and ``why`` where it cannot be computed.

    Attributes: as of ``Posterior``.
    """

    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    chance_positive: float | None
    loss_if_chosen: float | None
    loss_if_control: float | None
    why: str | None = None
    why_code: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """What is believed about effects (variant − control) after the data. Arrays of one shape; NaN where ``why`` ≠ 0.

    Attributes:
        mean: of the effect.
        sd: standard deviation of the effect.
        ci_low: lower end of the equal-tailed credible interval at 1 − alpha.
        ci_high: upper end.
        chance_positive: probability that the effect is above zero. Where less is better, the chance that the variant
            is better is one minus it, and the two losses change places.
        loss_if_chosen: expected loss of choosing the variant, E[max(0, −effect)], in the metric's unit.
        loss_if_control: expected loss of staying with control, E[max(0, effect)].
        why: ``stats.why.Why`` codes.
    """

    mean: FloatArray
    sd: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    chance_positive: FloatArray
    loss_if_chosen: FloatArray
    loss_if_control: FloatArray
    why: IntArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid."""
        return self.mean.shape

    @property
    def parts(self) -> tuple[FloatArray, ...]:
        """All arrays but ``why``, in the order of the attributes."""
        return (
            self.mean,
            self.sd,
            self.ci_low,
            self.ci_high,
            self.chance_positive,
            self.loss_if_chosen,
            self.loss_if_control,
        )

    def __getitem__(self, index: Any) -> Posterior:
        """Return part of the grid."""
        return build(tuple(np.asarray(part[index]) for part in self.parts), np.asarray(self.why[index]))

    def value(self, *index: int) -> PosteriorValue:
        """Return one cell as plain numbers, ``None`` and a reason where there is none.

        >>> from stats.bayes import normal_posterior
        >>> normal_posterior(0.8, 0.0, prior_sd=1.0).value().why
        'no variation: every unit of both variants has the same value within its variant'
        """
        why = Why(int(self.why[index]))
        mean, sd, low, high, chance, chosen, stayed = (number(part[index]) for part in self.parts)
        return PosteriorValue(mean, sd, low, high, chance, chosen, stayed, why.text, why.code if why else None)

    def values(self) -> Iterator[PosteriorValue]:
        """Yield every cell as plain numbers, in C order."""
        for index in np.ndindex(self.shape):
            yield self.value(*index)


def build(parts: tuple[FloatArray, ...], why: IntArray) -> Posterior:
    """Return the posterior with NaN wherever there is a reason for none."""
    mean, sd, low, high, chance, chosen, stayed = (np.where(why == 0, part, np.nan) for part in parts)
    return Posterior(mean, sd, low, high, chance, chosen, stayed, why)
