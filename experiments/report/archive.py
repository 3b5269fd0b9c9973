"""Where reports are kept: numbered, immutable, and only when something in them changed."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from experiments.report.document import Report
from experiments.store import Store
from experiments.store.report_tables import reports
from experiments.webhooks.reports import announce_report


def save(store: Store, report: Report, *, now: int | None = None) -> int:
    """Keep a report of an experiment and return its number; one that says the same as the last is not kept twice.

    Args:
        store: where to.
        report: sealed, of an experiment (not of a file).
        now: microseconds since 1970 UTC; by default the clock's.

    Raises:
        ValueError: for a report without experiment or content hash.
    """
    if not report.plan.experiment or not report.content_hash:
        raise ValueError("only a sealed report of an experiment can be kept")
    key = report.plan.experiment
    with store.begin() as connection:
        if store.dialect == "postgresql":
            # Two that compute the same report take turns; SQLite transactions do so by themselves.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7))"), {"key": key})
        newest = connection.execute(
            sa.select(reports.c.number, reports.c.content_hash, reports.c.document)
            .where(reports.c.experiment == key)
            .order_by(reports.c.number.desc())
            .limit(1)
        ).first()
        if newest is not None and newest.content_hash == report.content_hash:
            return int(newest.number)
        number = 1 if newest is None else int(newest.number) + 1
        connection.execute(
            reports.insert().values(
                experiment=key,
                number=number,
                phase=report.plan.phase or 1,
                computed_at=time.time_ns() // 1000 if now is None else now,
                content_hash=report.content_hash,
                reading=None if report.verdict is None else report.verdict.code,
                document=msgspec.json.encode(report).decode(),
            )
        )
        announce_report(connection, report, number, None if newest is None else newest.document)
        return number


@dataclass(frozen=True)
class Kept:
    """One report in the list of an experiment's reports."""

    number: int
    phase: int
    computed_at: int
    content_hash: str
    reading: str | None
    """The decision's code."""


def page(store: Store, key: str, before: int | None, limit: int) -> list[Kept]:
    """Return an experiment's reports, the newest first, those below a number, at most ``limit``."""
    columns = [reports.c[name] for name in Kept.__dataclass_fields__]
    query = sa.select(*columns).where(reports.c.experiment == key).order_by(reports.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(reports.c.number < before)
    with store.read() as connection:
        return [Kept(*row) for row in connection.execute(query)]


def latest(store: Store, key: str) -> Report | None:
    """Return the newest kept report of an experiment, ``None`` when there is none yet."""
    return _read(store, sa.select(reports).where(reports.c.experiment == key).order_by(reports.c.number.desc()))


def latest_of_others(store: Store, key: str) -> list[Report]:
    """Return the newest kept report of every experiment but one, in the order of their keys."""
    newest = (
        sa.select(reports.c.experiment, sa.func.max(reports.c.number).label("number"))
        .where(reports.c.experiment != key)
        .group_by(reports.c.experiment)
        .subquery()
    )
    same = (reports.c.experiment == newest.c.experiment) & (reports.c.number == newest.c.number)
    query = sa.select(reports.c.document).join(newest, same).order_by(reports.c.experiment)
    with store.read() as connection:
        return [msgspec.json.decode(str(document), type=Report) for (document,) in connection.execute(query)]


def load(store: Store, key: str, number: int) -> Report | None:
    """Return one kept report by its number."""
    return _read(store, sa.select(reports).where(reports.c.experiment == key, reports.c.number == number))


def _read(store: Store, query: sa.Select[tuple[object, ...]]) -> Report | None:
    with store.read() as connection:
        row = connection.execute(query.limit(1)).first()
    return None if row is None else msgspec.json.decode(str(row.document), type=Report)
