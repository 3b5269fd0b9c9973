"""The run of an import: batches out of a file, each stored in one transaction with the checkpoint behind it.

Rerunning is always right: a finished import of the same file with the same options is not done again, an interrupted
one goes on behind its last batch, and every row has a key that follows from its content, so that nothing counts twice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.errors import InputError
from experiments.importing.mapping import Origin
from experiments.importing.reading import Cells, batches, count_rows
from experiments.importing.values import CellError
from experiments.log.absorb import Absorbed, absorb
from experiments.log.dead_letters import DeadLetter, dead_letter
from experiments.personal import withheld
from experiments.sources.file import FileTable, open_file, printable
from experiments.store import Store
from experiments.store.log_tables import imports

SHOWN_PROBLEMS = 10

Kind = Literal["decisions", "events", "members"]
Progress = Callable[[int, int], None]
"""Called with rows done and rows in all."""


@dataclass(frozen=True)
class RowProblem:
    """A row that was refused: it is kept among the dead letters."""

    row: int
    """1 is the first row below the header."""
    message: str


@dataclass(frozen=True)
class ImportResult:
    """What an import did, earlier parts of an interrupted one included."""

    kind: Kind
    rows: int
    """Rows in the file."""
    accepted: int
    """New rows of the log, or members written."""
    duplicates: int
    """What the log held already."""
    conflicts: int
    """Decisions that differ in variant from the stored ones: their units count as contaminated."""
    rejected: int
    """Dead letters."""
    problems: tuple[RowProblem, ...] = ()
    """The first rejected rows of this run."""
    resumed_at: int = 0
    """Rows that an earlier, interrupted run had done."""
    already_done: bool = False
    """The same file was imported with the same options before: nothing was done."""


class BadRowError(CellError):
    """A row that cannot be used, with one of ``DEAD_LETTER_REASONS``."""

    def __init__(self, message: str, reason: str = "invalid") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Checkpoint:
    """How far an import came."""

    id: str
    started_at: int
    rows_done: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    conflicts: int = 0
    finished_at: int | None = None


@dataclass(frozen=True)
class Job:
    """One import, made ready: what to read and what to do with it."""

    kind: Kind
    source: str
    columns: tuple[str, ...]
    """Columns to read; each cell arrives as text or None."""
    read: Callable[[int, Cells], Any]
    """Row number and cells → what ``store`` takes; raises CellError."""
    store: Callable[[Connection, list[Any], int], Absorbed]
    """Stores the good rows of a batch."""


def source_name(path: Path, origin: Origin) -> str:
    """Return the name under which the rows of a file are kept.

    >>> source_name(Path("/data/hillstrom.csv.gz"), Origin())
    'import:hillstrom'
    """
    return origin.source or f"import:{printable(path.name).split('.')[0]}"


def import_id(kind: Kind, path: Path, options: Origin) -> str:
    """Return the identity of an import: the file's content and what was asked."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    asked = msgspec.json.encode([kind, content, asdict(options)], order="deterministic")
    return hashlib.sha256(asked).hexdigest()[:32]


