"""The project: its currency, its time zone, and every attribute that rules may use."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from experiments.definitions import money
from experiments.definitions.attribute import Attribute
from experiments.definitions.base import Model, Name, Text, unit_list
from experiments.definitions.standing import Standing

PROJECT_KEY = "project"


def _currency(value: str) -> str:
    money.exponent(value)
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'"{value}" is not an IANA time zone; write Asia/Shanghai, Europe/Berlin, UTC …') from None
    return value


class Project(Model):
    """One deployment's frame; there is exactly one.

    >>> Project(kind="project", name="Harbour Retail", currency="CNY", time_zone="Asia/Shanghai").currency
    'CNY'
    """

    kind: Literal["project"]
    name: Text
    currency: Annotated[str, AfterValidator(_currency)]
    """ISO 4217 code. Frozen into each experiment at its launch."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """IANA name; defines day, week and quiet hours."""
    attributes: dict[Name, Attribute] = Field(default_factory=dict)
    standing: Standing | None = None
    """What members have off every order without any campaign, by tier: offers cost and give what they add to it."""
    unit_types: tuple[Name, ...] = ("member",)
    """What may be randomised: member, device, household, store …"""
    exclude: dict[Name, Annotated[tuple[str, ...], BeforeValidator(unit_list)]] = Field(default_factory=dict)
    """Unit type → units that take part in no experiment: staff, bots."""
    allow_personal_ids: Annotated[bool, Field(strict=True)] = False
    """Whether unit ids that look like e-mail addresses or telephone numbers are accepted."""

    @property
    def key(self) -> str:
        """The project's fixed key."""
        return PROJECT_KEY

    def attribute_types(self) -> dict[str, str]:
        """Return each attribute's type by name, as audience rules need them."""
        return {name: attribute.type for name, attribute in self.attributes.items()}
