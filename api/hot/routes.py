"""Which addresses the front answers itself: path → methods, scope of key that is needed, and who answers.

Everything else goes to Flask. Handlers take (node, caller, scope, receive, send) and raise `Problem`; an address with
an error shape of its own (OFREP) says by ``refuse`` how problems are written there, also those of the door.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from api.errors import Problem
from api.hot import decide, decide_batch, events, ofrep, ofrep_bulk, ofrep_stream, segment, uploads
from api.hot.begun import Begun
from api.hot.http import Receive, Scope, Send, send_problem
from api.security.door import Caller, Need

if TYPE_CHECKING:
    from api.node.state import Node

Handler = Callable[["Node", Caller, Scope, Receive, Send], Awaitable[None]]
Begin = Callable[["Node", Caller, Scope, bytes], Begun]
Refuse = Callable[[Scope, Send, Problem], Awaitable[None]]


class Route(msgspec.Struct, frozen=True):
    """One address, or every address below a prefix."""

    methods: tuple[str, ...]
    need: Need | None
    """Scope of the key that is needed; ``None`` needs none."""
    answer: Any  # Handler: msgspec does not know callables
    refuse: Any = send_problem
    """Writes a `Problem`, also one of the door, in the error shape of this address."""
    own_door: bool = False
    """Whether the handler authenticates by itself, because what the door cannot do has an answer of its own there."""
    cross_origin: bool = False
    """Whether pages of other origins may ask, when the operator names those origins."""
    begin: Any = None  # Begin
    """Answers a request whose body is there; what it raises, ``answer`` raises too. ``None`` where that takes long."""
    limit: int = 0
    """Bytes of body that ``begin`` takes."""
    template: str = ""
    """The address as metrics name it."""

    @property
    def allowed(self) -> str:
        """The ``Allow`` header."""
        return ", ".join((*self.methods, "OPTIONS"))


EXACT: dict[str, Route] = {
    "/v1/decide": Route(
        ("GET", "POST"), "decide", decide.answer, own_door=True, begin=decide.begin, limit=decide.MAX_BODY_BYTES
    ),
    "/v1/decide/batch": Route(("POST",), "decide", decide_batch.answer),
    "/v1/events": Route(("POST",), "ingest", events.answer, cross_origin=True),
    **dict.fromkeys(
        segment.KINDS,
        Route(("POST",), "ingest", segment.answer, refuse=segment.refuse, own_door=True, cross_origin=True),
    ),
    ofrep.FLAGS: Route(("POST",), "decide", ofrep_bulk.answer, refuse=ofrep.refuse, cross_origin=True),
    ofrep_stream.STREAM: Route(("GET",), None, ofrep_stream.answer, refuse=ofrep.refuse, cross_origin=True),
}
PREFIXES: dict[str, Route] = {
    ofrep.FLAGS + "/": Route(
        ("POST",),
        "decide",
        ofrep.answer,
        refuse=ofrep.refuse,
        cross_origin=True,
        begin=ofrep.begin,
        limit=ofrep.MAX_BODY_BYTES,
    ),
    ofrep.ROOT: Route(
        ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), None, ofrep.unknown, refuse=ofrep.refuse, cross_origin=True
    ),
}
"""Prefix, ending in "/" → route; the longest one wins."""

_LISTS = "/v1/experiments/{key}/assignments"
TEMPLATES: dict[str, Route] = {
    _LISTS: Route(("POST",), "decide", uploads.take),
    _LISTS + "/{id}": Route(("GET",), "decide", uploads.status),
    _LISTS + "/{id}/file": Route(("GET", "HEAD"), "decide", uploads.download),
    "/v1/jobs/{id}/result": Route(("GET", "HEAD"), "report", uploads.download),
}
"""Addresses with names in them, each of one segment, in the midst of Flask's."""


def _named(table: dict[str, Route], ending: str = "") -> dict[str, Route]:
    return {path: msgspec.structs.replace(route, template=path + ending) for path, route in table.items()}


EXACT, PREFIXES, TEMPLATES = _named(EXACT), _named(PREFIXES, "{key}"), _named(TEMPLATES)
_LONGEST_FIRST = sorted(PREFIXES.items(), key=lambda item: -len(item[0]))
_PATTERNS = [(re.compile(re.sub(r"{[a-z]+}", "[^/]+", path)), route) for path, route in TEMPLATES.items()]


def find(path: str) -> Route | None:
    """Return who answers at a path; ``None`` is Flask's.

    >>> find("/v1/decide").need, find("/v1/experiments")
    ('decide', None)
    >>> find("/v1/experiments/winback/assignments/00ff/file").template
    '/v1/experiments/{key}/assignments/{id}/file'
    """
    route = EXACT.get(path)
    if route is not None:
        return route
    for prefix, route in _LONGEST_FIRST:
        if path.startswith(prefix):
            return route
    if path.startswith(("/v1/experiments/", "/v1/jobs/")):
        return next((route for pattern, route in _PATTERNS if pattern.fullmatch(path)), None)
    return None
