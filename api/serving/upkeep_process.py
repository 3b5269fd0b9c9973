"""The upkeep process: what one host does besides answering, and the metrics of all its processes."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from api import logs
from api.serving.board import Board
from experiments.settings import Settings

NICENESS = 1
"""Answering goes first where both want the processor."""

_log = logs.get("upkeep")


def run(
    settings: Settings,
    board: Board,
    *,
    started_by: int | None,
    jobs: bool,
    metrics: socket.socket | None,
    run_name: str,
) -> int:
    """Work until SIGTERM, or until who started it is gone; return the exit code.

    Args:
        settings: of the deployment.
        board: of this host.
        started_by: the supervisor's process id; ``None`` in the foreground, where SIGINT ends it too.
        jobs: whether to take part in the jobs that one process of the deployment does.
        metrics: where they are asked for; ``None`` serves none.
        run_name: under which the serving processes of this host leave their figures.
    """
    from api.upkeep import Upkeep

    upkeep = Upkeep(settings, board, started_by=started_by)
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        upkeep.ask_to_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN if started_by is not None else stop)
    if started_by is not None:
        os.nice(NICENESS)
    if metrics is not None:
        from api.serving.exposition import serve_metrics

        serve_metrics(metrics, settings, board, upkeep, run_name)
    end_jobs = _start_jobs(settings, stopping) if jobs else None
    try:
        upkeep.run()
    finally:
        stopping.set()
        if end_jobs is not None:
            end_jobs()
    return 0


def _start_jobs(settings: Settings, stopping: threading.Event) -> Callable[[], object] | None:
    """Start what one process of the deployment does; return how it is ended."""
    if importlib.util.find_spec("experiments.jobs.runner") is None:
        return None
    runner: Any = importlib.import_module("experiments.jobs.runner")
    running = runner.start(settings, stopping)
    _log.debug("jobs_started")
    end: Callable[[], object] = running.stop
    return end
