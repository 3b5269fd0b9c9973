"""Post-stratification: every variant weighted to the same mix of strata (country, tier, stage …), from moments.

Chance gives the variants slightly different mixes of strata. Each variant's estimate is put together from its strata by
the shares that the strata have over all variants, so that this difference is gone and only variation within strata is
left. Strata must be frozen at decision.

References:
    Miratrix, Sekhon, Yu (2013), Adjusting treatment effect estimates by post-stratification in randomized experiments,
    JRSS B 75(2).
    Cochran (1977), Sampling Techniques, 3rd ed., sections 5A.9 (post-stratification) and 5A.12 (collapsed strata).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stats.adjustment import cuped_means, cuped_ratios
from stats.arrays import BoolArray, FloatArray, divide
from stats.moments import Moments
from stats.samples import Sample, Target, estimate, linearise

LEAST = 2
"""Units that every variant (that has units at all) needs in a stratum."""


@dataclass(frozen=True, slots=True, eq=False)
class PostStratified:
    """Post-stratified estimates of every cell, the strata's axis gone.

    Attributes:
        sample: the estimates; compare them as any others.
        raw: the unstratified ones.
        shares: of the strata over all variants; the strata's axis is last, the variants' is gone.
        merged: strata that some variant has fewer than two units of, so that they were counted with the largest other
            one; same shape. Where all are True there was nothing to stratify by, and ``sample`` is ``raw``.
    """

    sample: Sample
    raw: Sample
    shares: FloatArray
    merged: BoolArray


def post_stratified(
    moments: Moments,
    target: Target,
    strata_axis: int,
    variants_axis: int,
    *,
    covariates: Sequence[Target] = (),
    control: int = 0,
    population: bool = True,
) -> Sample:
    """Return ``post_stratify``'s estimates alone."""
    return post_stratify(
        moments, target, strata_axis, variants_axis, covariates=covariates, control=control, population=population
    ).sample


def post_stratify(
    moments: Moments,
    target: Target,
    strata_axis: int,
    variants_axis: int,
    *,
    covariates: Sequence[Target] = (),
    control: int = 0,
    population: bool = True,
) -> PostStratified:
    """Weight every variant's strata by their shares over all variants; with covariates, CUPED within strata as well.

    Args:
        moments: cells with an axis of strata and one of variants.
        target: a column, or a pair of columns for the ratio of their (weighted) sums.
        strata_axis: which axis of the cells is the strata's.
        variants_axis: which is the variants'.
        covariates: columns or pairs of columns measured before the test.
        control: which variant the others are compared with; errors of comparisons with another one leave out a part
            that only unequal effects of the strata have.
        population: whether the effect is meant in the population that the units are a sample of, so that the strata's
            shares are estimates too. ``False``: in these very units.

    Raises:
        KeyError: there is no such column.

    >>> rows = [[1.0], [2.0], [9.0], [8.0], [3.0], [2.0], [1.0], [11.0], [12.0]]
    >>> variant_and_stratum = [0, 0, 1, 1, 2, 2, 2, 3, 3]
    >>> flat = Moments.from_rows(["spend"], rows, cell=variant_and_stratum)
    >>> moments = Moments(
    ...     flat.columns, flat.n.reshape(2, 2), flat.pivot, flat.mean.reshape(2, 2, 1), flat.m2.reshape(2, 2, 1, 1)
    ... )
    >>> done = post_stratify(moments, "spend", strata_axis=1, variants_axis=0)
    >>> done.shares.round(3), done.sample.mean.round(3), done.raw.mean
    (array([0.556, 0.444]), array([4.611, 6.222]), array([5. , 5.8]))
    """
    axes = (strata_axis % moments.n.ndim, variants_axis % moments.n.ndim)
    if axes[0] == axes[1]:
        raise ValueError("strata and variants cannot be the same axis of the cells")
    cells = moments.n.ndim
    rest = tuple(axis for axis in range(cells) if axis not in axes)
    order = (*rest, axes[1], axes[0])  # (…, variants, strata)
    whole = moments.sum(axes[0])
    raw = estimate(whole, target)
    place = axes[1] - (axes[0] < axes[1])

    merged_moments, merged = _merge_small(_transposed(moments, order))
    counts = merged_moments.n.astype(np.float64)
    total = counts.sum(axis=(-2, -1))
    shares = divide(counts.sum(axis=-2), total[..., None])
    weights = np.where(np.isnan(shares), 0.0, shares)[..., None, :]
    pooled = _weighted(merged_moments, weights)

    along = pooled.n.ndim - 1
    if isinstance(target, str):
        adjusted = cuped_means(pooled, target, covariates, variants_axis=along)
    else:
        adjusted = cuped_ratios(pooled, *target, covariates, variants_axis=along)
    sample = adjusted.sample
    if population:
        _, gradient = linearise(pooled, target)
        sample = _with_chance_of_shares(sample, merged_moments, pooled, gradient, weights, control)
    return PostStratified(_moved(sample, place), raw, shares, merged)


