"""Effects where whole clusters (stores, referrers) were given a variant: errors by CR2, degrees of freedom to match.

Units of one cluster resemble each other, so that a cluster tells less than its units would one by one. The estimate is
that of means or ratios per unit; its error is built from each cluster's sum of residuals alone. CR2 undoes how much the
fit has shrunk a cluster's residuals, which makes the error unbiased under equal independent units, however unequal the
clusters; Satterthwaite's degrees of freedom say how many clusters really carry it. One row per cluster is enough.

References:
    Bell, McCaffrey (2002), Bias reduction in standard errors for linear regression with multi-stage samples, Survey
    Methodology 28(2).
    Pustejovsky, Tipton (2018), Small-sample methods for cluster-robust variance estimation and hypothesis testing in
    fixed effects models, J. Business & Economic Statistics 36(4), section 2.
    Imbens, Kolesár (2016), Robust standard errors in small samples, Review of Economics and Statistics 98(4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from stats.arrays import EPSILON, FloatArray, IntArray, as_float, divide
from stats.covariates import inverse, rank
from stats.effects.means import difference_of_means
from stats.effects.relative import relative as relative_effect
from stats.effects.result import Effect
from stats.samples import Sample, Target
from stats.why import Why

Correction = Literal["CR2", "CR1"]


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSums:
    """One row per cluster (and variant, where a cluster got into several).

    Attributes:
        columns: names of the k columns.
        variant: of each cluster, integers from 0, shape (clusters,).
        n: its units, shape (clusters,).
        sums: over its units, shape (clusters, k).

    >>> sums = ClusterSums.of(["spend"], variant=[0, 0, 1, 1], n=[10, 20, 12, 18], sums=[[50], [130], [90], [120]])
    >>> sums.n
    array([10, 20, 12, 18])
    """

    columns: tuple[str, ...]
    variant: IntArray
    n: IntArray
    sums: FloatArray

    def __post_init__(self) -> None:
        rows, k = len(self.variant), len(self.columns)
        if k == 0 or len(set(self.columns)) != k:
            raise ValueError(f"columns must be named and different, not {self.columns}")
        if self.variant.shape != (rows,) or self.n.shape != (rows,) or self.sums.shape != (rows, k):
            raise ValueError(
                f"variant {self.variant.shape}, n {self.n.shape} and sums {self.sums.shape} do not fit {k} columns"
            )
        if not np.isfinite(self.sums).all() or (self.n < 0).any() or (self.variant < 0).any():
            raise ValueError("sums hold NaN or infinity, or n or variant is negative")

    @classmethod
    def of(cls, columns: Sequence[str], variant: npt.ArrayLike, n: npt.ArrayLike, sums: npt.ArrayLike) -> Self:
        """Build from anything array-like; clusters without units are left out.

        Raises:
            ValueError: a shape does not fit, or a number is not finite or negative where it cannot be.
        """
        count = np.asarray(n, dtype=np.int64)
        arm = np.asarray(variant, dtype=np.int64)
        values = as_float(sums).reshape(len(count), len(tuple(columns)))
        return cls(tuple(columns), arm[count > 0], count[count > 0], values[count > 0])

    @classmethod
    def from_rows(cls, columns: Sequence[str], rows: npt.ArrayLike, cluster: npt.ArrayLike, variant: Any) -> Self:
        """Sum rows of units in memory; large data are summed where they lie.

        Args:
            columns: names of the k columns.
            rows: shape (units, k); a row with a missing value is left out.
            cluster: what names each unit's cluster, shape (units,).
            variant: integers from 0, shape (units,).

        >>> ClusterSums.from_rows(["x"], [[1.0], [2.0], [4.0]], ["a", "a", "b"], [0, 0, 1]).sums
        array([[3.],
               [4.]])
        """
        names = tuple(columns)
        values = as_float(rows).reshape(-1, len(names))
        keep = ~np.isnan(values).any(axis=1)
        _, codes = np.unique(np.asarray(cluster)[keep], return_inverse=True)
        arms = np.asarray(variant, dtype=np.int64)[keep]
        pairs, place = np.unique(np.column_stack([codes, arms]), axis=0, return_inverse=True)
        place = place.reshape(-1)
        size = len(pairs)
        sums = [np.bincount(place, weights=column, minlength=size) for column in values[keep].T]
        return cls.of(names, pairs[:, 1], np.bincount(place, minlength=size), np.column_stack(sums))

    def column(self, name: str) -> FloatArray:
        """Return the sums of one column.

        Raises:
            KeyError: naming the columns that are there.
        """
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}")
        return self.sums[:, self.columns.index(name)]


@dataclass(frozen=True, slots=True, eq=False)
class Clustered:
    """Estimates of one metric in every variant, shape (variants,), with what their errors' freedom needs.

    Attributes:
        sample: ``n`` counts clusters; ``variance`` / n is the CR2 variance of the estimate.
        units: per variant.
        plain: the variance without small-sample correction (CR0).
        trace: variance of the estimate under equal independent units of variance 1.
        square: Σ over pairs of clusters of squared covariances of what each adds to the CR2 error, on that scale.
        freedom: share of the degrees of freedom that covariates leave.
        covariates: how many of them cost a degree of freedom.
    """

    sample: Sample
    units: FloatArray
    plain: FloatArray
    trace: FloatArray
    square: FloatArray
    freedom: FloatArray
    covariates: int = 0

    @property
    def df(self) -> FloatArray:
        """Degrees of freedom of each variant's own estimate."""
        return divide(np.square(self.trace), self.square) * self.freedom

    def __getitem__(self, index: Any) -> Clustered:
        """Return some of the variants."""
        return Clustered(
            self.sample[index],
            np.asarray(self.units[index]),
            np.asarray(self.plain[index]),
            np.asarray(self.trace[index]),
            np.asarray(self.square[index]),
            np.asarray(self.freedom[index]),
            self.covariates,
        )


