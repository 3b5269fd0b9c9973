"""HTTP over httptools: an end to every request head, and less work for a request.

The parser itself takes heads of any length, for any time. uvicorn sets a timer after every answer and looks at headers
for upgrades that we do not offer; here each connection has one timer, and answers leave as `api.front.exchange` sends
them.
"""

from __future__ import annotations

import asyncio
import time
import urllib.parse

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.front.exchange import Exchange
from api.hot.http import ENDLESS

MAX_HEAD_BYTES = 65_536
"""Of a request line with its headers, about: what came together with its end is not looked at again."""
HEAD_S = 20.0
"""How long a caller may take to send a head, and how long it may stay silent before the first."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\nconnection: close\r\n\r\nthe request head is too large\n"
)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections whose request head grows too long or takes too long."""

    _head_bytes = 0
    _head_since: float | None = None
    """When the head that is being read began; ``None`` between the end of a head and the next request."""
    _idle_since: float | None = None
    """When the last answer was complete; ``None`` while there is a request."""
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
        self._idle_since = None
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Note that it is complete, and make the exchange; as uvicorn's, without what we never ask of it."""
        self._head_since = None
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        scope["raw_path"] = raw = url.path
        path = raw.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""
        before, exchange = self.cycle, Exchange(self, version != "1.0" and parser.should_keep_alive())
        self.cycle = exchange
        if before is None or before.response_complete:
            self._start_asgi_task(exchange, self.app)
        else:  # sent before the answer to the last one: waits its turn
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def on_response_complete(self) -> None:
        """Begin what waited for the end of this answer, or note since when nothing is asked."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            exchange, app = self.pipeline.pop()
            self._start_asgi_task(exchange, app)
        else:
            self._idle_since = time.monotonic()

    def shutdown(self) -> None:
        """Let a request under way end; one that never would by itself is ended now."""
        super().shutdown()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and cycle.scope.get(ENDLESS):
            self.transport.close()

    def _look(self) -> None:
        # One timer for a connection, not one for each request: looked at twice as seldom as it could be.
        now = time.monotonic()
        if (self._head_since is not None and now - self._head_since >= HEAD_S) or (
            self._idle_since is not None and now - self._idle_since >= self.timeout_keep_alive
        ):
            self.transport.close()
        else:
            self._watch = self.loop.call_later(HEAD_S, self._look)
