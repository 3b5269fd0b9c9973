"""Unit ids out of a file: usable, and not personal unless the project allows it."""

from __future__ import annotations

from collections.abc import Callable

from allocation.hashing import UnitError, check_unit
from experiments.definitions import Project
from experiments.importing.run import BadRowError
from experiments.importing.values import CellError
from experiments.personal import personal_id


def unit_reader(project: Project) -> Callable[[str], str]:
    """Return a function that returns a unit id, or raises CellError with the reason."""
    allowed = project.allow_personal_ids

    def read(text: str) -> str:
        try:
            unit = check_unit(text)
        except UnitError as error:
            raise CellError(str(error)) from None
        refused = None if allowed else personal_id(unit)
        if refused:
            raise BadRowError(refused, "personal_id")
        return unit

    return read
