"""``GET`` and ``POST /v1/decide``: one member's variant, acknowledged when it is durable; flat JSON for campaign tools.

A campaign tool renders what it gets into a message that leaves now. So a failure of ours is answered like a success:
control, marked ``fallback``, and not logged. A caller that would rather not send says ``on_failure: error``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from allocation.hashing import UnitError, check_unit
from allocation.offers import Offer
from api import logs
from api.errors import FieldProblem, Problem, field_problem, malformed
from api.hot.begun import Begun
from api.hot.decide_query import request_document
from api.hot.http import Receive, Scope, Send, read_body, send_json
from api.hot.moments import microseconds
from api.node.answered import shared
from api.security.door import authenticate

if TYPE_CHECKING:
    from allocation.decision import Decision
    from api.node.state import Node
    from api.security.door import Caller

MAX_BODY_BYTES = 65_536
MAX_ATTRIBUTES = 200
OCCASION = re.compile(r"[A-Za-z0-9._-]{0,64}\Z")

Value = str | int | float | bool | list[str] | None

_log = logs.get("decide")


class DecideRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a campaign system asks."""

    experiment: str
    unit: str
    unit_type: str | None = None
    attributes: dict[str, Value] = {}
    """Only those the project declares as sent with requests; stored ones are known here."""
    occasion: str = ""
    """What the decision is for, such as a send id; empty means once per phase."""
    send_at: str | None = None
    """When the message is scheduled to leave: ISO 8601 with offset."""
    on_failure: Literal["control", "error"] = "control"
    """What a failure of this service is answered with: control, marked ``fallback``, or a 503."""


class DecideReply(msgspec.Struct, frozen=True, gc=False):
    """The answer, flat. ``variant`` is ``null`` when the unit is not in the experiment: treat it as no offer."""

    decision_id: str | None
    """What the decision is called in the log; repeat it on outcomes. ``null`` when nothing was logged."""
    experiment: str
    variant: str | None
    enrolled: bool
    reason: str
    offer: msgspec.Raw | None
    revision: int
    phase: int
    occasion: str
    holdout: str | None
    fallback: bool
    """Nothing was decided, because this service failed: the variant is control, and the unit does not count."""
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
        raise invalid(_named(field_problem(error, DecideRequest.__struct_fields__))) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error, body) from None
    return checked(request)


def parse_query(query: bytes, node: Node) -> DecideRequest:
    """Return the request that an address carries.

    Raises:
        Problem: 422 naming the parameter that is wrong.
    """
    document = request_document(query, DecideRequest.__struct_fields__, node.compiled)
    try:
        return checked(msgspec.convert(document, DecideRequest))
    except msgspec.ValidationError as error:
        raise invalid(_named(field_problem(error, DecideRequest.__struct_fields__))) from None


def checked(request: DecideRequest) -> DecideRequest:
    """Return a request whose fields hold what they may.

    Raises:
        Problem: 422 with a pointer.
    """
    try:
        check_unit(request.unit)
    except UnitError as error:
        raise invalid(FieldProblem("/unit", "bad_unit", str(error))) from None
    if not OCCASION.match(request.occasion):
        raise invalid(FieldProblem("/occasion", "bad_occasion", "use at most 64 of A-Z a-z 0-9 . _ -"))
    if len(request.attributes) > MAX_ATTRIBUTES:
        raise invalid(
            FieldProblem("/attributes", "too_many", f"{len(request.attributes)} sent; at most {MAX_ATTRIBUTES}")
        )
    return request


def send_at_us(text: str | None) -> int | None:
    """Return when a message is to leave, microseconds since 1970 UTC.

    Raises:
        Problem: 422 when it is no time.
    """
    if text is None:
        return None
    try:
        return microseconds(text)
    except ValueError as error:
        raise invalid(FieldProblem("/send_at", "bad_time", str(error))) from None


def invalid(problem: FieldProblem) -> Problem:
    """Return the 422 of one wrong field."""
    return Problem(422, "this cannot be decided", code="invalid", errors=[problem])


def _named(problem: FieldProblem) -> FieldProblem:
    if problem.pointer == "/unit" and problem.code == "wrong_type":
        return FieldProblem("/unit", "wrong_type", "unit id must be text; quote it")
    return problem


