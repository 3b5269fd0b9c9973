"""Who is asking: API keys, checked against the verifiers that travel with the snapshot. No database on the way.

A key reads ``eqp_ENVIRONMENT_SELECTOR_SECRET``. The selector finds it, the secret is compared by its SHA-256 in
constant time; the secret itself is kept nowhere. While nobody has made a key the service is open; from the first one
on, for ever, every request needs one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Literal

import msgspec

from api.errors import Problem, unavailable
from api.hot.http import Scope, header

if TYPE_CHECKING:
    from allocation.plan import KeyPlan
    from api.state import Node

Need = Literal["decide", "ingest", "report", "manage"]
SCOPES: tuple[Need, ...] = ("decide", "ingest", "report", "manage")
_KEY = re.compile(r"eqp_([a-z0-9]{1,16})_([a-z0-9]{12})_([A-Za-z0-9]{43})\Z", re.ASCII)


class Caller(msgspec.Struct, frozen=True):
    """Whoever asks: a key, or anybody while the service is open."""

    name: str
    """Of the key, for logs and the audit trail: ``key:NAME``, or ``anybody``."""
    selector: str | None
    scopes: tuple[str, ...]
    ack: Literal["spool", "store", "none"] = "spool"
    source: str = ""

    def may(self, need: Need) -> bool:
        """Return whether the scope is granted; who may manage may read reports."""
        return need in self.scopes or (need == "report" and "manage" in self.scopes)


ANYBODY = Caller("anybody", None, SCOPES)


def authenticate(node: Node, scope: Scope, need: Need) -> Caller:
    """Return who asks.

    Raises:
        Problem: 401 without a key that works, 403 with one that lacks the scope, 503 while this node cannot know.
    """
    security = node.security
    if security is None:
        raise unavailable("nothing has been published on this node yet, so it cannot check who asks", code="no_snapshot")
    if not security.required:
        return ANYBODY
    token = presented(scope)
    if token is None:
        raise Problem(
            401,
            "an API key is needed: send Authorization: Bearer KEY, X-API-Key, or Basic with the key as user name",
            code="key_missing",
            headers={"WWW-Authenticate": 'Bearer realm="equipoise", Basic realm="equipoise"'},
        )
    key = node.keys.find(token)
    if key is None:
        raise refused(node)
    if key.expires_at is not None and node.now_us() >= key.expires_at:
        raise Problem(401, "this API key has expired; make a new one", code="key_expired", headers=_CHALLENGE)
    caller = Caller(f"key:{key.name}", key.selector, key.scopes, key.ack, key.source)
    if not caller.may(need):
        raise Problem(403, f'this API key lacks the scope "{need}"', code="scope_missing")
    return caller


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="equipoise", error="invalid_token"'}


def refused(node: Node) -> Problem:
    """Return the answer to a key that is not known here: while the database is away it may just be new."""
    if node.stale:
        return unavailable("the database is away and this key is not known here; come again", code="key_unknown_yet")
    return Problem(401, "this API key is not known, or was revoked", code="key_unknown", headers=_CHALLENGE)


def presented(scope: Scope) -> str | None:
    """Return the key that a request carries: Bearer, ``X-API-Key``, or the user name of Basic (Segment's write key)."""
    text = header(scope, b"authorization")
    if text is None:
        return header(scope, b"x-api-key")
    kind, _, rest = text.partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    return None


class KeyRing:
    """The keys of a snapshot by selector. A secret that was verified once is remembered by its hash."""

    def __init__(self, keys: tuple[KeyPlan, ...] = ()) -> None:
        self._keys = {key.selector: key for key in keys}

    def find(self, token: str) -> KeyPlan | None:
        """Return the key of a token whose secret is right."""
        match = _KEY.match(token)
        key = None if match is None else self._keys.get(match[2])
        if match is None or key is None:
            return None
        return key if hmac.compare_digest(hashlib.sha256(match[3].encode()).hexdigest(), key.verifier) else None
