"""The values around a quantile, by variant: the only rows that leave the engine are those whose ranks matter.

Values are grouped and counted where they lie; of the histogram only the ranks come back that an interval or a p can
need, a few thousand even of ten million (``stats.quantiles.window``). For single events (several a unit) a second query
counts, by unit, how many lie at or below the quantile: units vary, not events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from experiments.measure.experiment import MeasuredExperiment
from experiments.measure.parts import MeasuredMetric
from experiments.measure.scan import numeric
from experiments.measure.unit_table import event_values
from experiments.sources.duck import fetch
from stats.moments import Moments
from stats.quantiles import Quantiles, window

MOST_VALUES = 200_000
"""Different values around one quantile that are taken out of the engine."""


def quantiles_of(measured: MeasuredExperiment, metric: MeasuredMetric) -> dict[str, Quantiles]:
    """Return each variant's values around the metric's quantile, in major units for money; empty ones have ``n`` 0.

    Args:
        measured: the experiment.
        metric: of type quantile, one of the experiment's.
    """
    if metric.spec.quantile is None:
        raise ValueError(f"{metric.spec.name} is no quantile")
    part = metric.parts[0]
    if metric.spec.per == "event":
        found = event_values(measured.facts, measured.census, part)
        units = measured.facts.units.select("u", "variant")
        rows = measured.facts.log.keep(found.join(units, "u").select("u", "variant", "value"), "equipoise_event_values")
    else:
        rows = measured.table.select("variant", value=measured.table[part.column])
    samples = values_around(rows, metric.spec.quantile, measured.variants, clustered=metric.spec.per == "event")
    exponent = metric.minor.get(part.column)
    if exponent:
        samples = {v: replace(s, values=s.values / 10**exponent) for v, s in samples.items()}
    return samples


def values_around(
    rows: Any, probability: float, variants: tuple[str, ...], *, clustered: bool = False
) -> dict[str, Quantiles]:
    """Return each variant's values around a quantile.

    Args:
        rows: Ibis table with ``variant`` and ``value``; missing values are left out.
        probability: of the quantile.
        variants: those wanted.
        clustered: whether values with the same ``u`` belong together, so that these vary and not single values.
    """
    rows = rows.mutate(value=numeric(rows.value))
    rows = rows.filter(rows.value.notnull(), rows.variant.isin(list(variants)))
    samples = _around(rows, probability, variants, _spreads(rows) if clustered else {})
    return _with_clusters(rows, samples) if clustered else samples


def _spreads(rows: Any) -> dict[str, float]:
    """Return, by variant, how much wider the share below may spread at most than if events were independent."""
    by_unit = rows.group_by("variant", "u").aggregate(n=rows.count())
    sums = by_unit.group_by("variant").aggregate(n=by_unit.n.sum(), squared=(by_unit.n * by_unit.n).sum())
    return {r["variant"]: float(r["squared"]) / float(r["n"]) for r in fetch(sums)}


def _around(
    rows: Any, probability: float, variants: tuple[str, ...], spreads: Mapping[str, float]
) -> dict[str, Quantiles]:
    import ibis

    counts = {r["variant"]: int(r["n"]) for r in fetch(rows.group_by("variant").aggregate(n=rows.count()))}
    ranks = {v: window(n, probability, design_effect=spreads.get(v, 1.0)) for v, n in counts.items()}
    histogram = rows.group_by("variant", "value").aggregate(n=rows.count())
    running = histogram.n.sum().over(ibis.cumulative_window(group_by="variant", order_by="value"))
    ranked = histogram.mutate(up_to=running)
    kept = [
        (ranked.variant == v) & (ranked.up_to >= first) & (ranked.up_to - ranked.n < last)
        for v, (first, last) in ranks.items()
    ]
    found: dict[str, list[dict[str, Any]]] = {v: [] for v in variants}
    if kept:
        for row in fetch(ranked.filter(ibis.or_(*kept)).order_by("variant", "value").limit(MOST_VALUES)):
            found[row["variant"]].append(row)
    return {
        v: Quantiles.from_values(
            [float(r["value"]) for r in listed],
            [int(r["n"]) for r in listed],
            probability=probability,
            below=int(listed[0]["up_to"]) - int(listed[0]["n"]) if listed else 0,
            n=counts.get(v, 0),
        )
        for v, listed in found.items()
    }


def _with_clusters(rows: Any, samples: Mapping[str, Quantiles]) -> dict[str, Quantiles]:
    """Return the samples with what units, as clusters of their events, say of the share at or below the quantile."""
    import ibis

    limits = [(rows.variant == v, ibis.literal(s.estimate)) for v, s in samples.items() if s.estimate is not None]
    if not limits:
        return dict(samples)
    limit = ibis.cases(*limits, else_=ibis.null("float64"))
    at_or_below = (rows.value.cast("float64") <= limit).cast("int64")
    by_unit = (
        rows.mutate(below=at_or_below)
        .group_by("variant", "u")
        .aggregate(below=lambda t: t.below.sum().cast("int64"), events=lambda t: t.count())
    )
    sums = by_unit.group_by("variant").aggregate(
        n=by_unit.count(),
        b=by_unit.below.sum(),
        e=by_unit.events.sum(),
        bb=(by_unit.below * by_unit.below).sum(),
        be=(by_unit.below * by_unit.events).sum(),
        ee=(by_unit.events * by_unit.events).sum(),
    )
    found = dict(samples)
    for row in fetch(sums):
        b, e, bb, be, ee = (int(row[k]) for k in ("b", "e", "bb", "be", "ee"))
        moments = Moments.from_shifted_sums(("below", "events"), int(row["n"]), [0, 0], [b, e], [[bb, be], [be, ee]])
        sample = samples[row["variant"]]
        found[row["variant"]] = Quantiles.from_values(
            sample.values,
            _counts(sample),
            probability=sample.probability,
            below=sample.below,
            n=sample.n,
            clusters=moments,
        )
    return found


def _counts(sample: Quantiles) -> list[int]:
    before = [sample.below, *sample.up_to.tolist()[:-1]]
    return [up_to - earlier for up_to, earlier in zip(sample.up_to.tolist(), before, strict=True)]
