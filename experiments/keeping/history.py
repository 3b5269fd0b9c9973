"""Lists of definitions and of their revisions, a page at a time, read in the order of their keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from experiments.keeping.heads import HEAD, Head, read_head, unknown
from experiments.keeping.repository import UnknownKeyError
from experiments.store import Store
from experiments.store.definition_tables import definition_heads, definition_revisions


@dataclass(frozen=True)
class Revision:
    """One revision of a definition: immutable."""

    kind: str
    key: str
    revision: int
    content: str
    """Canonical JSON."""
    content_hash: str
    created_at: int
    created_by: str


_COLUMNS = [definition_revisions.c[name] for name in Revision.__dataclass_fields__]


def heads_page(store: Store, kind: str, after: str | None, limit: int) -> list[tuple[str, Head]]:
    """Return the current definitions of a kind by key, those after a key, at most ``limit``."""
    query = HEAD.where(definition_heads.c.kind == kind).order_by(definition_heads.c.key).limit(limit)
    if after is not None:
        query = query.where(definition_heads.c.key > after)
    with store.read() as connection:
        return [(row.key, read_head(row)) for row in connection.execute(query)]


def head(store: Store, kind: str, key: str) -> Head:
    """Return the current revision of a definition.

    Raises:
        UnknownKeyError: naming the nearest key.
    """
    query = HEAD.where(definition_heads.c.kind == kind, definition_heads.c.key == key)
    with store.read() as connection:
        row = connection.execute(query).first()
        if row is None:
            raise unknown(connection, kind, key)
        return read_head(row)


def exists(store: Store, kind: str, key: str) -> bool:
    """Return whether a definition is there."""
    query = sa.select(definition_heads.c.revision).where(definition_heads.c.kind == kind, definition_heads.c.key == key)
    with store.read() as connection:
        return connection.execute(query).first() is not None


def revisions_page(store: Store, kind: str, key: str, before: int | None, limit: int) -> list[Revision]:
    """Return a definition's revisions, the newest first, those below a number, at most ``limit``.

    Raises:
        UnknownKeyError: when there is no such definition.
    """
    query = _revisions(kind, key).order_by(definition_revisions.c.revision.desc()).limit(limit)
    if before is not None:
        query = query.where(definition_revisions.c.revision < before)
    with store.read() as connection:
        found = [Revision(*row) for row in connection.execute(query)]
        if not found and before is None:
            raise unknown(connection, kind, key)
        return found


def revision(store: Store, kind: str, key: str, number: int) -> Revision:
    """Return one revision.

    Raises:
        UnknownKeyError: when there is no such definition, or no such revision of it.
    """
    query = _revisions(kind, key).where(definition_revisions.c.revision == number)
    with store.read() as connection:
        row = connection.execute(query).first()
        if row is not None:
            return Revision(*row)
        newest = connection.execute(
            sa.select(sa.func.max(definition_revisions.c.revision)).where(
                definition_revisions.c.kind == kind, definition_revisions.c.key == key
            )
        ).scalar()
        if newest is None:
            raise unknown(connection, kind, key)
    raise UnknownKeyError(f"{kind.replace('_', ' ')} {key} has revisions 1 to {newest}, not {number}")


def _revisions(kind: str, key: str) -> sa.Select[Any]:
    return sa.select(*_COLUMNS).where(definition_revisions.c.kind == kind, definition_revisions.c.key == key)