def _merge_small(moments: Moments) -> tuple[Moments, BoolArray]:
    """Count strata that are too small in some variant with the largest stratum that is not; axes (…, variants, strata).

    Returns:
        Moments of the same grid, the cells of merged strata empty; which were merged, shape (…, strata).
    """
    # A variant without units has no estimate anyhow; it must not cost the others their strata.
    counts = moments.n.sum(axis=-1, keepdims=True) >= LEAST
    small = ((moments.n < LEAST) & counts).any(axis=-2)
    present = moments.n.sum(axis=-2) > 0
    size = np.where(small, -1, moments.n.sum(axis=-2))
    host = size.argmax(axis=-1)
    target = np.arange(moments.shape[-1]) == host[..., None]
    small = small & ~(small.all(axis=-1, keepdims=True) & target)
    if not (small & present).any():
        return moments, small & present
    moved = np.broadcast_to((small | target)[..., None, :], moments.shape)
    gathered = _masked(moments, moved).sum(moments.n.ndim - 1)
    stays = np.broadcast_to((~small & ~target)[..., None, :], moments.shape)
    kept = _masked(moments, stays)
    into = np.broadcast_to(target[..., None, :], moments.shape)
    n = np.where(into, gathered.n[..., None], kept.n)
    mean = np.where(into[..., None], gathered.mean[..., None, :], kept.mean)
    m2 = np.where(into[..., None, None], gathered.m2[..., None, :, :], kept.m2)
    return Moments(moments.columns, n, moments.pivot, mean, m2), small & present


def _masked(moments: Moments, keep: BoolArray) -> Moments:
    return Moments(
        moments.columns,
        np.where(keep, moments.n, 0),
        moments.pivot,
        np.where(keep[..., None], moments.mean, moments.pivot),
        np.where(keep[..., None, None], moments.m2, 0.0),
    )


def _weighted(moments: Moments, weights: FloatArray) -> Moments:
    """Return moments of each variant as if it had the common mix: means Σ w·mean, covariances n·Σ w²·cov/nₛ.

    So the covariance over n is that of the weighted means, and every method that starts from moments goes on from here.
    """
    n = moments.n.sum(axis=-1)
    mean = np.einsum("...s,...si->...i", np.broadcast_to(weights, moments.shape), moments.mean)
    mean = np.where(n[..., None] > 0, mean, moments.pivot)
    covariance = moments.covariance()
    part = divide(np.square(weights), moments.n) * n[..., None]
    part = np.where(np.isnan(part) | (moments.n < LEAST), 0.0, part)
    covariance = np.where(np.isnan(covariance), 0.0, covariance)
    spread = np.einsum("...s,...sij->...ij", part, covariance)
    return Moments(moments.columns, n, moments.pivot, mean, spread * np.maximum(n - 1, 0)[..., None, None])


def _with_chance_of_shares(
    sample: Sample, strata: Moments, pooled: Moments, gradient: FloatArray, weights: FloatArray, control: int
) -> Sample:
    """Add what the strata's shares being estimates adds; control's part is common to all and cancels in differences."""
    n = strata.n.sum(axis=(-2, -1)).astype(np.float64)[..., None]
    apart = np.einsum("...i,...si->...s", np.where(np.isnan(gradient), 0.0, gradient), strata.mean)
    middle = np.einsum("...i,...i->...", np.where(np.isnan(gradient), 0.0, gradient), pooled.mean)
    apart = np.where(strata.n > 0, apart - middle[..., None], 0.0)
    base = np.take(apart, [control], axis=-2)
    rest = apart - base
    own, crossed, common = (
        np.where(n > 0, divide((weights * first * second).sum(axis=-1), n), 0.0)
        for first, second in ((rest, rest), (rest, base), (base, base))
    )
    variance = np.where(sample.variance == 0, 0.0, sample.variance + sample.n * own)
    return Sample(
        n=sample.n,
        mean=sample.mean,
        variance=variance,
        why=sample.why,
        shift_cov=sample.shift_cov + crossed,
        shift_var=sample.shift_var + common,
    )


def _transposed(moments: Moments, order: tuple[int, ...]) -> Moments:
    cells = len(order)
    return Moments(
        moments.columns,
        moments.n.transpose(order),
        moments.pivot,
        moments.mean.transpose(*order, cells),
        moments.m2.transpose(*order, cells, cells + 1),
    )


def _moved(sample: Sample, place: int) -> Sample:
    """Return the sample with its last axis, the variants', where the caller has it."""

    def move(part: FloatArray) -> FloatArray:
        return np.moveaxis(part, -1, place)

    return Sample(
        n=move(sample.n),
        mean=move(sample.mean),
        variance=move(sample.variance),
        why=np.moveaxis(sample.why, -1, place),
        shift_cov=move(sample.shift_cov),
        shift_var=move(sample.shift_var),
    )
