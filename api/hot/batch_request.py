"""The body of a batch of members: a JSON document, or NDJSON with one member a line.

A member is a unit id, or an object with attributes and an occasion of its own. What is wrong with one member stands in
its place in the list; only a body that is no batch at all raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from api.errors import FieldProblem, Problem, field_problem, malformed, near
from api.hot.decide import OCCASION, Value, invalid
from api.hot.http import Scope, header

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MEMBERS = 10_000
MAX_ADVICE = 10
"""Wrong members that are told what they may have meant: finding that out takes a while."""
LINES = "application/x-ndjson"


class Member(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One member of a batch."""

    unit: str
    attributes: dict[str, Value] = {}
    """Only those the project declares as sent with requests."""
    occasion: str | None = None
    """Instead of the batch's."""
    experiment: str | None = None
    """Instead of the batch's."""


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON form of a batch."""

    units: list[str | Member]
    experiment: str | None = None
    unit_type: str | None = None
    occasion: str = ""
    """For members that have none of their own."""
    send_at: str | None = None
    """When the messages are scheduled to leave: ISO 8601 with offset."""


class _Loose(msgspec.Struct, forbid_unknown_fields=True):
    """The same with members not looked at yet, for a batch in which one of them is wrong."""

    units: list[msgspec.Raw]
    experiment: str | None = None
    unit_type: str | None = None
    occasion: str = ""
    send_at: str | None = None


class Batch(msgspec.Struct):
    """A batch as it is decided."""

    members: list[str | Member | FieldProblem]
    """A unit id alone stays text: most batches are lists of those."""
    experiment: str | None
    unit_type: str | None
    occasion: str
    send_at: str | None
    lines: bool
    """Whether it came as NDJSON, and is answered so."""


_strict = msgspec.json.Decoder(BatchRequest)
_loose = msgspec.json.Decoder(_Loose)
_member = msgspec.json.Decoder(str | Member)
_PARAMETERS = ("experiment", "unit_type", "occasion", "send_at")


def read_batch(scope: Scope, body: bytes) -> Batch:
    """Return the batch that a request carries.

    Raises:
        Problem: 400 for what is not JSON, 413 for too many members, 422 for what is no batch.
    """
    lines = (header(scope, b"content-type") or "").partition(";")[0].strip().lower() == LINES
    batch = _of_lines(body, _parameters(scope["query_string"])) if lines else _of_document(body)
    if not OCCASION.match(batch.occasion):
        raise invalid(FieldProblem("/occasion", "bad_occasion", "use at most 64 of A-Z a-z 0-9 . _ -"))
    return batch


def wants_lines(scope: Scope, batch: Batch) -> bool:
    """Return whether the answer goes out as NDJSON: as the caller says, else as the batch came."""
    accept = (header(scope, b"accept") or "").lower()
    if LINES in accept:
        return True
    return batch.lines and "application/json" not in accept


def _of_document(body: bytes) -> Batch:
    try:
        request = _strict.decode(body)
        units: list[str | Member | FieldProblem] = list(request.units)
    except msgspec.ValidationError:
        request, units = _member_by_member(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error, body) from None
    _check_count(len(units))
    if request.experiment is None and not any(type(unit) is Member and unit.experiment for unit in units):
        raise invalid(FieldProblem("/experiment", "missing", "this field is required"))
    return Batch(units, request.experiment, request.unit_type, request.occasion, request.send_at, lines=False)


def _member_by_member(body: bytes) -> tuple[BatchRequest, list[str | Member | FieldProblem]]:
    """Return a batch in which something is wrong: with the batch itself, which raises, or with some of its members."""
    try:
        loose = _loose.decode(body)
    except msgspec.ValidationError as error:
        problem = field_problem(error, BatchRequest.__struct_fields__)
        raise Problem(422, "this is not a batch of members", code="invalid", errors=[problem]) from None
    _check_count(len(loose.units))
    request = BatchRequest([], loose.experiment, loose.unit_type, loose.occasion, loose.send_at)
    return request, _each(loose.units)


def _of_lines(body: bytes, parameters: dict[str, str]) -> Batch:
    lines = [line for line in body.split(b"\n") if line.strip()]
    _check_count(len(lines))
    return Batch(
        _each(lines),
        parameters.get("experiment"),
        parameters.get("unit_type"),
        parameters.get("occasion", ""),
        parameters.get("send_at"),
        lines=True,
    )


def _each(texts: Sequence[bytes | msgspec.Raw]) -> list[str | Member | FieldProblem]:
    members: list[str | Member | FieldProblem] = []
    wrong = 0
    for text in texts:
        member = _one(text, Member.__struct_fields__ if wrong < MAX_ADVICE else ())
        wrong += isinstance(member, FieldProblem)
        members.append(member)
    return members


def _one(text: bytes | msgspec.Raw, known: Sequence[str]) -> str | Member | FieldProblem:
    try:
        member: str | Member = _member.decode(text)
    except msgspec.ValidationError as error:
        problem = field_problem(error, known)
        if not problem.pointer:
            return FieldProblem("", "wrong_type", "a member is a unit id in quotes, or an object with one")
        return problem
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return FieldProblem("", "malformed_json", malformed(error, bytes(text)).detail.replace("the body", "the line"))
    return member


def _check_count(count: int) -> None:
    if count > MAX_MEMBERS:
        raise Problem(413, f"the batch has {count:,} members; send at most {MAX_MEMBERS:,} at a time", code="too_many")


def _parameters(query: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16)
    except (UnicodeError, ValueError):
        raise Problem(400, "the query string is not percent-encoded UTF-8, or too long", code="bad_query") from None
    for name, _ in pairs:
        if name not in _PARAMETERS:
            advice = near(name, _PARAMETERS) or f"there are: {', '.join(_PARAMETERS)}"
            raise invalid(FieldProblem("/" + name[:64], "unknown_field", f"there is no such parameter; {advice}"))
    return dict(pairs)
