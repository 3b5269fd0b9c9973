"""The one shape of every effect: arrays for grids, and plain numbers or ``None`` with a reason for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stats.arrays import FloatArray, IntArray, number
from stats.why import Why


@dataclass(frozen=True, slots=True)
class EffectValue:
    """One effect as plain numbers; what cannot be computed is ``None`` and ``why`` says why.

    Attributes:
        estimate: the effect in the metric's unit, or a share of control's mean for relative effects.
        std_error: its standard error.
        df: degrees of freedom; ``None`` also where the normal distribution is used.
        ci_low: lower end of the interval.
        ci_high: upper end of the interval.
        p_value: two-sided.
        why: one English line, ``None`` when every number is there.
        why_code: the same as a stable code.
    """

    estimate: float | None
    std_error: float | None
    df: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    why: str | None = None
    why_code: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """Effects over a grid (metrics × variants × segments × days). Arrays of one shape; NaN stands where ``why`` ≠ 0.

    Attributes:
        estimate: variant − control, or that as a share of control's mean.
        std_error: standard error of the estimate.
        df: degrees of freedom; infinite where the normal distribution is used.
        ci_low: lower end of the two-sided interval at 1 − alpha.
        ci_high: upper end.
        p_value: two-sided.
        why: ``stats.why.Why`` codes.
    """

    estimate: FloatArray
    std_error: FloatArray
    df: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    p_value: FloatArray
    why: IntArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid."""
        return self.estimate.shape

    def __getitem__(self, index: Any) -> Effect:
        """Return part of the grid."""
        return Effect(
            *(
                np.asarray(part[index])
                for part in (
                    self.estimate,
                    self.std_error,
                    self.df,
                    self.ci_low,
                    self.ci_high,
                    self.p_value,
                    self.why,
                )
            )
        )

    def like(self, other: FloatArray) -> Effect:
        """Return it in the shape of ``other``, to which an array of alphas has brought the interval alone."""
        if self.shape == other.shape:
            return self
        parts = (self.estimate, self.std_error, self.df, self.ci_low, self.ci_high, self.p_value)
        floats = [np.broadcast_to(part, other.shape) for part in parts]
        return Effect(
            estimate=floats[0],
            std_error=floats[1],
            df=floats[2],
            ci_low=floats[3],
            ci_high=floats[4],
            p_value=floats[5],
            why=np.broadcast_to(self.why, other.shape),
        )

    def value(self, *index: int) -> EffectValue:
        """Return one cell as plain numbers, ``None`` and a reason where there is none.

        >>> from stats.effects.means import difference_of_means
        >>> from stats.samples import Sample
        >>> effect = difference_of_means(Sample.of(1, 2.0, 0.0), Sample.of(5, 3.0, 1.0))
        >>> effect.value().p_value, effect.value().why
        (None, 'too few units: 2 needed in each variant')
        """
        why = Why(int(self.why[index]))
        return EffectValue(
            number(self.estimate[index]),
            number(self.std_error[index]),
            number(self.df[index]),
            number(self.ci_low[index]),
            number(self.ci_high[index]),
            number(self.p_value[index]),
            why.text,
            why.code if why else None,
        )

    def values(self) -> Iterator[EffectValue]:
        """Yield every cell as plain numbers, in C order."""
        for index in np.ndindex(self.shape):
            yield self.value(*index)


def first_reason(*codes: IntArray) -> IntArray:
    """Return, cell by cell, the first code that is not 0."""
    out = np.zeros(np.broadcast_shapes(*(code.shape for code in codes)), dtype=np.int64)
    for code in codes:
        out = np.where(out == 0, code, out)
    return out


def hide(values: FloatArray, why: IntArray) -> FloatArray:
    """Return ``values`` with NaN where there is a reason for none."""
    return np.where(why == 0, values, np.nan)
