"""A list of members as rows in their order: the unit, the attributes that its columns give, an opt-out.

The file is read once into a table of an embedded engine that spills to disk, so memory stays bounded; chunks are then
read by row number. Where a unit stands on the list again, it has what its first row says: it is answered alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from allocation.compiled import CompiledExperiment
from experiments.assignments.assign_inspect import check_names
from experiments.assignments.assign_source import (
    Attribute,
    attribute_column,
    boolean_text,
    guess_unit_column,
    opt_out_tests,
    unit_sql,
)
from experiments.errors import InputError
from experiments.sources.file import VIEW, first_line, open_file

MAX_ROWS = 50_000_000
_attributes = msgspec.json.Decoder(dict[str, Any])


class ListRow(msgspec.Struct, frozen=True, gc=False):
    """One row of a list."""

    unit: str | None
    """As it stands there; ``None`` where the cell is missing."""
    attributes: dict[str, Any]
    opted_out: bool


@dataclass(frozen=True)
class MemberList:
    """An open list."""

    rows: int
    repeated: int
    """Rows whose unit stands in an earlier row too."""
    unreadable: dict[str, int]
    """Attribute → values that are there but not of its type; they count as missing."""
    attributes: frozenset[str]
    """Those that the list has columns for."""
    _connection: Any
    _query: str

    def chunks(self, size: int) -> Iterator[list[ListRow]]:
        """Yield the rows in order, ``size`` at a time."""
        for start in range(0, self.rows, size):
            found = self._connection.execute(self._query, [start + 1, start + size]).fetchall()
            yield [ListRow(unit, _attributes.decode(text), bool(out)) for unit, text, out in found]


@contextlib.contextmanager
def open_list(
    path: Path, name: str, compiled: CompiledExperiment, *, unit_column: str | None, encoding: str | None
) -> Iterator[MemberList]:
    """Open a CSV (UTF-8, GB18030; plain or gzip) or Parquet file of members.

    Args:
        path: where it lies.
        name: what messages call it.
        compiled: the experiment; its audience and frozen attributes say which columns are read.
        unit_column: column of unit ids; guessed when there is one likely column.
        encoding: of a CSV; found out when ``None``.

    Raises:
        InputError: for a file or column that cannot be used, with what to do.
    """
    with contextlib.ExitStack() as stack:
        with _named(path, name):
            source = stack.enter_context(open_file(path, encoding=encoding))
            check_names(source, compiled, unit_column)
            listed = _listed(source.connection.con, source.row, name, compiled, unit_column)
        yield listed


@contextlib.contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Have messages call the list by its name, not by where it lies just now."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise InputError(f"{name}: cannot be read: {first_line(error).replace(str(path), name)}") from None
    except InputError as error:
        raise InputError(str(error).replace(str(path), name)) from None


def _listed(
    connection: Any, row: str | None, name: str, compiled: CompiledExperiment, unit_column: str | None
) -> MemberList:
    types = {column: kind for column, kind, *_ in connection.execute(f"DESCRIBE {VIEW}").fetchall()}
    if row is not None:
        types.pop(row, None)
    if unit_column is None and not _likely(types, compiled):
        raise InputError(
            f"{name}: which column is the {compiled.unit_type}'s id? Name it by unit_column. There are: {_shown(types)}"
        )
    if unit_column is not None and unit_column not in types:
        raise InputError(f"{name}: has no column {unit_column!r}. There are: {_shown(types)}")
    unit = unit_sql(guess_unit_column(list(types), compiled.unit_type, unit_column, name), types, name)
    needed = dict.fromkeys((*(compiled.rule.attributes if compiled.rule else ()), *compiled.frozen))
    present = [
        attribute_column(attribute, f"a{i}", compiled, types, name, None, needed_by_rule=False)
        for i, attribute in enumerate(needed)
        if attribute in types
    ]
    _check_needed(compiled, types, name)
    out = " OR ".join(f"({test})" for test in opt_out_tests(types, stored=False)) or "FALSE"
    unreadable = {a.name: a.unreadable for a in present if a.unreadable is not None}
    if types.get("opted_out", "BOOLEAN") != "BOOLEAN":
        said = 'CAST(f."opted_out" AS VARCHAR)'
        unreadable["opted_out"] = f"COALESCE(trim({said}) <> '' AND ({boolean_text(said)}) IS NULL, FALSE)"
    flags = "".join(f", {test} AS unreadable_{i}" for i, test in enumerate(unreadable.values()))
    connection.execute(
        f"CREATE TEMP TABLE listed AS SELECT row_number() OVER () AS row, {unit} AS unit, "  # noqa: S608 - quoted names
        f"{_json_object(present, compiled)} AS attributes, {out} AS opted_out{flags} "
        f"FROM {VIEW} AS f LIMIT {MAX_ROWS + 1}"
    )
    counted = "".join(f", count(*) FILTER (unreadable_{i})" for i in range(len(unreadable)))
    rows, valued, units, *bad = connection.execute(
        f"SELECT count(*), count(unit), count(DISTINCT unit){counted} FROM listed"  # noqa: S608 - our own names
    ).fetchone()
    if not rows:
        raise InputError(f"{name}: has no rows; there is nobody to assign")
    if rows > MAX_ROWS:
        raise InputError(f"{name}: the list has more than {MAX_ROWS:,} rows; send it in parts")
    query = "SELECT unit, attributes, opted_out FROM listed WHERE row BETWEEN ? AND ? ORDER BY row"
    if valued > units:
        connection.execute(
            "CREATE TEMP TABLE repeated AS SELECT unit, min_by(attributes, row) AS attributes, "
            "bool_or(opted_out) AS opted_out FROM listed WHERE unit IS NOT NULL GROUP BY unit HAVING count(*) > 1"
        )
        query = (
            "SELECT l.unit, coalesce(r.attributes, l.attributes), coalesce(r.opted_out, l.opted_out) FROM "
            "(FROM listed WHERE row BETWEEN ? AND ?) l LEFT JOIN repeated r ON r.unit = l.unit ORDER BY l.row"
        )
    return MemberList(
        rows,
        valued - units,
        {attribute: count for attribute, count in zip(unreadable, bad, strict=True) if count},
        frozenset(a.name for a in present),
        connection,
        query,
    )


def _likely(types: dict[str, str], compiled: CompiledExperiment) -> bool:
    likely = {"unit", compiled.unit_type, f"{compiled.unit_type}_id", "unit_id", "id"}
    return "unit" in types or len(likely & types.keys()) == 1


def _shown(types: dict[str, str]) -> str:
    """Return the names of columns; of a list without a header they are its first row, and ids are in no message."""
    return ", ".join("(a name with digits)" if any(c.isdigit() for c in name) else name[:40] for name in types)


def _check_needed(compiled: CompiledExperiment, types: dict[str, str], name: str) -> None:
    """Refuse a list without a column that the audience reads and that nothing else can tell."""
    for attribute in compiled.rule.attributes if compiled.rule else ():
        if attribute not in types and compiled.plan.attributes[attribute].kept == "request":
            raise InputError(
                f"{name}: the audience of {compiled.key} reads {attribute!r}, which is no column; add it to the list. "
                f"There are: {_shown(types)}"
            )


def _json_object(present: list[Attribute], compiled: CompiledExperiment) -> str:
    """Return SQL of a JSON object of the attributes that a row has."""
    parts = []
    for attribute in present:
        key = msgspec.json.encode(attribute.name).decode() + ":"
        text = f"NULLIF({attribute.json}, 'null')"
        if compiled.plan.attributes[attribute.name].type == "number":  # JSON has no infinity
            text = f"CASE WHEN isfinite({attribute.canonical}) THEN {text} END"
        parts.append("'" + key.replace("'", "''") + f"' || {text}")
    return f"'{{' || concat_ws(',', {', '.join(parts)}) || '}}'" if parts else "'{}'"
