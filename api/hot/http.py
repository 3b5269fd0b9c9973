"""Reading bounded bodies and sending whole answers over raw ASGI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from types import CoroutineType
from typing import Any

from api.errors import CONTENT_TYPE, Problem, request_id_from

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 1_000_000
BODY_TIMEOUT_S = 10.0
LINGER_S = 1.0
MAX_DISCARDED = 10_000
"""Pieces of a body that is too large which are read and thrown away before the connection is closed."""

ENDLESS = "equipoise.endless"
"""Set in the scope of a request whose answer goes on until somebody hangs up: the server does not wait for its end."""

_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class ClientGone(Exception):  # noqa: N818 - not an error of ours
    """The caller hung up before its body was complete."""


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def declared_length(scope: Scope) -> int | None:
    """Return the Content-Length the caller declared, or ``None``.

    Raises:
        Problem: 400 when it is not a number.
    """
    for key, value in scope["headers"]:
        if key == b"content-length":
            if not value.isdigit():
                raise Problem(400, "Content-Length is not a number", code="bad_header")
            return int(value)
    return None


async def read_body(
    scope: Scope, receive: Receive, *, limit: int = MAX_BODY_BYTES, timeout_s: float = BODY_TIMEOUT_S
) -> bytes:
    """Return the whole body.

    Raises:
        Problem: 413 as soon as it is known to exceed ``limit`` bytes, 408 when it is not complete after ``timeout_s``.
        ClientGone: when the caller hangs up.
    """
    length = declared_length(scope)
    too_large, ended = length is not None and length > limit, False
    if not too_large:
        message = _at_hand(receive)
        if message is not None and message["type"] == "http.request" and not message.get("more_body"):
            whole: bytes = message.get("body", b"")
            if len(whole) <= limit:
                return whole
            too_large = ended = True
        elif message is not None:
            receive = _with_first(message, receive)
    parts = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while not too_large:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body: bytes = message.get("body", b"")
                if len(parts) + len(body) > limit:
                    too_large, ended = True, not message.get("more_body")
                elif message.get("more_body"):
                    parts += body
                else:
                    return bytes(parts + body) if parts else body
    except TimeoutError:
        raise Problem(
            408,
            f"the body was not complete after {timeout_s:.0f} s; send it again",
            code="body_timeout",
            headers={"Connection": "close"},
        ) from None
    if not ended:
        await _discard(receive)
    raise Problem(
        413,
        f"the body exceeds {limit:,} bytes; send less at a time",
        code="body_too_large",
        headers={"Connection": "close"},
    )


def _at_hand(receive: Receive) -> Message | None:
    """Return the next message if it is there already, as most bodies are with their head: those need no timer."""
    asked = receive()
    if not isinstance(asked, CoroutineType):
        return None
    try:
        asked.send(None)
    except StopIteration as there:
        message: Message = there.value
        return message
    asked.close()  # it waits; asked anew, it waits again
    return None


def _with_first(first: Message, receive: Receive) -> Receive:
    """Return ``receive`` with a message put back before what is to come."""
    put_back = [first]

    async def again() -> Message:
        return put_back.pop() if put_back else await receive()

    return again


async def _discard(receive: Receive) -> None:
    """Read on for a moment without keeping anything: most callers read the answer only after they have sent it all."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            for _ in range(MAX_DISCARDED):
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


async def send_json(send: Send, body: bytes, status: int = 200) -> None:
    """Send JSON bytes as the whole answer; nothing of ours may be cached by a proxy."""
    await send({"type": "http.response.start", "status": status, "headers": json_headers(len(body))})
    await send({"type": "http.response.body", "body": body})


@lru_cache(2_048)
def json_headers(length: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of a JSON answer."""
    return (_JSON, (b"content-length", b"%d" % length), _NO_STORE, _NOSNIFF)


async def send_problem(scope: Scope, send: Send, problem: Problem, extra: Mapping[str, str] | None = None) -> None:
    """Send a problem document with its own headers."""
    request_id = request_id_from(header(scope, b"x-request-id"))
    body = b"" if scope.get("method") == "HEAD" else problem.body(request_id)
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
        _NO_STORE,
        _NOSNIFF,
    ]
    for name, value in {**problem.headers, **(extra or {})}.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_options(send: Send, allowed: str) -> None:
    """Answer OPTIONS: which methods an address takes."""
    headers = [(b"allow", allowed.encode()), _NO_STORE, _NOSNIFF]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def method_not_allowed(allowed: str) -> Problem:
    """Return the 405 that names what is allowed."""
    return Problem(405, f"this address takes {allowed} only", code="method_not_allowed", headers={"Allow": allowed})
