"""The pre-scan: per column, how many values, which range, how many decimals, and from where to count.

Its answers make the moments query exact, so that neither the order of the rows nor the number of threads changes a
digit: whole numbers and decimals are summed as integers, other doubles too, as their distance from the column's least
value in steps of a power of two (some 10⁻¹⁵ of the column's range; design: Measuring; Chan, Golub & LeVeque 1983 on
shifted sums).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from experiments.sources.duck import fetch

MAX_DECIMALS = 4
DECIMALS = (0, 2, 4)
SAMPLE = 1000
"""First rows, which say how many decimals are worth a look."""
EXACT_RANGE = 1 << 31
"""Products of two columns stay below 2^62, inside a 64-bit integer."""
MOST_BITS = 52
"""Of a double's distance from the pivot."""
SUM_BITS = 126
"""A sum of products stays below 2^126 < 10^38, what a DECIMAL(38, 0) holds."""


@dataclass(frozen=True)
class ColumnScan:
    """What the pre-scan found in one numeric column."""

    name: str
    rows: int
    values: int
    """Rows with a value; the rest are missing (NULL or NaN)."""
    minimum: float | None
    maximum: float | None
    decimals: int | None
    """Decimal places with which every value is exact (0 for whole numbers); ``None``: see ``bits``."""
    pivot: float
    """Value that is subtracted before summing; in units of the last decimal where ``decimals`` is given."""
    infinite: int = 0
    upper: float | None = None
    """Winsorising threshold: larger values count as this one."""
    minor: int | None = None
    """Decimals of the currency, for a column of whole minor units; every figure here but ``pivot`` is in major ones."""
    width: float = 0.0
    """Largest less least value, exactly where the two are too large for doubles."""
    bits: int | None = None
    """Values without exact decimals are summed in steps of 2^−bits; ``None`` beside no decimals: as doubles."""

    @property
    def is_exact(self) -> bool:
        """Whether sums are sums of whole numbers."""
        return self.decimals is not None or self.bits is not None

    @property
    def step(self) -> Fraction:
        """What a summed whole number counts."""
        return Fraction(1, 10 ** (self.decimals or 0)) if self.bits is None else Fraction(2) ** -self.bits

    @property
    def origin(self) -> Fraction:
        """The pivot as a value."""
        return Fraction(self.pivot) * (self.step if self.bits is None else 1)

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self.rows - self.values

    @property
    def is_binary(self) -> bool:
        """Whether all values are 0 or 1."""
        return self.decimals == 0 and self.minimum is not None and self.minimum >= 0 and (self.maximum or 0) <= 1


def numeric(column: Any) -> Any:
    """Return an Ibis column as a number: booleans as 0/1, NaN as missing."""
    import ibis

    if column.type().is_boolean():
        return column.cast("int64")
    if column.type().is_floating():
        return ibis.ifelse(column.isnan(), ibis.null("float64"), column.cast("float64"))
    return column


def scan_columns(
    table: Any,
    columns: Sequence[str],
    *,
    winsorise: Mapping[str, float] | None = None,
    minor: Mapping[str, int] | None = None,
) -> dict[str, ColumnScan]:
    """Scan ``columns`` of an Ibis table, all in one query.

    Args:
        table: Ibis table with numeric or boolean columns.
        columns: names of the columns.
        winsorise: column → quantile (0.995); its value over all rows, arms pooled, becomes ``upper``. For whole
            numbers the threshold is rounded down to a whole number.
        minor: column of whole minor units → the currency's decimals; its moments come out in major units.
    """
    exponents = dict(minor or {})
    quantiles = dict(winsorise or {})
    found: dict[str, Any] = {}
    if _is_stored(table):
        found = _from_metadata(table, columns)
    whole = [i for i in range(len(columns)) if f"n{i}" not in found]
    prepared = table.select(**{f"c{i}": numeric(table[name]) for i, name in enumerate(columns)})
    wanted: dict[str, Any] = {} if "rows" in found else {"rows": prepared.count()}
    for i, name in enumerate(columns):
        column = prepared[f"c{i}"]
        if i in whole:
            wanted |= {
                f"n{i}": column.count(),
                f"lo{i}": column.min().cast("float64") if column.type().is_floating() else column.min(),
                f"hi{i}": column.max().cast("float64") if column.type().is_floating() else column.max(),
            }
            if column.type().is_floating():
                wanted |= {f"inf{i}": column.isinf().sum()}
                wanted |= {f"d{i}_{d}": _has_decimals(column, d).all() for d in DECIMALS}
        if name in quantiles:
            wanted[f"q{i}"] = column.quantile(quantiles[name]).cast("float64")
    if wanted:
        found |= fetch(prepared.aggregate(**wanted))[0]
    return {
        name: _scan_of(name, i, found, prepared[f"c{i}"].type(), exponents.get(name)) for i, name in enumerate(columns)
    }


def _is_stored(table: Any) -> bool:
    """Return whether this is a table of DuckDB's own: behind a view of a file every query is another reading."""
    import ibis.expr.operations as ops

    backend, operation = table.get_backend(), table.op()
    if backend.name != "duckdb" or not isinstance(operation, ops.DatabaseTable):
        return False
    # A query with a parameter makes DuckDB load pandas: two seconds, and 100 MB.
    stored = backend.con.execute("SELECT table_name FROM duckdb_tables()")
    return (operation.name,) in stored.fetchall()


