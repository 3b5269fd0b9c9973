"""API keys in the store: make, list, rotate, revoke; each change in one transaction with its audit row.

A key's text is returned once, when it is made. What is kept is the SHA-256 of its secret, and nothing leads back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from allocation.plan import KeyPlan, SecurityPlan
from experiments.errors import InputError, unknown_name
from experiments.keeping import audit
from experiments.security import key_text
from experiments.store import Store
from experiments.store.security_tables import api_keys
from experiments.webhooks.events import announce

Ack = Literal["spool", "store", "none"]
State = Literal["live", "ending", "expired", "revoked"]

SCOPES = ("decide", "ingest", "report", "manage")
ACKS: tuple[Ack, ...] = ("spool", "store", "none")
HOUR_US = 3_600_000_000
GRACE_US = 24 * HOUR_US
"""How long the old key of a rotation goes on working by default."""
MAX_LIVE = 2
"""Live keys of one name: the one that is used, and during a rotation its successor."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z", re.ASCII)
_SOURCE = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z", re.ASCII)


class ApiKeyError(InputError):
    """A key that cannot be made or changed as asked; ``field`` names what is wrong, ``code`` how."""

    def __init__(self, message: str, field: str = "", code: str = "unknown") -> None:
        super().__init__(message)
        self.field = field
        self.code = code


class UnknownApiKeyError(ApiKeyError):
    """There is no such key."""


@dataclass(frozen=True)
class ApiKey:
    """A key as lists show it: everything but its secret. Times are microseconds since 1970 UTC."""

    selector: str
    name: str
    environment: str
    scopes: tuple[str, ...]
    ack: Ack
    source: str
    created_at: int
    created_by: str
    expires_at: int | None = None
    revoked_at: int | None = None
    replaces: str | None = None
    """Selector of the key that this one was made to replace."""
    last_used_at: int | None = None
    replaced: bool = False
    """Whether another key was made to replace this one."""

    def state(self, now: int) -> State:
        """Return whether the key works; ``ending`` is one that was replaced and still works for a while."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "ending" if self.replaced else "live"

    def works(self, now: int) -> bool:
        """Return whether requests with this key are taken."""
        return self.state(now) in {"live", "ending"}


@dataclass(frozen=True)
class NewKey:
    """A key that was just made, with its text: the only time it is seen."""

    key: ApiKey
    text: str = field(repr=False)


def now_us() -> int:
    """Return the time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def create(
    store: Store,
    name: str,
    scopes: Sequence[str],
    *,
    actor: str,
    ack: str = "spool",
    source: str = "",
    environment: str = "live",
    expires_at: int | None = None,
    now: int | None = None,
    first_manages: bool = False,
) -> NewKey:
    """Make a key. The first one ever closes the service to everybody without one.

    Args:
        store: where keys are kept.
        name: what it is for, such as the name of the system that will use it.
        scopes: of ``SCOPES``.
        actor: who makes it, for the audit.
        ack: when a request with it is answered, one of ``ACKS``.
        source: what events that come with it carry as their source.
        environment: a label that the key's text shows.
        expires_at: when it stops working, microseconds since 1970 UTC; ``None`` never.
        now: by default the clock's.
        first_manages: refuse to make the first key without ``manage``: nobody could make the next one from outside.

    Raises:
        ApiKeyError: naming the field that is wrong, or that the name is taken.
    """
    at = now_us() if now is None else now
    granted = _checked(name, scopes, ack, source, environment, expires_at, at)
    with store.begin() as connection:
        audit.lock(connection)
        rows = read(connection)
        if first_manages and not rows and "manage" not in granted:
            raise ApiKeyError(
                'the first key closes the service and needs the scope "manage": nobody could make another without it',
                "scopes",
                "first_manages",
            )
        if any(key.name == name and key.works(at) for key in rows):
            raise ApiKeyError(
                f"a key named {name} is in use; rotate or revoke it, or choose another name", "name", "in_use"
            )
        parts = key_text.draw(environment)
        made = ApiKey(
            parts.selector, name, environment, granted, cast("Ack", ack), source, at, actor, expires_at=expires_at
        )
        _insert(connection, made, parts.secret)
        _note(connection, "created", made, at, actor, _shown(made))
    return NewKey(made, key_text.write(parts))


