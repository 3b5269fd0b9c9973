"""Computing reports in a process of their own, which stays warm from one report to the next."""

from __future__ import annotations

import contextlib
import threading
from multiprocessing.connection import Connection

from experiments.jobs.child import Child
from experiments.settings import Settings


class ReportFailedError(RuntimeError):
    """The report could not be computed.

    Attributes:
        for_people: whether the message is fit for who asked; otherwise it names our own failure, for the log.
    """

    def __init__(self, message: str, *, for_people: bool = False) -> None:
        super().__init__(message)
        self.for_people = for_people


class ReportTimeoutError(ReportFailedError):
    """It takes longer than the caller waits."""


class ReportWorker:
    """The worker process, one report at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = threading.Lock()
        self._changing = threading.RLock()
        self._over = False
        self._child: Child | None = None

    def compute(self, key: str, now_us: int, *, timeout_s: float) -> None:
        """Compute an experiment's report and keep it in the store.

        Args:
            key: the experiment.
            now_us: the present, microseconds UTC.
            timeout_s: how long to wait, for the turn and for the report together at most twice.

        Raises:
            ReportTimeoutError: when it takes too long; the worker is stopped then.
            ReportFailedError: when it cannot be computed.
        """
        if not self._turn.acquire(timeout=timeout_s):
            raise ReportTimeoutError("other reports are being computed")
        try:
            pipe = self._started()
            pipe.send((key, now_us))
            if not pipe.poll(timeout_s):
                self._end()
                raise ReportTimeoutError(f"the report took longer than {timeout_s:.0f} s")
            failure: tuple[str, bool] | None = pipe.recv()
        except (EOFError, OSError):
            self._end()
            raise ReportFailedError("the process that computes reports ended") from None
        finally:
            self._turn.release()
        if failure is not None:
            message, for_people = failure
            raise ReportFailedError(message, for_people=for_people)

    def stop(self) -> None:
        """End the process, also in the middle of a report; no more are computed."""
        with self._changing:
            self._over = True
            self._end()

    def _started(self) -> Connection:
        with self._changing:
            if self._over:
                raise ReportFailedError("reports are no longer computed here")
            if self._child is None or not self._child.alive:
                self._end()
                self._child = Child("equipoise-reports", _work, self._settings)
            return self._child.pipe

    def _end(self) -> None:
        with self._changing:
            child, self._child = self._child, None
            if child is not None:
                child.end()


def _work(pipe: Connection, settings: Settings) -> None:
    """Run in the worker: compute what is asked for until the parent hangs up."""
    from experiments.store import open_store

    store = open_store(settings.database_url)
    with contextlib.suppress(EOFError, OSError):
        while True:
            key, now_us = pipe.recv()
            pipe.send(_compute(store, key, now_us))


def _compute(store: object, key: str, now_us: int) -> tuple[str, bool] | None:
    """Compute and keep; return (message, whether it is for people) of what went wrong, if anything."""
    from experiments.errors import InputError
    from experiments.report import archive, build
    from experiments.store import Store

    assert isinstance(store, Store)  # noqa: S101 - opened just above
    try:
        archive.save(store, build.build_report(store, key, now_us), now=now_us)
    except InputError as error:
        return str(error), True
    except Exception as error:  # noqa: BLE001 - told to the parent, who logs it without its message
        return type(error).__name__, False
    return None
