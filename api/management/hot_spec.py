"""The hot paths in the OpenAPI document: Flask does not answer them, so it does not know them."""

from __future__ import annotations

from typing import Any

import msgspec

from api.errors import FieldProblem
from api.hot.events import EventItem, EventsReply, EventsRequest
from api.management import decide_spec, lists_spec, ofrep_spec, segment_spec

_REF = "#/components/schemas/{name}"


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """What is wrong, as RFC 9457 writes it."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldProblem] = []


def with_hot_paths(spec: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document with ``/v1/decide``, ``/v1/events`` and the health addresses added."""
    structs = (EventItem, EventsRequest, EventsReply, ProblemDocument)
    _, components = msgspec.json.schema_components(structs, ref_template=_REF)
    # Items are checked one by one, so the batch's own model leaves them raw.
    components["EventsRequest"]["properties"]["events"]["items"] = _ref("EventItem")
    spec.setdefault("components", {}).setdefault("schemas", {}).update(
        {
            **components,
            **decide_spec.schemas(),
            **ofrep_spec.schemas(),
            **segment_spec.schemas(),
            **lists_spec.schemas(),
        }
    )
    spec["paths"] |= {
        **decide_spec.paths(),
        **ofrep_spec.paths(),
        "/v1/events": {
            "post": {
                "summary": "Report outcomes and exposures; answered when they are on disk.",
                "tags": ["Serving"],
                "requestBody": _body("EventsRequest"),
                "responses": {
                    "200": _answer("What was taken, and what is kept as dead letters", "EventsReply"),
                    **_problems(
                        {
                            "400": "Not JSON",
                            "413": "Too much at a time",
                            "422": "Not a batch of events",
                            "503": "Not logged; send it again after Retry-After seconds",
                        }
                    ),
                },
            }
        },
        **segment_spec.paths(),
        **lists_spec.paths(),
        "/livez": _health("Whether the process lives", {"200": "It does"}),
        "/readyz": _health("Whether this node can decide", {"200": "It can", "503": "It cannot; problems say why"}),
        "/version": _health("Which version runs", {"200": "Name and version"}),
    }
    spec["tags"] = [{"name": "Serving"}, *spec.get("tags", []), {"name": "Health"}]
    return spec


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _ref(name)}}}


def _answer(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(name)}}}


def _problems(meanings: dict[str, str]) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("ProblemDocument")}}
    return {status: {"description": meaning, "content": content} for status, meaning in meanings.items()}


def _health(summary: str, answers: dict[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    responses = {status: {"description": meaning, "content": content} for status, meaning in answers.items()}
    return {"get": {"summary": summary, "tags": ["Health"], "responses": responses}}
