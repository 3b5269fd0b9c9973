"""Methods that need the rows themselves: tried on some of the simulations, because each costs a sort."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stats.arrays import FloatArray
from stats.effects.result import Effect
from stats.quantiles import Quantiles, difference_of_quantiles
from stats.validation.methods import Answer, Method, count
from stats.validation.sums import Batch
from stats.validation.tally import Counts
from stats.validation.units import UnitMetric

ROWS: tuple[Method, ...] = (Method("quantile", ("mean",), "level", needs="no clusters"),)

Compare = Callable[[FloatArray, FloatArray], Effect]


def quantile_name(probability: float) -> str:
    """Return the name of a quantile's row.

    >>> quantile_name(0.5), quantile_name(0.999)
    ('quantile 50%', 'quantile 99.9%')
    """
    return f"quantile {100 * probability:g}%"


def try_rows(batch: Batch, place: int, tried: set[str], runs: int, *, effect: bool) -> dict[str, Counts]:
    """Try the methods of ``tried`` that need rows on the first ``runs`` simulations of a batch.

    Args:
        batch: the simulated experiments.
        place: of the metric.
        tried: names of methods.
        runs: how many simulations.
        effect: whether to try them with the effect too.
    """
    trial, metric = batch.prepared.trial, batch.prepared.units.metrics[place]
    counts: dict[str, Counts] = {}
    for probability in trial.quantiles:
        name = quantile_name(probability)
        if name not in tried:
            continue
        true = quantile_effect(metric, batch.prepared.treated[place].value, probability)

        def compare(control: FloatArray, variant: FloatArray, probability: float = probability) -> Effect:
            both = [Quantiles.from_values(values, probability=probability) for values in (control, variant)]
            return difference_of_quantiles(both[0], both[1], trial.alpha)

        plain = Answer(_each(batch, place, runs, compare, treated=False))
        changed = Answer(_each(batch, place, runs, compare, treated=True)) if effect else None
        counts[name] = count(plain, changed, trial, true, trial.effect)
    return counts


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
    shape = (len(found), len(others))

    def grid(name: str) -> FloatArray:
        return np.array([[getattr(effect, name).item() for effect in row] for row in found], float).reshape(shape).T

    floats = (grid(name) for name in ("estimate", "std_error", "df", "ci_low", "ci_high", "p_value"))
    return Effect(*floats, grid("why").astype(np.int64))
