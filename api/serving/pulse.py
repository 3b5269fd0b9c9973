"""The database's pulse: one small question a second, on a thread and a connection of its own.

Work with the database may rightly take minutes, so that it cannot tell a busy database from one that has stopped. This
can, within two seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.store import Store

EVERY_S = 1.0


class Pulse:
    """Asks, and notes since when there is no answer."""

    def __init__(self, database_url: str, after_each: Callable[[], None] = lambda: None) -> None:
        """Make it, not yet started.

        Args:
            database_url: whom to ask.
            after_each: called on the thread after each question, answered or not.
        """
        self._url = database_url
        self._after_each = after_each
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.asked_at: float | None = None
        """Since when (monotonic seconds) a question, or every question since, is without answer."""

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._run, name="equipoise-pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; a question that hangs is left behind."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.5)

    def _run(self) -> None:
        store: Store | None = None
        while not self._stop.is_set():
            began = time.monotonic()
            if self.asked_at is None:
                self.asked_at = began
            with contextlib.suppress(Exception):  # whatever it is, it is no answer
                if store is None:
                    store = _open(self._url)
                _ask(store)
                self.asked_at = None
            self._after_each()
            self._stop.wait(max(0.1, EVERY_S - (time.monotonic() - began)))
        if store is not None:
            with contextlib.suppress(Exception):
                store.close()


def _open(url: str) -> Store:
    from experiments.store import open_store
    from experiments.store.patience import Patience

    return open_store(url, Patience(connect_s=2, lock_s=1, statement_s=1))


def _ask(store: Store) -> None:
    import sqlalchemy as sa

    with store.read() as connection:
        connection.execute(sa.text("SELECT 1"))
