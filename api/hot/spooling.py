"""A large body straight to the disk: never whole in memory, and no thread waits for a slow sender.

What a sender must keep is a pace, not a deadline: a body of half a gigabyte may take its time, but every half minute
must bring something.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from api.errors import Problem, unavailable
from api.hot.http import LINGER_S, MAX_DISCARDED, ClientGone, Receive, Scope, declared_length

PACE_S = 30.0
PACE_BYTES = 64 * 1024
"""What every `PACE_S` seconds must bring, unless the body ends."""
WRITE_BYTES = 1024 * 1024
STALE_S = 24 * 3600
"""Files older than this were left by a process that was killed."""


class Spooled(msgspec.Struct, frozen=True):
    """A body that lies on the disk."""

    path: Path
    bytes: int
    sha256: str


@contextlib.asynccontextmanager
async def spooled(
    scope: Scope,
    receive: Receive,
    folder: Path,
    *,
    limit: int,
    pace_s: float = PACE_S,
    pace_bytes: int = PACE_BYTES,
) -> AsyncIterator[Spooled]:
    """Read a body into a file of ``folder``, which is gone at the end of the block.

    Args:
        scope: of the request.
        receive: its messages.
        folder: on a local disk; made when it is not there.
        limit: bytes that are taken at most.
        pace_s: how long the pace is looked at.
        pace_bytes: what that time must bring.

    Raises:
        Problem: 413 as soon as the body is known to be too large, 408 when it comes too slowly, 503 when the disk
            cannot take it.
        ClientGone: when the caller hangs up.
    """
    length = declared_length(scope)
    if length is not None and length > limit:
        await _discard(receive)
        raise _too_large(limit)
    try:
        path = await asyncio.to_thread(_new_file, folder)
    except OSError as error:
        raise _disk(error) from None
    try:
        size, digest = await _receive(receive, path, limit, pace_s, pace_bytes)
        yield Spooled(path, size, digest)
    finally:
        path.unlink(missing_ok=True)


async def _receive(receive: Receive, path: Path, limit: int, pace_s: float, pace_bytes: int) -> tuple[int, str]:
    digest, size, waiting = hashlib.sha256(), 0, bytearray()
    began, brought, more = time.monotonic(), 0, True

    def write() -> None:
        digest.update(waiting)
        with path.open("ab") as stream:
            stream.write(waiting)

    while more:
        try:
            async with asyncio.timeout(max(0.0, began + pace_s - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise _too_slow(pace_s) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message.get("body", b"")
        more = bool(message.get("more_body"))
        waiting += body
        size += len(body)
        brought += len(body)
        if size > limit:
            if more:
                await _discard(receive)
            raise _too_large(limit)
        if brought >= pace_bytes:
            began, brought = time.monotonic(), 0
        if len(waiting) >= WRITE_BYTES or not more:
            try:
                await asyncio.to_thread(write)
            except OSError as error:
                raise _disk(error) from None
            waiting.clear()
            if not brought:  # what the disk took is not the sender's time
                began = time.monotonic()
    return size, digest.hexdigest()


async def _discard(receive: Receive) -> None:
    """Read on for a moment without keeping anything: most callers read the answer only after they have sent it all."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            for _ in range(MAX_DISCARDED):
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


def _new_file(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                left.unlink()
    with NamedTemporaryFile(dir=folder, prefix="upload-", delete=False) as stream:
        return Path(stream.name)


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        f"the body exceeds {limit:,} bytes; send the list in parts, compressed, or as Parquet",
        code="body_too_large",
        headers={"Connection": "close"},
    )


def _too_slow(pace_s: float) -> Problem:
    return Problem(
        408,
        f"too little of the body came in {pace_s:.0f} s; send it again",
        code="body_timeout",
        headers={"Connection": "close"},
    )


def _disk(error: OSError) -> Problem:
    return unavailable(f"the disk cannot take the list now ({error.strerror})", code="disk_full", retry_after_s=30)
