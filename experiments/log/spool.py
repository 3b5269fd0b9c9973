"""The spool: what is acknowledged is on disk, whether or not the database can be reached.

Each process owns one spool file. One writer thread takes what is queued, writes it in one commit, and only then
resolves the futures of the rows in it: waiting for a commit costs a future, not a thread, and the disk is asked once
for many requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self

import msgspec

from experiments.log.dead_letters import DeadLetter
from experiments.log.rows import AliasRow, DecisionRow, EventRow, TraitsRow
from experiments.log.spool_file import OwnedSpoolFile, SpoolError, Synchronous, prepare_folder

__all__ = ["LogRow", "Spool", "SpoolError", "SpoolFullError"]

LogRow = DecisionRow | EventRow | TraitsRow | AliasRow | DeadLetter
KINDS: dict[type[LogRow], str] = {DecisionRow: "d", EventRow: "e", TraitsRow: "t", AliasRow: "a", DeadLetter: "x"}

DEFAULT_SYNCHRONOUS: Synchronous = "FULL"
MAX_QUEUED_ROWS = 100_000
MAX_COMMIT_ROWS = 5_000
RETRY_AFTER_S = 1

_Item = tuple[list[tuple[str, bytes]], Future[None] | asyncio.Future[None]]


class SpoolFullError(SpoolError):
    """Too much is queued: answer 503 with Retry-After at once."""


class Spool:
    """The writing end of the log in one process.

    >>> import tempfile
    >>> row = EventRow("pos", "e-1", "Order Completed", "member", "m-1", at=0, received_at=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Spool(Path(folder)) as spool:
    ...         spool.append([row]).result(timeout=10)
    """

    def __init__(
        self,
        directory: Path,
        synchronous: Synchronous | None = None,
        *,
        max_queued_rows: int = MAX_QUEUED_ROWS,
        max_commit_rows: int = MAX_COMMIT_ROWS,
    ) -> None:
        """Create this process's spool file and start its writer.

        Args:
            directory: the deployment's spool folder, on a local disk.
            synchronous: FULL unless a test wants to see its durability checks fail.
            max_queued_rows: rows that may wait for the disk before ``append`` refuses.
            max_commit_rows: rows that one commit takes at most (the last request may exceed it).

        Raises:
            SpoolError: when the folder cannot be used.
        """
        self._directory = Path(directory)
        self._synchronous: Synchronous = synchronous or DEFAULT_SYNCHRONOUS
        self._max_queued_rows = max_queued_rows
        self._max_commit_rows = max_commit_rows
        prepare_folder(self._directory)
        self._file: OwnedSpoolFile | None
        try:
            self._file = OwnedSpoolFile(self._directory, self._synchronous)
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(f"cannot write to the spool folder {directory}: {error}") from error
        self._encoder = msgspec.json.Encoder()
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._queued_rows = 0
        self._closed = False
        self.last_error: str | None = None
        """Why the latest commit failed; None when it succeeded."""
        self._thread = threading.Thread(target=self._write_forever, name="equipoise-spool", daemon=True)
        self._thread.start()

    @property
    def queued_rows(self) -> int:
        """Rows that wait for the disk just now."""
        return self._queued_rows

    @property
    def path(self) -> Path | None:
        """The file that is being written; None while the disk refuses one."""
        return self._file.path if self._file else None

    def append(self, rows: Sequence[LogRow]) -> Future[None]:
        """Queue rows for the next commit, from any thread.

        Returns:
            A future that is resolved when all of the rows are on disk, or fails with ``SpoolError``.

        Raises:
            SpoolFullError: when too much is queued; nothing was taken.
            ValueError: when a row cannot be written as JSON (a lone surrogate, say); nothing was taken.
        """
        future: Future[None] = Future()
        self._put(rows, future)
        return future

    def append_async(self, rows: Sequence[LogRow]) -> asyncio.Future[None]:
        """Queue rows from a coroutine of the running event loop; otherwise like ``append``.

        All futures of one commit are resolved by one call into the loop.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(rows, future)
        return future

    def close(self, timeout_s: float | None = 30.0) -> None:
        """Write what is queued, then leave the file to the loader. Appending is refused from now on."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, rows: Sequence[LogRow], future: Future[None] | asyncio.Future[None]) -> None:
        encode = self._encoder.encode
        # Encoded here, not in the writer: a row that has no JSON must not fail the requests that share its commit.
        records = [(KINDS[type(row)], encode(row)) for row in rows]
        with self._guard:
            if self._closed:
                raise SpoolError(self.last_error or "the spool is closed: the service is stopping")
            if self._queued_rows + len(records) > self._max_queued_rows:
                raise SpoolFullError(f"{self._queued_rows} rows wait for the disk: try again in {RETRY_AFTER_S} s")
            self._queued_rows += len(records)
            # Inside the guard, so that nothing can be queued behind the mark that close() sets.
            self._queue.put((records, future))

    def _write_forever(self) -> None:
        try:
            self._write_until_closed()
        finally:
            # Also when the writer itself fails: nobody shall wait for an answer that cannot come.
            with self._guard:
                self._closed = True
            with contextlib.suppress(queue.Empty):
                while True:
                    item = self._queue.get_nowait()
                    if item is not None:
                        _resolve([item[1]], SpoolError("the spool's writer has failed: restart the service"))
            if self._file is not None:
                with contextlib.suppress(sqlite3.Error, OSError):
                    self._file.close()

    def _write_until_closed(self) -> None:
        stopping = False
        while not stopping:
            item = self._queue.get()
            if item is None:
                break
            records, waiters = list(item[0]), [item[1]]
            with contextlib.suppress(queue.Empty):
                while len(records) < self._max_commit_rows:
                    item = self._queue.get_nowait()
                    if item is None:
                        stopping = True
                        break
                    records.extend(item[0])
                    waiters.append(item[1])
            error: SpoolError | None = SpoolError("the spool's writer has failed: restart the service")
            try:
                error = self._commit(records)
            finally:
                with self._guard:
                    self._queued_rows -= len(records)
                self.last_error = str(error) if error else None
                _resolve(waiters, error)

    def _commit(self, records: list[tuple[str, bytes]]) -> SpoolError | None:
        try:
            if self._file is None:
                self._file = OwnedSpoolFile(self._directory, self._synchronous)
            self._file.commit(records)
        except (sqlite3.Error, OSError, SpoolError) as error:
            self._leave_unless_full(error)
            return SpoolError(f"the rows could not be written to disk ({error}): try again in {RETRY_AFTER_S} s")
        return None

    def _leave_unless_full(self, error: Exception) -> None:
        """Go on in a new file after an error that says more than "no space" or "busy".

        After a failed fsync the kernel may report success for the very pages it lost, so this file is not to be
        trusted with new rows; what it acknowledged before is on disk, and the loader takes it from there.
        """
        code = getattr(error, "sqlite_errorcode", None)
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY) or self._file is None:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            self._file.close()
        self._file = None


def _resolve(waiters: list[Future[None] | asyncio.Future[None]], error: SpoolError | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiters:
        if isinstance(waiter, asyncio.Future):
            by_loop.setdefault(waiter.get_loop(), []).append(waiter)
        elif waiter.set_running_or_notify_cancel():
            _settle(waiter, error)
    for loop, futures in by_loop.items():
        # A closed loop has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle_all, futures, error)


def _settle_all(futures: list[asyncio.Future[None]], error: SpoolError | None) -> None:
    for future in futures:
        if not future.done():
            _settle(future, error)


def _settle(future: Future[None] | asyncio.Future[None], error: SpoolError | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
