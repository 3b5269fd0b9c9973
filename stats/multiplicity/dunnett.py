"""Dunnett: several variants against one control, using that they share it.

Differences from a shared control are correlated: corr = λᵢλⱼ with λᵢ² = V₀/(V₀ + Vᵢ), V being variances of means (with
equal spread: 1/n, so any allocation fits). Given the control's own error u the comparisons are independent, so

    P(max |Zᵢ| > c) = ∫ φ(u) · (1 − Πᵢ P(|λᵢu + √(1−λᵢ²)·X| ≤ c)) du

is one integral; Student's form adds one over the common estimate of spread. Both by Gauss–Legendre panels.

References:
    Dunnett (1955), A multiple comparison procedure for comparing several treatments with a control, JASA 50(272).
    Dunnett, Tamhane (1991), Step-down multiple tests for comparing treatments with a control, Stat. in Medicine 10.
    Šidák (1967), Rectangular confidence regions for the means of multivariate normal distributions, JASA 62(318).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float, divide, root
from stats.distributions import normal_critical, normal_upper, t_critical
from stats.roots import find_roots

PANEL_NODES = 16
MOST_PANELS = 1500


def loadings(control_variance: npt.ArrayLike, variant_variances: npt.ArrayLike) -> FloatArray:
    """Return λ with corr(i, j) = λᵢλⱼ, from the variances of the means (or from 1/n, where spreads are equal).

    Args:
        control_variance: variance of control's mean; broadcasts against the variants' without their last axis.
        variant_variances: of the variants' means, shape (…, variants).

    Returns:
        λ, NaN where a variance is infinite or missing: nobody is there.

    >>> loadings(1 / 1000, [1 / 1000, 1 / 4000]).round(4)
    array([0.7071, 0.8944])
    """
    shared, own = as_float(control_variance)[..., None], as_float(variant_variances)
    share = divide(shared, shared + own)
    return root(np.where(shared == 0, 0.0, share))


def product_loadings(correlation: npt.ArrayLike) -> FloatArray:
    """Return λ of a correlation matrix of the form λᵢλⱼ.

    Raises:
        ValueError: it is not a correlation matrix, or not of that form.

    >>> product_loadings([[1, 0.5, 0.4], [0.5, 1, 0.4], [0.4, 0.4, 1]]).round(4)
    array([0.7071, 0.7071, 0.5657])
    """
    matrix = as_float(correlation)
    k = matrix.shape[0] if matrix.ndim == 2 else 0
    if matrix.shape != (k, k) or k < 1 or not np.allclose(matrix, matrix.T) or not np.allclose(np.diag(matrix), 1):
        raise ValueError("correlation must be a symmetric matrix with ones on its diagonal")
    off = matrix - np.diag(np.diag(matrix))
    if (off < -1e-12).any():
        raise ValueError("comparisons with one shared control are not negatively correlated")
    if k == 1:
        return np.zeros(1)
    if k == 2:
        return np.full(2, np.sqrt(max(off[0, 1], 0.0)))
    found = np.zeros(k)
    for i in range(k):
        j, m = [other for other in range(k) if other != i][:2]
        if off[j, m] > 0:
            found[i] = np.sqrt(off[i, j] * off[i, m] / off[j, m])
    if (found > 1).any() or not np.allclose(np.outer(found, found) * (1 - np.eye(k)), off, atol=1e-6):
        raise ValueError("correlation is not of the form λᵢλⱼ; give the loadings of a shared control")
    return found


def dunnett(statistics: npt.ArrayLike, shared: npt.ArrayLike, df: float = np.inf) -> FloatArray:
    """Return simultaneous two-sided p-values of many-to-one comparisons (single step).

    Args:
        statistics: z or t of each comparison, shape (…, variants); NaN stays NaN and does not count.
        shared: loadings λ, broadcast against ``statistics``.
        df: degrees of freedom of the pooled spread; infinite for the normal distribution.

    Source: Dunnett (1955), eq. 5, with unequal n. Accuracy about 1e-9, relative in the far tail too.

    >>> dunnett([2.0, 2.5, -1.0], loadings(1 / 50, [1 / 50, 1 / 40, 1 / 60]), df=196).round(4)
    array([0.1181, 0.0356, 0.6261])
    """
    values, weights = np.broadcast_arrays(as_float(statistics), as_float(shared))
    size = np.abs(values)
    return np.where(np.isnan(values), np.nan, _exceedance(size, np.where(np.isnan(values), np.nan, weights), df))


def dunnett_critical(alpha: npt.ArrayLike, shared: npt.ArrayLike, df: float = np.inf) -> FloatArray:
    """Return c with P(any |statistic| > c) = alpha, shape of ``shared`` without its last axis.

    >>> round(float(dunnett_critical(0.05, [0.5**0.5] * 3, df=20)), 3)
    2.54
    """
    weights = as_float(shared)
    level = np.broadcast_to(as_float(alpha), weights.shape[:-1]).astype(np.float64)
    count = np.maximum((~np.isnan(weights)).sum(axis=-1), 1)

    def excess(critical: FloatArray) -> FloatArray:
        return np.asarray(_exceedance(critical[..., None], weights, df)[..., 0] - level)

    start, end = t_critical(df, level / 2), t_critical(df, level / (2 * count))
    # With one comparison both ends are the answer; room on either side lets the root be bracketed.
    return find_roots(excess, start * (1 - 1e-6), end * (1 + 1e-6))


def dunnett_intervals(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    shared: npt.ArrayLike,
    df: float = np.inf,
    alpha: float = 0.05,
) -> tuple[FloatArray, FloatArray]:
    """Return simultaneous intervals: all hold the truth together with probability 1 − alpha.

    Args:
        estimate: differences from control, shape (…, variants).
        std_error: of each.
        shared: loadings λ.
        df: of the pooled spread.
        alpha: of the family.

    >>> low, high = dunnett_intervals([1.0, 0.2], [0.4, 0.4], [0.7071, 0.7071])
    >>> low.round(3), high.round(3)
    (array([ 0.115, -0.685]), array([1.885, 1.085]))
    """
    centre, error, weights = np.broadcast_arrays(as_float(estimate), as_float(std_error), as_float(shared))
    half = dunnett_critical(alpha, np.where(np.isnan(centre), np.nan, weights), df)[..., None] * error
    return centre - half, centre + half


def dunnett_step_down(statistics: npt.ArrayLike, shared: npt.ArrayLike, df: float = np.inf) -> FloatArray:
    """Return step-down p-values: the largest against all, the next against what is left, never falling.

    More powerful than ``dunnett``; its intervals are one-sided and unwieldy, so none are given: report single-step
    intervals beside single-step p-values.

    Args:
        statistics: z or t, shape (variants,); NaN stays NaN.
        shared: loadings λ, shape (variants,).
        df: of the pooled spread.

    Source: Dunnett, Tamhane (1991), section 3.

    >>> dunnett_step_down([2.5, 2.0, -1.0], [0.7071] * 3).round(4)
    array([0.0336, 0.0829, 0.3173])
    """
    values, weights = np.broadcast_arrays(as_float(statistics), as_float(shared))
    if values.ndim != 1:
        raise ValueError("step-down takes one family: a single axis of variants")
    out = np.full(values.shape, np.nan)
    order = [i for i in np.argsort(-np.abs(values), kind="stable") if not np.isnan(values[i])]
    reached = 0.0
    for place, i in enumerate(order):
        left = np.array(order[place:])
        reached = max(reached, float(_exceedance(np.abs(values[[i]]), weights[left], df)[0]))
        out[i] = reached
    return out


def family_p_values(p_values: FloatArray, correlation: npt.ArrayLike | None) -> FloatArray:
    """Return simultaneous p-values of unadjusted two-sided ones; leading axes are joined by Bonferroni."""
    weights = _weights(p_values, correlation)
    if p_values.size == 0:
        return p_values.copy()
    size = normal_critical(p_values / 2)
    families = _families(p_values)
    single = _exceedance(np.where(np.isnan(size), 0.0, size), weights, np.inf)
    return np.where(np.isnan(p_values), np.nan, np.minimum(single * families, 1.0))


def family_alpha(p_values: FloatArray, alpha: float, correlation: npt.ArrayLike | None) -> FloatArray:
    """Return the level of a single comparison's interval that makes all of them simultaneous."""
    if p_values.size == 0:
        return p_values.copy()
    weights = _weights(p_values, correlation)
    level = alpha / _families(p_values)
    single = 2 * normal_upper(dunnett_critical(level, weights))
    empty = np.isnan(weights).all(axis=-1)
    return np.broadcast_to(np.where(empty, level, single)[..., None], p_values.shape).copy()


