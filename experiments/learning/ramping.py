"""Bringing a version to the members step by step: 10 %, 50 %, everybody, as the gate's ``ramp`` says."""

from __future__ import annotations

from fractions import Fraction

from sqlalchemy.engine import Connection

from experiments.definitions.allocation import Gate
from experiments.keeping import audit
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.learning import versions
from experiments.learning.telling import GATE, tell
from experiments.learning.versions import Version
from experiments.store import Store
from experiments.store.clock import database_now

HOUR_US = 3_600_000_000


def begin(
    connection: Connection,
    experiment: str,
    version: int,
    gate: Gate,
    *,
    actor: str,
    now: int,
    reason: str | None = None,
) -> Version:
    """Give a version its first share of the members; it is live at once where that is all of them.

    Args:
        connection: a transaction for changes.
        experiment: whose policy.
        version: its number.
        gate: with the ramp.
        actor: who let it pass.
        now: microseconds since 1970 UTC.
        reason: why, in words.
    """
    return _step(connection, experiment, version, gate.ramp[0], actor=actor, now=now, reason=reason)


def advance(store: Store, now: int | None = None) -> list[Version]:
    """Move each version that is ramped up to its next share when its step has lasted long enough.

    Experiments that are paused keep their step. Several hosts may call this: a step is made once.

    Args:
        store: where versions are kept.
        now: microseconds since 1970 UTC; by default the database's.

    Returns:
        The versions that moved, as they stand now.
    """
    learning = [
        record
        for record in Repository(store).experiments()
        if record.state == "running" and record.definition.allocation is not None
    ]
    moved = []
    for record in learning:
        with store.read() as connection:
            at = database_now(connection) if now is None else now
            waiting = _due(connection, record, at) is not None
        if waiting:
            with store.begin() as connection:
                audit.lock(connection)
                due = _due(connection, record, at)
                if due is not None:
                    moved.append(_step(connection, record.key, due[0].version, due[1], actor=GATE, now=at))
    return moved


def next_share(current: str, gate: Gate) -> str:
    """Return the share of the step after this one.

    >>> next_share("0.1", Gate()), next_share("0.5", Gate())
    ('0.5', '1')
    """
    return next(share for share in gate.ramp if Fraction(share) > Fraction(current))


def _due(connection: Connection, record: ExperimentRecord, now: int) -> tuple[Version, str] | None:
    """Return the version whose step is over, and its next share."""
    allocation = record.definition.allocation
    ramping = versions.standing(versions.read(connection, record.key), "ramping")
    if allocation is None or ramping is None or now < ramping.changed_at + allocation.gate.ramp_hours * HOUR_US:
        return None
    return ramping, next_share(ramping.share, allocation.gate)


def _step(
    connection: Connection,
    experiment: str,
    version: int,
    share: str,
    *,
    actor: str,
    now: int,
    reason: str | None = None,
) -> Version:
    if Fraction(share) == 1:
        before = versions.standing(versions.read(connection, experiment), "live")
        moved = versions.move(connection, experiment, version, "live", now=now)
        detail = {"version": version, "replaces": before.version if before else 0}
        tell(connection, "policy_live", experiment, detail, actor=actor, now=now, reason=reason)
        return moved
    moved = versions.move(connection, experiment, version, "ramping", share=share, now=now)
    tell(
        connection,
        "policy_ramped",
        experiment,
        {"version": version, "share": share},
        actor=actor,
        now=now,
        reason=reason,
    )
    return moved
