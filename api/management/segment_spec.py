"""Segment's addresses in the OpenAPI document: what client libraries send, as `api.hot.segment` takes it."""

from __future__ import annotations

from typing import Any

import msgspec

from api.hot.segment import KINDS, Reply
from api.hot.segment_map import Message

_REF = "#/components/schemas/{name}"


class SegmentProblem(msgspec.Struct):
    """A failure as Segment's libraries read it."""

    success: bool
    code: str
    message: str
    request_id: str


def schemas() -> dict[str, Any]:
    """Return the components that `paths` refers to."""
    _, found = msgspec.json.schema_components((Message, Reply, SegmentProblem), ref_template=_REF)
    named = {"Message": "SegmentMessage", "Reply": "SegmentReply", "Context": "SegmentContext"}
    named |= {"RejectedMessage": "SegmentRejected"}
    text = msgspec.json.encode(found).decode()
    for old, new in named.items():
        text = text.replace(_REF.format(name=old) + '"', _REF.format(name=new) + '"')
    components: dict[str, Any] = msgspec.json.decode(text)
    return {named.get(name, name): schema for name, schema in components.items()}


def paths() -> dict[str, Any]:
    """Return the path items; the one-letter addresses are the same under shorter names and are left out."""
    return {path: {"post": _operation(kind)} for path, kind in KINDS.items() if len(path) > len("/v1/x")}


_SINGLE = {
    "track": "Take one event.",
    "identify": "Take stored attributes of one member.",
    "alias": "Link two ids: they are one unit from then on.",
    "group": "Take one group, and keep nothing of it.",
    "page": "Take one page view, and keep nothing of it.",
    "screen": "Take one screen view, and keep nothing of it.",
}


def _operation(kind: str | None) -> dict[str, Any]:
    message = {"anyOf": [{"$ref": _REF.format(name="SegmentMessage")}, {}]}
    # Messages are checked one by one: a bad one never fails the request, so anything may stand in a message's place.
    batch = {"type": "object", "required": ["batch"], "properties": {"batch": {"type": "array", "items": message}}}
    single = {"anyOf": [{"$ref": _REF.format(name="SegmentMessage")}, {"type": "object"}]}
    answers = {
        "400": "Not JSON, or not a batch: it can never be taken",
        "401": "No key, or one that does not work",
        "403": "The key may not send events",
        "408": "Half a body",
        "413": "Too much at a time",
        "415": "A Content-Encoding other than gzip",
        "503": "Not logged; send it again after Retry-After seconds",
    }
    failure = {"application/json": {"schema": {"$ref": _REF.format(name="SegmentProblem")}}}
    reply = {"application/json": {"schema": {"$ref": _REF.format(name="SegmentReply")}}}
    return {
        "summary": "Take a batch of messages as Segment's libraries send them." if kind is None else _SINGLE[kind],
        "description": "gzip is recognised by its first bytes. A key may also be sent as `writeKey` in the body.",
        "tags": ["Serving"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": single if kind else batch}}},
        "responses": {
            "200": {"description": "What was taken, and what is kept as dead letters", "content": reply},
            **{status: {"description": meaning, "content": failure} for status, meaning in answers.items()},
        },
    }
