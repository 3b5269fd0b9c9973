"""What the jobs of one kind came to: the newest result, whether one is under way, why the last one failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from experiments.store import Store
from experiments.store.job_tables import jobs


@dataclass(frozen=True)
class Done:
    """A job that is done."""

    id: str
    experiment: str | None
    params: Mapping[str, Any]
    created_at: int
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Course:
    """What came of the jobs of one kind, of one experiment or of none."""

    done: Done | None
    """The newest that is done."""
    under_way: str | None
    """Id of the newest that waits or runs."""
    failure: str | None
    """Why the newest failed, where it did and nothing is under way."""


def course(store: Store, kind: str, experiment: str | None = None) -> Course:
    """Return what came of the jobs of one kind.

    Args:
        store: where they are kept.
        kind: names the handler.
        experiment: whose; ``None``: of those that belong to no experiment.
    """
    c = jobs.c
    mine = sa.and_(c.kind == kind, c.experiment.is_(None) if experiment is None else c.experiment == experiment)
    query = sa.select(jobs).where(mine).order_by(c.created_at.desc(), c.id.desc()).limit(1)
    with store.read() as connection:
        newest = connection.execute(query).mappings().first()
        if newest is None:
            return Course(None, None, None)
        done: RowMapping | None = newest
        if newest["state"] != "done":
            done = connection.execute(query.where(c.state == "done")).mappings().first()
        busy = connection.scalar(query.with_only_columns(c.id).where(c.state.in_(("queued", "running"))))
    return Course(
        None if done is None else _done(done),
        None if busy is None else str(busy),
        str(newest["error"]) if busy is None and newest["state"] == "failed" and newest["error"] else None,
    )


def latest_of_each(store: Store, kind: str, limit: int) -> list[Done]:
    """Return the newest result of each experiment that has one, the newest first.

    Args:
        store: where jobs are kept.
        kind: names the handler.
        limit: how many at most.
    """
    c = jobs.c
    done = sa.and_(c.kind == kind, c.state == "done", c.experiment.is_not(None))
    place = sa.func.row_number().over(partition_by=c.experiment, order_by=(c.created_at.desc(), c.id.desc()))
    ranked = sa.select(jobs, place.label("place")).where(done).subquery()
    query = sa.select(ranked).where(ranked.c.place == 1).order_by(ranked.c.created_at.desc(), ranked.c.id.desc())
    with store.read() as connection:
        return [_done(row) for row in connection.execute(query.limit(limit)).mappings()]


def _done(row: RowMapping) -> Done:
    return Done(
        str(row["id"]),
        row["experiment"],
        json.loads(row["params"]),
        int(row["created_at"]),
        json.loads(row["result"] or "{}"),
    )
