"""``/v1/keys``: list, make, rotate and revoke API keys. A key's text is in one answer only, the one that made it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from api.errors import FieldProblem, Problem
from api.management import documents
from api.management.calling import actor
from api.management.describing import Description, describe, query
from api.management.documents import respond
from api.management.paging import PageQuery, page
from api.management.times import iso
from api.services import Services
from experiments.security import keys
from experiments.security.keys import ApiKey, ApiKeyError, NewKey, UnknownApiKeyError

Scope = Literal["decide", "ingest", "report", "manage"]
MAX_GRACE_HOURS = 24 * 90


class KeyOut(BaseModel):
    """A key, without its secret."""

    selector: str
    """Names the key in addresses and logs; the part of its text after the environment."""
    name: str
    environment: str
    scopes: list[Scope]
    ack: Literal["spool", "store", "none"]
    source: str
    state: Literal["live", "ending", "expired", "revoked"]
    """``ending``: another was made to replace it, and it works until ``expires_at``."""
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    replaces: str | None
    """Selector of the key that this one was made to replace."""
    last_used_at: str | None
    """Written down once a minute."""


class NewKeyOut(KeyOut):
    """A key that was just made."""

    key: str
    """The text to send. It is shown this once and kept nowhere."""


class KeyPage(BaseModel):
    """Some keys, and where to go on."""

    items: list[KeyOut]
    next_cursor: str | None


class RevokedOut(BaseModel):
    """The keys that no longer work."""

    items: list[KeyOut]


class KeyIn(BaseModel, extra="forbid", strict=True):
    """A key to be made."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    """What it is for, such as the system that will use it; unique among the keys that work."""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]
    ack: Literal["spool", "store", "none"] = "spool"
    """When requests are answered: rows are on the node's disk, in the database, or merely taken."""
    source: Annotated[str, Field(pattern=r"^([A-Za-z0-9._:-]{1,64})?$")] = ""
    """What its events carry as their source; empty means the key's name."""
    environment: Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")] = "live"
    """A label that the key's text shows."""
    expires_at: str | None = None
    """ISO 8601 with an offset; ``null`` is never."""


class RotateIn(BaseModel, extra="forbid", strict=True):
    """How a key is replaced."""

    grace_hours: Annotated[float, Field(ge=0, le=MAX_GRACE_HOURS)] = 24
    """How long the old key goes on working."""
    expires_at: str | None = None
    """Of the new key; ``null`` gives it as long a life as the old one had."""


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes.

    Args:
        services: the store's side of the node.
    """
    blueprint = APIBlueprint("keys", __name__, url_prefix="/v1", tag="Keys")

    @blueprint.get("/keys")
    @describe(Description({200: KeyPage}, query=PageQuery, need="manage"))
    def list_keys() -> Response:
        """List all keys there ever were by name, the newest of a name first, without their secrets."""
        asked = page(query(PageQuery), str, int, str)
        now = services.now_us()
        found = [key for key in keys.all_keys(services.store) if asked.after is None or _place(key) > asked.after]
        return respond(asked.document(found, lambda key: _shown(key, now), _place))

    @blueprint.post("/keys")
    @describe(
        Description(
            {201: NewKeyOut},
            body=KeyIn,
            problems={409: "A key of this name is in use"},
            example={"name": "shop", "scopes": ["decide", "ingest"]},
        )
    )
    def post_key() -> Response:
        """Make a key and answer with its text, once. The first one closes the service to callers without a key."""
        asked = documents.json_model(KeyIn)
        try:
            made = keys.create(
                services.store,
                asked.name,
                asked.scopes,
                actor=actor(),
                ack=asked.ack,
                source=asked.source,
                environment=asked.environment,
                expires_at=_instant(asked.expires_at),
                now=services.now_us(),
                first_manages=True,
            )
        except ApiKeyError as error:
            raise _refused(error, taken="name") from None
        return _made(services, made)

    @blueprint.post("/keys/<name>/rotate")
    @describe(
        Description(
            {201: NewKeyOut},
            body=RotateIn,
            body_required=False,
            problems={409: "Two keys of this name work already"},
            example={"grace_hours": 24},
        )
    )
    def post_rotation(name: str) -> Response:
        """Make a new key of the same name and rights; the old one, named by name or selector, ends after a while."""
        asked = documents.json_model(RotateIn, empty=True)
        try:
            made = keys.rotate(
                services.store,
                _name(name),
                actor=actor(),
                grace_us=int(timedelta(hours=asked.grace_hours) / timedelta(microseconds=1)),
                expires_at=_instant(asked.expires_at),
                now=services.now_us(),
            )
        except ApiKeyError as error:
            raise _refused(error, taken="name") from None
        return _made(services, made)

    @blueprint.post("/keys/<name>/revoke")
    @describe(Description({200: RevokedOut}))
    def post_revocation(name: str) -> Response:
        """End a key by its selector, or all keys of a name; every process refuses them within a few seconds."""
        now = services.now_us()
        try:
            ended = keys.revoke(services.store, _name(name), actor=actor(), now=now)
        except ApiKeyError as error:
            raise _refused(error) from None
        services.definitions_changed()
        return respond({"items": [_shown(key, now) for key in ended]})

    return blueprint


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = "is no time with a zone; write it like 2027-03-03T08:00:00Z"
        raise Problem(
            422, "the body does not fit", code="invalid", errors=[FieldProblem("/expires_at", "invalid", message)]
        )
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _name(text: str) -> str:
    if "\0" in text or len(text) > 200:
        raise Problem(404, "there is no such key", code="unknown_key")
    return text


def _refused(error: ApiKeyError, taken: str | None = None) -> Problem:
    if isinstance(error, UnknownApiKeyError):
        return Problem(404, str(error), code="unknown_key")
    fields = [FieldProblem(f"/{error.field}", "invalid", str(error))] if error.field else []
    if taken is not None and error.field == taken:
        return Problem(409, str(error), code="key_in_use", errors=fields)
    return Problem(422, "no key was made", code="invalid", errors=fields)


def _made(services: Services, made: NewKey) -> Response:
    services.definitions_changed()
    return respond({**_shown(made.key, services.now_us()), "key": made.text}, 201)


def _place(key: ApiKey) -> tuple[str, int, str]:
    return (key.name, -key.created_at, key.selector)


def _shown(key: ApiKey, now: int) -> dict[str, object]:
    return {
        "selector": key.selector,
        "name": key.name,
        "environment": key.environment,
        "scopes": list(key.scopes),
        "ack": key.ack,
        "source": key.source,
        "state": key.state(now),
        "created_at": iso(key.created_at),
        "created_by": key.created_by,
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "replaces": key.replaces,
        "last_used_at": iso(key.last_used_at),
    }
