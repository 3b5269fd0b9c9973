"""What becomes of a Segment message: a row of the log, nothing (group, page, screen), or a refusal with its reason.

Only what is named here is kept. Of ``context`` and ``integrations`` nothing is, of ``traits`` the attributes that the
project declares as stored: names, addresses and numbers that a client library adds never reach the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from allocation.plan import AttributeType, ProjectPlan
from api.errors import field_problem
from api.hot.event_row import (
    MAX_ITEM_BYTES,
    BadEventError,
    Rejected,
    amount_minor,
    canonical,
    check_text,
    microseconds,
    unit_id,
)
from experiments.generic_ids import generic_id
from experiments.log.dead_letters import DeadLetterKind
from experiments.log.rows import SKEW_US, AliasRow, EventRow, TraitsRow
from experiments.personal import WITHHELD, personal_id, withheld

IGNORED = frozenset({"group", "page", "screen"})
"""Calls that are taken and not kept."""
ORDERS = frozenset({"Order Completed", "Order Updated", "Order Refunded", "Order Cancelled"})
COUPONS = frozenset({"Coupon Redeemed", "Coupon Applied"})
NAMES = {
    "Completed Order": "Order Completed",
    "Updated Order": "Order Updated",
    "Refunded Order": "Order Refunded",
    "Cancelled Order": "Order Cancelled",
    "Order Canceled": "Order Cancelled",
}
"""Older and other spellings of the events that orders are made of."""
OBJECTS = ("order_id", "orderId", "checkout_id")
"""Properties that name the object of an order or coupon event; the first that is there counts."""
AMOUNTS = ("value", "revenue", "total")
"""Properties that are the amount of an event; the first that is there counts."""
COUPON_AMOUNTS = ("value", "discount")
"""The same for a coupon, whose amount is what it cost us: its ``total`` would be the order's."""
OPT_OUT = "opted_out"

_KEPT_OF_REFUSED = frozenset({
    "type", "event", "messageId", "timestamp", "originalTimestamp", "userId", "anonymousId", "previousId",
    "properties",
})  # fmt: skip
"""Not when it was sent: the same message sent again is the same dead letter."""
_KINDS: dict[str, DeadLetterKind] = {"identify": "member", "alias": "alias"}
_encoder = msgspec.json.Encoder(order="sorted")


class Context(msgspec.Struct, gc=False):
    """What is read of a message's context."""

    unit_type: str | None = None
    traits: dict[str, Any] | None = None


class Message(msgspec.Struct):
    """A message as client libraries write it; fields that are not here are not looked at."""

    type: str | None = None
    messageId: str | None = None  # noqa: N815 - as it is sent
    timestamp: str | None = None
    originalTimestamp: str | None = None  # noqa: N815
    sentAt: str | None = None  # noqa: N815
    userId: str | int | None = None  # noqa: N815
    anonymousId: str | int | None = None  # noqa: N815
    previousId: str | int | None = None  # noqa: N815
    event: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: Context | None = None


_messages = msgspec.json.Decoder(Message)


class Arrival(msgspec.Struct, frozen=True):
    """What all messages of a request share."""

    source: str
    received_at: int
    project: ProjectPlan | None
    kind: str | None = None
    """What the address says the messages are; ``None`` for a batch, where each says so itself."""
    sent_at: str | None = None
    """When the sender's clock says that the batch was sent."""


