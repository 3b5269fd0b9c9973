"""Stored recommendations and audiences: what was found, and which lists were made of it. Neither ever changes."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from experiments.errors import InputError
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.targeting_tables import audiences
from experiments.targeting.document import Audience
from experiments.uplift import archive as uplift
from experiments.uplift.document import Recommendation


class NoRecommendationError(InputError):
    """An experiment has no recommendation yet, or none of this number."""


class UnknownAudienceError(InputError):
    """There is no audience with this id."""


def recommendation(store: Store, experiment: str, number: int | None = None) -> tuple[int, Recommendation]:
    """Return a recommendation and its number, by default the latest.

    Raises:
        NoRecommendationError: there is none.
    """
    kept = uplift.latest(store, experiment) if number is None else uplift.load(store, experiment, number)
    if kept is None and number is not None:
        raise NoRecommendationError(f"{experiment} has no recommendation {number}; look at the list of them")
    if kept is None:
        raise NoRecommendationError(
            f"{experiment} has no recommendation yet: ask for one with equipoise uplift, its page, or "
            f"POST /v1/experiments/{experiment}/recommendation"
        )
    return kept.number, kept.document


def keep(store: Store, audience: Audience, created_by: str) -> None:
    """Keep an audience; one that is there already stays as it is."""
    row = {
        "id": audience.id,
        "experiment": audience.experiment,
        "recommendation": audience.recommendation,
        "created_by": created_by,
        "sha256": audience.sha256,
        "rows": audience.rows,
        "document": msgspec.json.encode(audience).decode(),
    }
    with store.begin() as connection:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(
            insert(audiences).values({**row, "created_at": database_now(connection)}).on_conflict_do_nothing()
        )


def find(store: Store, identity: str) -> Audience | None:
    """Return an audience; ``None`` where there is none of this id."""
    with store.read() as connection:
        text = connection.execute(sa.select(audiences.c.document).where(audiences.c.id == identity)).scalar()
    return None if text is None else msgspec.json.decode(text, type=Audience)


def made_at(store: Store, identity: str) -> int | None:
    """Return when an audience was made, microseconds since 1970 UTC; ``None`` where there is none of this id."""
    with store.read() as connection:
        at = connection.execute(sa.select(audiences.c.created_at).where(audiences.c.id == identity)).scalar()
    return None if at is None else int(at)


def one(store: Store, identity: str) -> Audience:
    """Return an audience.

    Raises:
        UnknownAudienceError: there is none of this id.
    """
    found = find(store, identity)
    if found is None:
        raise UnknownAudienceError("there is no such audience; look at the list of them")
    return found


def listed(
    store: Store, experiment: str, *, before: tuple[int, str] | None = None, limit: int = 100
) -> list[tuple[int, Audience]]:
    """Return an experiment's audiences with when they were made, microseconds since 1970 UTC; the latest first.

    Args:
        store: where they are kept.
        experiment: its key.
        before: ``(created_at, id)`` of the last one seen, to go on after it.
        limit: how many at most.
    """
    c = audiences.c
    query = sa.select(c.created_at, c.document).where(c.experiment == experiment)
    query = query.order_by(c.created_at.desc(), c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(sa.tuple_(c.created_at, c.id) < sa.tuple_(*map(sa.literal, before)))
    with store.read() as connection:
        rows = connection.execute(query).all()
    return [(int(row.created_at), msgspec.json.decode(row.document, type=Audience)) for row in rows]
