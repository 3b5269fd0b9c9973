"""Whether an experiment gives anybody anything now. Light: the serving process asks it before it takes a list."""

from __future__ import annotations

from allocation.compiled import CompiledExperiment
from experiments.errors import InputError

RUNNING = frozenset({"running", "paused"})
"""States in which an experiment answers: a paused one says to its members what they have."""


class NotRunningError(InputError):
    """The experiment gives nobody anything now."""


def check_running(compiled: CompiledExperiment, now: int) -> None:
    """Refuse an experiment that gives nobody anything now.

    Args:
        compiled: the experiment.
        now: microseconds since 1970 UTC.

    Raises:
        NotRunningError: with what to do.
    """
    state = compiled.plan.state
    if state not in RUNNING:
        over = compiled.closed == "ended"
        advice = "make a new experiment" if over else f"move it by: equipoise transition {compiled.key} running"
        raise NotRunningError(f"the experiment is {state}; a list needs a running one: {advice}")
    if now < compiled.opens:
        raise NotRunningError("the experiment's schedule has not begun; send the list when it has")
    if now >= compiled.closes:
        raise NotRunningError("the experiment's schedule is over; give it a later end")
