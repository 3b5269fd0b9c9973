"""What one process does in the background when it is the whole deployment: load spools, publish snapshots and members.

Runs on one thread of its own, which is also the only place on the serving side that waits for the database. The store
is imported there, after start-up: answering does not wait for it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from api import logs
from experiments.settings import Settings

if TYPE_CHECKING:
    from experiments.log.loader import Loader
    from experiments.store import Store

TICK_S = 0.2
CHECK_S = 1.0
"""How often the database is asked whether definitions changed, or an import came in."""
MEMBERS_S = 5.0
"""How often member states are published at most."""
MEMBERS_AGE_S = 3600.0
"""How old they may get when nothing changes: nodes do not look at those of the day before yesterday."""
AWAY_AFTER_S = 3.0
"""Answers are marked stale once the database has not answered for so long."""
HUNG_AFTER_S = 15.0
"""The same for a database that neither answers nor refuses."""
BACK_OFF_S = 2.0

_log = logs.get("upkeep")


class Upkeep:
    """The background thread, and what it last learned of the database."""

    def __init__(self, settings: Settings, published: Callable[[], None] = lambda: None) -> None:
        """Make it, not yet started.

        Args:
            settings: of the deployment.
            published: called on the thread when a file has been published.
        """
        self.settings = settings
        self._published = published
        self._store: Store | None = None
        self._loader: Loader | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._last_contact: float | None = None
        self._failed_since: float | None = None
        self._definitions: int | None = None
        self._imported: int | None = None
        self._members_due = True
        self._members_next = 0.0

    # ------------------------------------------------------------- what others read

    @property
    def database_away(self) -> bool:
        """Whether the database has failed, or hung, for longer than a moment."""
        now = time.monotonic()
        if self._failed_since is not None:
            return self._last_contact is None or now - self._failed_since > AWAY_AFTER_S
        return self._last_contact is not None and now - self._last_contact > HUNG_AFTER_S

    @property
    def database(self) -> str:
        """``ok``, ``degraded`` (away), or ``unknown`` before the first contact."""
        if self.database_away or self._failed_since is not None:
            return "degraded"
        return "unknown" if self._last_contact is None else "ok"

    def definitions_changed(self) -> None:
        """Publish soon: somebody changed a definition or a state through this node."""
        self._definitions = None
        self._wake.set()

    # ------------------------------------------------------------- life

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="equipoise-upkeep", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 8.0) -> None:
        """Load what the closed spool holds, as far as time allows, and stop; the next start loads what is left."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        next_check = 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            try:
                self._load_spools()
                if now >= next_check or self._definitions is None:
                    self._publish_definitions()
                    self._notice_imports()
                    next_check = now + CHECK_S
                aged = now >= self._members_next + MEMBERS_AGE_S
                if now >= self._members_next and (self._members_due or aged):
                    self._publish_members()
            except Exception as error:  # noqa: BLE001 - whatever fails here is tried again; serving goes on
                self._failed(error)
                self._wake.wait(BACK_OFF_S)
            else:
                self._reached()
                self._wake.wait(TICK_S)
            self._wake.clear()
        with contextlib.suppress(Exception):
            self._load_spools()
        if self._store is not None:
            self._store.close()

    def _reached(self) -> None:
        if self._failed_since is not None:
            _log.info("database_back", away_s=round(time.monotonic() - self._failed_since, 1))
        self._failed_since = None
        self._last_contact = time.monotonic()

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

    def _load_spools(self) -> None:
        if self._loader is None:
            from experiments.log.loader import Loader

            self._loader = Loader(self.settings.spool_dir, self._open())
        absorbed = self._loader.run_once().absorbed
        if absorbed.decisions:
            self._members_due = True
        if absorbed.dead_letters or absorbed.conflicts:
            _log.warning("log_refused", dead_letters=absorbed.dead_letters, conflicts=absorbed.conflicts)

    def _publish_definitions(self) -> None:
        """Publish a snapshot when a definition or state has changed since this node last did."""
        import sqlalchemy as sa

        from experiments.publishing import snapshot_file
        from experiments.publishing.publish import publish
        from experiments.store.definition_tables import audit_log

        store = self._open()
        with store.read() as connection:
            newest = connection.scalar(sa.select(sa.func.max(audit_log.c.number))) or 0
        if newest == self._definitions:
            return
        known = snapshot_file.versions(self.settings.snapshot_dir)
        version = publish(store, self.settings, time.time_ns() // 1000)
        self._definitions = newest
        self._members_due = True
        self._published()
        if version not in known:
            _log.info("snapshot_published", version=version)

    def _notice_imports(self) -> None:
        """Publish member states soon when another process has imported members or decisions."""
        import sqlalchemy as sa

        from experiments.store.log_tables import imports

        query = sa.select(sa.func.max(imports.c.finished_at)).where(imports.c.kind.in_(("members", "decisions")))
        with self._open().read() as connection:
            newest = connection.scalar(query)
        if newest != self._imported:
            self._imported = newest
            self._members_due = True

    def _publish_members(self) -> None:
        from experiments.publishing.publish import publish_member_states

        self._members_due = False
        began = time.monotonic()
        try:
            publish_member_states(self._open(), self.settings, time.time_ns() // 1000)
        except Exception:
            self._members_due = True
            raise
        self._published()
        # The file is rebuilt from the whole store: what takes long is done less often, a twentieth of the time at most.
        now = time.monotonic()
        self._members_next = now + max(MEMBERS_S, 20 * (now - began))
