"""Member state on disk: what each node knows about members without asking the database.

The worker publishes one read-only SQLite file, built from ``members`` (stored attributes, opt-out) and from the
enrolments in ``decisions`` of the experiments that need them, with a manifest that names it and its SHA-256. Nodes
read it with one point lookup for each table: bounded cost, no locks, no database. Of units that are known by several
ids it has the ids and the enrolments in all active experiments; while there are none, nobody looks for them.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from allocation.decision import Enrolment, MemberState
from experiments import atomic

if TYPE_CHECKING:
    from experiments.store import Store

MANIFEST = "members.json"
FORMAT = 2
"""1 has no identities. Where nobody is linked the file is written as 1, so that nodes of the version before read it."""
KEPT = 2
"""How many member files stay on disk: a node may still have the one before open."""
MAX_AGE_US = 48 * 3600 * 1_000_000
"""The attributes of a member file older than this are not looked at: they say too little about today."""

UNKNOWN = MemberState(state_known=False)

_SCHEMA = """
PRAGMA page_size = 4096;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE members (unit_type TEXT NOT NULL, unit TEXT NOT NULL, attributes TEXT NOT NULL, opted_out INTEGER NOT NULL,
    PRIMARY KEY (unit_type, unit)) WITHOUT ROWID;
CREATE TABLE enrolments (unit_type TEXT NOT NULL, unit TEXT NOT NULL, experiment TEXT NOT NULL, phase INTEGER NOT NULL,
    variant TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (unit_type, unit, experiment)) WITHOUT ROWID;
CREATE TABLE identities (unit_type TEXT NOT NULL, unit TEXT NOT NULL, root TEXT NOT NULL,
    PRIMARY KEY (unit_type, unit)) WITHOUT ROWID;
CREATE INDEX identities_by_root ON identities (unit_type, root);
"""
_MEMBER = "SELECT attributes, opted_out FROM members WHERE unit_type = ? AND unit = ?"
_ENROLMENTS = "SELECT experiment, phase, variant, since FROM enrolments WHERE unit_type = ? AND unit = ?"
_GROUP = """SELECT other.unit FROM identities unit JOIN identities other ON other.unit_type = unit.unit_type
    AND other.root = unit.root WHERE unit.unit_type = ? AND unit.unit = ? ORDER BY other.unit"""
_attributes = msgspec.json.Decoder(dict[str, Any])

MemberRow = tuple[str, str, str, int]
"""unit_type, unit, attributes as a JSON object, opted out (0 or 1)"""
EnrolmentRow = tuple[str, str, str, int, str, int]
"""unit_type, unit, experiment, phase, variant, since (microseconds)"""
IdentityRow = tuple[str, str, str]
"""unit_type, unit, root: only of groups of two ids or more"""


class Manifest(msgspec.Struct, frozen=True):
    """Which member file is current."""

    file: str
    sha256: str
    at: int
    """Everything stored before this microsecond is in it."""
    members: int
    enrolments: int
    format: int = FORMAT
    opted_out: int | None = None
    """Members who opted out of personalisation; ``None`` when the file does not say."""
    linked: int = 0
    """Ids that are not their unit's only one."""


