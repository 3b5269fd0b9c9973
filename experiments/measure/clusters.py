"""Units in clusters (stores, referrers): one row of sums per cluster, and clusters whose units were split.

A unit without a value of the attribute is a cluster of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.measure.cells import shifted
from experiments.measure.experiment import MeasuredExperiment
from experiments.measure.unit_rows import UnitRows
from experiments.sources.duck import fetch, fetch_one
from stats.clusters import ClusterSums

MAX_CLUSTERS = 100_000
"""That leave the engine, one row each."""


@dataclass(frozen=True)
class Clustering:
    """How the units of an experiment lie in clusters."""

    clusters: int
    """Units without one counted as one each."""
    mixed: int
    """Clusters with units in more than one variant."""
    mixed_units: int
    """Units in these."""
    alone: int
    """Units without a value of the attribute."""
    several: int = 0
    """Clusters with more than one unit: those that could have been split."""


def clustering(measured: MeasuredExperiment, attribute: str) -> Clustering:
    """Count the clusters by an attribute that was frozen at decision, and those that were split over variants."""
    return clusters_of(measured.rows, measured.units.levels[attribute])


def clusters_of(rows: UnitRows, column: str) -> Clustering:
    """Count the clusters by a column of the units, and those that were split over variants."""
    table = rows.table.select(variant=rows.table[rows.variant], level=rows.table[column])
    alone = int(fetch_one(table.level.isnull().sum()) or 0)
    named = table.filter(table.level.notnull())
    by_cluster = named.group_by("level").aggregate(n=named.count(), first=named.variant.min(), last=named.variant.max())
    mixed = by_cluster["first"] != by_cluster["last"]
    found = fetch(
        by_cluster.aggregate(
            clusters=by_cluster.count(),
            mixed=mixed.sum(),
            units=by_cluster.n.sum(where=mixed),
            several=(by_cluster.n > 1).sum(),
        )
    )[0]
    mixed_clusters, units, several = (int(found[name] or 0) for name in ("mixed", "units", "several"))
    return Clustering(int(found["clusters"]) + alone, mixed_clusters, units, alone, several)


def clusters_by_variant(rows: UnitRows, column: str) -> dict[str, int]:
    """Count the clusters of each variant; units without one count as one each."""
    table = rows.table.select(variant=rows.table[rows.variant], level=rows.table[column])
    grouped = table.group_by("variant").aggregate(named=table.level.nunique(), alone=table.level.isnull().sum())
    return {r["variant"]: int(r["named"]) + int(r["alone"] or 0) for r in fetch(grouped)}


def sums_by_cluster(measured: MeasuredExperiment, attribute: str, columns: tuple[str, ...]) -> ClusterSums:
    """Return the sums of a metric's columns over each cluster; units with a missing value are left out.

    Args:
        measured: the experiment; no more than `MAX_CLUSTERS` clusters.
        attribute: frozen at decision.
        columns: of the metric.
    """
    return cluster_sums(measured.rows, measured.units.levels[attribute], columns)


def cluster_sums(rows: UnitRows, column: str, columns: tuple[str, ...]) -> ClusterSums:
    """Return the sums of some columns over each cluster by ``column``; units with a missing value are left out."""
    table, scans = rows.table, rows.scans
    level = table[column]
    prepared = table.select(
        variant=table[rows.variant],
        cluster=level,
        own=table[rows.unit].cast("int64") * level.isnull().cast("int64"),
        **{f"x{i}": shifted(table[name], scans[name]) for i, name in enumerate(columns)},
    )
    holes = [prepared[f"x{i}"].notnull() for i, name in enumerate(columns) if scans[name].missing]
    if holes:
        prepared = prepared.filter(*holes)
    sums = {f"s{i}": prepared[f"x{i}"].sum().cast("string") for i in range(len(columns))}
    grouped = prepared.group_by("cluster", "own", "variant").aggregate(n=prepared.count(), **sums)
    found = fetch(grouped.order_by("variant", "cluster", "own"))
    place = {v: i for i, v in enumerate(rows.variants)}
    return ClusterSums.of(
        columns,
        [place[r["variant"]] for r in found],
        [r["n"] for r in found],
        [[_total(r, i, name, scans) for i, name in enumerate(columns)] for r in found],
    )


def _total(row: dict[str, Any], i: int, name: str, scans: Any) -> float:
    """Return a cluster's sum from its sum in steps from the pivot: one rounding where steps are whole."""
    scan, n = scans[name], int(row["n"])
    if not scan.is_exact:
        return float(scan.pivot) * n + float(row[f"s{i}"])
    return float(scan.origin * n + int(row[f"s{i}"]) * scan.step)
