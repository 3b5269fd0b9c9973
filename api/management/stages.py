"""``/v1/stages``: how many members are in which lifecycle stage, who moves, and computing it anew."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from api.errors import FieldProblem, Problem
from api.management.calling import actor
from api.management.describing import Description, describe, query
from api.management.documents import json_model, respond
from api.services import Services
from experiments.definitions.base import Instant, instant_us
from experiments.errors import InputError
from experiments.keeping.heads import UnknownKeyError
from experiments.measure.days import moment_text
from experiments.stages import runs
from experiments.stages.asking import ask_now
from experiments.stages.document import StagesDocument
from experiments.stages.showing import WEEKS, computed_rule, rules_of, stages_document

MOST_WEEKS = 104
_DOCUMENT: dict[str, Any] = {
    "type": "object",
    "description": "Stages with counts, weeks with moves, and the grid of recency and frequency scores",
    "required": ["rule", "attribute", "computed", "as_of", "units", "stages", "weeks", "grid"],
    "properties": {
        "rule": {"type": "string"},
        "attribute": {"type": "string"},
        "computed": {"type": "boolean"},
        "as_of": {"type": ["string", "null"]},
        "units": {"type": "integer"},
        "stages": {"type": "array", "items": {"type": "object"}},
        "weeks": {"type": "array", "items": {"type": "object"}},
        "grid": {"type": "array", "items": {"type": "object"}},
    },
}


class StagesQuery(BaseModel):
    """How much is shown."""

    weeks: Annotated[int, Field(ge=1, le=MOST_WEEKS)] = WEEKS


class RuleOut(BaseModel):
    """A stage rule that is computed here."""

    rule: str
    as_of: str | None
    """``null`` while it was never computed."""
    units: int


class RulesOut(BaseModel):
    """The stage rules that are computed here."""

    items: list[RuleOut]
    next_cursor: str | None


class ComputeBody(BaseModel, extra="forbid"):
    """As of when."""

    as_of: Instant | None = None
    """By default now. Later events are not known."""
    weeks: Annotated[int, Field(strict=True, ge=0, le=MOST_WEEKS)] = 0
    """Week ends before it that are computed first, if nothing was computed yet."""


class AskedOut(BaseModel):
    """A computing in the queue."""

    job: str
    status: str
    """Where it is told how far it came."""


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("stages", __name__, url_prefix="/v1", tag="Stages")

    @blueprint.get("/stages")
    @describe(Description({200: RulesOut}))
    def list_stages() -> Response:
        """List the stage rules that are computed here, and as of when."""
        items = []
        for key in rules_of(services.repository()):
            with services.store.read() as connection:
                last = runs.latest(connection, key)
            as_of = None if last is None else moment_text(last.at)
            items.append({"rule": key, "as_of": as_of, "units": 0 if last is None else last.units})
        return respond({"items": items, "next_cursor": None})

    @blueprint.get("/stages/<key>")
    @describe(Description({200: _DOCUMENT}, query=StagesQuery, problems={404: "Not defined"}))
    def get_stages(key: str) -> Response:
        """Return how many members are in each stage of a rule, and who moved in which week."""
        weeks = query(StagesQuery).weeks
        return respond(msgspec.to_builtins(_document(services, key, weeks)))

    @blueprint.post("/stages/<key>/compute")
    @describe(
        Description(
            {202: AskedOut},
            body=ComputeBody,
            body_required=False,
            idempotent=True,
            problems={404: "Not defined", 409: "It is not computed here, or a later time was computed already"},
            headers={202: {"Location": "The job"}},
            example={"weeks": 8},
        )
    )
    def compute_stages(key: str) -> Response:
        """Compute the stages of a rule and store them with the members; a job does it."""
        asked = json_model(ComputeBody, empty=True)
        _document(services, key, 1)
        try:
            computed_rule(services.repository(), key)
        except InputError as error:
            raise Problem(409, str(error), code="not_computed") from None
        as_of = None if asked.as_of is None else instant_us(asked.as_of)
        if as_of is not None and as_of > services.now_us():
            wrong = FieldProblem("/as_of", "future", "lies in the future: nobody knows what happens until then")
            raise Problem(422, "the body does not fit", code="invalid", errors=[wrong])
        with services.store.begin() as connection:
            last = runs.latest(connection, key)
            if last is not None and as_of is not None and as_of < last.at:
                raise Problem(409, "a later time was computed already; name a later one", code="computed_already")
            job = ask_now(connection, key, actor(), as_of_us=as_of, weeks=asked.weeks)
        address = f"/v1/jobs/{job}"
        return respond({"job": job, "status": address}, 202, {"Location": address})

    return blueprint


def _document(services: Services, key: str, weeks: int) -> StagesDocument:
    if "\x00" in key:
        raise Problem(404, "no stage rule has such a key", code="unknown_key")
    try:
        return stages_document(services.store, key, weeks=weeks)
    except UnknownKeyError:
        raise Problem(404, "no project is defined yet", code="unknown_key") from None
    except InputError as error:
        raise Problem(404, str(error), code="unknown_key") from None
