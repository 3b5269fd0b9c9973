"""Does the effect differ between segments, or with the variant of another experiment? Wald tests.

Reference:
    Wald (1943), Tests of statistical hypotheses concerning several parameters, Trans. AMS 54; for equal effects in
    segments the statistic is Q of Cochran (1954), The combination of estimates from different experiments, Biometrics
    10(1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray, as_float, divide, number
from stats.distributions import chi_square_upper
from stats.effects.result import first_reason
from stats.samples import Sample
from stats.why import Why


@dataclass(frozen=True, slots=True)
class InteractionValue:
    """One test as plain numbers; ``None`` and ``why`` where it cannot be computed."""

    statistic: float | None
    df: int
    p_value: float | None
    why: str | None = None
    why_code: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """Tests over a grid; arrays of one shape, NaN where ``why`` ≠ 0.

    Attributes:
        statistic: Wald's chi-square.
        df: degrees of freedom.
        p_value: of no interaction.
        why: ``Why`` codes.
    """

    statistic: FloatArray
    df: IntArray
    p_value: FloatArray
    why: IntArray

    def value(self, *index: int) -> InteractionValue:
        """Return one cell as plain numbers, ``None`` and a reason where there is none.

        >>> equal_effects([0.1, None], [0.05, 0.05]).value().why
        'too few estimates: 2 needed'
        """
        why = Why(int(self.why[index]))
        return InteractionValue(
            number(self.statistic[index]),
            int(self.df[index]),
            number(self.p_value[index]),
            why.text,
            why.code if why else None,
        )


def equal_effects(estimate: npt.ArrayLike, std_error: npt.ArrayLike, axis: int = -1) -> Interaction:
    """Test whether effects in segments that share no units are all the same.

    Normal errors are taken for granted: with fewer than about 30 units a segment and variant p is too small.

    Args:
        estimate: effects; NaN does not count.
        std_error: their standard errors; 0 does not count.
        axis: of the segments.

    >>> test = equal_effects([0.2, 0.5, -0.1], [0.1, 0.1, 0.2]).value()
    >>> round(test.statistic, 4), test.df, round(test.p_value, 4)
    (9.0, 2, 0.0111)
    """
    effects, errors = np.broadcast_arrays(as_float(estimate), as_float(std_error))
    effects, errors = np.moveaxis(effects, axis, -1), np.moveaxis(errors, axis, -1)
    ok = np.isfinite(effects) & np.isfinite(errors) & (errors > 0)
    weight = np.where(ok, 1 / np.square(np.where(ok, errors, 1.0)), 0.0)
    y = np.where(ok, effects, 0.0)
    centre = divide((weight * y).sum(axis=-1), weight.sum(axis=-1))
    statistic = (weight * np.square(y - centre[..., None])).sum(axis=-1)
    df = ok.sum(axis=-1) - 1
    why: IntArray = np.where(df >= 1, int(Why.DEFINED), int(Why.TOO_FEW_GROUPS)).astype(np.int64)
    return _test(statistic, df, why)


def two_experiments(cells: Sample) -> Interaction:
    """Test whether two experiments that share units act on a metric independently: effects add up.

    The effect of either experiment's variants is then the same whatever variant of the other a unit has, and each can
    be read alone. Cells are independent, since every shared unit is in exactly one.

    Args:
        cells: the metric in every cell of shared units, shape (…, variants of one, variants of the other); no common
            shift by covariates (adjust within all cells together, or not at all).

    Returns:
        Wald's test of all (k − 1)(l − 1) contrasts of contrasts, without those of a cell of fewer than two units: there
        no test is made.

    Raises:
        ValueError: fewer than two variants on either axis.

    >>> cells = Sample.of([[500, 500], [500, 500]], [[10.0, 10.5], [10.4, 11.9]], 4.0)
    >>> test = two_experiments(cells).value()
    >>> round(test.statistic, 3), test.df, round(test.p_value, 6)
    (31.25, 1, 0.0)
    """
    if len(cells.shape) < 2 or min(cells.shape[-2:]) < 2:
        raise ValueError("cells must have at least two variants of each experiment on the last two axes")
    k, l_ = cells.shape[-2:]
    df = (k - 1) * (l_ - 1)
    lead = cells.shape[:-2]
    variance = divide(cells.variance, cells.n)
    codes = cells.why.reshape(*lead, k * l_)
    empty = np.where(variance.reshape(*lead, k * l_) > 0, 0, int(Why.ZERO_VARIANCE))
    reasons = first_reason(codes, empty.astype(np.int64))
    why = first_reason(*np.moveaxis(reasons, -1, 0))
    mean = np.where(why[..., None] == 0, cells.mean.reshape(*lead, k * l_), 0.0)
    spread = np.where(why[..., None] == 0, variance.reshape(*lead, k * l_), 1.0)
    # The unit must not decide how well the system is conditioned.
    scale = np.sqrt(spread.mean(axis=-1, keepdims=True))
    mean, spread = mean / scale, spread / np.square(scale)
    contrast = np.kron(_against_first(k), _against_first(l_))
    difference = mean @ contrast.T
    covariance = (contrast * spread[..., None, :]) @ contrast.T
    solved = np.linalg.solve(covariance, difference[..., None])[..., 0]
    return _test((difference * solved).sum(axis=-1), np.full(lead, df), why)


def _against_first(levels: int) -> FloatArray:
    return np.concatenate([-np.ones((levels - 1, 1)), np.eye(levels - 1)], axis=1)


def _test(statistic: FloatArray, df: npt.NDArray[np.int64], why: IntArray) -> Interaction:
    p_value = chi_square_upper(np.maximum(df, 1), np.where(why == 0, statistic, 0.0))
    ok = why == 0
    return Interaction(
        np.where(ok, statistic, np.nan), np.asarray(df, dtype=np.int64), np.where(ok, p_value, np.nan), why
    )
