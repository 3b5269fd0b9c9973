"""``/v1/jobs``: work done behind the answers, whatever its kind: what it is, how far it came, what came of it."""

from __future__ import annotations

from typing import Annotated, Any

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from api.errors import Problem
from api.management.describing import Description, describe, query
from api.management.documents import respond
from api.management.paging import PageQuery, page
from api.management.times import iso
from api.services import Services
from experiments.jobs import queue
from experiments.jobs.queue import Job, State, UnknownJobError

Filter = Annotated[str | None, Field(max_length=64)]


class JobQuery(PageQuery):
    """Which jobs."""

    kind: Filter = None
    experiment: Filter = None
    state: State | None = None


class JobOut(BaseModel):
    """One job."""

    id: str
    kind: str
    experiment: str | None
    state: State
    created_at: str
    created_by: str
    started_at: str | None
    finished_at: str | None
    rows_done: int
    rows_total: int | None
    attempts: int
    result: dict[str, Any] | None
    error: str | None
    """Why it failed, or why its last attempt did."""


class JobPage(BaseModel):
    """Jobs, the latest first."""

    items: list[JobOut]
    next_cursor: str | None


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("jobs", __name__, url_prefix="/v1", tag="Jobs")

    @blueprint.get("/jobs")
    @describe(Description({200: JobPage}, query=JobQuery))
    def list_jobs() -> Response:
        """List jobs, the latest first."""
        wanted = query(JobQuery)
        asked = page(wanted, int, str)
        found = queue.listed(
            services.store,
            kind=wanted.kind,
            experiment=wanted.experiment,
            state=wanted.state,
            before=None if asked.after is None else (asked.after[0], asked.after[1]),
            limit=asked.limit + 1,
        )
        return respond(asked.document(found, _shown, lambda job: [job.created_at, job.id]))

    @blueprint.get("/jobs/<identity>")
    @describe(Description({200: JobOut}))
    def get_job(identity: str) -> Response:
        """Return one job."""
        return respond(_shown(_found(services, identity)))

    @blueprint.post("/jobs/<identity>/cancel")
    @describe(Description({200: JobOut}, idempotent=True))
    def cancel_job(identity: str) -> Response:
        """Cancel a job that is not over; a running one notices within a few seconds."""
        _found(services, identity)
        return respond(_shown(queue.cancel(services.store, identity)))

    return blueprint


def _found(services: Services, identity: str) -> Job:
    try:
        if "\x00" in identity:
            raise Problem(404, "there is no such job", code="unknown_job")
        return queue.get(services.store, identity)
    except UnknownJobError as error:
        raise Problem(404, str(error), code="unknown_job") from None


def _shown(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "kind": job.kind,
        "experiment": job.experiment,
        "state": job.state,
        "created_at": iso(job.created_at),
        "created_by": job.created_by,
        "started_at": iso(job.started_at),
        "finished_at": iso(job.finished_at),
        "rows_done": job.rows_done,
        "rows_total": job.rows_total,
        "attempts": job.attempts,
        "result": job.result,
        "error": job.error,
    }
