"""The two kinds of row the log holds, as they travel from the hot path to the store.

Times are whole microseconds since 1970-01-01 UTC, money is whole minor units, JSON columns are canonical JSON text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from allocation.decision import Decision

DAY_US = 86_400_000_000

DecisionKind = Literal["enrolled", "holdout", "override"]


class DecisionRow(msgspec.Struct, frozen=True, gc=False):
    """One logged assignment; its natural key is ``decision_id`` (design: Identity)."""

    decision_id: str
    """First 32 hex digits of sha256 of the JSON array [experiment, phase, unit_type, unit, occasion]."""
    experiment: str
    revision: int
    phase: int
    unit_type: str
    unit: str
    occasion: str
    kind: DecisionKind
    variant: str | None
    """``None`` for a held-out unit."""
    reason: str
    propensity: float | None
    """Probability with which ``variant`` was drawn; ``None`` for overrides and held-out units."""
    at: int
    frozen: str = "{}"
    """JSON object: the attributes the experiment freezes at decision (stage, tier …), for reports."""
    holdout: str | None = None
    snapshot: str = ""
    """Version of the snapshot that decided."""
    source: str = "decide"
    """Who decided: ``decide`` (this service), ``import:NAME`` (a file of another tool)."""

    @classmethod
    def from_decision(cls, decision: Decision) -> DecisionRow:
        """Return the row that the log keeps of an answer.

        Raises:
            ValueError: when the answer is one that is only counted (``decision.logged`` is false).
        """
        if decision.kind is None or decision.decision_id is None:
            raise ValueError("this decision is only counted, not logged: ask decision.logged first")
        return cls(
            decision.decision_id,
            decision.experiment,
            decision.revision,
            decision.phase,
            decision.unit_type,
            decision.unit,
            decision.occasion,
            decision.kind,
            decision.variant,
            decision.reason,
            decision.propensity,
            decision.at,
            decision.frozen,
            decision.holdout,
            decision.snapshot,
        )


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """One outcome or exposure; its natural key is (source, UTC day of ``at``, event_id)."""

    source: str
    event_id: str
    name: str
    unit_type: str
    unit: str
    at: int
    received_at: int
    object_id: str | None = None
    """What the event is about, such as the order; the latest state of an object counts."""
    value_minor: int | None = None
    currency: str | None = None
    decision_id: str | None = None
    experiment: str | None = None
    properties: str = "{}"

    @property
    def day(self) -> int:
        """Days since 1970-01-01 in UTC: part of the natural key, so that the log can be partitioned."""
        return self.at // DAY_US
