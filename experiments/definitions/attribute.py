"""An attribute: what is known about a unit, and who knows it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.definitions.base import Model, Name, Text

AttributeType = Literal["string", "number", "boolean", "date", "list"]


class Attribute(Model):
    """One attribute that audience rules, breakdowns and covariates may name.

    >>> Attribute(type="string", changes_with_offer=True).kept
    'stored'
    """

    type: AttributeType
    kept: Literal["stored", "request"] = "stored"
    """``stored``: in the member state that the worker publishes. ``request``: sent with each decide call."""
    changes_with_offer: Annotated[bool, Field(strict=True)] = False
    """Whether an offer can change it (stage, last order). Audiences that use one are sticky by default."""
    label: Text | None = None
    levels: dict[Name, Text] = Field(default_factory=dict, max_length=200)
    """What its values are called: ``{gold: {en: Gold, zh-CN: 金卡}}``. Stages have the names of their rule."""
