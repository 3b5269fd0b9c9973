"""HTTP over httptools: an end to every request head, and less work for a request.

The parser itself takes heads of any length, for any time. uvicorn sets a timer after every answer and looks at headers
for upgrades that we do not offer; here each connection has one timer, and answers leave as `api.front.exchange` sends
them.

An application may also be `Prompt`: then a request whose body came with its head, and whose answer takes microseconds,
is answered on the spot. Its task, its exchange and the turns of the loop between them cost more than the answer does.
Whatever is not as simple goes the usual way.
"""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from functools import partial
from typing import Any
from typing import Protocol as Interface

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.front.exchange import Exchange, json_head, whole
from api.hot.begun import Begun
from api.hot.http import ENDLESS, Scope

MAX_HEAD_BYTES = 65_536
"""Of a request line with its headers, about: what came together with its end is not looked at again."""
HEAD_S = 20.0
"""How long a caller may take to send a head, and how long it may stay silent before the first."""
UNREAD_S = 60.0
"""How long a caller may take nothing of an answer that waits for it in memory."""

MAX_PROMPT = 16
"""Requests in one piece of data that are answered on the spot: more, sent without a wait, let others go before them."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\nconnection: close\r\n\r\nthe request head is too large\n"
)


class Prompt(Interface):
    """What an application offers beside ASGI to be asked without a task; ``route`` is its own affair."""

    def promptly(self, scope: Scope) -> Any:
        """Return by what route a request can be answered as soon as its body is there; ``None`` for the usual way."""

    def begin(self, route: Any, scope: Scope, body: bytes) -> Begun | None:
        """Return the answer and what it waits for; ``None`` for the usual way after all."""

    def given(self, route: Any, scope: Scope, seconds: float) -> None:
        """Take note that the answer was given, so many seconds after the beginning of the request."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections whose request head grows too long or takes too long."""

    _head_bytes = 0
    _head_since: float | None = None
    """When the head that is being read began; ``None`` between the end of a head and the next request."""
    _idle_since: float | None = None
    """When the last answer was complete; ``None`` while there is a request."""
    _watch: asyncio.TimerHandle | None = None
    _unread = 0
    """Bytes of answers that the caller had not taken when this was last looked at."""
    _unread_since = 0.0
    _prompt: Prompt | None = None
    _route: Any = None
    """By what the request that is being read can be answered on the spot."""
    _body = b""
    """What has come of that request's body."""
    _began = 0.0
    _prompted = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to keep time."""
        super().connection_made(transport)
        self._head_since = time.monotonic()
        self._watch = self.loop.call_later(HEAD_S, self._look)
        if hasattr(self.app, "promptly") and not self.config.access_log:
            self._prompt = self.app

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop keeping time."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse a head that is too long."""
        self._prompted = 0
        super().data_received(data)
        if self._route is not None:  # the rest of its body is still to come
            self._route = None
            if not self.transport.is_closing():
                self._start(self._body, more=True)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._head_since = self._began = time.monotonic()
        self._idle_since = None
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Note that it is complete, and make the exchange; as uvicorn's, without what we never ask of it."""
        self._head_since = None
        parser = self.parser
        scope: Any = self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        scope["raw_path"] = raw = url.path
        path = raw.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""
        keep_alive = version != "1.0" and parser.should_keep_alive()
        before = self.cycle
        if before is None or before.response_complete:
            if self._prompt is not None and keep_alive and self._at_leisure():
                self._route = self._prompt.promptly(scope)
                if self._route is not None:
                    self._body = b""
                    return
            self.cycle = Exchange(self, keep_alive)
            self._start_asgi_task(self.cycle, self.app)
        else:  # sent before the answer to the last one: waits its turn
            self.cycle = Exchange(self, keep_alive)
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._route is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Answer on the spot what can be, else note that the body is complete."""
        route, self._route = self._route, None
        if route is None:
            super().on_message_complete()
            return
        prompt, body = self._prompt, self._body
        scope: Any = self.scope
        assert prompt is not None  # noqa: S101 - the route is its
        self._prompted += 1
        begun = prompt.begin(route, scope, body)
        if begun is None:
            self._start(body, more=False)
        elif begun.wait is None:
            self.transport.write(whole(json_head(len(begun.body)), self.server_state.default_headers, begun.body))
            self.server_state.total_requests += 1
            self._idle_since = now = time.monotonic()
            prompt.given(route, scope, now - self._began)
        else:
            self.cycle = exchange = Exchange(self, keep_alive=True)
            exchange.body += body
            exchange.more_body = False
            begun.wait.add_done_callback(partial(self._on_disk, exchange, route, begun.body, self._began))

    def _at_leisure(self) -> bool:
        """Return whether an answer can be written now, and this is not one request of very many."""
        return not (self.expect_100_continue or self.flow.write_paused or self._prompted >= MAX_PROMPT)

    def _start(self, body: bytes, *, more: bool) -> None:
        """Go the usual way with a request that was to be answered on the spot."""
        self.cycle = exchange = Exchange(self, keep_alive=True)
        exchange.body += body
        exchange.more_body = more
        self._start_asgi_task(exchange, self.app)

    def _on_disk(self, exchange: Exchange, route: Any, body: bytes, began: float, wait: asyncio.Future[None]) -> None:
        """Give the answer that waited; where it could not be written down, the usual way says what is to be said."""
        if wait.cancelled() or wait.exception() is not None:
            self._start_asgi_task(exchange, self.app)
            return
        assert self._prompt is not None  # noqa: S101 - the answer is its
        rest = exchange.finish(body)
        if rest is not None:
            task = self.loop.create_task(rest)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        scope: Any = exchange.scope
        self._prompt.given(route, scope, time.monotonic() - began)

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
        unread = self.transport.get_write_buffer_size()
        if unread != self._unread or not unread:
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since >= UNREAD_S:
            self.transport.abort()  # closing would wait until all is taken
            return
        if not unread and (
            (self._head_since is not None and now - self._head_since >= HEAD_S)
            or (self._idle_since is not None and now - self._idle_since >= self.timeout_keep_alive)
        ):
            self.transport.close()
        else:
            self._watch = self.loop.call_later(HEAD_S, self._look)
