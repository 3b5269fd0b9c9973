"""One spool file: a small SQLite database that one process writes and the loader empties.

``NAME.spool`` holds the rows, ``NAME.lock`` carries the writer's flock for as long as its process lives. The lock is
a file of its own because closing any descriptor of a SQLite file drops SQLite's own locks on it. Names are random and
never used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from experiments.log.local_disk import file_system, is_network_file_system

Synchronous = Literal["FULL", "NORMAL", "OFF"]
Record = tuple[int, str, bytes]
"""Sequence number, kind (a value of ``spool.KINDS``), the row as JSON."""

SUFFIX = ".spool"
LOCK_SUFFIX = ".lock"
BUSY_TIMEOUT_S = 30.0
ROWS_A_STATEMENT = (256, 32, 4, 1)
"""Each statement gives up Python's lock and has to get it back from the thread that answers requests: fewer, larger
ones."""


class SpoolError(RuntimeError):
    """The rows could not be made durable: answer 503 with Retry-After; the caller may send them again."""


def prepare_folder(folder: Path) -> None:
    """Create the spool folder and refuse one that cannot keep promises.

    Raises:
        SpoolError: when it cannot be created or lies on a network file system.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpoolError(f"cannot create the spool folder {folder}: {error.strerror}") from None
    if is_network_file_system(folder):
        raise SpoolError(
            f"the spool folder {folder} is on a network file system ({file_system(folder)}), where an acknowledged row "
            "may be lost: set EQUIPOISE_DATA to a folder on a local disk"
        )


class FileLock:
    """An flock on a file of its own, held until ``release`` or the end of the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, wait: bool = False) -> FileLock | None:
        """Take the lock; None when another holds it and ``wait`` is false."""
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                return None
            # Whoever held it may have removed the file meanwhile: then this lock guards nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116 - as os.fstat beside it
                    return cls(path, descriptor)
            os.close(descriptor)

    def release(self, *, remove: bool = False) -> None:
        """Let go of the lock, and of its file too when nobody shall need it again."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


class OwnedSpoolFile:
    """A spool file in the hands of its one writer."""

    def __init__(self, folder: Path, synchronous: Synchronous = "FULL") -> None:
        """Create a new file.

        Args:
            folder: a folder that ``prepare_folder`` accepted.
            synchronous: what SQLite does at commit. Only FULL makes a commit durable; the others exist so that a test
                can show that it would notice.
        """
        self.path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        lock = FileLock.take(self.path.with_suffix(LOCK_SUFFIX))
        if lock is None:
            raise SpoolError(f"{self.path.name} is in use")
        self._lock = lock
        self._next = 1
        try:
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(f"PRAGMA synchronous={synchronous}")
            self._connection.execute(
                "CREATE TABLE rows (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL)"
            )
            # A file that is durable under a name that is not would be lost all the same.
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except (sqlite3.Error, OSError):
            # The lock goes without its file: the loader removes what is left.
            lock.release()
            raise

    def commit(self, rows: list[tuple[str, bytes]]) -> None:
        """Write the rows in one transaction; they are on disk when this returns.

        Raises:
            sqlite3.Error: when they could not be written; none of them is then acknowledged.
        """
        first = self._next
        # Numbers are never used twice, even when the file has been emptied: the loader forgets rows by their number.
        self._next += len(rows)
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            start = 0
            for size in ROWS_A_STATEMENT:
                while len(rows) - start >= size:
                    values: list[object] = []
                    for number, row in enumerate(rows[start : start + size], first + start):
                        values.append(number)
                        values += row
                    connection.execute(_insert(size), values)
                    start += size
            connection.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Hand the file over to whoever loads it."""
        try:
            self._connection.close()
        finally:
            self._lock.release()


@cache
def _insert(rows: int) -> str:
    return "INSERT INTO rows VALUES " + ", ".join(["(?, ?, ?)"] * rows)  # noqa: S608 - no names in it


class LoadableSpoolFile:
    """A spool file as the loader sees it: to be read from the front and forgotten up to a number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # URI mode rw: never create the file anew when its adopter has just removed it.
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
        )
        # The owner alone checkpoints. A forgotten row that comes back after a crash is loaded again, which is harmless.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA wal_autocheckpoint=0")

    def last(self) -> int:
        """Return the highest number in the file, 0 when it is empty or was never finished."""
        try:
            return int(self._connection.execute("SELECT coalesce(max(seq), 0) FROM rows").fetchone()[0])
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return 0
            raise

    def read(self, limit: int) -> list[Record]:
        """Return the first rows, in their order."""
        return self._connection.execute("SELECT seq, kind, data FROM rows ORDER BY seq LIMIT ?", (limit,)).fetchall()

    def count(self) -> int:
        """Return how many rows are waiting."""
        if not self.last():
            return 0
        return int(self._connection.execute("SELECT count(*) FROM rows").fetchone()[0])

    def forget(self, through: int) -> None:
        """Delete the rows up to a number: they are durably stored elsewhere."""
        self._connection.execute("DELETE FROM rows WHERE seq <= ?", (through,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def spool_paths(folder: Path) -> list[Path]:
    """Return the spool files of a folder, oldest first."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_ctime_ns, path))
    return [path for _, path in sorted(found)]


@contextlib.contextmanager
def orphaned(path: Path) -> Iterator[FileLock | None]:
    """Give the lock of a spool file whose writer is gone; None while the writer lives."""
    lock = FileLock.take(path.with_suffix(LOCK_SUFFIX))
    try:
        yield lock
    finally:
        if lock is not None:
            lock.release()


def remove(path: Path) -> None:
    """Remove an emptied spool file and its lock file; the caller holds the lock."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.with_suffix(LOCK_SUFFIX).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove lock files whose spool is gone: what a crash between two steps leaves behind."""
    for path in folder.glob(f"*{LOCK_SUFFIX}"):
        if len(path.stem) == 32 and not path.with_suffix(SUFFIX).exists():
            lock = FileLock.take(path)
            if lock is not None:
                lock.release(remove=not path.with_suffix(SUFFIX).exists())
