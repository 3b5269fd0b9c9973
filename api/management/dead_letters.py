"""``/v1/dead-letters``: what could not be taken as it came, and what becomes of it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from allocation.plan import ProjectPlan
from api.errors import Problem
from api.hot.event_row import BadEventError
from api.hot.events import read_event
from api.hot.segment_map import Arrival, read_message
from api.management.calling import actor
from api.management.describing import Description, describe, query
from api.management.documents import respond
from api.management.paging import PageQuery, page
from api.management.times import iso
from api.services import Services
from experiments.keeping.heads import UnknownKeyError
from experiments.log import reviewing
from experiments.log.dead_letters import DEAD_LETTER_REASONS, DeadLetter
from experiments.log.reviewing import UnknownLetterError
from experiments.log.rows import EventRow
from experiments.log.spool import LogRow
from experiments.personal import WITHHELD
from experiments.publishing.plans import project_plan

_ID = re.compile(r"[0-9a-f]{32}\Z")
_OF_THE_STORE = frozenset({"conflicting_duplicate", "storage_refused"})
"""Reasons that the store gives: the payload is a row that was checked, not what a caller wrote."""
Filter = Annotated[str | None, Field(max_length=256)]


class LetterQuery(PageQuery):
    """Which dead letters."""

    kind: Literal["decision", "event", "member", "alias"] | None = None
    reason: Filter = None
    source: Filter = None


class LetterSummary(BaseModel):
    """One dead letter, without what it says."""

    id: str
    kind: str
    """What it was meant to be."""
    reason: str
    meaning: str
    detail: str
    source: str
    received_at: str


class LetterPage(BaseModel):
    """Dead letters, the latest first."""

    items: list[LetterSummary]
    next_cursor: str | None


class LetterOut(LetterSummary):
    """One dead letter."""

    payload: str
    """As it came."""


class RetryOut(BaseModel):
    """What became of a dead letter. ``refused`` ones stay, the others are dead letters no more."""

    id: str
    outcome: Literal["absorbed", "duplicate", "quarantined", "refused"]
    reason: str | None
    """Why it is refused today."""
    detail: str | None


class DiscardedOut(BaseModel):
    """A dead letter that is no more; the audit trail says who discarded it."""

    id: str
    discarded: bool


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("dead_letters", __name__, url_prefix="/v1", tag="Dead letters")

    @blueprint.get("/dead-letters")
    @describe(Description({200: LetterPage}, query=LetterQuery))
    def list_dead_letters() -> Response:
        """List what could not be taken, the latest first."""
        wanted = query(LetterQuery)
        asked = page(wanted, int, str)
        found = reviewing.letters(
            services.store,
            limit=asked.limit + 1,
            before=None if asked.after is None else (asked.after[0], asked.after[1]),
            kind=wanted.kind,
            reason=wanted.reason,
            source=wanted.source,
        )
        return respond(asked.document(found, _summary, lambda letter: [letter.received_at, letter.id]))

    @blueprint.get("/dead-letters/<identity>")
    @describe(Description({200: LetterOut}))
    def get_dead_letter(identity: str) -> Response:
        """Return one with its payload as it was kept."""
        letter = _letter(services, identity)
        return respond({**_summary(letter), "payload": letter.payload})

    @blueprint.post("/dead-letters/<identity>/retry")
    @describe(
        Description(
            {200: RetryOut},
            idempotent=True,
            problems={409: "Its payload is no event that can be read again"},
        )
    )
    def retry_dead_letter(identity: str) -> Response:
        """Read an event again by today's rules, after the project's currency or unit rule was corrected."""
        letter = _letter(services, identity)
        try:
            rows = event_rows(letter, _project(services))
        except BadEventError as error:
            return respond({"id": identity, "outcome": "refused", "reason": error.code, "detail": str(error)})
        try:
            outcome = reviewing.take(services.store, identity, rows, actor=actor(), now=services.now_us())
        except UnknownLetterError as error:
            raise Problem(404, str(error), code="unknown_dead_letter") from None
        again = outcome == "refused"
        detail = "an event with this source, day and event_id is stored already, with other content"
        reason = "conflicting_duplicate" if again else None
        return respond({"id": identity, "outcome": outcome, "reason": reason, "detail": detail if again else None})

    @blueprint.delete("/dead-letters/<identity>")
    @describe(Description({200: DiscardedOut}))
    def discard_dead_letter(identity: str) -> Response:
        """Discard one for good; the audit trail keeps that it was there, not what it said."""
        _letter(services, identity)
        try:
            reviewing.discard(services.store, identity, actor=actor(), now=services.now_us())
        except UnknownLetterError as error:
            raise Problem(404, str(error), code="unknown_dead_letter") from None
        return respond({"id": identity, "discarded": True})

    return blueprint


def event_rows(letter: DeadLetter, project: ProjectPlan | None) -> list[LogRow]:
    """Return what an event's dead letter says, by today's rules.

    Args:
        letter: as it was kept.
        project: as it is now.

    Raises:
        BadEventError: when it still cannot be taken.
        Problem: 409 when its payload is none that a service can read again.
    """
    if letter.kind != "event":
        raise _not_retryable(f"it was meant to be a {letter.kind}; only events can be read again")
    try:
        payload = msgspec.json.decode(letter.payload)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise _not_retryable("its payload is not JSON; discard it, or send the event again corrected") from None
    if not isinstance(payload, dict):
        raise _not_retryable("its payload is no event; discard it, or send the event again corrected")
    if any(payload.get(name) == WITHHELD for name in ("unit", "userId", "anonymousId")):
        raise _not_retryable("its unit id was personal and was not kept; send the event again with another one")
    if letter.reason in _OF_THE_STORE and isinstance(payload.get("at"), int) and "source" in payload:
        return [_row(payload, letter)]
    if "event_id" not in payload and payload.get("type") == "track":
        row, _ = read_message(letter.payload.encode(), Arrival(letter.source, letter.received_at, project))
        return [] if row is None else [row]
    if "event_id" not in payload:
        raise _not_retryable("its payload is a row of a file or of another form; import or send it again corrected")
    text = msgspec.json.encode(payload)
    return [read_event(text, source=letter.source, received_at=letter.received_at, project=project)]


def _row(payload: dict[str, Any], letter: DeadLetter) -> EventRow:
    """Return an event that was good but for what the store said of it."""
    try:
        return msgspec.convert({**payload, "received_at": letter.received_at}, EventRow)
    except msgspec.ValidationError:
        raise _not_retryable("its payload is no event; discard it, or send the event again corrected") from None


def _not_retryable(why: str) -> Problem:
    return Problem(409, f"this dead letter cannot be retried: {why}", code="not_retryable")


def _letter(services: Services, identity: str) -> DeadLetter:
    if not _ID.match(identity):
        raise Problem(404, "there is no such dead letter; GET /v1/dead-letters lists them", code="unknown_dead_letter")
    try:
        return reviewing.letter(services.store, identity)
    except UnknownLetterError as error:
        raise Problem(404, str(error), code="unknown_dead_letter") from None


def _project(services: Services) -> ProjectPlan | None:
    try:
        return project_plan(services.repository().project())
    except UnknownKeyError:
        return None


def _summary(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "kind": letter.kind,
        "reason": letter.reason,
        "meaning": DEAD_LETTER_REASONS.get(letter.reason, letter.reason),
        "detail": letter.detail,
        "source": letter.source,
        "received_at": iso(letter.received_at),
    }
