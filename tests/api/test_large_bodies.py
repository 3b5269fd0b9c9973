"""Files on their way to Flask: to the disk first, from callers who may send them, and everything else as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.asgi import Front
from api.errors import Problem
from api.hot import large, uploads
from api.hot.http import MAX_BODY_BYTES
from tests.api.edge import Answer, ask, in_front

LIST = "/v1/experiments/winback/audiences"
FORM = "/experiments/winback/audiences"
CSV = {"content-type": "text/csv"}
FORM_DATA = {"content-type": "multipart/form-data; boundary=x"}
CONTENT = b"unit,tier\n" + b"m-1,gold\n" * 400_000


def scope(path: str, headers: dict[str, str], method: str = "POST") -> dict[str, Any]:
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": given}


async def arrived(front: Front, path: str, headers: dict[str, str], content: bytes = CONTENT) -> bytes | None:
    """Send a body in pieces; return what Flask would read, ``None`` where nothing was taken in."""
    pieces = [content[at : at + 100_000] for at in range(0, len(content), 100_000)]
    waiting = iter(pieces)
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": next(waiting), "more_body": taken < len(pieces)}

    async with large.arrived(front.node, scope(path, headers), receive) as body:
        read, more = b"", True
        while more:
            message = await body.receive()
            read, more = read + message["body"], message["more_body"]
        assert len(read) == body.bytes
        if taken:
            assert len(list((front.node.settings.data_dir / "uploads").iterdir())) == 1
    return read if taken else None


@pytest.mark.parametrize(
    ("path", "headers", "method", "expected"),
    [
        (LIST, CSV, "POST", True),
        (LIST, {"content-length": "12"}, "POST", True),
        (LIST, {"transfer-encoding": "chunked"}, "POST", True),
        (LIST, {"content-length": "0"}, "POST", False),
        (LIST, {}, "POST", False),
        (LIST, {"content-type": "application/json", "content-length": "12"}, "POST", False),
        (LIST, CSV, "GET", False),
        (LIST + "/x", CSV, "POST", False),
        (FORM, FORM_DATA, "POST", True),
        (FORM, {"content-type": "application/x-www-form-urlencoded"}, "POST", False),
        ("/experiments/winback/recommendation/draft", FORM_DATA, "POST", False),
    ],
)
def test_only_what_may_be_a_file_is_one(path: str, headers: dict[str, str], method: str, expected: bool) -> None:
    assert large.takes(scope(path, headers, method)) is expected


def test_a_file_is_read_again_from_the_disk_and_then_gone(tmp_path: Path) -> None:
    assert len(CONTENT) > 3 * MAX_BODY_BYTES

    async def check(front: Front) -> None:
        for path, headers in ((LIST, CSV), (FORM, FORM_DATA)):
            assert await arrived(front, path, headers) == CONTENT
            assert list((tmp_path / "uploads").iterdir()) == []
        # It reaches Flask, which finds that the database is away; JSON of that size does not.
        reply: Answer = await ask(front, "POST", LIST, CONTENT, CSV)
        assert (reply.status, reply.json()["type"]) == (503, "urn:equipoise:problem:store_away")
        json = {"content-type": "application/json"}
        assert (await ask(front, "POST", LIST, b"[" + b" " * MAX_BODY_BYTES + b"]", json)).status == 413
        assert (await ask(front, "POST", LIST, CONTENT, FORM_DATA)).status == 415

    in_front(check, tmp_path)


def test_who_may_not_send_one_has_nothing_taken_in(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        with pytest.raises(Problem) as raised:
            await arrived(front, LIST, CSV)
        assert raised.value.status == 401
        for cookie in ({}, {"cookie": "equipoise_session=forged"}, {"cookie": "\x01=;;"}):
            assert await arrived(front, FORM, {**FORM_DATA, **cookie}) is None
        reply = await ask(front, "POST", FORM, CONTENT, {**FORM_DATA, "sec-fetch-site": "same-origin"})
        assert (reply.status, reply.headers["location"][:8]) == (303, "/sign-in")
        assert not (tmp_path / "uploads").exists()

    in_front(check, tmp_path, auth_required=True)


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_MAX_UPLOAD_MB", "1")
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 1)

    async def check(front: Front) -> None:
        assert (await ask(front, "POST", LIST, CONTENT, CSV)).status == 413
        async with uploads.incoming(front.node, scope(LIST, {}), _ended):
            assert (await ask(front, "POST", LIST, b"unit\n", CSV)).status == 503
        assert list((tmp_path / "uploads").iterdir()) == []

    async def _ended() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    in_front(check, tmp_path)
