"""From the spools into the store: safe to repeat, so a crash anywhere means running it again."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.log.absorb import Absorbed, absorb, release_quarantined
from experiments.log.dead_letters import DeadLetter, DeadLetterKind, dead_letter
from experiments.log.rows import AliasRow, DecisionRow, EventRow, TraitsRow
from experiments.log.spool import LogRow
from experiments.log.spool_file import (
    FileLock,
    LoadableSpoolFile,
    Record,
    SpoolError,
    orphaned,
    prepare_folder,
    remove,
    spool_paths,
    sweep,
)
from experiments.store import Store, StoreError

LOCK_NAME = "loader.lock"
BATCH_ROWS = 20_000

_KINDS: dict[str, tuple[type[LogRow], DeadLetterKind]] = {
    "d": (DecisionRow, "decision"),
    "e": (EventRow, "event"),
    "t": (TraitsRow, "member"),
    "a": (AliasRow, "alias"),
    "x": (DeadLetter, "event"),
}
_DECODERS = {kind: msgspec.json.Decoder(row) for kind, (row, _) in _KINDS.items()}
_REFUSED = (
    psycopg.DataError,
    psycopg.IntegrityError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    OverflowError,
    UnicodeEncodeError,
)
"""Errors about a row, not about the database: the row becomes a dead letter and the queue goes on."""

_log = logging.getLogger(__name__)


def wall_clock_us() -> int:
    """Return the time now in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


@dataclass
class LoadStats:
    """What one run of the loader did."""

    absorbed: Absorbed = field(default_factory=Absorbed)
    spools: int = 0
    """Spool files that were looked at."""
    adopted: int = 0
    """Spool files of dead processes that were emptied and removed."""
    damaged: int = 0
    """Spool files that could not be read and were put aside as ``….damaged``."""


class Loader:
    """Drains the spools of one host into the store. Any number may run: they take turns by a file lock."""

    def __init__(
        self,
        spool_dir: Path,
        store: Store,
        *,
        clock: Callable[[], int] = wall_clock_us,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        """Prepare to load.

        Args:
            spool_dir: the deployment's spool folder.
            store: where to.
            clock: our time in microseconds; decides which events come from the future.
            batch_rows: rows in one transaction of the store.

        Raises:
            SpoolError: when the folder cannot be used.
        """
        self._folder = Path(spool_dir)
        self._store = store
        self._clock = clock
        self._batch_rows = batch_rows
        prepare_folder(self._folder)
        self.loaded_through: int | None = None
        """Everything that this host acknowledged before this microsecond is in the store; None before the first run."""
        self.last_error: str | None = None
        """Why the latest run failed; None when it succeeded."""

    def run_once(self) -> LoadStats:
        """Load everything that was in the spools when this began.

        Raises:
            StoreError: when the database is away or full; nothing is lost, run again.
            SpoolError: when a spool cannot be read just now; nothing is lost, run again.
        """
        turn = FileLock.take(self._folder / LOCK_NAME, wait=True)
        try:
            began = self._clock()
            stats = LoadStats()
            for path in spool_paths(self._folder):
                self._drain(path, stats)
                stats.spools += 1
            sweep(self._folder)
            with self._changing() as connection:
                stats.absorbed += release_quarantined(connection, self._clock())
        except StoreError as error:
            self.last_error = str(error)
            raise
        except (sqlite3.Error, OSError) as error:
            self.last_error = f"the log could not be loaded: {_one_line(error)}"
            raise SpoolError(self.last_error) from error
        finally:
            if turn is not None:
                turn.release()
        self.loaded_through = began
        self.last_error = None
        return stats

    def waiting_rows(self) -> int:
        """Return how many acknowledged rows are not in the store yet."""
        waiting = 0
        for path in spool_paths(self._folder):
            try:
                spool = LoadableSpoolFile(path)
            except sqlite3.Error:
                continue
            try:
                waiting += spool.count()
            finally:
                spool.close()
        return waiting

    def _drain(self, path: Path, stats: LoadStats) -> None:
        # Taken before the reading: a writer that dies meanwhile leaves its last rows for the next run.
        with orphaned(path) as lock:
            try:
                spool = LoadableSpoolFile(path)
                try:
                    last = spool.last()
                    while last and (records := spool.read(self._batch_rows)):
                        stats.absorbed += self.take(records)
                        spool.forget(records[-1][0])
                        if records[-1][0] >= last:
                            break
                finally:
                    spool.close()
            except sqlite3.DatabaseError as error:
                if lock is None or getattr(error, "sqlite_errorcode", 0) not in (
                    sqlite3.SQLITE_CORRUPT,
                    sqlite3.SQLITE_NOTADB,
                ):
                    raise
                _log.exception("spool %s is damaged and is put aside", path.name)
                path.rename(path.with_suffix(".damaged"))
                stats.damaged += 1
                return
            if lock is not None:
                remove(path)
                stats.adopted += 1

    def take(self, records: Sequence[Record]) -> Absorbed:
        """Take records into the store in one transaction; a row that the database refuses becomes a dead letter.

        Raises:
            StoreError: when the database is away or full; nothing was taken.
        """
        now = self._clock()
        rows = [_decode(kind, data, now) for _, kind, data in records]
        try:
            with self._changing() as connection:
                return absorb(connection, rows, now)
        except _REFUSED as error:
            if len(records) > 1:
                half = len(records) // 2
                absorbed = self.take(records[:half])
                absorbed += self.take(records[half:])
                return absorbed
            _, kind, data = records[0]
            letter = _refused(kind, "storage_refused", _one_line(error), data, now)
            with self._changing() as connection:
                return absorb(connection, [letter], now)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Connection]:
        """Open a transaction of the store; its troubles are the store's, never taken for those of a spool."""
        try:
            with self._store.begin() as connection:
                yield connection
        except _REFUSED:
            raise
        except (sa.exc.DBAPIError, psycopg.Error, sqlite3.Error) as error:
            raise StoreError(f"the database could not take the log: {_one_line(error)}") from error


def _decode(kind: str, data: bytes, now: int) -> LogRow:
    decoder = _DECODERS.get(kind)
    if decoder is None:
        return _refused(kind, "unreadable", f"unknown kind of row {kind!r}", data, now)
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _refused(kind, "unreadable", str(error), data, now)


def _refused(kind: str, reason: str, detail: str, data: bytes, now: int) -> DeadLetter:
    payload = data.decode(errors="backslashreplace").replace("\x00", "\\u0000")
    letter_kind = _KINDS[kind][1] if kind in _KINDS else "event"
    return dead_letter(letter_kind, reason, detail, payload, source="spool", received_at=now)


def _one_line(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    text = str(original).strip()
    return text.splitlines()[0] if text else type(original).__name__
