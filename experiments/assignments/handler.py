"""The job of kind ``assignments``, as the worker runs it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from experiments.assignments.carry_out import carry_out
from experiments.assignments.request import ListRequest
from experiments.jobs.handlers import Progress
from experiments.jobs.queue import Job
from experiments.settings import Settings
from experiments.store import Store


def assign(store: Store, settings: Settings, job: Job, progress: Progress, stop: threading.Event) -> Mapping[str, Any]:  # noqa: ARG001 - progress stops it
    """Assign everybody on the job's list; see `experiments.assignments.carry_out`."""
    return carry_out(store, settings, ListRequest.of(job.params), progress)
