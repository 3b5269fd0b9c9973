"""What a simulation runs on: somebody's own units with their outcomes, and the experiment that is tried out on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stats.arrays import BoolArray, FloatArray, IntArray, divide

Kind = Literal["mean", "proportion", "ratio"]


@dataclass(frozen=True, slots=True, eq=False)
class UnitMetric:
    """One outcome of every unit.

    Attributes:
        name: what it is called in results.
        kind: ``proportion`` for values of 0 and 1, ``ratio`` for a sum over a sum, else ``mean``.
        value: shape (units,); NaN where it was not measured.
        denominator: of a ratio, shape (units,).
    """

    name: str
    kind: Kind
    value: FloatArray
    denominator: FloatArray | None = None

    def __post_init__(self) -> None:
        if (self.kind == "ratio") != (self.denominator is not None):
            raise ValueError(f"metric {self.name!r}: a ratio, and only a ratio, has a denominator")
        if self.kind == "proportion" and not np.isin(self.value[~np.isnan(self.value)], (0.0, 1.0)).all():
            raise ValueError(f"metric {self.name!r} is no proportion: it has values other than 0 and 1")

    @property
    def columns(self) -> FloatArray:
        """Value and denominator side by side, shape (units, 1 or 2)."""
        return np.column_stack([self.value] if self.denominator is None else [self.value, self.denominator])

    @property
    def complete(self) -> BoolArray:
        """Where the metric was measured, shape (units,)."""
        return np.asarray(~np.isnan(self.columns).any(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Units in the order in which they came.

    Attributes:
        metrics: their outcomes.
        covariates: what was known of them before, shape (units, covariates), without gaps.
        cluster: number of each unit's cluster from 0, where clusters are randomised and not units.
        stratum: number of each unit's stratum from 0.
    """

    metrics: tuple[UnitMetric, ...]
    covariates: FloatArray
    cluster: IntArray | None = None
    stratum: IntArray | None = None

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ValueError("nothing to validate: no metric")
        sizes = {metric.columns.shape[0] for metric in self.metrics} | {self.covariates.shape[0]}
        sizes |= {part.size for part in (self.cluster, self.stratum) if part is not None}
        if len(sizes) != 1:
            raise ValueError(f"metrics, covariates, clusters and strata are of different lengths: {sorted(sizes)}")
        if not np.isfinite(self.covariates).all():
            raise ValueError("covariates hold NaN or infinity; fill gaps and add an indicator column")

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.covariates.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The experiment that is simulated.

    Attributes:
        weights: of the variants, control first, any scale, all positive.
        effect: relative effect that treated units get in a second pass, for power; 0 for none. Values of means and
            numerators of ratios are multiplied by 1 + effect; of a proportion so many units, drawn once, change from 0
            to 1 (or from 1 to 0) that the share of all units changes by that factor.
        alpha: level of every method.
        looks: how often the experiment is looked at, after equal numbers of units.
        quantiles: which quantiles of means are compared.
        methods: names of the methods to try; all that apply by default.
        seed: of everything random.
    """

    weights: tuple[float, ...] = (1.0, 1.0)
    effect: float = 0.0
    alpha: float = 0.05
    looks: int = 10
    quantiles: tuple[float, ...] = ()
    methods: tuple[str, ...] | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if len(self.weights) < 2 or not all(np.isfinite(w) and w > 0 for w in self.weights):
            raise ValueError("two variants or more are needed, each with a weight above 0")
        if not 0 < self.alpha < 1 or self.looks < 1 or not -1 <= self.effect < np.inf:
            raise ValueError("alpha must lie between 0 and 1, looks be 1 or more, and an effect be −1 or more")

    @property
    def shares(self) -> FloatArray:
        """Share of units that each variant gets."""
        weights = np.asarray(self.weights, dtype=np.float64)
        return np.asarray(weights / weights.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Treated:
    """A metric as it is for treated units, and how far that moves it.

    Attributes:
        value: shape (units,).
        relative: the relative effect over all units, ``Trial.effect`` but for the rounding of a proportion to units.
        multiplied: whether every unit's value is just multiplied.
    """

    value: FloatArray
    relative: float
    multiplied: bool


def treat(metric: UnitMetric, effect: float, seed: int) -> Treated:
    """Return what a metric's values would be if every unit were treated.

    Raises:
        ValueError: a proportion cannot rise that far.

    >>> bought = UnitMetric("bought", "proportion", np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]))
    >>> treated = treat(bought, 0.5, seed=1)
    >>> treated.value.sum(), treated.relative
    (np.float64(3.0), 0.5)
    """
    if metric.kind != "proportion":
        return Treated(metric.value * (1 + effect), effect, multiplied=True)
    values = metric.value
    ones = int(np.nansum(values))
    change = round(ones * effect)
    if change > np.count_nonzero(values == 0):
        raise ValueError(f"metric {metric.name!r}: a share of {np.nanmean(values):.3g} cannot rise by {effect:.0%}")
    rng = np.random.default_rng([seed, 1])
    pool = np.flatnonzero(values == (0.0 if change > 0 else 1.0))
    flipped = values.copy()
    flipped[rng.choice(pool, size=abs(change), replace=False)] = 1.0 if change > 0 else 0.0
    return Treated(flipped, float(np.nan_to_num(divide(change, ones))), multiplied=False)


def by_cluster(units: Units, treated: tuple[Treated, ...]) -> tuple[Units, tuple[Treated, ...]]:
    """Return clusters as units: a mean over units becomes the clusters' sums over the clusters' sizes."""
    if units.cluster is None:
        raise ValueError("these units have no clusters")
    cluster = units.cluster
    number = int(cluster.max(initial=-1)) + 1
    metrics, changed = [], []
    for metric, after in zip(units.metrics, treated, strict=True):
        complete = metric.complete
        base = np.ones(units.size) if metric.denominator is None else metric.denominator

        def total(values: FloatArray, complete: BoolArray = complete) -> FloatArray:
            return np.bincount(cluster, np.where(complete, values, 0.0), minlength=number).astype(np.float64)

        metrics.append(UnitMetric(metric.name, "ratio", total(metric.value), total(base)))
        changed.append(Treated(total(after.value), after.relative, after.multiplied))
    return Units(tuple(metrics), np.zeros((number, 0))), tuple(changed)


def in_order(units: Units, order: IntArray) -> Units:
    """Return the units in another order."""
    return Units(
        tuple(
            UnitMetric(m.name, m.kind, m.value[order], None if m.denominator is None else m.denominator[order])
            for m in units.metrics
        ),
        units.covariates[order],
        None if units.cluster is None else units.cluster[order],
        None if units.stratum is None else units.stratum[order],
    )
