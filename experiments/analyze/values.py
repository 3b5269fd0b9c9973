"""The numbers of a file before they are summed: can they be, and what stands for a covariate that is missing?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.errors import InputError
from experiments.measure.scan import ColumnScan, numeric
from experiments.sources.duck import fetch_one
from experiments.sources.file import FileTable
from experiments.sources.layout import unique_names

MAX_LEVELS = 50
LARGEST = 1e70
"""Fourth powers, which degrees of freedom need, stay within the range of doubles."""
LEAST_WIDTH = 2.0**-44
"""Of a column's range beside its values: doubles have 53 bits, and some are needed for the difference of two means."""


def check_values(file: FileTable, scans: Mapping[str, ColumnScan], covariates: Sequence[str]) -> None:
    """Refuse columns that cannot be summed.

    Raises:
        InputError: for infinite values, values that no doubles tell apart, and a covariate without any.
    """
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


def check_levels(file: FileTable, rows: Any, label: str, column: str) -> None:
    """Refuse a breakdown by a column that has no segments.

    Raises:
        InputError: for too many different values.
    """
    levels = fetch_one(rows[column].nunique())
    if levels > MAX_LEVELS:
        raise InputError(
            f"{file.path}: breakdown column {label!r} has {levels:,} different values (at most {MAX_LEVELS}): "
            "name a column with segments"
        )


def with_missing_indicators(
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
