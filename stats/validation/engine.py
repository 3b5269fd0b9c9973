"""Simulate experiments on somebody's own units, batch by batch, and say which methods keep their promise there.

The units are given, with their outcomes; what is random is which of them gets which variant, as in a real experiment.
Without effect every call of a difference is a false alarm. With an effect added to the treated, calls are power.

Batches depend on the seed and their number alone, so any number of processes may share them and the sums agree.

References:
    Kohavi, Tang, Xu (2020), Trustworthy online controlled experiments, chapter 19 (A/A tests).
    Imbens, Rubin (2015), Causal inference, chapters 5 and 6 (randomisation of a given population).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stats.arrays import FloatArray
from stats.validation.looking import LOOKING, count_looks, look
from stats.validation.methods import BY_MOMENTS, METHODS, Method, count, family, sample_ratio
from stats.validation.rows import ROWS, quantile_name, try_clusters, try_rows
from stats.validation.sums import Batch, Prepared, randomise
from stats.validation.tally import Counts, MethodResult, Tally, add, conclude
from stats.validation.units import Kind, Trial, Units

ALL = "*"
"""Stands for the metric where a method judges all of them together, or none."""
USUAL: dict[Kind, str] = {"mean": "welch", "proportion": "score", "ratio": "ratio_delta"}
"""The method whose p-values Holm is tried on."""


def method_names() -> tuple[str, ...]:
    """Return every method's name, in the order of the results."""
    return (*(m.name for m in METHODS), *(m.name for m in ROWS), *(m.name for m in LOOKING), "holm", "srm")


def plan(units: Units, trial: Trial) -> Iterator[tuple[str, Method]]:
    """Yield (metric, method) for everything that will be tried, in the order of the results.

    Raises:
        ValueError: a method that was asked for by name is unknown.
    """
    if unknown := set(trial.methods or ()) - set(method_names()):
        raise ValueError(f"no method {', '.join(sorted(unknown))}; there are {', '.join(method_names())}")
    for metric in units.metrics:
        for method in (*METHODS, *ROWS, *LOOKING):
            if _wanted(method.name, trial) and method.applies(metric.kind, units):
                names = [method.name]
                if method.name == "quantile":
                    names = [quantile_name(p) for p in trial.quantiles]
                for name in names:
                    yield metric.name, replace(method, name=name)
    comparisons = len(units.metrics) * (len(trial.weights) - 1)
    if comparisons > 1 and _wanted("holm", trial) and units.cluster is None:
        yield ALL, Method("holm", (), "at_most")
    if _wanted("srm", trial) and units.cluster is None:
        yield ALL, Method("srm", (), "level")


def simulate(prepared: Prepared, batch: int, runs: int, row_runs: int) -> Tally:
    """Simulate one batch and count.

    Args:
        prepared: units and trial.
        batch: its number.
        runs: simulations in it, at most ``prepared.batch_runs``.
        row_runs: of these, those on which methods that need rows are tried.
    """
    simulated = randomise(prepared, batch, runs)
    units, trial = prepared.units, prepared.trial
    # Clusters as units get the very same codes: as many are drawn from the same seed.
    clusters = None if prepared.clusters is None else randomise(prepared.clusters, batch, runs)
    strata = None if prepared.strata is None else randomise(prepared.strata, batch, runs)
    tally: Tally = {}
    p_values = []
    for place, metric in enumerate(units.metrics):
        tried = {method.name for name, method in plan(units, trial) if name == metric.name}
        p_values.append(_at_the_end(simulated, clusters, strata, place, tried, tally))
        _early(simulated, place, tried, tally)
        truth = float(prepared.truth(place)[-1])
        rows = try_rows(simulated, place, tried, row_runs, truth=truth, effect=bool(trial.effect))
        tally |= {(metric.name, name): found for name, found in rows.items()}
        if clusters is not None and "cluster_cr2" in tried:
            tally[metric.name, "cluster_cr2"] = try_clusters(clusters, place, row_runs, truth)
    together = {method.name for name, method in plan(units, trial) if name == ALL}
    if "holm" in together:
        tally[ALL, "holm"] = family(p_values, trial)
    if "srm" in together:
        tally[ALL, "srm"] = sample_ratio(simulated)
    return tally