def rotate(
    store: Store,
    name_or_selector: str,
    *,
    actor: str,
    grace_us: int = GRACE_US,
    expires_at: int | None = None,
    now: int | None = None,
) -> NewKey:
    """Make a key of the same name and rights beside a live one, which ends after a while.

    Args:
        store: where keys are kept.
        name_or_selector: the key.
        actor: who does it, for the audit.
        grace_us: how long the old one goes on working.
        expires_at: of the new key; by default as long after now as the old one's was after its making.
        now: by default the clock's.

    Raises:
        ApiKeyError: when two of the name are live already.
        UnknownApiKeyError: when there is no live key of that name.
    """
    at = now_us() if now is None else now
    if grace_us < 0:
        raise ApiKeyError("the time that the old key goes on working cannot be negative", "grace", "bad_grace")
    with store.begin() as connection:
        audit.lock(connection)
        live = [key for key in read(connection) if key.works(at)]
        old = _find(live, name_or_selector)
        if sum(key.name == old.name for key in live) >= MAX_LIVE:
            raise ApiKeyError(
                f"two keys named {old.name} work already; revoke one, or wait until the older one has ended",
                "name",
                "two_live",
            )
        if expires_at is None and old.expires_at is not None:
            expires_at = at + (old.expires_at - old.created_at)
        elif expires_at is not None and expires_at <= at:
            raise ApiKeyError(
                "the key would expire before it is used; name a time in the future", "expires_at", "bad_expiry"
            )
        ends = at + grace_us if old.expires_at is None else min(at + grace_us, old.expires_at)
        parts = key_text.draw(old.environment)
        made = replace(
            old,
            selector=parts.selector,
            created_at=at,
            created_by=actor,
            expires_at=expires_at,
            replaces=old.selector,
            last_used_at=None,
        )
        _insert(connection, made, parts.secret)
        connection.execute(api_keys.update().where(api_keys.c.selector == old.selector).values(expires_at=ends))
        _note(connection, "rotated", made, at, actor, {**_shown(made), "replaces": old.selector, "old_ends_at": ends})
    return NewKey(made, key_text.write(parts))


def revoke(store: Store, name_or_selector: str, *, actor: str, now: int | None = None) -> list[ApiKey]:
    """End a key now, or every live key of a name; return them.

    Raises:
        UnknownApiKeyError: when there is no live key of that name or selector.
    """
    at = now_us() if now is None else now
    with store.begin() as connection:
        audit.lock(connection)
        live = [key for key in read(connection) if key.works(at)]
        ended = [key for key in live if name_or_selector in {key.name, key.selector}]
        if not ended:
            raise _unknown(live, name_or_selector)
        for key in ended:
            connection.execute(api_keys.update().where(api_keys.c.selector == key.selector).values(revoked_at=at))
            _note(connection, "revoked", key, at, actor, {"selector": key.selector})
    return [replace(key, revoked_at=at) for key in ended]


def all_keys(store: Store) -> list[ApiKey]:
    """Return every key there ever was, by name, the newest of a name first."""
    with store.read() as connection:
        return read(connection)


def read(connection: Connection) -> list[ApiKey]:
    """Return every key, inside a transaction; see `all_keys`."""
    rows = connection.execute(sa.select(api_keys)).all()
    replaced = {row.replaces for row in rows if row.replaces}
    found = [
        ApiKey(
            row.selector,
            row.name,
            row.environment,
            tuple(row.scopes.split()),
            row.ack,
            row.source,
            row.created_at,
            row.created_by,
            row.expires_at,
            row.revoked_at,
            row.replaces,
            row.last_used_at,
            row.selector in replaced,
        )
        for row in rows
    ]
    return sorted(found, key=lambda key: (key.name, -key.created_at, key.selector))


