"""The versions of an experiment's policy: made once, never changed or deleted; only where each one stands moves.

A version and its file are written in one transaction, so that there is never one without the other. The file is named
by the SHA-256 of its bytes; two versions that came out alike share it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from experiments.errors import InputError
from experiments.keeping import audit
from experiments.store.policy_tables import policies, policy_files

if TYPE_CHECKING:
    from allocation.bandits.policy import Policy

State = Literal["candidate", "blocked", "waiting", "ramping", "live", "replaced", "rolled_back", "rejected"]
STATES: tuple[State, ...] = get_args(State)
"""candidate: made, the gate has not run. blocked: by the gate. waiting: passed, somebody must approve. ramping: draws
for a share of the members. live: draws for all others. replaced: a later one took its place. rolled_back: taken back
from members. rejected: refused by somebody."""

ALONE: frozenset[State] = frozenset({"candidate", "waiting", "ramping", "live"})
"""States that one version of an experiment is in at most: whichever was before becomes ``replaced``."""

MOVES: dict[State, frozenset[State]] = {
    "candidate": frozenset({"blocked", "waiting", "ramping", "live", "rejected", "replaced"}),
    "blocked": frozenset({"candidate", "waiting", "ramping", "live", "rejected", "replaced"}),
    "waiting": frozenset({"blocked", "ramping", "live", "rejected", "replaced"}),
    "ramping": frozenset({"ramping", "live", "rolled_back", "replaced"}),
    "live": frozenset({"rolled_back", "replaced"}),
    "replaced": frozenset({"ramping", "live"}),
    "rolled_back": frozenset({"ramping", "live", "rejected"}),
    "rejected": frozenset(),
}
"""Where a version may go from where it stands. One that was blocked, replaced or rolled back can be put before members
again, by somebody who says so; one that was rejected cannot."""

Origin = Literal["learned", "mabwiser"]


class VersionError(InputError):
    """A version that is not there, or cannot go where it is sent."""


@dataclass(frozen=True)
class NewVersion:
    """A policy that was just made."""

    experiment: str
    body: bytes
    """Its file, as `allocation.bandits.policy.to_bytes` writes it."""
    policy: str
    """What draws, such as ``igw``."""
    trained_at: int
    data_until: int
    """Last microsecond of a decision that it may have learned from."""
    rows: int
    """Decisions that it learned from."""
    origin: Origin = "learned"
    about: Mapping[str, Any] = field(default_factory=dict)
    """How it was learned: settings and counts, as JSON can say them."""
    state: State = "candidate"
    share: str = "0"


@dataclass(frozen=True)
class Version:
    """A version of an experiment's policy, and where it stands."""

    experiment: str
    version: int
    state: State
    share: str
    """Of the members, that it draws for while it is ramped up: decimal text."""
    sha256: str
    policy: str
    origin: Origin
    trained_at: int
    data_until: int
    rows: int
    about: Mapping[str, Any]
    gate: Mapping[str, Any]
    """What the gate found; empty before it ran."""
    changed_at: int
    """When it came to where it stands, in microseconds since 1970 UTC."""


def insert(connection: Connection, new: NewVersion) -> int:
    """Keep a new version and its file, and return its number: one more than the last one's.

    Args:
        connection: a transaction for changes.
        new: the version; a candidate takes the place of the candidate before it.
    """
    audit.lock(connection)  # numbers follow each other without a gap, whoever makes versions at once
    c = policies.c
    last = connection.execute(sa.select(sa.func.max(c.version)).where(c.experiment == new.experiment)).scalar()
    number = int(last or 0) + 1
    sha256 = keep_file(connection, new.body, new.trained_at)
    if new.state in ALONE:
        _replace(connection, new.experiment, new.state, new.trained_at)
    row = {
        "experiment": new.experiment, "version": number, "state": new.state, "share": new.share, "sha256": sha256,
        "policy": new.policy, "origin": new.origin, "trained_at": new.trained_at, "data_until": new.data_until,
        "rows": new.rows, "about": _json(new.about), "gate": "{}", "changed_at": new.trained_at,
    }  # fmt: skip
    connection.execute(policies.insert().values(row))
    return number


def keep_file(connection: Connection, body: bytes, now: int) -> str:
    """Keep the file of a policy and return its SHA-256; one that is kept already stays as it is."""
    sha256 = hashlib.sha256(body).hexdigest()
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(make(policy_files).values(sha256=sha256, body=body, created_at=now).on_conflict_do_nothing())
    return sha256


