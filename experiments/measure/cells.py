"""One Ibis expression that sums every metric of an experiment in one pass, and the moments made of its answer.

A cell belongs to a column group (a metric's columns and its covariates, complete rows only) × variant × stratum × day
of entry. All groups share the scan and every sum that they have in common. Sums are sums of whole numbers, and so exact
(they come back as text, because engines widen them beyond 64 bits): of decimals, or of a double's distance from the
column's pivot in steps of a power of two.
The variants are a GROUP BY: ``sum() FILTER (variant = k)`` costs 8.9 times as much (statistics guide, measured cost).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.measure.scan import ColumnScan, numeric
from experiments.sources.duck import fetch
from stats.moments import Moments

WIDE_SUM_BACKENDS = frozenset({"duckdb", "postgres"})
"""Engines whose sum of 64-bit integers cannot overflow."""
ROUNDING_BACKENDS = frozenset({"duckdb"})
"""Engines that round a double to a whole number when they cast it; their ROUND costs as much as six sums."""


@dataclass(frozen=True)
class ColumnGroup:
    """The columns that one metric needs together; a row counts when all of them have a value."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Cells:
    """The answer of the moments query, one array of moments for each column group.

    Leading shape of every ``Moments``: variants × strata × days. A cell without rows has n = 0.
    """

    variants: tuple[str, ...]
    strata: tuple[str, ...]
    days: tuple[int, ...]
    groups: dict[str, Moments]
    units: np.ndarray[Any, np.dtype[np.int64]]
    """Rows, complete or not: variants × strata × days."""
    totals: dict[str, Moments]
    """Each group's moments by variant: the engine's sums added up before they are divided, so that whole numbers give
    the same double however the rows were cut into cells."""

    def by_stratum(self, group: str) -> Moments:
        """Return variants × strata, days merged."""
        return self.groups[group].sum(axis=2)

    def by_day(self, group: str) -> Moments:
        """Return variants × days, strata merged."""
        return self.groups[group].sum(axis=1)


def moments_expression(
    table: Any,
    groups: Sequence[ColumnGroup],
    scans: Mapping[str, ColumnScan],
    *,
    variant: str,
    stratum: str | None = None,
    day: str | None = None,
) -> Any:
    """Build the expression; it runs unchanged on every engine that Ibis knows.

    Args:
        table: Ibis table, one row per unit.
        groups: what is summed together.
        scans: the pre-scan of every column in ``groups``.
        variant: column with the variant.
        stratum: column with the stratum, if any.
        day: column with the day of entry (whole number), if any.
    """
    position = _positions(groups)
    keys = {"variant": table[variant]}
    if stratum is not None:
        keys["stratum"] = table[stratum]
    if day is not None:
        keys["day"] = table[day].cast("int64")
    prepared = table.select(**keys, **{f"x{i}": shifted(table[name], scans[name]) for name, i in position.items()})
    wide = prepared.get_backend().name in WIDE_SUM_BACKENDS
    sums: dict[str, Any] = {"units": prepared.count()}
    for group in groups:
        holes = _holes(group, scans)
        if holes:
            sums.setdefault(_name("n", holes, position), _where(prepared, holes, position, 1).sum())
        for i, one in enumerate(group.columns):
            s1 = _where(prepared, holes - {one}, position, prepared[f"x{position[one]}"])
            sums.setdefault(_name("s", holes, position, one), _total(s1, exact=scans[one].is_exact, wide=wide))
            for two in group.columns[i:]:
                exact = scans[one].is_exact and scans[two].is_exact
                factors = [prepared[f"x{position[c]}"] for c in (one, two)]
                if exact and (scans[one].bits is not None or scans[two].bits is not None):
                    factors = [x.cast("decimal(38, 0)") for x in factors]  # 2 × 52 bits are more than 64
                product = factors[0] * factors[1]
                sums.setdefault(
                    _name("p", holes, position, *sorted((one, two))),
                    _total(_where(prepared, holes - {one, two}, position, product), exact=exact, wide=wide),
                )
    summed = prepared.group_by(list(keys)).aggregate(**sums)
    # Texts are made of a handful of cells, not of every row.
    return summed.mutate(**{key: summed[key].cast("string") for key in keys if key != "day"})


