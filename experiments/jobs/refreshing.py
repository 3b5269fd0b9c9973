"""Keeping the reports of live experiments fresh: computed anew when something arrived, once for all replicas."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.report.worker import ReportFailedError, ReportWorker
from experiments.settings import Settings
from experiments.store import Store

EVERY_S = 300.0
"""How often a report is computed anew at most, while something arrives."""
AT_LEAST_EVERY_S = 6 * 3_600.0
"""And at least: windows end, days begin, although nothing arrives."""
SHARE = 0.1
"""Which share of the time one experiment's report may take: a slow one is computed less often."""
AFTER_END_US = 90 * 86_400_000_000
"""How long outcomes of an ended experiment are waited for."""
WAIT_S = 1_800.0
_LOG_TABLES = ("decisions", "events", "conflicts", "links")

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(part="reports")


@dataclass
class _Known:
    arrived: object
    computed_at: float
    took_s: float = 0.0
    version_id: int = 0


@dataclass
class Refresher:
    """Remembers what each report was computed from; another process that takes over computes each once more."""

    store: Store
    settings: Settings
    stop: threading.Event
    _known: dict[str, _Known] = field(default_factory=dict)
    _worker: ReportWorker | None = None

    def run(self, still_allowed: Callable[[], bool] = lambda: True) -> int:
        """Compute the reports that are due, one after the other; return how many.

        The process that computes ends afterwards, so that its memory is free in between.

        Args:
            still_allowed: asked before each report.
        """
        with self.store.read() as connection:
            arrived = arrivals(connection)
        due = [record for record in self._live() if self._is_due(record, arrived)]
        if not due:
            return 0
        worker = self._worker = ReportWorker(self.settings)
        try:
            return sum(self._refresh(worker, record, arrived) for record in due if self._goes_on(still_allowed))
        finally:
            self._worker = None
            worker.stop()

    def cancel(self) -> None:
        """End the report that is being computed, if any; ``stop`` is set before."""
        worker = self._worker
        if worker is not None:
            worker.stop()

    def _goes_on(self, still_allowed: Callable[[], bool]) -> bool:
        return not self.stop.is_set() and still_allowed()

    def _live(self) -> list[ExperimentRecord]:
        now = time.time_ns() // 1000
        return [
            record
            for record in Repository(self.store).experiments()
            if record.state in {"running", "paused"}
            or (record.state == "ended" and (record.ended_at or 0) > now - AFTER_END_US)
        ]

    def _is_due(self, record: ExperimentRecord, arrived: object) -> bool:
        known = self._known.get(record.key)
        if known is None or known.version_id != record.version_id:
            return True
        age_s = time.monotonic() - known.computed_at
        if known.arrived == arrived:
            return age_s >= AT_LEAST_EVERY_S
        return age_s >= max(EVERY_S * 0.9, known.took_s / SHARE)

    def _refresh(self, worker: ReportWorker, record: ExperimentRecord, arrived: object) -> bool:
        began = time.monotonic()
        try:
            worker.compute(record.key, time.time_ns() // 1000, timeout_s=WAIT_S)
        except ReportFailedError as error:
            if self.stop.is_set():
                return False
            if not error.for_people:
                _log.warning("report_failed", experiment=record.key, error=str(error))
            computed = False
        else:
            computed = True
        took_s = time.monotonic() - began
        # Whatever came of it, not again for a while: the stored report stays.
        self._known[record.key] = _Known(arrived, time.monotonic(), took_s, record.version_id)
        if computed:
            _log.info("report_computed", experiment=record.key, ms=round(took_s * 1000))
        return computed


def arrivals(connection: Connection) -> object:
    """Return something that differs once rows have come into the log; it costs no scan.

    SQLite numbers rows in the order they come; PostgreSQL counts them, a second late.
    """
    if connection.dialect.name == "postgresql":
        counted = sa.text(
            "SELECT relname, n_tup_ins FROM pg_stat_user_tables WHERE relname = ANY(:names) ORDER BY relname"
        )
        return [tuple(row) for row in connection.execute(counted, {"names": list(_LOG_TABLES)})]
    return [connection.scalar(sa.text(f"SELECT max(rowid) FROM {name}")) for name in _LOG_TABLES]  # noqa: S608 - own names
