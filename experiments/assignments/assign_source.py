"""A file of members as a table that assignment can read: one unit, each attribute in its canonical form, opt-out.

Columns of the file win; attributes declared ``stored`` that the file lacks come from the member file that the service
publishes, and so do opt-outs and enrolments.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from allocation.audience.columns import canonical, date_text, json_columns
from allocation.audience.rules import AttributeType
from allocation.compiled import CompiledExperiment
from allocation.dialects import DIALECTS
from experiments.errors import InputError, unknown_name
from experiments.publishing import members

SOURCE = "assign_source"
ENROLLED = "assign_enrolled"
_DUCK = DIALECTS["duckdb"]
_NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
            "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip
_INTEGER = tuple(name for name in _NUMERIC if name.endswith("INT") or name == "INTEGER" or name == "UINTEGER")


@dataclass(frozen=True)
class Attribute:
    """Where one attribute comes from: SQL over the file (alias ``f``) and the member file (alias ``s``)."""

    name: str
    alias: str
    canonical: str
    json: str
    """Its JSON text, NULL when it is missing."""
    unreadable: str | None
    """Condition of file values that are there and not of the attribute's type."""


def guess_unit_column(columns: Sequence[str], unit_type: str, given: str | None, path: str) -> str:
    """Return the column of unit ids: the one given, else ``unit``, ``<unit type>_id``, ``unit_id`` or ``id``.

    Raises:
        InputError: naming the columns there are.

    >>> guess_unit_column(["member_id", "stage"], "member", None, "list.csv")
    'member_id'
    """
    if given is not None:
        if given not in columns:
            raise unknown_name("column", given, columns, f"in {path}")
        return given
    likely = ("unit", unit_type, f"{unit_type}_id", "unit_id", "id")
    found = [column for column in columns if column.lower() in likely]
    exact = [name for name in likely[:1] if name in columns]
    if exact or len(found) == 1:
        return (exact or found)[0]
    listed = ", ".join(found or columns)
    raise InputError(f"{path}: which column is the {unit_type}'s id? Add --unit-column COLUMN. There are: {listed}")


def make_source(
    connection: Any,
    compiled: CompiledExperiment,
    *,
    table: str,
    path: str,
    unit_column: str | None,
    member_file: Path | None,
    opt_outs_only: bool = False,
) -> list[Attribute]:
    """Create the views ``assign_source`` and ``assign_enrolled`` on a DuckDB connection; return the attributes.

    Args:
        connection: a DuckDB connection.
        compiled: the experiment.
        table: the file as a view.
        path: the file's name, for messages.
        unit_column: its column of unit ids, or None to guess.
        member_file: the service's member file (SQLite), or None.
        opt_outs_only: use nothing else of it: it is too old, or the experiment needs no more.

    Raises:
        InputError: for a missing or unusable column.
    """
    types = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall()}
    types.pop("file_row_number", None)
    unit = unit_sql(guess_unit_column(list(types), compiled.unit_type, unit_column, path), types, path)
    stored = None if member_file is None or opt_outs_only else "s.attributes"
    needed = dict.fromkeys((*(compiled.rule.attributes if compiled.rule else ()), *compiled.frozen))
    attributes = [
        attribute_column(name, f"a{i}", compiled, types, path, stored, needed_by_rule=_in_rule(compiled, name))
        for i, name in enumerate(needed)
    ]
    opted_out = [f"({text})" for text in opt_out_tests(types, member_file is not None)]
    unclear = "FALSE"
    if types.get("opted_out", "BOOLEAN") != "BOOLEAN":
        said = 'CAST(f."opted_out" AS VARCHAR)'
        unclear = f"COALESCE(trim({said}) <> '' AND ({boolean_text(said)}) IS NULL, FALSE)"
    frozen = [f"{_DUCK.literal(_key(a.name))} || {a.json}" for a in attributes if a.name in compiled.frozen]
    selected = [
        f"{unit} AS unit",
        *(f"{a.canonical} AS {a.alias}" for a in attributes),
        *(f"{a.unreadable or 'FALSE'} AS {a.alias}_unreadable" for a in attributes),
        f"{' OR '.join(opted_out) or 'FALSE'} AS opted_out",
        f"{unclear} AS opted_out_unreadable",
        f"'{{' || concat_ws(',', {', '.join(frozen)}) || '}}' AS frozen" if frozen else "'{}' AS frozen",
    ]
    source = f"{table} AS f"
    if member_file is not None:
        _attach(connection, member_file)
        kind = _DUCK.literal(compiled.unit_type)
        source += f" LEFT JOIN (FROM state.members WHERE unit_type = {kind}) AS s ON s.unit = {unit}"
        connection.execute(
            f"CREATE TEMP VIEW {ENROLLED} AS SELECT unit, phase, variant FROM state.enrolments "  # noqa: S608 - quoted
            f"WHERE unit_type = {kind} AND experiment = {_DUCK.literal(compiled.key)}"
        )
    connection.execute(f"CREATE TEMP VIEW {SOURCE} AS SELECT {', '.join(selected)} FROM {source}")  # noqa: S608 - quoted
    return attributes


def current_member_file(folder: Path) -> tuple[Path, members.Manifest] | None:
    """Return the member file that is published in the snapshot folder and its manifest, if there is one."""
    try:
        manifest = msgspec.json.decode((folder / members.MANIFEST).read_bytes(), type=members.Manifest)
    except (OSError, msgspec.DecodeError):
        return None
    path = folder / manifest.file
    return (path, manifest) if path.exists() and manifest.format <= members.FORMAT else None


