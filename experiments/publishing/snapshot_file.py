"""The published snapshot on disk: checksummed files, of which the newest that is whole and due decides.

A file is one line ``equipoise-snapshot 1 SHA256`` and then the snapshot's JSON. Its name carries the version, and
versions sort by time. A truncated or altered file is refused by its checksum and the snapshot before it goes on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from allocation.compiled import CompiledSnapshot, compile_snapshot
from allocation.plan import Snapshot
from allocation.snapshot import SnapshotError, encode, parse
from experiments import atomic
from experiments.publishing import policy_files
from experiments.publishing.policy_files import PolicyFiles

MAGIC = b"equipoise-snapshot 1 "
KEPT = 3
"""How many snapshots stay on disk."""
MOST_AHEAD_US = 10_000_000
"""A snapshot that takes effect later than this was published by another clock: waiting for it would only hold back
what somebody has changed, such as a stop, for as long as the clocks differ."""


Seen = tuple[int, int, tuple[tuple[str, int, int], ...]]
"""Time and size of a snapshot's file, and those of the policies beside it: what is as it was need not be read again."""


class SnapshotMissingError(RuntimeError):
    """There is no usable snapshot; the message says what to do."""


def path_of(folder: Path, version: str) -> Path:
    """Return where a version is kept."""
    return folder / f"snapshot-{version}.json"


def versions(folder: Path) -> list[str]:
    """Return the versions on disk, oldest first, whole or not."""
    return sorted(path.stem.removeprefix("snapshot-") for path in folder.glob("snapshot-*.json"))


def write(folder: Path, snapshot: Snapshot) -> Path:
    """Write a snapshot atomically and delete all but the last three."""
    return write_document(folder, snapshot.version, encode(snapshot))


def write_document(folder: Path, version: str, body: bytes) -> Path:
    """Write a snapshot, encoded already, atomically and delete all but the last three."""
    path = path_of(folder, version)
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    atomic.keep_newest(list(folder.glob("snapshot-*.json")), KEPT)
    return path


def read(path: Path) -> Snapshot:
    """Read one file.

    Raises:
        SnapshotError: when it is not whole.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path.name} cannot be read: {error.strerror}") from None
    head, _, body = data.partition(b"\n")
    if not head.startswith(MAGIC):
        raise SnapshotError(f"{path.name} is not a snapshot file of this format")
    if hashlib.sha256(body).hexdigest().encode() != head[len(MAGIC) :]:
        raise SnapshotError(f"{path.name} is damaged: its checksum does not match")
    return parse(body)


class SnapshotFile:
    """The snapshot that this node decides with, looked after by polling.

    ``load`` at start, ``poll`` at most every second. A new version is taken over at its ``effective_at``; one that is
    damaged, or whose policies are not beside it, is noted in ``problem`` and passed over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._current: CompiledSnapshot | None = None
        self._pending: CompiledSnapshot | None = None
        self._refused: dict[str, tuple[Seen, str]] = {}
        self._policies = PolicyFiles(self.folder)

    @property
    def problem(self) -> str | None:
        """Why the newest file is not in use; ``None`` when it is, or waits for its time."""
        newest = self.newest
        reasons = [why for version, (_, why) in sorted(self._refused.items()) if not newest or version > newest.version]
        return reasons[-1] if reasons else None

    @property
    def current(self) -> CompiledSnapshot | None:
        """The snapshot in use."""
        return self._current

    @property
    def newest(self) -> CompiledSnapshot | None:
        """The newest whole snapshot, which may wait for its time still."""
        return self._pending or self._current

    def due(self, now: int) -> bool:
        """Return whether a snapshot that waited for its time has reached it.

        Args:
            now: microseconds since 1970 UTC.
        """
        return self._pending is not None and _is_due(self._pending, now)

    def load(self, now: int | None = None) -> CompiledSnapshot:
        """Return the newest whole snapshot that is due; when none is due yet, the newest whole one.

        Args:
            now: microseconds since 1970 UTC; without it the newest counts as due.

        Raises:
            SnapshotMissingError: when there is none.
        """
        for version in reversed(versions(self.folder)):
            snapshot = self._try(version)
            if snapshot is None:
                continue
            if _is_due(snapshot, now):
                self._current = snapshot
                break
            self._pending = self._pending or snapshot
        if self._current is None and self._pending is not None:
            self._current, self._pending = self._pending, None
        if self._current is None:
            why = f" ({self.problem})" if self.problem else ""
            advice = "start the service or run equipoise transition once to publish one"
            raise SnapshotMissingError(f"no snapshot in {self.folder}{why}; {advice}")
        return self._current

    def poll(self, now: int | None = None) -> CompiledSnapshot | None:
        """Look for a newer snapshot; return it once it is due and in use, else ``None``. Cheap when nothing changed.

        Args:
            now: microseconds since 1970 UTC; without it the newest counts as due.
        """
        newest = self.newest
        after = newest.version if newest else ""
        for version in reversed(versions(self.folder)):
            if version <= after:
                break
            snapshot = self._try(version)
            if snapshot is not None:
                self._pending = snapshot
                break
        if self._pending is not None and (self._current is None or _is_due(self._pending, now)):
            self._current, self._pending = self._pending, None
            return self._current
        return None

    def _try(self, version: str) -> CompiledSnapshot | None:
        path = path_of(self.folder, version)
        try:
            stat = path.stat()
        except OSError:
            return None
        seen = (stat.st_mtime_ns, stat.st_size, policy_files.marks(self.folder))
        if version in self._refused and self._refused[version][0] == seen:
            return None
        try:
            compiled = compile_snapshot(read(path), self._policies.find)
        except SnapshotError as error:
            self._refused[version] = (seen, str(error))
            return None
        self._policies.forget(compiled.source)
        self._refused.pop(version, None)
        return compiled


def _is_due(snapshot: CompiledSnapshot, now: int | None) -> bool:
    return now is None or not now < snapshot.effective_at <= now + MOST_AHEAD_US