def _from_metadata(table: Any, columns: Sequence[str]) -> dict[str, Any]:
    """Return what DuckDB knows of its columns without reading them: rows, values, range; then how many decimals.

    A query of nothing but counts and extremes is answered from the table's statistics in a millisecond. Columns with
    NaN (the greatest of all doubles there) or infinity are left to the whole scan.
    """
    plain = [i for i, name in enumerate(columns) if not table[name].type().is_boolean()]
    wanted: dict[str, Any] = {"rows": table.count()}
    for i in plain:
        column = table[columns[i]]
        wanted |= {f"n{i}": column.count(), f"lo{i}": column.min(), f"hi{i}": column.max()}
    found = fetch(table.aggregate(**wanted))[0]
    doubles = [i for i in plain if table[columns[i]].type().is_floating()]
    for i in doubles:
        ends = [found[f"lo{i}"], found[f"hi{i}"]]
        if any(end is not None and not math.isfinite(end) for end in ends):
            for key in ("n", "lo", "hi"):
                del found[f"{key}{i}"]
        else:
            found[f"inf{i}"] = 0
    doubles = [i for i in doubles if f"n{i}" in found]
    found |= {f"d{i}_{d}": False for i in doubles for d in DECIMALS}
    if doubles:
        found |= _decimals_of(table, {i: columns[i] for i in doubles}, found)
    return found


def _decimals_of(table: Any, doubles: Mapping[int, str], found: Mapping[str, Any]) -> dict[str, Any]:
    """Find the fewest decimals of each column; the first rows say which ones are worth a scan."""
    sample = fetch(table.select(**{f"c{i}": table[name] for i, name in doubles.items()}).limit(SAMPLE))
    answers: dict[str, Any] = {}
    open_questions = {
        i: [
            d
            for d in DECIMALS
            if max(abs(found[f"lo{i}"] or 0.0), abs(found[f"hi{i}"] or 0.0)) * 10**d < 2.0**53
            and all(row[f"c{i}"] is None or round(row[f"c{i}"] * 10**d) / 10**d == row[f"c{i}"] for row in sample)
        ]
        for i in doubles
    }
    while any(open_questions.values()):
        asked = {i: decimals.pop(0) for i, decimals in open_questions.items() if decimals}
        wanted = {f"d{i}_{d}": _is_decimal(table[doubles[i]], d).all() for i, d in asked.items()}
        for key, answer in fetch(table.aggregate(**wanted))[0].items():
            answers[key] = answer is not False  # a column without any value has every property
            if answers[key]:
                open_questions[int(key[1:].split("_")[0])] = []
    return answers


def _is_decimal(column: Any, decimals: int) -> Any:
    # DuckDB rounds when it casts, at half the price of ROUND; the range is known to fit.
    value = column.cast("float64")
    return (value * float(10**decimals)).cast("int64").cast("float64") / float(10**decimals) == value


def _has_decimals(column: Any, decimals: int) -> Any:
    import ibis

    # A double equals its decimal text exactly when the correctly rounded quotient of two whole numbers gives it back.
    scaled = column * float(10**decimals)
    return ibis.ifelse(
        scaled.abs() >= 2.0**53, ibis.literal(False), scaled.round().cast("float64") / float(10**decimals) == column
    )


def _scan_of(name: str, i: int, found: Mapping[str, Any], dtype: Any, exponent: int | None) -> ColumnScan:
    low, high = found[f"lo{i}"], found[f"hi{i}"]
    upper = found.get(f"q{i}")
    is_minor = exponent is not None and dtype.is_integer()
    decimals: int | None = 0
    if is_minor:
        decimals = exponent
    elif dtype.is_floating():
        decimals = next((d for d in range(0, MAX_DECIMALS + 1, 2) if found[f"d{i}_{d}"]), None)
    elif dtype.is_decimal():
        decimals = dtype.scale if dtype.scale is not None and dtype.scale <= 2 * MAX_DECIMALS else None
    if low is None:
        return ColumnScan(name, found["rows"], 0, None, None, 0, 0.0)
    width = float(high - low)  # of whole numbers and decimals, before they become doubles
    if not dtype.is_integer():
        low, high = float(low), float(high)
    # From here everything is in units of the last decimal: what the exact sums count in.
    unit = 1 if is_minor else 10 ** (decimals or 0)
    low, high = low * unit, high * unit
    if upper is not None:
        upper = upper * unit if decimals is None else float(math.floor(upper * unit + 1e-6))
    top = high if upper is None else min(high, upper)
    pivot = 0.0
    if decimals is None:
        pivot = low
    elif max(abs(low), abs(top)) >= EXACT_RANGE:
        pivot = float(round(low))
        if top - low >= EXACT_RANGE or abs(low) >= 2**53:
            decimals, low, high, upper = None, low / unit, high / unit, None if upper is None else upper / unit
            if is_minor:
                divisor = 10 ** (exponent or 0)
                low, high, upper = low / divisor, high / divisor, None if upper is None else upper / divisor
            pivot = low
    bits = None
    if decimals is None and not found.get(f"inf{i}"):
        top = high if upper is None else min(high, upper)
        bits = _bits(float(top) - float(low), found["rows"])
    shown = 10 ** (decimals or 0)
    return ColumnScan(
        name=name,
        rows=found["rows"],
        values=found[f"n{i}"],
        minimum=low / shown,
        maximum=high / shown,
        decimals=decimals,
        pivot=pivot,
        infinite=found.get(f"inf{i}") or 0,
        upper=None if upper is None else upper / shown,
        minor=exponent if is_minor else None,
        bits=bits,
        width=width / 10 ** (exponent or 0) if is_minor else width,
    )


def _bits(width: float, rows: int) -> int:
    """Return how fine the steps may be so that the sum of ``rows`` products of distances up to ``width`` fits."""
    if not 0 < width < math.inf:
        return 0
    each = min(MOST_BITS, (SUM_BITS - max(rows, 1).bit_length()) // 2)
    return min(each - math.frexp(width)[1], 1000)