def sample_of(
    clusters: ClusterSums,
    target: Target,
    covariates: Sequence[Target] = (),
    *,
    variants: int | None = None,
    control: int = 0,
) -> Clustered:
    """Return every variant's mean per unit, or ratio of sums, with its CR2 variance.

    Args:
        clusters: one row per cluster.
        target: a column (its mean per unit) or a pair of columns (the ratio of their sums).
        covariates: the same of before the test, for CUPED with slopes found on the clusters' residual sums. The error
            counts that they are estimates, and how far the variants are off.
        variants: their number, where the last may be empty.
        control: which variant the others are compared with.

    Raises:
        KeyError: there is no such column.

    >>> sums = ClusterSums.of(["spend"], [0, 0, 0, 1, 1, 1], [10, 20, 10, 12, 18, 30], [50, 130, 60, 90, 120, 210])
    >>> both = sample_of(sums, "spend")
    >>> both.sample.mean, both.df.round(2)
    (array([6., 7.]), array([1.8 , 1.75]))
    """
    arm = clusters.variant
    size = int(arm.max(initial=-1)) + 1 if variants is None else variants
    if arm.max(initial=-1) >= size:
        raise ValueError(f"variants must lie in 0 to {size - 1}")
    count = np.bincount(arm, minlength=size).astype(np.float64)
    units = _sums(arm, clusters.n, size)
    outcome = _contributions(clusters, target, arm, size)
    why = np.select(
        [count < 1, np.isnan(outcome.value), count < 2],
        [int(Why.NO_UNITS), int(Why.ZERO_DENOMINATOR), int(Why.TOO_FEW_CLUSTERS)],
        int(Why.DEFINED),
    ).astype(np.int64)
    shift = _adjustment(clusters, outcome, covariates, count, control)
    residual = np.where(np.isnan(shift.residual), 0.0, shift.residual)
    why = np.where((why == 0) & np.isnan(shift.freedom), int(Why.TOO_FEW_FOR_COVARIATES), why)

    # Under equal independent units a cluster's residual has variance n(1 − 2h) + h²N; the estimate needs n of it.
    lever, n = np.where(np.isnan(outcome.lever), 0.0, outcome.lever), clusters.n.astype(np.float64)
    shrunk = n * (1 - 2 * lever) + np.square(lever) * units[arm]
    pull = np.where(np.isnan(divide(n, shrunk)), 0.0, divide(n, shrunk))
    flat = _sums(arm, np.abs(residual) > 16 * EPSILON * outcome.size, size) == 0
    plain = np.where(flat, 0.0, _sums(arm, np.square(residual), size))
    variance = divide(_sums(arm, pull * np.square(residual), size), shift.freedom)
    variance = np.where(flat, 0.0, variance + shift.variance)
    return Clustered(
        sample=Sample(
            n=count,
            mean=outcome.value - shift.moved,
            variance=np.where(why == 0, variance * count, np.nan),
            why=why,
            shift_cov=shift.shift_cov,
            shift_var=np.full(size, shift.shift_var),
        ),
        units=units,
        plain=plain,
        trace=divide(units, np.square(outcome.base)),
        square=divide(_square(arm, size, n, lever, pull, shrunk, units), np.square(np.square(outcome.base))),
        freedom=np.full(size, shift.freedom),
        covariates=shift.cost,
    )


