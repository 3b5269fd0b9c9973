"""HTTP over httptools with an end to every request head: its parser itself takes heads of any length, for any time."""

from __future__ import annotations

import asyncio
import time

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""Of a request line with its headers, about: what came together with its end is not looked at again."""
HEAD_S = 20.0
"""How long a caller may take to send a head, and how long it may stay silent before the first."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\nconnection: close\r\n\r\nthe request head is too large\n"
)


class BoundedHead(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections whose request head grows too long or takes too long."""

    _head_bytes = 0
    _head_since: float | None = None
    """When the head that is being read began; ``None`` between the end of a head and the next request."""
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to keep time."""
        super().connection_made(transport)
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

    def _look(self) -> None:
        if self._head_since is not None and time.monotonic() - self._head_since >= HEAD_S:
            self.transport.close()
        else:  # one timer for a connection, not one for each request: looked at twice as seldom as it could be
            self._watch = self.loop.call_later(HEAD_S, self._look)
