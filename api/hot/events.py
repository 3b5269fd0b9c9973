"""``POST /v1/events``: outcomes and exposures, checked one by one, acknowledged when they are on disk.

A bad event in a good batch never fails the batch and is never dropped: it is kept as a dead letter with its reason and
named by its place in the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec

from allocation.hashing import UnitError, check_unit
from allocation.plan import ProjectPlan
from api.errors import FieldProblem, Problem, field_problem, malformed
from api.hot.http import Receive, Scope, Send, read_body, send_json
from experiments.log.rows import EventRow
from experiments.personal import personal_id, withheld

if TYPE_CHECKING:
    from api.security import Caller
    from api.state import Node

MAX_ITEMS = 5_000
MAX_ITEM_BYTES = 32_768
MAX_VALUE_MINOR = 2**53 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_SOURCE = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_encoder = msgspec.json.Encoder(order="sorted")


class EventsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body: a list of events and, optionally, the name of the system that sends them."""

    events: list[msgspec.Raw]
    source: str = "api"


class EventItem(msgspec.Struct, forbid_unknown_fields=True):
    """One event as callers write it; ``value`` is a decimal in major units of the project's currency."""

    name: str
    event_id: str
    unit: str
    at: str
    unit_type: str = "member"
    object_id: str | None = None
    value: str | int | float | None = None
    currency: str | None = None
    decision_id: str | None = None
    experiment: str | None = None
    properties: dict[str, Any] = {}


