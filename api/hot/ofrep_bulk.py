"""OFREP, all flags: ``POST /ofrep/v1/evaluate/flags``, for apps that evaluate everything at start and keep it.

Every answer that enrols or holds out is a decision and is logged, all in one commit. An app shows few of the flags it
asks for, so reports of experiments served like this count those who were exposed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from api.hot.http import Receive, Scope, Send, header, read_body
from api.hot.ofrep import MAX_BODY_BYTES, Flag, evaluate, flag_of, guarded, hashed, read_context
from api.hot.ofrep_stream import event_streams
from api.node.answered import Answers
from experiments.log.rows import BULK_SOURCE

if TYPE_CHECKING:
    from api.node.state import Node
    from api.security.door import Caller

UNIT_TYPE = "member"
"""Which experiments are evaluated when the context does not say."""


class FlagSetMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """What holds of all flags of an answer."""

    version: str
    context_id: str
    flag_set_id: str
    stale: bool


class BulkReply(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a bulk evaluation."""

    flags: list[Flag]
    metadata: FlagSetMetadata
    event_streams: list[dict[str, Any]]


_encode = msgspec.json.Encoder().encode


@guarded
async def answer(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Evaluate every active experiment of the context's unit type, and answer once the decisions are durable.

    The ETag is that of the answer, not of the definitions: a client sends the old one too when the context's attributes
    have changed.

    Raises:
        Problem: 400 for a context that cannot be used, 503 for a failure of ours.
    """
    context = read_context(node, await read_body(scope, receive, limit=MAX_BODY_BYTES))
    unit_type = context.unit_type or UNIT_TYPE
    compiled = node.deciding.snapshot()
    stale, context_id = node.stale, hashed(unit_type, context.unit)
    answers = Answers(node.deciding.answered, BULK_SOURCE, None, caller.ack)
    # All are decided before any is remembered: one that fails leaves no answer that was never on its way to the disk.
    decided = [
        (plan, evaluate(node, compiled, key, plan, context))
        for key, plan in compiled.experiments.items()
        if plan.unit_type == unit_type and plan.closed is None
    ]
    flags = [flag_of(answers.add(decision), plan, context_id, stale=stale) for plan, decision in decided]
    if answers.waiting:
        await answers.durable()
    metadata = FlagSetMetadata(compiled.version, context_id, unit_type, stale)
    body = _encode(BulkReply(flags, metadata, event_streams(node.settings.public_url, compiled.version)))
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    same = matches(header(scope, b"if-none-match"), etag)
    headers = [
        (b"etag", etag.encode()),
        # To be kept by the client that asked, and asked again each time: never by a proxy.
        (b"cache-control", b"private, no-cache"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if not same:
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if same else body})


def matches(sent: str | None, etag: str) -> bool:
    """Return whether an If-None-Match header names an ETag.

    >>> matches('"a", W/"b"', '"b"'), matches("*", '"b"'), matches(None, '"b"')
    (True, True, False)
    """
    if sent is None:
        return False
    return any(text.strip().removeprefix("W/") in {etag, "*"} for text in sent.split(","))
