"""What one process of the deployment does behind the answers: jobs, webhooks, reports, policies, exports, cleaning.

Every worker starts a runner; the one that holds the lease works, the others wait for it. A failure ends nothing: it is
logged without personal data, and the same is tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog

from experiments.jobs import files, queue, running, watching
from experiments.jobs.handlers import HANDLERS
from experiments.jobs.lease import LASTS_S, Lease, LeaseLostError, holder_name
from experiments.jobs.nightly import ask_for_export
from experiments.jobs.refreshing import Refresher
from experiments.keeping import idempotency
from experiments.keeping.heads import UnknownKeyError
from experiments.keeping.repository import Repository
from experiments.learning import ramping
from experiments.learning.cadence import ask_for_updates
from experiments.programme.jobs import ask_for_programme
from experiments.segments.asking import ask_for_sizes
from experiments.settings import Settings
from experiments.stages.asking import ask_for_stages
from experiments.store import Patience, failure, open_store
from experiments.store.clock import database_now
from experiments.uplift.asking import ask_for_recommendations
from experiments.webhooks import delivering
from experiments.webhooks.addresses import private_allowed
from experiments.webhooks.delivering import Deliverer, Due
from experiments.webhooks.sending import Answer

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

LEASE = "jobs"
JOBS_AT_ONCE = 2
"""So that a long job holds up no short one; each is a process of its own."""
EXPORT_HOUR = 2
"""Of the project's time zone."""
DAY_US = 86_400_000_000
KEPT_FILES_US = 30 * DAY_US
SHORT = Patience(connect_s=3, lock_s=4, statement_s=6)
"""For short questions, so that a database that hangs costs the lease and no more."""
PATIENT = Patience(connect_s=5, lock_s=30, statement_s=300)
"""For cleaning."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(part="jobs")


@dataclass(frozen=True)
class Pace:
    """How often what is looked at."""

    poll_s: float = 1.0
    """The queue, and the outbox of webhooks."""
    round_s: float = 300.0
    """Reports, and what is worth telling."""
    first_s: float = 60.0
    """How long after its start a worker leaves to answering, before the first such round."""
    policies_s: float = 30.0
    """Whether a policy's next update is due, or the next step of a version's ramp."""
    lease_s: float = LASTS_S
    """How long a worker that says nothing keeps the lease and its jobs; it says something four times as often."""


@dataclass(frozen=True)
class Figures:
    """What a runner tells for metrics."""

    leading: bool
    """Whether this process holds the lease."""
    delivered: int
    """Webhook messages that arrived, since the start."""
    undelivered: int
    """Attempts that failed, since the start."""
    done: int
    """Jobs done, since the start."""
    failed: int
    """Jobs, or attempts at them, that failed, since the start."""


class Runner:
    """A thread that holds the lease or waits for it, and the scheduler that works while it is held."""

    def __init__(self, settings: Settings, stopping: threading.Event, pace: Pace) -> None:
        """Make it; ``start`` starts it.

        Args:
            settings: of the deployment.
            stopping: set from outside when the process is to end; ``stop`` sets it too.
            pace: how often what is looked at.
        """
        self.settings = settings
        self.pace = pace
        self._stopping = stopping
        self._store = open_store(settings.database_url, SHORT)
        self._lease = Lease(self._store, LEASE, holder_name(), lasts_s=pace.lease_s)
        self._term: _Term | None = None
        self._away = False
        self._thread = threading.Thread(target=self._run, name="equipoise-jobs", daemon=True)
        self._counts = {"delivered": 0, "undelivered": 0, "done": 0, "failed": 0}

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 9.0) -> None:
        """Give unfinished jobs back and the lease to the next one, as far as time allows."""
        self._stopping.set()
        self._thread.join(timeout_s)

    @property
    def figures(self) -> Figures:
        """The figures as they stand."""
        return Figures(leading=self._lease.held, **self._counts)

    def count(self, what: str) -> None:
        """Count one of ``Figures``."""
        self._counts[what] += 1

    def _run(self) -> None:
        next_ask = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            if now >= next_ask:
                next_ask = now + self.pace.lease_s / 4
                self._ask()
            if self._lease.held and self._term is None:
                self._begin()
            elif self._term is not None and not self._lease.held:
                _log.warning("lease_lost")
                self._end()
            self._stopping.wait(0.25)
        self._end()
        try:
            self._lease.release()
        except Exception as error:  # noqa: BLE001 - it runs out by itself
            _log.warning("lease_not_released", error=failure(error))
        self._store.close()

    def _ask(self) -> None:
        # One that was suspended finds the lease run out: what is under way ends before it is asked for anew.
        if self._term is not None and not self._lease.held:
            return
        try:
            self._lease.acquire()
        except Exception as error:  # noqa: BLE001 - whatever it is, the lease runs out unless the next try is better
            if not self._away:
                _log.warning("jobs_wait", error=failure(error))
            self._away = True
        else:
            self._away = False

    def _begin(self) -> None:
        _log.info("jobs_taken_over", holder=self._lease.holder)
        self._term = _Term(self)
        self._term.begin()

    def _end(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            term.end()


class _Term:
    """The time between getting the lease and losing it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._settings = runner.settings
        self._stop = threading.Event()
        self._store = runner._store  # noqa: SLF001 - a part of the runner
        self._lease = runner._lease  # noqa: SLF001
        self._patient = open_store(self._settings.database_url, PATIENT)
        self._refresher = Refresher(self._patient, self._settings, self._stop)
        self._deliverer = Deliverer(
            self._store, allow_private=private_allowed(), allowed=self._lease.check, told=self._told
        )
        self._scheduler: BackgroundScheduler | None = None
        self._failing: set[str] = set()
        self._zone = "UTC"

    def begin(self) -> None:
        """Start the scheduler."""
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler
        from apscheduler.triggers.cron import CronTrigger

        # Its warnings are of rounds skipped because the one before still works, which is meant.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._zone = self._time_zone()
        scheduler = self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(JOBS_AT_ONCE + 6)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=ZoneInfo("UTC"),
        )
        pace = self._runner.pace
        now = datetime.now(ZoneInfo("UTC"))
        for slot in range(JOBS_AT_ONCE):
            scheduler.add_job(self._guarded("queue", self._work), "interval", seconds=pace.poll_s, id=f"queue-{slot}")
        scheduler.add_job(self._guarded("webhooks", self._send), "interval", seconds=pace.poll_s, id="webhooks")
        first = now + timedelta(seconds=pace.first_s)
        for name, task, seconds in (
            ("reports", self._refresh, pace.round_s),
            ("watch", self._watch, pace.round_s),
            ("policies", self._learn, pace.policies_s),
            ("recommendations", self._recommend, pace.round_s),
            ("stages", self._ask_for_stages, pace.round_s),
            ("programme", self._ask_for_programme, pace.round_s),
            ("segments", self._ask_for_sizes, pace.round_s),
            ("clean", self._clean, 3_600.0),
            ("export", self._ask_for_export, 3_600.0),
        ):
            scheduler.add_job(self._guarded(name, task), "interval", seconds=seconds, id=name, next_run_time=first)
        nightly = CronTrigger(hour=EXPORT_HOUR, timezone=ZoneInfo(self._zone))
        scheduler.add_job(self._guarded("export", self._ask_for_export), nightly, id="export-nightly")
        scheduler.start()

    def end(self) -> None:
        """Stop everything that was begun; jobs under way are given back."""
        self._stop.set()
        self._refresher.cancel()
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)
        self._deliverer.close()
        self._patient.close()

    def _guarded(self, name: str, task: Callable[[], None]) -> Callable[[], None]:
        """Return the task as it may run on the scheduler: only with the lease, and no failure gets out."""

        def run() -> None:
            if self._stop.is_set() or not self._lease.held:
                return
            try:
                task()
            except LeaseLostError:
                pass  # the runner notices too
            except Exception as error:  # noqa: BLE001 - the next round may go better
                if name not in self._failing:
                    self._failing.add(name)
                    away = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
                    _log.warning("round_failed", task=name, error=failure(error), exc_info=None if away else error)
            else:
                self._failing.discard(name)

        return run

    # ------------------------------------------------------------- the rounds

    def _work(self) -> None:
        lease, silent_s = self._lease, self._runner.pace.lease_s
        while lease.held and not self._stop.is_set():
            job = queue.claim(self._store, lease.holder, HANDLERS, allowed=lease.check, silent_s=silent_s)
            if job is None:
                return
            came_to = running.run(self._store, self._settings, job, self._stop, beat_s=silent_s / 4)
            if came_to == "done":
                self._runner.count("done")
            elif came_to == "failed":
                self._runner.count("failed")

    def _send(self) -> None:
        self._deliverer.tick()

    def _told(self, due: Due, answer: Answer) -> None:
        self._runner.count("delivered" if answer.delivered else "undelivered")
        if not answer.delivered:
            _log.warning(
                "webhook_failed", webhook=due.webhook, message=due.id, type=due.type, attempt=due.attempt,
                status=answer.status, error="refused" if answer.refused else answer.error,
            )  # fmt: skip

    def _refresh(self) -> None:
        self._refresher.run(lambda: self._lease.held)

    def _learn(self) -> None:
        moved = ramping.advance(self._patient)
        asked = ask_for_updates(self._store, self._lease.check)
        if asked:
            _log.info("updates_asked_for", jobs=len(asked))
        for version in moved:
            _log.info("policy_moved", experiment=version.experiment, version=version.version, state=version.state)

    def _ask_for_stages(self) -> None:
        asked = ask_for_stages(self._store, self._lease.check)
        if asked:
            _log.info("stages_asked_for", jobs=len(asked))

    def _ask_for_sizes(self) -> None:
        if ask_for_sizes(self._store, self._lease.check):
            _log.info("segments_asked_for")

    def _ask_for_programme(self) -> None:
        if job := ask_for_programme(self._store, self._lease.check):
            _log.info("programme_asked_for", job=job)

    def _recommend(self) -> None:
        asked = ask_for_recommendations(self._patient, self._lease.check)
        if asked:
            _log.info("recommendations_asked_for", jobs=len(asked))

    def _watch(self) -> None:
        watching.look(self._patient)

    def _clean(self) -> None:
        with self._patient.read() as connection:
            now = database_now(connection)
        removed = {
            "files": files.clean(self._patient, now - KEPT_FILES_US),
            "messages": delivering.clean(self._patient, now - delivering.KEPT_US),
            "idempotency_keys": idempotency.forget_old(self._patient, now),
        }
        if any(removed.values()):
            _log.info("cleaned", **removed)

    def _ask_for_export(self) -> None:
        zone = self._time_zone()
        if zone != self._zone and self._scheduler is not None:
            from apscheduler.triggers.cron import CronTrigger

            self._zone = zone
            trigger = CronTrigger(hour=EXPORT_HOUR, timezone=ZoneInfo(zone))
            self._scheduler.reschedule_job("export-nightly", trigger=trigger)
        with self._store.begin() as connection:
            self._lease.check(connection)
            ask_for_export(connection, zone, EXPORT_HOUR)

    def _time_zone(self) -> str:
        try:
            return Repository(self._store).project().time_zone
        except (UnknownKeyError, sa.exc.SQLAlchemyError):
            return self._zone


def start(settings: Settings, stopping: threading.Event | None = None, pace: Pace | None = None) -> Runner:
    """Start what one process of the deployment does; it works when it is this one's turn.

    Args:
        settings: of the deployment, whose database is migrated.
        stopping: set from outside when the process is to end.
        pace: how often what is looked at.

    Returns:
        The runner, to be stopped with ``stop``.
    """
    runner = Runner(settings, stopping or threading.Event(), pace or Pace())
    runner.start()
    return runner
