"""The sizes of segments as they were counted last, and a job that counts them anew when something they hang on changed.

They are kept as the result of that job: what they say is of a moment, and the next one replaces it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.jobs import queue
from experiments.jobs.nightly import last_time
from experiments.keeping.heads import UnknownKeyError
from experiments.keeping.repository import Repository
from experiments.segments.counting import Size
from experiments.stages.asking import HOUR
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.job_tables import jobs
from experiments.store.stage_tables import stage_runs

KIND = "segments"
HANGS_ON = frozenset({"segment", "holdout", "project"})


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What one counting came to."""

    as_of: str
    """ISO 8601 UTC."""
    segments: dict[str, Size]


def latest(store: Store) -> Counted | None:
    """Return the sizes as they were counted last; ``None`` while they never were."""
    done = queue.listed(store, kind=KIND, state="done", limit=1)
    return msgspec.convert(done[0].result, Counted) if done else None


def ask_for_sizes(
    store: Store,
    allowed: Callable[[Connection], None] = lambda _: None,
    *,
    created_by: str = "schedule",
    now: int | None = None,
) -> str | None:
    """Put a counting into the queue, once a day and whenever rules or computed stages changed; return a new job's id.

    Args:
        store: definitions and queue; nothing is locked while nothing is due.
        allowed: called inside the transaction; raises when this process may not ask.
        created_by: who asks.
        now: microseconds since 1970 UTC; by default the database's.
    """
    repository = Repository(store)
    heads = repository.heads()
    if not any(kind == "segment" for kind, _ in heads):
        return None
    try:
        zone = ZoneInfo(repository.project().time_zone)
    except UnknownKeyError:
        return None
    revisions = sorted((*name, head.revision) for name, head in heads.items() if name[0] in HANGS_ON)
    with store.read() as connection:
        at = database_now(connection) if now is None else now
        computed = connection.scalar(sa.select(sa.func.max(stage_runs.c.at)))
        day = last_time(datetime.fromtimestamp(at / 1e6, zone), HOUR).date().isoformat()
        state = hashlib.sha256(msgspec.json.encode([revisions, computed])).hexdigest()[:12]
        job = f"{KIND}-{day}-{state}"
        if connection.scalar(sa.select(jobs.c.id).where(jobs.c.id == job)) is not None:
            return None
    with store.begin() as connection:
        allowed(connection)
        _, new = queue.enqueue(connection, job, KIND, {}, created_by=created_by, now=at)
    return job if new else None
