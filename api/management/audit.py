"""``/v1/audit``: who changed what and when, and whether the chain of its rows holds."""

from __future__ import annotations

import json
from typing import Annotated, Any

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from api.management.describing import Description, describe, query
from api.management.documents import respond
from api.management.paging import PageQuery, page
from api.management.times import iso
from api.services import Services
from experiments.keeping import audit
from experiments.keeping.audit import AuditRow

Filter = Annotated[str | None, Field(max_length=256)]


class AuditQuery(PageQuery):
    """Which rows of the trail."""

    kind: Filter = None
    """experiment, offer, dead_letter, key …"""
    key: Filter = None
    actor: Filter = None


class AuditOut(BaseModel):
    """One change."""

    number: int
    at: str
    actor: str
    action: str
    kind: str
    key: str
    detail: dict[str, Any]
    """For a revision the changed fields, before and after."""
    reason: str | None
    previous_hash: str
    hash: str
    """sha256 of the compact JSON array of the row's fields, the previous hash last."""


class AuditPage(BaseModel):
    """Changes, the latest first."""

    items: list[AuditOut]
    next_cursor: str | None


class AuditCheckOut(BaseModel):
    """Whether every row holds the hash of the one before it."""

    holds: bool
    broken_at: int | None
    """Number of the first row that was changed, removed or put in between."""


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("audit", __name__, url_prefix="/v1", tag="Audit")

    @blueprint.get("/audit")
    @describe(Description({200: AuditPage}, query=AuditQuery))
    def list_audit() -> Response:
        """List what was changed, the latest first."""
        wanted = query(AuditQuery)
        asked = page(wanted, int)
        found = audit.page(
            services.store,
            limit=asked.limit + 1,
            before=asked.after[0] if asked.after else None,
            kind=wanted.kind,
            key=wanted.key,
            actor=wanted.actor,
        )
        return respond(asked.document(found, _shown, lambda row: [row.number]))

    @blueprint.get("/audit/check")
    @describe(Description({200: AuditCheckOut}))
    def check_audit() -> Response:
        """Check the chain of the whole trail."""
        broken = audit.broken_at(services.patient_store)
        return respond({"holds": broken is None, "broken_at": broken})

    return blueprint


def _shown(row: AuditRow) -> dict[str, object]:
    return {**row.__dict__, "at": iso(row.at), "detail": json.loads(row.detail)}
