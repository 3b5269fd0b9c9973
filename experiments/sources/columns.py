"""The columns of a file that an analysis names, as variant text, unit ids and numbers, one row per line.

A CSV arrives as text and is turned into numbers here: optimistically first (plain numbers), then with the usual words
for "missing" and "true", and only when that fails too is the offending row looked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.errors import InputError
from experiments.sources.duck import fetch
from experiments.sources.duck import materialise as _keep
from experiments.sources.file import ROW, FileTable, first_line

MISSING_WORDS = ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "\\n")
TRUE_WORDS = ("true", "t", "yes")
FALSE_WORDS = ("false", "f", "no")


def read_columns(file: FileTable, texts: Mapping[str, str], numbers: Sequence[str], *, materialise: bool) -> Any:
    """Return an Ibis table with ``texts`` as strings and ``numbers`` as numbers, and the row number.

    Args:
        file: the open file.
        texts: name in the answer → column of ``file.columns`` read as text; an empty cell is missing.
        numbers: columns of ``file.columns`` read as numbers or booleans.
        materialise: copy the columns into the embedded engine, for a file that is read more than once.

    Raises:
        InputError: for a value that is no number, with its row and the value.
    """
    import duckdb

    # Numbers that a Parquet file holds as text are read like those of a CSV, once and for all.
    text_numbers = any(file.table[name].type().is_string() for name in numbers)
    for words in (False, True) if text_numbers else (False,):
        table = _select(file, texts, numbers, words=words)
        try:
            if file.row is None or materialise or text_numbers:
                table = _keep(file.connection, table, "equipoise_rows")
        except duckdb.ConversionException:
            continue
        except duckdb.Error as error:
            raise InputError(f"{file.path}: cannot be read: {first_line(error)}") from error
        return table
    raise _first_bad_value(file, numbers)


def ratio_columns(file: FileTable, text: str) -> tuple[str, str]:
    """Return the columns that ``NUM/DEN`` names; names may hold slashes.

    Raises:
        InputError: when it names no two columns of the file.
    """
    parts = text.split("/")
    known = {*file.header, *file.columns}
    for cut in range(1, len(parts)):
        top, bottom = "/".join(parts[:cut]).strip(), "/".join(parts[cut:]).strip()
        if top in known and bottom in known:
            return file.require(top), file.require(bottom)
    if len(parts) != 2 or not parts[0].strip() or not parts[1].strip():
        raise InputError(f"--ratio {text!r}: write NUMERATOR/DENOMINATOR, two columns of the file")
    return file.require(parts[0].strip()), file.require(parts[1].strip())


def _select(file: FileTable, texts: Mapping[str, str], numbers: Sequence[str], *, words: bool) -> Any:
    import ibis

    row = ibis.row_number() if file.row is None else file.table[file.row]
    chosen: dict[str, Any] = {ROW: row}
    for name, column in texts.items():
        chosen[name] = _as_text(file.table[column])
    for name in numbers:
        chosen[name] = _as_number(file, name, words=words)
    return file.table.select(**chosen)


def _as_text(column: Any) -> Any:
    import ibis

    if column.type().is_floating():
        # A whole number that a data frame stored as double (1.0) is the variant "1".
        small = column.abs() < 2.0**53
        whole = ibis.ifelse(small, column == column.round().cast("float64"), ibis.literal(False))
        text = ibis.ifelse(whole, column.try_cast("int64").cast("string"), column.cast("string"))
        return ibis.ifelse(column.isnan(), ibis.null("string"), text)
    return column.cast("string").nullif("")


def _as_number(file: FileTable, name: str, *, words: bool) -> Any:
    import ibis

    column = file.table[name]
    dtype = column.type()
    if dtype.is_string() and words:
        word = column.strip().lower()
        column = ibis.cases(
            (word.isin(MISSING_WORDS), ibis.null("string")),
            (word.isin(TRUE_WORDS), "1"),
            (word.isin(FALSE_WORDS), "0"),
            else_=column,
        )
    if dtype.is_string():
        return column.nullif("").cast("float64")
    if dtype.is_numeric() or dtype.is_boolean():
        return column
    raise InputError(f"{file.path}: column {name!r} holds {dtype}, not numbers: name a numeric column")


def _first_bad_value(file: FileTable, numbers: Sequence[str]) -> InputError:
    texts = [name for name in numbers if file.table[name].type().is_string()]
    table = _select(file, {name: name for name in texts}, (), words=False)
    worst: tuple[int, str, str] | None = None
    for name in texts:
        word = table[name].strip().lower()
        known = word.isin((*MISSING_WORDS, *TRUE_WORDS, *FALSE_WORDS))
        bad = table.filter(table[name].notnull(), table[name].try_cast("float64").isnull(), ~known)
        found = fetch(bad.order_by(ROW).limit(1).select(ROW, name))
        if found and (worst is None or found[0][ROW] < worst[0]):
            worst = (found[0][ROW], name, found[0][name])
    if worst is None:
        return InputError(f"{file.path}: the metric columns could not be read as numbers")
    row, name, value = worst
    shown = value if len(value) <= 40 else value[:37] + "…"
    return InputError(
        f"{file.path}: row {row + 1}, column {name!r}: {shown!r} is not a number; {_advice(value)}"
        "correct it, leave the cell empty, or name a numeric column"
    )


def _advice(value: str) -> str:
    text = value.strip()
    if re.fullmatch(r"[+-]?\d+,\d{1,2}|[+-]?\d{1,3}(\.\d{3})+,\d+", text):
        return "write decimals with a point; "
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return "write it without thousands separators; "
    return ""
