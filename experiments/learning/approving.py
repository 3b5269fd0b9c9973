"""What people do with a policy: let a version pass or refuse it, take one back, take a variant out and put it back.

Every step is one transaction with its row of the audit trail. Publishing is separate: every host notices the row.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.definitions.allocation import Allocation
from experiments.errors import InputError
from experiments.keeping import audit
from experiments.keeping.heads import read_experiment
from experiments.keeping.records import ExperimentRecord
from experiments.learning import ramping, versions
from experiments.learning.plan import masked
from experiments.learning.telling import tell
from experiments.learning.versions import Version, VersionError
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.definition_tables import audit_log
from experiments.store.policy_tables import policy_masks

APPROVABLE = frozenset({"candidate", "waiting", "blocked"})


class PolicyError(InputError):
    """Something that cannot be done with a policy; the message says what can."""


def approve(
    store: Store, experiment: str, version: int, *, actor: str, reason: str | None = None, now: int | None = None
) -> Version:
    """Let a version pass that waits or was blocked: its ramp begins.

    Args:
        store: where versions are kept.
        experiment: whose policy.
        version: its number.
        actor: who approves.
        reason: why; needed for a version that the gate has blocked.
        now: microseconds since 1970 UTC; by default the database's.

    Raises:
        PolicyError: when the experiment has no policy, has ended, or the version cannot be approved.
        VersionError: when there is no such version.
        UnknownKeyError: when there is no such experiment.
    """
    with store.begin() as connection:
        audit.lock(connection)
        at = _now(connection, now)
        _, allocation = _learning(connection, experiment)
        found = versions.one(connection, experiment, version)
        if found.state not in APPROVABLE:
            raise PolicyError(
                f"policy version {version} of {experiment} is {found.state}; only one that is waiting or blocked "
                "can be approved" + (": to bring it back, roll back to it" if found.state in _BACK else "")
            )
        if found.state == "blocked" and not (reason and reason.strip()):
            raise PolicyError(
                f"the gate has blocked version {version} of {experiment}: give a reason to approve it all the same"
            )
        detail = {"version": version, "was": found.state}
        tell(connection, "policy_approved", experiment, detail, actor=actor, now=at, reason=reason)
        return ramping.begin(connection, experiment, version, allocation.gate, actor=actor, now=at, reason=reason)


def reject(
    store: Store, experiment: str, version: int, *, actor: str, reason: str | None = None, now: int | None = None
) -> Version:
    """Refuse a version for ever. One that is ramped up is taken back from its members.

    Arguments are those of ``approve``.

    Raises:
        PolicyError: when the experiment has no policy.
        VersionError: when there is no such version, or it draws for everybody, or it was refused before.
        UnknownKeyError: when there is no such experiment.
    """
    with store.begin() as connection:
        audit.lock(connection)
        at = _now(connection, now)
        _learning(connection, experiment, ended=True)
        was = versions.one(connection, experiment, version).state
        if was == "ramping":
            versions.move(connection, experiment, version, "rolled_back", now=at)
        moved = versions.move(connection, experiment, version, "rejected", now=at)
        detail = {"version": version, "was": was}
        tell(connection, "policy_rejected", experiment, detail, actor=actor, now=at, reason=reason)
        return moved


def roll_back(
    store: Store,
    experiment: str,
    *,
    actor: str,
    reason: str | None = None,
    to: int | None = None,
    now: int | None = None,
) -> Version | None:
    """Take back the version that is ramped up, or else the live one, at once and from everybody.

    The version after it waits for approval, whatever the definition says: what was taken back must not come again by
    itself.

    Args:
        store: where versions are kept.
        experiment: whose policy.
        actor: who takes it back.
        reason: why.
        to: the version that shall draw then; by default the one that did before; 0 draws evenly.
        now: microseconds since 1970 UTC; by default the database's.

    Returns:
        The version that is live then; ``None`` where all are drawn evenly.

    Raises:
        PolicyError: when no version draws.
        VersionError: when ``to`` is not there or cannot draw again.
        UnknownKeyError: when there is no such experiment.
    """
    with store.begin() as connection:
        audit.lock(connection)
        at = _now(connection, now)
        _learning(connection, experiment)
        known = versions.read(connection, experiment)
        rising, live = versions.standing(known, "ramping"), versions.standing(known, "live")
        taken = [version for version in (rising, live) if version is not None]
        if not taken:
            raise PolicyError(f"no policy version of {experiment} draws: there is nothing to roll back")
        if to is None and rising is not None:
            taken = [rising]
            wanted = live.version if live else 0
        else:
            wanted = _before(connection, experiment, known) if to is None else to
        if wanted and wanted in {version.version for version in taken}:
            if rising is None or wanted == rising.version:
                raise PolicyError(f"policy version {wanted} of {experiment} draws already; name another one, or 0")
            taken = [rising]
        for version in taken:
            versions.move(connection, experiment, version.version, "rolled_back", now=at)
        back = None
        if wanted:
            back = versions.one(connection, experiment, wanted)
            if back.state != "live":
                back = versions.move(connection, experiment, wanted, "live", now=at)
        detail = {"versions": [version.version for version in taken], "to": wanted}
        tell(connection, "policy_rolled_back", experiment, detail, actor=actor, now=at, reason=reason)
        return back


def mask(
    store: Store, experiment: str, variant: str, *, actor: str, reason: str | None = None, now: int | None = None
) -> tuple[str, ...]:
    """Take a variant out: nobody gets it until it is put back. Return all that are out.

    Args:
        store: where masks are kept.
        experiment: whose variant.
        variant: its key.
        actor: who takes it out.
        reason: why.
        now: microseconds since 1970 UTC; by default the database's.

    Raises:
        PolicyError: when there is no such variant, or it is the last one that can be drawn.
        UnknownKeyError: when there is no such experiment.
    """
    with store.begin() as connection:
        audit.lock(connection)
        return mask_within(connection, experiment, variant, actor=actor, reason=reason, now=_now(connection, now))


def mask_within(
    connection: Connection, experiment: str, variant: str, *, actor: str, reason: str | None, now: int
) -> tuple[str, ...]:
    """Take a variant out, in the caller's transaction, with the lock of the audit trail; see ``mask``."""
    record, _ = _learning(connection, experiment)
    _check_variant(record, variant)
    out = masked(connection, experiment)
    if variant in out:
        return out
    weights = record.phase.weights if record.phase else record.definition.split()
    left = [key for key, weight in weights.items() if weight > 0 and key not in {*out, variant}]
    if not left:
        raise PolicyError(
            f"{variant} is the last variant of {experiment} that can be drawn; pause the experiment instead"
        )
    row = {"experiment": experiment, "variant": variant, "since": now, "actor": actor, "reason": reason or ""}
    connection.execute(policy_masks.insert().values(row))
    tell(connection, "variant_masked", experiment, {"variant": variant}, actor=actor, now=now, reason=reason)
    return masked(connection, experiment)