def run(
    store: Store,
    path: Path,
    prepare: Callable[[FileTable, int], Job],
    *,
    kind: Kind,
    options: Origin,
    encoding: str | None = None,
    progress: Progress | None = None,
    now: int | None = None,
) -> ImportResult:
    """Import a file.

    Args:
        store: where to.
        path: CSV (UTF-8, GB18030, UTF-16; plain or gzip) or Parquet.
        prepare: makes the job of an open file, given when the import began (microseconds).
        kind: what the rows are.
        options: what was asked; part of the import's identity.
        encoding: of a CSV; found out when None.
        progress: told how far it is.
        now: our clock in microseconds, the system's by default.

    Raises:
        InputError: when the file or the mapping cannot be used at all; nothing is stored then.
    """
    if path.exists() and not path.is_dir() and not path.is_file():
        raise InputError(f"{path}: is no file on disk; save it first, so that the import can be resumed")
    with open_file(path, encoding=encoding) as file:
        identity = import_id(kind, Path(path), options)
        checkpoint = _read_checkpoint(store, identity)
        clock = time.time_ns() // 1000 if now is None else now
        if checkpoint is None:
            checkpoint = Checkpoint(identity, started_at=clock)
        job = prepare(file, checkpoint.started_at)
        total = count_rows(file, job.columns)
        resumed_at = checkpoint.rows_done
        problems: list[RowProblem] = []
        if checkpoint.finished_at is None:
            for number, batch in batches(file, job.columns, skip=resumed_at):
                taken, letters, found = _read(job, batch, number, checkpoint.started_at)
                if not taken and found and not checkpoint.rows_done and len(found) == len(batch):
                    raise InputError(
                        f"{path}: none of the first {len(batch):,} rows can be used; "
                        f"row {found[0].row}: {found[0].message}; nothing was imported"
                    )
                problems += found[: SHOWN_PROBLEMS - len(problems)]
                checkpoint.rows_done = number + len(batch)
                _store(store, job, checkpoint, taken, letters, clock, last=checkpoint.rows_done >= total)
                if progress is not None:
                    progress(checkpoint.rows_done, total)
            if checkpoint.finished_at is None:
                _store(store, job, checkpoint, [], [], clock, last=True)
    return ImportResult(
        kind=kind,
        rows=total,
        accepted=checkpoint.accepted,
        duplicates=checkpoint.duplicates,
        conflicts=checkpoint.conflicts,
        rejected=checkpoint.rejected,
        problems=tuple(problems),
        resumed_at=0 if resumed_at >= total else resumed_at,
        already_done=resumed_at >= total > 0,
    )


def _read(
    job: Job, batch: list[Cells], first: int, received_at: int
) -> tuple[list[Any], list[DeadLetter], list[RowProblem]]:
    taken: list[Any] = []
    letters: list[DeadLetter] = []
    problems: list[RowProblem] = []
    kinds: dict[Kind, Literal["decision", "event", "member"]] = {
        "decisions": "decision",
        "events": "event",
        "members": "member",
    }
    for offset, cells in enumerate(batch, first + 1):
        try:
            taken.append(job.read(offset, cells))
        except CellError as error:
            problems.append(RowProblem(offset, str(error)))
            reason = error.reason if isinstance(error, BadRowError) else "invalid"
            row: dict[str, str | None] = dict(zip(job.columns, cells, strict=True))
            payload = msgspec.json.encode(withheld(row) if reason == "personal_id" else row).decode()
            letters.append(
                dead_letter(
                    kinds[job.kind],
                    reason,
                    f"row {offset}: {error}",
                    payload,
                    source=job.source,
                    received_at=received_at,
                    key=str(offset),
                )
            )
    return taken, letters, problems


def _store(
    store: Store, job: Job, checkpoint: Checkpoint, taken: list[Any], letters: list[DeadLetter], now: int, *, last: bool
) -> None:
    """Store a batch and how far it brings the import, in one transaction."""
    with store.begin() as connection:
        absorbed = job.store(connection, taken, now) if taken else Absorbed()
        absorb(connection, letters, now)
        checkpoint.accepted += absorbed.decisions + absorbed.events + absorbed.quarantined
        checkpoint.duplicates += absorbed.duplicates
        checkpoint.conflicts += absorbed.conflicts
        checkpoint.rejected += absorbed.dead_letters + len(letters)
        checkpoint.finished_at = now if last else None
        values = asdict(checkpoint)
        connection.execute(sa.delete(imports).where(imports.c.id == checkpoint.id))
        connection.execute(sa.insert(imports).values(kind=job.kind, file=job.source, **values))


def _read_checkpoint(store: Store, identity: str) -> Checkpoint | None:
    with store.read() as connection:
        row = connection.execute(sa.select(imports).where(imports.c.id == identity)).mappings().first()
    if row is None:
        return None
    return Checkpoint(**{name: row[name] for name in Checkpoint.__dataclass_fields__})
