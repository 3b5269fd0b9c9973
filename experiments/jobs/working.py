"""Doing one job in a process of its own; this is what runs there."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from experiments.errors import InputError
from experiments.jobs.handlers import StoppedError, load
from experiments.jobs.queue import Job
from experiments.settings import Settings
from experiments.signals import on_signals
from experiments.store import StoreError, failure, open_store

SAY_S = 0.5
"""How often progress is told at most."""
GRACE_S = 6.0
"""How long a handler may take to end when its parent is gone: less than the parent's lease lasts."""


def work(pipe: Connection, settings: Settings, job: Job) -> None:
    """Do a job and tell the parent: ``("progress", done, total)``, then how it ended.

    The end is ``("done", result)``, ``("failed", why, whether again, places in the code)`` or ``("stopped",)``. Nothing
    is logged here: this process has no log, and what an exception says may be a row.
    """
    stop = threading.Event()
    on_signals((signal.SIGTERM,), stop.set)
    threading.Thread(target=_end_with_parent, args=(pipe, stop), daemon=True).start()
    said_at = 0.0
    come: tuple[int, int | None] | None = None

    def progress(rows_done: int, rows_total: int | None = None) -> None:
        nonlocal said_at, come
        if stop.is_set():
            raise StoppedError
        come = rows_done, rows_total
        if time.monotonic() - said_at >= SAY_S:
            said_at = time.monotonic()
            _tell(pipe, "progress", rows_done, rows_total)

    store = open_store(settings.database_url)
    with contextlib.suppress(StoppedError):
        try:
            result = load(job.kind)(store, settings, job, progress, stop)
            if come is not None:
                _tell(pipe, "progress", *come)
            _tell(pipe, "done", dict(result))
        except StoppedError:
            _tell(pipe, "stopped")
        except StoreError as error:  # the database may come back
            _tell(pipe, "failed", failure(error), True, [])
        except InputError as error:
            _tell(pipe, "failed", str(error), False, [])
        except Exception as error:  # noqa: BLE001 - told to the parent, who decides
            _tell(pipe, "failed", f"it failed with {failure(error)}", True, _places(error))
    store.close()


def _tell(pipe: Connection, *message: object) -> None:
    try:
        pipe.send(message)
    except OSError:
        raise StoppedError from None  # nobody listens any more


def _end_with_parent(pipe: Connection, stop: threading.Event) -> None:
    """Set ``stop`` when the parent says so or is gone; then nobody waits for long."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        stop.set()
        time.sleep(GRACE_S)
        os._exit(1)
    stop.set()


def _places(error: Exception) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
