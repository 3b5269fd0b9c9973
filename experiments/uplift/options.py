"""What a recommendation is asked for: which outcome, at which prices, learned from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """Of an experiment's log; what is left out is chosen from its definition."""

    phase: int | None = None
    """By default the latest."""
    outcome: str | None = None
    """Key of one of its metrics; by default its first primary metric that is a proportion, else the first that is one
    number for each unit."""
    value: float | None = None
    """Money that an outcome of 1 earns before offer costs; by default the mean margin that the log shows."""
    seed: int = 0
    folds: int = 5


@dataclass(frozen=True)
class FileOptions:
    """Of a file with one row per unit."""

    variant: str
    """Column with the arm."""
    control: str
    """The arm without an offer."""
    outcome: str
    """Column of numbers."""
    attributes: Sequence[str] = ()
    """Columns that were known before the arm was drawn; or `all_but`."""
    all_but: Sequence[str] | None = None
    """Learn from every other column."""
    unit: str | None = None
    value: float | None = None
    """Money that an outcome of 1 earns before offer costs."""
    redemption_cost: Sequence[str] = ()
    """``30`` for every offer, or ``a=30``."""
    redeemed: str | None = None
    """Column with how often a unit redeemed, or the share of outcomes that do (``0.9``)."""
    contact_cost: Sequence[str] = ()
    """As ``redemption_cost``."""
    currency: str | None = None
    split: str | None = None
    """Intended weights, ``"A=1,B=2"``; as many as there are rows by default."""
    propensity: Sequence[str] = ()
    """``a=COLUMN``: with which probability each unit would have been given the arm; or one column, of the arm given."""
    observational: bool = False
    """Nobody drew the arms: diagnosed, and refused."""
    recency: str | None = None
    """Column with days since the last order: for the RFM rule beside."""
    frequency: str | None = None
    monetary: str | None = None
    encoding: str | None = None
    alpha: float = 0.05
    seed: int = 0
    folds: int = 5
