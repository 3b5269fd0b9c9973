"""What is asked for with ``POST /v1/experiments/KEY/audiences``: limits and members in JSON, or a list as the body.

Parameters of the query say the same as the body's fields, for a list has none; where a JSON body says something too, it
counts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from flask import request
from pydantic import BaseModel, Field

from allocation.hashing import UnitError, check_unit
from api.errors import FieldProblem, Problem
from api.hot.large import is_list
from api.hot.uploads import empty_list
from api.management.describing import query
from api.management.documents import json_model
from experiments.assignments.request import read_moment
from experiments.errors import InputError
from experiments.list_files import Format, read_column, read_encoding
from experiments.targeting.request import (
    LARGEST,
    MOST_FLOORS,
    MOST_PIECES,
    FloorAsked,
    Limits,
    limits,
    read_floor,
    read_stock,
)

T = TypeVar("T")
MOST = 2**31 - 1
MOST_MEMBERS = 50_000
MOST_STOCKS = 100
MOST_WRONG = 20
Short = Annotated[str, Field(min_length=1, max_length=256)]
Text = Annotated[str, Field(max_length=600)]
Budget = Annotated[float | None, Field(ge=0, le=LARGEST)]
Explore = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int | None, Field(ge=1, le=MOST)]
Basis = Literal["liability", "expected"]


class FloorBody(BaseModel, extra="forbid", strict=True):
    """At least so many members of a group get an offer."""

    attribute: Short
    level: Short
    least: Annotated[int, Field(ge=0, le=MOST_PIECES)]
    offer: Short | None = None
    """Variant, or offer; by default any counts."""


class AudienceBody(BaseModel, extra="forbid", strict=True):
    """What bounds the choice, and who is chosen among."""

    budget: Budget = None
    """Major units; by default as much as pays."""
    budget_basis: Basis = "liability"
    """Whether every issued offer counts as redeemed, or as many as are expected to be."""
    stock: Annotated[dict[Short, Annotated[int, Field(ge=0, le=MOST_PIECES)]], Field(max_length=MOST_STOCKS)] = {}
    """Variant, or offer → pieces."""
    floors: Annotated[list[FloorBody], Field(max_length=MOST_FLOORS)] = []
    explore: Explore = 0.0
    """Share drawn at random whatever the model says: 0, or 0.05 and more."""
    recommendation: Number = None
    """Its number; by default the latest."""
    members: Annotated[list[Short] | None, Field(min_length=1, max_length=MOST_MEMBERS)] = None
    """Unit ids; by default the stored members in the experiment's audience."""
    format: Format = "csv"


class AudienceQuery(BaseModel):
    """The same for a list as the body, and how that is to be read."""

    budget: Annotated[Budget, Field(description="Major units; by default as much as pays")] = None
    budget_basis: Annotated[Basis, Field(description="Count every offer as redeemed, or as many as expected")] = (
        "liability"
    )
    stock: Annotated[
        list[Text], Field(max_length=MOST_STOCKS, description="Variant or offer and its pieces: a=1000; repeatable")
    ] = []
    floors: Annotated[
        list[Text],
        Field(max_length=MOST_FLOORS, description="Group and how many of it get an offer: tier=gold:100; repeatable"),
    ] = []
    explore: Annotated[Explore, Field(description="Share drawn at random: 0, or 0.05 and more")] = 0.0
    recommendation: Annotated[Number, Field(description="Its number; by default the latest")] = None
    as_of: Annotated[
        str | None,
        Field(max_length=64, description="When members are described; by default the beginning of this hour"),
    ] = None
    unit_column: Annotated[
        str | None, Field(max_length=256, description="Column of unit ids; by default the one likely column")
    ] = None
    encoding: Annotated[str | None, Field(max_length=64, description="Of a CSV; found out by default")] = None
    format: Annotated[Format, Field(description="Of the audience file")] = "csv"


@dataclass(frozen=True)
class Wanted:
    """What is asked for, checked."""

    limits: Limits
    recommendation: int | None
    at: int | None
    format: Format
    unit_column: str | None
    encoding: str | None
    members: list[str] | None
    """Ids of the body."""
    listed: bool
    """Whether the body is a list, which is not read yet."""


def wanted() -> Wanted:
    """Return what the request asks for.

    Raises:
        Problem: 400 or 422 naming what does not fit, 415 for a form.
    """
    asked = query(AudienceQuery)
    listed = is_list(request.content_type, has_body=bool(request.content_length))
    if not request.content_length and (asked.unit_column or asked.encoding):
        raise empty_list()  # else a list that came to nothing would be everybody who is stored
    body = None if listed else json_model(AudienceBody, empty=True)
    told = set() if body is None else body.model_fields_set
    stock = _checked("stock", lambda: dict(read_stock(text, "stock") for text in asked.stock))
    floors = _checked("floors", lambda: [read_floor(text, "floors") for text in asked.floors])
    if body is not None and "stock" in told:
        stock = body.stock
    if body is not None and "floors" in told:
        floors = [FloorAsked(floor.attribute, floor.level, floor.least, floor.offer) for floor in body.floors]

    def said(name: str) -> Any:
        return getattr(body if name in told else asked, name)

    as_of = asked.as_of
    return Wanted(
        limits=_checked(
            None,
            lambda: limits(
                budget=said("budget"),
                basis=said("budget_basis"),
                stock=stock,
                floors=floors,
                explore=said("explore"),
            ),
        ),
        recommendation=said("recommendation"),
        at=None if not as_of else _checked("as_of", lambda: read_moment("as_of", as_of)),
        format=said("format"),
        unit_column=_checked("unit_column", lambda: read_column(asked.unit_column)),
        encoding=_checked("encoding", lambda: read_encoding(asked.encoding)),
        members=None if body is None else body.members,
        listed=listed,
    )


def as_list(members: list[str]) -> bytes:
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


def _checked(name: str | None, work: Callable[[], T]) -> T:
    """Do something, with a pointer to what it refuses: ``name``, or what the message begins with."""
    try:
        return work()
    except InputError as error:
        first, _, message = str(error).partition(": ")
        wrong = FieldProblem(f"/{name or first}", "invalid", message or str(error))
        raise Problem(422, "what is asked for does not fit", code="invalid", errors=[wrong]) from None
