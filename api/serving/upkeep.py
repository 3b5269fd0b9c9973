"""What one process of a host does in the background: load spools, publish snapshots and member states.

It is the only one that waits for the database on its own account. `api.serving` runs it in a process of its own, so
that its work takes no time from answering; a `Node` without one runs it on a thread.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from api import logs
from api.serving.database_state import DatabaseState
from api.serving.findings import Findings
from api.serving.pulse import Pulse
from experiments.settings import Settings

if TYPE_CHECKING:
    from api.serving.board import Board
    from experiments.log.loader import Loader
    from experiments.publishing.published import Replica
    from experiments.store import Store

TICK_S = 0.2
CHECK_S = 1.0
"""How often the database is asked whether definitions changed, or an import came in."""
MEMBERS_S = 5.0
"""How often member states are published at most."""
MEMBERS_AGE_S = 3600.0
"""How old they may get when nothing changes: nodes do not look at those of the day before yesterday."""
BACK_OFF_S = 2.0
DRAIN_S = 7.0
"""How long the end waits for the serving processes to close their spools."""

_log = logs.get("upkeep")


class Upkeep:
    """The work, and what was last learned of the database."""

    def __init__(
        self,
        settings: Settings,
        board: Board | None = None,
        *,
        started_by: int | None = None,
        once_reached: Callable[[], None] | None = None,
    ) -> None:
        """Make it, not yet started.

        Args:
            settings: of the deployment.
            board: of this host's processes, where there are several.
            started_by: the process that started this one; when that is gone, this ends.
            once_reached: called once, when the database has been reached and its tables are current.
        """
        self.settings = settings
        self._board = board
        self._started_by = started_by
        self._once_reached = once_reached
        self._store: Store | None = None
        self._loader: Loader | None = None
        self._replica: Replica | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._pulse = Pulse(settings.database_url, after_each=self._tell)
        self._contacted_at: float | None = None
        self._failed_since: float | None = None
        self._current_at: float | None = None
        self._unseen_since: float | None = None
        self._check_next = 0.0
        self.failing: set[str] = set()
        """Work that fails at present though the database does not: a file cannot be written."""
        self._tables_current: bool | None = None
        self._published = 0
        self._nudges = 0.0
        self._definitions: tuple[int, str | None] | None = None
        self._imported: tuple[int | None, int | None] | None = None
        self._members_due = True
        self._mark_due = False
        self._members_next = 0.0
        self.findings = Findings()
        self.quarantined = 0
        """Events from the future that the loader has put into quarantine since this began."""

    # ------------------------------------------------------------- what others read

    @property
    def database_state(self) -> DatabaseState:
        """What is known of the database."""
        return DatabaseState(
            contacted_at=self._contacted_at,
            failed_since=self._failed_since,
            asked_at=self._pulse.asked_at,
            current_at=self._current_at,
            unseen_since=self._unseen_since,
        )

    @property
    def tables_current(self) -> bool | None:
        """Whether the database's tables are those of this program; ``None`` while nobody could look."""
        return self._tables_current

    @property
    def published(self) -> int:
        """A number that grows whenever a file has been published."""
        return self._published

    @property
    def loader(self) -> Loader | None:
        """What loads the spools; ``None`` before the first run."""
        return self._loader

    def definitions_changed(self) -> None:
        """Publish soon: somebody changed a definition or a state."""
        self._definitions = None
        self._wake.set()

    # ------------------------------------------------------------- life

    def start(self) -> None:
        """Run on a thread."""
        self._thread = threading.Thread(target=self.run, name="equipoise-upkeep", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 8.0) -> None:
        """Load what the closed spool holds, as far as time allows, and stop; the next start loads what is left."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def ask_to_stop(self) -> None:
        """Have it end soon; may be called on any thread."""
        self._stop.set()
        self._wake.set()

    @property
    def stopping(self) -> bool:
        """Whether the end has been asked for, or who started this process is gone."""
        return self._stop.is_set() or (self._started_by is not None and os.getppid() != self._started_by)

    def run(self) -> None:
        """Work until the end is asked for; then load what the serving processes leave, and end."""
        self._pulse.start()
        while not self.stopping:
            self._look_for_nudges()
            try:
                went_well = self._work()
            except Exception as error:  # noqa: BLE001 - whatever fails here is tried again; serving goes on
                self._failed(error)
                self._pause(BACK_OFF_S)
                continue
            self._reached()
            self._pause(TICK_S if went_well else BACK_OFF_S)
            if self._once_reached is not None and self._tables_current:
                once_reached, self._once_reached = self._once_reached, None
                once_reached()
        self._drain()
        self._pulse.stop()
        if self._store is not None:
            self._store.close()

    def _work(self) -> bool:
        """Do what is due; return whether all went well. A file that cannot be written holds up nothing else.

        Raises:
            Exception: when the database, as far as one can tell, cannot be used.
        """
        went_well = self._attempt("definitions", self._see_definitions)  # first: who may ask hangs on it, too
        went_well &= self._attempt("spools", self._load_spools)
        # A plain error of SQLite, not one of the store's, is that of the file which is written.
        went_well &= self._attempt("members", self._publish_members_when_due, sqlite3.Error)
        return went_well & self._attempt("findings", self._find)

    def _attempt(self, name: str, work: Callable[[], None], of_files: type[Exception] = OSError) -> bool:
        from experiments.log.spool_file import SpoolError

        try:
            work()
        except (OSError, SpoolError, of_files) as error:
            if name not in self.failing:
                self.failing.add(name)
                detail = error.strerror if isinstance(error, OSError) else str(error)[:300]
                _log.error("upkeep_fails", work=name, error=type(error).__name__, detail=detail)
            return False
        if name in self.failing:
            self.failing.remove(name)
            _log.info("upkeep_works_again", work=name)
        return True

    def _see_definitions(self) -> None:
        now = time.monotonic()
        try:
            self._migrate()
            if now >= self._check_next or self._definitions is None:
                self._publish_definitions()
                self._notice_imports()
                self._check_next = now + CHECK_S
                self._contacted_at = self._current_at = time.monotonic()
                self._unseen_since = None
        except Exception:
            self._check_next = 0.0
            self._unseen_since = self._unseen_since or time.monotonic()
            raise

    def _pause(self, seconds: float) -> None:
        self._tell()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.stopping:
            if self._wake.wait(min(left, TICK_S)):
                break
        self._wake.clear()

    def _drain(self) -> None:
        """Load what is left, once the serving processes have closed their spools or their time is over."""
        from api.serving.board import SERVING

        deadline = time.monotonic() + DRAIN_S
        while True:
            serving = self._board is not None and SERVING in self._board.serving_states()
            failed: Exception | None = None
            try:
                self._load_spools()
            except Exception as error:  # noqa: BLE001 - the next start loads what is left
                failed = error
            if not serving and failed is None:
                return
            if time.monotonic() > deadline or (failed is not None and self.database_state.word() == "degraded"):
                _log.warning("rows_left_for_the_next_start", error=type(failed).__name__ if failed else None)
                return
            time.sleep(0.05)

    def _look_for_nudges(self) -> None:
        if self._board is not None and self._board.nudges != self._nudges:
            self._nudges = self._board.nudges
            self._definitions = None

    def _tell(self) -> None:
        if self._board is not None:
            self._board.tell(self.database_state, self._tables_current)

    def _has_published(self) -> None:
        self._published += 1
        if self._board is not None:
            self._board.has_published()

    def _reached(self) -> None:
        if self._failed_since is not None:
            _log.info("database_back", away_s=round(time.monotonic() - self._failed_since, 1))
        self._failed_since = None
        self._contacted_at = time.monotonic()

    def _failed(self, error: Exception) -> None:
        if self._failed_since is None:
            self._failed_since = time.monotonic()
            from experiments.store import failure

            _log.warning("database_away", error=type(error).__name__, detail=failure(error))

    # ------------------------------------------------------------- work

    def _open(self) -> Store:
        if self._store is None:
            from experiments.store import open_store

            self._store = open_store(self.settings.database_url)
        return self._store

    def _migrate(self) -> None:
        """Bring the tables up to date once the database can be reached: it may have been away at the start."""
        if self._tables_current:
            return
        from experiments.store.migrate import upgrade

        try:
            applied = upgrade(self._open())
        except Exception:
            if not self.database_state.silent():
                self._tables_current = False
            raise
        self._tables_current = True
        if applied:
            _log.info("database_migrated", applied=applied)

    def _load_spools(self) -> None:
        if self._loader is None:
            from experiments.log.loader import Loader

            self._loader = Loader(self.settings.spool_dir, self._open())
        absorbed = self._loader.run_once().absorbed
        self.quarantined += absorbed.quarantined
        if absorbed.decisions or absorbed.members or absorbed.links:
            self._members_due = self._mark_due = True
        if self._mark_due:
            self._mark_due = not self._publications().mark_loaded(time.time_ns() // 1000)
        if absorbed.dead_letters or absorbed.conflicts:
            _log.warning("log_refused", dead_letters=absorbed.dead_letters, conflicts=absorbed.conflicts)

    def _publications(self) -> Replica:
        if self._replica is None:
            from experiments.publishing.published import Replica

            self._replica = Replica(self._open(), self.settings.data_dir)
        return self._replica

    def _publish_definitions(self) -> None:
        """Publish when a definition or state has changed since this last looked, or another host has published."""
        from experiments.publishing import snapshot_file
        from experiments.publishing.publish import publish

        newest = self._publications().newest_change()
        if newest == self._definitions:
            return
        known = snapshot_file.versions(self.settings.snapshot_dir)
        version = publish(self._open(), self.settings)
        # What is asked for above is older than what was published: a change in between is noticed the next time.
        self._definitions = (newest[0], version)
        self._members_due = True
        self._has_published()
        if version not in known:
            _log.info("snapshot_published", version=version)

    def _notice_imports(self) -> None:
        """Publish member states soon when another process, or another host, has brought members or decisions."""
        newest = self._publications().newest_rows()
        if newest != self._imported:
            self._imported = newest
            self._members_due = True

    def _publish_members_when_due(self) -> None:
        now = time.monotonic()
        aged = now >= self._members_next + MEMBERS_AGE_S
        if now >= self._members_next and (self._members_due or aged):
            self._publish_members()

    def _find(self) -> None:
        if self._board is not None:
            self.findings.read(self._open())

    def _publish_members(self) -> None:
        from experiments.publishing.publish import publish_member_states

        self._members_due = False
        began = time.monotonic()
        try:
            publish_member_states(self._open(), self.settings, time.time_ns() // 1000)
        except Exception:
            self._members_due = True
            raise
        self._has_published()
        # The file is rebuilt from the whole store: what takes long is done less often, a twentieth of the time at most.
        now = time.monotonic()
        self._members_next = now + max(MEMBERS_S, 20 * (now - began))