def security_plan(connection: Connection, now: int) -> SecurityPlan:
    """Return what travels with the snapshot: whether keys are needed, and what verifies those that work."""
    rows = connection.execute(sa.select(api_keys).order_by(api_keys.c.selector)).all()
    return SecurityPlan(
        required=bool(rows),
        keys=tuple(
            KeyPlan(
                row.selector, row.verifier, row.name, tuple(row.scopes.split()), row.source, row.ack, row.expires_at
            )
            for row in rows
            if row.revoked_at is None and (row.expires_at is None or row.expires_at > now)
        ),
    )


def note_use(store: Store, used: Iterable[tuple[str, int]]) -> None:
    """Write down when keys were last used: pairs of selector and microseconds since 1970 UTC; never back in time."""
    column = api_keys.c.last_used_at
    with store.begin() as connection:
        for selector, at in sorted(used):  # in one order, so that two processes cannot wait for each other
            older = sa.or_(column.is_(None), column < at)
            connection.execute(api_keys.update().where(api_keys.c.selector == selector, older).values(last_used_at=at))


def _checked(
    name: str, scopes: Sequence[str], ack: str, source: str, environment: str, expires_at: int | None, now: int
) -> tuple[str, ...]:
    if not _NAME.match(name):
        raise ApiKeyError(
            "a key's name is 1 to 64 of a-z 0-9 _ -, and begins with a letter or digit", "name", "bad_name"
        )
    for scope in scopes:
        if scope not in SCOPES:
            raise ApiKeyError(str(unknown_name("scope", scope, SCOPES, "for keys")), "scopes", "bad_scope")
    if not scopes:
        raise ApiKeyError(f"a key needs at least one scope of {', '.join(SCOPES)}", "scopes", "no_scope")
    if ack not in ACKS:
        raise ApiKeyError(f"ack is one of {', '.join(ACKS)}", "ack", "bad_ack")
    if source and not _SOURCE.match(source):
        raise ApiKeyError("a source is 1 to 64 of A-Z a-z 0-9 . _ : -", "source", "bad_source")
    if not key_text.ENVIRONMENT.match(environment):
        raise ApiKeyError("an environment label is 1 to 16 of a-z 0-9", "environment", "bad_environment")
    if expires_at is not None and expires_at <= now:
        raise ApiKeyError(
            "the key would expire before it is used; name a time in the future", "expires_at", "bad_expiry"
        )
    if expires_at is not None and expires_at >= 2**53:
        raise ApiKeyError(
            "that is too far in the future; leave it out for a key without end", "expires_at", "bad_expiry"
        )
    return tuple(scope for scope in SCOPES if scope in scopes)


def _find(live: list[ApiKey], name_or_selector: str) -> ApiKey:
    for key in live:
        if name_or_selector in {key.name, key.selector}:
            return key
    raise _unknown(live, name_or_selector)


def _unknown(live: list[ApiKey], name_or_selector: str) -> UnknownApiKeyError:
    if name_or_selector.startswith("eqp_"):  # a key, or a part of one, by mistake: it must not be repeated
        return UnknownApiKeyError("name a key by its name or selector, never by its whole text")
    names = sorted({key.name for key in live})
    if not names:
        return UnknownApiKeyError(f"no key {name_or_selector[:64]!r} that works; there is none at all")
    return UnknownApiKeyError(str(unknown_name("key", name_or_selector, names, "that works")))


def _insert(connection: Connection, key: ApiKey, secret: str) -> None:
    connection.execute(
        api_keys.insert().values(
            selector=key.selector,
            name=key.name,
            environment=key.environment,
            verifier=key_text.verifier(secret),
            scopes=" ".join(key.scopes),
            ack=key.ack,
            source=key.source,
            created_at=key.created_at,
            created_by=key.created_by,
            expires_at=key.expires_at,
            replaces=key.replaces,
        )
    )


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "selector": key.selector,
        "environment": key.environment,
        "scopes": list(key.scopes),
        "ack": key.ack,
        "source": key.source,
        "expires_at": key.expires_at,
    }


def _note(connection: Connection, action: str, key: ApiKey, at: int, actor: str, detail: dict[str, object]) -> None:
    audit.append(connection, at=at, actor=actor, action=action, kind="api_key", key=key.name, detail=detail)
    event = "key.revoked" if action == "revoked" else "key.created"
    announce(connection, event, {"key": key.selector, "name": key.name, "actor": actor})