def read_message(raw: bytes | msgspec.Raw, arrival: Arrival) -> tuple[EventRow | TraitsRow | AliasRow | None, str]:
    """Return a message's row (``None`` where there is nothing to keep) and its id.

    Raises:
        BadEventError: with the reason.

    >>> arrival = Arrival("shop", 1772539200000000, ProjectPlan("CNY"))
    >>> row, name = read_message(b'''{"type": "track", "messageId": "m1", "userId": "u1", "event": "Order Completed",
    ...     "timestamp": "2026-03-03T12:00:00Z", "properties": {"order_id": 7, "revenue": 19.9}}''', arrival)
    >>> row.object_id, row.value_minor, row.currency, name
    ('7', 1990, 'CNY', 'm1')
    """
    if len(memoryview(raw)) > MAX_ITEM_BYTES:
        raise BadEventError("invalid", f"the message exceeds {MAX_ITEM_BYTES:,} bytes; send fewer properties")
    try:
        message = _messages.decode(raw)
    except msgspec.ValidationError as error:
        problem = field_problem(error)
        raise BadEventError("invalid", f"{problem.pointer or 'the message'}: {problem.message}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadEventError("unreadable", "the message is not valid JSON") from None
    kind = arrival.kind or message.type
    if kind in IGNORED:
        return None, message.messageId or ""
    if kind not in {"track", "identify", "alias"}:
        said = "is missing" if kind is None else "is none of track, identify, alias, group, page, screen"
        raise BadEventError("invalid", f"/type: {said}")
    at, stated_at = _times(message, arrival)
    message_id = message.messageId or _content_id(raw, message)
    check_text(message_id, "/messageId", 256)
    if kind == "track":
        return _track(message, message_id, at, stated_at, arrival), message_id
    if kind == "identify":
        return _identify(message, at, arrival), message_id
    return _alias(message, at, arrival), message_id


def refused(raw: bytes | msgspec.Raw, index: int, error: BadEventError, arrival: Arrival) -> Rejected:
    """Return a refused message as it may be kept and told of: without write key, context and undeclared traits."""
    message: object = None
    if len(memoryview(raw)) <= 8 * MAX_ITEM_BYTES:
        try:
            message = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, ValueError):
            message = None
    key = hashlib.sha256(memoryview(raw)).hexdigest()[:32]
    if not isinstance(message, dict):
        return Rejected(index, error.code, str(error), b"null", key=key)
    kept: dict[str, Any] = {name: value for name, value in message.items() if name in _KEPT_OF_REFUSED}
    if arrival.kind is not None:
        kept["type"] = arrival.kind
    traits = message.get("traits")
    if isinstance(traits, dict):
        declared = () if arrival.project is None else arrival.project.stored
        kept["traits"] = {name: value for name, value in traits.items() if name in declared or name == OPT_OUT}
    personal = [] if arrival.project is not None and arrival.project.allow_personal_ids else _personal_fields(message)
    if personal:  # whatever it was refused for
        kept = {**withheld(kept), **dict.fromkeys(personal, WITHHELD)}
        if isinstance(kept.get("properties"), dict):
            kept["properties"] = withheld(kept["properties"])
    try:
        payload = _encoder.encode(kept)
    except (RecursionError, ValueError):
        return Rejected(index, error.code, str(error), b"null", key=key)
    named = kept.get("messageId")
    message_id = named[:256] if isinstance(named, str) else None
    return Rejected(index, error.code, str(error), payload, message_id, _KINDS.get(str(kept.get("type")), "event"))


def _personal_fields(message: Mapping[str, Any]) -> list[str]:
    """Return which fields name a person by an address or a number, also one that was sent as a number."""
    texts = {field: _text(message.get(field)) for field in ("userId", "anonymousId", "previousId")}
    return [field for field, text in texts.items() if text is not None and personal_id(text)]


# ---- when


def _times(message: Message, arrival: Arrival) -> tuple[int, int | None]:
    """Return when it happened by our clock, and what the sender's clock said where that is off by much."""
    stated, pointer = message.timestamp, "/timestamp"
    if stated is None:
        stated, pointer = message.originalTimestamp, "/originalTimestamp"
    if stated is None:
        return arrival.received_at, None
    at = microseconds(stated, pointer)
    sent = message.sentAt or arrival.sent_at
    if sent is None:
        return at, None
    try:
        sent_at = microseconds(sent, "/sentAt")
    except BadEventError:
        # Only what corrects the time is unreadable; the time itself is not.
        return at, None
    if abs(sent_at - arrival.received_at) <= SKEW_US:
        return at, None
    return arrival.received_at - (sent_at - at), at


def _content_id(raw: bytes | msgspec.Raw, message: Message) -> str:
    """Return the id of a message that has none: what it says, so that a repeat is found to be one."""
    if message.timestamp is None and message.originalTimestamp is None:
        raise BadEventError(
            "invalid", "/messageId: is missing, and so is the timestamp; a repeat could not be told from a new event"
        )
    return hashlib.sha256(memoryview(raw)).hexdigest()[:32]


# ---- who


