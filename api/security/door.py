"""Who is asking: API keys, checked against the verifiers that travel with the snapshot. No database on the way.

A key reads ``eqp_ENVIRONMENT_SELECTOR_SECRET``. The selector finds it, the secret is compared by its SHA-256 in
constant time; the secret itself is kept nowhere. While nobody has made a key the service is open; from the first one
on, for ever, every request needs one. Keys are read from headers only: addresses end up in logs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from api.errors import Problem, unavailable
from api.hot.http import Scope
from experiments.security import key_text

if TYPE_CHECKING:
    from allocation.plan import KeyPlan, SecurityPlan
    from api.security.last_used import LastUsed
    from experiments.settings import Settings

Need = Literal["decide", "ingest", "report", "manage"]
SCOPES: tuple[Need, ...] = ("decide", "ingest", "report", "manage")
MAX_REMEMBERED = 4096
"""Ways of presenting keys that were verified and are recognised by their hash: a key has few, but Basic has room for
any password beside it."""


class Caller(msgspec.Struct, frozen=True):
    """Whoever asks: a key, or anybody while the service is open."""

    name: str
    """Of the key, for logs and the audit trail: ``key:NAME``, or ``anybody``."""
    selector: str | None
    scopes: tuple[str, ...]
    ack: Literal["spool", "store", "none"] = "spool"
    source: str = ""
    expires_at: int | None = None
    """First microsecond at which the key no longer works."""

    def may(self, need: Need) -> bool:
        """Return whether the scope is granted; who may manage may read reports."""
        return need in self.scopes or (need == "report" and "manage" in self.scopes)


ANYBODY = Caller("anybody", None, SCOPES)


class Door(Protocol):
    """What `authenticate` must know; a running node does."""

    @property
    def settings(self) -> Settings:
        """Of the deployment."""

    @property
    def security(self) -> SecurityPlan | None:
        """Who may ask; ``None`` before the first snapshot."""

    @property
    def keys(self) -> KeyRing:
        """The keys that work."""

    @property
    def used(self) -> LastUsed:
        """Where uses of keys are noted."""

    @property
    def current(self) -> bool:
        """Whether the database answered lately, so that a key which is not known here is none."""

    def now_us(self) -> int:
        """Return the time, microseconds since 1970-01-01 UTC."""


def authenticate(door: Door, scope: Scope, need: Need) -> Caller:
    """Return who asks.

    Raises:
        Problem: 401 without a key that works, 403 with one that lacks the scope, 503 while this node cannot know.
    """
    if not closed(door):
        return ANYBODY
    for name, value in scope["headers"]:
        if name == b"authorization" or name == b"x-api-key":
            caller = door.keys.presented(name, value)
            if caller is not None:
                return admitted(door, caller, need)
    raise _unrecognised(door, scope)


def admitted(door: Door, caller: Caller, need: Need) -> Caller:
    """Return a caller whose key was recognised, once it is sure that it may do this now; note the use.

    Raises:
        Problem: 401 for a key that has expired, 403 for one that lacks the scope.
    """
    now = door.now_us()
    if caller.expires_at is not None and now >= caller.expires_at:
        raise Problem(401, "this API key has expired; make a new one", code="key_expired", headers=_INVALID)
    if need not in caller.scopes and not caller.may(need):
        detail = f'this API key lacks the scope "{need}"; send one that has it, or have one made'
        raise Problem(403, detail, code="scope_missing")
    if caller.selector is not None:
        door.used.at[caller.selector] = now
    return caller


def closed(door: Door) -> bool:
    """Return whether requests need a key.

    Raises:
        Problem: 503 before the first snapshot, which says so.
    """
    if door.security is None:
        raise unavailable(
            "nothing has been published on this node yet, so it cannot check who asks", code="no_snapshot"
        )
    return door.security.required or door.settings.auth_required


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="equipoise", Basic realm="equipoise", charset="UTF-8"'}
_INVALID = {"WWW-Authenticate": 'Bearer realm="equipoise", error="invalid_token"'}
_HOW = "send Authorization: Bearer KEY, or X-API-Key, or Basic with the key as user name"


def _unrecognised(door: Door, scope: Scope) -> Problem:
    """Return the answer to a request none of whose headers holds a key that works."""
    presented = [(name, value) for name, value in scope["headers"] if name in {b"authorization", b"x-api-key"}]
    if not presented:
        return Problem(401, f"an API key is needed: {_HOW}", code="key_missing", headers=_CHALLENGE)
    keys = [parts for parts in (read(*header) for header in presented) if parts is not None]
    if not keys:
        return Problem(
            401, f"what was sent does not read like an API key: {_HOW}", code="key_malformed", headers=_INVALID
        )
    return refused(door, keys[0])


def refused(door: Door, parts: key_text.KeyText) -> Problem:
    """Return the answer to a key that is not known here: while the database is away it may just be new."""
    if not door.keys.has(parts.selector) and not door.current:
        return unavailable("the database is away and this key is not known here; come again", code="key_unknown_yet")
    return Problem(401, "this API key is not known, or was revoked", code="key_unknown", headers=_INVALID)


def read(name: bytes, value: bytes) -> key_text.KeyText | None:
    """Return the key in a header: Bearer, ``X-API-Key``, or the user name of Basic, as Segment's write key is sent.

    >>> read(b"x-api-key", b"eqp_live_0123456789ab_" + b"s" * 43).selector
    '0123456789ab'
    >>> read(b"authorization", b"Digest x") is None
    True
    """
    text = value.decode("latin-1").strip()
    if name == b"authorization":
        kind, _, rest = text.partition(" ")
        kind = kind.lower()
        if kind == "bearer":
            text = rest.strip()
        elif kind == "basic":
            try:
                text = base64.b64decode(rest.strip(), validate=True).decode("latin-1").partition(":")[0]
            except (binascii.Error, ValueError):
                return None
        else:
            return None
    return key_text.read(text)


class KeyRing:
    """The keys of a snapshot. A header that was verified once is recognised by its hash."""

    def __init__(self, keys: tuple[KeyPlan, ...] = ()) -> None:
        self._keys = {
            key.selector: (
                key.verifier,
                Caller(f"key:{key.name}", key.selector, key.scopes, key.ack, key.source or key.name, key.expires_at),
            )
            for key in keys
        }
        self._recognised: dict[bytes, Caller] = {}

    def presented(self, name: bytes, value: bytes) -> Caller | None:
        """Return whose key a header holds; ``None`` when it holds none that is known here."""
        digest = hashlib.sha256(name + value).digest()
        caller = self._recognised.get(digest)
        if caller is None:
            parts = read(name, value)
            caller = None if parts is None else self.holder(parts)
            if caller is not None:
                if len(self._recognised) >= MAX_REMEMBERED:
                    self._recognised.clear()
                self._recognised[digest] = caller
        return caller

    def holder(self, parts: key_text.KeyText) -> Caller | None:
        """Return whose key this is when its secret is right."""
        known = self._keys.get(parts.selector)
        if known is None or not hmac.compare_digest(key_text.verifier(parts.secret), known[0]):
            return None
        return known[1]

    def has(self, selector: str) -> bool:
        """Return whether there is a key of that selector."""
        return selector in self._keys

    def caller(self, selector: str) -> Caller | None:
        """Return the caller of a key whose secret was checked before, as a session's was."""
        known = self._keys.get(selector)
        return None if known is None else known[1]
