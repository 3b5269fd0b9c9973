"""Who does which kind of job: the name of a function for each, loaded only in the process that does the work.

A handler is called as ``handler(store, settings, job, progress, stop)`` and returns the job's result, which JSON can
say. It may be called again for the same job, after a failure or when its process died: what it does twice must come to
the same as once. ``progress(rows_done, rows_total)`` may be called as often as one likes and raises
:class:`StoppedError` when the work is to end; ``stop`` is the event behind it, for what has no rows. An
:class:`experiments.errors.InputError` says that the job cannot be done, in words for people; any other exception is
tried again later.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from experiments.jobs.queue import Job
from experiments.settings import Settings
from experiments.store import Store

Progress = Callable[[int, int | None], None]


class StoppedError(Exception):
    """The work is to end: the job was cancelled, or its worker stops."""


class Handler(Protocol):
    """What does a kind of job."""

    def __call__(
        self, store: Store, settings: Settings, job: Job, progress: Progress, stop: threading.Event
    ) -> Mapping[str, Any]:
        """Do the job and return its result."""
        ...


HANDLERS: dict[str, str] = {
    "assignments": "experiments.assignments.handler:assign",
    "export": "experiments.exports.handler:export",
    "learn": "experiments.learning.handler:update",
    "target": "experiments.targeting.handler:target",
    "programme": "experiments.programme.jobs:compute",
    "recommend": "experiments.uplift.handler:recommend",
    "segments": "experiments.segments.handler:count",
    "stages": "experiments.stages.handler:compute",
    "surrogate": "experiments.programme.jobs:foretell",
}
"""Kind of job → ``module:function``."""


def load(kind: str) -> Handler:
    """Import the handler of a kind of job.

    >>> load("export").__name__
    'export'
    """
    module, _, name = HANDLERS[kind].partition(":")
    handler: Handler = getattr(importlib.import_module(module), name)
    return handler
