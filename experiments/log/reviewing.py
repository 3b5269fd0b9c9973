"""Looking through dead letters, and deciding what becomes of one: taken after all, or discarded with an audit row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.errors import InputError
from experiments.keeping import audit
from experiments.log.absorb import Absorbed, absorb
from experiments.log.dead_letters import DeadLetter
from experiments.log.spool import LogRow
from experiments.store import Store
from experiments.store.log_tables import dead_letters

Outcome = Literal["absorbed", "duplicate", "quarantined", "refused"]
_COLUMNS = [dead_letters.c[name] for name in DeadLetter.__struct_fields__]


class UnknownLetterError(InputError):
    """There is no such dead letter: it was retried or discarded, or never was."""


def letters(
    store: Store,
    *,
    limit: int,
    before: tuple[int, str] | None = None,
    kind: str | None = None,
    reason: str | None = None,
    source: str | None = None,
) -> list[DeadLetter]:
    """Return dead letters, the latest first.

    Args:
        store: where they are kept.
        limit: how many at most.
        before: arrival (microsecond) and id of the last one that was returned.
        kind: only these.
        reason: only these.
        source: only these.
    """
    c = dead_letters.c
    query = sa.select(*_COLUMNS).order_by(c.received_at.desc(), c.id.desc()).limit(limit)
    for column, wanted in ((c.kind, kind), (c.reason, reason), (c.source, source)):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(sa.tuple_(c.received_at, c.id) < sa.tuple_(*before))
    with store.read() as connection:
        return [DeadLetter(*row) for row in connection.execute(query)]


def count_since(store: Store, since: int, *, most: int) -> int:
    """Return how many dead letters have come since a time (microsecond); counting stops at ``most``."""
    some = sa.select(dead_letters.c.id).where(dead_letters.c.received_at >= since).limit(most).subquery()
    with store.read() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0)


def letter(store: Store, identity: str) -> DeadLetter:
    """Return one dead letter.

    Raises:
        UnknownLetterError: when there is none of this id.
    """
    with store.read() as connection:
        return _one(connection, identity)


def take(store: Store, identity: str, rows: Sequence[LogRow], *, actor: str, now: int) -> Outcome:
    """Take what a dead letter says into the log; it is one no more, unless the log refuses it again.

    Args:
        store: where it is kept.
        identity: of the letter.
        rows: what its payload says, by today's rules.
        actor: who asked for it, for the audit trail.
        now: microseconds since 1970 UTC.

    Returns:
        ``refused`` when an event of its id is stored with other content: nothing has changed then.

    Raises:
        UnknownLetterError: when there is none of this id.
    """
    with store.begin() as connection:
        audit.lock(connection)
        found = _one(connection, identity)
        outcome = _outcome(absorb(connection, rows, now))
        if outcome == "refused":
            connection.rollback()
        else:
            _remove(connection, found, "retried", actor, now, outcome=outcome)
        return outcome


def discard(store: Store, identity: str, *, actor: str, now: int, why: str | None = None) -> None:
    """Remove a dead letter for good; the audit trail keeps that it was there, not what it said.

    Raises:
        UnknownLetterError: when there is none of this id.
    """
    with store.begin() as connection:
        audit.lock(connection)
        _remove(connection, _one(connection, identity), "discarded", actor, now, why=why)


def _one(connection: Connection, identity: str) -> DeadLetter:
    row = connection.execute(sa.select(*_COLUMNS).where(dead_letters.c.id == identity)).first()
    if row is None:
        raise UnknownLetterError("there is no such dead letter: it was retried or discarded, or never was")
    return DeadLetter(*row)


def _outcome(absorbed: Absorbed) -> Outcome:
    if absorbed.events or absorbed.members or absorbed.links:
        return "absorbed"
    if absorbed.quarantined:
        return "quarantined"
    return "duplicate" if absorbed.duplicates else "refused"


def _remove(
    connection: Connection,
    found: DeadLetter,
    action: str,
    actor: str,
    now: int,
    *,
    outcome: Outcome | None = None,
    why: str | None = None,
) -> None:
    connection.execute(sa.delete(dead_letters).where(dead_letters.c.id == found.id))
    detail = {"kind": found.kind, "reason": found.reason, "source": found.source}
    if outcome is not None:
        detail["outcome"] = outcome
    audit.append(
        connection, at=now, actor=actor, action=action, kind="dead_letter", key=found.id, detail=detail, reason=why
    )