def read(connection: Connection, experiment: str) -> list[Version]:
    """Return the versions of an experiment's policy, the first one first."""
    query = sa.select(policies).where(policies.c.experiment == experiment).order_by(policies.c.version)
    return [_version(row) for row in connection.execute(query).mappings()]


def one(connection: Connection, experiment: str, version: int) -> Version:
    """Return one version.

    Raises:
        VersionError: when there is none of this number.
    """
    c = policies.c
    query = sa.select(policies).where(c.experiment == experiment, c.version == version)
    row = connection.execute(query).mappings().first()
    if row is None:
        known = [f"{each.version} ({each.state})" for each in read(connection, experiment)]
        there = "there are: " + ", ".join(known[-12:]) if known else "it has learned none yet"
        raise VersionError(f"experiment {experiment} has no policy version {version}; {there}")
    return _version(row)


def standing(versions: Sequence[Version], state: State) -> Version | None:
    """Return the last one of some versions that stands somewhere.

    >>> standing([], "live") is None
    True
    """
    return next((each for each in reversed(versions) if each.state == state), None)


def move(
    connection: Connection,
    experiment: str,
    version: int,
    state: State,
    *,
    share: str | None = None,
    gate: Mapping[str, Any] | None = None,
    now: int,
) -> Version:
    """Move a version, in the caller's transaction, and return it as it stands then.

    Another version of the experiment that stood where this one goes, and must stand there alone, becomes ``replaced``.
    One that draws for nobody has share 0 and the live one share 1, whatever is said.

    Args:
        connection: a transaction for changes.
        experiment: whose policy.
        version: its number.
        state: where to; see `MOVES`.
        share: of the members, for one that is being ramped up.
        gate: what the gate found; by default what is known of it stays.
        now: microseconds since 1970 UTC.

    Raises:
        VersionError: when there is no such version, or it cannot go there from where it stands.
    """
    audit.lock(connection)
    current = one(connection, experiment, version)
    if state not in MOVES[current.state]:
        allowed = ", ".join(sorted(MOVES[current.state])) or "nothing any more"
        raise VersionError(
            f"policy version {version} of {experiment} is {current.state} and cannot become {state}; "
            f"from there it can become: {allowed}"
        )
    if state == "ramping" and share is None:
        raise VersionError(f"policy version {version} of {experiment} needs a share of the members to be ramped up to")
    if state in ALONE:
        _replace(connection, experiment, state, now, but=version)
    values: dict[str, Any] = {"state": state, "changed_at": now}
    values["share"] = {"live": "1", "ramping": share}.get(state, "0")
    if gate is not None:
        values["gate"] = _json(gate)
    c = policies.c
    connection.execute(sa.update(policies).where(c.experiment == experiment, c.version == version).values(values))
    return one(connection, experiment, version)


def body(connection: Connection, sha256: str) -> bytes:
    """Return the file of a policy.

    Raises:
        VersionError: when it is not kept, or is no longer what its name says.
    """
    found = connection.execute(sa.select(policy_files.c.body).where(policy_files.c.sha256 == sha256)).scalar()
    if found is None:
        raise VersionError(f"the policy file {sha256} is not in the database: restore it from a backup")
    content = bytes(found)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise VersionError(f"the policy file {sha256} is damaged in the database: restore it from a backup")
    return content


def policy(connection: Connection, sha256: str) -> Policy:
    """Return a policy ready to draw.

    Raises:
        VersionError: when its file is missing, damaged, or not a policy's.
    """
    from allocation.bandits.policy import from_bytes

    content = body(connection, sha256)
    try:
        return from_bytes(content)
    except ValueError as error:
        raise VersionError(f"the policy file {sha256} cannot be read: {error}") from None


def _replace(connection: Connection, experiment: str, state: State, now: int, but: int | None = None) -> None:
    c = policies.c
    there = sa.and_(c.experiment == experiment, c.state == state, c.version != (but or 0))
    connection.execute(sa.update(policies).where(there).values(state="replaced", share="0", changed_at=now))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _version(row: Mapping[Any, Any]) -> Version:
    fields = dict(row)
    fields["about"] = json.loads(fields["about"])
    fields["gate"] = json.loads(fields["gate"])
    return Version(**fields)