def write(
    folder: Path,
    at: int,
    members: Iterable[MemberRow],
    enrolments: Iterable[EnrolmentRow],
    identities: Iterable[IdentityRow] = (),
) -> Manifest:
    """Write a member file and its manifest atomically; older ones but one are deleted.

    Args:
        folder: the snapshot folder.
        at: microseconds since 1970 UTC up to which the rows are complete.
        members: each unit once.
        enrolments: each unit and experiment once.
        identities: each id of a unit with several.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = sorted(folder.glob("members-*.sqlite"))
    # Names sort by time, also when the clock was set back.
    stamp = max(at, int(known[-1].stem.removeprefix("members-")) + 1) if known else at
    final = folder / f"members-{stamp:016d}.sqlite"
    with atomic.replacing(final) as temporary:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO members VALUES (?, ?, ?, ?)", members)
            connection.executemany("INSERT INTO enrolments VALUES (?, ?, ?, ?, ?, ?)", enrolments)
            connection.executemany("INSERT INTO identities VALUES (?, ?, ?)", identities)
            connection.execute("COMMIT")
            counts = [
                connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]  # noqa: S608 - our own words
                for rows in ("members", "enrolments", "members WHERE opted_out", "identities")
            ]
        finally:
            connection.close()
    manifest = Manifest(
        final.name,
        _sha256(final),
        at,
        counts[0],
        counts[1],
        format=FORMAT if counts[3] else 1,
        opted_out=counts[2],
        linked=counts[3],
    )
    with atomic.replacing(folder / MANIFEST) as temporary:
        temporary.write_bytes(msgspec.json.encode(manifest))
    atomic.keep_newest(list(folder.glob("members-*.sqlite")), KEPT)
    return manifest


def published(folder: Path) -> bool:
    """Return whether member states have been published in this folder."""
    return (folder / MANIFEST).exists()


def write_from_store(
    store: Store, folder: Path, experiments: Mapping[str, int], at: int, active: Mapping[str, int] | None = None
) -> Manifest:
    """Rebuild the member file from the store.

    Args:
        store: where ``members``, ``decisions`` and ``identities`` are.
        folder: the snapshot folder.
        experiments: experiment → first phase whose members keep what they have; only these need everybody's enrolments.
        at: microseconds since 1970 UTC; the loader has put everything acknowledged before it into the store.
        active: the same of all experiments that give variants: those need the enrolments of linked units.
    """
    import sqlalchemy as sa

    from experiments.store.log_tables import decisions, identities
    from experiments.store.log_tables import members as members_table

    # An id that is alone under its root belongs to a group too large to be anybody: it is not linked.
    roots = sa.select(identities.c.unit_type, identities.c.root).where(identities.c.unit != identities.c.root)
    several = sa.tuple_(identities.c.unit_type, identities.c.root).in_(roots)

    def member_rows() -> Iterator[MemberRow]:
        query = sa.select(members_table).order_by(members_table.c.unit_type, members_table.c.unit)
        for row in connection.execution_options(stream_results=True).execute(query):
            yield row.unit_type, row.unit, row.attributes, int(row.opted_out)

    def enrolment_rows() -> Iterator[EnrolmentRow]:
        c = decisions.c
        order = sa.func.row_number().over(
            partition_by=(c.unit_type, c.unit, c.experiment), order_by=(c.at, c.decision_id)
        )
        wanted = [sa.and_(c.experiment == key, c.phase >= phase) for key, phase in sorted(experiments.items())]
        others = {key: phase for key, phase in (active or {}).items() if key not in experiments}
        if others and connection.scalar(sa.select(identities.c.unit).limit(1)) is not None:
            linked = sa.select(identities.c.unit_type, identities.c.unit).where(several)
            of_others = [sa.and_(c.experiment == key, c.phase >= phase) for key, phase in sorted(others.items())]
            wanted.append(sa.and_(sa.or_(*of_others), sa.tuple_(c.unit_type, c.unit).in_(linked)))
        if not wanted:
            return
        ranked = (
            sa.select(c.unit_type, c.unit, c.experiment, c.phase, c.variant, c.at, order.label("place"))
            .where(c.kind == "enrolled", sa.or_(*wanted))
            .subquery()
        )
        query = (
            sa.select(ranked)
            .where(ranked.c.place == 1)
            .order_by(ranked.c.unit_type, ranked.c.unit, ranked.c.experiment)
        )
        for row in connection.execution_options(stream_results=True).execute(query):
            yield row.unit_type, row.unit, row.experiment, row.phase, row.variant, row.at

    def identity_rows() -> Iterator[IdentityRow]:
        c = identities.c
        query = sa.select(c.unit_type, c.unit, c.root).where(several).order_by(c.unit_type, c.unit)
        for row in connection.execution_options(stream_results=True).execute(query):
            yield row.unit_type, row.unit, row.root

    with store.read() as connection:
        return write(folder, at, member_rows(), enrolment_rows(), identity_rows())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class MemberStates:
    """Reads the current member file; one object for a process, used from any thread.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> MemberStates(folder).get("member", "m-1").state_known
    False
    >>> _ = write(folder, 1, [("member", "m-1", '{"stage":"dormant"}', 0)], [])
    >>> states = MemberStates(folder)
    >>> states.refresh(now=2), states.get("member", "m-1").attributes
    (True, {'stage': 'dormant'})
    """

    def __init__(self, folder: Path, max_age_us: int = MAX_AGE_US) -> None:
        self.folder = Path(folder)
        self.max_age_us = max_age_us
        self.problem: str | None = None
        """Why the newest file is not in use; ``None`` when it is."""
        self.manifest: Manifest | None = None
        self._connection: sqlite3.Connection | None = None
        self._too_old = False
        self._seen: tuple[int, int] | None = None
        self._guard = threading.Lock()

    def refresh(self, now: int | None = None) -> bool:
        """Take over a newly published file, after checking its SHA-256; return whether there was one.

        A damaged file is noted in ``problem`` and the one before stays in use. Call it about once a second; it costs
        one ``stat`` when nothing changed.

        Args:
            now: microseconds since 1970 UTC, against which the file's age is judged; without it no age is too old.
        """
        changed = self._take_newest()
        if now is not None and self.manifest is not None:
            self._too_old = now - self.manifest.at > self.max_age_us
        return changed

    @property
    def nobody_opted_out(self) -> bool:
        """Whether the file in use says that no member opted out: experiments that need no state can pass it over."""
        return self.manifest is not None and self.manifest.opted_out == 0

    @property
    def nobody_linked(self) -> bool:
        """Whether the file in use says that every unit has one id: experiments that need no state can pass it over."""
        return self.manifest is not None and not self.manifest.linked

    def get(self, unit_type: str, unit: str, *, enrolments: bool = True) -> MemberState:
        """Return what is known about a unit: one point lookup, two with its enrolments.

        Of a unit with several ids (which costs two lookups for each of them) the earliest enrolment in an experiment
        counts, whichever id has it, and so does an opt-out under any of them; attributes are those of the id asked for.
        A unit that the file does not have is a known one without attributes and enrolments. ``state_known`` is false
        when there is no file, or it is too old; an old file's opt-outs and enrolments count all the same.
        """
        if self._connection is None and self.manifest is None:
            self.refresh()
        with self._guard:
            if self._connection is None:
                return UNKNOWN
            try:
                group = self._group(self._connection, unit_type, unit)
                member = self._connection.execute(_MEMBER, (unit_type, unit)).fetchone()
                opted_out = bool(member and member[1])
                found = {}
                if enrolments or group:
                    found = self._enrolments(self._connection, unit_type, group or (unit,))
                for other in group:
                    row = None if opted_out else self._connection.execute(_MEMBER, (unit_type, other)).fetchone()
                    opted_out = opted_out or bool(row and row[1])
            except sqlite3.Error as error:
                self.problem = f"the member file cannot be read: {error}"
                return UNKNOWN
        # What happened stays true however old the file is: opt-outs and enrolments. Attributes do not.
        return MemberState(
            attributes=_attributes.decode(member[0]) if member and not self._too_old else {},
            enrolments=found,
            opted_out=opted_out,
            state_known=not self._too_old,
            linked=tuple(other for other in group if other != unit),
        )

    def _group(self, connection: sqlite3.Connection, unit_type: str, unit: str) -> tuple[str, ...]:
        """Return all ids of the unit in byte order; none when it has but one."""
        if self.nobody_linked:
            return ()
        return tuple(row[0] for row in connection.execute(_GROUP, (unit_type, unit)))

    def _enrolments(
        self, connection: sqlite3.Connection, unit_type: str, units: tuple[str, ...]
    ) -> dict[str, Enrolment]:
        found: dict[str, Enrolment] = {}
        for unit in units:
            for key, phase, variant, since in connection.execute(_ENROLMENTS, (unit_type, unit)):
                known = found.get(key)
                if known is None or since < known.since:
                    found[key] = Enrolment(phase, variant, since)
        return found

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _take_newest(self) -> bool:
        path = self.folder / MANIFEST
        try:
            stat = path.stat()
        except OSError:
            return False
        seen = (stat.st_mtime_ns, stat.st_ino)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
            connection = _open(self.folder / manifest.file, manifest)
        except (OSError, msgspec.DecodeError, ValueError, sqlite3.Error) as error:
            self.problem = f"the member file is not in use: {error}"
            return False
        with self._guard:
            old, self._connection, self.manifest = self._connection, connection, manifest
            if old is not None:
                old.close()
        self.problem = None
        return True


def _open(path: Path, manifest: Manifest) -> sqlite3.Connection:
    if manifest.format > FORMAT:
        raise ValueError(f"{path.name} has format {manifest.format}; upgrade this node")
    if path.parent / path.name != path or _sha256(path) != manifest.sha256:
        raise ValueError(f"{path.name} is damaged: its checksum does not match")
    # immutable: no locks and no journal, because nobody ever changes the file once it has its name.
    address = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    return sqlite3.connect(address, uri=True, check_same_thread=False)
