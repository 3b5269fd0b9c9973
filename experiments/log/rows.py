"""The kinds of row the log holds, as they travel from the hot path to the store.

Times are whole microseconds since 1970-01-01 UTC, money is whole minor units, JSON columns are canonical JSON text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from allocation.decision import Decision

DAY_US = 86_400_000_000

SKEW_US = 10 * 60 * 1_000_000
"""How far a sender's clock may be off before its times are corrected: correcting always would reorder events."""

BULK_SOURCE = "ofrep:bulk"
"""Source of decisions for apps that evaluate everything at start, whatever of it they show."""

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
    """Who decided: ``decide`` (this service), ``ofrep``, ``ofrep:bulk`` (`BULK_SOURCE`),
    ``list:JOB`` (a list), ``import:NAME`` (a file of another tool)."""
    send_at: int | None = None
    """When the message is scheduled to leave, where that is known at the decision: for every variant, control too."""
    policy: str | None = None
    """JSON object of how a policy drew (`allocation.bandits.drawing`): version, group, eligible variants and their
    probabilities, encoded features. ``None`` where the hash drew."""

    @classmethod
    def from_decision(cls, decision: Decision, source: str = "decide", send_at: int | None = None) -> DecisionRow:
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
            source,
            send_at,
            decision.policy,
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
    stated_at: int | None = None
    """What the sender's clock said, where ``at`` was corrected for it; ``None`` where they are the same."""

    @property
    def day(self) -> int:
        """Days since 1970-01-01 in UTC of the event's own timestamp, as stated: part of the natural key.

        A repeat of the event states the same, whatever its correction, and so finds the first one.
        """
        return (self.at if self.stated_at is None else self.stated_at) // DAY_US


class TraitsRow(msgspec.Struct, frozen=True, gc=False):
    """What a source says about a unit: stored attributes, an opt-out. Each attribute's latest statement counts."""

    source: str
    unit_type: str
    unit: str
    at: int
    received_at: int
    attributes: str = "{}"
    """JSON object of declared stored attributes; ``null`` means no longer known."""
    opted_out: bool | None = None
    """``None`` where nothing was said about it."""


class AliasRow(msgspec.Struct, frozen=True, gc=False):
    """Two ids are one unit. The first assignment of either counts for both."""

    source: str
    unit_type: str
    unit: str
    other: str
    at: int
    received_at: int
