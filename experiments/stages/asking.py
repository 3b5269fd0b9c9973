"""The stages of each rule once a day, and whenever somebody asks: jobs, each put into the queue once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.jobs import queue
from experiments.jobs.nightly import last_time
from experiments.keeping.heads import UnknownKeyError
from experiments.keeping.repository import Repository
from experiments.stages.showing import rules_of
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.job_tables import jobs

KIND = "stages"
HOUR = 3
"""Of the project's time zone, from which on the stages of a new day are due."""
FIRST_WEEKS = 8
"""Week ends that the first computing of a rule begins with."""


def ask_for_stages(
    store: Store, allowed: Callable[[Connection], None] = lambda _: None, *, now: int | None = None
) -> list[str]:
    """Put the computings that are due today into the queue; return the ids of the new jobs.

    A day that no worker saw is not made up for: nobody decided by it.

    Args:
        store: definitions and queue; nothing is locked while nothing is due.
        allowed: called inside the transaction; raises when this process may not ask.
        now: microseconds since 1970 UTC; by default the database's.
    """
    repository = Repository(store)
    keys = rules_of(repository)
    if not keys:
        return []
    try:
        zone = ZoneInfo(repository.project().time_zone)
    except UnknownKeyError:
        return []
    with store.read() as connection:
        at = database_now(connection) if now is None else now
        day = last_time(datetime.fromtimestamp(at / 1e6, zone), HOUR).date().isoformat()
        wanted = {f"{KIND}-{key}-{day}": key for key in keys}
        there = set(connection.scalars(sa.select(jobs.c.id).where(jobs.c.id.in_(list(wanted)))))
    if not wanted.keys() - there:
        return []
    asked = []
    with store.begin() as connection:
        allowed(connection)
        for job, key in wanted.items():
            params = {"rule": key, "weeks": FIRST_WEEKS}
            _, new = queue.enqueue(connection, job, KIND, params, created_by="schedule", now=at)
            asked += [job] if new else []
    return asked


def ask_now(connection: Connection, key: str, actor: str, *, as_of_us: int | None = None, weeks: int = 0) -> str:
    """Put a computing into the queue because somebody asks for it; return the job's id.

    Args:
        connection: inside ``store.begin()``.
        key: of a rule that is computed here.
        actor: who asks.
        as_of_us: microseconds since 1970 UTC; by default now.
        weeks: see `computing.compute`.
    """
    at = database_now(connection)
    params = {"rule": key, "weeks": weeks, **({} if as_of_us is None else {"as_of": as_of_us})}
    return queue.enqueue(connection, f"{KIND}-{key}-asked-{at}", KIND, params, created_by=actor, now=at)[0].id
