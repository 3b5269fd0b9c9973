"""OFREP, one flag: ``POST /ofrep/v1/evaluate/flags/KEY``. A flag is an experiment, its value the offer.

Every field is always present, and ``value`` is always an object: providers read what is missing as an error, and then
give the code's default without a word. Who is not enrolled is shown control; ``metadata.enrolled`` tells the two apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from allocation.decide import decide
from allocation.decision import Decision
from allocation.hashing import UnitError, check_unit
from api import logs
from api.errors import Problem, malformed, request_id_from, unavailable
from api.hot.begun import Begun
from api.hot.decide import offer_json
from api.hot.http import ClientGone, Receive, Scope, Send, header, read_body, send_json
from api.node.answered import shared

if TYPE_CHECKING:
    from allocation.compiled import CompiledExperiment, CompiledSnapshot
    from api.node.state import Node
    from api.security.door import Caller

    Handler = Callable[[Node, Caller, Scope, Receive, Send], Awaitable[None]]

ROOT = "/ofrep/"
FLAGS = "/ofrep/v1/evaluate/flags"
MAX_BODY_BYTES = 65_536

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_NO_OFFER = msgspec.Raw(b"{}")
_NOT_RUNNING = frozenset({"not_running", "testing", "paused", "not_started", "ended"})
_CODES = {
    "parse_error": "PARSE_ERROR",
    "malformed_json": "PARSE_ERROR",
    "targeting_key_missing": "TARGETING_KEY_MISSING",
    "invalid_context": "INVALID_CONTEXT",
    "invalid": "INVALID_CONTEXT",
    "unknown_experiment": "FLAG_NOT_FOUND",
}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_log = logs.get("ofrep")


class Context(msgspec.Struct, frozen=True):
    """What an application says about who asks."""

    unit: str
    unit_type: str | None
    attributes: Mapping[str, Any]


class FlagMetadata(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """What a flag's answer says beside the value: text, numbers and truth values only. Never the unit."""

    version: str
    """Of the snapshot that decided."""
    experiment: str
    phase: int
    enrolled: bool
    """Whether the unit takes part and has the variant. Only then is showing it an exposure."""
    reason: str
    """Ours: one of the published reasons."""
    fallback: bool
    stale: bool
    context_id: str
    """A hash of the unit: without one, telemetry writes down the unit itself."""
    flag_set_id: str
    """The unit type: flags of one type are evaluated together."""
    decision_id: str | UnsetType = UNSET
    """What the decision is called in the log; repeat it on exposures and outcomes."""
    assignment_id: str | UnsetType = UNSET
    holdout: str | UnsetType = UNSET
    missing_attribute: str | UnsetType = UNSET


class Flag(msgspec.Struct, frozen=True, gc=False):
    """The answer for one flag."""

    key: str
    value: msgspec.Raw
    reason: str
    variant: str
    metadata: FlagMetadata


