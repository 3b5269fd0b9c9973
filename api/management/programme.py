"""``/v1/programme``: what the whole programme earned against the members of its holdouts."""

from __future__ import annotations

from typing import Annotated

import msgspec
from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, Field

from api import logs
from api.errors import unavailable
from api.management.describing import Description, describe, query
from api.management.documents import respond
from api.services import Services
from experiments.programme.asking import ProgrammeOptions, check_names
from experiments.programme.document import Programme
from experiments.programme.worker import ProgrammeFailedError, ProgrammeWorker

WAIT_S = 120.0
FRESH_US = 60_000_000
Money = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]

_log = logs.get("programme")


class ProgrammeQuery(BaseModel, extra="forbid"):
    """Which holdout, and how it is counted."""

    holdout: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    """Key; by default each."""
    metric: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    """Key of a profit metric; needed where there are several."""
    days: Annotated[int | None, Field(ge=1, le=3650)] = None
    """After a member's first decision; by default until now."""
    fixed_cost: Money = 0.0
    """Of the programme over the period, in major units."""
    difference: Annotated[float | None, Field(gt=0, le=1e12, allow_inf_nan=False)] = None
    """Profit a member that a holdout is to be sized for; by default the estimated one."""
    alpha: Annotated[float, Field(ge=0.001, le=0.5)] = 0.05


def create_blueprint(services: Services) -> APIBlueprint:
    """Return the route."""
    blueprint = APIBlueprint("programme", __name__, url_prefix="/v1", tag="Programme")
    worker = ProgrammeWorker(services.settings.database_url)

    @blueprint.get("/programme")
    @describe(
        Description(
            {200: {"application/json": Programme}},
            query=ProgrammeQuery,
            problems={422: "No such holdout or profit metric, or several metrics and none named"},
        )
    )
    def get_programme() -> Response:
        """Return profit and ROI of the whole programme with intervals, holdout by holdout; at most a minute old."""
        options = ProgrammeOptions(**query(ProgrammeQuery).model_dump())
        check_names(services.repository(), options)
        try:
            found = worker.compute(options, services.now_us(), timeout_s=WAIT_S, fresh_us=FRESH_US)
        except ProgrammeFailedError as error:
            if error.slow:
                raise unavailable("it takes long; come again", code="programme_slow", retry_after_s=30) from None
            _log.error("programme_failed", error=str(error))
            raise unavailable("it could not be computed; the log says why", code="programme_failed") from None
        return respond(msgspec.json.decode(found))

    return blueprint
