"""Delivering messages: again and again on a schedule, one at a time to each receiver, none holding up others."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.webhook_tables import webhook_deliveries, webhooks
from experiments.webhooks.sending import TOTAL_S, Answer, cut, send
from experiments.webhooks.signing import headers

RETRY_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""How long each attempt waits after the one before: at once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h."""
AT_ONCE = 8
"""How many receivers are spoken to at a time."""
UNDER_WAY_S = 60
"""A message whose sender died is sent again after so long."""
KEPT_US = 30 * 86_400_000_000
"""How long messages are kept for people to look at."""


@dataclass(frozen=True)
class Due:
    """A message that is about to be sent."""

    id: str
    webhook: str
    url: str
    secrets: tuple[str, ...]
    body: bytes
    attempt: int
    """The first is 1."""
    type: str


Told = Callable[[Due, Answer], None]
"""Called after each attempt, for log and metrics."""


class Deliverer:
    """Takes messages that are due and sends them on a few threads."""

    def __init__(
        self,
        store: Store,
        *,
        allow_private: bool = False,
        allowed: Callable[[Connection], None] = lambda _: None,
        now: Callable[[Connection], int] = database_now,
        told: Told = lambda _due, _answer: None,
        total_s: float = TOTAL_S,
    ) -> None:
        """Make it; nothing is sent before ``tick``.

        Args:
            store: where messages are kept.
            allow_private: whether private addresses may be reached.
            allowed: called inside the transaction that takes messages; raises when this process may not.
            now: the clock, microseconds since 1970 UTC.
            told: called after each attempt.
            total_s: how long one attempt may take.
        """
        self._store = store
        self._allow_private = allow_private
        self._allowed = allowed
        self._now = now
        self._told = told
        self._total_s = total_s
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="equipoise-webhook")
        self._guard = threading.Lock()
        self._busy: dict[str, Future[None]] = {}
        self._open: dict[str, socket.socket] = {}
        self._closed = threading.Event()

    def tick(self) -> int:
        """Start sending what is due, at most one message to each webhook; return how many that are."""
        with self._guard:
            self._busy = {webhook: future for webhook, future in self._busy.items() if not future.done()}
            due = self._take(AT_ONCE - len(self._busy), set(self._busy))
            for message in due:
                self._busy[message.webhook] = self._pool.submit(self._deliver, message)
        return len(due)

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait until what is being sent has its answer."""
        with self._guard:
            under_way = list(self._busy.values())
        for future in under_way:
            future.result(timeout_s)

    def close(self) -> None:
        """End; a message whose answer is still awaited is sent again by the next one, as if its sender had died."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for sock in list(self._open.values()):
            cut(sock)

    def _take(self, count: int, busy: set[str]) -> list[Due]:
        """Return messages that are due, and mark them so that no one else sends them meanwhile."""
        if count <= 0 or not self._anything_due():
            return []
        d, w = webhook_deliveries.c, webhooks.c
        taken: list[Due] = []
        with self._store.begin() as connection:
            now = self._now(connection)
            due = (d.state == "pending", d.next_at <= now, w.active.is_(True), d.webhook.not_in(busy))
            first = sa.func.row_number().over(partition_by=d.webhook, order_by=(d.next_at, d.created_at, d.id))
            ranked = (
                sa.select(d.id, d.next_at, first.label("place"))
                .join_from(webhook_deliveries, webhooks, d.webhook == w.id)
                .where(*due)
                .subquery()
            )
            ids = connection.scalars(
                sa.select(ranked.c.id).where(ranked.c.place == 1).order_by(ranked.c.next_at).limit(count)
            ).all()
            if not ids:
                return []
            self._allowed(connection)
            rows = connection.execute(
                sa.select(webhook_deliveries, w.url, w.secrets)
                .join_from(webhook_deliveries, webhooks, d.webhook == w.id)
                .where(d.id.in_(ids))
                .with_for_update(of=webhook_deliveries)
            )
            for row in rows:
                valid = tuple(secret for secret, until in json.loads(row.secrets) if until is None or until > now)
                attempt = row.attempts + 1
                connection.execute(
                    sa.update(webhook_deliveries)
                    .where(d.id == row.id)
                    .values(attempts=attempt, last_at=now, next_at=now + UNDER_WAY_S * 1_000_000)
                )
                body = row.payload.encode()
                taken.append(Due(row.id, row.webhook, row.url, valid, body, attempt, row.type))
        return taken

    def _anything_due(self) -> bool:
        """Look without taking a lock that writers wait for: mostly there is nothing."""
        c = webhook_deliveries.c
        with self._store.read() as connection:
            now = self._now(connection)
            return bool(
                connection.execute(sa.select(c.id).where(c.state == "pending", c.next_at <= now).limit(1)).all()
            )

    def _deliver(self, due: Due) -> None:
        with self._store.read() as connection:
            stamp_s = self._now(connection) // 1_000_000
        sent = headers(due.secrets, due.id, stamp_s, due.body) | {
            "Content-Type": "application/json",
            "User-Agent": "Equipoise-Webhooks",
            "Connection": "close",
        }
        answer = send(
            due.url,
            due.body,
            sent,
            allow_private=self._allow_private,
            total_s=self._total_s,
            opened=lambda sock: self._open.update({due.id: sock}),
        )
        self._open.pop(due.id, None)
        if self._closed.is_set() and not answer.delivered:
            return
        with self._store.begin() as connection:
            _note(connection, due, answer, self._now(connection))
        self._told(due, answer)


def _note(connection: Connection, due: Due, answer: Answer, now: int) -> None:
    """Keep what came of an attempt, and when the next one is."""
    c = webhook_deliveries.c
    mine = sa.update(webhook_deliveries).where(c.id == due.id, c.attempts == due.attempt)
    seen = {"last_status": answer.status, "last_error": answer.error}
    if answer.delivered:
        connection.execute(mine.values(**seen, state="delivered", next_at=None))
    elif due.attempt < len(RETRY_S) and not answer.gone:
        connection.execute(mine.values(**seen, next_at=now + RETRY_S[due.attempt] * 1_000_000))
    else:
        connection.execute(mine.values(**seen, state="failed", next_at=None))
        why = "the receiver asks for no more messages" if answer.gone else f"{len(RETRY_S)} attempts failed"
        _disable(connection, due.webhook, f"{why}: {answer.error}", now)


def _disable(connection: Connection, webhook: str, reason: str, now: int) -> None:
    c = webhook_deliveries.c
    connection.execute(
        sa.update(webhooks)
        .where(webhooks.c.id == webhook, webhooks.c.active.is_(True))
        .values(active=False, disabled_reason=reason, updated_at=now, version_id=webhooks.c.version_id + 1)
    )
    connection.execute(
        sa.update(webhook_deliveries)
        .where(c.webhook == webhook, c.state == "pending")
        .values(state="failed", next_at=None, last_error="the webhook was disabled; deliver it again when it works")
    )


def clean(store: Store, older_than_us: int) -> int:
    """Remove messages that were delivered or given up before a time; return how many."""
    c = webhook_deliveries.c
    with store.begin() as connection:
        gone = sa.delete(webhook_deliveries).where(c.state != "pending", c.created_at < older_than_us)
        return int(connection.execute(gone).rowcount)
