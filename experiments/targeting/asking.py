"""Asking for an audience: its list is kept with its job, once, however often it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from experiments.errors import InputError
from experiments.jobs import files, queue
from experiments.keeping.heads import read_experiment
from experiments.list_files import Format, read_column, read_encoding
from experiments.store.clock import database_now
from experiments.store.job_tables import jobs
from experiments.targeting import archive
from experiments.targeting.request import KIND, LIST, RESULT, Limits, TargetRequest

if TYPE_CHECKING:
    from experiments.store import Store

HOUR_US = 3_600_000_000


def request_of(
    store: Store,
    experiment: str,
    asked: Limits,
    *,
    recommendation: int | None = None,
    sha256: str | None = None,
    at: int | None = None,
    file_format: Format = "csv",
    unit_column: str | None = None,
    encoding: str | None = None,
) -> TargetRequest:
    """Return what is asked for, made definite: which recommendation, and as of when.

    Args:
        store: definitions and recommendations.
        experiment: its key.
        asked: what bounds the choice.
        recommendation: its number, by default the latest.
        sha256: of the list; ``None``: the stored members in the experiment's audience.
        at: as of when members are described, microseconds since 1970 UTC; by default the beginning of this hour, so
            that asking again within it is the same.
        file_format: of the audience file.
        unit_column: of the list; ``None``: the one likely column.
        encoding: of the list; found out when ``None``.

    Raises:
        UnknownKeyError: no such experiment.
        NoRecommendationError: it has none.
        InputError: the recommendation bears no audience, or the list cannot be read so.
    """
    column, written_in = read_column(unit_column), read_encoding(encoding)
    with store.read() as connection:
        read_experiment(connection, experiment)
        now = database_now(connection)
    number, found = archive.recommendation(store, experiment, recommendation)
    if not found.causal:
        raise InputError(
            f"recommendation {number} of {experiment} says that its data bear none; its checks say what is needed"
        )
    return TargetRequest(
        experiment,
        number,
        sha256,
        at if at is not None else now - now % HOUR_US,
        asked.budget,
        asked.basis,
        dict(asked.stock),
        asked.floors,
        asked.explore,
        format=file_format,
        unit_column=column,
        encoding=written_in,
    )


def ask(
    store: Store, request: TargetRequest, content: Iterable[bytes], *, name: str, created_by: str
) -> tuple[queue.Job, bool]:
    """Keep the list and put the job into the queue; return the job, and whether this made it, or made it begin again.

    Args:
        store: where jobs are.
        request: what is asked for.
        content: bytes of the list; empty where the stored members are asked for.
        name: of the list.
        created_by: who asks.
    """
    try:
        known = queue.get(store, request.job_id)
    except queue.UnknownJobError:
        known = None
    if known is not None and not _begins_again(store, known):
        return known, False
    if request.sha256 is not None:
        kept = files.find(store, request.job_id, LIST)
        if kept is None or kept.sha256 != request.sha256:
            files.save(store, request.job_id, LIST, content, name=name)
    params = request.params()
    with store.begin() as connection:
        job, new = queue.enqueue(
            connection, request.job_id, KIND, params, created_by=created_by, experiment=request.experiment
        )
        if not new:
            values = {"state": "queued", "not_before": database_now(connection), "attempts": 0, "holder": None}
            cleared = dict.fromkeys(("error", "result", "finished_at"))
            over = (jobs.c.id == job.id, jobs.c.state.in_(sorted(queue.OVER)))
            connection.execute(sa.update(jobs).where(*over).values(**values, **cleared))
    return (job if new else queue.get(store, request.job_id)), True


def _begins_again(store: Store, job: queue.Job) -> bool:
    if job.state == "done":
        return files.find(store, job.id, RESULT) is None
    return job.state in queue.OVER


def document(audience: Any, created_at: str | None = None) -> dict[str, Any]:
    """Return an audience as plain data, with when it was made where that is known."""
    plain: dict[str, Any] = msgspec.to_builtins(audience)
    return plain if created_at is None else {**plain, "created_at": created_at}
