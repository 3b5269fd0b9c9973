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
from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.scan import ColumnScan, scan_columns
from experiments.report.breakdowns import breakdown_of
from experiments.report.content import sealed
from experiments.report.document import Plan, Population, Report, Srm, Text, VariantInfo
from experiments.report.estimates import MetricSpec, measure_metric, scorecard
from experiments.report.words import file_methods, file_summary, file_warnings, unreadable_reason
from experiments.sources.columns import ROW, read_columns
from experiments.sources.duck import fetch, fetch_one, materialise
from experiments.sources.file import FileTable, open_file

MAX_VARIANTS = 20
MAX_LEVELS = 50


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
    if not 0 < options.alpha < 0.5:
        raise InputError(f"--alpha {options.alpha:g}: give a number between 0 and 0.5, such as 0.05")
    if not options.metrics and not options.ratios:
        raise InputError("nothing to measure: give at least one --metric COLUMN or --ratio NUMERATOR/DENOMINATOR")
    with open_file(path, encoding=options.encoding) as file:
        pairs = [_ratio_columns(file, text) for text in options.ratios]
        numbers = list(dict.fromkeys([*options.metrics, *(c for p in pairs for c in p), *options.covariates]))
        texts = list(dict.fromkeys([options.variant, *([options.unit] if options.unit else []), *options.breakdowns]))
        _check_roles(options, numbers, texts)
        table = read_columns(file, texts, numbers, materialise=options.unit is not None)
        units = _unit_rows(file, table, options)
        variants = _variants(file, options, units.counts)
        weights = _weights(options, variants)
        scans = scan_columns(units.table, numbers)
        _check_values(file, scans, options.covariates)
        rows, scans, covariates = _with_missing_indicators(units.table, scans, options.covariates)
        specs = _specs(options, pairs, scans, covariates)
        groups = [ColumnGroup(s.name, s.columns) for s in specs]
        segments: list[tuple[str, Cells]] = []
        levels: list[str | None] = [*options.breakdowns] or [None]
        for level in levels:
            if level is not None:
                _check_levels(file, rows, level)
            cells = compute_cells(rows, groups, scans, variant=options.variant, variants=variants, stratum=level)
            if level is not None:
                segments.append((level, cells))
    return _report(str(path), options, variants, weights, units, specs, cells, segments)


def _check_roles(options: AnalyzeOptions, numbers: Sequence[str], texts: Sequence[str]) -> None:
    both = [c for c in numbers if c in texts]
    if both:
        raise InputError(f"column {both[0]!r} is named as a number and as variant, unit or breakdown: name it once")
    for name in options.covariates:
        if name in options.metrics:
            raise InputError(
                f"column {name!r} is both a metric and a covariate; a covariate is measured before the test"
            )
    if options.unit is not None and options.unit in (options.variant, *options.breakdowns):
        raise InputError(f"column {options.unit!r} is named as unit and as variant or breakdown: name it once")


def _ratio_columns(file: FileTable, text: str) -> tuple[str, str]:
    parts = text.split("/")
    for cut in range(1, len(parts)):
        top, bottom = "/".join(parts[:cut]).strip(), "/".join(parts[cut:]).strip()
        if top in file.columns and bottom in file.columns:
            return top, bottom
    if len(parts) != 2 or not parts[0].strip() or not parts[1].strip():
        raise InputError(f"--ratio {text!r}: write NUMERATOR/DENOMINATOR, two columns of the file")
    return file.require(parts[0].strip()), file.require(parts[1].strip())


def _unit_rows(file: FileTable, table: Any, options: AnalyzeOptions) -> UnitRows:
    """Leave out rows without variant or unit, units in two variants, and repeats (the first row of a unit is kept)."""
    import ibis

    name = options.variant
    empty = fetch_one(table.filter(table[name].isnull()).count())
    known = table.filter(table[name].notnull()) if empty else table
    if options.unit is None:
        return UnitRows(known, _counts(known, name), no_variant=empty)
    unit = known[options.unit]
    nameless = fetch_one(known.filter(unit.isnull()).count())
    known = known.filter(unit.notnull())
    per_unit = known.group_by(options.unit).aggregate(
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
    return [options.control, *(v for v in found if v != options.control)]


def _weights(options: AnalyzeOptions, variants: Sequence[str]) -> dict[str, Fraction]:
    if options.split is None:
        return dict.fromkeys(variants, Fraction(1))
    weights: dict[str, Fraction] = {}
    for part in options.split.split(","):
        name, equals, weight = part.rpartition("=")
        name = name.strip()
        if not equals or not name:
            raise InputError(f'--split {options.split!r}: {part.strip()!r} is not VARIANT=WEIGHT; write "A=1,B=2"')
        if name not in variants:
            raise unknown_name("variant", name, variants, "to split to (--split)")
        if name in weights:
            raise InputError(f"--split {options.split!r}: variant {name!r} has two weights")
        try:
            weights[name] = Fraction(weight.strip())
        except (ValueError, ZeroDivisionError):
            raise InputError(
                f'--split: weight {weight.strip()!r} of {name!r} is not a number; write "A=1,B=2"'
            ) from None
        if weights[name] < 0:
            raise InputError(f"--split: weight {weight.strip()} of {name!r} is negative; weights are 0 or more")
    absent = [v for v in variants if v not in weights]
    if absent:
        raise InputError(
            f"--split {options.split!r} has no weight for {', '.join(map(repr, absent))}: name every variant"
        )
    if sum(w > 0 for w in weights.values()) < 2:
        raise InputError(f"--split {options.split!r}: at least two variants need a weight above 0")
    return {v: weights[v] for v in variants}


def _check_values(file: FileTable, scans: Mapping[str, ColumnScan], covariates: Sequence[str]) -> None:
    for scan in scans.values():
        if scan.infinite:
            raise InputError(f"{file.path}: column {scan.name!r} holds {scan.infinite:,} infinite values; remove them")
    for name in covariates:
        if not scans[name].values:
            raise InputError(f"{file.path}: covariate {name!r} has no values at all; leave it out")


def _check_levels(file: FileTable, rows: Any, column: str) -> None:
    levels = fetch_one(rows[column].nunique())
    if levels > MAX_LEVELS:
        raise InputError(
            f"{file.path}: breakdown column {column!r} has {levels:,} different values (at most {MAX_LEVELS}): "
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
        flag = f"{name} missing"
        column = table[name].nullif(float("nan")) if table[name].type().is_floating() else table[name]
        filled = column.fill_null(scan.minimum if column.type().is_floating() else int(scan.minimum or 0))
        table = table.mutate(**{name: filled, flag: column.isnull().cast("int64")})
        scans = {**scans, name: replace(scan, values=scan.rows), flag: _flag_scan(flag, scan.rows)}
        names.append(flag)
    return table, scans, tuple(names)


def _flag_scan(name: str, rows: int) -> ColumnScan:
    return ColumnScan(name, rows, rows, 0.0, 1.0, 0, 0.0)


def _specs(
    options: AnalyzeOptions,
    pairs: Sequence[tuple[str, str]],
    scans: Mapping[str, ColumnScan],
    covariates: tuple[str, ...],
) -> list[MetricSpec]:
    specs = []
    for name in dict.fromkeys(options.metrics):
        scan = scans[name]
        binary = scan.is_binary
        specs.append(
            MetricSpec(
                name=name,
                label=_both(name),
                kind="proportion" if binary else "mean",
                value=name,
                covariates=covariates,
                unit="share" if binary else "number",
                left_out={"missing": scan.missing} if scan.missing else {},
            )
        )
    for text, (top, bottom) in zip(options.ratios, pairs, strict=True):
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
