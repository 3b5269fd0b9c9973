"""The job that computes the stages of a rule."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from experiments.jobs.handlers import Progress
from experiments.jobs.queue import Job
from experiments.measure.days import moment_text
from experiments.segments.asking import ask_for_sizes
from experiments.settings import Settings
from experiments.stages import runs
from experiments.stages.computing import compute as compute_stages
from experiments.store import Store


def compute(store: Store, settings: Settings, job: Job, progress: Progress, stop: threading.Event) -> Mapping[str, Any]:
    """Compute and keep the stages of the rule that the job names, as of when it was asked for.

    Args:
        store: definitions, log and members; in a process of its own, see ``Store.close``.
        settings: of the deployment.
        job: its params name the ``rule``; ``as_of`` (microseconds) and ``weeks`` may be among them.
        progress: told how many rows are written.
        stop: behind ``progress``.
    """
    del settings, stop  # everything is in the database, and progress raises for the stop
    key, at = str(job.params["rule"]), int(job.params.get("as_of") or job.created_at)
    with store.read() as connection:
        run = runs.latest(connection, key)
    # Who asks for no moment asks for the present: when somebody was faster, that is done.
    if run is None or run.at <= at or "as_of" in job.params:
        run = compute_stages(store, key, at, weeks=int(job.params.get("weeks", 0)), progress=progress)
        ask_for_sizes(store, created_by="stages")  # who is in a segment may hang on the stage
    return {
        "rule": run.rule,
        "revision": run.revision,
        "as_of": moment_text(run.at),
        "units": run.units,
        "changed": run.changed,
        "counts": run.counts,
    }
