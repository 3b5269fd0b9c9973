"""What OFREP 0.3.0 asks of answers, as JSON Schema of our own words; stricter where clients are."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

PLAIN = {"type": ["string", "number", "boolean"]}
METADATA = {"type": "object", "additionalProperties": PLAIN}
SUCCESS = {
    "type": "object",
    # Clients read value and variant without asking whether they are there.
    "required": ["key", "value", "reason", "variant", "metadata"],
    "properties": {
        "key": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"},
        "value": {"type": "object"},
        "reason": {"enum": ["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]},
        "variant": {"type": "string", "minLength": 1},
        "metadata": METADATA,
    },
    "not": {"required": ["errorCode"]},
}
BULK = {
    "type": "object",
    "required": ["flags"],
    "properties": {
        "flags": {"type": "array", "items": SUCCESS},
        "metadata": METADATA,
        "eventStreams": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "oneOf": [{"required": ["url"]}, {"required": ["endpoint"]}],
                "properties": {
                    "type": {"const": "sse"},
                    "url": {"type": "string", "pattern": "^https?://"},
                    "inactivityDelaySec": {"type": "integer", "minimum": 1},
                    "endpoint": {
                        "type": "object",
                        "required": ["requestUri"],
                        "properties": {"requestUri": {"type": "string", "pattern": "^/"}},
                    },
                },
            },
        },
    },
}
FAILURE = {
    "type": "object",
    "required": ["errorCode", "errorDetails"],
    "properties": {
        "key": {"type": "string"},
        "errorCode": {"enum": ["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "GENERAL", "FLAG_NOT_FOUND"]},
        "errorDetails": {"type": "string", "minLength": 10},
    },
}


def check(schema: dict[str, Any], document: object) -> None:
    """Raise when a document is not of a shape."""
    Draft202012Validator(schema).validate(document)
