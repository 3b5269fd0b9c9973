"""One row per unit, wherever it came from: the log's table of an experiment, or a file that somebody analyses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.measure.scan import ColumnScan


@dataclass(frozen=True)
class UnitRows:
    """A table of units as everything that reads rows of units takes it."""

    table: Any
    """Ibis table."""
    scans: Mapping[str, ColumnScan]
    """Of the numeric columns that are measured."""
    variants: tuple[str, ...]
    """Control first."""
    variant: str = "variant"
    """Column with the variant."""
    unit: str = "u"
    """Column with a whole number that no two rows share."""
