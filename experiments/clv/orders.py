"""Orders from a file, one row an order, as whole days of units: what models of buying are fitted on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.errors import InputError
from experiments.sources.columns import read_columns
from experiments.sources.file import ROW, FileTable, open_file

ORIGIN = dt.date(1970, 1, 1)
MOST_VALUE = 1e12
DATE = (
    "CASE WHEN regexp_matches(trim(\"at\"), '^\\d{8}$') THEN try_strptime(trim(\"at\"), '%Y%m%d')::DATE "
    'ELSE try_cast(regexp_replace(regexp_extract(trim("at"), '
    "'^(\\d{4}[-/.年]\\d{1,2}[-/.月]\\d{1,2})(?:\\D|$)', 1), '[/.年月]', '-', 'g') AS DATE) END"
)
"""2026-03-01, 2026/3/1, 2026.3.1, 2026年3月1日 and 20260301, each with a time behind it or not."""


@dataclass(frozen=True, slots=True)
class OrderColumns:
    """Which columns of the file hold what.

    Attributes:
        unit: who ordered.
        at: when: a date, or a date and time of which the date as written counts.
        value: money of the order; ``None``: not known.
    """

    unit: str
    at: str
    value: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Orders:
    """Orders, one row a unit and day.

    Attributes:
        units: names, in order; ``unit`` is an index into them.
        unit: (rows,).
        day: (rows,) days since 1970-01-01.
        value: (rows,) money of the day, ``None`` when not known.
        rows: rows of the file that counted.
        left_out: reason → rows that did not.
    """

    units: list[str]
    unit: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64] | None
    rows: int
    left_out: dict[str, int]


def read_orders(path: str | Path, columns: OrderColumns, *, encoding: str | None = None) -> Orders:
    """Read a CSV or Parquet file of orders.

    Rows without a unit, without a time or (when values are asked for) without a value are left out and counted; so are
    rows of negative value: a refund is no visit.

    Raises:
        InputError: when the file or a column is missing, or a time or value cannot be read, with its row.
    """
    import duckdb

    with open_file(path, encoding=encoding) as file:
        numbers: tuple[str, ...] = () if columns.value is None else (file.require(columns.value),)
        texts = {"unit": file.require(columns.unit), "at": file.require(columns.at)}
        if {"unit", "at"} & set(numbers):  # the names that the two texts are given
            file = _renamed(file, numbers[0])
            numbers = (VALUE,)
        read_columns(file, texts, numbers, materialise=True)
        value = f'"{numbers[0]}"' if numbers else "NULL::DOUBLE"
        try:
            file.connection.raw_sql(
                f'CREATE OR REPLACE TEMP TABLE dated AS SELECT "{ROW}" AS n, "unit", "at", {DATE} AS day, '  # noqa: S608
                f"{value}::DOUBLE AS value FROM equipoise_rows"
            )
        except duckdb.Error as error:
            raise InputError(f"{file.path}: cannot be read: {error}") from error
        _refuse_bad_time(file, columns.at)
        if columns.value is not None:
            _refuse_absurd_value(file, columns.value)
        return _gathered(file, with_value=bool(numbers))


VALUE = "equipoise_value"


def _renamed(file: FileTable, name: str) -> FileTable:
    """Return the file with one more name for a column, where its own would be taken."""
    from dataclasses import replace

    table = file.table.mutate(**{VALUE: file.table[name]})
    return replace(file, table=table, columns=(*file.columns, VALUE), header=(*file.header, VALUE))


def _refuse_bad_time(file: FileTable, column: str) -> None:
    bad = file.connection.raw_sql(
        'SELECT n, "at" FROM dated WHERE day IS NULL AND trim("at") <> \'\' ORDER BY n LIMIT 1'
    ).fetchone()
    if bad is not None:
        raise InputError(
            f"{file.path}: row {bad[0] + 1}, column {column!r}: {bad[1][:40]!r} is not a date; write 2026-03-01"
        )


def _refuse_absurd_value(file: FileTable, column: str) -> None:
    found = file.connection.raw_sql(
        f"SELECT n, value FROM dated WHERE isfinite(value) AND value > {MOST_VALUE} ORDER BY n LIMIT 1"  # noqa: S608
    ).fetchone()
    if found is not None:
        raise InputError(
            f"{file.path}: row {found[0] + 1}, column {column!r}: {found[1]:g} is more than an order can be worth; "
            "correct it, or name the column with the money"
        )


def _gathered(file: FileTable, *, with_value: bool) -> Orders:
    """Count what is left out, and return the rest by unit and day."""
    missing = "value IS NULL OR NOT isfinite(value)" if with_value else "false"
    reason = (
        "CASE WHEN \"unit\" IS NULL THEN 'without a unit' WHEN day IS NULL THEN 'without a time' "
        f"WHEN {missing} THEN 'without a value' WHEN value < 0 THEN 'of negative value' END"
    )
    counted = file.connection.raw_sql(f"SELECT {reason} AS why, count(*) FROM dated GROUP BY 1 ORDER BY 1").fetchall()  # noqa: S608
    left_out = {why: int(rows) for why, rows in counted if why is not None}
    found: dict[str, Any] = file.connection.raw_sql(
        "SELECT unit AS unit, day - DATE '1970-01-01' AS day, sum(coalesce(value, 0)) AS value, "  # noqa: S608
        "(dense_rank() OVER (ORDER BY unit) - 1)::BIGINT AS place "
        f'FROM (SELECT "unit" AS unit, day, value FROM dated WHERE ({reason}) IS NULL) '
        "GROUP BY unit, day ORDER BY place, day"
    ).fetchnumpy()
    rows = sum(int(n) for why, n in counted if why is None)
    if not rows:
        raise InputError(f"{file.path}: no row has all that is needed: {_told(left_out) or 'the file has no rows'}")
    place = np.asarray(found["place"], dtype=np.int64)
    first = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    names = np.asarray(found["unit"], dtype=object)[first]
    return Orders(
        [str(name) for name in names],
        place,
        np.asarray(found["day"], dtype=np.int64),
        np.asarray(found["value"], dtype=np.float64) if with_value else None,
        rows,
        left_out,
    )


def _told(left_out: dict[str, int]) -> str:
    return ", ".join(f"{rows:,} rows {why}" for why, rows in left_out.items())
