"""Publishing: what stands in the store becomes what every node decides with, by files on disk.

A snapshot is published two seconds ahead of its ``effective_at``, so that all nodes swap together. When nothing that
decides has changed, nothing is published.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import msgspec

from allocation.plan import Snapshot
from allocation.snapshot import SnapshotError, encode
from experiments import members, snapshot_file
from experiments.lifecycle import transition
from experiments.log.loader import Loader
from experiments.plans import plan_of, snapshot_of
from experiments.records import ExperimentRecord
from experiments.repository import Repository
from experiments.settings import Settings
from experiments.snapshot_file import SnapshotFile, SnapshotMissingError
from experiments.states import ACTIVE
from experiments.store import Store

__all__ = [
    "AHEAD_US",
    "SnapshotFile",
    "SnapshotMissingError",
    "move",
    "publish",
    "publish_member_states",
]

AHEAD_US = 2_000_000
"""How far ahead a snapshot is published."""


def publish(store: Store, settings: Settings, now: int | None = None, *, ahead_us: int = AHEAD_US) -> str:
    """Publish the snapshot of the store; return its version (the current one when nothing that decides has changed).

    Args:
        store: where the definitions are.
        settings: whose ``snapshot_dir`` is written.
        now: microseconds since 1970 UTC; by default the clock's.
        ahead_us: how long after ``now`` it takes effect. The first snapshot of a folder takes effect at once.
    """
    at = time.time_ns() // 1000 if now is None else now
    folder = settings.snapshot_dir
    last = _newest(folder)
    snapshot = snapshot_of(Repository(store), "", 0)
    digest = content_digest(snapshot)
    if last is not None and content_digest(last) == digest:
        return last.version
    stamp = at
    known = snapshot_file.versions(folder)
    if known:
        # Versions sort by time, also when the clock was set back.
        stamp = max(at, int(known[-1].partition("-")[0]) + 1)
    version = f"{stamp:016d}-{digest[:8]}"
    effective_at = at + ahead_us if last is not None else at
    snapshot_file.write(folder, msgspec.structs.replace(snapshot, version=version, effective_at=effective_at))
    return version


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


def publish_member_states(store: Store, settings: Settings, now: int | None = None) -> members.Manifest:
    """Drain the spools of this host and publish the member file: attributes, opt-outs, and the enrolments needed."""
    at = time.time_ns() // 1000 if now is None else now
    Loader(settings.spool_dir, store).run_once()
    repository = Repository(store)
    heads = repository.heads()
    needing = {
        record.key: record.kept_since
        for record in repository.experiments()
        if record.state in ACTIVE and plan_of(repository, record, heads).needs == "enrolment"
    }
    return members.publish_members(store, settings.snapshot_dir, needing, at)


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

    Where members keep what they have (pausing; sticky experiments), the spools are drained and the enrolled set is
    sealed in the member file *before* the snapshot that relies on it is published.

    Raises:
        TransitionError: when the move is not allowed.
        StaleVersionError: when the experiment is at another version than ``version_id``.
        UnknownKeyError: when there is no such experiment.
    """
    record = transition(store, key, to, actor, reason, now, version_id)
    repository = Repository(store)
    if record.state in ACTIVE and plan_of(repository, record).needs != "none":
        publish_member_states(store, settings, now)
    publish(store, settings, now)
    return record
