"""``/v1/experiments``: what there is to see of an experiment beside its definition, and moving it on."""

from __future__ import annotations

from typing import Literal

import msgspec
from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel

from api.errors import FieldProblem, Problem
from api.management import documents
from api.management.calling import actor
from api.management.definitions import EXPERIMENT, DefinitionOut, Render, known_key, unknown
from api.management.describing import Description, describe, query
from api.management.documents import etag, respond, version_from
from api.management.paging import PageQuery, page
from api.management.times import iso
from api.services import Services
from experiments.definitions import Experiment
from experiments.keeping import contents
from experiments.keeping.heads import StaleVersionError, UnknownKeyError
from experiments.keeping.records import ExperimentRecord, Phase
from experiments.lifecycle.states import MOVES, STATES, State
from experiments.lifecycle.transition import TransitionError, transition
from experiments.publishing.publish import publish


class PhaseOut(BaseModel):
    """A period with one split."""

    phase: int
    traffic: str
    """Share of the audience that is enrolled, as exact decimal text."""
    weights: dict[str, int]
    opened: Literal["start", "keep", "reassign"]
    """What happened to those enrolled before."""
    opened_at: str
    closed_at: str | None


class PhasesOut(BaseModel):
    """All phases, the first one first."""

    items: list[PhaseOut]
    next_cursor: str | None


class ExperimentOut(DefinitionOut):
    """One experiment, with where it stands."""

    definition: Experiment  # type: ignore[assignment]
    state: State
    moves: list[State]
    """The states it can move to."""
    phases: list[PhaseOut]
    started_at: str | None
    ended_at: str | None
    decided_at: str | None


class ExperimentSummary(BaseModel):
    """One experiment in a list."""

    key: str
    name: dict[str, str]
    state: State
    owner: str | None
    variants: list[str]
    revision: int
    version_id: int
    started_at: str | None
    ended_at: str | None
    updated_at: str
    report: str
    """Address of its latest report."""


class ExperimentPage(BaseModel):
    """Some experiments, and where to go on."""

    items: list[ExperimentSummary]
    next_cursor: str | None


class ExperimentQuery(PageQuery):
    """Which experiments."""

    state: State | None = None


class TransitionIn(msgspec.Struct, forbid_unknown_fields=True):
    """A move to another state."""

    to: str
    reason: str | None = None


class TransitionBody(BaseModel, extra="forbid"):
    """A move to another state."""

    to: State
    reason: str | None = None
    """Why; needed for ``decided``."""


def shower(services: Services) -> Render:
    """Return how an experiment is answered with."""
    return lambda key, status, notes: _full(experiment_record(services, key), status=status, notes=notes)


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes.

    Args:
        services: the store's side of the node.
    """
    blueprint = APIBlueprint("experiments", __name__, url_prefix="/v1", tag="Experiments")

    @blueprint.get("/experiments")
    @describe(Description({200: ExperimentPage}, query=ExperimentQuery))
    def list_experiments() -> Response:
        """List experiments by key."""
        wanted = query(ExperimentQuery)
        asked = page(wanted, str)
        after = asked.after[0] if asked.after else ""
        records = sorted(services.repository().experiments(), key=lambda record: record.key)
        found = [r for r in records if r.key > after and (wanted.state is None or r.state == wanted.state)]
        return respond(asked.document(found, _summary, lambda record: [record.key]))

    @blueprint.get("/experiments/<key>")
    @describe(Description({200: ExperimentOut}, etag=True))
    def get_experiment(key: str) -> Response:
        """Return one experiment; the ETag is what a later PUT must name."""
        return _full(experiment_record(services, key))

    @blueprint.get("/experiments/<key>/phases")
    @describe(Description({200: PhasesOut}))
    def get_phases(key: str) -> Response:
        """Return the phases of an experiment: the periods with one split, by which its members are counted."""
        record = experiment_record(services, key)
        return respond({"items": [_phase(phase) for phase in record.phases], "next_cursor": None})

    @blueprint.post("/experiments/<key>/transitions")
    @describe(
        Description(
            {200: ExperimentOut},
            body=TransitionBody,
            if_match="optional",
            etag=True,
            idempotent=True,
            problems={409: "It cannot move there from where it is; detail says where it can"},
            example={"to": "review"},
        )
    )
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
        experiment_record(services, key)
        try:
            transition(services.store, key, asked.to, actor(), asked.reason, services.now_us(), version_id)
        except TransitionError as error:
            raise Problem(409, str(error), code="transition_refused") from None
        except StaleVersionError as error:
            raise Problem(412, str(error), code="stale_version") from None
        publish(services.patient_store, services.settings, services.now_us())
        services.definitions_changed()
        return _full(experiment_record(services, key))

    return blueprint


def experiment_record(services: Services, key: str) -> ExperimentRecord:
    """Return an experiment.

    Raises:
        Problem: 404 when there is none of this key.
    """
    try:
        return services.repository().experiment(known_key(EXPERIMENT, key))
    except UnknownKeyError as error:
        raise unknown(EXPERIMENT, error) from None


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
        "started_at": iso(record.started_at),
        "ended_at": iso(record.ended_at),
        "updated_at": iso(record.updated_at),
        "report": f"/v1/experiments/{record.key}/report",
    }


def _full(record: ExperimentRecord, *, status: int = 200, notes: list[str] | None = None) -> Response:
    document: dict[str, object] = {
        "kind": "experiment",
        "key": record.key,
        "state": record.state,
        "moves": list(MOVES[record.state]),
        "revision": record.revision,
        "version_id": record.version_id,
        "definition": contents.short(record.definition),
        "phases": [_phase(phase) for phase in record.phases],
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
        "started_at": iso(record.started_at),
        "ended_at": iso(record.ended_at),
        "decided_at": iso(record.decided_at),
    }
    if notes:
        document["notes"] = notes
    return respond(document, status, {"ETag": etag(record.version_id)})


def _phase(phase: Phase) -> dict[str, object]:
    return {
        "phase": phase.number,
        "traffic": phase.traffic,
        "weights": dict(phase.weights),
        "opened": phase.carry,
        "opened_at": iso(phase.opened_at),
        "closed_at": iso(phase.closed_at),
    }
