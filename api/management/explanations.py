"""``/v1/experiments/KEY/explain``: why a unit gets what it gets. The same code as deciding; nothing is logged."""

from __future__ import annotations

from typing import Annotated

import msgspec
from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, Field

from allocation.decide import UnknownExperimentError, explain
from allocation.decision import REASONS, OccasionError
from allocation.hashing import UnitError
from api.errors import FieldProblem, Problem, malformed, near
from api.explanation import sentence
from api.management import documents
from api.management.describing import Description, describe
from api.management.documents import respond
from api.services import Services

Value = str | int | float | bool | list[str] | None


class ExplainIn(msgspec.Struct, forbid_unknown_fields=True):
    """Who is asked about, and what a decide call would have sent."""

    unit: str
    attributes: dict[str, Value] = {}
    occasion: str = ""


class ExplainBody(BaseModel, extra="forbid"):
    """Who is asked about, and what a decide call would have sent."""

    unit: Annotated[str, Field(min_length=1, max_length=256)]
    attributes: dict[str, str | int | float | bool | list[str] | None] = {}
    occasion: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$")] = ""


class StepOut(BaseModel, extra="allow"):
    """One step, with what was looked at."""

    text: str
    """The step as a sentence."""


class ExplanationOut(BaseModel):
    """The answer and the steps to it, in their order."""

    experiment: str
    revision: int
    phase: int
    variant: str | None
    reason: str
    meaning: str
    missing_attribute: str | None
    state_unknown: bool
    snapshot: str
    steps: list[StepOut]


class ExplainQuery(BaseModel, extra="forbid"):
    """The same in the address."""

    unit: Annotated[str, Field(max_length=1_000)]
    attributes: Annotated[str, Field(description="JSON object")] = "{}"
    occasion: Annotated[str, Field(max_length=64)] = ""


_UNKNOWN = {404: "No experiment of this key is published"}


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("explanations", __name__, url_prefix="/v1", tag="Explanations")

    @blueprint.post("/experiments/<key>/explain")
    @describe(
        Description(
            {200: ExplanationOut}, body=ExplainBody, need="report", example={"unit": "member-1"}, problems=_UNKNOWN
        )
    )
    def post_explain(key: str) -> Response:
        """Explain one unit's variant; the unit stands in the body, so that no address contains it."""
        return _explain(services, key, documents.json_struct(ExplainIn))

    @blueprint.get("/experiments/<key>/explain")
    @describe(Description({200: ExplanationOut}, query=ExplainQuery, problems={**_UNKNOWN, 422: "A wrong unit"}))
    def get_explain(key: str) -> Response:
        """The same for typing by hand: ``?unit=…&attributes={"cart_minor":900}``. No log of ours keeps the query."""
        unit = request.args.get("unit")
        if unit is None:
            raise Problem(400, "unit is missing: add ?unit=…", code="bad_parameter")
        text = request.args.get("attributes", "{}").encode("utf-8", "surrogatepass")
        try:
            attributes = msgspec.json.decode(text, type=dict[str, Value])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            detail = malformed(error, text).detail.replace("the body", "attributes", 1)
            raise Problem(400, detail, code="bad_parameter") from None
        return _explain(services, key, ExplainIn(unit, attributes, request.args.get("occasion", "")))

    return blueprint


def _explain(services: Services, key: str, asked: ExplainIn) -> Response:
    if services.node is None or services.node.compiled is None:
        raise Problem(
            503, "nothing has been published on this node yet", code="no_snapshot", headers={"Retry-After": "1"}
        )
    compiled = services.node.compiled
    services.node.deciding.check_personal(asked.unit)
    plan = compiled.experiments.get(key)
    try:
        state = services.node.deciding.member_state(plan.unit_type if plan else "member", asked.unit)
        decision, steps = explain(
            compiled,
            key,
            asked.unit,
            now=services.now_us(),
            attributes=asked.attributes,
            state=state,
            occasion=asked.occasion,
        )
    except UnitError as error:
        raise _invalid("/unit", str(error)) from None
    except OccasionError as error:
        raise _invalid("/occasion", str(error)) from None
    except UnknownExperimentError:
        advice = near(key, compiled.experiments) or "GET /v1/experiments lists what there is"
        raise Problem(404, f"no experiment of this key is published; {advice}", code="unknown_experiment") from None
    return respond(
        {
            "experiment": key,
            "revision": decision.revision,
            "phase": decision.phase,
            "variant": decision.variant,
            "reason": decision.reason,
            "meaning": REASONS[decision.reason],
            "missing_attribute": decision.missing_attribute,
            "state_unknown": decision.state_unknown,
            "snapshot": decision.snapshot,
            "steps": [{**msgspec.to_builtins(step), "text": sentence(step)} for step in steps],
        }
    )


def _invalid(pointer: str, message: str) -> Problem:
    return Problem(422, "the body does not fit", code="invalid", errors=[FieldProblem(pointer, "invalid", message)])
