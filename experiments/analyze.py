"""Analyse a finished experiment from a file with one row per unit: no server, no set-up.

The file path and the log path share everything from the moments query on: `experiments.measure.cells`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import InputError, unknown_name
from experiments.intended import split_weights
from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.scan import ColumnScan, numeric, scan_columns
from experiments.report.breakdowns import breakdown_of
from experiments.report.content import sealed
from experiments.report.document import Plan, Population, Report, Srm, Text, VariantInfo
from experiments.report.estimates import MetricSpec, measure_metric, scorecard
from experiments.report.words import file_methods, file_summary, file_warnings, unreadable_reason
from experiments.sources.columns import ratio_columns, read_columns
from experiments.sources.duck import fetch, fetch_one, materialise
from experiments.sources.file import ROW, FileTable, first_line, open_file
from experiments.sources.layout import unique_names

MAX_VARIANTS = 20
MAX_LEVELS = 50
LEAST_ALPHA = 0.000001
"""Beyond it the tails of the normal distribution say nothing about real data."""
LARGEST = 1e70
"""Fourth powers, which degrees of freedom need, stay within the range of doubles."""
LEAST_WIDTH = 2.0**-44
"""Of a column's range beside its values: doubles have 53 bits, and some are needed for the difference of two means."""


@dataclass(frozen=True)
class AnalyzeOptions:
    """What to analyse in a file."""

    variant: str
    """Column with the variant."""
    control: str
    """The variant that the others are compared with."""
    metrics: Sequence[str] = ()
    """Columns with one number per unit; an empty cell is a missing value."""
    ratios: Sequence[str] = ()
    """``NUM/DEN``: sum of one column over sum of another."""
    covariates: Sequence[str] = ()
    """Columns measured before the experiment; they sharpen every metric (CUPED)."""
    unit: str | None = None
    """Column with the unit's id, to find repeated units and units in two variants."""
    split: str | None = None
    """Intended weights, ``"A=1,B=2"``; equal by default."""
    breakdowns: Sequence[str] = ()
    """Columns with segments."""
    alpha: float = 0.05
    encoding: str | None = None


@dataclass(frozen=True)
class UnitRows:
    """The rows that are analysed, one per unit, and what was left out."""

    table: Any
    counts: dict[str, int]
    """Units by variant."""
    contaminated: int = 0
    duplicates: int = 0
    no_variant: int = 0
    no_unit: int = 0


def analyze_file(path: str | Path, options: AnalyzeOptions) -> Report:
    """Analyse one file.

    Args:
        path: CSV (plain or gzip; UTF-8 or GB18030) or Parquet.
        options: what to analyse.

    Raises:
        InputError: when the file or an option cannot be used, in one line.
    """
    if not LEAST_ALPHA <= options.alpha < 0.5:
        raise InputError(f"--alpha {options.alpha:g}: give a number from {LEAST_ALPHA:f} to 0.5, such as 0.05")
    if not options.metrics and not options.ratios:
        raise InputError("nothing to measure: give at least one --metric COLUMN or --ratio NUMERATOR/DENOMINATOR")
    import duckdb

    with open_file(path, encoding=options.encoding) as file:
        try:
            return _analyze(file, options)
        except duckdb.Error as error:
            raise InputError(f"{path}: cannot be read: {first_line(error)}") from error


def _analyze(file: FileTable, options: AnalyzeOptions) -> Report:
    columns = _columns(file, options)
    table = read_columns(file, columns.texts, columns.numbers, materialise=options.unit is not None)
    units = _unit_rows(file, table, columns)
    if file.table[columns.variant].type().is_boolean():
        # True and true are the same where the file says so by its type.
        options = replace(options, control=options.control.lower(), split=options.split and options.split.lower())
    variants = _variants(file, options, units.counts)
    weights = split_weights(options.split, variants)
    scans = scan_columns(units.table, columns.numbers)
    _check_values(file, scans, columns.covariates)
    rows, scans, covariates = _with_missing_indicators(units.table, scans, columns.covariates)
    specs = _specs(columns, scans, covariates)
    groups = [ColumnGroup(s.name, s.columns) for s in specs]
    segments: list[tuple[str, Cells]] = []
    for label, column in columns.breakdowns.items():
        _check_levels(file, rows, label, column)
        cells = compute_cells(rows, groups, scans, variant=columns.variant, variants=variants, stratum=column)
        segments.append((label, cells))
    if not segments:
        cells = compute_cells(rows, groups, scans, variant=columns.variant, variants=variants)
    return _report(file.path, options, variants, weights, units, specs, cells, segments)


