"""The running node: what it decides from, what it remembers, and the spool that everything it says goes through first.

Nothing on a request's way touches the database: snapshots and member states are files, published and polled by
`api.serving.upkeep` on its own thread; decisions and events go to the spool, and the answer waits for its commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence

from allocation.compiled import CompiledSnapshot
from allocation.plan import ProjectPlan, SecurityPlan
from api import logs
from api.errors import Problem, unavailable
from api.node.answered import Ack
from api.node.deciding import Deciding
from api.node.durable import LogWriter
from api.node.ingested import Ingested
from api.node.metrics import FigureFile, Metrics
from api.node.store_writer import StoreWriter
from api.security.door import KeyRing
from api.security.last_used import LastUsed
from api.serving.database_state import UpkeepView
from api.serving.upkeep import Upkeep
from experiments.log.spool import LogRow, Spool, SpoolError, SpoolFullError
from experiments.publishing.members import MemberStates
from experiments.publishing.snapshot_file import SnapshotFile, SnapshotMissingError
from experiments.settings import Settings

POLL_S = 0.5
TICK_S = 0.1
READY_REQUIRES_DB = "EQUIPOISE_READY_REQUIRES_DB"

_log = logs.get("node")


class Node:
    """One process of the service."""

    def __init__(self, settings: Settings, upkeep: UpkeepView | None = None, figures: FigureFile | None = None) -> None:
        """Make it, not yet started.

        Args:
            settings: of the deployment.
            upkeep: who loads spools and publishes on this host; by default a thread of this process.
            figures: where the counters are left for who collects them.
        """
        self.settings = settings
        self.upkeep: UpkeepView = Upkeep(settings) if upkeep is None else upkeep
        self.metrics = Metrics()
        self.counts = self.metrics.counts
        """Events by what became of them."""
        self.stale = False
        """Whether the database has been away long enough that definitions may have changed unseen."""
        self._figures = figures
        self._requires_database = os.environ.get(READY_REQUIRES_DB, "").lower() in {"1", "true", "yes"}
        self._spool: Spool | None = None
        self._poller: asyncio.Task[None] | None = None
        self._snapshots = SnapshotFile(settings.snapshot_dir)
        self._members = MemberStates(settings.snapshot_dir)
        self.deciding = Deciding(self._members, self.append, self.metrics.assigned)
        self.ingested = Ingested(self.append, self.counts)
        self.store_writer = StoreWriter(settings)
        """Writes straight into the database, for callers who wait for that (``ack = "store"``)."""
        self.security: SecurityPlan | None = None
        """Who may ask, of the newest snapshot, also of one that waits for its time; ``None`` before the first."""
        self.keys = KeyRing()
        self.used = LastUsed(settings)
        self._problems: tuple[str | None, str | None] = (None, None)
        self._closers: list[Callable[[], None]] = []
        self._stopping = False

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Open the spool, load the last good snapshot from disk, and start polling and upkeep.

        Raises:
            SpoolError: when the spool folder cannot be written: nothing could be acknowledged.
        """
        before = self._figures.read() if self._figures is not None else None
        if before is not None:
            self.metrics.resume(before)
        self._spool = await asyncio.to_thread(Spool, self.settings.spool_dir)
        await asyncio.to_thread(self._load)
        self.upkeep.start()
        self.used.start()
        self._poller = asyncio.create_task(self._poll())

    def at_end(self, close: Callable[[], None]) -> None:
        """Have something closed when the node stops."""
        self._closers.append(close)

    async def drain(self) -> None:
        """Stop taking work, put everything queued on disk, load it into the store while there is time."""
        self._stopping = True
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
        if self._spool is not None:
            await asyncio.to_thread(self._spool.close)
        await asyncio.to_thread(self.store_writer.close)
        await asyncio.to_thread(self.used.stop)
        for close in self._closers:
            await asyncio.to_thread(close)
        self._leave_figures()
        await asyncio.to_thread(self.upkeep.stop)
        _log.info("stopped", **self.metrics.totals())

    # ------------------------------------------------------------------ what decides

    @property
    def compiled(self) -> CompiledSnapshot | None:
        """The snapshot that decides now; ``None`` before the first."""
        return self.deciding.compiled

    @property
    def current(self) -> bool:
        """Whether this node has what the database has, so that a key which is not known here is none."""
        return self.upkeep.database_state.current()

    @property
    def project(self) -> ProjectPlan | None:
        """What the door must know of the project; ``None`` while none is defined.

        Of the newest snapshot, also of one that waits for its time: nobody's variant depends on it.
        """
        return self.deciding.project

    def now_us(self) -> int:
        """Return the time, microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def readiness(self) -> tuple[bool, dict[str, object]]:
        """Return whether this node can decide, and why not or in what state."""
        compiled = self.deciding.compiled
        problems = []
        if compiled is None:
            problems.append("no snapshot has been published")
        if self._spool is None:
            problems.append("the spool is not open")
        elif self._spool.last_error is not None:
            problems.append("the latest commit to the spool failed")
        if self._stopping:
            problems.append("stopping")
        if self.upkeep.tables_current is False:
            problems.append(
                "the database's tables are not those of this program: see the log, or run equipoise migrate"
            )
        database = self.upkeep.database_state
        if self._requires_database and database.word() == "degraded":
            problems.append("the database does not answer")
        document: dict[str, object] = {
            "ready": not problems,
            "problems": problems,
            "snapshot": None if compiled is None else compiled.version,
            "database": database.word(),
            "stale": self.stale,
        }
        if compiled is not None and compiled.refused:
            document["refused_experiments"] = sorted(compiled.refused)
        return not problems, document

    async def _poll(self) -> None:
        seen, next_load = self.upkeep.published, time.monotonic() + POLL_S
        while True:
            await asyncio.sleep(TICK_S)
            self.stale = self.upkeep.database_state.away()
            published = self.upkeep.published
            if published == seen and time.monotonic() < next_load and not self._snapshots.due(self.now_us()):
                continue
            seen, next_load = published, time.monotonic() + POLL_S
            try:
                await asyncio.to_thread(self._load)
                self._leave_figures()
            except OSError as error:  # the folder itself is away: what is in memory goes on deciding
                _log.error("snapshot_folder_unreadable", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - one file must not end the looking: nothing would ever change
                _log.error("published_files_not_read", error=type(error).__name__, exc_info=True)

    def _leave_figures(self) -> None:
        if self._figures is None:
            return
        figures = self.metrics.figures()
        compiled = self.deciding.compiled
        if compiled is not None:
            figures.snapshot_age_s = max(0.0, (self.now_us() - compiled.effective_at) / 1e6)
        if self._spool is not None:
            figures.spool_queued_rows = self._spool.queued_rows
        figures.file_refused = any(self._problems)
        self._figures.write(figures)

    def _load(self) -> None:
        """Take a newly published snapshot and member states; a broken file leaves the last good one in use."""
        now = self.now_us()
        compiled = None
        if self.deciding.compiled is None:
            with contextlib.suppress(SnapshotMissingError):
                compiled = self._snapshots.load(now)
        else:
            compiled = self._snapshots.poll(now)
        if compiled is not None:
            self.deciding.compiled = compiled
            _log.info(
                "snapshot_loaded",
                version=compiled.version,
                experiments=len(compiled.experiments),
                refused=sorted(compiled.refused),
            )
        newest = self._snapshots.newest
        if newest is not None:
            self.deciding.project = newest.source.project
            if newest.source.security != self.security:
                # The keys first: between the two a request must not find the door closed to the key that closed it.
                self.keys = KeyRing(newest.source.security.keys)
                self.security = newest.source.security
        self._members.refresh(now)
        problems = (self._snapshots.problem, self._members.problem)
        if problems != self._problems:
            self._problems = problems
            for problem in filter(None, problems):
                _log.error("published_file_refused", problem=problem)

    # ------------------------------------------------------------------ the log

    def append(self, rows: Sequence[LogRow], ack: Ack = "spool") -> asyncio.Future[None]:
        """Put rows into the log; what is returned is resolved when they are where the caller wants to know them.

        Raises:
            Problem: 503 when they cannot be taken now; nothing of them is kept then.
        """
        writer: LogWriter | None = self.store_writer if ack == "store" else self._spool
        if writer is None:
            raise unavailable("the log is not open", code="log_unavailable")
        if ack == "store" and self.upkeep.database_state.silent():
            raise _store_away()
        try:
            durable = writer.append_async(rows)
        except SpoolFullError:
            raise unavailable("more waits to be written than can be; come again in a second", code="log_full") from None
        except SpoolError:
            if ack == "store" and not self._stopping:
                raise _store_away() from None
            raise unavailable("the service is stopping", code="stopping") from None
        if ack != "none":
            return durable
        durable.add_done_callback(_note_failure)
        taken = durable.get_loop().create_future()
        taken.set_result(None)
        return taken


def _store_away() -> Problem:
    return unavailable(
        "the database does not answer, and this key waits for it; come again in a second", code="store_away"
    )


def _note_failure(durable: asyncio.Future[None]) -> None:
    """Say that rows nobody waits for did not reach the disk."""
    if not durable.cancelled() and (error := durable.exception()) is not None:
        _log.error("spool_failed", error=type(error).__name__)