class BadEventError(ValueError):
    """An event that cannot be kept; has a code of ``DEAD_LETTER_REASONS`` and a message without personal data."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Rejected(msgspec.Struct, frozen=True):
    """One event of a batch that became a dead letter."""

    index: int
    code: str
    detail: str
    raw: bytes = b""
    """The event as sent, for the dead letter; never part of an answer."""


_requests = msgspec.json.Decoder(EventsRequest)
_items = msgspec.json.Decoder(EventItem)


def parse_batch(body: bytes) -> EventsRequest:
    """Read the outer document only.

    Raises:
        Problem: 400 when it is not JSON, 422 when it is not a batch of events.
    """
    try:
        request = _requests.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(
            422,
            "this is not a batch of events",
            code="invalid",
            errors=[field_problem(error, EventsRequest.__struct_fields__)],
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error, body) from None
    if len(request.events) > MAX_ITEMS:
        raise Problem(
            413, f"the batch has {len(request.events):,} events; send at most {MAX_ITEMS:,} at a time", code="too_many"
        )
    if not _SOURCE.match(request.source):
        raise Problem(
            422,
            "the source is not a name",
            code="invalid",
            errors=[FieldProblem("/source", "bad_source", "use 1 to 64 of A-Z a-z 0-9 . _ : -")],
        )
    return request


def read_events(
    request: EventsRequest, *, received_at: int, project: ProjectPlan | None
) -> tuple[list[EventRow], list[Rejected]]:
    """Check every item of a batch on its own.

    Args:
        request: the batch.
        received_at: now, microseconds since 1970 UTC.
        project: its currency, and which unit ids it takes; ``None`` while no project is defined.

    Returns:
        The rows to keep, and what becomes a dead letter.
    """
    rows: list[EventRow] = []
    rejected: list[Rejected] = []
    for index, raw in enumerate(request.events):
        try:
            rows.append(read_event(raw, source=request.source, received_at=received_at, project=project))
        except BadEventError as error:
            kept = _without_personal(raw) if error.code == "personal_id" else bytes(raw)
            rejected.append(Rejected(index=index, code=error.code, detail=str(error), raw=kept))
    return rows, rejected


def _without_personal(raw: msgspec.Raw) -> bytes:
    try:
        return _encoder.encode(withheld(msgspec.json.decode(raw)))
    except (msgspec.DecodeError, RecursionError, ValueError):
        return b""


def read_event(raw: bytes | msgspec.Raw, *, source: str, received_at: int, project: ProjectPlan | None) -> EventRow:
    """Return one event as a row of the log.

    Raises:
        BadEventError: with the reason.

    >>> row = read_event(
    ...     b'{"name":"Order Completed","event_id":"e1","unit":"m1","at":"2026-03-03T08:00:00Z","value":"19.90"}',
    ...     source="shop", received_at=0, project=ProjectPlan("CNY"))
    >>> row.value_minor, row.at
    (1990, 1772524800000000)
    """
    if len(memoryview(raw)) > MAX_ITEM_BYTES:
        raise BadEventError("invalid", f"the event exceeds {MAX_ITEM_BYTES:,} bytes; send fewer properties")
    try:
        item = _items.decode(raw)
    except msgspec.ValidationError as error:
        problem = field_problem(error, EventItem.__struct_fields__)
        place = problem.pointer or "the event"
        raise BadEventError("invalid", f"{place}: {problem.message}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadEventError("unreadable", "the event is not valid JSON") from None
    _check_texts(item)
    try:
        unit = check_unit(item.unit)
    except UnitError as error:
        raise BadEventError("invalid", str(error)) from None
    refused = None if project is not None and project.allow_personal_ids else personal_id(unit)
    if refused is not None:
        raise BadEventError("personal_id", f"/unit: {refused}")
    currency = None if project is None else project.currency
    minor = _minor(item.value, 2 if project is None else project.minor_digits)
    if currency is None and (minor is not None or item.currency is not None):
        raise BadEventError(
            "unknown_currency", "/value: the project has no currency yet; apply a project definition first"
        )
    if item.currency is not None and item.currency != currency:
        raise BadEventError(
            "unknown_currency",
            f"/currency: this project counts in {currency} and no rate is declared; convert it first",
        )
    return EventRow(
        source=source,
        event_id=item.event_id,
        name=item.name,
        unit_type=item.unit_type,
        unit=unit,
        at=_microseconds(item.at),
        received_at=received_at,
        object_id=item.object_id,
        value_minor=minor,
        currency=None if minor is None else currency,
        decision_id=item.decision_id,
        experiment=item.experiment,
        properties=_properties(item.properties),
    )


def _check_texts(item: EventItem) -> None:
    for field, limit, required in (
        ("name", 200, True),
        ("event_id", 256, True),
        ("unit_type", 64, True),
        ("object_id", 256, False),
        ("decision_id", 64, False),
        ("experiment", 64, False),
    ):
        text = getattr(item, field)
        if text is None:
            continue
        if required and not text:
            raise BadEventError("invalid", f"/{field}: is empty")
        if len(text) > limit:
            raise BadEventError("invalid", f"/{field}: has {len(text):,} characters; at most {limit} are allowed")
        if "\x00" in text:
            raise BadEventError("invalid", f"/{field}: contains a NUL character; remove it")


def _properties(properties: Mapping[str, Any]) -> str:
    if not properties:
        return "{}"
    try:
        text = _encoder.encode(properties).decode()
    except (RecursionError, ValueError):
        raise BadEventError("invalid", "/properties: nested too deeply; send a flat object") from None
    if "\\u0000" in text:
        raise BadEventError("invalid", "/properties: contains a NUL character; remove it")
    return text


def _microseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadEventError(
            "invalid", "/at: is not an ISO 8601 time; write it like 2026-03-03T08:00:00+08:00"
        ) from None
    if moment.tzinfo is None:
        raise BadEventError("invalid", "/at: has no time zone; add Z or an offset such as +08:00")
    if moment < _OLDEST:
        raise BadEventError("invalid", "/at: lies before the year 2000; check the clock of the sender")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _minor(value: str | float | None, minor_digits: int) -> int | None:
    if value is None:
        return None
    try:
        amount = Decimal(value if isinstance(value, str) else repr(value))
        if not amount.is_finite() or amount.adjusted() > 18:
            raise BadEventError("invalid", "/value: is not a finite amount")
        scaled = amount.scaleb(minor_digits)
    except InvalidOperation:
        raise BadEventError("invalid", '/value: is not a decimal number; write it like "199.00"') from None
    if scaled != scaled.to_integral_value():
        raise BadEventError("invalid", f"/value: has more than {minor_digits} decimal places")
    minor = int(scaled)
    if abs(minor) > MAX_VALUE_MINOR:
        raise BadEventError("invalid", "/value: is too large to be an amount of money")
    return minor


class RejectedEvent(msgspec.Struct, frozen=True):
    """What the caller is told of an event that became a dead letter."""

    index: int
    """Its place in the batch, from 0."""
    reason: str
    """One of ``DEAD_LETTER_REASONS``."""
    detail: str


class EventsReply(msgspec.Struct, frozen=True):
    """The answer to a batch: what is now on disk as events, and what is kept as dead letters."""

    accepted: int
    rejected: list[RejectedEvent]
    duplicates: int = 0
    """Of the accepted ones, how many this node has seen lately under the same id; counted once in reports."""


_encode_reply = msgspec.json.Encoder().encode


async def answer(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one batch once every event and every dead letter of it is on disk.

    Raises:
        Problem: for a body that is no batch, and 503 when the log cannot take it now.
    """
    request = parse_batch(await read_body(scope, receive))
    rows, rejected = read_events(request, received_at=node.now_us(), project=node.project)
    duplicates = await node.log_events(request.source, rows, rejected, caller.ack)
    reply = EventsReply(
        accepted=len(rows),
        rejected=[RejectedEvent(item.index, item.code, item.detail) for item in rejected],
        duplicates=duplicates,
    )
    await send_json(send, _encode_reply(reply))
