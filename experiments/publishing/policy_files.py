"""Policies beside the snapshot that names them: ``policy-SHA256.npz``, copied from the store before the snapshot is.

A node never decides with half of it: a file that is missing, or is not what its name says, makes the whole snapshot
unusable there, and the one before goes on. Publishing again, as every start and every change does, puts it right.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from allocation.plan import Snapshot
from allocation.snapshot import SnapshotError
from experiments import atomic

if TYPE_CHECKING:
    from allocation.bandits.policy import Policy
    from allocation.compiled import Policies
    from experiments.store import Store


def path_of(folder: Path, digest: str) -> Path:
    """Return where a policy is kept."""
    return folder / f"policy-{digest}.npz"


def named(snapshot: Snapshot) -> set[str]:
    """Return the SHA-256 of every policy that a snapshot draws by.

    >>> named(Snapshot("v1", 0))
    set()
    """
    bandits = [plan.bandit for plan in snapshot.experiments.values() if plan.bandit is not None]
    return {policy.sha256 for bandit in bandits for policy in bandit.policies}


def copy(store: Store, folder: Path, snapshot: Snapshot) -> None:
    """Put the policies that a snapshot names into a folder, where they are not whole already.

    Raises:
        VersionError: when the store does not have one, or only a damaged one.
    """
    lacking = [digest for digest in sorted(named(snapshot)) if not _is_whole(path_of(folder, digest), digest)]
    if not lacking:
        return
    from experiments.learning import versions  # a node that only decides needs no database

    with store.read() as connection:
        for digest in lacking:
            with atomic.replacing(path_of(folder, digest)) as temporary:
                temporary.write_bytes(versions.body(connection, digest))


def keep(folder: Path, snapshots: Iterable[Snapshot]) -> None:
    """Delete the policies in a folder that none of these snapshots names."""
    known = {path_of(folder, digest) for snapshot in snapshots for digest in named(snapshot)}
    for path in folder.glob("policy-*.npz"):
        if path not in known:
            path.unlink(missing_ok=True)


def marks(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of each policy in a folder: as long as they are the same, so are the files."""
    found = []
    for path in sorted(folder.glob("policy-*.npz")):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((path.name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def of_store(store: Store) -> Policies:
    """Return what finds policies in the store, for those who decide beside it: lists, previews."""
    from experiments.learning import versions

    def find(digest: str) -> Policy:
        with store.read() as connection:
            return versions.policy(connection, digest)

    return find


class PolicyFiles:
    """The policies of a folder. Each is read once, as long as snapshots after each other name it.

    >>> import tempfile
    >>> from allocation.bandits.policy import Policy, sha256_of, to_bytes
    >>> folder, body = Path(tempfile.mkdtemp()), to_bytes(Policy(variants=("control", "a")))
    >>> _ = path_of(folder, sha256_of(body)).write_bytes(body)
    >>> PolicyFiles(folder).find(sha256_of(body)).variants
    ('control', 'a')
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._held: dict[str, Policy] = {}

    def find(self, digest: str) -> Policy:
        """Return a policy.

        Raises:
            SnapshotError: its file is missing, damaged, or not a policy's.
        """
        policy = self._held.get(digest)
        if policy is None:
            policy = self._held[digest] = self._read(digest)
        return policy

    def forget(self, snapshot: Snapshot) -> None:
        """Hold only what a snapshot names."""
        wanted = named(snapshot)
        self._held = {digest: policy for digest, policy in self._held.items() if digest in wanted}

    def _read(self, digest: str) -> Policy:
        from allocation.bandits.policy import from_bytes  # numpy is loaded where a policy draws, and nowhere else

        path = path_of(self.folder, digest)
        try:
            body = path.read_bytes()
        except OSError as error:
            raise SnapshotError(f"{path.name} cannot be read: {error.strerror}") from None
        if sha256(body).hexdigest() != digest:
            raise SnapshotError(f"{path.name} is damaged: its checksum does not match its name")
        try:
            return from_bytes(body)
        except ValueError as error:
            raise SnapshotError(f"{path.name}: {error}") from None


def _is_whole(path: Path, digest: str) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return _digest(path, stat.st_mtime_ns, stat.st_size) == digest


@lru_cache(maxsize=256)  # publishing looks every second; the same file needs no second reading
def _digest(path: Path, _mtime_ns: int, _size: int) -> str | None:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
