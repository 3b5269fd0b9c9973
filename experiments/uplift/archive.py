"""Where recommendations are kept: numbered, immutable, and only when something in them changed."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from experiments.store import Store
from experiments.store.targeting_tables import recommendations
from experiments.uplift.document import Recommendation


@dataclass(frozen=True)
class Kept:
    """A recommendation as it was kept."""

    number: int
    computed_at: int
    document: Recommendation


def save(store: Store, document: Recommendation, now: int) -> int:
    """Keep a recommendation from an experiment and return its number; one that says the same as the last is it.

    Args:
        store: where to.
        document: sealed, of an experiment.
        now: microseconds since 1970 UTC.

    Raises:
        ValueError: for one without experiment or content hash.
    """
    if not document.experiment or not document.content_hash:
        raise ValueError("only a sealed recommendation of an experiment can be kept")
    key = document.experiment
    with store.begin() as connection:
        if store.dialect == "postgresql":
            # Two that compute the same take turns; SQLite transactions do so by themselves.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 11))"), {"key": key})
        newest = connection.execute(
            sa.select(recommendations.c.number, recommendations.c.content_hash)
            .where(recommendations.c.experiment == key)
            .order_by(recommendations.c.number.desc())
            .limit(1)
        ).first()
        if newest is not None and newest.content_hash == document.content_hash:
            return int(newest.number)
        number = 1 if newest is None else int(newest.number) + 1
        connection.execute(
            recommendations.insert().values(
                experiment=key,
                number=number,
                computed_at=now,
                content_hash=document.content_hash,
                recommended=document.recommended,
                document=msgspec.json.encode(document).decode(),
            )
        )
        return number


def latest(store: Store, key: str) -> Kept | None:
    """Return the newest recommendation of an experiment, ``None`` when there is none yet."""
    return _read(store, recommendations.c.experiment == key)


def load(store: Store, key: str, number: int) -> Kept | None:
    """Return one recommendation by its number."""
    return _read(store, sa.and_(recommendations.c.experiment == key, recommendations.c.number == number))


def _read(store: Store, which: sa.ColumnElement[bool]) -> Kept | None:
    query = sa.select(recommendations).where(which).order_by(recommendations.c.number.desc()).limit(1)
    with store.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return Kept(int(row.number), int(row.computed_at), msgspec.json.decode(str(row.document), type=Recommendation))
