"""Regression adjustment with slopes of its own in every variant (Lin's fully interacted regression).

Where the covariates explain different things in different variants, or variants are of very different sizes, one
common slope (CUPED) can cost precision; slopes of each variant's own never do in large samples. Each variant's mean is
read off its own regression at the covariates' mean over all variants. Everything but the HC errors comes from moments.

References:
    Lin (2013), Agnostic notes on regression adjustments to experimental data, Annals of Applied Statistics 7(1).
    Negi, Wooldridge (2021), Revisiting regression adjustment in experiments with heterogeneous treatment effects,
    Econometric Reviews 40(5) (the variance that the covariates' mean adds).
    MacKinnon, White (1985), Some heteroskedasticity-consistent covariance matrix estimators, J. Econometrics 29
    (HC2, HC3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.adjustment import Adjusted
from stats.arrays import FloatArray, as_float, divide
from stats.covariates import inverse, rank, slopes, weights_and_gaps
from stats.moments import Moments
from stats.samples import Sample, Target, estimate, linearise, quadratic
from stats.why import Why


def interacted_means(
    moments: Moments,
    metric: str,
    covariates: Sequence[Target],
    *,
    variants_axis: int = 0,
    control: int = 0,
    population: bool = True,
    small_sample: bool = True,
) -> Adjusted:
    """Adjust the mean of a column by covariates, with slopes of each variant's own.

    Args:
        moments: cells with an axis of variants; complete rows of metric and covariates.
        metric: the column.
        covariates: columns, or pairs of columns for a ratio as covariate. Constant and collinear ones do no harm.
        variants_axis: which axis of the cells is the variants'.
        control: which variant the others are compared with. Errors of comparisons with another one leave out a part
            that only unequal slopes have.
        population: whether the effect is meant in the population that the units are a sample of, so that unequal slopes
            times the chance in the covariates' mean count (Negi, Wooldridge). ``False``: in these very units.
        small_sample: whether the error counts that slopes are estimates, times how far each variant's covariates lie
            from the common mean. The residuals' degrees of freedom count the slopes always.

    Returns:
        The same shape as ``adjustment.cuped_means``; ``theta`` is each variant's own, shape (cells…, covariates).

    >>> rows = [[3.0, 1.0], [5.2, 2.0], [7.1, 3.0], [4.1, 1.0], [7.0, 2.0], [10.2, 3.0], [13.0, 4.0]]
    >>> moments = Moments.from_rows(["spend", "before"], rows, cell=[0, 0, 0, 1, 1, 1, 1])
    >>> adjusted = interacted_means(moments, "spend", ["before"])
    >>> adjusted.theta.round(3).ravel(), adjusted.sample.mean.round(3)
    (array([2.05, 2.99]), array([5.686, 7.934]))
    """
    return _interacted(moments, metric, covariates, variants_axis, control, population, small_sample=small_sample)


def interacted_ratios(
    moments: Moments,
    numerator: str,
    denominator: str,
    covariates: Sequence[Target],
    *,
    variants_axis: int = 0,
    control: int = 0,
    population: bool = True,
    small_sample: bool = True,
) -> Adjusted:
    """Adjust a ratio of sums: the same regression on the units' linearised contributions, as CUPED of ratios does.

    Arguments and result are those of ``interacted_means``.

    >>> rows = [[2, 8, 1, 4], [1, 4, 1, 5], [3, 4, 2, 4], [2, 5, 0, 3], [4, 5, 2, 5], [1, 3, 1, 4]]
    >>> columns = ["orders", "sessions", "orders_before", "sessions_before"]
    >>> moments = Moments.from_rows(columns, rows, cell=[0, 0, 0, 1, 1, 1])
    >>> adjusted = interacted_ratios(moments, "orders", "sessions", [("orders_before", "sessions_before")])
    >>> adjusted.sample.mean.round(4), adjusted.raw.mean.round(4)
    (array([0.3352, 0.5754]), array([0.375 , 0.5385]))
    """
    target = (numerator, denominator)
    return _interacted(moments, target, covariates, variants_axis, control, population, small_sample=small_sample)


def interacted_rows(
    metric: npt.ArrayLike,
    covariates: npt.ArrayLike,
    variant: npt.ArrayLike,
    *,
    variants: int | None = None,
    control: int = 0,
    population: bool = True,
    errors: Literal["HC2", "HC3"] = "HC2",
) -> Adjusted:
    """Do the interacted regression on rows, with errors that trust no equal variances even within a variant.

    Each unit's squared residual is divided by 1 − its leverage (HC2) or the square of that (HC3). From about fifty
    units a variant upwards ``interacted_means`` says the same without rows.

    Args:
        metric: shape (rows,).
        covariates: shape (rows, p) or (rows,).
        variant: integers from 0, shape (rows,).
        variants: their number, where the last may be empty.
        control: which variant the others are compared with.
        population: as in ``interacted_means``.
        errors: which of the two.

    Returns:
        Samples of shape (variants,); rows with a missing value are left out.

    >>> y, x = [3.0, 5.2, 7.1, 4.1, 7.0, 10.2, 13.0], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0]
    >>> interacted_rows(y, x, [0, 0, 0, 1, 1, 1, 1]).sample.mean.round(3)
    array([5.686, 7.934])
    """
    y = as_float(metric)
    x = as_float(covariates).reshape(len(y), -1)
    codes = np.asarray(variant, dtype=np.int64)
    complete = ~(np.isnan(y) | np.isnan(x).any(axis=1))
    y, x, codes = y[complete], x[complete], codes[complete]
    size = int(codes.max(initial=-1)) + 1 if variants is None else variants
    names = ["metric", *(f"covariate {index}" for index in range(x.shape[1]))]
    moments = Moments.from_rows(names, np.column_stack([y, x]), cell=codes, n_cells=size)
    middle = moments.sum().mean[1:]
    own = np.full(size, np.nan)
    for arm in range(size):
        if moments.n[arm] < 2:
            continue
        centred, outcome = x[codes == arm] - moments.mean[arm, 1:], y[codes == arm] - moments.mean[arm, 0]
        inner = inverse(moments.m2[arm, 1:, 1:])
        leverage = 1 / len(centred) + np.einsum("ia,ab,ib->i", centred, inner, centred)
        residual = outcome - centred @ (inner @ moments.m2[arm, 1:, 0])
        pull = 1 / len(centred) - centred @ inner @ (moments.mean[arm, 1:] - middle)
        # A unit with leverage 1 is fitted exactly: its residual is rounding and tells nothing.
        free = leverage < 1 - 1e-9
        bent = np.square(pull * residual)[free] / (1 - leverage[free]) ** (1 if errors == "HC2" else 2)
        own[arm] = bent.sum()
    return _interacted(moments, "metric", names[1:], 0, control, population, own=own)


def _interacted(
    moments: Moments,
    target: Target,
    covariates: Sequence[Target],
    variants_axis: int,
    control: int,
    population: bool,
    *,
    small_sample: bool = True,
    own: FloatArray | None = None,
) -> Adjusted:
    """Do the regression; ``own`` is the variance of each variant's estimate given its covariates, where known."""
    axis = variants_axis % moments.n.ndim
    raw = estimate(moments, target)
    if not covariates:
        return Adjusted(raw, raw, np.zeros((*moments.shape, 0)))
    total = moments.sum(axis)
    _, gradient = linearise(moments, target)
    gradient = np.where(np.isnan(gradient), 0.0, gradient)
    weights, gaps = weights_and_gaps(moments, total, covariates, axis)
    xx = np.einsum("...ai,...ij,...bj->...ab", weights, moments.m2, weights)
    xy = np.einsum("...ai,...ij,...j->...a", weights, moments.m2, gradient)
    slope, inner, cost = slopes(xx, xy), inverse(xx), rank(xx)

    n = raw.n
    spare = n - 1 - cost
    why = np.where((raw.why == 0) & (spare < 1), int(Why.TOO_FEW_FOR_COVARIATES), raw.why)
    residual = quadratic(moments, gradient - np.einsum("...a,...ai->...i", slope, weights))
    if own is None:
        off = np.einsum("...a,...ab,...b->...", gaps, inner, gaps) if small_sample else 0.0
        variance = divide(residual * (n - 1), np.maximum(spare, 0)) * (1 + n * off)
    else:
        variance = np.where(residual == 0, 0.0, own * n)

    # Each estimate is its own part plus slope · X̄. Written as control's slope, shared by all, plus the rest, every
    # comparison with control has its exact variance: control's rest is 0, so no two rests ever meet.
    shared = np.take(slope, [control], axis=axis)
    spread = np.expand_dims(divide(xx.sum(axis=axis), np.square(total.n)[..., None, None]), axis)
    spread = np.where(np.isnan(spread), 0.0, spread) * float(population)
    rest = slope - shared
    apart = np.einsum("...a,...ab,...b->...", rest, spread, rest)
    sample = Sample(
        n=n,
        mean=raw.mean - np.einsum("...a,...a->...", slope, gaps),
        # Unequal slopes of perfect covariates are still no variation to judge by.
        variance=np.where(why == 0, np.where(variance == 0, 0.0, variance + n * apart), np.nan),
        why=np.asarray(why, dtype=np.int64),
        shift_cov=np.broadcast_to(np.einsum("...a,...ab,...b->...", rest, spread, shared), n.shape),
        shift_var=np.broadcast_to(np.einsum("...a,...ab,...b->...", shared, spread, shared), n.shape),
    )
    return Adjusted(sample, raw, slope)