@dataclass(frozen=True)
class _Columns:
    """The columns that the options name, by the names that they have in the engine."""

    variant: str
    unit: str | None
    metrics: dict[str, str]
    """Name in the file → column; so too below."""
    ratios: dict[str, tuple[str, str]]
    covariates: tuple[str, ...]
    breakdowns: dict[str, str]
    texts: dict[str, str]
    """Name in the table of rows → column."""

    @property
    def numbers(self) -> list[str]:
        pairs = (column for pair in self.ratios.values() for column in pair)
        return list(dict.fromkeys([*self.metrics.values(), *pairs, *self.covariates]))


def _columns(file: FileTable, options: AnalyzeOptions) -> _Columns:
    variant = file.require(options.variant)
    unit = None if options.unit is None else file.require(options.unit)
    metrics = {name: file.require(name) for name in options.metrics}
    ratios: dict[str, tuple[str, str]] = {}
    for text in options.ratios:
        pair = ratio_columns(file, text)
        if pair not in ratios.values():
            ratios[text] = pair
    covariates = tuple(dict.fromkeys(file.require(name) for name in options.covariates))
    levels = {name: file.require(name) for name in options.breakdowns}
    names = dict(zip(file.columns, file.header, strict=True))
    outcomes = [*metrics.values(), *(column for pair in ratios.values() for column in pair)]
    for column in outcomes:
        if column in (variant, unit, *levels.values()):
            raise InputError(
                f"column {names[column]!r} is named as a number and as variant, unit or breakdown: name it once"
            )
    for column in covariates:
        if column in outcomes:
            raise InputError(
                f"column {names[column]!r} is both a metric and a covariate; a covariate is measured before the test"
            )
        if column in (variant, unit):
            raise InputError(f"column {names[column]!r} is named as covariate and as variant or unit: name it once")
    if unit is not None and unit in (variant, *levels.values()):
        raise InputError(f"column {names[unit]!r} is named as unit and as variant or breakdown: name it once")
    if variant in levels.values():
        raise InputError(f"column {names[variant]!r} is named as variant and as breakdown: name it once")
    for text in ratios:
        if text in metrics:
            raise InputError(f"{text!r} is a --metric and a --ratio: name it once")
    texts = {name: name for name in (variant, unit, *levels.values()) if name is not None and name not in covariates}
    # A column may be covariate and breakdown: it is read twice then, as a number and as text.
    free = {
        column: alias
        for column, alias in zip(file.columns, unique_names(file.columns, (*file.columns, ROW)), strict=True)
        if column in covariates
    }
    texts |= {free[column]: column for column in levels.values() if column in free}
    breakdowns = {name: free.get(column, column) for name, column in levels.items()}
    return _Columns(variant, unit, metrics, ratios, covariates, breakdowns, texts)


def _unit_rows(file: FileTable, table: Any, columns: _Columns) -> UnitRows:
    """Leave out rows without variant or unit, units in two variants, and repeats (the first row of a unit is kept)."""
    import ibis

    name = columns.variant
    empty = fetch_one(table.filter(table[name].isnull()).count())
    known = table.filter(table[name].notnull()) if empty else table
    if columns.unit is None:
        return UnitRows(known, _counts(known, name), no_variant=empty)
    unit = known[columns.unit]
    nameless = fetch_one(known.filter(unit.isnull()).count())
    known = known.filter(unit.notnull())
    per_unit = known.group_by(columns.unit).aggregate(
        equipoise_first=known[ROW].min(),
        equipoise_mixed=known[name].min() != known[name].max(),
        equipoise_rows=known.count(),
    )
    per_unit = materialise(file.connection, per_unit, "equipoise_units")
    tally = per_unit.aggregate(
        mixed=per_unit.equipoise_mixed.sum(),
        repeats=ibis.ifelse(per_unit.equipoise_mixed, 0, per_unit.equipoise_rows - 1).sum(),
    )
    found = fetch(tally)[0]
    if found["mixed"] or found["repeats"]:
        firsts = per_unit.filter(~per_unit.equipoise_mixed).select("equipoise_first")
        known = known.semi_join(firsts, known[ROW] == firsts.equipoise_first)
    return UnitRows(
        known, _counts(known, name), int(found["mixed"] or 0), int(found["repeats"] or 0), int(empty), int(nameless)
    )


