"""OFREP's addresses in the OpenAPI document, as OpenFeature's protocol 0.3 has them, with its own shape of errors."""

from __future__ import annotations

from typing import Any

import msgspec

from api.hot.ofrep import FLAGS, Failure, Flag
from api.hot.ofrep_bulk import BulkReply
from api.hot.ofrep_stream import STREAM

Schema = dict[str, Any]
_REF = "#/components/schemas/{name}"
_NAMES = {"Flag": "OfrepFlag", "Failure": "OfrepFailure", "FlagMetadata": "OfrepMetadata", "BulkReply": "OfrepFlags"}
_FAILURES = {
    "400": "The body or its context cannot be used; errorCode says how",
    "401": "An API key is needed, or this one does not work",
    "403": "The API key lacks the scope",
    "408": "The body was not complete in time",
    "413": "The body is too large",
    "503": "Not logged, or nothing is published yet; ask again after Retry-After seconds",
}


def schemas() -> Schema:
    """Return the components that `paths` refers to."""
    structs = (Flag, Failure, BulkReply)
    _, found = msgspec.json.schema_components(structs, schema_hook=_value, ref_template=_REF)
    renamed = {name: _NAMES.get(name, f"Ofrep{name}") for name in found}
    text = msgspec.json.encode(found).decode()
    for old, new in renamed.items():
        text = text.replace(f'"{_REF.format(name=old)}"', f'"{_REF.format(name=new)}"')
    components: Schema = {renamed[name]: schema for name, schema in msgspec.json.decode(text).items()}
    components["OfrepRequest"] = {
        "type": "object",
        "required": ["context"],
        "properties": {
            "context": {
                "type": "object",
                "required": ["targetingKey"],
                "properties": {"targetingKey": {"type": "string", "minLength": 1, "description": "The unit."}},
                "description": "Whom it is about, and attributes that are sent with requests.",
            }
        },
    }
    return components


def paths() -> Schema:
    """Return the path items."""
    failures = {status: _answer(meaning, "OfrepFailure") for status, meaning in _FAILURES.items()}
    key = {
        "name": "key",
        "in": "path",
        "required": True,
        "description": "Key of the experiment.",
        "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$", "examples": ["winback"]},
    }
    etag = {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}
    return {
        FLAGS + "/{key}": {
            "post": {
                "summary": "Evaluate one flag: an experiment, whose value is the offer.",
                "operationId": "evaluateFlag",
                "tags": ["OpenFeature"],
                "parameters": [key],
                "requestBody": _body(),
                "responses": {
                    "200": _answer("The value, the variant and why", "OfrepFlag"),
                    "404": _answer("No experiment of this key is published", "OfrepFailure"),
                    **failures,
                },
            }
        },
        FLAGS: {
            "post": {
                "summary": "Evaluate all flags of a unit, for apps that do so when they start.",
                "operationId": "evaluateFlags",
                "tags": ["OpenFeature"],
                "parameters": [etag],
                "requestBody": _body(),
                "responses": {
                    "200": _answer("Every flag, and where to hear of changes", "OfrepFlags"),
                    "304": {"description": "It is what If-None-Match names"},
                    **failures,
                },
            }
        },
        STREAM: {
            "get": {
                "summary": "Hear of changes: server-sent events that say to evaluate again.",
                "operationId": "flagChanges",
                "tags": ["OpenFeature"],
                "responses": {
                    "200": {
                        "description": "A stream without end",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    },
                    "503": failures["503"],
                },
            }
        },
    }


def _value(kind: type) -> Schema:
    if kind is msgspec.Raw:
        return {"type": "object", "description": "The offer as it is defined; empty where nothing is given."}
    raise NotImplementedError


def _body() -> Schema:
    example = {"context": {"targetingKey": "member-1"}}
    schema = {"$ref": _REF.format(name="OfrepRequest")}
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "examples": {"example": {"value": example}}}},
    }


def _answer(description: str, name: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": _REF.format(name=name)}}}
    return {"description": description, "content": content}
