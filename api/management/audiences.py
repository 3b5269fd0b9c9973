"""``/v1/experiments/KEY/audiences``: who gets which offer within a budget, frozen; and what a recommendation becomes.

Members are the stored ones in the experiment's audience, ids of the body, or a list with attributes of its own as the
body, which is taken as ``equipoise target --list`` takes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, Field

from api.errors import Problem
from api.hot.uploads import empty_list
from api.management.arriving import arriving
from api.management.audience_request import MOST, AudienceBody, AudienceQuery, Wanted, as_list, wanted
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
from experiments.jobs.queue import Job
from experiments.list_files import FORMATS
from experiments.targeting import archive, draft, segment
from experiments.targeting.archive import NoRecommendationError
from experiments.targeting.asking import ask, document, request_of
from experiments.targeting.document import Audience
from experiments.targeting.request import RESULT, TargetRequest

T = TypeVar("T")
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


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


LISTS = tuple(kind.partition(";")[0] for kind in FORMATS.values())
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
            query=AudienceQuery,
            body={"application/json": AudienceBody, **{kind: {"type": "string", "format": "binary"} for kind in LISTS}},
            body_required=False,
            problems={
                **_NONE_YET,
                409: "The recommendation bears none",
                413: "The body is too large: 1 MB of JSON, or a list of 512 MB (EQUIPOISE_MAX_UPLOAD_MB), at most",
            },
            headers={202: {"Location": "Where it is told how far it came"}},
            example={"budget": 5000, "stock": {"a": 1000}},
        )
    )
    def make_audience(key: str) -> Response:
        """Have an audience made: a job. The same again within an hour answers the same one.

        Members and limits in JSON; or a list as the body, UTF-8 or GB18030, plain or gzip, or Parquet, whose columns
        are attributes, with the limits in the query.
        """
        asked = wanted()
        record = experiment_record(services, key)
        if asked.listed:
            job = _of_list(services, record.key, asked)
        elif asked.members is not None:
            content = as_list(asked.members)
            made = _request(services, record.key, asked, hashlib.sha256(content).hexdigest(), "unit")
            job = ask(services.store, made, [content], name=f"list-{record.key}.csv", created_by=actor())[0]
        else:
            made = _request(services, record.key, asked, None)
            job = ask(services.store, made, [], name="", created_by=actor())[0]
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


def _of_list(services: Services, key: str, asked: Wanted) -> Job:
    """Keep the list of the body, and ask for its audience."""
    if request.mimetype == "multipart/form-data":
        advice = "send the file itself as the body, not a form (curl --data-binary @FILE, not -F)"
        raise Problem(415, advice, code="unsupported_media_type")
    with arriving(request.stream) as found:
        if not found.size:
            raise empty_list()
        if request.mimetype not in LISTS and found.begins(64).lstrip()[:1] in (b"{", b"["):
            advice = "this looks like JSON: send Content-Type: application/json with it"
            raise Problem(415, advice, code="unsupported_media_type")
        made = _request(services, key, asked, found.sha256, asked.unit_column)
        return ask(services.store, made, found.parts(), name=f"list-{key}", created_by=actor())[0]


def _request(
    services: Services, key: str, asked: Wanted, sha256: str | None, unit_column: str | None = None
) -> TargetRequest:
    return _do(
        lambda: request_of(
            services.store,
            key,
            asked.limits,
            recommendation=asked.recommendation,
            sha256=sha256,
            at=asked.at,
            file_format=asked.format,
            unit_column=unit_column,
            encoding=asked.encoding if asked.listed else None,
        )
    )


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