def shifted(column: Any, scan: ColumnScan) -> Any:
    """Return a column as what is summed: cut at its threshold, from its pivot on, in its steps."""
    import ibis

    value = numeric(column) if scan.missing or column.type().is_boolean() else column
    if scan.upper is not None:
        upper = scan.upper if scan.minor is None else round(scan.upper * 10**scan.minor)
        # A column of whole numbers that is cut at a double becomes doubles, whatever its type says.
        value = value.clip(upper=int(upper) if value.type().is_integer() and float(upper).is_integer() else upper)
    if scan.decimals is None:
        if value.type().is_integer() and not scan.minor:
            # Beyond 2^53 a double cannot hold the number, but it holds its distance from the least one.
            least = ibis.literal(int(scan.pivot), "decimal(38, 0)")
            value = (value.cast("decimal(38, 0)") - least).cast("float64")
        else:
            value = value.cast("float64")
            if scan.minor:
                value = value / float(10**scan.minor)
            value = value - scan.pivot if scan.pivot else value
        return value if scan.bits is None else (value * 2.0**scan.bits).round().cast("int64")
    if scan.decimals > 0 and scan.minor is None:
        value = value * 10**scan.decimals
        value = value if column.get_backend().name in ROUNDING_BACKENDS else value.round()
    value = value.cast("int64")
    return value - int(scan.pivot) if scan.pivot else value


def _holes(group: ColumnGroup, scans: Mapping[str, ColumnScan]) -> frozenset[str]:
    return frozenset(c for c in group.columns if scans[c].missing)


def _where(prepared: Any, present: Iterable[str], position: Mapping[str, int], value: Any) -> Any:
    import ibis

    conditions = [prepared[f"x{position[c]}"].notnull() for c in sorted(present)]
    if not conditions:
        return value
    return ibis.ifelse(ibis.and_(*conditions), value, ibis.null())


def _total(value: Any, *, exact: bool, wide: bool) -> Any:
    if not exact:
        return value.cast("float64").sum()
    return (value if wide else value.cast("decimal(38, 0)")).sum().cast("string")


def _name(kind: str, holes: frozenset[str], position: Mapping[str, int], *columns: str) -> str:
    mask = "_".join(str(position[c]) for c in sorted(holes))
    return f"{kind}{'_'.join(str(position[c]) for c in columns)}__{mask}"


def compute_cells(
    table: Any,
    groups: Sequence[ColumnGroup],
    scans: Mapping[str, ColumnScan],
    *,
    variant: str,
    variants: Sequence[str],
    stratum: str | None = None,
    day: str | None = None,
) -> Cells:
    """Run the moments query and turn its sums into moments.

    Args:
        table: Ibis table, one row per unit.
        groups: what is summed together.
        scans: the pre-scan of every column in ``groups``.
        variant: column with the variant.
        variants: order of the variants in the result; the table holds no others.
        stratum: column with the stratum, if any.
        day: column with the day of entry, if any.
    """
    expression = moments_expression(table, groups, scans, variant=variant, stratum=stratum, day=day)
    rows = fetch(expression)
    strata = tuple(sorted({_level(r, "stratum") for r in rows})) or ("",)
    days = tuple(sorted({int(r.get("day") or 0) for r in rows})) or (0,)
    rows.sort(key=lambda r: (_level(r, "stratum"), int(r.get("day") or 0)))
    shape = (len(variants), len(strata), len(days))
    first = {v: i for i, v in enumerate(variants)}
    second = {s: j for j, s in enumerate(strata)}
    third = {d: k for k, d in enumerate(days)}
    places = [(first[r["variant"]], second[_level(r, "stratum")], third[int(r.get("day") or 0)]) for r in rows]
    units = np.zeros(shape, dtype=np.int64)
    for row, place in zip(rows, places, strict=True):
        units[place] += row["units"]  # a level may say "(missing)" itself
    position = _positions(groups)
    return Cells(
        variants=tuple(variants),
        strata=strata,
        days=days,
        groups={g.name: _moments(g, rows, places, shape, scans, position) for g in groups},
        totals={g.name: _moments(g, rows, [p[:1] for p in places], shape[:1], scans, position) for g in groups},
        units=units,
    )