def _families(p_values: FloatArray) -> int:
    return max(int((~np.isnan(p_values)).any(axis=-1).sum()), 1)


def _weights(p_values: FloatArray, correlation: npt.ArrayLike | None) -> FloatArray:
    """Return loadings in the shape of the p-values, NaN where there is no comparison."""
    if p_values.ndim == 0:
        raise ValueError("dunnett needs an axis of variants")
    k = p_values.shape[-1]
    given = np.zeros(k) if correlation is None else as_float(correlation)
    if given.shape == (k, k) and (k > 1 or p_values.ndim == 1) and _is_matrix(given, p_values):
        given = product_loadings(given)
    if given.shape not in {(k,), p_values.shape} or ((given < 0) | (given > 1)).any():
        raise ValueError(f"correlation must be loadings between 0 and 1 for {k} variants, or their correlation matrix")
    return np.where(np.isnan(p_values), np.nan, np.broadcast_to(given, p_values.shape))


def _is_matrix(given: FloatArray, p_values: FloatArray) -> bool:
    """Return whether a square array is a correlation matrix rather than loadings of as many metrics as variants."""
    return given.shape != p_values.shape or bool(np.allclose(np.diag(given), 1) and np.allclose(given, given.T))


def _exceedance(size: FloatArray, weights: FloatArray, df: float) -> FloatArray:
    """Return P(max over the comparisons with a weight > size), for every size; (…, sizes) against (…, variants)."""
    sizes, shares = as_float(size), as_float(weights)
    missing = np.isnan(shares)
    loading = np.where(missing, 0.0, np.clip(shares, 0.0, 1 - 1e-9))
    if not np.isfinite(df):
        return _normal_exceedance(sizes, loading, missing)
    scales, masses = _spread_nodes(float(df))
    out = np.zeros(np.broadcast_shapes(sizes.shape[:-1], shares.shape[:-1]) + sizes.shape[-1:])
    for scale, mass in zip(scales, masses, strict=True):
        out = out + mass * _normal_exceedance(sizes * scale, loading, missing)
    return out