def unmask(
    store: Store, experiment: str, variant: str, *, actor: str, reason: str | None = None, now: int | None = None
) -> tuple[str, ...]:
    """Put a variant back that was taken out. Return those that still are out.

    Arguments are those of ``mask``.

    Raises:
        PolicyError: when there is no such variant, or it was not taken out.
        UnknownKeyError: when there is no such experiment.
    """
    with store.begin() as connection:
        audit.lock(connection)
        at = _now(connection, now)
        record, _ = _learning(connection, experiment)
        _check_variant(record, variant)
        c = policy_masks.c
        gone = connection.execute(
            sa.delete(policy_masks).where(c.experiment == experiment, c.variant == variant)
        ).rowcount
        if not gone:
            out = ", ".join(masked(connection, experiment)) or "none"
            raise PolicyError(f"variant {variant} of {experiment} is not taken out; these are: {out}")
        tell(connection, "variant_unmasked", experiment, {"variant": variant}, actor=actor, now=at, reason=reason)
        return masked(connection, experiment)


def must_wait(connection: Connection, experiment: str, allocation: Allocation) -> bool:
    """Return whether a version that passes the gate needs somebody's approval.

    It does where the definition says so, and after a version was taken back, until another one is live.
    """
    if allocation.gate.approval == "manual":
        return True
    known = versions.read(connection, experiment)
    live = versions.standing(known, "live")
    taken = versions.standing(known, "rolled_back")
    return taken is not None and taken.version > (live.version if live else 0)


_BACK = frozenset({"replaced", "rolled_back"})


def _before(connection: Connection, experiment: str, known: list[Version]) -> int:
    """Return the version that was live before the one that is, and still could be; 0 where there is none."""
    c = audit_log.c
    query = (
        sa.select(c.detail)
        .where(c.kind == "experiment", c.key == experiment, c.action == "policy_live")
        .order_by(c.number.desc())
    )
    states = {version.version: version.state for version in known}
    for text in connection.scalars(query):
        number = int(json.loads(text)["version"])
        if states.get(number) == "replaced":
            return number
    return 0


def _now(connection: Connection, now: int | None) -> int:
    return database_now(connection) if now is None else now


def _learning(connection: Connection, experiment: str, *, ended: bool = False) -> tuple[ExperimentRecord, Allocation]:
    record = read_experiment(connection, experiment)
    allocation = record.definition.allocation
    if allocation is None:
        raise PolicyError(f"experiment {experiment} draws by the hash: it has no policy; declare one under allocation")
    if not ended and record.state in {"ended", "decided"}:
        raise PolicyError(f"experiment {experiment} is {record.state}: nobody is drawn any more")
    return record, allocation


def _check_variant(record: ExperimentRecord, variant: str) -> None:
    keys = [each.key for each in record.definition.variants]
    if variant not in keys:
        raise PolicyError(f'experiment {record.key} has no variant "{variant}"; use one of {", ".join(keys)}')


__all__ = [
    "PolicyError",
    "VersionError",
    "approve",
    "mask",
    "mask_within",
    "must_wait",
    "reject",
    "roll_back",
    "unmask",
]
