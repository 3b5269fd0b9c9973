"""``/v1/experiments/KEY/audiences``: who gets which offer within a budget, frozen; and what a recommendation becomes.

Large lists with attributes of their own are for ``equipoise target --list``; here members are named by their ids, or
are the stored ones in the experiment's audience.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from allocation.hashing import UnitError, check_unit
from api.errors import FieldProblem, Problem
from api.management.calling import actor
from api.management.describing import Description, describe, query
from api.management.documents import definition_problem, json_model, respond
from api.management.experiments import experiment_record
from api.management.paging import PageQuery, page
from api.management.times import iso
from api.services import Services
from experiments.definitions.errors import DefinitionError
from experiments.errors import InputError
from experiments.jobs import files
from experiments.targeting import archive, draft, segment
from experiments.targeting.archive import NoRecommendationError
from experiments.targeting.asking import ask, document, request_of
from experiments.targeting.document import Audience
from experiments.targeting.request import LARGEST, MOST_FLOORS, MOST_PIECES, RESULT, FloorAsked, limits

T = TypeVar("T")
MOST = 2**31 - 1
MOST_MEMBERS = 50_000
MOST_WRONG = 20
Short = Annotated[str, Field(min_length=1, max_length=256)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class FloorBody(BaseModel, extra="forbid", strict=True):
    """At least so many members of a group get an offer."""

    attribute: Short
    level: Short
    least: Annotated[int, Field(ge=0, le=MOST_PIECES)]
    offer: Short | None = None
    """Variant, or offer; by default any counts."""


class AudienceBody(BaseModel, extra="forbid", strict=True):
    """What bounds the choice, and who is chosen among."""

    budget: Annotated[float | None, Field(ge=0, le=LARGEST)] = None
    """Major units; by default as much as pays."""
    budget_basis: Literal["liability", "expected"] = "liability"
    """Whether every issued offer counts as redeemed, or as many as are expected to be."""
    stock: Annotated[dict[Short, Annotated[int, Field(ge=0, le=MOST_PIECES)]], Field(max_length=100)] = {}
    """Variant, or offer → pieces."""
    floors: Annotated[list[FloorBody], Field(max_length=MOST_FLOORS)] = []
    explore: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share drawn at random whatever the model says: 0, or 0.05 and more."""
    recommendation: Annotated[int | None, Field(ge=1, le=MOST)] = None
    """Its number; by default the latest."""
    members: Annotated[list[Short] | None, Field(min_length=1, max_length=MOST_MEMBERS)] = None
    """Unit ids; by default the stored members in the experiment's audience."""
    format: Literal["csv", "parquet"] = "csv"


class AskedOut(BaseModel):
    """An audience that is being made, or is there."""

    audience: str
    """Its id, which is that of the job."""
    job: str
    status: str
    """Where it is told how far it came."""


