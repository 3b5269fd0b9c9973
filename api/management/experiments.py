"""``/v1/experiments`` and ``/v1/definitions``: read, write and move experiments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel

from api.errors import FieldProblem, Problem
from api.management import documents
from api.management.documents import etag, respond, version_from
from api.services import Services
from experiments.definitions.errors import DefinitionError
from experiments.definitions.loader import Loaded, load_values
from experiments.definitions.reader import read_text
from experiments.keeping.heads import StaleVersionError, UnknownKeyError
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Change
from experiments.lifecycle.states import MOVES, STATES
from experiments.lifecycle.transition import TransitionError, transition
from experiments.publishing.publish import publish

ACTOR = "api"
MAX_PAGE = 500


class ExperimentOut(BaseModel):
    """One experiment, as GET returns it."""

    key: str
    state: str
    moves: list[str]
    revision: int
    version_id: int
    definition: dict[str, Any]
    phases: list[dict[str, Any]]
    created_at: str
    updated_at: str
    started_at: str | None
    ended_at: str | None
    decided_at: str | None


class ExperimentPage(BaseModel):
    """Some experiments, and where to go on."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class ChangesOut(BaseModel):
    """What applying documents did, one entry for each document."""

    changes: list[dict[str, Any]]


class TransitionIn(msgspec.Struct, forbid_unknown_fields=True):
    """A move to another state."""

    to: str
    reason: str | None = None


def create_blueprint(services: Services) -> APIBlueprint:  # noqa: C901 - one address after another
    """Return the routes.

    Args:
        services: the store's side of the node.
    """
    blueprint = APIBlueprint("experiments", __name__, url_prefix="/v1", tag="Experiments")

    @blueprint.get("/experiments")
    @blueprint.output(ExperimentPage)
    def list_experiments() -> Response:
        """List experiments by key. ``limit`` (at most 500) and ``cursor`` page through them."""
        limit = _limit(request.args.get("limit"))
        state = request.args.get("state")
        if state is not None and state not in STATES:
            raise Problem(400, f"state is one of {', '.join(STATES)}", code="bad_parameter")
        cursor = request.args.get("cursor", "")
        records = sorted(services.repository().experiments(), key=lambda record: record.key)
        found = [r for r in records if r.key > cursor and (state is None or r.state == state)]
        page = found[:limit]
        return respond(
            {
                "items": [_summary(record) for record in page],
                "next_cursor": page[-1].key if len(found) > limit else None,
            }
        )

    @blueprint.get("/experiments/<key>")
    @blueprint.output(ExperimentOut)
    def get_experiment(key: str) -> Response:
        """Return one experiment; the ETag is what a later PUT must name."""
        return _full(_experiment(services, key))

    @blueprint.put("/experiments/<key>")
    @blueprint.output(ExperimentOut)
    def put_experiment(key: str) -> Response:
        """Create an experiment, or change the one whose ETag is in ``If-Match``; ``kind`` and ``key`` may be absent."""
        loaded = _one_experiment(key)
        match = request.headers.get("If-Match")
        expected = None if match is None else version_from(match)
        repository = services.repository()
        if expected is None and _exists(services, key):
            raise Problem(
                428,
                "this experiment exists; send If-Match with the ETag that GET returned, so that no change is lost",
                code="precondition_required",
            )
        try:
            change = repository.apply([loaded], ACTOR, expected={("experiment", key): expected or 0})[0]
        except DefinitionError as error:
            raise documents.definition_problem(error) from None
        except StaleVersionError as error:
            raise Problem(412, str(error), code="stale_version") from None
        services.definitions_changed()
        return _full(
            _experiment(services, key), status=201 if change.action == "created" else 200, notes=list(change.notes)
        )

    @blueprint.post("/experiments/<key>/transitions")
    @blueprint.output(ExperimentOut)
    def post_transition(key: str) -> Response:
        """Move an experiment to its next state; ``If-Match`` is honoured when sent."""
        asked = documents.json_struct(TransitionIn)
        if asked.to not in STATES:
            message = f"unknown; use one of {', '.join(STATES)}"
            raise Problem(
                422, "the body does not fit", code="invalid", errors=[FieldProblem("/to", "unknown_state", message)]
            )
        match = request.headers.get("If-Match")
        version_id = None if match is None else version_from(match)
        _experiment(services, key)
        try:
            transition(services.store, key, asked.to, ACTOR, asked.reason, services.now_us(), version_id)
        except TransitionError as error:
            raise Problem(409, str(error), code="transition_refused") from None
        except StaleVersionError as error:
            raise Problem(412, str(error), code="stale_version") from None
        publish(services.patient_store, services.settings, services.now_us())
        services.definitions_changed()
        return _full(_experiment(services, key))

    @blueprint.post("/definitions")
    @blueprint.output(ChangesOut)
    def post_definitions() -> Response:
        """Create or change definitions of any kind, all or none: YAML (several with ``---``), JSON object or array."""
        loaded = documents.documents()
        try:
            changes = services.repository().apply(loaded, ACTOR)
        except DefinitionError as error:
            raise documents.definition_problem(error, numbered=len(loaded) > 1) from None
        if any(change.action != "unchanged" for change in changes):
            services.definitions_changed()
        return respond({"changes": [_change(change) for change in changes]})

    return blueprint


