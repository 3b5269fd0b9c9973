"""Outcomes that another tool recorded, as events of the log: one row for each event, or one row for each unit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from experiments.definitions import Project
from experiments.errors import InputError
from experiments.importing.mapping import EVENT_FIELDS, EventMapping, WideEvent, require_at, resolve
from experiments.importing.reading import Cells
from experiments.importing.run import BadRowError, ImportResult, Job, Progress, run, source_name
from experiments.importing.units import unit_reader
from experiments.importing.values import (
    CellError,
    amount_reader,
    count,
    flag,
    number,
    time_reader,
    time_zone,
)
from experiments.keeping.repository import Repository
from experiments.log.absorb import Absorbed, absorb
from experiments.log.rows import EventRow
from experiments.sources.file import FileTable
from experiments.store import Store

MAX_TEXT = 256
_json = msgspec.json.Encoder(order="sorted")


def import_events(
    store: Store,
    path: Path,
    mapping: EventMapping,
    *,
    encoding: str | None = None,
    progress: Progress | None = None,
    now: int | None = None,
) -> ImportResult:
    """Import a file of outcomes.

    A long file has one row for each event. A wide file has one row for each unit, and ``mapping.wide`` says which
    events its columns stand for. An event's id is taken from a column; otherwise it is a hash of the row's number and
    the cells that are used, so that the same file, or a longer one that begins alike, adds nothing twice. Amounts are
    decimals in major units of the project's currency and are kept exactly.

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

    return run(store, path, prepare, kind="events", options=mapping, encoding=encoding, progress=progress, now=now)


def _prepare(file: FileTable, mapping: EventMapping, path: Path, began: int, project: Project) -> Job:
    found = resolve(mapping, EVENT_FIELDS, file)
    require_at(found, mapping, file)
    mapping = replace(
        mapping,
        wide=tuple(replace(wide, column=file.require(wide.column)) for wide in mapping.wide),
        properties={name: file.require(column) for name, column in mapping.properties.items()},
    )
    if mapping.wide:
        _check_wide(mapping)
        for field in ("name", "event_id", "object_id", "value"):
            found.pop(field, None)
    elif mapping.name is not None:
        found.pop("name", None)
    elif "name" not in found:
        raise InputError(
            f"{file.path}: which events are these? Add --map name=COLUMN, --name 'Order Completed' for all rows, or "
            f"--event NAME=COLUMN for a file with a row for each unit. There are: {', '.join(file.header)}"
        )
    used = [*found.values(), *mapping.properties.values(), *(wide.column for wide in mapping.wide)]
    columns = tuple(dict.fromkeys(used))
    source = source_name(path, mapping)
    reader = _Reader(mapping, found, source, began, project)

    def read_row(row: int, cells: Cells) -> list[EventRow]:
        return list(reader.read(row, cells, dict(zip(columns, cells, strict=True))))

    return Job("events", source, columns, read_row, _store)


def _store(connection: Connection, rows: list[list[EventRow]], now: int) -> Absorbed:
    return absorb(connection, [event for events in rows for event in events], now)


def _check_wide(mapping: EventMapping) -> None:
    if mapping.name is not None:
        raise InputError("--name and --event exclude each other: --event names the events itself")
    names = [wide.name for wide in mapping.wide]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--event {name}=… is given twice: give each column an event of its own")
    for field in ("name", "event_id", "object_id", "value"):
        if field in mapping.columns:
            raise InputError(f"--map {field}=… and --event exclude each other: a row stands for several events")


