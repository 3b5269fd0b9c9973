"""What another system knows about members, as their stored attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from experiments.definitions import Project
from experiments.errors import InputError, unknown_name
from experiments.importing.mapping import MEMBER_FIELDS, MemberMapping, resolve
from experiments.importing.reading import Cells
from experiments.importing.run import ImportResult, Job, Progress, run, source_name
from experiments.importing.units import unit_reader
from experiments.importing.values import CellError, attribute, flag, time_reader, time_zone
from experiments.keeping.repository import Repository
from experiments.log.absorb import Absorbed
from experiments.log.traits import Statement, merge
from experiments.sources.file import FileTable
from experiments.store import Store


class Member(msgspec.Struct, frozen=True):
    """What one row says about a unit; attributes that it does not mention stay as they are."""

    unit: str
    at: int
    attributes: dict[str, Any]
    """An empty cell is None: no longer known."""
    opted_out: bool | None


def import_members(
    store: Store,
    path: Path,
    mapping: MemberMapping,
    *,
    encoding: str | None = None,
    progress: Progress | None = None,
    now: int | None = None,
) -> ImportResult:
    """Import stored attributes of units; what a row says replaces what was known, unless that is newer.

    Args:
        store: where to.
        path: CSV (plain or gzip; UTF-8, GB18030) or Parquet.
        mapping: which column means what.
        encoding: of a CSV; found out when None.
        progress: told how far it is.
        now: our clock in microseconds, the system's by default.

    Raises:
        InputError: when the file cannot be used at all.
    """

    def prepare(file: FileTable, began: int) -> Job:
        return _prepare(file, mapping, path, began, Repository(store).project())

    return run(store, path, prepare, kind="members", options=mapping, encoding=encoding, progress=progress, now=now)


def _prepare(file: FileTable, mapping: MemberMapping, path: Path, began: int, project: Project) -> Job:
    found = resolve(mapping, MEMBER_FIELDS, file)
    if mapping.unit_row_number:
        raise InputError("--unit-row-number: members need ids that other systems know; add --map unit=COLUMN")
    unit_type = mapping.unit_type or "member"
    kept = {name: declared for name, declared in project.attributes.items() if declared.kept == "stored"}
    for name in mapping.attributes:
        if name not in kept:
            raise unknown_name("stored attribute", name, sorted(kept), "in the project (--attribute)")
    named = mapping.attributes or {name: name for name in kept if name in file.header}
    attributes = {name: file.require(column) for name, column in named.items()}
    if not attributes and "opted_out" not in found:
        listed = ", ".join(sorted(kept)) or "it has none"
        raise InputError(
            f"{file.path}: no column is a stored attribute of the project ({listed}): "
            "add --attribute NAME=COLUMN, or declare the attribute in the project"
        )
    read_time = time_reader(time_zone(mapping.time_zone or project.time_zone))
    read_unit = unit_reader(project)
    constant = None if mapping.at_constant is None else read_time(mapping.at_constant)
    columns = tuple(dict.fromkeys([*found.values(), *attributes.values()]))

    def read_row(_row: int, row: Cells) -> Member:
        cells = dict(zip(columns, row, strict=True))
        unit = read_unit(cells[found["unit"]] or "")
        at = began if constant is None else constant
        if "at" in found:
            at = read_time(cells[found["at"]] or "")
        values: dict[str, Any] = {}
        for name, column in attributes.items():
            try:
                values[name] = attribute(cells[column] or "", kept[name].type)
            except CellError as error:
                raise CellError(f"column {column!r}: {error}") from None
        opted_out = flag(cells[found["opted_out"]] or "") if "opted_out" in found else None
        return Member(unit, at, values, opted_out)

    def store_batch(connection: Connection, rows: list[Member], _now: int) -> Absorbed:
        return _store(connection, unit_type, rows)

    return Job("members", source_name(path, mapping), columns, read_row, store_batch)


def _store(connection: Connection, unit_type: str, rows: list[Member]) -> Absorbed:
    """Merge rows into what is stored; equal content counts as a duplicate, older content too."""
    changed = merge(connection, [Statement(unit_type, row.unit, row.at, row.attributes, row.opted_out) for row in rows])
    # Several rows on one unit are one change.
    return Absorbed(events=changed, duplicates=len(rows) - changed)
