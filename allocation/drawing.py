"""Deciding for many units of an experiment that does nothing but draw: `allocation.decide` with the order taken out.

Most experiments of a campaign have no audience of their own, no lists and no layer, and their list is decided at once.
What can be asked once is asked once; what remains are two hashes for each unit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from allocation import answers
from allocation.audience import first_unknown
from allocation.compiled import CompiledExperiment
from allocation.decision import Decision, check_occasion
from allocation.hashing import DIGITS, MAX_UNIT_BYTES, check_unit

_encode = msgspec.json.encode


Draw = Callable[[str, Mapping[str, Any]], Decision | str]
"""Takes a unit and its attributes. Returns the decision; or only its reason, for who gets nothing and differs from
others who get nothing for that reason by the unit alone: `allocation.answers.nothing` makes the decision of it."""


def drawer(plan: CompiledExperiment, now: int, occasion: str = "") -> Draw | None:
    """Return a function that decides a unit without state as `allocation.decide` does, only sooner.

    Args:
        plan: of the experiment.
        now: microseconds since 1970-01-01 UTC, for all units.
        occasion: what the decisions are for.

    Returns:
        The function, which raises `UnitError` as `decide` does; ``None`` for an experiment that does more than draw, or
        does not run at this time.

    Raises:
        OccasionError: an occasion with other characters than allowed.

    >>> from allocation.compiled import compile_snapshot
    >>> from allocation.plan import ExperimentPlan, PhasePlan, Snapshot, VariantPlan
    >>> plan = ExperimentPlan("winback", 1, "running", (VariantPlan("control"), VariantPlan("a")),
    ...                       (PhasePlan(1, "00c0ffee00c0ffee", (1, 1)),))
    >>> draw = drawer(compile_snapshot(Snapshot("v1", 0, {"winback": plan})).experiments["winback"], now=0)
    >>> draw("m-1", {}).variant
    'a'
    """
    more = plan.needs_state or plan.listed or plan.frozen or plan.holdouts
    if more or plan.stored or plan.layer is not None or plan.draw is not None:
        return None
    if not plan.opens <= now < plan.closes:
        return None
    check_occasion(occasion)
    tail = b',"%b"]' % occasion.encode()
    hashing, identity, traffic = plan.hashing, plan.phase.identity, plan.traffic
    uppers, outcomes, encode, make = plan.uppers, plan.outcomes, _encode, Decision
    experiment, revision, phase, unit_type = plan.key, plan.revision, plan.phase.number, plan.unit_type
    snapshot, audience = plan.snapshot, plan.audience

    def draw(unit: str, attributes: Mapping[str, Any]) -> Decision | str:
        try:
            raw = unit.encode()
        except (AttributeError, UnicodeEncodeError):
            raw = b""
        if not 0 < len(raw) <= MAX_UNIT_BYTES or b"\x00" in raw:
            check_unit(unit)
        if audience is not None:
            inside = audience(attributes, now)
            if inside is None:
                missing = None if plan.rule is None else first_unknown(plan.rule, attributes, now)
                return answers.nothing(plan, unit, occasion, now, "missing_attribute", False, missing)
            if not inside:
                return "not_in_audience"
        hashed = hashing()
        hashed.update(raw)
        digest = hashed.hexdigest()
        if not digest[DIGITS:] < traffic:
            return "not_in_traffic"
        outcome = outcomes[bisect_right(uppers, digest)]
        hashed = identity()
        hashed.update(encode(unit) + tail)
        return make(
            hashed.hexdigest()[:32],
            experiment,
            revision,
            phase,
            unit_type,
            unit,
            occasion,
            "enrolled",
            outcome.variant,
            "assigned",
            outcome.propensity,
            now,
            "{}",
            None,
            snapshot,
            outcome.offer,
        )

    return draw