def _normal_exceedance(sizes: FloatArray, loading: FloatArray, missing: npt.NDArray[np.bool_]) -> FloatArray:
    own = np.sqrt(1 - np.square(loading))
    # Far in the tail the mass sits at u ≈ λc; 30 is beyond what a double can tell from zero.
    reach = 9.0 + min(float(np.nanmax(sizes, initial=0.0)), 30.0)
    width = float(np.min(own / np.maximum(loading, 1e-3), initial=1.0))
    panels = int(np.clip(np.ceil(2 * reach / max(2.5 * width, 1e-6)), 16, MOST_PANELS))
    nodes, masses = _panels(panels)
    u = reach * nodes
    density = np.exp(-0.5 * np.square(u)) / np.sqrt(2 * np.pi) * masses * reach
    # Axes: …, sizes, nodes, variants.
    shift = loading[..., None, None, :] * u[:, None]
    bound = sizes[..., :, None, None]
    spread = own[..., None, None, :]
    upper, lower = special.ndtr((shift - bound) / spread), special.ndtr((-shift - bound) / spread)
    tails = np.where(missing[..., None, None, :], 0.0, np.minimum(upper + lower, 1.0))
    with np.errstate(divide="ignore"):
        beyond = -np.expm1(np.log1p(-tails).sum(axis=-1))
    return np.asarray(np.minimum((beyond * density).sum(axis=-1), 1.0))


@lru_cache(maxsize=64)
def _panels(count: int) -> tuple[FloatArray, FloatArray]:
    """Return nodes and weights of ``count`` equal Gauss–Legendre panels on [−1, 1]."""
    node, mass = np.polynomial.legendre.leggauss(PANEL_NODES)
    centres = (2 * np.arange(count) + 1) / count - 1
    nodes = (centres[:, None] + node / count).ravel()
    return nodes, np.tile(mass / count, count)


@lru_cache(maxsize=64)
def _spread_nodes(df: float) -> tuple[FloatArray, FloatArray]:
    """Return values of s with ν·s² chi-square of ν degrees of freedom, and their masses."""
    tail = 1e-16
    low = 0.5 * np.log(max(float(special.chdtri(df, 1 - tail)), 1e-280) / df)
    high = 0.5 * np.log(float(special.chdtri(df, tail)) / df)
    # The fewer the degrees of freedom, the longer the tail towards no spread at all.
    nodes, masses = _panels(int(np.clip(np.ceil(32 / df), 4, 32)))
    x = (low + high) / 2 + (high - low) / 2 * nodes
    log_density = np.log(2) + df / 2 * np.log(df / 2) - special.gammaln(df / 2) + df * x - df / 2 * np.exp(2 * x)
    mass = np.exp(log_density) * masses * (high - low) / 2
    return np.exp(x), mass / mass.sum()