MISSING_LEVEL = "(missing)"


def _level(row: Mapping[str, Any], key: str) -> str:
    if key not in row:
        return ""
    return MISSING_LEVEL if row[key] is None else str(row[key])


def _positions(groups: Sequence[ColumnGroup]) -> dict[str, int]:
    return {name: i for i, name in enumerate(sorted({c for g in groups for c in g.columns}))}


def _moments(
    group: ColumnGroup,
    rows: Sequence[Mapping[str, Any]],
    places: Sequence[tuple[int, ...]],
    shape: tuple[int, ...],
    scans: Mapping[str, ColumnScan],
    position: Mapping[str, int],
) -> Moments:
    k = len(group.columns)
    holes = _holes(group, scans)
    count = _name("n", holes, position) if holes else "units"
    ones = [_name("s", holes, position, c) for c in group.columns]
    pairs = {
        (i, j): _name("p", holes, position, *sorted((group.columns[i], group.columns[j])))
        for i in range(k)
        for j in range(i, k)
    }
    exact = [scans[c].is_exact for c in group.columns]
    n = np.zeros(shape, dtype=np.int64)
    sums: dict[tuple[tuple[int, ...], str], float] = {}
    for row, place in zip(rows, places, strict=True):
        if not row[count]:
            continue
        n[place] += int(row[count])
        for i, name in enumerate(ones):
            sums[place, name] = sums.get((place, name), 0) + _number(row[name], exact[i])
        for (i, j), name in pairs.items():
            # Two pairs never share a name, so each is added once.
            sums[place, name] = sums.get((place, name), 0) + _number(row[name], exact[i] and exact[j])
    mean = np.zeros((*shape, k))
    m2 = np.zeros((*shape, k, k))
    for place in sorted({p for p in places if n[p]}):
        size = int(n[place])
        firsts = [sums[place, name] for name in ones]
        for i, one in enumerate(group.columns):
            mean[place][i] = _mean(firsts[i], size, scans[one])
        for (i, j), name in pairs.items():
            x, y = scans[group.columns[i]], scans[group.columns[j]]
            m2[place][i, j] = m2[place][j, i] = _centred(sums[place, name], firsts[i], firsts[j], size, x, y)
    pivot = np.array([float(scans[c].origin) for c in group.columns])
    return Moments(columns=group.columns, n=n, pivot=pivot, mean=mean, m2=m2)


def _number(value: Any, exact: bool) -> float:
    return int(value) if exact else float(value)  # exact: a Python int of any size


def _mean(total: float, n: int, scan: ColumnScan) -> float:
    if not scan.is_exact:
        return scan.pivot + total / n
    # One rounding of an exact quotient: the mean is the double nearest to the truth.
    return float(scan.origin + int(total) * scan.step / n)


def _centred(second: float, first_x: float, first_y: float, n: int, x: ColumnScan, y: ColumnScan) -> float:
    if isinstance(second, int):
        top: int = n * second - int(first_x) * int(first_y)
        return float(top * x.step * y.step / n)
    step_x, step_y = float(x.step), float(y.step)
    centred = second * step_x * step_y - (first_x * step_x) * (first_y * step_y) / n
    return max(centred, 0.0) if x.name == y.name else centred
