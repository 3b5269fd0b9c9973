"""Refusing network file systems: file locks and fdatasync promise there less than the log needs."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.juicefs", "fuse.s3fs",
        "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
    }
)  # fmt: skip


def file_system(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the type of the file system that holds ``folder`` (``ext4``, ``nfs4`` …), None when it cannot be told.

    Args:
        folder: an existing folder.
        mounts: the kernel's table of mounts, proc(5) ``/proc/pid/mountinfo``.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    path = os.path.realpath(folder)
    best, kind = "", None
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # A later mount on the same point hides the earlier one.
        if inside and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    return kind


def is_network_file_system(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Tell whether ``folder`` lies on a file system that other machines serve.

    >>> is_network_file_system(Path("/proc"))
    False
    """
    return file_system(folder, mounts) in NETWORK_FILE_SYSTEMS
