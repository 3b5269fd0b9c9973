"""``/v1/experiments/KEY/recommendation``: who should get which offer, from an experiment that is over."""

from __future__ import annotations

from typing import Annotated, Literal

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, Field

from api.errors import FieldProblem, Problem
from api.management.calling import actor
from api.management.describing import Description, describe, query
from api.management.documents import json_model, respond
from api.management.experiments import experiment_record
from api.services import Services
from experiments.keeping.records import ExperimentRecord
from experiments.uplift import archive
from experiments.uplift.asking import ask_for_recommendation
from experiments.uplift.document import Recommendation
from experiments.uplift.of_experiment import not_over
from experiments.uplift.options import Wanted
from experiments.uplift.rendering import render_csv, render_json

MOST = 2**31 - 1


class RecommendationQuery(BaseModel, extra="forbid"):
    """Which recommendation, and how it is written."""

    number: Annotated[int | None, Field(ge=1, le=MOST)] = None
    """By default the newest."""
    format: Literal["json", "csv"] = "json"
    """``csv``: every figure, one row each."""


class RecommendBody(BaseModel, extra="forbid", strict=True):
    """What is asked for; what is left out is chosen from the experiment."""

    phase: Annotated[int | None, Field(ge=1, le=MOST)] = None
    """By default the latest."""
    outcome: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    """Key of one of its metrics; by default its first primary metric that is a proportion."""
    value: Annotated[float | None, Field(ge=-1e9, le=1e9)] = None
    """Money that an outcome earns before offer costs, in major units; by default the mean margin in the log."""
    seed: Annotated[int, Field(ge=0, le=MOST)] = 0
    folds: Annotated[int, Field(ge=3, le=20)] = 5


class AskedOut(BaseModel):
    """A recommendation in the queue."""

    job: str
    status: str
    """Where it is told how far it came."""


_DOCUMENT: dict[str, object] = {"application/json": Recommendation, "text/csv": {"type": "string"}}


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("recommendations", __name__, url_prefix="/v1", tag="Recommendations")

    @blueprint.get("/experiments/<key>/recommendation")
    @describe(
        Description(
            {200: _DOCUMENT},
            query=RecommendationQuery,
            etag=True,
            problems={404: "The experiment is not defined, or nothing was recommended from it yet"},
        )
    )
    def get_recommendation(key: str) -> Response:
        """Return who should get which offer, what that is worth, and whether the data can say so."""
        asked = query(RecommendationQuery)
        record = experiment_record(services, key)
        found = (
            archive.latest(services.store, record.key)
            if asked.number is None
            else archive.load(services.store, record.key, asked.number)
        )
        if found is None:
            raise Problem(404, _none_yet(record, asked.number), code="unknown_recommendation")
        return _written(found.document, asked.format)

    @blueprint.post("/experiments/<key>/recommendation")
    @describe(
        Description(
            {202: AskedOut},
            body=RecommendBody,
            body_required=False,
            idempotent=True,
            problems={409: "The experiment is not over", 404: "Not defined"},
            headers={202: {"Location": "Where it is told how far it came"}},
            example={"outcome": "repurchase-14d"},
        )
    )
    def make_recommendation(key: str) -> Response:
        """Have a recommendation made: a job, which takes from seconds to minutes."""
        asked = json_model(RecommendBody, empty=True)
        record = experiment_record(services, key)
        if why := not_over(record):
            raise Problem(409, why, code="not_over")
        _check(record, asked)
        wanted = Wanted(**asked.model_dump())
        with services.store.begin() as connection:
            job = ask_for_recommendation(connection, record, wanted, actor())
        address = f"/v1/jobs/{job}"
        return respond({"job": job, "status": address}, 202, {"Location": address})

    return blueprint


def _check(record: ExperimentRecord, asked: RecommendBody) -> None:
    known = list(record.definition.metrics.keys())
    if asked.outcome is not None and asked.outcome not in known:
        wrong = FieldProblem("/outcome", "unknown_metric", f"is no metric of it; use one of {', '.join(known)}")
        raise Problem(422, "the body does not fit", code="invalid", errors=[wrong])
    phases = [phase.number for phase in record.phases]
    if asked.phase is not None and asked.phase not in phases:
        wrong = FieldProblem("/phase", "unknown_phase", f"is no phase of it; there are {', '.join(map(str, phases))}")
        raise Problem(422, "the body does not fit", code="invalid", errors=[wrong])


def _none_yet(record: ExperimentRecord, number: int | None) -> str:
    if number is not None:
        return f"no recommendation {number} was made from {record.key}"
    why = not_over(record) or f"ask for one: POST /v1/experiments/{record.key}/recommendation"
    return f"nothing was recommended from {record.key} yet; {why}"


def _written(document: Recommendation, form: str) -> Response:
    if form == "csv":
        response = Response(render_csv(document), content_type="text/csv; charset=utf-8")
        name = f"{document.experiment}-recommendation.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    else:
        response = Response(render_json(document), content_type="application/json")
    response.headers["ETag"] = f'"{document.content_hash[:32]}-{form}"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response
