"""Units randomised again and again, and the moments of every simulated experiment, by matrix products.

A simulation is a row of random variant codes. Counts, sums and sums of products of all columns, for many simulations
and for every segment between two looks, are one product of the codes' indicators with the units' products; nothing
loops over units. Values are centred first, so the products lose no variance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray, IntArray, divide
from stats.moments import Moments
from stats.validation.units import Treated, Trial, UnitMetric, Units, by_cluster, in_order, treat

CELLS = 2_000_000
"""Codes (units × simulations) of one batch: 16 MB of indicators."""
MOST_RUNS = 500
"""Simulations of one batch, so that progress is seen and processes share the work."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Columns that are summed over the same complete rows.

    Attributes:
        columns: their names: ``y``, ``d`` for a ratio, ``x0`` … for covariates.
        pivot: what each is centred at.
        start: the first of its 1 + k + k(k+1)/2 columns in the products.
    """

    columns: tuple[str, ...]
    pivot: FloatArray
    start: int

    @property
    def stop(self) -> int:
        """Return the column behind its last one."""
        k = len(self.columns)
        return self.start + 1 + k + k * (k + 1) // 2


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All that does not change from simulation to simulation.

    Attributes:
        units: the units.
        trial: the experiment.
        products: per unit 1, columns and products of columns of every group, shape (units, columns).
        plain: for each metric the group of its values.
        flipped: for each proportion, where there is an effect, the group of its treated values.
        treated: each metric's treated values.
        ends: number of units at each look, shape (looks,).
        clusters: the same with clusters as units, where clusters are randomised.
        strata: the same with units sorted by stratum, and a segment for each.
    """

    units: Units
    trial: Trial
    products: FloatArray
    plain: tuple[Group, ...]
    flipped: dict[int, Group]
    treated: tuple[Treated, ...]
    ends: IntArray
    clusters: Prepared | None = None
    strata: Prepared | None = None

    @property
    def batch_runs(self) -> int:
        """How many simulations one batch holds; it depends on the units alone, so results do on the seed alone."""
        return int(np.clip(CELLS // max(self.units.size, 1), 1, MOST_RUNS))

    def truth(self, metric: int) -> FloatArray:
        """Return the true effect of treatment on the units so far, at each look, in the metric's unit."""
        given, treated = self.units.metrics[metric], self.treated[metric].value
        complete = given.complete

        def so_far(values: FloatArray) -> FloatArray:
            return np.asarray(np.cumsum(np.where(complete, values, 0.0))[self.ends - 1])

        base = np.ones(len(complete)) if given.denominator is None else given.denominator
        return divide(so_far(treated) - so_far(given.value), so_far(base))


def prepare(units: Units, trial: Trial) -> Prepared:
    """Centre and multiply the columns of every metric and find its treated values.

    Raises:
        ValueError: the effect cannot be had, e.g. a share above 1.
    """
    treated = tuple(treat(metric, trial.effect, trial.seed) for metric in units.metrics)
    ends = np.unique(np.ceil(np.linspace(0, units.size, trial.looks + 1)[1:]).astype(np.int64))
    clusters = strata = None
    if units.cluster is not None:
        whole, changed = by_cluster(units, treated)
        clusters = _prepare(whole, trial, changed, np.array([whole.size], dtype=np.int64))
    elif units.stratum is not None:
        order = np.argsort(units.stratum, kind="stable")
        changed = tuple(Treated(t.value[order], t.relative, t.multiplied) for t in treated)
        sizes = np.cumsum(np.unique(units.stratum, return_counts=True)[1])
        strata = _prepare(in_order(units, order), trial, changed, sizes.astype(np.int64))
    return replace(_prepare(units, trial, treated, ends[ends > 0]), clusters=clusters, strata=strata)


def _prepare(units: Units, trial: Trial, treated: tuple[Treated, ...], ends: IntArray) -> Prepared:
    parts: list[FloatArray] = []
    width = 0
    plain: list[Group] = []
    flipped: dict[int, Group] = {}
    for place, metric in enumerate(units.metrics):
        rows = np.column_stack([metric.columns, units.covariates])
        complete = metric.complete
        pivot = rows[complete].mean(axis=0) if complete.any() else np.zeros(rows.shape[1])
        versions = [rows]
        if trial.effect and not treated[place].multiplied:
            versions.append(np.column_stack([treated[place].value, rows[:, 1:]]))
        for version, values in enumerate(versions):
            group = Group(_names(metric, units), pivot, width)
            parts.append(_products(np.where(complete[:, None], values - pivot, 0.0), complete))
            width = group.stop
            if version:
                flipped[place] = group
            else:
                plain.append(group)
    return Prepared(units, trial, np.hstack(parts), tuple(plain), flipped, treated, ends)


def _names(metric: UnitMetric, units: Units) -> tuple[str, ...]:
    own = ("y",) if metric.denominator is None else ("y", "d")
    return (*own, *(f"x{i}" for i in range(units.covariates.shape[1])))


def _products(centred: FloatArray, complete: BoolArray) -> FloatArray:
    k = centred.shape[1]
    first, second = np.triu_indices(k)
    return np.column_stack([complete.astype(np.float64), centred, centred[:, first] * centred[:, second]])


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Simulated experiments; cells are variants × simulations × looks.

    Attributes:
        prepared: what does not change.
        number: of the batch.
        codes: variant of each unit, shape (simulations, units).
        sums: of the products in each segment between looks, shape (variants, simulations, segments, columns).
        units: of each variant in each segment, shape (variants, simulations, segments).
    """

    prepared: Prepared
    number: int
    codes: npt.NDArray[np.int8]
    sums: FloatArray
    units: IntArray

    def moments(self, metric: int, *, treated: bool, so_far: bool = True) -> Moments:
        """Return a metric's moments; with ``treated`` the units of all variants but control have the effect.

        Args:
            metric: place of the metric.
            treated: see above.
            so_far: of all units up to each look; otherwise of each segment alone.
        """
        group = self.prepared.plain[metric]
        plain = self._moments(group, so_far=so_far)
        if not treated:
            return plain
        if metric in self.prepared.flipped:
            changed = self._moments(self.prepared.flipped[metric], so_far=so_far)
            mean, m2, n = changed.mean, changed.m2, changed.n
        else:
            factor = np.ones(len(group.columns))
            factor[0] = 1 + self.prepared.trial.effect
            mean, m2, n = plain.mean * factor, plain.m2 * factor[:, None] * factor, plain.n
        return Moments(
            plain.columns,
            np.concatenate([plain.n[:1], n[1:]]),
            plain.pivot,
            np.concatenate([plain.mean[:1], mean[1:]]),
            np.concatenate([plain.m2[:1], m2[1:]]),
        )

    def _moments(self, group: Group, *, so_far: bool) -> Moments:
        k = len(group.columns)
        part = self.sums[..., group.start : group.stop]
        if so_far:
            part = np.cumsum(part, axis=2)
        second = np.empty((*part.shape[:-1], k, k))
        row, column = np.triu_indices(k)
        second[..., row, column] = part[..., 1 + k :]
        second[..., column, row] = part[..., 1 + k :]
        count = np.rint(part[..., 0]).astype(np.int64)
        return Moments.from_shifted_sums(group.columns, count, group.pivot, part[..., 1 : 1 + k], second)


def randomise(prepared: Prepared, batch: int, runs: int) -> Batch:
    """Return one batch of simulated experiments; the same for the same seed and number of the batch.

    Args:
        prepared: units and trial.
        batch: number of the batch.
        runs: simulations in it.
    """
    trial, units = prepared.trial, prepared.units
    rng = np.random.default_rng([trial.seed, 0, batch])
    drawn = units.size if units.cluster is None else int(units.cluster.max(initial=-1)) + 1
    shares = np.cumsum(trial.shares)[:-1]
    # float32 has 2²⁴ steps: enough for shares, and half the time.
    codes = np.searchsorted(shares, rng.random((runs, drawn), dtype=np.float32), side="right").astype(np.int8)
    if units.cluster is not None:
        codes = codes[:, units.cluster]
    starts = np.concatenate([[0], prepared.ends[:-1]])
    width = prepared.products.shape[1]
    sums = np.zeros((len(trial.weights), runs, len(starts), width))
    count = np.zeros(sums.shape[:-1], dtype=np.int64)
    for look, (start, end) in enumerate(zip(starts, prepared.ends, strict=True)):
        part = prepared.products[start:end]
        sums[0, :, look] = part.sum(axis=0)
        count[0, :, look] = end - start
        for variant in range(1, len(trial.weights)):
            inside = codes[:, start:end] == variant
            sums[variant, :, look] = inside.astype(np.float64) @ part
            count[variant, :, look] = inside.sum(axis=1)
    sums[0] -= sums[1:].sum(axis=0)
    count[0] -= count[1:].sum(axis=0)
    return Batch(prepared, batch, codes, sums, count)
