"""Who gets what: one function, its steps from top to bottom in the order that the design gives them.

running → personalisation opt-out → allow-list override → exclusion list → enrolment → audience → holdout → layer slot →
traffic → variant. `explain` is the same function with a visitor that writes down each step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from allocation import answers
from allocation.audience import days_ago, first_unknown
from allocation.compiled import CompiledExperiment, CompiledSnapshot
from allocation.decision import REASONS, Decision, Enrolment, MemberState, OccasionError, check_occasion, decision_id
from allocation.hashing import DIGITS, MAX_UNIT_BYTES, check_unit
from allocation.offers import OfferBy

__all__ = [
    "REASONS",
    "Decision",
    "Enrolment",
    "MemberState",
    "OccasionError",
    "Step",
    "UnknownExperimentError",
    "Visitor",
    "decide",
    "decision_id",
    "explain",
]

NOTHING: Mapping[str, Any] = {}
_encode = msgspec.json.encode

Visitor = Callable[[str, bool | None, dict[str, Any]], None]
"""Told of each step: its name, whether the unit goes on (``None``: it has its variant), and what that was read from."""


class UnknownExperimentError(LookupError):
    """No experiment of this key is in the snapshot."""


def decide(  # noqa: C901 - the whole order in one place, to be read from top to bottom
    snapshot: CompiledSnapshot,
    experiment: str,
    unit: str,
    *,
    now: int,
    attributes: Mapping[str, Any] = NOTHING,
    state: MemberState | None = None,
    occasion: str = "",
    visit: Visitor | None = None,
) -> Decision:
    """Decide which variant a unit gets. Pure: the same arguments give the same answer on every node, for ever.

    Args:
        snapshot: compiled once by `allocation.compile_snapshot`.
        experiment: its key.
        unit: text of 1 to 256 UTF-8 bytes, of the experiment's unit type.
        now: microseconds since 1970-01-01 UTC.
        attributes: those declared ``request``; others are not looked at.
        state: what is known of the member; ``None`` when nothing is, or when the experiment needs nothing.
        occasion: what the decision is for (a send, a cart); part of its identity, not of the hash.
        visit: told of every step, see `explain`.

    Raises:
        UnknownExperimentError: no such experiment in the snapshot.
        UnitError: a unit id that cannot be hashed.
        OccasionError: an occasion with other characters than allowed.

    >>> from allocation.compiled import compile_snapshot
    >>> from allocation.plan import ExperimentPlan, PhasePlan, Snapshot, VariantPlan
    >>> plan = ExperimentPlan("winback", 1, "running", (VariantPlan("control"), VariantPlan("a", {"key": "coupon-20"})),
    ...                       (PhasePlan(1, "00c0ffee00c0ffee", (1, 1)),))
    >>> snapshot = compile_snapshot(Snapshot("v1", 0, {"winback": plan}))
    >>> answer = decide(snapshot, "winback", "m-1", now=0)
    >>> answer.variant, answer.reason, answer.offer, answer.propensity
    ('a', 'assigned', {'key': 'coupon-20'}, 0.5)
    """
    try:
        unit_bytes = unit.encode()
    except (AttributeError, UnicodeEncodeError):
        unit_bytes = b""
    if not 0 < len(unit_bytes) <= MAX_UNIT_BYTES or "\x00" in unit:
        check_unit(unit)
    if occasion:
        check_occasion(occasion)
    plan = snapshot.experiments.get(experiment)
    if plan is None:
        why = snapshot.refused.get(experiment)
        if why is None:
            raise UnknownExperimentError(f'no experiment "{experiment}" is published; check the key, or publish it')
        if visit is not None:
            visit("refused", False, {"why": why})
        return answers.refused(snapshot.version, experiment, unit, occasion, now)

    running = plan.opens <= now < plan.closes
    if visit is not None:
        visit("running", running, {"state": plan.plan.state, "start": plan.plan.start, "end": plan.plan.end})
    if not running:
        reason = plan.closed or ("not_started" if now < plan.opens else "ended")
        return answers.nothing(plan, unit, occasion, now, reason)

    known = None
    if state is not None or visit is not None:
        opted_out = state is not None and state.opted_out
        if visit is not None:
            visit("opt_out", not opted_out, {"opted_out": opted_out, "state_given": state is not None})
        if opted_out:
            return answers.nothing(plan, unit, occasion, now, "opted_out")
        if state is not None and state.state_known:
            known = state
    unknown = known is None and plan.needs_state

    if plan.listed or visit is not None:
        variant = plan.overrides.get(unit)
        if visit is not None:
            visit("override", None if variant is not None else not plan.testing, {"variant": variant})
        if variant is not None:
            outcome = plan.phase.outcomes[variant]
            view = NOTHING if outcome.own is None else _view(plan, attributes, known)
            if visit is not None and outcome.own is not None:
                _tell_of_offer(visit, outcome.own, view)
            return answers.override(plan, unit, occasion, now, outcome, outcome.given(view))
        if plan.testing:
            return answers.nothing(plan, unit, occasion, now, "testing")
        excluded = unit in plan.excluded
        if visit is not None:
            visit("exclusion", not excluded, {"listed": len(plan.excluded)})
        if excluded:
            return answers.nothing(plan, unit, occasion, now, "excluded")

    place: answers.Place | None = None
    if plan.needs_enrolment or (state is not None and state.linked):
        place = _place(plan, state)
        goes_on = None if place is not None and plan.sticky else place is not None or not plan.paused
        if visit is not None:
            enrolment = None if state is None else state.enrolments.get(experiment)
            given = {"state_known": known is not None, "enrolment": enrolment}
            linked = 0 if state is None else len(state.linked)
            kept = {"sticky": plan.sticky, "kept_phases": sorted(plan.kept), "linked": linked}
            visit("enrolment", goes_on, {**given, **kept})
        if goes_on is False:
            return answers.nothing(plan, unit, occasion, now, "paused", unknown)

    view = attributes if plan.reads == "request" else _view(plan, attributes, known)
    if visit is not None and place is not None and plan.sticky and place[1].own is not None:
        _tell_of_offer(visit, place[1].own, view)
    if place is not None and plan.sticky:
        return answers.enrolled(plan, place, unit, occasion, now, "kept", view, unknown)

    if plan.audience is not None:
        inside = plan.audience(view, now)
        missing = first_unknown(plan.rule, view, now) if inside is None and plan.rule is not None else None
        if visit is not None:
            used = {name: view[name] for name in plan.rule.attributes if name in view} if plan.rule else {}
            days = days_ago(plan.rule, used, now) if plan.rule else {}
            told = {"rule": plan.plan.audience, "attributes": used, "days": days, "missing": missing}
            visit("audience", bool(inside), told)
        if not inside:
            reason = "not_in_audience" if inside is not None else "missing_attribute"
            return answers.nothing(plan, unit, occasion, now, reason, unknown, missing)
    if place is not None:  # enrolled in a phase that the current one keeps, or under another id: not drawn again
        if visit is not None:
            visit("kept", None, {"phase": place[0].number, "variant": place[1].variant})
            if place[1].own is not None:
                _tell_of_offer(visit, place[1].own, view)
        return answers.enrolled(plan, place, unit, occasion, now, "kept", view, unknown)

    for holdout in plan.holdouts:
        hashing = holdout.hashing()
        hashing.update(unit_bytes)
        digest = hashing.hexdigest()
        held = digest < holdout.below
        if visit is not None:
            visit("holdout", not held, {"holdout": holdout.key, "digits": digest[:DIGITS], "share": holdout.share})
        if held:
            return answers.held_out(plan, unit, occasion, now, holdout.key, view, unknown)

    if plan.layer is not None:
        hashing = plan.layer.hashing()
        hashing.update(unit_bytes)
        digest = hashing.hexdigest()
        within = False
        for low, high in plan.layer.slots:
            if low <= digest < high:
                within = True
                break
        if visit is not None:
            visit("layer", within, {"layer": plan.layer.key, "digits": digest[:DIGITS], "slots": plan.layer.shares})
        if not within:
            return answers.nothing(plan, unit, occasion, now, "other_slot", unknown)

    hashing = plan.hashing()
    hashing.update(unit_bytes)
    digest = hashing.hexdigest()
    within = digest[DIGITS:] < plan.traffic
    if visit is not None:
        visit("traffic", within, {"digits": digest[DIGITS : 2 * DIGITS], "share": plan.plan.phase.traffic})
    if not within:
        return answers.nothing(plan, unit, occasion, now, "not_in_traffic", unknown)

    if plan.draw is None:
        outcome = plan.outcomes[bisect_right(plan.uppers, digest)]
    else:
        outcome = plan.draw(digest, unit, occasion, view, now)
    if visit is not None and plan.describe is not None:
        visit("variant", None, plan.describe(unit, occasion, view, now))
    elif visit is not None:
        weights = dict(zip(plan.phase.outcomes, plan.plan.phase.weights, strict=True))
        visit("variant", None, {"digits": digest[:DIGITS], "weights": weights, "variant": outcome.variant})
    if visit is not None and outcome.own is not None:
        _tell_of_offer(visit, outcome.own, view)
    # What most decisions end with is written out: `answers.enrolled`, without the calls.
    hashing = plan.phase.identity()
    hashing.update(_encode(unit) + (b',"%b"]' % occasion.encode() if occasion else b',""]'))
    return Decision(
        hashing.hexdigest()[:32],
        plan.key,
        plan.revision,
        plan.phase.number,
        plan.unit_type,
        unit,
        occasion,
        "enrolled",
        outcome.variant,
        "assigned",
        outcome.propensity,
        now,
        answers.frozen_json(plan.frozen, view) if plan.frozen else "{}",
        None,
        plan.snapshot,
        outcome.offer if outcome.own is None else outcome.own.of(view),
        None,
        unknown,
        outcome.policy,
    )


class Step(msgspec.Struct, frozen=True):
    """One step of an explanation."""

    name: str
    """running, opt_out, override, exclusion, enrolment, audience, kept, holdout, layer, traffic, variant, refused; and
    offer, where a variant gives each unit its own."""
    goes_on: bool | None
    """True: to the next step. False: the unit gets nothing. ``None``: it has its variant."""
    detail: dict[str, Any]
    """What the step was decided from."""


def explain(
    snapshot: CompiledSnapshot,
    experiment: str,
    unit: str,
    *,
    now: int,
    attributes: Mapping[str, Any] = NOTHING,
    state: MemberState | None = None,
    occasion: str = "",
) -> tuple[Decision, list[Step]]:
    """Decide, and say step by step why. Arguments, answer and errors are those of `decide`, which it calls.

    >>> from allocation.compiled import compile_snapshot
    >>> from allocation.plan import ExperimentPlan, PhasePlan, Snapshot, VariantPlan
    >>> plan = ExperimentPlan("winback", 1, "running", (VariantPlan("control"),), (PhasePlan(1, "c0ffee", (1,)),))
    >>> answer, steps = explain(compile_snapshot(Snapshot("v1", 0, {"winback": plan})), "winback", "m-1", now=0)
    >>> [step.name for step in steps]
    ['running', 'opt_out', 'override', 'exclusion', 'traffic', 'variant']
    """
    steps: list[Step] = []

    def write_down(name: str, goes_on: bool | None, detail: dict[str, Any]) -> None:
        steps.append(Step(name, goes_on, detail))

    answer = decide(
        snapshot, experiment, unit, now=now, attributes=attributes, state=state, occasion=occasion, visit=write_down
    )
    return answer, steps


def _tell_of_offer(visit: Visitor, own: OfferBy, view: Mapping[str, Any]) -> None:
    given = own.of(view)
    value = view.get(own.attribute)
    offer = None if given is None else given.get("key")
    visit("offer", None, {"attribute": own.attribute, "value": value, "offer": offer, "given": given is not None})


def _view(plan: CompiledExperiment, attributes: Mapping[str, Any], known: MemberState | None) -> Mapping[str, Any]:
    """Return each attribute from the one place it is declared to come from."""
    if plan.reads == "nothing":
        return NOTHING
    held = NOTHING if known is None else known.attributes
    if plan.reads == "stored":
        return held
    view = {name: value for name, value in attributes.items() if name not in plan.stored}
    view.update((name, held[name]) for name in plan.stored if name in held)
    return view


def _place(plan: CompiledExperiment, state: MemberState | None) -> answers.Place | None:
    """Return the phase and outcome that a member keeps: it was enrolled, and the current phase keeps that one's.

    An enrolment counts wherever it is known from: attributes grow old, but that somebody was enrolled stays true.
    """
    enrolment = None if state is None else state.enrolments.get(plan.key)
    phase = None if enrolment is None else plan.kept.get(enrolment.phase)
    if enrolment is None or phase is None or enrolment.variant not in phase.outcomes:
        return None
    return phase, phase.outcomes[enrolment.variant]
