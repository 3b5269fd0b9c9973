"""When keys were last used: remembered in memory, written to the store once a minute. Nobody waits for it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from experiments.settings import Settings

if TYPE_CHECKING:
    from experiments.store import Store

EVERY_S = 60.0


class LastUsed:
    """What the requests of this process say, and the thread that writes it down."""

    def __init__(self, settings: Settings, every_s: float = EVERY_S) -> None:
        self.at: dict[str, int] = {}
        """Selector → microseconds since 1970 UTC, of keys used since the last writing. Requests set it."""
        self._settings = settings
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._store: Store | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="equipoise-last-used", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Write what is remembered, as far as time allows."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._write()
        self._write()
        if self._store is not None:
            self._store.close()

    def _write(self) -> None:
        """Write, or drop it where the database is away: the next use says so again."""
        used, self.at = self.at, {}
        if not used:
            return
        # Imported here: most processes that start never come this far within a minute, and the store is heavy.
        with contextlib.suppress(Exception):
            from experiments.security.keys import note_use
            from experiments.store import REQUEST, open_store

            if self._store is None:
                self._store = open_store(self._settings.database_url, REQUEST)
            note_use(self._store, used.items())
