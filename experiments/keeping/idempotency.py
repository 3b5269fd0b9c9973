"""Requests that may be sent again under a key (IETF draft-ietf-httpapi-idempotency-key-header-07).

The row is claimed in a transaction of its own before the request is carried out, so any number of replicas agree on
who does it; the answer is kept when it is there. A claim whose process died is over after ``LOCK_US``.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from experiments.store import Store
from experiments.store.idempotency_tables import idempotency_keys

KEPT_US = 24 * 3_600 * 1_000_000
"""How long an answer is given again."""
LOCK_US = 300 * 1_000_000
"""How long a request may be under way before another one takes its place: longer than any answer takes."""


@dataclass(frozen=True)
class Asked:
    """A request under a key."""

    caller: str
    method: str
    path: str
    key: str
    fingerprint: str
    """Hash of everything else that makes it this request: query, content type, body."""


@dataclass(frozen=True)
class Claim:
    """The right, for a while, to carry the request out."""

    asked: Asked
    attempt: str


@dataclass(frozen=True)
class Kept:
    """The answer that was given."""

    status: int
    headers: Mapping[str, str]
    body: str


class OtherRequestError(Exception):
    """The key was used for another request."""


class UnderWayError(Exception):
    """The first request of this key is still being carried out."""


def claim(store: Store, asked: Asked, now: int) -> Claim | Kept:
    """Claim a request, or return the answer that it had.

    Args:
        store: where to.
        asked: the request.
        now: microseconds since 1970 UTC.

    Raises:
        OtherRequestError: when the key stands for another request.
        UnderWayError: when somebody else carries it out just now.
    """
    attempt = secrets.token_hex(8)
    fresh = {
        "fingerprint": asked.fingerprint,
        "attempt": attempt,
        "locked_until": now + LOCK_US,
        "status": None,
        "headers": None,
        "body": None,
        "created_at": now,
    }
    with store.begin() as connection:
        connection.execute(_insert(connection).values(**_place(asked), **fresh).on_conflict_do_nothing())
        row = connection.execute(sa.select(idempotency_keys).where(*_here(asked)).with_for_update()).one()
        if row.attempt == attempt:
            return Claim(asked, attempt)
        if row.created_at <= now - KEPT_US or (row.status is None and row.locked_until <= now):
            connection.execute(sa.update(idempotency_keys).where(*_here(asked)).values(**fresh))
            return Claim(asked, attempt)
        if row.fingerprint != asked.fingerprint:
            raise OtherRequestError
        if row.status is None:
            raise UnderWayError
        return Kept(int(row.status), json.loads(row.headers), row.body)


def keep(store: Store, claimed: Claim, answer: Kept) -> None:
    """Keep the answer of a claimed request, unless another one took its place."""
    with store.begin() as connection:
        connection.execute(
            sa.update(idempotency_keys)
            .where(*_here(claimed.asked), idempotency_keys.c.attempt == claimed.attempt)
            .values(status=answer.status, headers=json.dumps(dict(answer.headers)), body=answer.body)
        )


def give_up(store: Store, claimed: Claim) -> None:
    """Forget a claimed request that failed on our side: the next one is carried out anew."""
    mine = (*_here(claimed.asked), idempotency_keys.c.attempt == claimed.attempt, idempotency_keys.c.status.is_(None))
    with store.begin() as connection:
        connection.execute(sa.delete(idempotency_keys).where(*mine))


def forget_old(store: Store, now: int) -> int:
    """Delete answers that are not given again, and return how many those were."""
    with store.begin() as connection:
        done = connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.created_at <= now - KEPT_US))
        return done.rowcount


def _place(asked: Asked) -> dict[str, str]:
    return {"caller": asked.caller, "method": asked.method, "path": asked.path, "key": asked.key}


def _here(asked: Asked) -> list[sa.ColumnElement[bool]]:
    return [idempotency_keys.c[name] == value for name, value in _place(asked).items()]


def _insert(connection: sa.Connection) -> Any:
    """Return the database's own INSERT, which can leave alone what is there."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(idempotency_keys)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(idempotency_keys)
