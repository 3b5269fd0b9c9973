"""The queue of jobs: put in once by their id, taken by one worker, taken up again when that worker died."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, RowMapping

from experiments.errors import InputError
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.job_tables import jobs
from experiments.webhooks.events import announce

State = Literal["queued", "running", "done", "failed", "cancelled"]
OVER: frozenset[State] = frozenset({"done", "failed", "cancelled"})

MAX_ATTEMPTS = 4
BACK_OFF_S = (10, 60, 300)
"""How long a failed attempt waits before the next: after the first, the second, the third."""
SILENT_S = 12.0
"""A job whose worker has said nothing for so long is taken up by another one."""
TOLD = {"assignments": "assignments.finished"}
"""Kinds of job whose end webhooks are told, and by which event."""


class UnknownJobError(InputError):
    """There is no job with this id."""


class JobConflictError(InputError):
    """A job with this id is there already and asks for something else."""


class JobLostError(RuntimeError):
    """The job was cancelled, or another worker has taken it up: this one's work on it no longer counts."""


@dataclass(frozen=True)
class Job:
    """One job as the table has it; times are microseconds since 1970 UTC."""

    id: str
    kind: str
    experiment: str | None
    state: State
    params: Mapping[str, Any]
    created_at: int
    created_by: str
    not_before: int
    started_at: int | None
    finished_at: int | None
    rows_done: int
    rows_total: int | None
    attempts: int
    holder: str | None
    heartbeat_at: int | None
    result: Mapping[str, Any] | None
    error: str | None
    """Why it failed, or why its last attempt did: a line for people, without ids of members."""


# asking for work ------------------------------------------------------------------------------------------------------


def enqueue(
    connection: Connection,
    job_id: str,
    kind: str,
    params: Mapping[str, Any],
    *,
    created_by: str,
    experiment: str | None = None,
    now: int | None = None,
) -> tuple[Job, bool]:
    """Put a job into the queue, in the caller's transaction; the same id again is the same job.

    Args:
        connection: inside ``store.begin()``.
        job_id: chosen by the caller, so that asking twice is asking once.
        kind: names the handler, see ``experiments.jobs.handlers``.
        params: what the handler needs, as JSON can say it.
        created_by: who asks.
        experiment: the experiment it belongs to.
        now: microseconds since 1970 UTC; by default the database's.

    Returns:
        The job, and whether it is new.

    Raises:
        JobConflictError: when there is a job of this id with another kind, experiment or params.
    """
    at = database_now(connection) if now is None else now
    text = _json(params)
    row = {
        "id": job_id, "kind": kind, "experiment": experiment, "state": "queued", "params": text, "created_at": at,
        "created_by": created_by, "not_before": at, "rows_done": 0, "attempts": 0,
    }  # fmt: skip
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(jobs).values(row).on_conflict_do_nothing().returning(jobs.c.id)
    new = bool(connection.execute(statement).all())
    found = _one(connection, job_id)
    if not new and (found.kind, found.experiment, _json(found.params)) != (kind, experiment, text):
        raise JobConflictError(f"job {job_id} is there already and asks for something else; choose another id")
    return found, new


def get(store: Store, job_id: str) -> Job:
    """Return a job.

    Raises:
        UnknownJobError: when there is none of this id.
    """
    with store.read() as connection:
        return _one(connection, job_id)


def listed(
    store: Store,
    *,
    kind: str | None = None,
    experiment: str | None = None,
    state: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 100,
) -> list[Job]:
    """Return jobs, newest first.

    Args:
        store: where they are kept.
        kind: only these.
        experiment: only those of this experiment.
        state: only those in this state.
        before: ``(created_at, id)`` of the last one seen, to go on after it.
        limit: how many at most.
    """
    c = jobs.c
    query = sa.select(jobs).order_by(c.created_at.desc(), c.id.desc()).limit(limit)
    for column, wanted in ((c.kind, kind), (c.experiment, experiment), (c.state, state)):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(sa.tuple_(c.created_at, c.id) < sa.tuple_(*map(sa.literal, before)))
    with store.read() as connection:
        return [_job(row) for row in connection.execute(query).mappings()]


def cancel(store: Store, job_id: str) -> Job:
    """Cancel a job that is not over; a running one notices within a few seconds.

    Raises:
        UnknownJobError: when there is none of this id.
    """
    with store.begin() as connection:
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.id == job_id, jobs.c.state.in_(("queued", "running")))
            .values(state="cancelled", finished_at=database_now(connection), holder=None)
        )
        return _one(connection, job_id)


# doing it -------------------------------------------------------------------------------------------------------------


