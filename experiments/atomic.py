"""Files that are there completely or not at all: written beside their place, forced to disk, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from experiments.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path; when the block ends well, force the file to disk and put it in the place of ``path``.

    tmp → fsync → rename → fsync of the folder. When the block raises, nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def spare(target: Path, option: str, **inputs: Path | str | None) -> None:
    """Refuse to write in the place of a file that is read.

    Args:
        target: what is to be written.
        option: as it is written on the command line.
        inputs: what each file that is read is called → where it lies.

    Raises:
        InputError: with what would be lost.
    """
    for name, path in inputs.items():
        if path is not None and target.exists() and Path(path).exists() and target.samefile(path):
            raise InputError(f"{option} {target}: is the {name} itself, which would be lost; name another file")


def sync(path: Path) -> None:
    """Force a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_newest(paths: list[Path], count: int) -> None:
    """Delete all but the last ``count`` by name; a file that is gone already is no error."""
    for path in sorted(paths)[:-count]:
        path.unlink(missing_ok=True)
