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
from typing import Any, Self

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


class Commit(asyncio.Future[None]):
    """What coroutines wait for. It is shared by all whose rows are in one commit, so none of them can call it off."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002 - as asyncio has it
        """Refuse: who no longer waits goes away alone, once the commit is through."""
        return False


class _Batch:
    """Rows that go to disk together, and who waits for them."""

    __slots__ = ("commits", "futures", "records")

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []
        self.futures: list[Future[None]] = []
        self.commits: dict[asyncio.AbstractEventLoop, Commit] = {}

    def resolve(self, error: SpoolError | None) -> None:
        """Tell everybody; each event loop by one call into it."""
        for future in self.futures:
            if future.set_running_or_notify_cancel():
                _settle(future, error)
        for loop, commit in self.commits.items():
            # A closed loop has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, commit, error)


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
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._open: _Batch | None = None
        """The batch at the end of the queue, while the writer has not taken it and it is not full."""
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
        records = self._encoded(rows)
        with self._guard:
            self._batch_for(records).futures.append(future)
        return future

    def append_async(self, rows: Sequence[LogRow]) -> Commit:
        """Queue rows from a coroutine of the running event loop; otherwise like ``append``.

        Everybody whose rows share a commit waits for one future, which cannot be cancelled.
        """
        loop = asyncio.get_running_loop()
        records = self._encoded(rows)
        with self._guard:
            commits = self._batch_for(records).commits
            commit = commits.get(loop)
            if commit is None:
                commit = commits[loop] = Commit(loop=loop)
        return commit

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

    def _encoded(self, rows: Sequence[LogRow]) -> list[tuple[str, bytes]]:
        # Encoded here, not in the writer: a row that has no JSON must not fail the requests that share its commit.
        encode = self._encoder.encode
        return [(KINDS[type(row)], encode(row)) for row in rows]

    def _batch_for(self, records: list[tuple[str, bytes]]) -> _Batch:
        """Put records into the batch that is written next, and return it; called with the guard held."""
        if self._closed:
            raise SpoolError(self.last_error or "the spool is closed: the service is stopping")
        if self._queued_rows + len(records) > self._max_queued_rows:
            raise SpoolFullError(f"{self._queued_rows} rows wait for the disk: try again in {RETRY_AFTER_S} s")
        self._queued_rows += len(records)
        batch = self._open
        if batch is None:
            batch = self._open = _Batch()
            # Inside the guard, so that nothing can be queued behind the mark that close() sets.
            self._queue.put(batch)
        batch.records += records
        if len(batch.records) >= self._max_commit_rows:
            self._open = None
        return batch

    def _write_forever(self) -> None:
        try:
            self._write_until_closed()
        finally:
            # Also when the writer itself fails: nobody shall wait for an answer that cannot come.
            with self._guard:
                self._closed = True
            with contextlib.suppress(queue.Empty):
                while True:
                    batch = self._queue.get_nowait()
                    if batch is not None:
                        batch.resolve(SpoolError("the spool's writer has failed: restart the service"))
            if self._file is not None:
                with contextlib.suppress(sqlite3.Error, OSError):
                    self._file.close()

    def _write_until_closed(self) -> None:
        while (batch := self._queue.get()) is not None:
            with self._guard:
                if self._open is batch:
                    self._open = None
            error: SpoolError | None = SpoolError("the spool's writer has failed: restart the service")
            try:
                error = self._commit(batch.records)
            finally:
                with self._guard:
                    self._queued_rows -= len(batch.records)
                self.last_error = str(error) if error else None
                batch.resolve(error)

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


def _settle(future: Future[None] | asyncio.Future[None], error: SpoolError | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
