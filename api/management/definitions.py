"""Definitions of every kind: lists, one with its ETag, PUT with ``If-Match``, revisions. One mechanism for all kinds.

Experiments have more to show than their definition; `api.management.experiments` lists and shows them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, create_model

from api.errors import Problem
from api.management import documents
from api.management.calling import actor
from api.management.describing import Description, Unnamed, describe, query
from api.management.documents import etag, respond, version_from
from api.management.paging import PageQuery, page
from api.management.segment_sizes import SegmentSize, sizes
from api.management.times import iso
from api.services import Services
from experiments.definitions import Definition
from experiments.definitions.base import KEY
from experiments.definitions.errors import DefinitionError
from experiments.definitions.loader import KINDS
from experiments.definitions.project import PROJECT_KEY
from experiments.keeping import contents, history
from experiments.keeping.heads import Head, StaleVersionError, UnknownKeyError
from experiments.keeping.history import Revision
from experiments.keeping.repository import Change

_KEY = re.compile(KEY.removeprefix("^").removesuffix("$"))
_FOR_EVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class Kind:
    """A kind of definition, and where it is found."""

    name: str
    """As documents say it: ``kind: offer``."""
    path: str
    plural: str
    tag: str

    @property
    def model(self) -> type[Definition]:
        """What people write."""
        return KINDS[self.name]

    @property
    def single(self) -> bool:
        """Whether there is exactly one, so that its address has no key."""
        return self.name == "project"

    @property
    def address(self) -> str:
        """The path of one, after ``/v1``."""
        return f"/{self.path}" if self.single else f"/{self.path}/<key>"


EXPERIMENT = Kind("experiment", "experiments", "experiments", "Experiments")
KINDS_SERVED = (
    EXPERIMENT,
    Kind("offer", "offers", "offers", "Offers"),
    Kind("metric", "metrics", "metrics", "Metrics"),
    Kind("layer", "layers", "layers", "Layers"),
    Kind("holdout", "holdouts", "holdouts", "Holdouts"),
    Kind("segment", "segments", "segments", "Segments"),
    Kind("stage_rule", "stage-rules", "stage rules", "Stage rules"),
    Kind("project", "project", "project", "Project"),
)


class DefinitionOut(BaseModel):
    """A definition as it is now."""

    kind: str
    key: str
    revision: int
    version_id: int
    """What the ETag holds: grows with each change."""
    definition: dict[str, Any]
    """As in docs/definitions.md; what is left out has its default."""
    created_at: str
    updated_at: str
    notes: list[str] = []
    """After a change: what followed from it."""


class RevisionSummary(BaseModel):
    """One revision: who made it, and when."""

    revision: int
    created_at: str
    created_by: str
    content_hash: str


class RevisionPage(BaseModel):
    """Revisions, the newest first."""

    items: list[RevisionSummary]
    next_cursor: str | None


class RevisionOut(RevisionSummary):
    """One revision in full. It never changes."""

    kind: str
    key: str
    definition: dict[str, Any]
    """Everything the revision says, defaults of its time written out."""


class ChangeOut(BaseModel):
    """What applying one document did."""

    kind: str
    key: str
    action: Literal["created", "revised", "unchanged"]
    revision: int
    version_id: int
    notes: list[str]


class ChangesOut(BaseModel):
    """What applying documents did, one entry for each document."""

    changes: list[ChangeOut]


Render = Callable[[str, int, list[str]], Response]
"""(key, status, notes) → the definition as it is now."""


def create_blueprint(services: Services, show_experiment: Render) -> APIBlueprint:
    """Return the routes of every kind.

    Args:
        services: the store's side of the node.
        show_experiment: answers with an experiment, which has more to show than its definition.
    """
    blueprint = APIBlueprint("definitions", __name__, url_prefix="/v1")
    for kind in KINDS_SERVED:
        if kind is not EXPERIMENT:
            _add_reading(blueprint, services, kind)
        _add_writing(blueprint, services, kind, show_experiment if kind is EXPERIMENT else _shower(services, kind))
        _add_revisions(blueprint, services, kind)
    _add_documents(blueprint, services)
    return blueprint


def known_key(kind: Kind, key: str) -> str:
    """Return a key that a definition can have.

    Raises:
        Problem: 404 for any other, which nothing can be defined under.
    """
    if not _KEY.fullmatch(key):
        shown = json.dumps(key[:64], ensure_ascii=False)
        raise Problem(404, f"{kind.name.replace('_', ' ')} {shown} is not defined; keys have a-z 0-9 _ - only")
    return key


def unknown(kind: Kind, error: UnknownKeyError) -> Problem:
    """Return the 404 for a key under which nothing is defined."""
    return Problem(404, str(error), code=f"unknown_{kind.name}")


def one_model(kind: Kind) -> type[BaseModel]:
    """Return the model of an answer with one definition of a kind."""
    name = "".join(word.capitalize() for word in kind.name.split("_"))
    made: type[BaseModel] = create_model(
        f"{name}DefinitionOut",
        __base__=DefinitionOut,
        definition=(kind.model, ...),
        __doc__=f"One of the {kind.plural}.",
    )
    return made


def _shower(services: Services, kind: Kind) -> Render:
    def show(key: str, status: int, notes: list[str]) -> Response:
        try:
            head = history.head(services.store, kind.name, key)
        except UnknownKeyError as error:
            raise unknown(kind, error) from None
        document = _document(kind, key, head)
        if notes:
            document["notes"] = notes
        return respond(document, status, {"ETag": etag(head.version_id)})

    return show


def _document(kind: Kind, key: str, head: Head) -> dict[str, object]:
    return {
        "kind": kind.name,
        "key": key,
        "revision": head.revision,
        "version_id": head.version_id,
        "definition": contents.short(head.definition),
        "created_at": iso(head.created_at),
        "updated_at": iso(head.updated_at),
    }


def _add_reading(blueprint: APIBlueprint, services: Services, kind: Kind) -> None:
    show = _shower(services, kind)
    one = one_model(kind)

    def get_one(key: str = PROJECT_KEY) -> Response:
        return show(known_key(kind, key), 200, [])

    get_one.__doc__ = f"Return {_one(kind)}; the ETag is what a later PUT must name."
    _register(blueprint, "GET", kind.address, f"get_{kind.name}", get_one, kind, Description({200: one}, etag=True))
    if kind.single:
        return
    name = one.__name__.removesuffix("DefinitionOut")
    listed = (
        one if kind.name != "segment" else create_model("SegmentListed", __base__=one, size=(SegmentSize | None, ...))
    )
    items: Any = list[listed]  # type: ignore[valid-type]
    many = create_model(
        f"{name}Page", items=(items, ...), next_cursor=(str | None, ...), __doc__=f"Some {kind.plural}."
    )

    def get_list() -> Response:
        asked = page(query(PageQuery), str)
        after = asked.after[0] if asked.after else None
        found = history.heads_page(services.store, kind.name, after, asked.limit + 1)
        sized = sizes(services) if kind.name == "segment" else lambda _: {}
        shown = asked.document(found, lambda item: _document(kind, *item) | sized(item[0]), lambda item: item[:1])
        return respond(shown)

    get_list.__doc__ = f"List {kind.plural} by key."
    described = Description({200: many}, query=PageQuery)
    _register(blueprint, "GET", f"/{kind.path}", f"list_{kind.name}s", get_list, kind, described)


def _add_writing(blueprint: APIBlueprint, services: Services, kind: Kind, show: Render) -> None:
    def put_one(key: str = PROJECT_KEY) -> Response:
        loaded = documents.one_definition(kind.name, None if kind.single else key)
        expected = _expected(services, kind, key)
        try:
            change = services.repository().apply([loaded], actor(), expected={(kind.name, key): expected})[0]
        except DefinitionError as error:
            raise documents.definition_problem(error) from None
        except StaleVersionError as error:
            raise Problem(412, str(error), code="stale_version") from None
        if change.action != "unchanged" or change.notes:
            services.definitions_changed()
        return show(key, 201 if change.action == "created" else 200, list(change.notes))

    also = "" if kind.single else "; ``kind`` and ``key`` may be absent from the body"
    put_one.__doc__ = f"Create {_one(kind)}, or change the one whose ETag is in ``If-Match``{also}."
    model = one_model(kind)
    described = Description(
        {200: model, 201: model},
        body={"application/json": Unnamed(kind.model), "application/yaml": {"type": "string"}},
        if_match="required",
        etag=True,
        problems={404: "If-Match names a version of what does not exist"},
    )
    _register(blueprint, "PUT", kind.address, f"put_{kind.name}", put_one, kind, described)


def _expected(services: Services, kind: Kind, key: str) -> int:
    """Return the version that the caller read; 0 when it must not exist yet."""
    match, none = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if match is not None:
        return version_from(match)
    if none is not None and none.strip() != "*":
        raise Problem(400, "If-None-Match takes * here: create it only where it does not exist", code="bad_header")
    if none is None and _KEY.fullmatch(key) and history.exists(services.store, kind.name, key):
        raise Problem(
            428,
            f"this {kind.name.replace('_', ' ')} exists; send If-Match with the ETag that GET returned, so that no "
            "change is lost",
            code="precondition_required",
        )
    return 0


def _add_revisions(blueprint: APIBlueprint, services: Services, kind: Kind) -> None:
    def get_revisions(key: str = PROJECT_KEY) -> Response:
        asked = page(query(PageQuery), int)
        before = asked.after[0] if asked.after else None
        try:
            found = history.revisions_page(services.store, kind.name, known_key(kind, key), before, asked.limit + 1)
        except UnknownKeyError as error:
            raise unknown(kind, error) from None
        return respond(asked.document(found, _revision, lambda revision: [revision.revision]))

    def get_revision(number: int, key: str = PROJECT_KEY) -> Response:
        if number >= 2**63:
            raise Problem(404, "there is no revision of so high a number", code=f"unknown_{kind.name}")
        try:
            found = history.revision(services.store, kind.name, known_key(kind, key), number)
        except UnknownKeyError as error:
            raise unknown(kind, error) from None
        document = {"kind": kind.name, "key": key, **_revision(found), "definition": json.loads(found.content)}
        answer = respond(document, 200, {"ETag": f'"{found.content_hash}"', "Cache-Control": _FOR_EVER})
        answer.make_conditional(request)
        return answer

    get_revisions.__doc__ = f"List the revisions of {_one(kind)}, the newest first."
    get_revision.__doc__ = f"Return one revision of {_one(kind)}: it never changes."
    listed = Description({200: RevisionPage}, query=PageQuery, problems={404: "Not defined"})
    _register(blueprint, "GET", f"{kind.address}/revisions", f"list_{kind.name}_revisions", get_revisions, kind, listed)
    shown = Description({200: RevisionOut}, etag=True, problems={404: "Not defined"})
    address = f"{kind.address}/revisions/<int:number>"
    _register(blueprint, "GET", address, f"get_{kind.name}_revision", get_revision, kind, shown)


def _revision(revision: Revision) -> dict[str, object]:
    return {
        "revision": revision.revision,
        "created_at": iso(revision.created_at),
        "created_by": revision.created_by,
        "content_hash": revision.content_hash,
    }


def _add_documents(blueprint: APIBlueprint, services: Services) -> None:
    @blueprint.post("/definitions")
    @blueprint.doc(tags=["Definitions"])
    @describe(
        Description(
            {200: ChangesOut},
            body={
                "application/json": {
                    "anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}]
                },
                "application/yaml": {"type": "string"},
            },
            idempotent=True,
            example={"kind": "layer", "key": "mails"},
        )
    )
    def post_definitions() -> Response:
        """Create or change definitions of any kind, all or none: YAML (several with ``---``), JSON object or array."""
        loaded = documents.documents()
        try:
            changes = services.repository().apply(loaded, actor())
        except DefinitionError as error:
            raise documents.definition_problem(error, numbered=len(loaded) > 1) from None
        if any(change.action != "unchanged" for change in changes):
            services.definitions_changed()
        return respond({"changes": [_change(change) for change in changes]})


def _change(change: Change) -> dict[str, object]:
    return {
        "kind": change.kind,
        "key": change.key,
        "action": change.action,
        "revision": change.revision,
        "version_id": change.version_id,
        "notes": list(change.notes),
    }


def _register(
    blueprint: APIBlueprint,
    method: str,
    rule: str,
    endpoint: str,
    view: Callable[..., Response],
    kind: Kind,
    description: Description,
) -> None:
    view.__name__ = endpoint
    registered = blueprint.doc(tags=[kind.tag])(describe(description)(view))
    blueprint.add_url_rule(rule, endpoint, registered, methods=[method])


def _one(kind: Kind) -> str:
    if kind.single:
        return "the project"
    return f"{'an' if kind.name[0] in 'aeiou' else 'a'} {kind.name.replace('_', ' ')}"
