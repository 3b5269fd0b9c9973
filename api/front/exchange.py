"""One request and its answer, as uvicorn keeps them, made for short answers.

An answer that comes whole leaves in one write. uvicorn writes its head and its body one after the other, which is two
system calls here, two packets, and two wake-ups of the caller. The bytes of a head are kept: the heads of a service are
few, and checking and joining one again costs more than deciding does. What is not simple goes uvicorn's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api.hot.http import json_headers, send_json

KEPT_HEADS = 2_048
"""They differ by the length of the body, mostly."""

_NOT_SIMPLE = -1


@lru_cache(KEPT_HEADS)
def wire_head(status: int, *headers: tuple[bytes, bytes]) -> tuple[bytes, int]:
    r"""Return the bytes of an answer's head up to the server's own headers, and the length of body that it declares.

    The length is negative when uvicorn has to look at this head: it declares none, or says how to go on.

    >>> wire_head(200, (b"content-length", b"2"))
    (b'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n', 2)
    >>> wire_head(200, (b"connection", b"close"))[1] < 0
    True
    """
    length = _NOT_SIMPLE
    lines = [STATUS_LINE[status]]
    for name, value in headers:
        plain = name.lower()
        if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value) or plain in {b"connection", b"transfer-encoding"}:
            return b"", _NOT_SIMPLE
        if plain == b"content-length":
            if length >= 0 or not value.isdigit():
                return b"", _NOT_SIMPLE
            length = int(value)
        lines += [plain, b": ", value, b"\r\n"]
    return b"".join(lines), length


class _Defaults:
    """The headers that the server puts before every answer, as bytes: the date, renewed once a second."""

    def __init__(self) -> None:
        self._of: list[tuple[bytes, bytes]] = []
        self._wire = b""

    def wire(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._of:
            self._of, self._wire = headers, b"".join(b"%b: %b\r\n" % pair for pair in headers)
        return self._wire


_defaults = _Defaults()


def whole(head: bytes, default_headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Return an answer as it goes over the wire.

    Args:
        head: of `wire_head` or `json_head`.
        default_headers: the server's own.
        body: as long as the head says.
    """
    return b"%b%b\r\n%b" % (head, _defaults.wire(default_headers), body)


@lru_cache(KEPT_HEADS)
def json_head(length: int) -> bytes:
    """Return `wire_head` of JSON of status 200 and that length."""
    return wire_head(200, *json_headers(length))[0]


class JoinedWrites:
    r"""A transport that keeps an answer's head until its body comes.

    >>> class Wire:
    ...     def write(self, data):
    ...         print(data)
    >>> joined = JoinedWrites(Wire())
    >>> joined.write(b"HTTP/1.1 200 OK\r\n\r\n"); joined.write(b"{}")
    b'HTTP/1.1 200 OK\r\n\r\n{}'
    """

    __slots__ = ("_held", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""

    def write(self, data: bytes) -> None:
        """Write, or keep what is only a head; an interim answer (100 Continue) has no body to wait for."""
        if self._held:
            data, self._held = self._held + data, b""
        elif data.endswith(b"\r\n\r\n") and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._held = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Write what is kept: there is no body."""
        if self._held:
            self.write(b"")

    def close(self) -> None:
        """Close when everything is written."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Exchange(RequestResponseCycle):
    """uvicorn's request and response, which sends a whole answer at once."""

    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    _head: Any = None
    """The beginning of an answer, until its body comes."""
    _read = False

    def __init__(self, protocol: HttpToolsProtocol, keep_alive: bool) -> None:
        """Begin; the attributes are those of uvicorn's own, the constant ones as those of the class."""
        self.scope = protocol.scope
        self.transport = protocol.transport
        self.flow: FlowControl = protocol.flow
        self.logger = protocol.logger
        self.access_logger = protocol.access_logger
        self.access_log = protocol.access_log
        self.default_headers = protocol.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = protocol.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body = bytearray()

    async def receive(self) -> Any:
        """Return the whole body without a wait when it is here, else what comes next."""
        if self.more_body or self._read or self.disconnected or self.response_complete:
            return await super().receive()
        self._read = True
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        self.flow.resume_reading()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        """Send what the application says; a head waits for the first of its body."""
        if not self.response_started and message["type"] == "http.response.start":
            self._head = message
            return
        head, self._head = self._head, None
        if head is None:
            await super().send(message)
            return
        if message["type"] == "http.response.body" and not message.get("more_body"):
            wire, length = wire_head(head["status"], *head.get("headers", ()))
            body = message.get("body", b"")
            if length == len(body) and self._simple():
                self._send_whole(wire, body)
                return
        transport = self.transport
        joined = JoinedWrites(transport)
        self.transport = cast("asyncio.Transport", joined)
        try:
            await super().send(head)
            await super().send(message)
        finally:
            joined.flush()
            self.transport = transport

    def finish(self, body: bytes) -> Coroutine[Any, Any, None] | None:
        """Send JSON of status 200 where that can be done at once; else return what sends it."""
        if not self._simple():
            return send_json(self.send, body)
        self._send_whole(json_head(len(body)), body)
        return None

    def _send_whole(self, head: bytes, body: bytes) -> None:
        self.transport.write(whole(head, self.default_headers, body))
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()

    def _simple(self) -> bool:
        return (
            self.keep_alive
            and not self.disconnected
            and not self.flow.write_paused
            and not self.access_log
            and self.scope["method"] != "HEAD"
        )
