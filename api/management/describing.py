"""What an address takes and answers, written beside the function that answers, for the OpenAPI document and hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_origin

from flask import request
from pydantic import BaseModel, ValidationError

from api.errors import Problem, near
from api.security.door import Need

View = TypeVar("View", bound=Callable[..., Any])
Q = TypeVar("Q", bound=BaseModel)


@dataclass(frozen=True)
class Unnamed:
    """A definition as a body whose address says its kind and key already."""

    model: type[BaseModel]


@dataclass(frozen=True)
class Description:
    """One address and method."""

    answers: Mapping[int, Any]
    """Status → model of the answer, or a mapping of content type → model or JSON schema."""
    query: type[BaseModel] | None = None
    body: Any = None
    """Model or JSON schema of the JSON body; a mapping of content type → either where there are several."""
    body_required: bool = True
    problems: Mapping[int, str] = field(default_factory=dict)
    """Status → when; those that every address can answer are added by the document."""
    if_match: Literal["required", "optional"] | None = None
    etag: bool = False
    idempotent: bool = False
    """Whether a repeat with the same ``Idempotency-Key`` gets the first answer again."""
    headers: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Status → header → what it says."""
    need: Need | None = None
    """Scope that is needed; by default ``report`` for GET and ``manage`` for everything else."""
    example: Any = None
    """Of the JSON body."""


def describe(description: Description) -> Callable[[View], View]:
    """Attach a description to a view."""

    def decorate(view: View) -> View:
        view.described = description  # type: ignore[attr-defined]
        return view

    return decorate


def described(view: object) -> Description | None:
    """Return a view's description."""
    found = getattr(view, "described", None)
    return found if isinstance(found, Description) else None


def query(model: type[Q]) -> Q:
    """Return the request's query parameters, checked.

    Raises:
        Problem: 400 naming the parameter.
    """
    known = list(model.model_fields)
    several = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    for name, values in request.args.lists():
        if name not in model.model_fields:
            advice = near(name, known) or f"there are: {', '.join(known)}"
            raise _bad(f"there is no such parameter here; {advice}", name)
        if len(values) > 1 and name not in several:
            raise _bad("is given twice; give it once", name)
        if any("\x00" in value for value in values):
            raise _bad("contains a NUL character; remove it", name)
    try:
        given = {name: values if name in several else values[0] for name, values in request.args.lists()}
        return model.model_validate(given)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(details["loc"][0])
        raise _bad(_words(model, name, details["msg"]), name) from None


def _words(model: type[BaseModel], name: str, message: str) -> str:
    """Return what a parameter must be."""
    schema = model.model_json_schema()["properties"][name]
    for part in (schema, *schema.get("anyOf", ())):
        if "enum" in part:
            words = [str(word) for word in part["enum"]]
            return f"is {' or '.join(words)}" if len(words) < 3 else f"is one of {', '.join(words)}"
        if part.get("type") == "integer" and "minimum" in part and "maximum" in part:
            return f"is a whole number from {part['minimum']} to {part['maximum']}"
    return message[:1].lower() + message[1:]


def _bad(message: str, name: str) -> Problem:
    shown = name if name.isascii() and name.isprintable() and len(name) <= 64 else "a parameter"
    return Problem(400, f"{shown} {message}", code="bad_parameter")
