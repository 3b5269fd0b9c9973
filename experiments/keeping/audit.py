"""The audit trail: who changed what, written in the transaction of the change, each row sealed by the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.store import Store
from experiments.store.definition_tables import audit_log

FIRST_HASH = "0" * 64
_LOCK = 6_369_959_514_433_334_392
"""PostgreSQL advisory lock of all changes of definitions: first 63 bits of sha256 of "equipoise definitions"."""


@dataclass(frozen=True)
class AuditRow:
    """One change."""

    number: int
    at: int
    actor: str
    action: str
    """created | revised | transition | phase_opened | traffic_raised; policy_… and variant_… of policies that learn"""
    kind: str
    key: str
    detail: str
    """JSON object; for a revision the changed fields, before and after."""
    reason: str | None
    previous_hash: str
    hash: str


def lock(connection: Connection) -> None:
    """Let one change of definitions happen at a time (SQLite's transactions take the write lock by themselves)."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def append(
    connection: Connection,
    *,
    at: int,
    actor: str,
    action: str,
    kind: str,
    key: str,
    detail: Mapping[str, Any],
    reason: str | None = None,
) -> AuditRow:
    """Add a row; the caller holds :func:`lock` in the same transaction."""
    last = connection.execute(
        sa.select(audit_log.c.number, audit_log.c.hash).order_by(audit_log.c.number.desc()).limit(1)
    ).first()
    number, previous = (last.number + 1, last.hash) if last else (1, FIRST_HASH)
    text = json.dumps(detail, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    fields = [number, at, actor, action, kind, key, text, reason, previous]
    row = AuditRow(number, at, actor, action, kind, key, text, reason, previous, seal(fields))
    connection.execute(sa.insert(audit_log).values(**row.__dict__))
    return row


def seal(fields: list[Any]) -> str:
    """Return the hash of a row: sha256 of the compact JSON array of its fields, the previous hash last.

    >>> seal([1, 0, "ann", "created", "layer", "a", "{}", None, "0" * 64])[:16]
    '90b469f15069c58a'
    """
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def rows(store: Store, kind: str | None = None, key: str | None = None) -> list[AuditRow]:
    """Return the trail, oldest first; of one definition when ``kind`` and ``key`` are given."""
    query = sa.select(audit_log).order_by(audit_log.c.number)
    if kind is not None:
        query = query.where(audit_log.c.kind == kind)
    if key is not None:
        query = query.where(audit_log.c.key == key)
    with store.read() as connection:
        return [AuditRow(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name


def page(
    store: Store,
    *,
    limit: int,
    before: int | None = None,
    kind: str | None = None,
    key: str | None = None,
    actor: str | None = None,
) -> list[AuditRow]:
    """Return the trail, the latest first.

    Args:
        store: where it is kept.
        limit: how many rows at most.
        before: number of the last row that was returned.
        kind: only rows about this kind of thing.
        key: only rows about the thing of this key.
        actor: only what this one did.
    """
    c = audit_log.c
    query = sa.select(audit_log).order_by(c.number.desc()).limit(limit)
    for column, wanted in ((c.kind, kind), (c.key, key), (c.actor, actor)):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(c.number < before)
    with store.read() as connection:
        return [AuditRow(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name


def broken_at(store: Store) -> int | None:
    """Return the number of the first row that does not fit the one before it; ``None`` when the chain holds."""
    previous, expected = FIRST_HASH, 1
    with store.read() as connection:
        # Row by row: the trail grows for ever.
        query = sa.select(audit_log).order_by(audit_log.c.number).execution_options(yield_per=1_000)
        for row in connection.execute(query):
            fields = [row.number, row.at, row.actor, row.action, row.kind, row.key, row.detail, row.reason, previous]
            if row.number != expected or row.previous_hash != previous or row.hash != seal(fields):
                return int(row.number)
            previous, expected = row.hash, expected + 1
    return None
