"""``GET /ofrep/v1/stream``: tells apps that what they evaluated may have changed, so that they evaluate again.

Server-sent events, which a browser opens without headers of its own: no key is needed, and nothing is said but that
there is another snapshot. The event's id is the snapshot's version, so a client that comes back learns what it missed.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from api.errors import unavailable
from api.hot.http import ENDLESS, Receive, Scope, Send, header
from api.hot.ofrep import guarded

if TYPE_CHECKING:
    from api.node.state import Node
    from api.security.door import Caller

STREAM = "/ofrep/v1/stream"
MAX_STREAMS = 1_000
"""Open streams in one process; more are answered 503, and their clients come again by and by."""
LOOK_S = 1.0
"""How often a stream looks whether there is another snapshot."""
SETTLE_S = 1.0
"""Time for every process to have it, before clients are sent to ask; up to as much again spreads them."""
HEARTBEAT_S = 15.0
INACTIVITY_S = 120
"""How long a hidden page keeps its stream."""

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
_open_streams: set[object] = set()


def event_streams(public_url: str | None, version: str) -> list[dict[str, Any]]:
    """Return the ``eventStreams`` of a bulk answer (OFREP, ADR-0008).

    The address carries the version that was evaluated: a change between that answer and the opening is not missed.

    >>> event_streams(None, "v1")[0]["endpoint"]
    {'requestUri': '/ofrep/v1/stream?since=v1'}
    """
    path = f"{STREAM}?since={version}"
    stream: dict[str, Any] = {"type": "sse", "inactivityDelaySec": INACTIVITY_S}
    if public_url:
        return [{**stream, "url": public_url.rstrip("/") + path}]
    return [{**stream, "endpoint": {"requestUri": path}}]


@guarded
async def answer(node: Node, _caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Hold the stream open, until the client goes or the process stops.

    Raises:
        Problem: 503 when this process holds as many as it takes.
    """
    if len(_open_streams) >= MAX_STREAMS:
        raise unavailable("too many streams are open here; come again later", code="too_many_streams", retry_after_s=30)
    this = object()
    _open_streams.add(this)
    gone = asyncio.create_task(_until_gone(receive))
    try:
        scope[ENDLESS] = True
        told = header(scope, b"last-event-id") or _since(scope) or _version(node)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        # An id without data is remembered by the client and shows nothing.
        await send(_piece(f"retry: 3000\nid: {_version(node)}\n\n" if told == _version(node) else "retry: 3000\n\n"))
        quiet = 0.0
        while not await _done(gone, LOOK_S):
            quiet += LOOK_S
            if _version(node) != told:
                if await _done(gone, SETTLE_S * (1 + random.random())):  # noqa: S311 - spreads load
                    break
                told, quiet = _version(node), 0.0
                await send(_piece(event(told)))
            elif quiet >= HEARTBEAT_S:
                quiet = 0.0
                await send(_piece(": \n\n"))
    finally:
        _open_streams.discard(this)
        gone.cancel()


def event(version: str) -> str:
    """Return the event that sends clients to evaluate again.

    >>> print(event("v2"), end="")
    id: v2
    data: {"type":"refetchEvaluation","etag":"v2"}
    <BLANKLINE>
    """
    data = msgspec.json.encode({"type": "refetchEvaluation", "etag": version}).decode()
    return f"id: {version}\ndata: {data}\n\n"


def _version(node: Node) -> str:
    return "" if node.compiled is None else node.compiled.version


def _since(scope: Scope) -> str | None:
    values = parse_qs(scope["query_string"].decode("latin-1")).get("since")
    return values[0] if values else None


def _piece(text: str) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _done(gone: asyncio.Task[None], after_s: float) -> bool:
    """Wait; return whether the client has gone."""
    await asyncio.wait({gone}, timeout=after_s)
    return gone.done()