def difference(
    control: Clustered, variant: Clustered, alpha: npt.ArrayLike = 0.05, *, correction: Correction = "CR2"
) -> Effect:
    """Return variant − control with cluster-robust interval and two-sided p; control broadcasts.

    Args:
        control: control's estimate.
        variant: the variants' estimates.
        alpha: 1 − confidence level; may be an array.
        correction: ``"CR2"`` with Satterthwaite's degrees of freedom, or ``"CR1"`` (Stata's and statsmodels' factor)
            with clusters − 1, which is too optimistic for few or unequal clusters.

    >>> sums = ClusterSums.of(["spend"], [0, 0, 0, 1, 1, 1], [10, 20, 10, 12, 18, 30], [50, 130, 60, 90, 120, 210])
    >>> both = sample_of(sums, "spend")
    >>> effect = difference(both[0], both[1]).value()
    >>> round(effect.estimate, 3), round(effect.std_error, 3), round(effect.df, 2)
    (1.0, 0.485, 3.43)
    """
    first, second, df = _compared(control, variant, correction)
    return difference_of_means(first, second, alpha, df=df)


def relative(
    control: Clustered, variant: Clustered, alpha: npt.ArrayLike = 0.05, *, correction: Correction = "CR2"
) -> Effect:
    """Return (variant − control) / control with Fieller's interval from the same errors; see ``difference``."""
    first, second, df = _compared(control, variant, correction)
    return relative_effect(first, second, alpha, df=df)


def _compared(control: Clustered, variant: Clustered, correction: Correction) -> tuple[Sample, Sample, FloatArray]:
    if correction == "CR2":
        trace = control.trace + variant.trace
        df = divide(np.square(trace), control.square + variant.square) * np.minimum(control.freedom, variant.freedom)
        return control.sample, variant.sample, df
    clusters = control.sample.n + variant.sample.n
    units = control.units + variant.units
    factor = divide(clusters, clusters - 1) * divide(units - 1, units - 2 - variant.covariates)
    return _with(control, factor), _with(variant, factor), clusters - 1


