"""``/v1/experiments/KEY/policies``: the versions of what an experiment has learned, and what people do with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from api.errors import FieldProblem, Problem
from api.management.calling import actor
from api.management.describing import Description, describe, query
from api.management.documents import json_model, respond
from api.management.experiments import experiment_record
from api.management.paging import PageQuery, page
from api.services import Services
from experiments.errors import InputError
from experiments.keeping.records import ExperimentRecord
from experiments.learning import approving, versions
from experiments.learning.cadence import ask_for_update
from experiments.learning.shown import mask_documents, version_document
from experiments.learning.versions import Origin, Version, VersionError
from experiments.publishing.publish import publish

T = TypeVar("T")

Reason = Annotated[str | None, Field(max_length=2_000)]
MOST = 2**31 - 1


class PolicyOut(BaseModel):
    """One version of a policy."""

    version: int
    state: versions.State
    share: str
    """Of the members, that it draws for while it is ramped up: decimal text."""
    policy: str
    """What draws, such as ``igw``."""
    origin: Origin
    sha256: str
    """Of its file."""
    rows: int
    """Decisions that it learned from."""
    trained_at: str
    data_until: str | None
    """Time of the last decision that it may have learned from."""
    changed_at: str
    """When it came to where it stands."""
    about: dict[str, Any]
    """How it was learned: settings, decisions and conversions by variant."""
    gate: dict[str, Any]
    """What the gate found; empty before it ran."""


class MaskOut(BaseModel):
    """A variant that is taken out: nobody gets it."""

    variant: str
    since: str
    actor: str
    reason: str | None


class PolicyPage(BaseModel):
    """Versions, the last one first."""

    items: list[PolicyOut]
    next_cursor: str | None


class MasksOut(BaseModel):
    """The variants that are taken out."""

    items: list[MaskOut]
    next_cursor: str | None


class DrawsOut(BaseModel):
    """Which version draws after a roll back."""

    live: PolicyOut | None
    """``null``: every eligible variant is as likely as the others."""


class ReasonBody(BaseModel, extra="forbid", strict=True):
    """Why something is done."""

    reason: Reason = None


class RollBackBody(BaseModel, extra="forbid", strict=True):
    """What shall draw afterwards."""

    to: Annotated[int | None, Field(ge=0, le=MOST)] = None
    """The version that shall draw; by default the one that did before; 0 draws evenly."""
    reason: Reason = None


class MaskBody(BaseModel, extra="forbid", strict=True):
    """Which variant."""

    variant: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Reason = None


class AskedOut(BaseModel):
    """An update in the queue."""

    job: str
    status: str
    """Where it is told how far it came."""


_REFUSED = {409: "It cannot be done where the version or the experiment stands; detail says what can", 404: "Not there"}


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("policies", __name__, url_prefix="/v1", tag="Policies")

    @blueprint.get("/experiments/<key>/policies")
    @describe(Description({200: PolicyPage}, query=PageQuery, problems={404: "Not defined"}))
    def list_policies(key: str) -> Response:
        """List the versions of an experiment's policy, the last one first."""
        asked = page(query(PageQuery), int)
        record = experiment_record(services, key)
        with services.store.read() as connection:
            known = versions.read(connection, record.key)
        before = asked.after[0] if asked.after else MOST
        found = [version for version in reversed(known) if version.version < before]
        return respond(asked.document(found, version_document, lambda version: [version.version]))

    @blueprint.get("/experiments/<key>/policies/<int:version>")
    @describe(Description({200: PolicyOut}, problems={404: "Not there"}))
    def get_policy(key: str, version: int) -> Response:
        """Return one version: how it was learned, and what the gate found."""
        return respond(version_document(_found(services, experiment_record(services, key), version)))

    @blueprint.post("/experiments/<key>/policies/<int:version>/approve")
    @describe(Description({200: PolicyOut}, body=ReasonBody, body_required=False, idempotent=True, problems=_REFUSED))
    def approve_policy(key: str, version: int) -> Response:
        """Let a version pass: its ramp begins. One that the gate has blocked needs a reason."""
        asked = json_model(ReasonBody, empty=True)
        found = _found(services, experiment_record(services, key), version)
        moved = _do(
            services,
            lambda: approving.approve(
                services.store, found.experiment, version, actor=actor(), reason=asked.reason, now=services.now_us()
            ),
        )
        return respond(version_document(moved))

    @blueprint.post("/experiments/<key>/policies/<int:version>/reject")
    @describe(Description({200: PolicyOut}, body=ReasonBody, body_required=False, idempotent=True, problems=_REFUSED))
    def reject_policy(key: str, version: int) -> Response:
        """Refuse a version for ever; one that is ramped up is taken back from its members."""
        asked = json_model(ReasonBody, empty=True)
        found = _found(services, experiment_record(services, key), version)
        moved = _do(
            services,
            lambda: approving.reject(
                services.store, found.experiment, version, actor=actor(), reason=asked.reason, now=services.now_us()
            ),
        )
        return respond(version_document(moved))

    @blueprint.post("/experiments/<key>/policies/roll-back")
    @describe(
        Description(
            {200: DrawsOut},
            body=RollBackBody,
            body_required=False,
            idempotent=True,
            problems=_REFUSED,
            example={"reason": "complaints"},
        )
    )
    def roll_back_policy(key: str) -> Response:
        """Take back the version that is ramped up, or else the live one, at once; the next one waits for approval."""
        asked = json_model(RollBackBody, empty=True)
        record = experiment_record(services, key)
        if asked.to:
            _found(services, record, asked.to)
        back = _do(
            services,
            lambda: approving.roll_back(
                services.store, record.key, actor=actor(), reason=asked.reason, to=asked.to, now=services.now_us()
            ),
        )
        return respond({"live": None if back is None else version_document(back)})

    @blueprint.post("/experiments/<key>/policies/learn")
    @describe(Description({202: AskedOut}, idempotent=True, problems=_REFUSED, headers={202: {"Location": "The job"}}))
    def learn_policy(key: str) -> Response:
        """Have a new version made now from what has matured, and the gate run; a job does it."""
        record = experiment_record(services, key)
        if record.definition.allocation is None:
            raise Problem(409, f"experiment {record.key} draws by the hash: it has no policy", code="policy_refused")
        with services.store.begin() as connection:
            job = ask_for_update(connection, record, actor())
        address = f"/v1/jobs/{job}"
        return respond({"job": job, "status": address}, 202, {"Location": address})

    @blueprint.get("/experiments/<key>/policies/masks")
    @describe(Description({200: MasksOut}, problems={404: "Not defined"}))
    def list_masks(key: str) -> Response:
        """List the variants that are taken out, by a guardrail or by hand."""
        return _masks(services, experiment_record(services, key))

    @blueprint.post("/experiments/<key>/policies/mask")
    @describe(
        Description(
            {200: MasksOut}, body=MaskBody, idempotent=True, problems=_REFUSED, example={"variant": "coupon-20"}
        )
    )
    def mask_variant(key: str) -> Response:
        """Take a variant out: nobody gets it until it is put back."""
        return _mask(services, key, approving.mask)

    @blueprint.post("/experiments/<key>/policies/unmask")
    @describe(
        Description(
            {200: MasksOut}, body=MaskBody, idempotent=True, problems=_REFUSED, example={"variant": "coupon-20"}
        )
    )
    def unmask_variant(key: str) -> Response:
        """Put a variant back that was taken out."""
        return _mask(services, key, approving.unmask)

    return blueprint


