"""The job that counts the members of every segment."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from experiments.jobs.handlers import Progress
from experiments.jobs.queue import Job
from experiments.measure.days import moment_text
from experiments.segments.asking import Counted
from experiments.segments.counting import count_segments
from experiments.settings import Settings
from experiments.store import Store


def count(store: Store, settings: Settings, job: Job, progress: Progress, stop: threading.Event) -> Mapping[str, Any]:
    """Count as of when it was asked for.

    Args:
        store: definitions and members; in a process of its own, see ``Store.close``.
        settings: of the deployment.
        job: as claimed.
        progress: raises when the work is to end.
        stop: behind ``progress``.
    """
    del settings, stop  # everything is in the database
    progress(0, None)
    counted = Counted(as_of=moment_text(job.created_at), segments=count_segments(store, job.created_at))
    return dict(msgspec.to_builtins(counted))
