"""The upkeep process: what one host does besides answering, and the metrics of all its processes."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from api import logs
from api.serving.board import Board
from api.serving.listening import address_of
from experiments.settings import Settings
from experiments.signals import on_signals

if TYPE_CHECKING:
    from experiments.jobs.runner import Figures, Runner

NICENESS = 1
"""Answering goes first where both want the processor."""
_log = logs.get("upkeep")

JOBS_END_S = 1.0
"""How much longer than everything else jobs may take to end."""


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
    from api.serving.upkeep import Upkeep

    stopping = threading.Event()
    jobs_here = Jobs(settings, stopping)
    upkeep = Upkeep(settings, board, started_by=started_by, once_reached=jobs_here.start if jobs else None)

    def stop() -> None:
        stopping.set()
        upkeep.ask_to_stop()

    in_foreground = started_by is None
    on_signals((signal.SIGTERM, signal.SIGINT) if in_foreground else (signal.SIGTERM,), stop)
    if not in_foreground:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    if started_by is not None:
        os.nice(NICENESS)
    if metrics is not None:
        from api.serving.exposition import HostMetrics, serve_metrics

        serve_metrics(metrics, HostMetrics(settings.data_dir, board, upkeep, jobs_here, run_name))
        _log.info("metrics_at", address=address_of(metrics))
    try:
        upkeep.run()
    finally:
        jobs_here.stop()
    return 0


class Jobs:
    """What one process of the deployment does: here, when this host has the lease."""

    def __init__(self, settings: Settings, stopping: threading.Event) -> None:
        self._settings = settings
        self._stopping = stopping
        self._runner: Runner | None = None

    @property
    def figures(self) -> Figures | None:
        """What was done here; ``None`` where jobs are left to others."""
        return self._runner.figures if self._runner is not None else None

    def start(self) -> None:
        """Take part. Imported only now: what jobs need is much, and nobody waits for it."""
        from experiments.jobs import runner

        self._runner = runner.start(self._settings, self._stopping)

    def stop(self) -> None:
        """End, giving back what is not finished; it has been told to at the same moment as everybody."""
        self._stopping.set()
        if self._runner is not None:
            self._runner.stop(timeout_s=JOBS_END_S)
