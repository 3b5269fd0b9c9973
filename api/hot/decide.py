"""``POST /v1/decide``: one member's variant, acknowledged when it is on disk; flat JSON for campaign tools."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from allocation.hashing import UnitError, check_unit
from api.errors import FieldProblem, Problem, field_problem, malformed
from api.hot.http import Receive, Scope, Send, read_body, send_json

if TYPE_CHECKING:
    from api.security import Caller
    from api.state import Node

MAX_BODY_BYTES = 65_536
MAX_ATTRIBUTES = 200
_OCCASION = re.compile(r"[A-Za-z0-9._-]{0,64}\Z")

Value = str | int | float | bool | list[str] | None


class DecideRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a campaign system asks."""

    experiment: str
    unit: str
    unit_type: str | None = None
    attributes: dict[str, Value] = {}
    """Only those the project declares as sent with requests; stored ones are known here."""
    occasion: str = ""
    """What the decision is for, such as a send id; empty means once per phase."""


class DecideReply(msgspec.Struct, frozen=True, gc=False):
    """The answer, flat. ``variant`` is ``null`` when the unit is not in the experiment: treat it as no offer."""

    decision_id: str | None
    """What the decision is called in the log; repeat it on outcomes. ``null`` when nothing was logged."""
    experiment: str
    variant: str | None
    enrolled: bool
    reason: str
    offer: dict[str, Any] | None
    revision: int
    phase: int
    occasion: str
    holdout: str | None
    stale: bool
    """The database was away when this was answered; the last good snapshot decided."""
    state_unknown: bool
    """What is stored about the unit could not be read; it was decided without."""
    missing_attribute: str | None
    snapshot: str


_requests = msgspec.json.Decoder(DecideRequest)
_encode = msgspec.json.Encoder().encode


def parse_request(body: bytes) -> DecideRequest:
    """Return the request.

    Raises:
        Problem: 400 for what is not JSON, 422 with a pointer for a wrong field.
    """
    try:
        request = _requests.decode(body)
    except msgspec.ValidationError as error:
        problem = field_problem(error, DecideRequest.__struct_fields__)
        if problem.pointer == "/unit" and problem.code == "wrong_type":
            problem = FieldProblem("/unit", "wrong_type", "unit id must be text; quote it")
        raise _invalid(problem) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error, body) from None
    try:
        check_unit(request.unit)
    except UnitError as error:
        raise _invalid(FieldProblem("/unit", "bad_unit", str(error))) from None
    if not _OCCASION.match(request.occasion):
        raise _invalid(FieldProblem("/occasion", "bad_occasion", "use at most 64 of A-Z a-z 0-9 . _ -"))
    if len(request.attributes) > MAX_ATTRIBUTES:
        raise _invalid(
            FieldProblem("/attributes", "too_many", f"{len(request.attributes)} sent; at most {MAX_ATTRIBUTES}")
        )
    return request


def _invalid(problem: FieldProblem) -> Problem:
    return Problem(422, "this cannot be decided", code="invalid", errors=[problem])


async def answer(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Decide, log, and answer once the decision is on disk.

    Raises:
        Problem: 4xx for a wrong request, 503 when nothing is published yet or the log cannot take the decision now.
    """
    request = parse_request(await read_body(scope, receive, limit=MAX_BODY_BYTES))
    decision = await node.deciding.decide(request)
    await send_json(
        send,
        _encode(
            DecideReply(
                decision_id=decision.decision_id,
                experiment=decision.experiment,
                variant=decision.variant,
                enrolled=decision.variant is not None,
                reason=decision.reason,
                offer=decision.offer,
                revision=decision.revision,
                phase=decision.phase,
                occasion=decision.occasion,
                holdout=decision.holdout,
                stale=node.stale,
                state_unknown=decision.state_unknown,
                missing_attribute=decision.missing_attribute,
                snapshot=decision.snapshot,
            )
        ),
    )
