"""The answers that deciding can end with.

Decisions are built by position: by name, a Struct of this many fields takes five times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from allocation.compiled import CompiledExperiment, CompiledPhase, Outcome
from allocation.decision import Decision
from allocation.offers import Offer

Place = tuple[CompiledPhase, Outcome]
"""What a unit has: a variant, and the phase that gave it."""

_encode = msgspec.json.encode


def identity(phase: CompiledPhase, unit: str, occasion: str) -> str:
    """Return `decision_id`, the beginning of which has been hashed already."""
    hashing = phase.identity()
    hashing.update(_encode(unit) + (b',"%b"]' % occasion.encode() if occasion else b',""]'))
    digits: str = hashing.hexdigest()
    return digits[:32]


def frozen_json(names: tuple[str, ...], view: Mapping[str, Any]) -> str:
    """Return the attributes that an experiment freezes, those that are known, as a JSON object."""
    return _encode({name: view[name] for name in names if name in view}).decode()


def enrolled(
    plan: CompiledExperiment,
    place: Place,
    unit: str,
    occasion: str,
    now: int,
    reason: str,
    view: Mapping[str, Any],
    unknown: bool,
) -> Decision:
    """Return the answer for a unit that has a variant and counts, in the phase that gave it."""
    phase, outcome = place
    return Decision(
        identity(phase, unit, occasion),
        plan.key,
        plan.revision,
        phase.number,
        plan.unit_type,
        unit,
        occasion,
        "enrolled",
        outcome.variant,
        reason,
        outcome.propensity,
        now,
        frozen_json(plan.frozen, view) if plan.frozen else "{}",
        None,
        plan.snapshot,
        outcome.offer if outcome.own is None else outcome.own.of(view),
        None,
        unknown,
    )


def override(
    plan: CompiledExperiment, unit: str, occasion: str, now: int, outcome: Outcome, offer: Offer | None
) -> Decision:
    """Return the answer for a unit of the allow-list."""
    return Decision(
        identity(plan.phase, unit, occasion),
        plan.key,
        plan.revision,
        plan.phase.number,
        plan.unit_type,
        unit,
        occasion,
        "override",
        outcome.variant,
        "override",
        None,
        now,
        "{}",
        None,
        plan.snapshot,
        offer,
    )


def held_out(
    plan: CompiledExperiment,
    unit: str,
    occasion: str,
    now: int,
    holdout: str,
    view: Mapping[str, Any],
    unknown: bool,
) -> Decision:
    """Return the answer for a unit that is eligible and in a holdout."""
    return Decision(
        identity(plan.phase, unit, occasion),
        plan.key,
        plan.revision,
        plan.phase.number,
        plan.unit_type,
        unit,
        occasion,
        "holdout",
        None,
        "holdout",
        None,
        now,
        frozen_json(plan.frozen, view) if plan.frozen else "{}",
        holdout,
        plan.snapshot,
        None,
        None,
        unknown,
    )


def nothing(
    plan: CompiledExperiment,
    unit: str,
    occasion: str,
    now: int,
    reason: str,
    unknown: bool = False,
    missing: str | None = None,
) -> Decision:
    """Return the answer for a unit that gets nothing and is only counted."""
    return Decision(
        None,
        plan.key,
        plan.revision,
        plan.phase.number,
        plan.unit_type,
        unit,
        occasion,
        None,
        None,
        reason,
        None,
        now,
        "{}",
        None,
        plan.snapshot,
        None,
        missing,
        unknown,
    )


def refused(version: str, experiment: str, unit: str, occasion: str, now: int) -> Decision:
    """Return the answer for an experiment that this node cannot decide."""
    return Decision(None, experiment, 0, 0, "", unit, occasion, None, None, "refused", None, now, "{}", None, version)