def batches(prepared: Prepared, runs: int, row_runs: int) -> list[tuple[int, int, int]]:
    """Return (number, simulations, of these with methods that need rows) of every batch.

    >>> from types import SimpleNamespace
    >>> batches(SimpleNamespace(batch_runs=400), 1000, 100)  # type: ignore[arg-type]
    [(0, 400, 40), (1, 400, 40), (2, 200, 20)]
    """
    out: list[tuple[int, int, int]] = []
    done = 0
    while done < runs:
        size = min(prepared.batch_runs, runs - done)
        share = row_runs * (done + size) // runs - row_runs * done // runs
        out.append((len(out), size, min(share, size)))
        done += size
    return out


def run(prepared: Prepared, runs: int, *, row_runs: int = 200) -> list[MethodResult]:
    """Simulate all batches in this process and say what came out.

    >>> from stats.validation import UnitMetric, prepare
    >>> spend = np.random.default_rng(1).gamma(2.0, 30.0, 400)
    >>> units = Units((UnitMetric("spend", "mean", spend),), np.zeros((400, 0)))
    >>> results = run(prepare(units, Trial(methods=("welch", "peeked"), seed=3)), 1000)
    >>> [(result.method, result.reading) for result in results]
    [('welch', 'as_promised'), ('peeked', 'too_many')]
    """
    return results(prepared, add(simulate(prepared, *batch) for batch in batches(prepared, runs, row_runs)))


def results(prepared: Prepared, tally: Tally) -> list[MethodResult]:
    """Return a result for everything that was tried, in order."""
    units, trial = prepared.units, prepared.trial
    places = {metric.name: place for place, metric in enumerate(units.metrics)}
    planned = list(plan(units, trial))
    return [
        conclude(
            tally.get((metric, method.name), Counts()),
            metric,
            method.name,
            method.promise,
            alpha=trial.alpha,
            comparisons=1 if metric == ALL else len(trial.weights) - 1,
            rows=len(planned),
            looks=len(prepared.ends),
            relative_effect=prepared.treated[places[metric]].relative if trial.effect and metric != ALL else None,
            has_looks=method.looks,
            has_interval=metric != ALL and method.has_interval,
        )
        for metric, method in planned
    ]


def _wanted(name: str, trial: Trial) -> bool:
    return trial.methods is None or name in trial.methods


def _at_the_end(
    units: Batch, clusters: Batch | None, strata: Batch | None, place: int, tried: set[str], tally: Tally
) -> FloatArray:
    """Count the methods that work from moments at the end; return the p-values of the usual one, without effect."""
    prepared = units.prepared
    trial, metric = prepared.trial, prepared.units.metrics[place]
    truth, relative_effect = float(prepared.truth(place)[-1]), prepared.treated[place].relative
    usual: FloatArray | None = None
    for name, method in BY_MOMENTS.items():
        batch = {"cluster_delta": clusters, "post_stratified": strata}.get(name, units)
        plainest = name == USUAL[metric.kind]
        if batch is None or (name not in tried and not plainest):
            continue
        kind: Kind = "ratio" if batch is clusters else metric.kind
        so_far = batch is not strata
        answer = method(batch.moments(place, treated=False, so_far=so_far), kind, trial.alpha)
        if plainest:
            usual = answer.effect.p_value
        if name in tried:
            changed = None
            if trial.effect:
                changed = method(batch.moments(place, treated=True, so_far=so_far), kind, trial.alpha)
            tally[metric.name, name] = count(answer, changed, trial, truth, relative_effect)
    return np.full(units.units.shape[1:2], np.nan) if usual is None else usual


def _early(batch: Batch, place: int, tried: set[str], tally: Tally) -> None:
    """Count the methods that look before the end."""
    prepared = batch.prepared
    trial, metric = prepared.trial, prepared.units.metrics[place]
    looking = [method.name for method in LOOKING if method.name in tried]
    if not looking:
        return
    information = prepared.ends / prepared.units.size
    plain = look(batch.moments(place, treated=False), metric.kind, trial.alpha)
    treated = look(batch.moments(place, treated=True), metric.kind, trial.alpha) if trial.effect else None
    for name in looking:
        found = count_looks(name, plain, treated, information, trial, prepared.truth(place))
        tally[metric.name, name] = found