def _with(arm: Clustered, factor: FloatArray) -> Sample:
    """Return the sample with the plain variance times a factor."""
    kept = arm.sample
    return Sample(
        n=kept.n,
        mean=kept.mean,
        variance=np.where(kept.why == 0, arm.plain * factor * kept.n, np.nan),
        why=kept.why,
        shift_cov=kept.shift_cov,
        shift_var=kept.shift_var,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Contributions:
    """Estimates, shape (variants,), and what each cluster adds to them, shape (clusters,)."""

    value: FloatArray
    base: FloatArray
    """Sum of denominators: units for means."""
    residual: FloatArray
    """(a − value·b) / base: squares of these sum to the estimate's variance."""
    lever: FloatArray
    """b / base: how much the cluster pulls the estimate to itself."""
    size: FloatArray
    """(|a| + |value·b|) / base, for telling residuals from rounding."""


def _contributions(clusters: ClusterSums, target: Target, arm: IntArray, size: int) -> _Contributions:
    if isinstance(target, str):
        top, bottom = clusters.column(target), clusters.n.astype(np.float64)
    else:
        top, bottom = (clusters.column(column) for column in target)
    base = _sums(arm, bottom, size)
    value = divide(_sums(arm, top, size), base)
    fitted = value[arm] * bottom
    return _Contributions(
        value=value,
        base=base,
        residual=divide(top - fitted, base[arm]),
        lever=divide(bottom, base[arm]),
        size=divide(np.abs(top) + np.abs(fitted), np.abs(base[arm])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Adjustment:
    """What covariates do to residuals and estimates."""

    residual: FloatArray
    moved: FloatArray
    variance: FloatArray
    shift_cov: FloatArray
    shift_var: float
    freedom: float
    cost: int


def _adjustment(
    clusters: ClusterSums, outcome: _Contributions, covariates: Sequence[Target], count: FloatArray, control: int
) -> _Adjustment:
    """Regress the clusters' contributions to the outcome on theirs to the covariates, within variants."""
    size, arm = len(count), clusters.variant
    nothing = np.zeros(size)
    if not covariates:
        return _Adjustment(outcome.residual, nothing, nothing, nothing, 0.0, 1.0, 0)
    x = np.zeros((len(arm), len(covariates)))
    gap, share = np.zeros((size, len(covariates))), np.zeros((size, len(covariates)))
    for place, covariate in enumerate(covariates):
        own = _contributions(clusters, covariate, arm, size)
        middle = _contributions(clusters, covariate, np.zeros_like(arm), 1)
        if np.isnan(own.value[count > 0]).any() or np.isnan(middle.value).any():
            continue  # a ratio without a denominator cannot adjust
        x[:, place] = own.residual
        gap[:, place] = np.where(count > 0, own.value - middle.value, 0.0)
        share[:, place] = own.base / middle.base
    y = np.where(np.isnan(outcome.residual), 0.0, outcome.residual)
    inner = inverse(x.T @ x)
    theta = inner @ (x.T @ y)
    residual = y - x @ theta
    cost = int(rank(x.T @ x))
    spare = float(count.sum() - (count > 0).sum())
    freedom = (spare - cost) / spare if spare > cost else float("nan")
    doubt = inner @ (x.T @ (np.square(residual)[:, None] * x)) @ inner / freedom
    rest = gap - gap[control]
    common = (x * share[arm]) @ theta  # what each cluster adds to θ · the covariates' common mean
    return _Adjustment(
        residual=residual,
        moved=gap @ theta,
        variance=np.einsum("va,ab,vb->v", rest, doubt, rest),
        shift_cov=_sums(arm, residual * common, size) + rest @ doubt @ gap[control],
        shift_var=float(np.square(common).sum() + gap[control] @ doubt @ gap[control]),
        freedom=freedom,
        cost=cost,
    )


def _square(
    arm: IntArray, size: int, n: FloatArray, lever: FloatArray, pull: FloatArray, shrunk: FloatArray, units: FloatArray
) -> FloatArray:
    """Return Σ over pairs of clusters of pull·pull·covariance², without making the matrix of pairs.

    The covariance of two clusters' residuals is −h₁n₂ − h₂n₁ + h₁h₂N, plus n on the diagonal.
    """

    def total(weights: FloatArray) -> FloatArray:
        return _sums(arm, weights, size)

    hh, nn, hn = total(pull * lever**2), total(pull * n**2), total(pull * lever * n)
    pairs = 2 * hh * nn + np.square(units * hh) + 2 * np.square(hn) - 4 * units * hh * hn
    return np.asarray(pairs + total(np.square(pull) * (np.square(shrunk) - np.square(shrunk - n))))


def _sums(arm: IntArray, weights: npt.ArrayLike, size: int) -> FloatArray:
    return as_float(np.bincount(arm, weights=as_float(weights), minlength=size))
