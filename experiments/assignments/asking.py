"""Taking a list in: kept with its job, once, however often it is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from experiments.assignments.request import KIND, LIST, RESULT, ListRequest
from experiments.errors import InputError
from experiments.jobs import files, queue
from experiments.store.clock import database_now
from experiments.store.job_tables import jobs

if TYPE_CHECKING:
    from experiments.store import Store

LATE_US = 5 * 60 * 1_000_000
"""How far in the past a scheduled send may lie when its list comes."""


class PastSendError(InputError):
    """The send was scheduled for a time that is over."""


def ask(
    store: Store,
    request: ListRequest,
    path: Path,
    *,
    name: str,
    media_type: str,
    created_by: str,
    now: int,
    allowed: Callable[[], None] = lambda: None,
) -> tuple[queue.Job, bool]:
    """Keep a list and put its job into the queue; return the job, and whether this made it, or made it begin again.

    The same list with the same parameters is the same job: waiting, under way or done. One that failed or was cancelled
    begins again, and so does one whose file is no longer kept: with what the log holds it comes out the same.

    Args:
        store: where jobs are.
        request: what is asked for.
        path: the list on the disk.
        name: of the list.
        media_type: of the list.
        created_by: who asks.
        now: microseconds since 1970 UTC.
        allowed: called before a job is made or begun again; raises when there must be none.

    Raises:
        PastSendError: when the scheduled send is over already.
    """
    known = find(store, request)
    if known is not None and not _begins_again(store, known):
        return known, False
    allowed()
    if request.send_at is not None and request.send_at < now - LATE_US:
        raise PastSendError("send_at: lies in the past; a list is decided before it is sent")
    kept = files.find(store, request.job_id, LIST)
    if kept is None or kept.sha256 != request.sha256:
        files.save_path(store, request.job_id, LIST, path, name=name, media_type=media_type)
    with store.begin() as connection:
        job, new = queue.enqueue(
            connection,
            request.job_id,
            KIND,
            request.params(),
            created_by=created_by,
            experiment=request.experiment,
        )
        if not new:
            c = jobs.c
            again = sa.update(jobs).where(c.id == job.id, c.state.in_(sorted(queue.OVER)))
            connection.execute(
                again.values(
                    state="queued",
                    not_before=database_now(connection),  # the clock that workers go by
                    attempts=0,
                    error=None,
                    result=None,
                    finished_at=None,
                    holder=None,
                )
            )
            job = queue.enqueue(
                connection, job.id, KIND, request.params(), created_by=created_by, experiment=request.experiment
            )[0]
    return job, True


def _begins_again(store: Store, job: queue.Job) -> bool:
    if job.state == "done":
        return files.find(store, job.id, RESULT) is None
    return job.state in queue.OVER


def find(store: Store, request: ListRequest) -> queue.Job | None:
    """Return the job of a request, ``None`` when there is none yet."""
    try:
        return queue.get(store, request.job_id)
    except queue.UnknownJobError:
        return None
