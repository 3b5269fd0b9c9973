"""A large body on its way to the disk: how slow it may be, how large, and what is left of it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from api.errors import Problem
from api.hot.http import ClientGone
from api.hot.spooling import spooled


async def take(folder: Path, pieces: list[tuple[float, dict[str, Any]]], **limits: Any) -> tuple[bytes, str]:
    waiting = iter(pieces)

    async def receive() -> dict[str, Any]:
        delay_s, message = next(waiting)
        await asyncio.sleep(delay_s)
        return {"type": "http.request", **message}

    options = {"limit": 1_000, "pace_s": 0.2, "pace_bytes": 10} | limits
    async with spooled({"headers": []}, receive, folder, **options) as body:
        return body.path.read_bytes(), body.sha256


def piece(body: bytes, *, more: bool = True, after_s: float = 0.0) -> tuple[float, dict[str, Any]]:
    return after_s, {"body": body, "more_body": more}


def test_a_slow_body_that_keeps_the_pace_is_taken(tmp_path: Path) -> None:
    pieces = [piece(b"x" * 10, after_s=0.1) for _ in range(5)] + [piece(b"end", more=False)]
    found = asyncio.run(take(tmp_path, pieces))
    assert found == (b"x" * 50 + b"end", hashlib.sha256(b"x" * 50 + b"end").hexdigest())
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_drips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem) as raised:
        asyncio.run(take(tmp_path, [piece(b"x", after_s=0.05) for _ in range(50)]))
    assert (raised.value.status, raised.value.code) == (408, "body_timeout")
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_is_too_large_or_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Problem) as raised:
        asyncio.run(take(tmp_path, [piece(b"x" * 600), piece(b"x" * 600, more=False)]))
    assert raised.value.status == 413
    with pytest.raises(ClientGone):
        asyncio.run(take(tmp_path, [piece(b"x"), (0.0, {"type": "http.disconnect"})]))
    assert list(tmp_path.iterdir()) == []
