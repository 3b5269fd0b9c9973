"""What a stage rule may ask of a member's orders and visits, and how it says that these are to be computed."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from experiments.definitions.attribute import AttributeType
from experiments.definitions.base import Model, Name, refuse

PERIODS = (30, 90, 180, 365)
"""Days: a period of n days is the day as of which it is counted and the n − 1 days before it."""
FACTS: dict[str, AttributeType] = {
    "first_order_at": "date",
    "last_order_at": "date",
    "last_login_at": "date",
    "days_since_first_order": "number",
    "days_since_order": "number",
    "days_since_login": "number",
    "orders": "number",
    **{f"orders_{days}d": "number" for days in PERIODS},
    "spend": "number",
    **{f"spend_{days}d": "number" for days in PERIODS},
    "average_order": "number",
    "recency_score": "number",
    "frequency_score": "number",
    "monetary_score": "number",
    "rfm": "string",
    "rfm_segment": "string",
    "p_alive": "number",
    "expected_orders": "number",
    "expected_value": "number",
}
"""Name → type. Money is in units of the project's currency; days are whole days of its time zone."""
OF_LOGIN = frozenset({"last_login_at", "days_since_login"})
OF_VALUE = frozenset({"p_alive", "expected_orders", "expected_value"})
MOVING = frozenset(name for name in FACTS if name.startswith("days_since_"))
"""They change every day by themselves, so they are not stored: a date and ``days_since`` say the same."""

Cuts = Annotated[tuple[Annotated[float, Field(ge=0, le=1e12)], ...], Field(min_length=1, max_length=9)]


class RfmScores(Model):
    """How recency, frequency and money become scores: groups of equal size, or fixed cuts.

    >>> RfmScores().groups, RfmScores(recency=(30, 90), frequency=(2, 5), monetary=(100, 500)).groups
    (5, 3)
    """

    groups: Annotated[int, Field(strict=True, ge=2, le=10)] = 5
    """Scores run from 1 to so many, the best is the largest; members with equal values have equal scores."""
    recency: Cuts | None = None
    """Days since the last order; a value up to the first cut has the best score."""
    frequency: Cuts | None = None
    """Orders; a value from the last cut on has the best score."""
    monetary: Cuts | None = None
    """Spend, in units of the project's currency."""

    @model_validator(mode="before")
    @classmethod
    def _groups_follow_from_cuts(cls, value: object) -> object:
        if isinstance(value, dict) and "groups" not in value:
            cuts = value.get("recency")
            if isinstance(cuts, list | tuple):
                return {**value, "groups": len(cuts) + 1}
        return value

    @model_validator(mode="after")
    def _cuts_hang_together(self) -> RfmScores:
        cuts = {"recency": self.recency, "frequency": self.frequency, "monetary": self.monetary}
        given = {name: cut for name, cut in cuts.items() if cut is not None}
        problems: list[tuple[tuple[str | int, ...], str]] = []
        if given and len(given) < 3:
            missing = next(name for name, cut in cuts.items() if cut is None)
            problems.append(((missing,), "is missing; give cuts for recency, frequency and monetary, or for none"))
        for name, cut in given.items():
            if any(low >= high for low, high in pairwise(cut)):
                problems.append(((name,), "must increase; write the cuts in order, each once"))
            elif len(given) == 3 and len(cut) + 1 != self.groups:
                problems.append(((name,), f"{self.groups} groups need {self.groups - 1} cuts; give as many for each"))
        if problems:
            refuse("rfm", problems)
        return self


class Computed(Model):
    """That the service computes the stages itself, once a day, from events.

    >>> Computed(keep=("last_order_at",)).order
    'Order Completed'
    """

    unit_type: Name = "member"
    order: Name = "Order Completed"
    """The event that is an order. Updates, refunds and cancellations of ``Order Completed`` count as reports count
    them: an order is its latest state, and one that was cancelled or given back in full is none."""
    login: Name | None = None
    """The event that is a login or a visit."""
    joined: Name | None = None
    """A stored attribute, a date: before it a unit is in no stage."""
    rfm: RfmScores = RfmScores()
    horizon_days: Annotated[int, Field(strict=True, ge=1, le=3_650)] = 365
    """What ``expected_orders`` and ``expected_value`` look ahead."""
    keep: Annotated[tuple[Name, ...], Field(max_length=30)] = ()
    """Facts that are stored too, each in the stored attribute of its name."""

    @model_validator(mode="after")
    def _keeps_facts(self) -> Computed:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        for index, name in enumerate(self.keep):
            if name not in FACTS:
                problems.append((("keep", index), f'"{name}" is not a fact; there are {", ".join(FACTS)}'))
            elif name in MOVING:
                dated = name.replace("days_since_", "last_").replace("last_first", "first") + "_at"
                problems.append((("keep", index), f"changes every day by itself; keep {dated} and use days_since"))
            elif name in OF_LOGIN and self.login is None:
                problems.append((("login",), f"is missing; {name} needs the event that is a login"))
        if len(set(self.keep)) != len(self.keep):
            problems.append((("keep",), "names a fact twice; keep one"))
        if problems:
            refuse("computed", problems)
        return self
