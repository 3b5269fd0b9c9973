"""Having one job done: its process is started, watched, kept alive in the database's eyes, and its end written down."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog

from experiments.jobs import queue
from experiments.jobs.child import Child
from experiments.jobs.queue import Job, JobLostError
from experiments.jobs.working import work
from experiments.settings import Settings
from experiments.store import Store, StoreError, failure

BEAT_S = queue.SILENT_S / 4
"""How often the database is told that a job is being worked on."""
LOOK_S = 0.2
END_S = 5.0
"""How long a job that is told to stop may take to end by itself."""
AGAIN_S = 2.0
"""How long a database that is away is left alone before it is asked again."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(part="jobs")


@dataclass
class _Course:
    """What the job's process has told so far."""

    rows_done: int | None = None
    rows_total: int | None = None
    end: tuple[Any, ...] | None = None
    lost: bool = False
    stopped: bool = False


def run(store: Store, settings: Settings, job: Job, stop: threading.Event, *, beat_s: float = BEAT_S) -> str:
    """Have a claimed job done and write down what came of it.

    Args:
        store: where jobs are kept; for short questions only, so that a database that hangs is noticed.
        settings: of the deployment.
        job: as claimed by this process.
        stop: set when this process is to do no more: the job goes back into the queue.
        beat_s: how often the database is told that the job is being worked on.

    Returns:
        ``done``, ``failed``, ``queued`` (again later) or ``lost`` (cancelled, or another worker's by now).
    """
    began = time.monotonic()
    child = Child("equipoise-job", work, settings, job)
    try:
        course = _watch(store, job, child, stop, beat_s)
    finally:
        child.end()
    came_to = _write_down(store, job, course, stop)
    about = {"job": job.id, "kind": job.kind, "attempt": job.attempts, "s": round(time.monotonic() - began, 1)}
    if course.end is None or course.end[0] != "failed" or came_to == "lost":
        _log.info(f"job_{came_to}", rows=course.rows_done, **about)
    elif came_to == "failed" and not course.end[2]:
        _log.warning("job_refused", **about)  # why is for who asked: it may quote the list that was sent
    else:
        _log.error("job_failed", again=came_to == "queued", error=course.end[1], trace=course.end[3], **about)
    return came_to


def _watch(store: Store, job: Job, child: Child, stop: threading.Event, beat_s: float) -> _Course:
    """Follow the process until it has ended, was told to, or the job is lost."""
    course = _Course()
    next_beat = time.monotonic()
    give_up_at: float | None = None
    while course.end is None:
        try:
            while child.pipe.poll(LOOK_S):
                message = child.pipe.recv()
                if message[0] == "progress":
                    course.rows_done, course.rows_total = message[1:]
                else:
                    course.end = message
                    break
        except (EOFError, OSError):
            course.end = ("failed", "its process ended", True, [])
        now = time.monotonic()
        if course.end is None and now >= next_beat:
            next_beat = now + beat_s
            try:
                queue.beat(store, job, course.rows_done, course.rows_total)
            except JobLostError:
                course.lost = True
            except (sa.exc.SQLAlchemyError, StoreError):
                pass  # the job goes on; whether it still counts is decided at its end
        if (stop.is_set() or course.lost) and give_up_at is None:
            course.stopped, give_up_at = True, now + END_S
            with contextlib.suppress(OSError):
                child.pipe.send("stop")
        if give_up_at is not None and now >= give_up_at:
            break
    return course


def _write_down(store: Store, job: Job, course: _Course, stop: threading.Event) -> str:
    end = course.end
    if course.lost:
        return "lost"
    if end is not None and end[0] == "done":
        result: Mapping[str, Any] = end[1]

        def finish() -> str:
            queue.beat(store, job, course.rows_done, course.rows_total)
            queue.finish(store, job, result)
            return "done"

        return _surely(finish, stop)
    if course.stopped or end is None or end[0] == "stopped":

        def give_back() -> str:
            queue.give_back(store, job)
            return "queued"

        return _surely(give_back, stop)
    why, again = end[1], end[2]
    return _surely(lambda: queue.fail(store, job, why, again=again), stop)


def _surely(write: Callable[[], str], stop: threading.Event) -> str:
    """Write, also when the database is away for a while; when this process stops, once."""
    while True:
        try:
            return write()
        except JobLostError:
            return "lost"
        except (sa.exc.SQLAlchemyError, StoreError) as error:
            if stop.is_set():
                _log.warning("job_not_written", error=failure(error))
                return "lost"
            stop.wait(AGAIN_S)