def _one_experiment(key: str) -> Loaded:
    """Return the body of a PUT as a definition under the key of the address."""
    try:
        if documents.is_yaml():
            read = read_text(documents.yaml_text(), "body.yaml")
        else:
            documents.json_value()
            read = read_text(request.get_data().decode(), "body.json")
        if len(read) != 1:
            raise Problem(422, f"one definition is expected here, not {len(read)}; use POST /v1/definitions")
        value = read[0].value
        if not isinstance(value, dict):
            message = "must be a mapping with the experiment's fields"
            raise Problem(
                422,
                "one thing is wrong; nothing was saved",
                code="invalid_definition",
                errors=[FieldProblem("", "invalid", message)],
            )
        value = {"kind": "experiment", "key": key, **value}
        wrong = [
            FieldProblem(f"/{name}", "invalid", f'must be "{expected}" here, or left out')
            for name, expected in (("kind", "experiment"), ("key", key))
            if value[name] != expected
        ]
        if wrong:
            raise Problem(
                422, "the address and the body disagree; nothing was saved", code="invalid_definition", errors=wrong
            )
        return load_values([value])[0]
    except DefinitionError as error:
        raise documents.definition_problem(error) from None


def _experiment(services: Services, key: str) -> ExperimentRecord:
    try:
        return services.repository().experiment(key)
    except UnknownKeyError as error:
        raise Problem(404, str(error), code="unknown_experiment") from None


def _exists(services: Services, key: str) -> bool:
    try:
        services.repository().experiment(key)
    except UnknownKeyError:
        return False
    return True


def _limit(text: str | None) -> int:
    if text is None:
        return 100
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_PAGE:
        raise Problem(400, f"limit is a whole number from 1 to {MAX_PAGE}", code="bad_parameter")
    return int(text)


def _iso(at_us: int | None) -> str | None:
    if at_us is None:
        return None
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _summary(record: ExperimentRecord) -> dict[str, object]:
    definition = record.definition
    return {
        "key": record.key,
        "name": definition.name,
        "state": record.state,
        "owner": definition.owner,
        "variants": [variant.key for variant in definition.variants],
        "revision": record.revision,
        "version_id": record.version_id,
        "started_at": _iso(record.started_at),
        "ended_at": _iso(record.ended_at),
        "updated_at": _iso(record.updated_at),
        "report": f"/v1/experiments/{record.key}/report",
    }


def _full(record: ExperimentRecord, *, status: int = 200, notes: list[str] | None = None) -> Response:
    document: dict[str, object] = {
        "key": record.key,
        "state": record.state,
        "moves": list(MOVES[record.state]),
        "revision": record.revision,
        "version_id": record.version_id,
        "definition": record.definition.model_dump(mode="json", exclude_defaults=True, exclude={"made"}),
        "phases": [
            {
                "phase": phase.number,
                "traffic": phase.traffic,
                "weights": dict(phase.weights),
                "opened": phase.carry,
                "opened_at": _iso(phase.opened_at),
                "closed_at": _iso(phase.closed_at),
            }
            for phase in record.phases
        ],
        "created_at": _iso(record.created_at),
        "updated_at": _iso(record.updated_at),
        "started_at": _iso(record.started_at),
        "ended_at": _iso(record.ended_at),
        "decided_at": _iso(record.decided_at),
    }
    if notes:
        document["notes"] = notes
    return respond(document, status, {"ETag": etag(record.version_id)})


def _change(change: Change) -> dict[str, object]:
    return {
        "kind": change.kind,
        "key": change.key,
        "action": change.action,
        "revision": change.revision,
        "version_id": change.version_id,
        "notes": list(change.notes),
    }
