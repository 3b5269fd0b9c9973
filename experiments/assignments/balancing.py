"""``balance_on``: a list split evenly within strata, not only on the whole.

Before anybody is told anything the list is gone through once, to find who would be drawn and in which stratum; the
bounds that follow are kept with the job, so that a second attempt splits it as the first one did. Who is enrolled
already, and whose decision the log holds, keeps what they have and is not counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from allocation import stratified
from allocation.compiled import CompiledExperiment
from allocation.decision import Decision
from experiments.assignments.balanceable import check_plan
from experiments.assignments.request import BALANCE, ListRequest
from experiments.definitions import Experiment
from experiments.errors import InputError
from experiments.jobs import files
from experiments.store import Store

MAX_STRATA = 200
"""As many as a report weights effects by."""
SHOWN_STRATA = 50


class Balanced(msgspec.Struct, frozen=True):
    """Where each stratum is cut."""

    attributes: tuple[str, ...]
    variants: tuple[str, ...]
    """Those of the phase, in its order."""
    uppers: dict[str, tuple[str, ...]]
    counts: dict[str, tuple[int, ...]]
    """Stratum → members who get each variant."""

    def of(self, decision: Decision, plan: CompiledExperiment) -> Decision:
        """Return a decision as the list's split has it; those that were not drawn stay as they are."""
        if not drawn(decision):
            return decision
        cut = self.uppers.get(stratum(decision, self.attributes))
        if cut is None:
            return decision
        hashing = plan.hashing()
        hashing.update(decision.unit.encode())
        key = self.variants[stratified.variant(cut, hashing.hexdigest())]
        if key == decision.variant:
            return decision
        outcome = plan.phase.outcomes[key]
        return msgspec.structs.replace(
            decision,
            variant=key,
            propensity=outcome.propensity,
            offer=outcome.given(msgspec.json.decode(decision.frozen)),
        )

    def report(self) -> dict[str, Any]:
        """Return how even the split is, for the job's result: the largest strata, and all of them together."""
        by_size = sorted(self.counts, key=lambda name: (-sum(self.counts[name]), name))
        totals = [sum(column) for column in zip(*self.counts.values(), strict=True)] or [0] * len(self.variants)
        return {
            "attributes": list(self.attributes),
            "strata": len(by_size),
            "units": sum(totals),
            "variants": dict(zip(self.variants, totals, strict=True)),
            "by_stratum": [
                {
                    "levels": dict(zip(self.attributes, msgspec.json.decode(name), strict=True)),
                    "variants": dict(zip(self.variants, self.counts[name], strict=True)),
                }
                for name in by_size[:SHOWN_STRATA]
            ],
        }


def drawn(decision: Decision) -> bool:
    """Whether the draw decided: not an earlier enrolment, an override, a holdout."""
    return decision.kind == "enrolled" and decision.reason == "assigned"


def stratum(decision: Decision, attributes: Iterable[str]) -> str:
    """Return a decision's stratum: the JSON list of its levels, null for what is not known.

    >>> made = Decision(None, "x", 1, 1, "member", "m", "", "enrolled", "a", "assigned", 0.5, 0, '{"b":2}', None, "v")
    >>> stratum(made, ["a", "b"])
    '[null,2]'
    """
    view = msgspec.json.decode(decision.frozen)
    return msgspec.json.encode([view.get(name) for name in attributes]).decode()


def check(request: ListRequest, plan: CompiledExperiment, definition: Experiment) -> None:
    """Refuse to balance what cannot be balanced, or would be analysed as if it had not been.

    Raises:
        InputError: naming the parameter and what to do.
    """
    check_plan(request, plan)
    key = plan.key
    if definition.enrolment != "once":
        raise InputError(f"balance_on: {key} enrols over time; only a list that is known at once can be balanced")
    strata = definition.analysis.strata
    for name in request.balance_on:
        if name not in strata:
            there = f"it has {', '.join(strata)}" if strata else "it has none"
            raise InputError(
                f"balance_on: {name!r} is not among the strata that {key} is analysed by ({there}); "
                "write it under analysis: strata before launch"
            )


def split(
    request: ListRequest, plan: CompiledExperiment, found: Iterable[Decision], progress: Callable[[], None]
) -> Balanced:
    """Return where each stratum is cut.

    Args:
        request: the list's; says what to balance on.
        plan: the experiment.
        found: the decisions that the draw made, a unit perhaps several times.
        progress: called now and then; may raise to stop.

    Raises:
        InputError: when there are too many strata.
    """
    places: dict[str, array[int]] = {}
    for at, decision in enumerate(found):
        name = stratum(decision, request.balance_on)
        hashing = plan.hashing()
        hashing.update(decision.unit.encode())
        if name not in places:
            places[name] = array("Q")
        places[name].append(stratified.place(hashing.hexdigest()))
        if not at % 10_000:
            progress()
        if len(places) > MAX_STRATA:
            raise InputError(
                f"balance_on: {', '.join(request.balance_on)} have more than {MAX_STRATA} combinations on this list; "
                "balance on fewer attributes, or on ones with fewer values"
            )
    ordered = {name: sorted(set(own)) for name, own in sorted(places.items())}
    phase = plan.plan.phase
    counts = stratified.apportion([len(own) for own in ordered.values()], phase.weights, phase.salt)
    return Balanced(
        request.balance_on,
        tuple(variant.key for variant in plan.plan.variants),
        stratified.uppers(ordered, phase.weights, phase.salt),
        dict(zip(ordered, counts, strict=True)),
    )


def kept(store: Store, request: ListRequest) -> Balanced | None:
    """Return the split that an earlier attempt kept."""
    file = files.find(store, request.job_id, BALANCE)
    return None if file is None else msgspec.json.decode(b"".join(files.read(store, file)), type=Balanced)


def keep(store: Store, request: ListRequest, balanced: Balanced) -> None:
    """Keep a split with the job."""
    text = msgspec.json.encode(balanced)
    files.save(store, request.job_id, BALANCE, [text], name="balance.json", media_type="application/json")
