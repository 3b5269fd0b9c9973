"""What is published for all hosts: one row for each snapshot, written once, copied by everybody.

Hosts that each compiled their own snapshot would swap at different moments, under different versions.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from allocation.plan import Snapshot
from allocation.snapshot import encode
from experiments import atomic
from experiments.store import Store
from experiments.store.definition_tables import audit_log
from experiments.store.job_tables import jobs
from experiments.store.log_tables import imports
from experiments.store.publication_tables import published_snapshots, replicas

PUBLISH_LOCK = 3_758_710_805_051_460_852
"""PostgreSQL advisory lock of who publishes: first 63 bits of sha256 of "equipoise publish"."""
KEPT = 10
"""How many snapshots stay in the table."""
MARK_EVERY_US = 1_000_000


class PublishedRow(msgspec.Struct, frozen=True):
    """One published snapshot without its document."""

    version: str
    content_digest: str
    effective_at: int
    definitions: int
    """Number of the newest change of definitions that is in it."""
    program: str
    """Version of Equipoise that compiled it."""


@contextlib.contextmanager
def turn(store: Store) -> Iterator[Connection]:
    """Open a transaction in which nobody else publishes: SQLite has one writer; on PostgreSQL a lock says so."""
    with store.begin() as connection:
        if store.dialect == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": PUBLISH_LOCK})
        yield connection


def newest(connection: Connection) -> PublishedRow | None:
    """Return the newest row; ``None`` before the first."""
    c = published_snapshots.c
    columns = [c[name] for name in PublishedRow.__struct_fields__]
    row = connection.execute(sa.select(*columns).order_by(c.version.desc()).limit(1)).first()
    return None if row is None else PublishedRow(*row)


def supersedes(connection: Connection, row: PublishedRow) -> bool:
    """Whether what this program compiles now, which differs from ``row``, is to be published in its place.

    While a deployment is being upgraded, two programs may compile the same definitions differently: the newer one is
    right then, and the older one copies. Otherwise they would publish in turns for ever.
    """
    return _ordered(program()) >= _ordered(row.program) or newest_definitions(connection) > row.definitions


def newest_definitions(connection: Connection) -> int:
    """Return the number of the newest change of definitions."""
    return int(connection.scalar(sa.select(sa.func.max(audit_log.c.number))) or 0)


def insert(connection: Connection, snapshot: Snapshot, digest: str, now: int) -> None:
    """Write a snapshot down, and forget all but the last few.

    Args:
        connection: of ``turn``.
        snapshot: as all hosts will have it.
        digest: of what it decides, whatever its version and time.
        now: microseconds since 1970 UTC.
    """
    c = published_snapshots.c
    connection.execute(
        published_snapshots.insert().values(
            version=snapshot.version,
            content_digest=digest,
            effective_at=snapshot.effective_at,
            published_at=now,
            definitions=newest_definitions(connection),
            program=program(),
            document=encode(snapshot).decode(),
        )
    )
    kept = connection.scalars(sa.select(c.version).order_by(c.version.desc()).limit(KEPT)).all()
    connection.execute(published_snapshots.delete().where(c.version < kept[-1]))


def program() -> str:
    """Return the version of this program."""
    return importlib.metadata.version("equipoise")


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def document(connection: Connection, version: str) -> bytes:
    """Return a published snapshot as it was written."""
    c = published_snapshots.c
    return str(connection.scalar(sa.select(c.document).where(c.version == version))).encode()


class Replica:
    """One host among those of a deployment: what it asks the database about the others."""

    def __init__(self, store: Store, data_dir: Path) -> None:
        """Make it.

        Args:
            store: that all hosts share.
            data_dir: of this host; a random name for it is kept there.
        """
        self._store = store
        self._name = _name_of(data_dir)
        self._marked_at = 0

    def newest_change(self) -> tuple[int, str | None]:
        """Return the number of the newest change of definitions, and the version that was published last."""
        with self._store.read() as connection:
            version = connection.scalar(sa.select(sa.func.max(published_snapshots.c.version)))
            return newest_definitions(connection), version

    def newest_rows(self) -> tuple[int | None, int | None]:
        """Return when an import or a job last brought members or decisions, and when another host last loaded some."""
        imported = sa.select(sa.func.max(imports.c.finished_at)).where(imports.c.kind.in_(("members", "decisions")))
        listed = sa.select(sa.func.max(jobs.c.finished_at)).where(jobs.c.kind.in_(("assignments", "stages")))
        loaded = sa.select(sa.func.max(replicas.c.loaded_at)).where(replicas.c.replica != self._name)
        with self._store.read() as connection:
            brought = [at for at in (connection.scalar(imported), connection.scalar(listed)) if at is not None]
            return max(brought, default=None), connection.scalar(loaded)

    def mark_loaded(self, now: int) -> bool:
        """Tell the other hosts that rows were loaded; return whether that is done, or must be tried again.

        It is said once a second at most, and not on SQLite, which has no other hosts.

        Args:
            now: microseconds since 1970 UTC.
        """
        if self._store.dialect != "postgresql":
            return True
        if abs(now - self._marked_at) < MARK_EVERY_US:
            return False
        row = postgresql.insert(replicas).values(replica=self._name, loaded_at=now)
        with self._store.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["replica"], set_={"loaded_at": now}))
        self._marked_at = now
        return True

    def mark_stored(self, now: int) -> None:
        """Tell all hosts, this one too, that rows were brought straight into the store.

        Args:
            now: microseconds since 1970 UTC.
        """
        dialect = postgresql if self._store.dialect == "postgresql" else sqlite
        row = dialect.insert(replicas).values(replica=f"{self._name}:store", loaded_at=now)
        with self._store.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["replica"], set_={"loaded_at": now}))


def _name_of(data_dir: Path) -> str:
    path = data_dir / "replica-name"
    with contextlib.suppress(FileNotFoundError):
        name = path.read_text("ascii", "replace").strip()
        if name:
            return name
    name = secrets.token_hex(8)
    with atomic.replacing(path) as temporary:
        temporary.write_text(name + "\n", "ascii")
    return name
