"""Bodies for Flask that may be whole files: they go to the disk first, and Flask reads them from there.

Nobody whom Flask's door would turn away has a file taken in.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

import msgspec

from api.hot.http import Message, Receive, Scope, declared_length, header
from api.hot.uploads import check_kind, incoming, rarely
from api.security.door import authenticate, closed

if TYPE_CHECKING:
    from api.node.state import Node

_LIST = re.compile(r"/v1/experiments/[^/]+/audiences")
_FORM = re.compile(r"/experiments/[^/]+/audiences")
_JSON = re.compile(r"application/([a-z0-9.+-]+\+)?json")
_FORM_DATA = "multipart/form-data"
READ_BYTES = 1_000_000


class Large(msgspec.Struct, frozen=True):
    """A body that has arrived."""

    bytes: int
    receive: Receive
    """Gives it out again, from the disk."""


def is_list(content_type: str | None, *, has_body: bool) -> bool:
    """Return whether a request brings a list of members, and not JSON about one.

    >>> [is_list(kind, has_body=True) for kind in ("text/csv", None, "application/json; charset=utf-8")]
    [True, True, False]
    >>> is_list("text/csv", has_body=False), is_list(None, has_body=False)
    (True, False)
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in ("", "application/x-www-form-urlencoded"):  # what clients say who say nothing
        return has_body
    return _JSON.fullmatch(kind) is None


def takes(scope: Scope) -> bool:
    """Return whether a request for Flask may bring a file: a list for an audience, by the API or from its page."""
    if scope["method"] != "POST":
        return False
    kind = header(scope, b"content-type")
    if _FORM.fullmatch(scope["path"]):
        return (kind or "").lower().startswith(_FORM_DATA)
    has_body = header(scope, b"transfer-encoding") is not None or bool(declared_length(scope))
    return _LIST.fullmatch(scope["path"]) is not None and is_list(kind, has_body=has_body)


@contextlib.asynccontextmanager
async def arrived(node: Node, scope: Scope, receive: Receive) -> AsyncIterator[Large]:
    """Take a body in, and give it while few others are read at the same time.

    Raises:
        Problem: 401 or 403 for who may not send one, 408, 413 and 415 for what is not taken, 503 when there is no room.
        ClientGone: when the caller hangs up.
    """
    if not _let_in(node, scope):
        yield Large(0, _nothing)  # Flask shows the way in
        return
    if scope["path"].startswith("/v1/"):
        check_kind(scope)
    async with incoming(node, scope, receive) as body, rarely(node):
        with body.path.open("rb") as stream:

            async def again() -> Message:
                piece = await asyncio.to_thread(stream.read, READ_BYTES)
                return {"type": "http.request", "body": piece, "more_body": stream.tell() < body.bytes}

            yield Large(body.bytes, again)


def _let_in(node: Node, scope: Scope) -> bool:
    """Return whether the caller may manage; a page's caller who may not is told so by the page.

    Raises:
        Problem: 401 or 403 for an API caller who may not.
    """
    if scope["path"].startswith("/v1/"):
        authenticate(node, scope, "manage")
        return True
    if not closed(node):
        return True
    from api.security.sessions import COOKIE, Sessions

    try:
        cookies = SimpleCookie(header(scope, b"cookie") or "")
    except CookieError:
        return False
    morsel = cookies.get(COOKIE)
    caller = None if morsel is None else Sessions(node.settings).caller(node, morsel.value)
    return caller is not None and caller.may("manage")


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
