"""``POST /v1/events``: outcomes and exposures, checked one by one, acknowledged when they are on disk.

A bad event in a good batch never fails the batch and is never dropped: it is kept as a dead letter with its reason and
named by its place in the answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from allocation.plan import ProjectPlan
from api.errors import FieldProblem, Problem, field_problem, malformed
from api.hot.event_row import (
    MAX_ITEM_BYTES,
    BadEventError,
    Rejected,
    amount_minor,
    canonical,
    check_text,
    microseconds,
    unit_id,
    without_personal,
)
from api.hot.http import MAX_BODY_BYTES, Receive, Scope, Send, send_json
from api.hot.inflate import read_inflated
from api.hot.items import split_items
from experiments.log.rows import EventRow
from experiments.personal import personal_id

if TYPE_CHECKING:
    from api.node.state import Node
    from api.security.door import Caller

MAX_ITEMS = 5_000
_SOURCE = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")


class EventsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body: a list of events and, optionally, the name of the system that sends them."""

    events: list[msgspec.Raw]
    source: str | None = None


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


class _Unit(msgspec.Struct):
    """Whom an event is about, whatever else is in it."""

    unit: Any = None


_requests = msgspec.json.Decoder(EventsRequest)
_items = msgspec.json.Decoder(EventItem)


def parse_batch(body: bytes) -> EventsRequest:
    """Read the outer document only.

    Raises:
        Problem: 400 when it is not JSON, 422 when it is not a batch of events.
    """
    try:
        request = _read(body)
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
    if request.source is not None and not _SOURCE.match(request.source):
        raise Problem(
            422,
            "the source is not a name",
            code="invalid",
            errors=[FieldProblem("/source", "bad_source", "use 1 to 64 of A-Z a-z 0-9 . _ : -")],
        )
    return request


def _read(body: bytes) -> EventsRequest:
    try:
        return _requests.decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        apart = split_items(body, "events")
        if apart is None:
            raise
        request = _requests.decode(apart[1])
        return msgspec.structs.replace(request, events=[msgspec.Raw(item) for item in apart[0]])


def read_events(
    request: EventsRequest, *, received_at: int, project: ProjectPlan | None, source: str = "api"
) -> tuple[list[EventRow], list[Rejected]]:
    """Check every item of a batch on its own.

    Args:
        request: the batch.
        received_at: now, microseconds since 1970 UTC.
        project: its currency, and which unit ids it takes; ``None`` while no project is defined.
        source: what sends them.

    Returns:
        The rows to keep, and what becomes a dead letter.
    """
    rows: list[EventRow] = []
    rejected: list[Rejected] = []
    for index, raw in enumerate(request.events):
        try:
            rows.append(read_event(raw, source=source, received_at=received_at, project=project))
        except BadEventError as error:
            kept = without_personal(raw) if _of_a_person(raw, error, project) else bytes(raw)
            rejected.append(Rejected(index=index, code=error.code, detail=str(error), raw=kept))
    return rows, rejected


def _of_a_person(raw: msgspec.Raw, error: BadEventError, project: ProjectPlan | None) -> bool:
    """Return whether a refused event has a personal id, whatever it was refused for."""
    if error.code == "personal_id":
        return True
    if project is not None and project.allow_personal_ids:
        return False
    try:
        unit = msgspec.json.decode(raw, type=_Unit).unit
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return isinstance(unit, str) and personal_id(unit) is not None


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
    check_text(item.name, "/name", 200)
    check_text(item.event_id, "/event_id", 256)
    check_text(item.unit_type, "/unit_type", 64)
    check_text(item.object_id, "/object_id", 256, required=False)
    check_text(item.decision_id, "/decision_id", 64, required=False)
    check_text(item.experiment, "/experiment", 64, required=False)
    unit = unit_id(item.unit, "/unit", project)
    minor = amount_minor(item.value, item.currency, project)
    return EventRow(
        source=source,
        event_id=item.event_id,
        name=item.name,
        unit_type=item.unit_type,
        unit=unit,
        at=microseconds(item.at),
        received_at=received_at,
        object_id=item.object_id,
        value_minor=minor,
        currency=None if minor is None or project is None else project.currency,
        decision_id=item.decision_id,
        experiment=item.experiment,
        properties=canonical(item.properties),
    )


def source_of(caller: Caller, said: str | None) -> str:
    """Return what rows carry as their source: the key's, else what the caller says, else the key's name.

    >>> from api.security.door import ANYBODY
    >>> source_of(ANYBODY, None), source_of(ANYBODY, "pos")
    ('api', 'pos')
    """
    if caller.source and (said is None or caller.source != caller.name.removeprefix("key:")):
        return caller.source
    return said or "api"


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
    request = parse_batch(await read_inflated(scope, receive, limit=MAX_BODY_BYTES))
    source = source_of(caller, request.source)
    received_at = node.now_us()
    rows, rejected = read_events(request, received_at=received_at, project=node.project, source=source)
    letters = [item.letter(source, received_at) for item in rejected]
    keys = [(row.source, row.day, row.event_id) for row in rows]
    duplicates = await node.ingested.log(rows, keys, letters, caller.ack)
    reply = EventsReply(
        accepted=len(rows),
        rejected=[RejectedEvent(item.index, item.code, item.detail) for item in rejected],
        duplicates=duplicates,
    )
    await send_json(send, _encode_reply(reply))
