"""The programme's return and effects foretold as jobs: asked for by people, and the return once a day by itself.

What a job comes to is its result: the document, as it is shown. DuckDB reads the log in the job's own process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.errors import InputError
from experiments.jobs import queue
from experiments.jobs.handlers import Progress
from experiments.jobs.latest import Course, Done, course, latest_of_each
from experiments.jobs.nightly import last_time
from experiments.jobs.queue import Job
from experiments.keeping.heads import UnknownKeyError
from experiments.keeping.repository import Repository
from experiments.programme.asking import ProgrammeOptions, check_names, usual_metric
from experiments.programme.document import Programme
from experiments.programme.surrogate_asking import SurrogateOptions
from experiments.programme.surrogate_document import Surrogate
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.job_tables import jobs

D = TypeVar("D")
NEWER = "this version does not know what the job asks for; upgrade the worker"
PROGRAMME, SURROGATE = "programme", "surrogate"
HOUR = 3
"""Of the project's time zone, from which on the return of a new day is due."""


def ask_for_programme(
    store: Store, allowed: Callable[[Connection], None] = lambda _: None, *, now: int | None = None
) -> str | None:
    """Put today's return into the queue where experiments run under a holdout; return the id of a new job.

    It is counted as somebody last asked for it, or by the metric that most experiments measure.

    Args:
        store: definitions and queue; nothing is locked while nothing is due.
        allowed: called inside the transaction; raises when this process may not ask.
        now: microseconds since 1970 UTC; by default the database's.
    """
    repository = Repository(store)
    try:
        zone = ZoneInfo(repository.project().time_zone)
    except UnknownKeyError:
        return None
    with store.read() as connection:
        at = database_now(connection) if now is None else now
        job = f"{PROGRAMME}-{last_time(datetime.fromtimestamp(at / 1e6, zone), HOUR).date().isoformat()}"
        if connection.scalar(sa.select(jobs.c.id).where(jobs.c.id == job)) is not None:
            return None
    if not any(record.pinned is not None and record.pinned.holdouts for record in repository.experiments()):
        return None
    options = usual_options(store, repository)
    if options is None:
        return None
    with store.begin() as connection:
        allowed(connection)
        _, new = queue.enqueue(connection, job, PROGRAMME, _params(options), created_by="schedule", now=at)
    return job if new else None


def usual_options(store: Store, repository: Repository) -> ProgrammeOptions | None:
    """Return how the return was last counted, or how it is counted first; ``None`` without a profit metric."""
    last = course(store, PROGRAMME).done
    if last is not None:
        try:
            options = _programme_options(last.params)
            check_names(repository, options)
        except InputError:
            pass  # what it was counted by is gone
        else:
            return options
    metric = usual_metric(repository)
    return None if metric is None else ProgrammeOptions(metric=metric)


def ask_now(connection: Connection, options: ProgrammeOptions, actor: str) -> str:
    """Put a return into the queue because somebody asks for it; return the job's id.

    Args:
        connection: inside ``store.begin()``.
        options: how it is counted, checked.
        actor: who asks.
    """
    at = database_now(connection)
    return queue.enqueue(connection, f"{PROGRAMME}-asked-{at}", PROGRAMME, _params(options), created_by=actor, now=at)[
        0
    ].id


def ask_for_surrogate(connection: Connection, options: SurrogateOptions, actor: str) -> str:
    """Put an effect to be foretold into the queue; return the job's id.

    Args:
        connection: inside ``store.begin()``.
        options: what is foretold, checked.
        actor: who asks.
    """
    at = database_now(connection)
    params = _params(options)
    key = params.pop("experiment")
    return queue.enqueue(
        connection, f"{SURROGATE}-{key}-asked-{at}", SURROGATE, params, created_by=actor, experiment=key, now=at
    )[0].id


def programme_course(store: Store) -> tuple[Programme | None, Course]:
    """Return the newest return that was computed, and what came of the jobs."""
    found = course(store, PROGRAMME)
    return _read(found.done, Programme), found


def surrogate_course(store: Store, key: str) -> tuple[Surrogate | None, Course]:
    """Return what was last foretold of an experiment, and what came of the jobs."""
    found = course(store, SURROGATE, key)
    return _read(found.done, Surrogate), found


def foretold(store: Store, limit: int) -> list[Surrogate]:
    """Return what was last foretold of each experiment, the newest first."""
    read = [_read(done, Surrogate) for done in latest_of_each(store, SURROGATE, limit)]
    return [found for found in read if found is not None]


def compute(
    store: Store,
    settings: Settings,  # noqa: ARG001 - everything is in the database
    job: Job,
    progress: Progress,  # noqa: ARG001 - one question to the engine, which does not say how far it came
    stop: threading.Event,  # noqa: ARG001 - the process ends with its worker
) -> Mapping[str, Any]:
    """Compute the return as of when it was asked for; the document is the job's result."""
    from experiments.programme.build import build_programme

    return _document(build_programme(store, _programme_options(job.params), job.created_at))


def foretell(
    store: Store,
    settings: Settings,  # noqa: ARG001 - as above
    job: Job,
    progress: Progress,  # noqa: ARG001
    stop: threading.Event,  # noqa: ARG001
) -> Mapping[str, Any]:
    """Foretell the effect of the job's experiment as of when it was asked for; the document is the job's result."""
    from experiments.programme.surrogate import build_surrogate

    params = {**job.params, "early": tuple(job.params.get("early", ()))}
    try:
        options = SurrogateOptions(experiment=job.experiment or "", **params)
    except TypeError:
        raise InputError(NEWER) from None
    return _document(build_surrogate(store, options, job.created_at))


def _programme_options(params: Mapping[str, Any]) -> ProgrammeOptions:
    try:
        return ProgrammeOptions(**params)
    except TypeError:
        raise InputError(NEWER) from None


def _read(done: Done | None, kind: type[D]) -> D | None:
    """Return what a job came to, ``None`` where there is none, or another version wrote it in another form."""
    try:
        return None if done is None else msgspec.convert(done.result, kind)
    except msgspec.ValidationError:
        return None


def _document(found: Programme | Surrogate) -> dict[str, Any]:
    return dict(msgspec.to_builtins(found))


def _params(options: ProgrammeOptions | SurrogateOptions) -> dict[str, Any]:
    """Return what differs from nothing being asked, as the job keeps it."""
    return {name: value for name, value in asdict(options).items() if value not in (None, ())}
