"""The answer to "who gets what": its identity, its reasons, and the member state it was made from."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import msgspec

REASONS: dict[str, str] = {
    "assigned": "Drawn by the hash, or by the policy.",
    "kept": "Enrolled before, and keeps its variant.",
    "override": "On the allow-list of testers; left out of every analysis.",
    "holdout": "In a holdout, and would have been eligible: gets nothing, and is compared with.",
    "refused": "This node cannot decide the experiment (it needs a newer version, or its plan is broken).",
    "not_running": "The experiment is a draft or in review.",
    "testing": "The experiment is in testing: only the allow-list gets variants.",
    "paused": "The experiment is paused: no new members; enrolled ones keep their variant.",
    "not_started": "The schedule has not begun.",
    "ended": "The schedule is over, or the experiment was ended.",
    "opted_out": "The member opted out of personalisation.",
    "excluded": "On the exclusion list of the project or of the experiment: staff, bots.",
    "not_in_audience": "The audience rule is false for this member.",
    "missing_attribute": "The audience rule needs an attribute that is not known.",
    "other_slot": "Another part of the layer's members belongs to this experiment.",
    "not_in_traffic": "In the audience, but not in the share of it that is enrolled.",
}
"""The published enumeration of `Decision.reason`: code → what it means. Codes are only ever added."""

OCCASION = re.compile(r"[A-Za-z0-9._-]{0,64}", re.ASCII)


class OccasionError(ValueError):
    """An occasion that cannot be part of a decision's identity."""


class Enrolment(msgspec.Struct, frozen=True, gc=False):
    """A member's place in an experiment."""

    phase: int
    variant: str
    since: int
    """Microsecond of the first decision."""


class MemberState(msgspec.Struct, frozen=True):
    """What a node knows about a member beside the request."""

    attributes: dict[str, Any] = {}
    """Those declared ``stored``."""
    enrolments: dict[str, Enrolment] = {}
    """Experiment → enrolment; of a unit with several ids the earliest one that any of them has."""
    opted_out: bool = False
    """Opted out of personalisation. Honoured by every experiment, also by those that need no state."""
    state_known: bool = True
    """False when what is published about the member is missing or too old: ``attributes`` are then not looked at.
    An opt-out or enrolment that is known all the same counts; there may be others that are not known."""
    linked: tuple[str, ...] = ()
    """The other ids of the same unit. A unit that has some keeps its first variant in every experiment, also in those
    that need no state: drawn by its own id, another of its ids might get another variant."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """One answer. The fields up to ``snapshot`` are those of the log's row, in its order."""

    decision_id: str | None
    """See `decision_id`; ``None`` when nothing is logged."""
    experiment: str
    revision: int
    phase: int
    """The phase that the unit counts in: of its enrolment where that is kept, else the current one."""
    unit_type: str
    unit: str
    occasion: str
    kind: Literal["enrolled", "holdout", "override"] | None
    """What the log keeps; other answers are only counted, and have ``None``."""
    variant: str | None
    reason: str
    """One of `REASONS`."""
    propensity: float | None
    """Probability with which ``variant`` was drawn among the enrolled; ``None`` for overrides and held-out units, and
    for an enrolment that the phase's split could not have drawn."""
    at: int
    frozen: str
    """JSON object of the attributes that the experiment freezes at decision."""
    holdout: str | None
    snapshot: str
    """Version of the snapshot that decided."""
    offer: dict[str, Any] | None = None
    """What the variant gives. Shared by all decisions of a snapshot, and immutable."""
    missing_attribute: str | None = None
    """The first attribute that the audience needed and nobody knew."""
    state_unknown: bool = False
    """The experiment needs member state and there was none: answered without it."""
    policy: str | None = None
    """JSON object of how a policy drew, see `allocation.bandits.drawing`; ``None`` where the hash did."""

    @property
    def logged(self) -> bool:
        """Whether the log keeps this decision."""
        return self.kind is not None

    @property
    def enrolled(self) -> bool:
        """Whether the unit has a variant, by draw, enrolment or override."""
        return self.variant is not None


def decision_id(experiment: str, phase: int, unit_type: str, unit: str, occasion: str = "") -> str:
    """Return a decision's identity: 32 hex digits of the sha256 of ``[experiment,phase,unit_type,unit,occasion]``.

    The array is compact JSON in UTF-8 as JavaScript's ``JSON.stringify`` writes it (no spaces, nothing escaped that
    need not be), so any caller can compute it.

    >>> decision_id("winback", 1, "member", "m-1")
    'b18c4f0b2f7b48f793184de24dc2b091'
    """
    text = msgspec.json.encode([experiment, phase, unit_type, unit, occasion])
    return hashlib.sha256(text).hexdigest()[:32]


def check_occasion(occasion: object) -> str:
    """Return ``occasion`` when it is usable: up to 64 of ``A-Z a-z 0-9 . _ -``, empty for "once per phase".

    Raises:
        OccasionError: saying what is allowed.

    >>> check_occasion("send-2026-03-01")
    'send-2026-03-01'
    """
    if not isinstance(occasion, str) or OCCASION.fullmatch(occasion) is None:
        raise OccasionError("occasion must be up to 64 characters of A-Z a-z 0-9 . _ - (a send id, a cart id)")
    return occasion
