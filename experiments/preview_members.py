"""Where a preview's members come from: a file with a column for each attribute, or the stored members."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from experiments.definitions import Project
from experiments.errors import InputError
from experiments.preview import Unit
from experiments.store import Store
from experiments.store.log_tables import members

_TRUE = frozenset({"true", "t", "1", "yes"})
_FALSE = frozenset({"false", "f", "0", "no"})
ROWS_AT_ONCE = 20_000
ASKED_AT_ONCE = 5_000
"""Members that the store is asked for in one query."""


def stored(store: Store, unit_type: str) -> Iterator[Unit]:
    """Yield the stored members of a unit type, in order of unit id."""
    query = sa.select(members).where(members.c.unit_type == unit_type).order_by(members.c.unit)
    with store.read() as connection:
        for row in connection.execution_options(stream_results=True).execute(query):
            yield Unit(row.unit, json.loads(row.attributes), bool(row.opted_out))


def from_file(path: Path, project: Project, unit_column: str | None = None) -> Iterator[Unit]:
    """Yield the rows of a CSV or Parquet file as members; columns that are declared attributes become attributes.

    Args:
        path: the file.
        project: whose attributes say the types.
        unit_column: column of the unit id; by default the first column.

    Raises:
        InputError: naming the file, the row and the column of a value that does not fit its attribute's type.
    """
    from experiments.sources.file import open_file

    with open_file(path) as file:
        unit = file.require(unit_column) if unit_column else file.columns[0]
        types = {name: project.attributes[name].type for name in file.columns if name in project.attributes}
        types.pop(unit, None)
        selected = file.table.select(unit, *types)
        number = 0
        for batch in selected.to_pyarrow_batches(chunk_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield Unit(str(row[unit] if row[unit] is not None else ""), _attributes(row, types, path, number))


def with_stored(store: Store, unit_type: str, units: Iterable[Unit]) -> Iterator[Unit]:
    """Yield members with what is stored of them where their list does not say it, as deciding a list has it.

    Args:
        store: of the members.
        unit_type: theirs.
        units: of the list.
    """
    c = members.c
    rest = iter(units)
    while some := list(islice(rest, ASKED_AT_ONCE)):
        ids = [each.unit for each in some]
        query = sa.select(c.unit, c.attributes, c.opted_out).where(c.unit_type == unit_type, c.unit.in_(ids))
        with store.read() as connection:
            known = {row.unit: (json.loads(row.attributes), bool(row.opted_out)) for row in connection.execute(query)}
        for each in some:
            held, out = known.get(each.unit, ({}, False))
            yield Unit(each.unit, {**held, **each.attributes}, each.opted_out or out)


def _attributes(row: Mapping[str, Any], types: Mapping[str, str], path: Path, number: int) -> dict[str, Any]:
    result = {}
    for name, kind in types.items():
        value = row[name]
        if value is None or value == "":
            continue  # unknown, as rules understand it
        try:
            result[name] = convert(value, kind)
        except ValueError:
            raise InputError(f"{path}, row {number}, column {name}: {value!r} is not a {kind}") from None
    return result


def convert(value: Any, kind: str) -> Any:
    """Return a value from a file as the attribute type says.

    Raises:
        ValueError: when it does not fit.

    >>> convert("3.5", "number"), convert("true", "boolean"), convert('["a"]', "list"), convert("a|b", "list")
    (3.5, True, ['a'], ['a', 'b'])
    """
    if kind == "number":
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(value)
        return number
    if kind == "boolean":
        text = str(value).strip().lower()
        if text not in _TRUE | _FALSE:
            raise ValueError(value)
        return text in _TRUE
    if kind == "list":
        if isinstance(value, list):
            return [str(item) for item in value]
        text = str(value)
        return [str(item) for item in json.loads(text)] if text.startswith("[") else text.split("|")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
