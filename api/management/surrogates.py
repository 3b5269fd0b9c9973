"""``/v1/experiments/KEY/surrogate``: an effect months away, foretold from an experiment's first days."""

from __future__ import annotations

from typing import Annotated

import msgspec
from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from api.errors import FieldProblem, Problem
from api.management.calling import actor
from api.management.describing import Description, describe
from api.management.documents import json_model, respond
from api.management.experiments import experiment_record
from api.services import Services
from experiments.programme.jobs import ask_for_surrogate, surrogate_course
from experiments.programme.surrogate_asking import SurrogateOptions, suited_metrics, unsuited
from experiments.programme.surrogate_document import Surrogate

MetricKey = Annotated[str, Field(min_length=1, max_length=64)]


class SurrogateBody(BaseModel, extra="forbid", strict=True):
    """What is foretold, and from what."""

    long: MetricKey
    """Key of the metric whose effect is foretold: a proportion, count, sum or profit."""
    early: Annotated[list[MetricKey], Field(max_length=20)] = []
    """Keys of the metrics that it is foretold from; by default all that suit."""
    early_days: Annotated[int, Field(ge=1, le=365)] = 14
    """Days after a member's first decision that the early outcomes are of."""
    long_days: Annotated[int, Field(ge=2, le=3650)] = 90
    """Days that the long outcome is of; more than ``early_days``."""
    alpha: Annotated[float, Field(ge=0.001, le=0.5, strict=False)] = 0.05
    """1 − confidence of the intervals."""


class AskedOut(BaseModel):
    """An effect to be foretold, in the queue."""

    job: str
    status: str
    """Where it is told how far it came."""


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("surrogates", __name__, url_prefix="/v1", tag="Surrogate index")

    @blueprint.get("/experiments/<key>/surrogate")
    @describe(
        Description(
            {200: {"application/json": Surrogate}},
            problems={404: "The experiment is not defined, or nothing was foretold of it yet"},
        )
    )
    def get_surrogate(key: str) -> Response:
        """Return the effect that was last foretold, what that assumes, and how the index did on past experiments."""
        record = experiment_record(services, key)
        found, _ = surrogate_course(services.store, record.key)
        if found is None:
            why = unsuited(record) or f"ask for it: POST /v1/experiments/{record.key}/surrogate"
            raise Problem(404, f"nothing was foretold of {record.key} yet; {why}", code="unknown_surrogate")
        return respond(msgspec.to_builtins(found))

    @blueprint.post("/experiments/<key>/surrogate")
    @describe(
        Description(
            {202: AskedOut},
            body=SurrogateBody,
            idempotent=True,
            problems={409: "The experiment has not run, or learns as it goes", 404: "Not defined"},
            headers={202: {"Location": "Where it is told how far it came"}},
            example={"long": "profit-14d", "early_days": 5, "long_days": 14},
        )
    )
    def make_surrogate(key: str) -> Response:
        """Have an effect foretold from early outcomes: a job, which takes seconds."""
        asked = json_model(SurrogateBody)
        record = experiment_record(services, key)
        if why := unsuited(record):
            raise Problem(409, why, code="no_surrogate")
        _check(asked, list(suited_metrics(services.repository())))
        options = SurrogateOptions(record.key, **{**asked.model_dump(), "early": tuple(asked.early)})
        with services.store.begin() as connection:
            job = ask_for_surrogate(connection, options, actor())
        address = f"/v1/jobs/{job}"
        return respond({"job": job, "status": address}, 202, {"Location": address})

    return blueprint


def _check(asked: SurrogateBody, known: list[str]) -> None:
    named = [("/long", asked.long), *((f"/early/{i}", key) for i, key in enumerate(asked.early))]
    listed = ", ".join(known) or "none: define one"
    wrong = [
        FieldProblem(where, "unknown_metric", f"is no metric that a member has one number of; there are {listed}")
        for where, key in named
        if key not in known
    ]
    if asked.early_days >= asked.long_days:
        wrong.append(FieldProblem("/early_days", "days", f"must be below long_days, {asked.long_days}"))
    if wrong:
        raise Problem(422, "the body does not fit", code="invalid", errors=wrong)
