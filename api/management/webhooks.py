"""``/v1/webhooks``: addresses that are told of events, and the messages that were sent to them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, Field

from api.errors import FieldProblem, Problem
from api.management import idempotency
from api.management.calling import actor
from api.management.describing import Description, describe, query
from api.management.documents import etag, json_model, respond, version_from
from api.management.paging import PageQuery, page
from api.management.times import iso
from api.services import Services
from experiments.errors import InputError
from experiments.keeping.heads import StaleVersionError
from experiments.webhooks import hooks
from experiments.webhooks.addresses import private_allowed
from experiments.webhooks.events import EVENTS
from experiments.webhooks.hooks import Message, UnknownWebhookError, Webhook

Event = Annotated[str, Field(json_schema_extra={"enum": sorted(EVENTS)})]
State = Literal["pending", "delivered", "failed"]
Url = Annotated[str, Field(min_length=1, max_length=2_000, examples=["https://hooks.example.com/equipoise"])]


class WebhookIn(BaseModel, extra="forbid", strict=True):
    """A webhook to be made."""

    url: Url
    events: list[Event] = []
    """Which events to tell of; empty for all."""


class WebhookChange(BaseModel, extra="forbid", strict=True):
    """What to change; what is left out stays."""

    url: Url | None = None
    events: list[Event] | None = None
    active: bool | None = None


class RotateBody(BaseModel, extra="forbid", strict=True):
    """How the secret is replaced."""

    overlap_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = hooks.OVERLAP_S
    """How long the secret before goes on signing; 0 where it has leaked."""


class WebhookOut(BaseModel):
    """A webhook, without its secret."""

    id: str
    url: str
    events: list[Event]
    """Empty for all."""
    active: bool
    disabled_reason: str | None
    """Why the service itself paused it."""
    created_at: str
    created_by: str
    updated_at: str
    version_id: int


class NewWebhookOut(WebhookOut):
    """A webhook with a secret that was just made."""

    secret: str | None
    """Shown this once; ``null`` where an ``Idempotency-Key`` repeats the answer."""


class WebhookPage(BaseModel):
    """Webhooks, the oldest first."""

    items: list[WebhookOut]
    next_cursor: str | None


class DeliveryQuery(PageQuery):
    """Which messages."""

    state: State | None = None


class DeliveryOut(BaseModel):
    """One message to a webhook."""

    id: str
    """Its ``webhook-id``, the same at every attempt."""
    type: str
    state: State
    attempts: int
    created_at: str
    next_at: str | None
    last_at: str | None
    last_status: int | None
    last_error: str | None
    payload: str


class DeliveryPage(BaseModel):
    """Messages, the latest first."""

    items: list[DeliveryOut]
    next_cursor: str | None


class DeletedOut(BaseModel):
    """A webhook that is no more, nor are its messages."""

    id: str
    deleted: bool


_PAUSED = {409: "The webhook is paused"}


def create_blueprint(services: Services) -> APIBlueprint:  # noqa: C901 - one address after another
    """Return the routes."""
    blueprint = APIBlueprint("webhooks", __name__, url_prefix="/v1", tag="Webhooks")

    @blueprint.get("/webhooks")
    @describe(Description({200: WebhookPage}, query=PageQuery))
    def list_webhooks() -> Response:
        """List webhooks, the oldest first: a hundred at most."""
        asked = page(query(PageQuery), int, str)
        found = [hook for hook in hooks.listed(services.store) if asked.after is None or _place(hook) > asked.after]
        return respond(asked.document(found, _shown, _place))

    @blueprint.post("/webhooks")
    @describe(
        Description(
            {201: NewWebhookOut},
            body=WebhookIn,
            etag=True,
            idempotent=True,
            example={"url": "https://hooks.example.com/x"},
        )
    )
    def post_webhook() -> Response:
        """Make a webhook and answer with its secret, once. Messages are signed as Standard Webhooks says."""
        asked = json_model(WebhookIn)
        try:
            made = hooks.create(services.store, asked.url, asked.events, actor=actor(), allow_private=private_allowed())
        except InputError as error:
            raise _wrong(error) from None
        return _secret(*made, status=201)

    @blueprint.get("/webhooks/<identity>")
    @describe(Description({200: WebhookOut}, etag=True))
    def get_webhook(identity: str) -> Response:
        """Return one webhook."""
        return _one(_found(services, identity))

    @blueprint.patch("/webhooks/<identity>")
    @describe(
        Description({200: WebhookOut}, body=WebhookChange, if_match="optional", etag=True, example={"active": True})
    )
    def patch_webhook(identity: str) -> Response:
        """Change its address, its events, or pause it and make it active again."""
        asked = json_model(WebhookChange)
        expected = _expected()
        _found(services, identity)
        try:
            changed = hooks.update(
                services.store,
                identity,
                actor=actor(),
                url=asked.url,
                events=asked.events,
                active=asked.active,
                version_id=expected,
                allow_private=private_allowed(),
            )
        except StaleVersionError as error:
            raise Problem(412, str(error), code="stale_version") from None
        except UnknownWebhookError as error:
            raise _unknown(error) from None
        except InputError as error:
            raise _wrong(error) from None
        return _one(changed)

    @blueprint.post("/webhooks/<identity>/rotate")
    @describe(
        Description({200: NewWebhookOut}, body=RotateBody, body_required=False, if_match="optional", idempotent=True)
    )
    def rotate_webhook(identity: str) -> Response:
        """Make a new secret and answer with it, once; the one before goes on signing beside it for a day."""
        asked = json_model(RotateBody, empty=True)
        expected = _expected()
        _found(services, identity)
        try:
            made = hooks.rotate(services.store, identity, actor=actor(), overlap_s=asked.overlap_s, version_id=expected)
        except StaleVersionError as error:
            raise Problem(412, str(error), code="stale_version") from None
        return _secret(*made, status=200)

    @blueprint.delete("/webhooks/<identity>")
    @describe(Description({200: DeletedOut}, if_match="optional"))
    def delete_webhook(identity: str) -> Response:
        """Delete a webhook and its messages; the audit trail keeps that it was there."""
        expected = _expected()
        _found(services, identity)
        try:
            hooks.delete(services.store, identity, actor=actor(), version_id=expected)
        except StaleVersionError as error:
            raise Problem(412, str(error), code="stale_version") from None
        except UnknownWebhookError as error:
            raise _unknown(error) from None
        return respond({"id": identity, "deleted": True})

    @blueprint.post("/webhooks/<identity>/ping")
    @describe(Description({202: DeliveryOut}, idempotent=True, problems=_PAUSED))
    def ping_webhook(identity: str) -> Response:
        """Send a message that says nothing, to see whether messages arrive."""
        _found(services, identity)
        try:
            return respond(_message(hooks.ping(services.store, identity)), 202)
        except UnknownWebhookError as error:
            raise _unknown(error) from None
        except InputError as error:
            raise Problem(409, str(error), code="webhook_paused") from None

    @blueprint.get("/webhooks/<identity>/deliveries")
    @describe(Description({200: DeliveryPage}, query=DeliveryQuery))
    def list_deliveries(identity: str) -> Response:
        """List the messages to a webhook, the latest first; those of the last thirty days are kept."""
        wanted = query(DeliveryQuery)
        asked = page(wanted, int, str)
        _found(services, identity)
        before = None if asked.after is None else (asked.after[0], asked.after[1])
        found = hooks.messages(services.store, identity, state=wanted.state, before=before, limit=asked.limit + 1)
        return respond(asked.document(found, _message, lambda message: [message.created_at, message.id]))

    @blueprint.post("/webhooks/<identity>/deliveries/<message>/redeliver")
    @describe(Description({202: DeliveryOut}, idempotent=True, problems=_PAUSED))
    def redeliver_message(identity: str, message: str) -> Response:
        """Send a message again, with its schedule of attempts from the beginning; its id stays."""
        _found(services, identity)
        _check(message)
        try:
            return respond(_message(hooks.redeliver(services.store, identity, message)), 202)
        except UnknownWebhookError as error:
            raise _unknown(error) from None
        except InputError as error:
            raise Problem(409, str(error), code="webhook_paused") from None

    return blueprint


def _check(identity: str) -> None:
    if not identity.isascii() or not identity.isprintable() or len(identity) > 64:
        raise Problem(404, "there is no webhook or message of this id", code="unknown_webhook")


def _found(services: Services, identity: str) -> Webhook:
    _check(identity)
    try:
        return hooks.get(services.store, identity)
    except UnknownWebhookError as error:
        raise _unknown(error) from None


def _unknown(error: InputError) -> Problem:
    return Problem(404, str(error), code="unknown_webhook")


def _wrong(error: InputError) -> Problem:
    pointer = "/events" if "event" in str(error) else "/url"
    fields = [FieldProblem(pointer, "invalid", str(error))]
    return Problem(422, "the body does not fit", code="invalid", errors=fields)


def _expected() -> int | None:
    match = request.headers.get("If-Match")
    return None if match is None else version_from(match)


def _place(hook: Webhook) -> tuple[int, str]:
    return (hook.created_at, hook.id)


def _one(hook: Webhook) -> Response:
    return respond(_shown(hook), 200, {"ETag": etag(hook.version_id)})


def _secret(hook: Webhook, secret: str, *, status: int) -> Response:
    idempotency.keep_instead(msgspec.json.encode({**_shown(hook), "secret": None}))
    return respond({**_shown(hook), "secret": secret}, status, {"ETag": etag(hook.version_id)})


def _shown(hook: Webhook) -> dict[str, object]:
    return {**hook.__dict__, "created_at": iso(hook.created_at), "updated_at": iso(hook.updated_at)}


def _message(message: Message) -> dict[str, object]:
    told = {name: value for name, value in message.__dict__.items() if name != "webhook"}
    return told | {name: iso(told[name]) for name in ("created_at", "next_at", "last_at")}
