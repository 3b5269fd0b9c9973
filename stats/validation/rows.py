"""Methods that need the rows themselves: tried on some of the simulations, because each costs a sort."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stats.arrays import FloatArray
from stats.clusters import ClusterSums, difference, relative, sample_of
from stats.effects.result import Effect
from stats.quantiles import Quantiles, difference_of_quantiles
from stats.ranks import share_above
from stats.resampling import bootstrap
from stats.validation.methods import Answer, Method, count
from stats.validation.sums import Batch
from stats.validation.tally import Counts
from stats.validation.units import UnitMetric

ROWS: tuple[Method, ...] = (
    Method("quantile", ("mean",), "level", needs="no clusters"),
    Method("rank", ("mean",), "level", needs="no clusters"),
    Method("bootstrap", ("mean",), "level", needs="few units"),
    Method("cluster_cr2", ("mean", "proportion", "ratio"), "level", needs="clusters"),
)

RESAMPLES = 300
"""Draws of a bootstrap within a simulation: enough to judge it at levels of .01 and more."""

Compare = Callable[[FloatArray, FloatArray], Effect]


def quantile_name(probability: float) -> str:
    """Return the name of a quantile's row.

    >>> quantile_name(0.5), quantile_name(0.999)
    ('quantile 50%', 'quantile 99.9%')
    """
    return f"quantile {100 * probability:g}%"


def try_rows(batch: Batch, place: int, tried: set[str], runs: int, *, truth: float, effect: bool) -> dict[str, Counts]:
    """Try the methods of ``tried`` that need rows on the first ``runs`` simulations of a batch.

    Args:
        batch: the simulated experiments.
        place: of the metric.
        tried: names of methods.
        runs: how many simulations.
        truth: the true effect on the mean.
        effect: whether to try them with the effect too.
    """
    trial, metric = batch.prepared.trial, batch.prepared.units.metrics[place]
    counts: dict[str, Counts] = {}
    for probability in trial.quantiles:
        name = quantile_name(probability)
        if name not in tried:
            continue
        true = quantile_effect(metric, batch.prepared.treated[place].value, probability)
        compare = _quantile(probability, trial.alpha)
        plain = Answer(_each(batch, place, runs, compare, treated=False))
        changed = Answer(_each(batch, place, runs, compare, treated=True)) if effect else None
        counts[name] = count(plain, changed, trial, true, trial.effect)
    for name, compare in (("rank", _rank(trial.alpha)), ("bootstrap", _bootstrap(batch, place))):
        if name not in tried:
            continue
        true = rank_effect(metric, batch.prepared.treated[place].value) if name == "rank" else truth
        plain = Answer(_each(batch, place, runs, compare, treated=False))
        changed = Answer(_each(batch, place, runs, compare, treated=True)) if effect else None
        counts[name] = count(plain, changed, trial, true, trial.effect)
    return counts


def _quantile(probability: float, alpha: float) -> Compare:
    def compare(control: FloatArray, variant: FloatArray) -> Effect:
        both = [Quantiles.from_values(values, probability=probability) for values in (control, variant)]
        return difference_of_quantiles(both[0], both[1], alpha)

    return compare


def _rank(alpha: float) -> Compare:
    return lambda control, variant: share_above(control, variant, alpha)


def _bootstrap(batch: Batch, place: int) -> Compare:
    """Return a comparison of means whose draws depend on the seed and the batch alone, as they come one by one."""
    trial = batch.prepared.trial
    rng = np.random.default_rng([trial.seed, 3, batch.number, place])

    def mean(rows: FloatArray) -> FloatArray:
        return np.asarray(rows.mean(axis=-1))

    def compare(control: FloatArray, variant: FloatArray) -> Effect:
        return bootstrap(control, variant, mean, seed=rng, alpha=trial.alpha, resamples=RESAMPLES)

    return compare


def rank_effect(metric: UnitMetric, treated: FloatArray) -> float:
    """Return by how much a treated unit lies above an untreated one more often than not, over all units."""
    known = ~np.isnan(metric.value)
    return float(share_above(metric.value[known], treated[known]).estimate)


def try_clusters(batch: Batch, place: int, runs: int, truth: float) -> Counts:
    """Try CR2 on the first ``runs`` simulations of a batch of clusters as units; see ``try_rows``."""
    prepared = batch.prepared
    metric, treated = prepared.units.metrics[place], prepared.treated[place]
    plain = _clustered(batch, metric, metric.value, runs)
    changed = _clustered(batch, metric, treated.value, runs) if prepared.trial.effect else None
    return count(plain, changed, prepared.trial, truth, treated.relative)


def _clustered(batch: Batch, metric: UnitMetric, treated: FloatArray, runs: int) -> Answer:
    alpha, size = batch.prepared.trial.alpha, len(batch.prepared.trial.weights)
    base = np.ones(len(treated)) if metric.denominator is None else metric.denominator
    units = np.ones(len(treated), dtype=np.int64)
    differences, shares = [], []
    for codes in batch.codes[:runs]:
        sums = np.column_stack([np.where(codes > 0, treated, metric.value), base])
        found = sample_of(ClusterSums.of(("y", "d"), codes, units, sums), ("y", "d"), variants=size)
        differences.append([difference(found[0], found[variant], alpha) for variant in range(1, size)])
        shares.append([relative(found[0], found[variant], alpha) for variant in range(1, size)])
    return Answer(_grid(differences, size - 1), _grid(shares, size - 1))


def quantile_effect(metric: UnitMetric, treated: FloatArray, probability: float) -> float:
    """Return the true difference of a quantile when all units are treated."""
    before, after = (Quantiles.from_values(v, probability=probability).estimate for v in (metric.value, treated))
    return float("nan") if before is None or after is None else after - before


def _each(batch: Batch, place: int, runs: int, compare: Compare, *, treated: bool) -> Effect:
    """Compare control's values with each variant's in the first simulations; variants × simulations."""
    metric, after = batch.prepared.units.metrics[place], batch.prepared.treated[place].value
    known = ~np.isnan(metric.value)
    others = range(1, len(batch.prepared.trial.weights))
    found = []
    for codes in batch.codes[:runs]:
        control = metric.value[known & (codes == 0)]
        values = after if treated else metric.value
        found.append([compare(control, values[known & (codes == variant)]) for variant in others])
    return _grid(found, len(others))


def _grid(found: Sequence[Sequence[Effect]], others: int) -> Effect:
    """Return single effects, one list a simulation, as one of variants × simulations."""
    shape = (len(found), others)

    def grid(name: str) -> FloatArray:
        return np.array([[getattr(effect, name).item() for effect in row] for row in found], float).reshape(shape).T

    return Effect(
        estimate=grid("estimate"),
        std_error=grid("std_error"),
        df=grid("df"),
        ci_low=grid("ci_low"),
        ci_high=grid("ci_high"),
        p_value=grid("p_value"),
        why=grid("why").astype(np.int64),
    )
