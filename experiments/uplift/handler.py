"""The job of kind ``recommend``: one recommendation from one experiment, kept; doing it twice keeps it once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from experiments.jobs.handlers import Progress, StoppedError
from experiments.jobs.queue import Job
from experiments.settings import Settings
from experiments.store import Store
from experiments.uplift import archive
from experiments.uplift.of_experiment import recommend_experiment
from experiments.uplift.options import Wanted


def recommend(
    store: Store,
    settings: Settings,  # noqa: ARG001 - everything is in the database
    job: Job,
    progress: Progress,
    stop: threading.Event,
) -> Mapping[str, Any]:
    """Make and keep a recommendation as of when the job was asked for.

    Args:
        store: definitions and log; in a process of its own.
        settings: of the deployment.
        job: with phase, outcome, value, seed and folds among its params, as far as they are not the usual ones.
        progress: told how many rows were learned from.
        stop: set when the job is to end.
    """
    document = recommend_experiment(store, job.experiment or "", job.created_at, Wanted(**job.params))
    progress(document.rows, document.rows)
    if stop.is_set():
        raise StoppedError
    return {
        "number": archive.save(store, document, job.created_at),
        "content_hash": document.content_hash,
        "causal": document.causal,
        "evidence": document.evidence,
        "recommended": document.recommended,
        "rows": document.rows,
    }
