"""The front: one ASGI callable. Hot paths are answered here; everything else goes to Flask in a bounded thread pool.

Bodies are read whole and bounded before Flask sees them, or put on the disk where they may be files, so that a caller
who sends half a body holds a socket and no thread (measured: 200 of them stop every threaded server). Flask, SQLAlchemy
and what hangs on them are imported on a thread after start-up: deciding does not wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.metadata
import os
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

from api import logs
from api.errors import Problem, unavailable
from api.hot import cross_origin, large, routes
from api.hot.begun import Begun
from api.hot.http import (
    ClientGone,
    Message,
    Receive,
    Scope,
    Send,
    header,
    method_not_allowed,
    read_body,
    send_json,
    send_options,
    send_problem,
)
from api.node.metrics import FigureFile
from api.node.state import Node
from api.security.door import ANYBODY, authenticate
from api.serving.database_state import UpkeepView
from experiments.settings import Settings

WORKERS = 8
"""Threads for Flask requests."""
MAX_WAITING = 64
"""Flask requests under way or queued; more are answered 503 at once."""

_METHODS = {
    "/livez": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/version": "GET, HEAD",
}
"""What the front answers itself, beside `api.hot.routes`."""

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
_log = logs.get("front")


def create_asgi(settings: Settings, upkeep: UpkeepView | None = None, figures: FigureFile | None = None) -> Front:
    """Return the ASGI application of one serving process.

    Args:
        settings: of the deployment.
        upkeep: who loads spools and publishes on this host; by default a thread of this process.
        figures: where the counters are left for who collects them.
    """
    return Front(Node(settings, upkeep, figures))


class Front:
    """Routes requests; guards the number of requests that wait for Flask."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._behind: asyncio.Task[Asgi] | None = None
        self._waiting = 0
        self._version = msgspec.json.encode({"name": "equipoise", "version": importlib.metadata.version("equipoise")})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the life of the process."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
            return
        if kind != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        began = time.perf_counter()
        status = 0

        async def tracked(message: Message) -> None:
            nonlocal status
            if not status:
                status = message["status"]
            await send(message)

        try:
            await self._route(scope, receive, tracked)
        except Problem as problem:
            if status:
                raise
            status = problem.status
            await send_problem(scope, send, problem)
        except ClientGone:
            return
        except Exception as error:
            _log.error(
                "request_failed",
                path=_known_path(scope["path"]),
                error=type(error).__name__,
                exc_info=True,
                **logs.trace_of(header(scope, b"x-request-id"), header(scope, b"traceparent")),
            )
            if status:
                raise
            status = 503
            await send_problem(
                scope, send, unavailable("something failed on our side; the log has it", code="internal_failure")
            )
        finally:
            template = _template(scope["path"])
            if template is not None and status:  # Flask counts its own, by its rules
                self.node.metrics.observe(template, _method(scope["method"]), status, time.perf_counter() - began)

    def promptly(self, scope: Scope) -> routes.Route | None:
        """Return who may answer a request as soon as its body is there; ``None`` when it is to go the usual way."""
        route = routes.find(scope["path"])
        if route is None or route.begin is None or scope["method"] not in route.methods:
            return None
        if route.cross_origin and self.node.settings.cors_origins and header(scope, b"origin") is not None:
            return None
        return route

    def begin(self, route: routes.Route, scope: Scope, body: bytes) -> Begun | None:
        """Answer a request of such a route, without a task for it; ``None`` when it is to go the usual way after all.

        What goes wrong here goes wrong there too, and is said there.
        """
        if len(body) > route.limit:
            return None
        try:
            caller = ANYBODY if route.need is None else authenticate(self.node, scope, route.need)
            begun: Begun = route.begin(self.node, caller, scope, body)
        except Exception:  # noqa: BLE001 - whatever it is
            return None
        return begun

    def given(self, route: routes.Route, scope: Scope, seconds: float) -> None:
        """Count an answer that `begin` made."""
        self.node.metrics.observe(route.template, scope["method"], 200, seconds)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        route = routes.find(path)
        if route is not None:
            await self._hot(route, scope, receive, send)
            return
        allowed = _METHODS.get(path)
        if allowed is None:
            await self._flask(scope, receive, send)
        elif method == "OPTIONS":
            await send_options(send, f"{allowed}, OPTIONS")
        elif method not in allowed.split(", "):
            raise method_not_allowed(allowed)
        elif path == "/readyz":
            ready, document = self.node.readiness()
            await send_json(send, msgspec.json.encode(document), 200 if ready else 503)
        else:
            await send_json(send, self._version if path == "/version" else b'{"status":"alive"}')

    async def _hot(self, route: routes.Route, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if route.cross_origin and self.node.settings.cors_origins:
            origin = cross_origin.allowed_origin(scope, self.node.settings.cors_origins)
            if origin is not None and cross_origin.is_preflight(scope):
                await cross_origin.send_preflight(send, origin, route.allowed)
                return
            if origin is not None:
                send = cross_origin.readable_by(origin, send)
        if method == "OPTIONS":
            await send_options(send, route.allowed)
            return
        try:
            if method not in route.methods:
                raise method_not_allowed(route.allowed)
            caller = ANYBODY
            if route.need is not None and not route.own_door:
                caller = authenticate(self.node, scope, route.need)
            await route.answer(self.node, caller, scope, receive, send)
        except Problem as problem:
            await route.refuse(scope, send, problem)

    async def _flask(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._waiting >= MAX_WAITING:
            raise unavailable("too many requests are waiting; come again in a second", code="busy")
        if large.takes(scope):
            async with large.arrived(self.node, scope, receive) as file:
                answer = await self._answer(scope, file.bytes, file.receive)
        else:
            body = await read_body(scope, receive)
            answer = await self._answer(scope, len(body), _replay(body))
        # Sent when thread and place are free again: who takes the answer slowly, or never, holds up nobody.
        for message in _joined(answer):
            await send(message)

    async def _answer(self, scope: Scope, length: int, receive: Receive) -> list[Message]:
        if self._behind is None:
            self._load_flask()
        assert self._behind is not None  # noqa: S101 - just set
        if self._waiting >= MAX_WAITING:
            raise unavailable("too many requests are waiting; come again in a second", code="busy")
        self._waiting += 1
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        try:
            behind = await asyncio.shield(self._behind)
            await behind(_wsgi_safe(scope, length), receive, keep)
        finally:
            self._waiting -= 1
        return answer

    def _load_flask(self) -> None:
        self._behind = asyncio.create_task(asyncio.to_thread(_build_flask, self.node))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.node.start()
        except Exception as error:  # noqa: BLE001 - told to the server, which then stops
            _log.error("start_failed", error=type(error).__name__, exc_info=True)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        self._load_flask()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.node.drain()
        if self._behind is not None:
            self._behind.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._behind
        await send({"type": "lifespan.shutdown.complete"})


def _build_flask(node: Node) -> Asgi:
    from a2wsgi import WSGIMiddleware
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    from api.app import create_app

    behind = WSGIMiddleware(cast("Any", create_app(node)), workers=WORKERS)
    # Who forwards, and how it was asked, matters to pages alone: uvicorn would look for it in every request.
    app = ProxyHeadersMiddleware(cast("Any", behind), os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1"))
    # What is loaded now stays for ever. The collector need not look at it again: half a million objects, which took it
    # a tenth of a second each time, while every answer waited.
    gc.collect()
    gc.freeze()
    return cast("Asgi", app)


def _joined(answer: list[Message]) -> list[Message]:
    """Return an answer with its body in one piece."""
    parts = [message["body"] for message in answer if message["type"] == "http.response.body"]
    return [*answer[:1], {"type": "http.response.body", "body": b"".join(parts)}]


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _wsgi_safe(scope: Scope, length: int) -> Scope:
    """Return the scope as WSGI can carry it: an ASCII query, a Content-Length also for chunked bodies."""
    query = scope["query_string"]
    if not query.isascii():
        query = urllib.parse.quote(query, safe="%&=+;/?:@!$'()*,~-._").encode()
    headers = [(k, v) for k, v in scope["headers"] if k not in {b"content-length", b"transfer-encoding"}]
    if length or scope["method"] in {"POST", "PUT", "PATCH"}:
        headers.append((b"content-length", b"%d" % length))
    return {**scope, "query_string": query, "headers": headers}


def _template(path: str) -> str | None:
    """Return the address's template for the metrics; ``None`` is Flask's.

    >>> _template("/v1/decide"), _template("/v1/experiments/x")
    ('/v1/decide', None)
    """
    if path in _METHODS:
        return path
    route = routes.find(path)
    return None if route is None else route.template


_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(method: str) -> str:
    """Return a method as a label: callers may write anything there."""
    return method if method in _KNOWN_METHODS else "other"


def _known_path(path: str) -> str:
    """Return a path fit for a log line: our own fixed addresses, or just the first segment of others."""
    if path in _METHODS or path in routes.EXACT:
        return path
    return "/" + "/".join(path.split("/")[1:3])[:40]
