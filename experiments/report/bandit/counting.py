"""Counts of all decisions of a policy, computed where the log lies: by day, version, propensity, and who gets what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.measure.days import DAY_US, local_day
from experiments.report.bandit.logged import BINS, Drawn, Mix
from experiments.sources.duck import fetch
from experiments.sources.log import LogTables

SEGMENT_DAYS = 7
MOST_LEVELS = 6
MOST_ATTRIBUTES = 4
REST = "…"
"""Stands for the levels that are not shown."""
QUARTERS = ("1/4", "2/4", "3/4", "4/4")
"""Levels of a number: quarters of the decisions of these days, the lowest first."""


@dataclass(frozen=True)
class Asked:
    """Whose decisions are counted."""

    experiment: str
    unit_type: str
    now_us: int
    time_zone: str
    excluded: Sequence[str] = ()
    categorical: Sequence[str] = ()
    numeric: Sequence[str] = ()
    """Frozen attributes that are told apart: by level, or by quarter."""


def drawn_of(log: LogTables, asked: Asked) -> Drawn:
    """Count the decisions."""
    import ibis

    d = log.decisions
    d = d.filter(
        d.experiment == asked.experiment,
        d.unit_type == asked.unit_type,
        d["at"] <= asked.now_us,
        d.kind == "enrolled",
    )
    if asked.excluded:
        d = d.anti_join(log.listed(asked.excluded, "equipoise_bandit_excluded"), "unit")
    span = fetch(d.aggregate(first=d["at"].min(), last=d["at"].max()))[0]
    said = d.policy.notnull() & d.propensity.notnull()
    d = d.select(
        "unit",
        "at",
        "variant",
        "propensity",
        "frozen",
        day=local_day(d["at"], asked.time_zone, span["first"], span["last"]),
        said=said,
        uniform=d.policy.contains('"group":"uniform"').fill_null(False),
        version=ibis.coalesce(d.policy.re_extract('"version":([0-9]+)', 1).nullif("").cast("int64"), 0),
    )
    d = log.keep(d, "equipoise_bandit_decisions")
    by_day: dict[int, dict[str, int]] = {}
    starts: dict[int, int] = {}
    by_version: dict[int, int] = {}
    counted = d.group_by("day", "variant", "version", "uniform").aggregate(n=d.count())
    total = 0
    for row in fetch(counted.order_by("day", "variant", "version", "uniform")):
        n, day, version = int(row["n"]), int(row["day"]), int(row["version"])
        total += n
        if row["uniform"]:
            continue
        of_day = by_day.setdefault(day, {})
        of_day[row["variant"]] = of_day.get(row["variant"], 0) + n
        if version > 0:
            by_version[version] = by_version.get(version, 0) + n
            starts[version] = min(day, starts.get(version, day))
    units = {
        "uniform" if row["uniform"] else "policy": int(row["n"])
        for row in fetch(d.group_by("uniform").aggregate(n=d.unit.nunique()))
    }
    lost = d.filter(~d.said)
    drew = d.filter(d.propensity.notnull())
    bin_ = ibis.least((drew.propensity * BINS).floor().cast("int64"), ibis.literal(BINS - 1))
    bins = {int(row["bin"]): int(row["n"]) for row in fetch(drew.group_by(bin=bin_).aggregate(n=drew.count()))}
    lowest = fetch(drew.aggregate(low=drew.propensity.min()))[0]
    return Drawn(
        by_day=by_day,
        starts=starts,
        by_version=by_version,
        total=total,
        without_propensity=int(fetch(lost.aggregate(n=lost.count()))[0]["n"]),
        units=units,
        bins=tuple(bins.get(index, 0) for index in range(BINS)),
        lowest=None if lowest["low"] is None else float(lowest["low"]),
        segments=_segments(log, d, asked),
    )


def _segments(log: LogTables, decisions: Any, asked: Asked) -> tuple[Mix, ...]:
    """Return who got what in the last days, of the decisions that the policy drew."""
    recent = decisions.filter(~decisions.uniform, decisions["at"] > asked.now_us - SEGMENT_DAYS * DAY_US)
    shown: list[Mix] = []
    attributes = [*((name, False) for name in asked.categorical), *((name, True) for name in asked.numeric)]
    for name, numeric in attributes[:MOST_ATTRIBUTES]:
        level = _level(log, recent, name, numeric=numeric)
        found: dict[str, dict[str, int]] = {}
        for row in fetch(level.group_by("level", "variant").aggregate(n=level.count())):
            found.setdefault(row["level"] or "", {})[row["variant"]] = int(row["n"])
        shown += [Mix(name, key, counts) for key, counts in _largest(found, numeric=numeric)]
    return tuple(shown)


def _level(log: LogTables, recent: Any, name: str, *, numeric: bool) -> Any:
    import ibis

    from allocation.audience import json_columns

    column = "frozen" if log.dialect == "duckdb" else "CAST(frozen AS JSONB)"
    read = json_columns(log.dialect, column)
    # The name comes from our own resolver, which quotes it.
    text = f"SELECT variant, CAST({read(name, 'number' if numeric else 'any')} AS TEXT) AS level FROM equipoise_recent"  # noqa: S608
    found = recent.alias("equipoise_recent").sql(text)
    if not numeric:
        return found
    number = found.level.try_cast("float64")
    cuts = fetch(found.aggregate(a=number.quantile(0.25), b=number.quantile(0.5), c=number.quantile(0.75)))[0]
    if cuts["a"] is None:
        return found.mutate(level=ibis.null("string"))
    a, b, c = (float(cuts[key]) for key in "abc")
    quarter = ibis.cases(
        (number.isnull(), ibis.null("string")),
        (number <= a, QUARTERS[0]),
        (number <= b, QUARTERS[1]),
        (number <= c, QUARTERS[2]),
        else_=QUARTERS[3],
    )
    return found.mutate(level=quarter)


def _largest(found: Mapping[str, Mapping[str, int]], *, numeric: bool) -> list[tuple[str, dict[str, int]]]:
    """Return the levels with the most decisions, the others as one; quarters in their order."""
    if numeric:
        return [(key, dict(found[key])) for key in (*QUARTERS, "") if key in found]
    order = sorted(found, key=lambda key: (-sum(found[key].values()), key))
    shown = [(key, dict(found[key])) for key in order[:MOST_LEVELS]]
    rest: dict[str, int] = {}
    for key in order[MOST_LEVELS:]:
        for variant, n in found[key].items():
            rest[variant] = rest.get(variant, 0) + n
    return [*shown, (REST, rest)] if rest else shown
