"""The states of an experiment, the moves between them, and what may change in each: pure rules, no store.

    draft → review → testing → running ⇄ paused → ended → decided

In ``testing`` only the allow-list gets variants. An edit in ``review`` or ``testing`` that changes the design sends
the experiment back to ``draft``: what was reviewed is what runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

from experiments.definitions import Experiment, Problem
from experiments.definitions.allocation import Allocation

State = Literal["draft", "review", "testing", "running", "paused", "ended", "decided"]
STATES: tuple[State, ...] = ("draft", "review", "testing", "running", "paused", "ended", "decided")

MOVES: dict[State, tuple[State, ...]] = {
    "draft": ("review",),
    "review": ("draft", "testing", "running"),
    "testing": ("draft", "running"),
    "running": ("paused", "ended"),
    "paused": ("running", "ended"),
    "ended": ("decided",),
    "decided": (),
}
"""State → states it may move to."""

LAUNCHED: frozenset[State] = frozenset({"running", "paused", "ended", "decided"})
"""States in which the design is frozen."""
ACTIVE: frozenset[State] = frozenset({"testing", "running", "paused"})
"""States that a snapshot carries and that hold their layer slots."""

# Words and lists that do not change what is compared; free before the end.
_WORDS = frozenset({"name", "hypothesis", "description", "owner"})
_LISTS = frozenset({"overrides", "exclude"})
_RUNNING = _WORDS | _LISTS | {"traffic", "on_split_change"}

_LEARNING: dict[str, str] = {
    "reward": "what is learned was declared before launch, and earlier versions were judged by it",
    "control": "members would move between the control group and the policy",
}
"""What of a policy that learns stays as it was at launch, and why; the rest reaches the next version, or the next
draw."""

_WHY_FROZEN = {
    "audience": "who is in the test would change under way; end it and start a new experiment",
    "segment": "who is in the test would change under way; end it and start a new experiment",
    "control": "what is compared with would change; end it and start a new experiment",
    "layer": "members would move between experiments; end it and start a new experiment",
    "unit_type": "what is randomised would change; end it and start a new experiment",
    "alpha": "the rules of reading were declared before launch; start a new experiment",
    "planned_units": "the plan was declared before launch; start a new experiment",
    "planned_days": "the plan was declared before launch; start a new experiment",
    "no_effect_within": "the rules of reading were declared before launch; start a new experiment",
}


def changed_fields(old: Experiment, new: Experiment) -> set[str]:
    """Return the names of the fields that differ."""
    return {name for name in Experiment.model_fields if getattr(old, name) != getattr(new, name)} - {"made"}


def keeps_approval(old: Experiment, new: Experiment) -> bool:
    """Return whether an edit leaves what was reviewed as it is (words and lists of testers only)."""
    return changed_fields(old, new) <= _WORDS | _LISTS


def refused_changes(state: State, old: Experiment, new: Experiment, *, has_phases: bool) -> Iterator[Problem]:
    """Yield a problem for each change that ``state`` does not allow."""
    if has_phases:
        yield from _variants(old, new)
    if state not in LAUNCHED:
        return
    over = state in {"ended", "decided"}
    free = _WORDS if over else _RUNNING
    for name in sorted(changed_fields(old, new) - free):
        if name == "variants":
            if over and old.split() != new.split():
                yield Problem(f"cannot change: the experiment is {state}", "/variants")
        elif name == "metrics":
            yield from _metrics(old, new)
        elif name == "allocation" and not over:
            yield from _allocation(old.allocation, new.allocation)
        elif name == "schedule" and not over:
            if old.schedule.start != new.schedule.start:
                yield Problem("cannot change while the experiment runs; only the end can", "/schedule/start")
        else:
            why = _WHY_FROZEN.get(name, "end the experiment and start a new one")
            when = f"the experiment is {state}" if over else f"the experiment is {state}: {why}"
            yield Problem(f"cannot change, {when}", f"/{name}")


def _allocation(old: Allocation | None, new: Allocation | None) -> Iterator[Problem]:
    if old is None or new is None:
        what = "begins" if old is None else "stops"
        yield Problem(f"cannot change: who draws {what} to learn; end it and start a new experiment", "/allocation")
        return
    for name, why in _LEARNING.items():
        if getattr(old, name) != getattr(new, name):
            yield Problem(
                f"cannot change after launch: {why}; end it and start a new experiment", f"/allocation/{name}"
            )
    gone = [name for name in old.attributes if name not in new.attributes]
    if gone:
        advice = f"versions that draw read {', '.join(gone)}; leave it, later ones learn whether it matters"
        yield Problem(f"features can be added, not removed: {advice}", "/allocation/features")


def _metrics(old: Experiment, new: Experiment) -> Iterator[Problem]:
    for role in ("primary", "guardrails"):
        if getattr(old.metrics, role) != getattr(new.metrics, role):
            advice = "what decides was declared before launch; add it under secondary"
            yield Problem(f"cannot change after launch: {advice}", f"/metrics/{role}")


def _variants(old: Experiment, new: Experiment) -> Iterator[Problem]:
    """Variants keep order, offer and channel; new ones come last; none disappears."""
    keys = [variant.key for variant in new.variants]
    for index, variant in enumerate(old.variants):
        if variant.key not in keys:
            yield Problem(
                f'variant "{variant.key}" cannot be removed while members have it; give it weight 0', "/variants"
            )
        elif keys.index(variant.key) != index:
            advice = "the order decides who gets what; keep it and put new variants last"
            yield Problem(
                f'variant "{variant.key}" changed its place: {advice}', f"/variants/{keys.index(variant.key)}"
            )
        else:
            for name in ("offer", "channel"):
                if getattr(variant, name) != getattr(new.variants[index], name):
                    advice = "members would get different things under one name; add a new variant"
                    yield Problem(f"cannot change after launch: {advice}", f"/variants/{index}/{name}")


def opens_phase(weights: dict[str, int], traffic: str, new: Experiment) -> bool:
    """Return whether a definition needs a new phase after one with this split and traffic.

    A changed split does, and so does lowered traffic. Raised traffic does not: it moves nobody.
    """
    if _shares(new.split()) != _shares(weights):
        return True
    return Fraction(new.traffic) < Fraction(traffic)


def _shares(weights: dict[str, int]) -> dict[str, Fraction]:
    total = sum(weights.values())
    return {key: Fraction(weight, total) for key, weight in weights.items() if weight}
