"""Deciding in the OpenAPI document: one unit by POST or GET, and many at once."""

from __future__ import annotations

from typing import Any

import msgspec

from api.hot.batch_request import BatchRequest
from api.hot.decide import DecideReply, DecideRequest
from api.hot.decide_batch import MemberRefused, MemberReply

Schema = dict[str, Any]
_REF = "#/components/schemas/{name}"
_PROBLEMS = {
    "400": "Not JSON, or not percent-encoded",
    "401": "An API key is needed, or this one does not work",
    "403": "The API key lacks the scope",
    "404": "No such experiment is published",
    "408": "The body was not complete in time",
    "413": "Too much at a time",
    "422": "A wrong field",
    "503": "Not logged; ask again after Retry-After seconds",
}
_MEANINGS = {
    "experiment": "Key of the experiment.",
    "unit": "Whom it is about: 1 to 256 bytes, best a pseudonym.",
    "unit_type": "Only checked: it must be the experiment's.",
    "attributes": "Attributes sent with the request, as a JSON object.",
    "occasion": "What the decision is for, such as a send id.",
    "send_at": "When the message is scheduled to leave: ISO 8601 with offset.",
    "on_failure": "`control` answers 200 with control when we fail, `error` answers 503.",
}


def schemas() -> Schema:
    """Return the components that `paths` refers to."""
    structs = (DecideRequest, DecideReply, BatchRequest, MemberReply, MemberRefused)
    _, found = msgspec.json.schema_components(structs, schema_hook=_offer, ref_template=_REF)
    items = [{"$ref": _REF.format(name=kind.__name__)} for kind in (MemberReply, MemberRefused)]
    # msgspec has no schema for a union of two structs.
    found["BatchReply"] = {
        "type": "object",
        "description": "One item for each member, in the order they were sent.",
        "required": ["items", "refused"],
        "properties": {
            "items": {"type": "array", "items": {"anyOf": items}},
            "refused": {"type": "integer", "description": "How many of them are errors."},
        },
    }
    return found


def paths() -> Schema:
    """Return the path items."""
    fields = DecideRequest.__struct_fields__
    required = {field.name for field in msgspec.structs.fields(DecideRequest) if field.required}
    decided = {"200": _json("The answer; control with fallback: true where we failed", "DecideReply")}
    refused = {status: _problem(meaning) for status, meaning in _PROBLEMS.items()}
    parameters: list[Schema] = [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": _MEANINGS.get(name, name),
            "schema": {"type": "string"},
        }
        for name in fields
    ]
    get_refused = {status: answer for status, answer in refused.items() if status not in {"408", "413"}}
    units = {"type": "string", "description": "One member a line, as JSON; the rest in the query."}
    return {
        "/v1/decide": {
            "post": {
                "summary": "Decide which variant a unit gets; answered when the decision is on disk.",
                "operationId": "decide",
                "tags": ["Serving"],
                "requestBody": _body("DecideRequest", {"experiment": "winback", "unit": "member-1"}),
                "responses": {**decided, **refused},
            },
            "get": {
                "summary": "Decide by an address, for tools that only GET; no query string is in any log of ours.",
                "operationId": "decideByGet",
                "tags": ["Serving"],
                "parameters": parameters,
                "description": "Attributes one by one are `attr.NAME=value`.",
                "responses": {**decided, **get_refused},
            },
        },
        "/v1/decide/batch": {
            "post": {
                "summary": "Decide for up to 10,000 members; one item for each, in their order, one commit.",
                "operationId": "decideBatch",
                "tags": ["Serving"],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": _REF.format(name="BatchRequest")},
                            "examples": {"example": {"value": {"experiment": "winback", "units": ["m-1", "m-2"]}}},
                        },
                        "application/x-ndjson": {"schema": units},
                    },
                },
                "responses": {
                    "200": {
                        "description": "One item for each member; as lines where lines were sent",
                        "content": {
                            "application/json": {"schema": {"$ref": _REF.format(name="BatchReply")}},
                            "application/x-ndjson": {"schema": {"type": "string"}},
                        },
                    },
                    **refused,
                },
            }
        },
    }


def _offer(kind: type) -> Schema:
    if kind is msgspec.Raw:
        return {"type": ["object", "null"], "description": "The offer as it is defined."}
    raise NotImplementedError


def _json(description: str, name: str) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": _REF.format(name=name)}}},
    }


def _body(name: str, example: object) -> Schema:
    schema = {"$ref": _REF.format(name=name)}
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "examples": {"example": {"value": example}}}},
    }


def _problem(meaning: str) -> Schema:
    content = {"application/problem+json": {"schema": {"$ref": _REF.format(name="ProblemDocument")}}}
    return {"description": meaning, "content": content}