def _attach(connection: Any, path: Path) -> None:
    spec = importlib.util.find_spec("duckdb_extension_sqlite_scanner")
    if spec is None or spec.origin is None:
        raise InputError("reading the member file needs the package duckdb-extension-sqlite-scanner; install it")
    (version,) = connection.execute("SELECT library_version FROM pragma_version()").fetchone()
    extension = Path(spec.origin).parent / "extensions" / version / "sqlite_scanner.duckdb_extension"
    connection.execute(f"LOAD {_DUCK.literal(str(extension))}")
    connection.execute(f"ATTACH {_DUCK.literal(str(path))} AS state (TYPE sqlite, READ_ONLY)")


def unit_sql(column: str, types: dict[str, str], path: str) -> str:
    """Return SQL of a column of unit ids as text.

    Raises:
        InputError: when they are neither text nor whole numbers.
    """
    quoted = f"f.{_DUCK.column(column)}"
    if types[column] == "VARCHAR":
        return quoted
    if types[column] in _INTEGER:
        return f"CAST({quoted} AS VARCHAR)"
    raise InputError(f"{path}: column {column!r} is {types[column]}, and unit ids are text; write it as text")


def _in_rule(compiled: CompiledExperiment, name: str) -> bool:
    return compiled.rule is not None and name in compiled.rule.attributes


def _key(name: str) -> str:
    return msgspec.json.encode(name).decode() + ":"


def opt_out_tests(types: dict[str, str], stored: bool) -> list[str]:
    """Return conditions, any of which says that a member opted out: of a column, and of a member file."""
    tests = []
    if "opted_out" in types:
        column = 'f."opted_out"'
        boolean = types["opted_out"] == "BOOLEAN"
        tests.append(f"COALESCE({column if boolean else boolean_text(f'CAST({column} AS VARCHAR)')}, FALSE)")
    if stored:
        tests.append("COALESCE(s.opted_out, 0) <> 0")
    return tests


def boolean_text(text: str) -> str:
    """Return SQL that reads text as a boolean; NULL where it is none."""
    return (
        f"CASE WHEN lower(trim({text})) IN ('true', 't', 'yes', 'y', '1', '1.0', '是') THEN TRUE "
        f"WHEN lower(trim({text})) IN ('false', 'f', 'no', 'n', '0', '0.0', '否') THEN FALSE END"
    )


def attribute_column(
    name: str,
    alias: str,
    compiled: CompiledExperiment,
    types: dict[str, str],
    path: str,
    stored: str | None,
    *,
    needed_by_rule: bool,
) -> Attribute:
    """Return where one attribute comes from; ``stored`` is SQL of the member file's attributes, if there is one.

    Raises:
        InputError: for a column of another type, or one that is missing and needed.
    """
    declared = compiled.plan.attributes[name]
    kind: AttributeType = declared.type
    if name not in types:
        if declared.kept == "stored" and stored is not None:
            value = json_columns("duckdb", stored)(name, kind)
            raw = f"json_extract({stored}, {_DUCK.literal('/' + name.replace('~', '~0').replace('/', '~1'))})"
            return Attribute(name, alias, value, f"NULLIF(CAST({raw} AS VARCHAR), 'null')", None)
        if needed_by_rule:
            raise InputError(
                f"{path}: the audience of {compiled.key} reads {name!r}, which is no column; add it to the file. "
                f"There are: {', '.join(types)}"
            )
        return Attribute(name, alias, "NULL", "CAST(NULL AS VARCHAR)", None)
    column = f"f.{_DUCK.column(name)}"
    found = types[name]
    if found == "VARCHAR":
        value, shown = _from_text(column, kind)
        unreadable = None if kind == "string" else f"{column} <> '' AND ({value}) IS NULL"
        return Attribute(name, alias, value, f"CAST(to_json({shown}) AS VARCHAR)", unreadable)
    base = found.partition("(")[0]
    fits = {
        "number": base in _NUMERIC,
        "boolean": found == "BOOLEAN",
        "date": found == "DATE" or found.startswith("TIMESTAMP"),
        "list": found == "VARCHAR[]",
    }
    if not fits.get(kind, False):
        raise InputError(f"{path}: column {name!r} is {found}, and the attribute {name!r} is a {kind}; convert it")
    value = canonical(_DUCK, column, kind)
    shown = f"strftime(make_timestamp({value}), '%Y-%m-%dT%H:%M:%S.%fZ')" if kind == "date" else value
    return Attribute(name, alias, value, f"CAST(to_json({shown}) AS VARCHAR)", None)


def _from_text(column: str, kind: AttributeType) -> tuple[str, str]:
    """Return the canonical value of a text column, and the value as JSON would hold it."""
    if kind == "string":
        return column, column
    if kind == "date":
        value = date_text("duckdb", column)
        return value, f"CASE WHEN ({value}) IS NOT NULL THEN {column} END"
    if kind == "number":
        value = f"NULLIF(TRY_CAST(trim({column}) AS DOUBLE), 'NaN'::DOUBLE)"
    elif kind == "boolean":
        value = boolean_text(column)
    else:
        is_list = f"json_valid({column}) AND json_type({column}) = 'ARRAY'"
        value = f"CASE WHEN {is_list} THEN CAST(json_extract({column}, '$') AS VARCHAR[]) END"
    return value, value
