"""Exporting: the days that changed, one file for each, each there completely or not at all.

The same rows give the same bytes: rows are in the order of their keys and cut into groups at fixed places.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from experiments.atomic import replacing
from experiments.errors import InputError
from experiments.exports.manifest import Entry, Manifest
from experiments.exports.rows import Row, counts, stream
from experiments.exports.schema import TABLES, arrow_schema
from experiments.settings import Settings
from experiments.store import Store

GROUP_ROWS = 50_000
"""Rows in memory, and in a row group of a file."""
PASS_ROWS = 3_000_000
"""How many rows one pass over the table may bring: days beside each other are read together."""
EPOCH = dt.date(1970, 1, 1)
YESTERDAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Exported:
    """What an export came to."""

    folder: Path
    files: int
    """Files written; others were there as they should be."""
    rows: int
    """Lines in the files that were written."""


def export_dir(settings: Settings) -> Path:
    """Return the folder of exports: ``EQUIPOISE_EXPORT_DIR``, or ``exports`` in the data folder."""
    given = os.environ.get("EQUIPOISE_EXPORT_DIR")
    return Path(given).absolute() if given else settings.data_dir / "exports"


def export(
    store: Store,
    folder: Path,
    tables: Collection[str],
    first: dt.date,
    last: dt.date,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> Exported:
    """Write the files of the days on which there are other rows than in the file that is there.

    Args:
        store: where the rows are.
        folder: where the files go.
        tables: of ``TABLES``.
        first: UTC day.
        last: UTC day, included.
        progress: told how many rows are written, and of how many; may raise to stop.

    Raises:
        InputError: when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            manifest = Manifest(folder)
            due = {table: _due(store, manifest, table, first, last) for table in tables}
            total = sum(sum(days.values()) for days in due.values())
            files = rows = seen = 0
            for table, days in due.items():
                for from_day, to_day in passes(days):
                    for entry in _write(store, folder, table, from_day, to_day, manifest):
                        files += 1
                        rows += entry.rows
                        seen += entry.stored
                        progress(seen, max(total, seen))
    except OSError as error:
        raise InputError(f"cannot write exports to {folder}: {error.strerror or type(error).__name__}") from None
    return Exported(folder, files, rows)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one export write to a folder at a time: they share the manifest."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def passes(days: dict[int, int], most_rows: int = PASS_ROWS) -> Iterator[tuple[int, int]]:
    """Yield ranges of days beside each other that are read in one go, as large as their rows allow.

    >>> list(passes({1: 10, 2: 10, 3: 10, 7: 10}, most_rows=20))
    [(1, 2), (3, 3), (7, 7)]
    """
    start: int | None = None
    before = rows = 0
    for day, count in sorted(days.items()):
        if start is not None and (day != before + 1 or rows + count > most_rows):
            yield start, before
            start = None
        if start is None:
            start, rows = day, 0
        before, rows = day, rows + count
    if start is not None:
        yield start, before


def _due(store: Store, manifest: Manifest, table: str, first: dt.date, last: dt.date) -> dict[int, int]:
    found = counts(store, table, (first - EPOCH).days, (last - EPOCH).days)
    return {day: count for day, count in found.items() if not manifest.current(table, _name(day), count)}


def _write(store: Store, folder: Path, table: str, first: int, last: int, manifest: Manifest) -> Iterator[Entry]:
    with closing(stream(store, table, first, last)) as rows:
        for day, of_day in groupby(rows, key=itemgetter(0)):
            entry = _write_day(folder, table, day, (row for _, row in of_day))
            manifest.put(table, _name(day), entry)
            yield entry


def _write_day(folder: Path, table: str, day: int, rows: Iterator[Row]) -> Entry:
    file = f"{table}/{_name(day)}.parquet"
    schema = arrow_schema(table)
    written = stored = 0
    with replacing(folder / file) as temporary:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            # A report's lines stay together; of other tables a row of the store is a line.
            while taken := list(islice(rows, GROUP_ROWS)):
                stored += len(taken)
                batch = [line for report in taken for line in report] if table == "reports" else taken
                if batch:
                    writer.write_batch(_batch(batch, schema))
                written += len(batch)
        size = temporary.stat().st_size
        with temporary.open("rb") as stream_:
            digest = hashlib.file_digest(stream_, "sha256").hexdigest()
    return Entry(file, written, stored, size, digest)


def _batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True))
    return pa.record_batch(
        [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def _name(day: int) -> str:
    return (EPOCH + dt.timedelta(days=day)).isoformat()


def check_tables(tables: Collection[str]) -> None:
    """Make sure that there are such tables.

    Raises:
        InputError: naming those there are.
    """
    unknown = sorted(set(tables) - set(TABLES))
    if unknown:
        raise InputError(f"no table {unknown[0]!r} is exported; there are {', '.join(TABLES)}")
