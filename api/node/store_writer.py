"""Rows that are in the database before the request is answered: for keys whose ``ack`` is ``store``.

One thread of a serving process groups what is queued into a transaction, as the spool does for the disk. Whoever asks
while the database is away, or hangs, is told so at once; nobody waits for long, and nothing is kept for later.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from api import logs
from experiments.log.rows import AliasRow, DecisionRow, TraitsRow
from experiments.log.spool import KINDS, LogRow, SpoolError, SpoolFullError
from experiments.settings import Settings

if TYPE_CHECKING:
    from experiments.log.loader import Loader
    from experiments.publishing.published import Replica
    from experiments.store import Store

WAIT_S = 3.0
"""How long a request waits for its rows at most."""
SLOW_S = 1.0
"""A transaction that has been under way for so long lets no further request wait behind it."""
RETRY_S = 0.5
"""How long after a failure requests are refused without trying."""
MARK_S = 1.0
"""How often upkeep is told that rows came in which concern member states."""
MAX_QUEUED_ROWS = 20_000
MAX_COMMIT_ROWS = 5_000

_Item = tuple[list[tuple[str, bytes]], bool, asyncio.Future[None]]
_log = logs.get("store")


class StoreWriter:
    """The way of rows straight into the store; the thread starts, and the store is imported, with the first."""

    def __init__(self, settings: Settings, *, max_queued_rows: int = MAX_QUEUED_ROWS) -> None:
        self._settings = settings
        self._max_queued_rows = max_queued_rows
        self._encode = msgspec.json.Encoder().encode
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._queued_rows = 0
        self._closed = False
        self._began: float | None = None
        """Since when a transaction is under way."""
        self._failed_at: float | None = None
        """When the last transaction failed; ``None`` after one that did not."""
        self._thread: threading.Thread | None = None
        self._store: Store | None = None
        self._loader: Loader | None = None
        self._replica: Replica | None = None
        self._mark_due = False
        self._marked_at = 0.0

    def append_async(self, rows: Sequence[LogRow]) -> asyncio.Future[None]:
        """Queue rows from a coroutine of the running event loop.

        Returns:
            A future that is resolved when all of the rows are in the database, or fails with ``SpoolError``.

        Raises:
            SpoolFullError: when too much is queued; nothing was taken.
            SpoolError: when the database is away or does not answer just now; nothing was taken.
        """
        loop = asyncio.get_running_loop()
        # Encoded here: a row that has no JSON must not fail the requests that share its transaction.
        records = [(KINDS[type(row)], self._encode(row)) for row in rows]
        about_members = any(isinstance(row, DecisionRow | TraitsRow | AliasRow) for row in rows)
        future: asyncio.Future[None] = loop.create_future()
        now = time.monotonic()
        with self._guard:
            if self._closed:
                raise SpoolError("the service is stopping")
            if self._began is not None and now - self._began > SLOW_S:
                raise SpoolError("the database does not answer just now")
            if self._failed_at is not None and now - self._failed_at < RETRY_S:
                raise SpoolError("the database is away")
            if self._queued_rows + len(records) > self._max_queued_rows:
                raise SpoolFullError(f"{self._queued_rows} rows wait for the database")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="equipoise-store-writer", daemon=True)
                self._thread.start()
            self._queued_rows += len(records)
            self._queue.put((records, about_members, future))
        timer = loop.call_later(WAIT_S, _give_up, future)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, as far as time allows; appending is refused from now on."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            items: list[_Item] = []
            rows = 0
            with contextlib.suppress(queue.Empty):
                item = self._queue.get(timeout=MARK_S)
                while item is not None:
                    items.append(item)
                    rows += len(item[0])
                    if rows >= MAX_COMMIT_ROWS:
                        break
                    item = self._queue.get_nowait()
                stopping = item is None
            self._take(items, rows)
            self._mark()
        if self._store is not None:
            with contextlib.suppress(Exception):
                self._store.close()

    def _take(self, items: list[_Item], rows: int) -> None:
        """Write a group and tell those who wait for it."""
        # Who has been given up on has been told that nothing was kept.
        waited_for = [item for item in items if not item[2].done()]
        error: SpoolError | None = None
        if waited_for:
            self._began = time.monotonic()
            try:
                self._absorb([record for item in waited_for for record in item[0]])
            except Exception as failed:  # noqa: BLE001 - whatever it is, the rows are not in the database
                if self._failed_at is None:
                    _log.warning("store_refused", error=type(failed).__name__)
                self._failed_at = time.monotonic()
                error = SpoolError("the database could not take the rows: try again in 1 s")
            else:
                self._failed_at = None
                self._mark_due = self._mark_due or any(item[1] for item in waited_for)
            self._began = None
        with self._guard:
            self._queued_rows -= rows
        if error is not None:  # what queued up behind it meanwhile would only wait for the same
            waited_for += self._emptied()
        _settle([item[2] for item in waited_for], error)

    def _emptied(self) -> list[_Item]:
        """Take everything out of the queue."""
        items: list[_Item] = []
        with self._guard:
            with contextlib.suppress(queue.Empty):
                while True:
                    item = self._queue.get_nowait()
                    if item is not None:
                        items.append(item)
                        self._queued_rows -= len(item[0])
            if self._closed:
                self._queue.put(None)
        return items

    def _absorb(self, records: list[tuple[str, bytes]]) -> None:
        if self._loader is None:
            from experiments.log.loader import Loader
            from experiments.store import open_store
            from experiments.store.patience import Patience

            self._store = open_store(self._settings.database_url, Patience(connect_s=2, lock_s=2, statement_s=2))
            self._loader = Loader(self._settings.spool_dir, self._store)
        self._loader.take([(number, kind, data) for number, (kind, data) in enumerate(records)])

    def _mark(self) -> None:
        """Have upkeep publish member states: what came in here it does not find in a spool."""
        now = time.monotonic()
        if not self._mark_due or self._store is None or now - self._marked_at < MARK_S:
            return
        with contextlib.suppress(Exception):
            if self._replica is None:
                from experiments.publishing.published import Replica

                self._replica = Replica(self._store, self._settings.data_dir)
            self._replica.mark_stored(time.time_ns() // 1000)
            self._mark_due = False
        self._marked_at = now


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(SpoolError("the database did not take the rows in time: try again in 1 s"))


def _settle(futures: list[asyncio.Future[None]], error: SpoolError | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for future in futures:
        by_loop.setdefault(future.get_loop(), []).append(future)
    for loop, waiting in by_loop.items():
        # A closed loop has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle_all, waiting, error)


def _settle_all(futures: list[asyncio.Future[None]], error: SpoolError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
