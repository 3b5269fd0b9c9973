"""Publishing: what stands in the store becomes what every node decides with, by files on disk.

It goes through a table of the store (`experiments.publishing.published`), so that many hosts have the same. A snapshot
is published two seconds ahead of its ``effective_at``, so that all nodes swap together. When nothing that decides has
changed, nothing is published.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from allocation.plan import Snapshot
from allocation.snapshot import SnapshotError, encode, parse
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.lifecycle.states import ACTIVE
from experiments.lifecycle.transition import transition
from experiments.log.loader import Loader
from experiments.log.spool_file import FileLock
from experiments.publishing import members, policy_files, published, snapshot_file
from experiments.publishing.plans import plan_of, snapshot_of
from experiments.publishing.snapshot_file import SnapshotFile, SnapshotMissingError
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.clock import database_now

__all__ = [
    "AHEAD_US",
    "SnapshotFile",
    "SnapshotMissingError",
    "build_snapshot",
    "move",
    "publish",
    "publish_member_states",
    "publish_members",
]

AHEAD_US = 2_000_000
"""How far ahead a snapshot is published."""
LOCK_NAME = "publish.lock"


def publish(store: Store, settings: Settings, now: int | None = None, *, ahead_us: int = AHEAD_US) -> str:
    """Publish the snapshot of the store; return its version (the current one when nothing that decides has changed).

    It is written into the store once, under a lock, and copied into this host's folder, after the policies that it
    draws by; other hosts copy it when they call this. The first comes with member states. Where members newly keep what
    they have (an experiment was paused, or opened a phase that keeps), the spools are drained and the enrolled set is
    sealed in the member file *before* the snapshot that relies on it is written.

    Args:
        store: where the definitions are.
        settings: whose ``snapshot_dir`` is written.
        now: microseconds since 1970 UTC; by default the database's. Hosts that each went by their own clock would
            publish in turns while they disagree whether a key has expired.
        ahead_us: how long after ``now`` it takes effect. The first snapshot of a folder takes effect at once.
    """
    at = _database_now(store) if now is None else now
    folder = settings.snapshot_dir
    folder.mkdir(parents=True, exist_ok=True)
    turn = FileLock.take(folder / LOCK_NAME, wait=True)
    try:
        last = _newest(folder)
        sealed = _needing(last) if last else set()
        while True:
            snapshot, body = _agreed(store, folder, last, sealed, at, ahead_us)
            newly_needed = not _needing(snapshot) <= sealed
            # From the first snapshot on, so that the first decisions of a deployment know whom they are about.
            if newly_needed or not members.published(folder):
                publish_member_states(store, settings, at)
            if snapshot.version:
                break
            sealed |= _needing(snapshot)
        policy_files.copy(store, folder, snapshot)
        if last is None or last.version != snapshot.version:
            snapshot_file.write_document(folder, snapshot.version, body)
            policy_files.keep(folder, _kept(folder))
        return snapshot.version
    finally:
        if turn is not None:
            turn.release()


def _database_now(store: Store) -> int:
    with store.read() as connection:
        return database_now(connection)


def _agreed(
    store: Store, folder: Path, last: Snapshot | None, sealed: set[tuple[str, int, bool]], at: int, ahead_us: int
) -> tuple[Snapshot, bytes]:
    """Return the snapshot that all hosts have or shall have, and its document.

    It is without version while its enrolled are to be sealed yet.

    Args:
        store: where the definitions are, and what was published.
        folder: of this host.
        last: the newest snapshot in it.
        sealed: what `_needing` says of experiments whose enrolled are in this host's member file.
        at: microseconds since 1970 UTC.
        ahead_us: how long after ``at`` a new snapshot takes effect.
    """
    with published.turn(store) as connection:
        newest = published.newest(connection)
        # Read with the lock held: whatever was committed before is in it.
        snapshot = build_snapshot(store, at)
        digest = content_digest(snapshot)
        known = max(snapshot_file.versions(folder), default="")  # whole or not
        if newest is not None and newest.version >= known:
            if last is not None and last.version == newest.version and newest.content_digest == digest:
                return last, b""
            if newest.content_digest == digest or not published.supersedes(connection, newest):
                # As it was written, also what this program does not know of.
                body = published.document(connection, newest.version)
                return parse(body), body
        alone = newest is None or newest.version < known
        if alone and last is not None and last.version == known and content_digest(last) == digest:
            snapshot = last  # of this folder alone until now
        else:
            if not _needing(snapshot) <= sealed:
                return msgspec.structs.replace(snapshot, version=""), b""
            newest_known = max(known, newest.version if newest is not None else "")
            if newest_known and snapshot.version <= newest_known:
                # Versions sort by time, also when the clock was set back.
                snapshot = msgspec.structs.replace(snapshot, version=_version(_stamp(newest_known) + 1, snapshot))
            first = last is None and newest is None
            snapshot = msgspec.structs.replace(snapshot, effective_at=at if first else at + ahead_us)
        if newest is None or newest.version < snapshot.version:
            published.insert(connection, snapshot, digest, at)
        return snapshot, encode(snapshot)


def build_snapshot(store: Store, now: int) -> Snapshot:
    """Return the snapshot of the store as it would be published, taking effect now, without writing it."""
    snapshot = snapshot_of(Repository(store), "", now)
    return msgspec.structs.replace(snapshot, version=_version(now, snapshot))


def _version(stamp: int, snapshot: Snapshot) -> str:
    return f"{stamp:016d}-{content_digest(snapshot)[:8]}"


def _stamp(version: str) -> int:
    return int(version.partition("-")[0])


def _needing(snapshot: Snapshot) -> set[tuple[str, int, bool]]:
    """Return the experiments that read enrolments, with their phase and whether they are paused."""
    return {
        (key, plan.phase.number, plan.state == "paused")
        for key, plan in snapshot.experiments.items()
        if plan.state in ACTIVE and plan.needs == "enrolment"
    }


def content_digest(snapshot: Snapshot) -> str:
    """Return the hash of what a snapshot decides, whatever its version and time."""
    return hashlib.sha256(encode(msgspec.structs.replace(snapshot, version="", effective_at=0))).hexdigest()


def _newest(folder: Path) -> Snapshot | None:
    for version in reversed(snapshot_file.versions(folder)):
        try:
            return snapshot_file.read(snapshot_file.path_of(folder, version))
        except SnapshotError:
            continue
    return None


def _kept(folder: Path) -> Iterator[Snapshot]:
    """Yield the snapshots on disk that are whole."""
    for version in snapshot_file.versions(folder):
        with contextlib.suppress(SnapshotError):
            yield snapshot_file.read(snapshot_file.path_of(folder, version))


def publish_member_states(store: Store, settings: Settings, now: int | None = None) -> members.Manifest:
    """Drain the spools of this host and publish the member file: attributes, opt-outs, and the enrolments needed."""
    at = time.time_ns() // 1000 if now is None else now
    Loader(settings.spool_dir, store).run_once()
    return publish_members(store, settings, at)


def publish_members(store: Store, settings: Settings, now: int) -> members.Manifest:
    """Publish the member file from what the store holds already.

    Args:
        store: where ``members`` and ``decisions`` are.
        settings: whose ``snapshot_dir`` is written.
        now: microseconds since 1970 UTC.
    """
    repository = Repository(store)
    heads = repository.heads()
    active = {record.key: record for record in repository.experiments() if record.state in ACTIVE}
    needing = {
        key: record.kept_since
        for key, record in active.items()
        if plan_of(repository, record, heads).needs == "enrolment"
    }
    everywhere = {key: record.kept_since for key, record in active.items()}
    return members.write_from_store(store, settings.snapshot_dir, needing, now, everywhere)


def move(
    store: Store,
    settings: Settings,
    key: str,
    to: str,
    actor: str,
    reason: str | None = None,
    now: int | None = None,
    version_id: int | None = None,
) -> ExperimentRecord:
    """Move an experiment to another state and publish what follows from it.

    Raises:
        TransitionError: when the move is not allowed.
        StaleVersionError: when the experiment is at another version than ``version_id``.
        UnknownKeyError: when there is no such experiment.
    """
    record = transition(store, key, to, actor, reason, now, version_id)
    publish(store, settings, now)
    return record
