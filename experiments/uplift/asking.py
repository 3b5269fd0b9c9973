"""When recommendations are made: once for each experiment that has ended, and whenever somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.jobs import queue
from experiments.keeping.heads import read_experiments
from experiments.keeping.records import ExperimentRecord
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.job_tables import jobs
from experiments.store.report_tables import reports
from experiments.uplift.options import Wanted

KIND = "recommend"
DAY_US = 86_400_000_000
RECENT_US = 90 * DAY_US
"""An experiment that ended longer ago gets its recommendation when somebody asks."""


def due(connection: Connection, now: int) -> list[tuple[str, str]]:
    """Return (id of the job, experiment) of each experiment that has ended, may be read, and was not learned from."""
    wanted = {}
    for key, record in sorted(read_experiments(connection).items()):
        definition = record.definition
        if record.state != "ended" or record.ended_at is None or record.ended_at < now - RECENT_US:
            continue
        analysis = definition.analysis
        if definition.allocation is not None or analysis.switchback or analysis.randomised_by_cluster:
            continue
        wanted[f"{KIND}-{key}-{record.ended_at}"] = key
    if not wanted:
        return []
    there = set(connection.scalars(sa.select(jobs.c.id).where(jobs.c.kind == KIND, jobs.c.id.in_(list(wanted)))))
    readable = _readable(connection, {key for job, key in wanted.items() if job not in there})
    return [(job, key) for job, key in wanted.items() if job not in there and key in readable]


def _readable(connection: Connection, keys: set[str]) -> set[str]:
    """Return the experiments whose newest report gives a decision that may be read, with every window over."""
    found = set()
    for key in sorted(keys):
        row = connection.execute(
            sa.select(reports.c.reading, reports.c.document)
            .where(reports.c.experiment == key)
            .order_by(reports.c.number.desc())
            .limit(1)
        ).first()
        if row is not None and row.reading not in (None, "do_not_read") and '"stands":"waiting"' not in row.document:
            found.add(key)
    return found


def ask_for_recommendations(
    store: Store, allowed: Callable[[Connection], None] = lambda _: None, *, now: int | None = None
) -> list[str]:
    """Put the recommendations that are due into the queue, each once; return the ids of the new jobs.

    Args:
        store: definitions, reports and queue; nothing is locked while nothing is due.
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


def ask_for_recommendation(connection: Connection, record: ExperimentRecord, wanted: Wanted, actor: str) -> str:
    """Put one recommendation into the queue because somebody asks for it; return the job's id.

    Args:
        connection: inside ``store.begin()``.
        record: the experiment.
        wanted: phase, outcome and value.
        actor: who asks.
    """
    at = database_now(connection)
    params = {name: value for name, value in asdict(wanted).items() if value is not None}
    asked = queue.enqueue(
        connection, f"{KIND}-{record.key}-asked-{at}", KIND, params, created_by=actor, experiment=record.key, now=at
    )
    return asked[0].id
