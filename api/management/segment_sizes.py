"""What the list of segments adds to each: how many members it describes, as they were counted last."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from pydantic import BaseModel

from api.services import Services
from experiments.segments.asking import latest


class SegmentSize(BaseModel):
    """How many members a segment had when it was counted: once a day, and after rules or computed stages change."""

    as_of: str
    revision: int
    """Of the segment, whose rule was counted."""
    unit_type: str
    members: int | None
    """Whose stored attributes make the rule true; ``null`` where they cannot tell."""
    opted_out: int | None
    """Of these, how many refused personalisation."""
    held_out: int | None
    """Of these, how many are in a global holdout."""
    why: str | None
    """Why nothing is counted."""


def sizes(services: Services) -> Callable[[str], dict[str, object]]:
    """Return what is added to the segment of a key; ``size`` is ``None`` while it was not counted."""
    counted = latest(services.store)

    def size(key: str) -> dict[str, object]:
        found = None if counted is None else counted.segments.get(key)
        if counted is None or found is None:
            return {"size": None}
        return {"size": {"as_of": counted.as_of, **msgspec.to_builtins(found)}}

    return size