class AudiencePage(BaseModel):
    """Audiences, the latest first, without their curves."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class SegmentBody(BaseModel, extra="forbid", strict=True):
    """Which segment is to be made."""

    key: Key
    number: Annotated[int | None, Field(ge=1, le=MOST)] = None
    """Of the recommendation; by default the latest."""


class DraftBody(SegmentBody):
    """Which experiment is to be drafted."""

    audience: Annotated[str | None, Field(min_length=1, max_length=128)] = None
    """Id of the audience that it is to be tried on, for its planned size."""


class MadeOut(BaseModel):
    """A definition that was made."""

    kind: str
    key: str


_NONE_YET = {404: "The experiment is not defined, or nothing was recommended from it yet"}
_TAKEN = {**_NONE_YET, 409: "The recommendation bears none, or the key is taken"}


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("audiences", __name__, url_prefix="/v1", tag="Audiences")

    @blueprint.get("/experiments/<key>/audiences")
    @describe(Description({200: AudiencePage}, query=PageQuery, problems={404: "Not defined"}))
    def list_audiences(key: str) -> Response:
        """List the audiences that were made from an experiment, the latest first."""
        asked = page(query(PageQuery), int, str)
        record = experiment_record(services, key)
        after = None if asked.after is None else (asked.after[0], asked.after[1])
        found = archive.listed(services.store, record.key, before=after, limit=asked.limit + 1)
        return respond(asked.document(found, _shortly, lambda row: [row[0], row[1].id]))

    @blueprint.post("/experiments/<key>/audiences")
    @describe(
        Description(
            {202: AskedOut, 200: AskedOut},
            body=AudienceBody,
            body_required=False,
            problems={**_NONE_YET, 409: "The recommendation bears none"},
            headers={202: {"Location": "Where it is told how far it came"}},
            example={"budget": 5000, "stock": {"a": 1000}},
        )
    )
    def make_audience(key: str) -> Response:
        """Have an audience made: a job. The same again within an hour answers the same one."""
        asked = json_model(AudienceBody, empty=True)
        record = experiment_record(services, key)
        content = b"" if asked.members is None else _as_list(asked.members)
        bounds = _checked(asked)
        request = _do(
            lambda: request_of(
                services.store,
                record.key,
                bounds,
                recommendation=asked.recommendation,
                sha256=None if asked.members is None else hashlib.sha256(content).hexdigest(),
                file_format=asked.format,
                unit_column=None if asked.members is None else "unit",
            )
        )
        job, _ = ask(services.store, request, [content], name=f"list-{record.key}.csv", created_by=actor())
        address = f"/v1/jobs/{job.id}"
        reply = {"audience": job.id, "job": job.id, "status": address}
        return respond(reply, 200 if job.state == "done" else 202, {"Location": address})

    @blueprint.get("/experiments/<key>/audiences/<identity>")
    @describe(Description({200: Audience}, problems={404: "Not there"}))
    def get_audience(key: str, identity: str) -> Response:
        """Return what an audience says: counts, costs, what is expected, and the checksum of its file."""
        return respond(document(_found(services, key, identity)))

    @blueprint.get("/experiments/<key>/audiences/<identity>/file")
    @describe(
        Description(
            {200: {"text/csv": {"type": "string"}, "application/vnd.apache.parquet": {"type": "string"}}},
            problems={404: "Not there, or no longer kept"},
        )
    )
    def download_audience(key: str, identity: str) -> Response:
        """Return the file: a row for each member, with the offer and why."""
        audience = _found(services, key, identity)
        kept = files.find(services.store, audience.id, RESULT)
        if kept is None:
            raise Problem(404, "the file of this audience is no longer kept; make it again", code="file_missing")
        response = Response(files.read(services.store, kept), content_type=kept.media_type)
        response.headers["Content-Disposition"] = f'attachment; filename="{kept.name}"'
        response.headers["Content-Length"] = str(kept.bytes)
        response.headers["Cache-Control"] = "private, no-store"
        response.headers["X-Content-SHA256"] = kept.sha256
        return response

    @blueprint.post("/experiments/<key>/recommendation/segment")
    @describe(
        Description(
            {200: MadeOut}, body=SegmentBody, idempotent=True, problems=_TAKEN, example={"key": "winback-target"}
        )
    )
    def save_segment(key: str) -> Response:
        """Save whom the recommendation's short rule describes as a segment."""
        asked = json_model(SegmentBody)
        record = experiment_record(services, key)
        found = _do(lambda: archive.recommendation(services.store, record.key, asked.number)[1])
        made = _do(lambda: segment.save(services.repository(), found, asked.key, actor()))
        return respond({"kind": "segment", "key": made.key})

    @blueprint.post("/experiments/<key>/recommendation/draft")
    @describe(
        Description(
            {200: MadeOut}, body=DraftBody, idempotent=True, problems=_TAKEN, example={"key": "winback-policy-test"}
        )
    )
    def draft_experiment(key: str) -> Response:
        """Draft the experiment that tests the recommendation against its best single offer and a control."""
        asked = json_model(DraftBody)
        record = experiment_record(services, key)
        found = _do(lambda: archive.recommendation(services.store, record.key, asked.number)[1])
        audience = None if asked.audience is None else _found(services, record.key, asked.audience)
        made = _do(lambda: draft.create(services.repository(), found, asked.key, actor(), audience=audience))
        return respond({"kind": "experiment", "key": made.key})

    return blueprint


def _checked(asked: AudienceBody) -> Any:
    floors = [FloorAsked(floor.attribute, floor.level, floor.least, floor.offer) for floor in asked.floors]
    try:
        return limits(
            budget=asked.budget, basis=asked.budget_basis, stock=asked.stock, floors=floors, explore=asked.explore
        )
    except InputError as error:
        name, _, message = str(error).partition(": ")
        wrong = FieldProblem(f"/{name}", "invalid", message)
        raise Problem(422, "the body does not fit", code="invalid", errors=[wrong]) from None


def _as_list(members: list[str]) -> bytes:
    """Return ids as a list with one column.

    Raises:
        Problem: 422 with a pointer to each id that cannot be one.
    """
    wrong = []
    for place, unit in enumerate(members):
        try:
            check_unit(unit)
        except UnitError as error:
            wrong.append(FieldProblem(f"/members/{place}", "bad_unit", str(error)))
    if wrong:
        raise Problem(422, "the body does not fit", code="invalid", errors=wrong[:MOST_WRONG])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["unit"])
    writer.writerows([unit] for unit in members)
    return out.getvalue().encode()


def _found(services: Services, key: str, identity: str) -> Audience:
    record = experiment_record(services, key)
    audience = None if "\x00" in identity else archive.find(services.store, identity)
    if audience is None or audience.experiment != record.key:
        raise Problem(404, "there is no such audience of this experiment", code="unknown_audience")
    return audience


def _shortly(row: tuple[int, Audience]) -> dict[str, Any]:
    made = document(row[1], iso(row[0]))
    return {name: value for name, value in made.items() if name not in ("curve", "settings")}


def _do(work: Callable[[], T]) -> T:
    """Do something that the recommendation or a key may not allow."""
    try:
        return work()
    except NoRecommendationError as error:
        raise Problem(404, str(error), code="unknown_recommendation") from None
    except DefinitionError as error:
        raise definition_problem(error) from None
    except InputError as error:
        raise Problem(409, str(error), code="not_possible") from None