class Failure(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An error as OFREP writes it."""

    error_code: str
    error_details: str
    key: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET


def guarded(handler: Handler) -> Handler:
    """Return a handler whose unexpected errors become a problem, which is then written in OFREP's shape."""

    async def answer(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await handler(node, caller, scope, receive, send)
        except (Problem, ClientGone):
            raise
        except Exception as error:
            _log.error("ofrep_failed", error=type(error).__name__, exc_info=True)
            raise unavailable("something failed on our side; the log has it", code="internal_failure") from error

    return answer


@guarded
async def answer(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Evaluate one flag, log the decision, and answer once it is durable.

    Raises:
        Problem: 404 for an unknown key, 400 for a context that cannot be used, 503 for a failure of ours.
    """
    begun = begin(node, caller, scope, await read_body(scope, receive, limit=MAX_BODY_BYTES))
    if begun.wait is not None:
        await shared(begun.wait)
    await send_json(send, begun.body)


def begin(node: Node, caller: Caller, scope: Scope, body: bytes) -> Begun:
    """Evaluate one flag and log the decision; return the answer, and what it waits for.

    Raises:
        Problem: as `answer`.
    """
    context = read_context(node, body)
    key = scope["path"].removeprefix(FLAGS + "/")
    deciding = node.deciding
    compiled = deciding.snapshot()
    plan = deciding.plan(compiled, key, context.unit_type)
    decision, wait = deciding.write(evaluate(node, compiled, key, plan, context), "ofrep", caller.ack)
    context_id = hashed(decision.unit_type, context.unit)
    return Begun(_encode(flag_of(decision, plan, context_id, stale=node.stale)), wait)


@guarded
async def unknown(_node: Node, _caller: Caller, _scope: Scope, _receive: Receive, _send: Send) -> None:
    """Answer every other address below ``/ofrep/``.

    Raises:
        Problem: 404.
    """
    raise Problem(404, "OFREP has no such address; flags are evaluated at /ofrep/v1/evaluate/flags", code="no_route")


def read_context(node: Node, body: bytes) -> Context:
    """Return the evaluation context of a request.

    Raises:
        Problem: 400 with OFREP's code for what is wrong; never with a value of the context.
    """
    try:
        document = _decode(body)
    except msgspec.ValidationError:
        raise _bad("parse_error", 'the body is not an object; send {"context":{"targetingKey":…}}') from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _bad("parse_error", malformed(error, body).detail) from None
    context = document.get("context")
    if context is not None and not isinstance(context, dict):
        raise _bad("invalid_context", "context is not an object")
    unit = None if context is None else context.get("targetingKey")
    if context is None or unit is None or unit == "":
        raise _bad("targeting_key_missing", "context.targetingKey is missing; it is the id of the member that asks")
    try:
        check_unit(unit)
    except UnitError as error:
        raise _bad("invalid_context", f"context.targetingKey: {error}") from None
    node.deciding.check_personal(unit)
    unit_type = context.get("unitType", context.get("unit_type"))
    if unit_type is not None and not isinstance(unit_type, str):
        raise _bad("invalid_context", "context.unitType is not text")
    return Context(unit, unit_type, context)


def _bad(code: str, detail: str) -> Problem:
    return Problem(400, detail, code=code)


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "date": (str,),
    "list": (list,),
}


def declared(plan: CompiledExperiment, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an experiment reads of a context: declared request attributes with a value of their type.

    Applications put all they know into a context. What is not declared, or is of another type, is as good as not sent.
    """
    attributes = {}
    for name, attribute in plan.plan.attributes.items():
        value = context.get(name)
        if value is None or attribute.kept != "request" or not isinstance(value, _TYPES[attribute.type]):
            continue
        if isinstance(value, bool) and attribute.type != "boolean":
            continue
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            continue
        attributes[name] = value
    return attributes


def evaluate(
    node: Node, compiled: CompiledSnapshot, key: str, plan: CompiledExperiment | None, context: Context
) -> Decision:
    """Decide one flag; ``plan`` is ``None`` for an experiment that this node cannot decide."""
    return decide(
        compiled,
        key,
        context.unit,
        now=node.now_us(),
        attributes={} if plan is None else declared(plan, context.attributes),
        state=None if plan is None else node.deciding.state_for(plan, context.unit),
    )


def flag_of(decision: Decision, plan: CompiledExperiment | None, context_id: str, *, stale: bool) -> Flag:
    """Return a decision as OFREP's answer for one flag."""
    if decision.variant is not None:
        variant, offer = decision.variant, decision.offer
        reason = "TARGETING_MATCH" if decision.kind == "override" else "SPLIT"
    else:
        variant, offer = ("control", None) if plan is None else (plan.control.variant, plan.control.offer)
        reason = "DISABLED" if decision.reason in _NOT_RUNNING else "UNKNOWN"
    known = UNSET if decision.decision_id is None else decision.decision_id
    metadata = FlagMetadata(
        decision.snapshot,
        decision.experiment,
        decision.phase,
        decision.variant is not None,
        decision.reason,
        False,
        stale,
        context_id,
        decision.unit_type,
        known,
        known,
        UNSET if decision.holdout is None else decision.holdout,
        UNSET if decision.missing_attribute is None else decision.missing_attribute,
    )
    return Flag(decision.experiment, offer_json(offer) or _NO_OFFER, reason, variant, metadata)


def hashed(unit_type: str, unit: str) -> str:
    """Return what stands for a unit where the unit itself must not.

    >>> hashed("member", "m-1")
    '60ab51a19f8a8ebc'
    """
    return hashlib.sha256(_encode([unit_type, unit])).hexdigest()[:16]


async def refuse(scope: Scope, send: Send, problem: Problem) -> None:
    """Write a problem in OFREP's shape: ``errorCode``, ``errorDetails``, and the key where there is one."""
    status = 400 if problem.status == 422 else problem.status
    key = scope["path"].removeprefix(FLAGS + "/")
    details = [f"{error.pointer.lstrip('/')}: {error.message}" for error in problem.errors]
    failure = Failure(
        _CODES.get(problem.code, "GENERAL"),
        "; ".join(details) if status == 400 and details else problem.detail,
        key if _KEY.match(key) else "" if scope["path"].startswith(FLAGS + "/") else UNSET,
        request_id_from(header(scope, b"x-request-id")),
    )
    body = b"" if scope["method"] == "HEAD" else _encode(failure)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    for name, value in problem.headers.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
