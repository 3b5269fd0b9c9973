"""Covariates in the algebra of moments: what a unit adds to each, how far off each variant is, and the slopes.

CUPED, the interacted regression and post-stratified adjustment all start here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stats.arrays import FloatArray, IntArray, divide
from stats.moments import Moments
from stats.samples import Target, linearise

COLLINEAR = 1e-10
"""Directions of the covariates' correlation matrix with a smaller share of its largest eigenvalue carry no slope."""


def weights_and_gaps(
    moments: Moments, total: Moments, covariates: Sequence[Target], axis: int
) -> tuple[FloatArray, FloatArray]:
    """Return each covariate's weights (cells…, p, k) and its distance from the mean of all variants (cells…, p).

    A ratio covariate without a denominator in some variant cannot adjust: its weights and distances are 0 throughout.

    Args:
        moments: cells with an axis of variants.
        total: the same over all variants, without that axis.
        covariates: p columns, or pairs of columns for ratios.
        axis: the variants' axis, not negative.
    """
    all_weights, all_gaps = [], []
    for covariate in covariates:
        value, weights = linearise(moments, covariate)
        middle, _ = linearise(total, covariate)
        gap = value - np.expand_dims(middle, axis)
        unusable = (np.isnan(gap) & (moments.n > 0)).any(axis=axis, keepdims=True) | np.isnan(gap)
        all_gaps.append(np.where(unusable, 0.0, gap))
        all_weights.append(np.where(unusable[..., None], 0.0, weights))
    return np.stack(all_weights, axis=-2), np.stack(all_gaps, axis=-1)


def slopes(xx: FloatArray, xy: FloatArray) -> FloatArray:
    """Solve the normal equations on the correlation scale; constant and collinear covariates get no weight.

    >>> slopes(np.array([[4.0, 0.0], [0.0, 0.0]]), np.array([2.0, 0.0]))
    array([0.5, 0. ])
    """
    return np.asarray(np.einsum("...ab,...b->...a", inverse(xx), xy))


def inverse(xx: FloatArray) -> FloatArray:
    """Return the generalised inverse of cross-products (…, p, p), found on the correlation scale."""
    scale = _inverse_scale(xx)
    correlation = xx * scale[..., :, None] * scale[..., None, :]
    found = np.linalg.pinv(correlation, rcond=COLLINEAR, hermitian=True)
    return np.asarray(scale[..., :, None] * found * scale[..., None, :])


def rank(xx: FloatArray) -> IntArray:
    """Return how many covariates are neither constant nor collinear: the degrees of freedom they cost, shape (…).

    >>> int(rank(np.array([[4.0, 8.0, 0.0], [8.0, 16.0, 0.0], [0.0, 0.0, 0.0]])))
    1
    """
    if xx.shape[-1] == 0:
        return np.zeros(xx.shape[:-2], dtype=np.int64)
    scale = _inverse_scale(xx)
    eigenvalues = np.linalg.eigvalsh(xx * scale[..., :, None] * scale[..., None, :])
    return np.asarray((eigenvalues > COLLINEAR * np.maximum(eigenvalues[..., -1:], 0.0)).sum(axis=-1), dtype=np.int64)


def _inverse_scale(xx: FloatArray) -> FloatArray:
    scale = np.sqrt(np.maximum(np.einsum("...aa->...a", xx), 0.0))
    return np.where(scale > 0, divide(1.0, scale), 0.0)
