"""HTTP over httptools: an end to every request head, and answers that leave in one piece.

The parser itself takes heads of any length, for any time. uvicorn writes an answer's head and body one after the other,
which is two system calls here, two packets, and two wake-ups of the caller.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""Of a request line with its headers, about: what came together with its end is not looked at again."""
HEAD_S = 20.0
"""How long a caller may take to send a head, and how long it may stay silent before the first."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\nconnection: close\r\n\r\nthe request head is too large\n"
)


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


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections whose request head grows too long or takes too long."""

    _head_bytes = 0
    _head_since: float | None = None
    """When the head that is being read began; ``None`` between the end of a head and the next request."""
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to keep time."""
        super().connection_made(transport)
        self._joined = JoinedWrites(transport)
        self.transport = cast("asyncio.Transport", self._joined)
        self._head_since = time.monotonic()
        self._watch = self.loop.call_later(HEAD_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop keeping time."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse a head that is too long."""
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._head_since = time.monotonic()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Note that it is complete."""
        self._head_since = None
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Let go of a head that has no body, as for HEAD."""
        self._joined.flush()
        super().on_response_complete()

    def _look(self) -> None:
        if self._head_since is not None and time.monotonic() - self._head_since >= HEAD_S:
            self.transport.close()
        else:  # one timer for a connection, not one for each request: looked at twice as seldom as it could be
            self._watch = self.loop.call_later(HEAD_S, self._look)