def _counts(table: Any, variant: str) -> dict[str, int]:
    counted = fetch(table.group_by(variant).aggregate(n=table.count()))
    return {str(row[variant]): int(row["n"]) for row in sorted(counted, key=lambda r: str(r[variant]))}


def _variants(file: FileTable, options: AnalyzeOptions, counts: Mapping[str, int]) -> list[str]:
    found = sorted(counts)
    if not found:
        raise InputError(f"{file.path}: no rows with a variant in column {options.variant!r}")
    if len(found) > MAX_VARIANTS:
        raise InputError(
            f"{file.path}: column {options.variant!r} has {len(found):,} different values (at most {MAX_VARIANTS}): "
            "is it the variant column?"
        )
    if len(found) == 1:
        raise InputError(
            f"{file.path}: only one variant, {found[0]!r}, in column {options.variant!r}: nothing to compare it with"
        )
    if options.control not in counts:
        raise unknown_name("variant", options.control, found, f"in column {options.variant!r} of {file.path}")
    return [str(options.control), *(v for v in found if v != options.control)]


def _check_values(file: FileTable, scans: Mapping[str, ColumnScan], covariates: Sequence[str]) -> None:
    for scan in scans.values():
        if scan.infinite:
            raise InputError(f"{file.path}: column {scan.name!r} holds {scan.infinite:,} infinite values; remove them")
        if scan.minimum is None or scan.maximum is None:
            continue
        size = max(abs(scan.minimum), abs(scan.maximum))
        where = f"{file.path}: column {scan.name!r} goes from {scan.minimum:g} to {scan.maximum:g}"
        if size > LARGEST or 0 < scan.width < 1 / LARGEST:
            raise InputError(f"{where}, of which no squares can be computed: use another unit of measurement")
        if 0 < scan.width < size * LEAST_WIDTH:
            raise InputError(
                f"{where} and varies by {scan.width:g}, too little beside its size to tell means apart: "
                "subtract a constant, or is it an id?"
            )
    for name in covariates:
        if not scans[name].values:
            raise InputError(f"{file.path}: covariate {name!r} has no values at all; leave it out")


def _check_levels(file: FileTable, rows: Any, label: str, column: str) -> None:
    levels = fetch_one(rows[column].nunique())
    if levels > MAX_LEVELS:
        raise InputError(
            f"{file.path}: breakdown column {label!r} has {levels:,} different values (at most {MAX_LEVELS}): "
            "name a column with segments"
        )


def _with_missing_indicators(
    table: Any, scans: dict[str, ColumnScan], covariates: Sequence[str]
) -> tuple[Any, dict[str, ColumnScan], tuple[str, ...]]:
    """Keep units without a covariate: its gaps are filled with one value, and an indicator column says which they are.

    With the indicator beside it the filled value does not matter: the indicator's coefficient takes it up.
    """
    names: list[str] = []
    for name in covariates:
        scan = scans[name]
        names.append(name)
        if not scan.missing or not scan.values:
            continue
        (flag,) = unique_names([f"{name} missing"], table.columns)
        column = numeric(table[name])
        filled = column.fill_null(scan.minimum if column.type().is_floating() else int(scan.minimum or 0))
        table = table.mutate(**{name: filled, flag: column.isnull().cast("int64")})
        scans = {**scans, name: replace(scan, values=scan.rows), flag: _flag_scan(flag, scan.rows)}
        names.append(flag)
    return table, scans, tuple(names)


