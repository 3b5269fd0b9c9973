"""The job of kind ``target``, as the worker runs it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from experiments.jobs.handlers import Progress
from experiments.jobs.queue import Job
from experiments.settings import Settings
from experiments.store import Store
from experiments.targeting.carry_out import carry_out
from experiments.targeting.request import TargetRequest


def target(store: Store, settings: Settings, job: Job, progress: Progress, stop: threading.Event) -> Mapping[str, Any]:
    """Make the audience that the job asks for; see `experiments.targeting.carry_out`."""
    del settings, stop  # everything is in the database; progress stops it
    made = carry_out(store, TargetRequest.of(job.params), job.created_by, progress)
    return {
        "audience": made.id,
        "rows": made.rows,
        "treated": made.treated,
        "spent": made.spent,
        "predicted_gain": made.predicted_gain,
        "file": {"name": made.file_name, "media_type": made.media_type, "bytes": made.bytes, "sha256": made.sha256},
    }