def _mask(services: Services, key: str, change: Callable[..., tuple[str, ...]]) -> Response:
    asked = json_model(MaskBody)
    record = experiment_record(services, key)
    known = [variant.key for variant in record.definition.variants]
    if asked.variant not in known:
        wrong = FieldProblem("/variant", "unknown_variant", f"is no variant; use one of {', '.join(known)}")
        raise Problem(422, "the body does not fit", code="invalid", errors=[wrong])
    _do(
        services,
        lambda: change(
            services.store, record.key, asked.variant, actor=actor(), reason=asked.reason, now=services.now_us()
        ),
    )
    return _masks(services, record)


def _masks(services: Services, record: ExperimentRecord) -> Response:
    with services.store.read() as connection:
        found: list[Mapping[str, Any]] = list(mask_documents(connection, record.key))
    return respond({"items": found, "next_cursor": None})


def _found(services: Services, record: ExperimentRecord, version: int) -> Version:
    try:
        with services.store.read() as connection:
            return versions.one(connection, record.key, min(version, MOST))
    except VersionError as error:
        raise Problem(404, str(error), code="unknown_policy") from None


def _do(services: Services, change: Callable[[], T]) -> T:
    """Do something with a policy, and publish it."""
    try:
        done = change()
    except InputError as error:
        raise Problem(409, str(error), code="policy_refused") from None
    publish(services.patient_store, services.settings, services.now_us())
    services.definitions_changed()
    return done
