"""Segment's HTTP API: ``/v1/batch``, ``/v1/track`` and their like, for client libraries and pipelines as they are.

Libraries drop what is answered 4xx and send again what is answered 5xx. So a bad message in a good batch is answered
200, named in ``rejected`` and kept as a dead letter; only what can never be read is 4xx; whatever may pass is 503. The
body is read by its bytes: some libraries send gzip and call it a form. The write key, also one in the body, is
stripped before anything is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from api.errors import Problem, field_problem, malformed, request_id_from
from api.hot.event_row import BadEventError, Rejected
from api.hot.http import Receive, Scope, Send, header, send_json
from api.hot.inflate import read_inflated
from api.hot.items import split_items
from api.hot.segment_map import Arrival, read_message, refused
from api.node.ingested import SeenKey, seen_key
from api.security.door import Caller, authenticate, closed
from experiments.log.rows import AliasRow, EventRow, TraitsRow

if TYPE_CHECKING:
    from api.node.state import Node

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Packed and unpacked; the largest batch that any of the libraries sends."""
MAX_MESSAGES = 5_000
SOURCE = "segment"
"""What rows carry as their source while the service is open: a write key that nobody checks names nobody."""

KINDS: dict[str, str | None] = {
    "/v1/batch": None,
    "/v1/import": None,
    "/v1/track": "track",
    "/v1/identify": "identify",
    "/v1/alias": "alias",
    "/v1/group": "group",
    "/v1/page": "page",
    "/v1/screen": "screen",
    "/v1/b": None,
    "/v1/t": "track",
    "/v1/i": "identify",
    "/v1/a": "alias",
    "/v1/g": "group",
    "/v1/p": "page",
    "/v1/s": "screen",
}
"""Address → what its messages are; ``None``: each message of the batch says so."""


class Batch(msgspec.Struct):
    """The outer document of a batch; fields that are not here are not looked at."""

    batch: list[msgspec.Raw]
    sentAt: Any = None  # noqa: N815 - as it is sent
    writeKey: Any = None  # noqa: N815


class Outer(msgspec.Struct):
    """The same of a single message."""

    writeKey: Any = None  # noqa: N815


class RejectedMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the caller is told of a message that became a dead letter."""

    index: int
    """Its place in the batch, from 0."""
    reason: str
    """One of ``DEAD_LETTER_REASONS``."""
    detail: str
    messageId: str | None = None  # noqa: N815


class Reply(msgspec.Struct, frozen=True):
    """The answer: what is now durable, and what is kept as dead letters."""

    success: bool
    accepted: int
    """Messages that are kept; those with ids that this node has seen lately are counted here too."""
    ignored: int
    """Messages that there is nothing to keep of: group, page, screen, traits that the project does not declare."""
    duplicates: int
    """Of the accepted ones, how many this node has seen lately under the same id; counted once in reports."""
    rejected: list[RejectedMessage]


_batches = msgspec.json.Decoder(Batch)
_outers = msgspec.json.Decoder(Outer)
_encode = msgspec.json.Encoder().encode


def parse(body: bytes, kind: str | None) -> tuple[list[msgspec.Raw], str | None, str | None]:
    """Return the messages of a body, when its sender says it was sent, and the write key in it.

    Raises:
        Problem: 400 for what is not JSON or no batch, 413 for too many messages.
    """
    try:
        if kind is not None:
            return [msgspec.Raw(body)], None, _text(_outers.decode(body).writeKey)
        batch = _read_batch(body)
    except msgspec.ValidationError as error:
        problem = field_problem(error)
        place = problem.pointer or "the body"
        raise Problem(400, f"this is not a batch of messages: {place}: {problem.message}", code="invalid") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error, body) from None
    if len(batch.batch) > MAX_MESSAGES:
        count = len(batch.batch)
        raise Problem(
            413, f"the batch has {count:,} messages; send at most {MAX_MESSAGES:,} at a time", code="too_many"
        )
    return batch.batch, _text(batch.sentAt), _text(batch.writeKey)


def _read_batch(body: bytes) -> Batch:
    try:
        return _batches.decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        apart = split_items(body, "batch")
        if apart is None:
            raise
        batch = _batches.decode(apart[1])
        return msgspec.structs.replace(batch, batch=[msgspec.Raw(item) for item in apart[0]])


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def read_messages(
    messages: list[msgspec.Raw], arrival: Arrival
) -> tuple[list[EventRow | TraitsRow | AliasRow], list[SeenKey], list[Rejected]]:
    """Check every message on its own: return the rows to keep, their natural keys, and what becomes a dead letter."""
    rows: list[EventRow | TraitsRow | AliasRow] = []
    keys: list[SeenKey] = []
    rejected: list[Rejected] = []
    for index, raw in enumerate(messages):
        try:
            row, message_id = read_message(raw, arrival)
        except BadEventError as error:
            rejected.append(refused(raw, index, error, arrival))
        else:
            if row is not None:
                rows.append(row)
                keys.append(seen_key(row, message_id))
    return rows, keys, rejected


async def answer(node: Node, _caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer once every row and every dead letter of the request is durable.

    Raises:
        Problem: 4xx for a body that can never be read or a key that does not work, 503 when the log cannot take it now.
    """
    body = None
    kind = KINDS[scope["path"]]
    if _has_key(scope) or not closed(node):
        # Before the body is read: who may not send need not be listened to.
        caller = authenticate(node, scope, "ingest")
        body = await read_inflated(scope, receive, limit=MAX_BODY_BYTES)
        messages, sent_at, _ = parse(body, kind)
    else:
        body = await read_inflated(scope, receive, limit=MAX_BODY_BYTES)
        messages, sent_at, write_key = parse(body, kind)
        headers = list(scope["headers"])
        if write_key and write_key.isascii():
            headers.append((b"x-api-key", write_key.encode()))
        caller = authenticate(node, {**scope, "headers": headers}, "ingest")
    arrival = Arrival(caller.source or SOURCE, node.now_us(), node.project, kind, sent_at)
    rows, keys, rejected = read_messages(messages, arrival)
    letters = [item.letter(arrival.source, arrival.received_at) for item in rejected]
    duplicates = await node.ingested.log(rows, keys, letters, caller.ack)
    ignored = len(messages) - len(rows) - len(rejected)
    node.counts["events_ignored"] += ignored
    told = [RejectedMessage(item.index, item.code, item.detail, item.message_id) for item in rejected]
    await send_json(send, _encode(Reply(True, len(rows), ignored, duplicates, told)))


def _has_key(scope: Scope) -> bool:
    return any(name in {b"authorization", b"x-api-key"} for name, _ in scope["headers"])


async def refuse(scope: Scope, send: Send, problem: Problem) -> None:
    """Send a problem as Segment's libraries read it: ``code`` and ``message``."""
    request_id = request_id_from(header(scope, b"x-request-id"))
    body = _encode({"success": False, "code": problem.code, "message": problem.detail, "request_id": request_id})
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-request-id": request_id,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        **problem.headers,
    }
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