def _flag_scan(name: str, rows: int) -> ColumnScan:
    return ColumnScan(name, rows, rows, 0.0, 1.0, 0, 0.0)


def _specs(columns: _Columns, scans: Mapping[str, ColumnScan], covariates: tuple[str, ...]) -> list[MetricSpec]:
    specs = []
    for name, column in columns.metrics.items():
        scan = scans[column]
        binary = scan.is_binary
        specs.append(
            MetricSpec(
                name=name,
                label=_both(name),
                kind="proportion" if binary else "mean",
                value=column,
                covariates=covariates,
                unit="share" if binary else "number",
                left_out={"missing": scan.missing} if scan.missing else {},
            )
        )
    for text, (top, bottom) in columns.ratios.items():
        missing = max(scans[top].missing, scans[bottom].missing)
        specs.append(
            MetricSpec(
                name=text,
                label=_both(text),
                kind="ratio",
                value=top,
                denominator=bottom,
                covariates=covariates,
                left_out={"missing": missing} if missing else {},
            )
        )
    return specs


def _both(text: str) -> Text:
    return {"en": text, "zh-CN": text}


def _report(
    path: str,
    options: AnalyzeOptions,
    variants: Sequence[str],
    weights: Mapping[str, Fraction],
    units: UnitRows,
    specs: Sequence[MetricSpec],
    cells: Cells,
    segments: Sequence[tuple[str, Cells]],
) -> Report:
    from experiments.report.quality import split_check
    from experiments.report.software import software

    srm = split_check({v: units.counts[v] for v in variants}, {v: float(w) for v, w in weights.items()})
    why = unreadable_reason(srm)
    specs = [_with_left_out(s, cells) for s in specs]
    measured = [measure_metric(s, cells.totals[s.name], 0) for s in specs]
    metrics = scorecard(measured, variants, options.alpha, unreadable=why)
    total = sum(weights.values())
    plan = Plan(
        title=_both(f"{Path(path).name}: {options.variant}"),
        source=Path(path).name,
        unit_type="unit" if options.unit else "row",
        alpha=options.alpha,
        control=options.control,
        variants=[
            VariantInfo(key=v, name=_both(v), weight=float(weights[v] / total), is_control=v == options.control)
            for v in variants
        ],
    )
    left_out = {
        "contaminated": units.contaminated,
        "duplicate": units.duplicates,
        "no_variant": units.no_variant,
        "no_unit": units.no_unit,
    }
    analysed = sum(units.counts.values())
    report = Report(
        plan=plan,
        srm=srm,
        contaminated=units.contaminated,
        duplicates=units.duplicates,
        population=Population(
            kind="assigned",
            assigned=analysed + units.contaminated,
            exposed=None,
            analysed=analysed,
            left_out={k: n for k, n in left_out.items() if n},
            immature=0,
        ),
        checks=_checks(srm, units, analysed),
        metrics=metrics,
        verdict=None,
        summary=file_summary(metrics, srm, plan),
        breakdowns=[breakdown_of(s, c, level, options.alpha) for level, c in segments for s in specs],
        warnings=file_warnings(metrics, units.no_variant, units.no_unit),
        methods=file_methods(metrics, options.alpha, bool(options.breakdowns)),
        software=software(),
        moments=[{"group": s.name, "variants": list(variants), **cells.totals[s.name].to_dict()} for s in specs],
    )
    return sealed(report)


def _with_left_out(spec: MetricSpec, cells: Cells) -> MetricSpec:
    missing = int(np.sum(cells.units)) - int(np.sum(cells.totals[spec.name].n))
    return replace(spec, left_out={"missing": missing} if missing else {})


def _checks(srm: Srm, units: UnitRows, analysed: int) -> list[Any]:
    from experiments.report.quality import contaminated_check, srm_check

    checks = [srm_check(srm)]
    if units.contaminated or units.duplicates:
        checks.append(contaminated_check(units.contaminated, units.duplicates, analysed))
    return checks