def claim(
    store: Store,
    holder: str,
    kinds: Collection[str],
    *,
    allowed: Callable[[Connection], None] = lambda _: None,
    silent_s: float = SILENT_S,
    now: int | None = None,
) -> Job | None:
    """Take the next job that is due, or one whose worker fell silent; ``None`` when there is nothing to do.

    A job whose workers died ``MAX_ATTEMPTS`` times is given up: it may be what kills them.

    Args:
        store: where they are kept.
        holder: this worker.
        kinds: what it can do.
        allowed: called inside the transaction; raises when this worker may not take anything.
        silent_s: how long another worker has said nothing when its job is taken up.
        now: microseconds since 1970 UTC; by default the database's.
    """
    c = jobs.c
    while _anything_due(store, holder, kinds, silent_s, now):
        with store.begin() as connection:
            allowed(connection)
            at = database_now(connection) if now is None else now
            row = (
                connection.execute(
                    sa.select(jobs)
                    .where(_due(at, holder, silent_s), c.kind.in_(list(kinds)))
                    .order_by(c.created_at, c.id)
                    .limit(1)
                    .with_for_update(skip_locked=True)
                )
                .mappings()
                .first()
            )
            if row is None:
                return None
            mine = sa.update(jobs).where(c.id == row["id"])
            if row["attempts"] >= MAX_ATTEMPTS:
                why = row["error"] or f"its worker ended {MAX_ATTEMPTS} times without finishing it"
                connection.execute(mine.values(state="failed", finished_at=at, holder=None, error=why))
                _tell(connection, _job(row), "failed")
                continue
            started_at = row["started_at"] or at
            taken = {"state": "running", "holder": holder, "heartbeat_at": at, "started_at": started_at}
            connection.execute(mine.values(**taken, attempts=c.attempts + 1))
            return _one(connection, row["id"])
    return None


def beat(store: Store, job: Job, rows_done: int | None = None, rows_total: int | None = None) -> None:
    """Say that the worker is alive, and how far it came.

    Raises:
        JobLostError: when the job is no longer this worker's.
    """
    values: dict[str, int] = {}
    if rows_done is not None:
        values["rows_done"] = rows_done
    if rows_total is not None:
        values["rows_total"] = rows_total
    with store.begin() as connection:
        _update_mine(connection, job, heartbeat_at=database_now(connection), **values)


def finish(store: Store, job: Job, result: Mapping[str, Any]) -> None:
    """Mark a job as done.

    Raises:
        JobLostError: when the job is no longer this worker's.
    """
    with store.begin() as connection:
        at = database_now(connection)
        _update_mine(connection, job, state="done", finished_at=at, holder=None, result=_json(result), error=None)
        _tell(connection, job, "done")


def fail(store: Store, job: Job, error: str, *, again: bool) -> State:
    """Mark an attempt as failed; the job waits for the next one, or is given up.

    Args:
        store: where it is kept.
        job: as claimed.
        error: why, a line for people without ids of members.
        again: whether another attempt may go better.

    Returns:
        ``queued`` or ``failed``.

    Raises:
        JobLostError: when the job is no longer this worker's.
    """
    with store.begin() as connection:
        at = database_now(connection)
        if again and job.attempts < MAX_ATTEMPTS:
            wait_s = BACK_OFF_S[min(job.attempts, len(BACK_OFF_S)) - 1]
            _update_mine(connection, job, state="queued", not_before=at + wait_s * 1_000_000, holder=None, error=error)
            return "queued"
        _update_mine(connection, job, state="failed", finished_at=at, holder=None, error=error)
        _tell(connection, job, "failed")
        return "failed"


def give_back(store: Store, job: Job) -> None:
    """Put a job that was interrupted by a stop of its worker back into the queue; that attempt does not count.

    Raises:
        JobLostError: when the job is no longer this worker's.
    """
    with store.begin() as connection:
        _update_mine(connection, job, state="queued", holder=None, attempts=job.attempts - 1)


def _tell(connection: Connection, job: Job, state: State) -> None:
    """Tell webhooks of the end of a job that somebody waits for, in its transaction."""
    if job.kind in TOLD:
        data = {"job": job.id, "experiment": job.experiment, "state": state}
        announce(connection, TOLD[job.kind], data, once=f"{job.id}:{job.attempts}:{state}")


def _due(at: int, holder: str, silent_s: float) -> sa.ColumnElement[bool]:
    c = jobs.c
    silent = sa.and_(c.state == "running", c.holder != holder, c.heartbeat_at <= at - round(silent_s * 1e6))
    return sa.or_(sa.and_(c.state == "queued", c.not_before <= at), silent)


def _anything_due(store: Store, holder: str, kinds: Collection[str], silent_s: float, now: int | None) -> bool:
    """Look without taking a lock that writers wait for: mostly there is nothing."""
    with store.read() as connection:
        at = database_now(connection) if now is None else now
        query = sa.select(jobs.c.id).where(_due(at, holder, silent_s), jobs.c.kind.in_(list(kinds))).limit(1)
        return bool(connection.execute(query).all())


def _update_mine(connection: Connection, job: Job, **values: Any) -> None:
    c = jobs.c
    mine = (c.id == job.id, c.state == "running", c.holder == job.holder, c.attempts == job.attempts)
    if not connection.execute(sa.update(jobs).where(*mine).values(**values)).rowcount:
        raise JobLostError(f"job {job.id} was cancelled or taken up by another worker")


def _one(connection: Connection, job_id: str) -> Job:
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().first()
    if row is None:
        raise UnknownJobError(f"no job {job_id[:80]!r}; look at the list of jobs")
    return _job(row)


def _job(row: RowMapping) -> Job:
    values = dict(row) | {"params": json.loads(row["params"])}
    values["result"] = None if row["result"] is None else json.loads(row["result"])
    return Job(**values)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
