"""When policies learn: each experiment's updates put into the queue, one for each turn, whoever asks and how often."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.jobs import queue
from experiments.keeping.heads import read_experiments
from experiments.keeping.records import ExperimentRecord
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.job_tables import jobs

KIND = "learn"
HOUR_US = 3_600_000_000
STATES = frozenset({"running", "paused"})
"""States in which a policy goes on learning."""


def turn(record: ExperimentRecord, now: int) -> int | None:
    """Return the number of the update that is due: how many times ``every_hours`` have passed since the launch.

    ``None`` where nothing is: nothing is learned, or the first turn has not come. An experiment that starts from a
    finished one has a turn 0.
    """
    allocation = record.definition.allocation
    if allocation is None or allocation.policy == "uniform" or record.state not in STATES or record.started_at is None:
        return None
    number = (now - record.started_at) // max(1, round(allocation.update.every_hours * HOUR_US))
    least = 0 if allocation.warm_start else 1
    return int(number) if number >= least else None


def due(connection: Connection, now: int) -> list[tuple[str, str]]:
    """Return (id of the job, experiment) of each update whose turn has come and that nobody asked for yet.

    Turns that passed while no worker ran are not made up for: the next update learns from all of it.
    """
    wanted = {}
    for key, record in sorted(read_experiments(connection).items()):
        number = turn(record, now)
        if number is not None:
            wanted[f"{KIND}-{key}-{number}"] = key
    c = jobs.c
    there = set(connection.scalars(sa.select(c.id).where(c.kind == KIND, c.id.in_(list(wanted))))) if wanted else set()
    return [(job, key) for job, key in wanted.items() if job not in there]


def ask_for_updates(
    store: Store, allowed: Callable[[Connection], None] = lambda _: None, *, now: int | None = None
) -> list[str]:
    """Put the updates that are due into the queue, each once; return the ids of the new jobs.

    Args:
        store: definitions and queue; nothing is locked while nothing is due.
        allowed: called inside the transaction; raises when this process may not ask.
        now: microseconds since 1970 UTC; by default the database's.
    """
    with store.read() as connection:
        at = database_now(connection) if now is None else now
        found = due(connection, at)
    if not found:
        return []
    asked = []
    with store.begin() as connection:
        allowed(connection)
        for job, key in found:
            _, new = queue.enqueue(connection, job, KIND, {}, created_by="schedule", experiment=key, now=at)
            asked += [job] if new else []
    return asked


def ask_for_update(connection: Connection, record: ExperimentRecord, actor: str, *, force: bool = True) -> str:
    """Put one update into the queue because somebody asks for it; return the job's id.

    Args:
        connection: inside ``store.begin()``.
        record: the experiment.
        actor: who asks.
        force: whether a version is made also when little is new, or while another one is ramped up.
    """
    at = database_now(connection)
    params = {"force": True} if force else {}
    asked = queue.enqueue(
        connection, f"{KIND}-{record.key}-asked-{at}", KIND, params, created_by=actor, experiment=record.key, now=at
    )
    return asked[0].id
