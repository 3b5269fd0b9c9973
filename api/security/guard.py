"""The door of everything behind the front: who calls a Flask address, and whether that caller may.

API addresses take a key in a header; reading is open to sessions of the pages as well, whose downloads they are. Pages
take a session, which somebody gets by signing in with a key. While the service is open nobody is asked; ``g.caller`` is
then anybody.
"""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from flask import Flask, Request, g, redirect, request
from werkzeug.wrappers import Response

from api.errors import Problem
from api.management.describing import described
from api.security.door import ANYBODY, Caller, Door, KeyRing, Need, admitted, authenticate, closed
from api.security.last_used import LastUsed
from api.security.sessions import COOKIE, Sessions

if TYPE_CHECKING:
    from allocation.plan import SecurityPlan
    from api.services import Services

SIGN_IN = "/sign-in"
_FILES = frozenset({"static", "web.static"})
UNGUARDED = _FILES | frozenset(
    {"openapi.spec", "api_pages.api"} | {f"session_pages.{name}" for name in ("sign_in", "try_key", "sign_out")}
)
"""Endpoints that need no caller: what the API looks like, how the pages look, and the way in."""
MANAGING_PAGES = frozenset({"key_pages", "policy_pages"})
"""Blueprints of pages that only show themselves to who may manage."""
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test")
"""Ends of names that nobody can register."""


def install(app: Flask, services: Services) -> None:
    """Have every request of the application go through the door; call before anything that trusts ``g.caller``."""
    sessions = Sessions(services.settings)
    app.extensions["equipoise_sessions"] = sessions
    app.before_request(lambda: _enter(door(services), sessions))


def door(services: Services) -> Door:
    """Return what callers are checked with: the running node, or without one the store as it is now."""
    return services.node if services.node is not None else _StoreDoor(services)


def _enter(door: Door, sessions: Sessions) -> Response | None:
    g.caller = ANYBODY
    if request.path.startswith("/v1/"):
        g.caller = _api_caller(door, sessions)
        return None
    if request.method not in _LOOKING:
        same_origin(request)
    if request.endpoint in _FILES or request.method == "OPTIONS":
        return None
    guarded = request.endpoint is not None and request.endpoint not in UNGUARDED
    if not closed(door):
        if guarded:
            under_own_name(request, door.settings.public_url)
        return None
    found = session_caller(door, sessions)
    if found is not None:
        g.caller = found  # also on pages that anybody sees, and on the one that refuses
    if not guarded:
        return None
    if found is None:
        return _to_sign_in()
    managing = request.blueprint in MANAGING_PAGES or request.method not in _LOOKING
    g.caller = admitted(door, found, "manage" if managing else "report")
    return None


def _api_caller(door: Door, sessions: Sessions) -> Caller:
    if request.endpoint in UNGUARDED or request.method == "OPTIONS":
        return ANYBODY
    need = needed(request.method)
    if request.method not in _LOOKING and request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}:
        raise Problem(403, "pages of other sites may not change anything here", code="cross_site")
    headers = [
        (name.encode(), value.encode("latin-1", "replace"))
        for name in ("authorization", "x-api-key")
        for value in request.headers.getlist(name)
    ]
    if not headers and request.method not in _LOOKING and "Origin" in request.headers:
        same_origin(request)  # browsers say Sec-Fetch-Site to https and to this machine only
    if not headers and not closed(door):
        under_own_name(request, door.settings.public_url)
    if not headers and request.method in _LOOKING and closed(door):
        found = session_caller(door, sessions)
        if found is not None:
            return admitted(door, found, need)
    return authenticate(door, {"headers": headers}, need)


def needed(method: str) -> Need:
    """Return the scope that the address at hand needs: as its view declares, else by the method."""
    from flask import current_app

    view = current_app.view_functions.get(request.endpoint or "")
    description = None if view is None else described(view)
    if description is not None and description.need is not None:
        return description.need
    return "report" if method in _LOOKING else "manage"


def session_caller(door: Door, sessions: Sessions) -> Caller | None:
    """Return who has signed in, as long as the key that was signed in with works."""
    return sessions.caller(door, request.cookies.get(COOKIE, ""))


def same_origin(asked: Request) -> None:
    """Refuse what the page of another site makes a browser send.

    Raises:
        Problem: 403, when neither ``Sec-Fetch-Site`` nor ``Origin`` says that it came from a page of ours.
    """
    site = asked.headers.get("Sec-Fetch-Site")
    if site is not None:
        ours = site in {"same-origin", "none"}
    else:
        ours = urlsplit(asked.headers.get("Origin", "")).netloc == asked.host and asked.host != ""
    if not ours:
        detail = "this form was not sent from a page of this service; open the page and try again"
        raise Problem(403, detail, code="cross_site")


def under_own_name(asked: Request, public_url: str | None) -> None:
    """Refuse, while the service is open, what was asked under a name that anybody could have registered.

    The page of a stranger's name can have that name lead to this service, and is of the same origin then.

    Raises:
        Problem: 421, for a name that is neither an address, nor one of a local network, nor that of ``public_url``.
    """
    name = (urlsplit(f"//{asked.host}").hostname or "").rstrip(".")
    if name == urlsplit(public_url or "").hostname or "." not in name or name.endswith(_LOCAL_NAMES):
        return
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return
    detail = (
        "while no API key was made, this service answers under addresses and local names only; "
        "make a key, or set EQUIPOISE_PUBLIC_URL to the address that people use"
    )
    raise Problem(421, detail, code="other_name")


def _to_sign_in() -> Response:
    there = request.full_path.rstrip("?") if request.method in {"GET", "HEAD"} else "/"
    address = f"{SIGN_IN}?{urlencode({'next': there})}"
    if "HX-Request" in request.headers:  # a part of a page: the whole of it goes to sign in
        return Response("", 401, {"HX-Redirect": SIGN_IN})
    return redirect(address, code=303)


class _StoreDoor:
    """Callers checked with the keys as they are in the store: for an application without a running node."""

    current = True

    def __init__(self, services: Services) -> None:
        self.settings = services.settings
        self.used = LastUsed(services.settings)
        self._services = services
        self._plan: SecurityPlan | None = None
        self._keys = KeyRing()

    @property
    def security(self) -> SecurityPlan | None:
        """Who may ask."""
        from experiments.security.keys import security_plan

        if self._plan is None:
            with self._services.store.read() as connection:
                self._plan = security_plan(connection, self.now_us())
            self._keys = KeyRing(self._plan.keys)
        return self._plan

    @property
    def keys(self) -> KeyRing:
        """The keys that work."""
        return self._keys if self.security is not None else KeyRing()

    def now_us(self) -> int:
        """Return the time, microseconds since 1970-01-01 UTC."""
        return self._services.now_us()