def _text(value: object) -> str | None:
    """Return an id that may have been sent as a number; ``None`` where there is none."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _unit(message: Message, arrival: Arrival) -> str:
    for field in ("userId", "anonymousId"):
        unit = _text(getattr(message, field))
        if unit is not None:
            return unit_id(unit, f"/{field}", arrival.project)
    raise BadEventError("invalid", "/userId: is missing; send userId or anonymousId")


def _unit_type(message: Message, properties: Mapping[str, Any] | None = None) -> str:
    named = None if properties is None else properties.get("unit_type")
    if not isinstance(named, str):
        named = None if message.context is None else message.context.unit_type
    if not named:
        return "member"
    check_text(named, "/context/unit_type", 64)
    return named


# ---- what


def _track(message: Message, message_id: str, at: int, stated_at: int | None, arrival: Arrival) -> EventRow:
    if message.event is None:
        raise BadEventError("invalid", "/event: is missing; name what happened")
    check_text(message.event, "/event", 200)
    properties = message.properties or {}
    name = NAMES.get(message.event, message.event)
    object_id = None
    strict = name in ORDERS or name in COUPONS
    if strict:
        object_id = _named(properties, OBJECTS, 256)
        if name == "Coupon Applied" and object_id is not None:
            # Applied to an order it is redeemed; applied to a cart, it may never be.
            name = "Coupon Redeemed"
    minor = _amount(properties, COUPON_AMOUNTS if name in COUPONS else AMOUNTS, arrival.project, strict=strict)
    return EventRow(
        arrival.source,
        message_id,
        name,
        _unit_type(message, properties),
        _unit(message, arrival),
        at,
        arrival.received_at,
        object_id,
        minor,
        None if minor is None or arrival.project is None else arrival.project.currency,
        _named(properties, ("decision_id", "decisionId"), 64),
        _named(properties, ("experiment", "experiment_id", "experimentId"), 64),
        canonical(properties),
        stated_at,
    )


def _named(properties: Mapping[str, Any], names: tuple[str, ...], limit: int) -> str | None:
    for name in names:
        text = _text(properties.get(name))
        if text is not None:
            check_text(text, f"/properties/{name}", limit)
            return text
    return None


def _amount(
    properties: Mapping[str, Any], names: tuple[str, ...], project: ProjectPlan | None, *, strict: bool
) -> int | None:
    """Return the amount in minor units; what is none is refused where ``strict``: elsewhere it may be anything."""
    for name in names:
        value = properties.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            if strict:
                raise BadEventError("invalid", f"/properties/{name}: is not an amount; write it like 199.00")
            return None
        currency = properties.get("currency")
        places = (f"/properties/{name}", "/properties/currency")
        currency = currency.upper() if isinstance(currency, str) and currency else None
        try:
            return amount_minor(value, currency, project, rounding=True, places=places)
        except BadEventError as error:
            if strict or error.code != "invalid":
                raise
            return None
    return None


def _identify(message: Message, at: int, arrival: Arrival) -> TraitsRow | None:
    unit = _unit(message, arrival)
    given = message.traits
    if given is None:
        given = message.context.traits if message.context is not None else None
    declared = {} if arrival.project is None else arrival.project.stored
    kept: dict[str, Any] = {}
    opted_out = None
    for name, value in (given or {}).items():
        if name == OPT_OUT:
            if value is not None and not isinstance(value, bool):
                raise BadEventError("invalid", "/traits/opted_out: is neither true nor false")
            opted_out = value
        elif name in declared:
            if value is not None and not _fits(value, declared[name]):
                raise BadEventError("invalid", f"/traits/{name}: is no {declared[name]}, as the project declares it")
            kept[name] = value
    if not kept and opted_out is None:
        return None
    attributes = canonical(kept, "/traits")
    return TraitsRow(arrival.source, _unit_type(message), unit, at, arrival.received_at, attributes, opted_out)


def _fits(value: object, declared: AttributeType) -> bool:
    if declared == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if declared == "boolean":
        return isinstance(value, bool)
    if declared == "list":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _alias(message: Message, at: int, arrival: Arrival) -> AliasRow | None:
    ends = []
    for field in ("previousId", "userId"):
        unit = _text(getattr(message, field))
        if unit is None:
            raise BadEventError("invalid", f"/{field}: is missing; an alias links previousId and userId")
        why = generic_id(unit)
        if why is not None:
            raise BadEventError("generic_id", f"/{field}: {why}")
        ends.append(unit_id(unit, f"/{field}", arrival.project))
    if ends[0] == ends[1]:
        return None
    return AliasRow(arrival.source, _unit_type(message), ends[0], ends[1], at, arrival.received_at)