class _Reader:
    """Turns rows into events; everything that is the same for all rows is worked out once."""

    def __init__(
        self, mapping: EventMapping, found: Mapping[str, str], source: str, began: int, project: Project
    ) -> None:
        self._mapping = mapping
        self._found = found
        self._source = source
        self._began = began
        self._currency = project.currency
        self._unit_type = mapping.unit_type or "member"
        self._time = time_reader(time_zone(mapping.time_zone or project.time_zone))
        self._unit = unit_reader(project)
        self._amount = amount_reader(project.currency)

    def read(self, row: int, raw: Sequence[str | None], cells: Mapping[str, str | None]) -> Iterator[EventRow]:
        """Yield the events of a row; nothing is yielded from a row with a bad cell in a shared column."""
        mapping = self._mapping
        unit = self._unit(str(row) if mapping.unit_row_number else self._cell(cells, "unit"))
        at = self._time(self._cell(cells, "at") if mapping.at_constant is None else mapping.at_constant)
        currency = self._cell(cells, "currency")
        if currency and currency != self._currency:
            raise BadRowError(
                f"the amount is in {currency[:8]!r}, this project counts in {self._currency}; convert it first",
                "unknown_currency",
            )
        shared = {
            "source": self._source,
            "unit_type": self._unit_type,
            "unit": unit,
            "at": at,
            "received_at": self._began,
            "decision_id": self._cell(cells, "decision_id") or None,
            "experiment": self._cell(cells, "experiment") or mapping.experiment,
        }
        properties = self._properties(cells)
        made = self._wide(cells) if mapping.wide else [self._long(cells)]
        digest = hashlib.sha256(_json.encode([row, raw]))
        for event in made:
            own = {**shared, **event}
            if not own.get("event_id"):
                each = digest.copy()
                each.update(f"\n{own['name']}\n{own.pop('index', 0)}".encode())
                own["event_id"] = each.hexdigest()[:32]
            together = {**properties, **own.pop("properties", {})}
            yield EventRow(**own, properties=_json.encode(together).decode() if together else "{}")

    def _cell(self, cells: Mapping[str, str | None], field: str) -> str:
        return (cells[self._found[field]] or "") if field in self._found else ""

    def _long(self, cells: Mapping[str, str | None]) -> dict[str, Any]:
        name = self._mapping.name or self._text(cells, "name")
        if not name:
            raise CellError("the event's name is empty")
        value = self._cell(cells, "value").strip()
        return {
            "name": name,
            "event_id": self._text(cells, "event_id"),
            "object_id": self._text(cells, "object_id") or None,
            "value_minor": self._amount(value) if value else None,
            "currency": self._currency if value else None,
        }

    def _text(self, cells: Mapping[str, str | None], field: str) -> str:
        text = self._cell(cells, field)
        if len(text) > MAX_TEXT or "\x00" in text:
            raise CellError(f"{field} is longer than {MAX_TEXT} characters or contains NUL")
        return text

    def _wide(self, cells: Mapping[str, str | None]) -> Iterable[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        for wide in self._mapping.wide:
            try:
                events += self._wide_events(wide, cells[wide.column] or "")
            except CellError as error:
                raise CellError(f"column {wide.column!r}: {error}") from None
        return events

    def _wide_events(self, wide: WideEvent, cell: str) -> list[dict[str, Any]]:
        if wide.kind == "flag":
            return [{"name": wide.name}] if flag(cell) else []
        if wide.kind == "count":
            return [{"name": wide.name, "index": index} for index in range(count(cell))]
        if not cell.strip():
            return []
        if wide.kind == "number":
            return [{"name": wide.name, "properties": {wide.column: number(cell)}}]
        minor = self._amount(cell)
        return [{"name": wide.name, "value_minor": minor, "currency": self._currency}] if minor else []

    def _properties(self, cells: Mapping[str, str | None]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, column in self._mapping.properties.items():
            text = cells[column]
            if text is None or text == "":
                continue
            found[name] = _property(text)
        return found


_WORDS: dict[str, bool] = {"true": True, "false": False}


def _property(text: str) -> Any:
    """Return a number or truth value where the text plainly is one and writing it again gives the same text.

    >>> _property("12"), _property("12.5"), _property("007"), _property("true"), _property("app")
    (12, 12.5, '007', True, 'app')
    """
    if "\x00" in text:
        raise CellError("a property contains a NUL character; remove it")
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        value = number(text)
    except CellError:
        return text
    return value if str(value) == text else text
