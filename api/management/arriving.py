"""A list on its way into the store: on the disk, counted and with its checksum, before anything is asked of it."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from api.errors import unavailable

PIECE = 1_000_000


@dataclass(frozen=True)
class Arrived:
    """A list that is here."""

    file: IO[bytes]
    size: int
    """Bytes."""
    sha256: str

    def parts(self) -> Iterator[bytes]:
        """Yield it from its beginning."""
        self.file.seek(0)
        yield from iter(lambda: self.file.read(PIECE), b"")

    def begins(self, count: int) -> bytes:
        """Return its first bytes."""
        self.file.seek(0)
        return self.file.read(count)


@contextlib.contextmanager
def arriving(stream: IO[bytes]) -> Iterator[Arrived]:
    """Take a body or a form's file to its end; it is gone when the block ends.

    Args:
        stream: where it comes from; its end is its end.

    Raises:
        Problem: 503 when the disk cannot take it.

    >>> import io
    >>> with arriving(io.BytesIO(b"unit")) as found:
    ...     found.size, found.sha256[:8], b"".join(found.parts())
    (4, '385cfdbc', b'unit')
    """
    digest, size = hashlib.sha256(), 0
    with tempfile.TemporaryFile(prefix="equipoise-list-") as file:
        while piece := stream.read(PIECE):
            digest.update(piece)
            size += len(piece)
            try:
                file.write(piece)
            except OSError as error:
                raise unavailable(
                    f"the disk cannot take the list now ({error.strerror})", code="disk_full", retry_after_s=30
                ) from None
        yield Arrived(file, size, digest.hexdigest())
