"""The job that exports: every complete day that has changed since it was exported last."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Mapping
from typing import Any

from experiments.exports.exporting import EPOCH, check_tables, export_dir
from experiments.exports.exporting import export as export_days
from experiments.jobs.handlers import Progress
from experiments.jobs.queue import Job
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.clock import database_now


def export(store: Store, settings: Settings, job: Job, progress: Progress, stop: threading.Event) -> Mapping[str, Any]:
    """Export decisions and reports, and events where ``EQUIPOISE_EXPORT_EVENTS=1``, of all days that are over.

    Args:
        store: where the rows are.
        settings: of the deployment.
        job: its params may name ``tables``.
        progress: told how many rows are written.
        stop: behind ``progress``.
    """
    del stop  # progress raises for it
    tables = job.params.get("tables") or default_tables()
    check_tables(tables)
    with store.read() as connection:
        today = EPOCH + dt.timedelta(microseconds=database_now(connection))
    done = export_days(store, export_dir(settings), tables, EPOCH, today - dt.timedelta(days=1), progress)
    return {"folder": str(done.folder), "files": done.files, "rows": done.rows}


def default_tables() -> list[str]:
    """Return the tables of the nightly export."""
    events = ["events"] if os.environ.get("EQUIPOISE_EXPORT_EVENTS") == "1" else []
    return ["decisions", *events, "reports"]
