"""A list's job as callers see it, and where they go from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from experiments.jobs.queue import Job


class ListLinks(msgspec.Struct, frozen=True, omit_defaults=True):
    """Addresses, relative to the service."""

    self: str
    """This document; ask again until ``state`` says that it is over."""
    job: str
    """The same job among all jobs."""
    file: str | None = None
    """The answers, once they are there."""


class ListJob(msgspec.Struct, frozen=True):
    """How far a list is, and what came of it."""

    id: str
    experiment: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    created_at: str
    started_at: str | None
    finished_at: str | None
    rows_done: int
    rows_total: int | None
    result: dict[str, Any] | None
    """Counts of rows by variant, held out, not enrolled by reason, refused, repeated; the file's name and SHA-256."""
    error: str | None
    """Why it failed, or why the last attempt did."""
    links: ListLinks


def shown(job: Job, *, has_file: bool) -> ListJob:
    """Return a job as callers see it."""
    from experiments.assignments.carry_out import moment_text

    def when(at: int | None) -> str | None:
        return None if at is None else moment_text(at)

    own = f"/v1/experiments/{job.experiment}/assignments/{job.id}"
    return ListJob(
        id=job.id,
        experiment=job.experiment or "",
        state=job.state,
        created_at=when(job.created_at) or "",
        started_at=when(job.started_at),
        finished_at=when(job.finished_at),
        rows_done=job.rows_done,
        rows_total=job.rows_total,
        result=None if job.result is None else dict(job.result),
        error=job.error,
        links=ListLinks(own, f"/v1/jobs/{job.id}", f"{own}/file" if has_file else None),
    )
