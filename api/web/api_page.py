"""``/docs/api``: the HTTP interface to read and to try, from the OpenAPI document of this very service.

The viewer is Swagger UI, served by us; without its files, or without scripts, the page is a plain list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, make_response

from api.web.pages import render
from api.web.standing import API_PAGE, asked_language, page_of, remember_choices
from api.web.views import Account, Site

NAME = "api_pages"
DOCUMENT = "/v1/openapi.json"
BUNDLE, STYLE = "vendor/swagger-ui-bundle.js", "vendor/swagger-ui.css"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'"
)
"""Swagger UI draws its icons from data addresses; it needs neither styles in the page nor evaluated text."""


@dataclass(frozen=True)
class Operation:
    """One line of the plain list."""

    method: str
    path: str
    summary: str


@dataclass(frozen=True)
class Group:
    """The lines of one tag."""

    name: str
    operations: tuple[Operation, ...]


def create_blueprint(
    spec: Callable[[], dict[str, Any]], site: Callable[[], Site], account: Callable[[], Account]
) -> Blueprint:
    """Return the page.

    Args:
        spec: returns the OpenAPI document.
        site: the deployment that the page belongs to.
        account: who looks at it.
    """
    blueprint = Blueprint(NAME, __name__)

    @blueprint.get(API_PAGE)
    def api() -> Response:
        page = page_of(site(), account())
        values = {
            "groups": groups(spec()),
            "document": DOCUMENT,
            "bundle": BUNDLE,
            "style": STYLE,
            "section": "api",
            "standalone": False,
        }
        answer = make_response(render("api.html", asked_language(), page, **values))
        answer.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        answer.headers["Cache-Control"] = "private, no-cache"
        remember_choices(answer)
        return answer

    return blueprint


def groups(spec: dict[str, Any]) -> list[Group]:
    """Return every operation of a document under its first tag, in the document's order.

    >>> groups({"paths": {"/livez": {"get": {"summary": "Alive?", "tags": ["Health"]}}}})
    [Group(name='Health', operations=(Operation(method='GET', path='/livez', summary='Alive?'),))]
    """
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in spec.get("tags", ())}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if isinstance(operation, dict):
                tag = (operation.get("tags") or ["Other"])[0]
                line = Operation(method.upper(), path, operation.get("summary", ""))
                found.setdefault(tag, []).append(line)
    return [Group(name, tuple(lines)) for name, lines in found.items() if lines]