async def answer(node: Node, _caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Decide, log, and answer once the decision is durable. Authenticates by itself: see ``Route.own_door``.

    Raises:
        Problem: 4xx for a wrong request; 5xx only for a caller that asks for it, and for a key nobody can check now.
    """
    caller, failure = _enter(node, scope)
    body = b"" if scope["method"] == "GET" else await read_body(scope, receive, limit=MAX_BODY_BYTES)
    request = _request(node, scope, body)
    send_at = send_at_us(request.send_at)
    if caller is not None:
        try:
            begun = _begin(node, caller, request, send_at)
            if begun.wait is not None:
                await shared(begun.wait)
        except Problem as problem:
            if problem.status < 500:
                raise
            failure = problem
        except Exception as error:  # noqa: BLE001 - whatever it is, the message leaves now
            _log.error("decide_failed", error=type(error).__name__, exc_info=True)
            failure = Problem(503, "something failed on our side; the log has it", code="internal_failure")
        else:
            await send_json(send, begun.body)
            return
    assert failure is not None  # noqa: S101 - there is a caller, or the reason why there is none
    if request.on_failure == "error":
        failure.headers.setdefault("Retry-After", "1")
        raise failure
    answer = fallback(node, request)
    known = node.compiled is not None and request.experiment in node.compiled.experiments
    node.metrics.assigned[request.experiment if known else "", answer.variant, "fallback"] += 1
    await send_json(send, _encode(answer))


def begin(node: Node, caller: Caller, scope: Scope, body: bytes) -> Begun:
    """Decide and log; return the answer, and what it waits for.

    Raises:
        Problem: as `answer`; for a failure of ours too, which is not answered with control here.
    """
    request = _request(node, scope, body)
    return _begin(node, caller, request, send_at_us(request.send_at))


def _request(node: Node, scope: Scope, body: bytes) -> DecideRequest:
    return parse_query(scope["query_string"], node) if scope["method"] == "GET" else parse_request(body)


def _begin(node: Node, caller: Caller, request: DecideRequest, send_at: int | None) -> Begun:
    deciding = node.deciding
    decision, wait = deciding.write(deciding.decide(request), "decide", caller.ack, send_at)
    return Begun(_encode(reply(decision, stale=node.stale)), wait)


def _enter(node: Node, scope: Scope) -> tuple[Caller | None, Problem | None]:
    """Return who asks; or why nobody can be decided for, or checked, yet."""
    try:
        return authenticate(node, scope, "decide"), None
    except Problem as problem:
        if problem.code != "no_snapshot":
            raise
        return None, problem


def reply(decision: Decision, *, stale: bool) -> DecideReply:
    """Return the answer for a decision."""
    # By position: by name, a Struct of this many fields takes several times as long.
    return DecideReply(
        decision.decision_id,
        decision.experiment,
        decision.variant,
        decision.variant is not None,
        decision.reason,
        offer_json(decision.offer),
        decision.revision,
        decision.phase,
        decision.occasion,
        decision.holdout,
        False,
        stale,
        decision.state_unknown,
        decision.missing_attribute,
        decision.snapshot,
    )


def offer_json(offer: Mapping[str, Any] | None) -> msgspec.Raw | None:
    """Return an offer as JSON: that of a snapshot is written once, not for each answer."""
    if offer is None:
        return None
    return offer.json if isinstance(offer, Offer) else msgspec.Raw(_encode(offer))


def fallback(node: Node, request: DecideRequest) -> DecideReply:
    """Return the answer to a failure of ours: the control variant where the experiment is known; it does not count."""
    compiled = node.compiled
    plan = None if compiled is None else compiled.experiments.get(request.experiment)
    return DecideReply(
        decision_id=None,
        experiment=request.experiment,
        variant="control" if plan is None else plan.control.variant,
        enrolled=False,
        reason="fallback",
        offer=None if plan is None else offer_json(plan.control.offer),
        revision=0 if plan is None else plan.revision,
        phase=0 if plan is None else plan.phase.number,
        occasion=request.occasion,
        holdout=None,
        fallback=True,
        stale=node.stale,
        state_unknown=False,
        missing_attribute=None,
        snapshot="" if compiled is None else compiled.version,
    )
