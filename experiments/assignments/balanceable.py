"""Whether a list of an experiment can be balanced. Light: the serving process asks it before it takes a list."""

from __future__ import annotations

from allocation.compiled import CompiledExperiment
from experiments.assignments.request import ListRequest
from experiments.errors import InputError


def check_plan(request: ListRequest, plan: CompiledExperiment) -> None:
    """Refuse to balance what the published plan says cannot be balanced; nothing where nothing is to be.

    Raises:
        InputError: naming the parameter and what to do.
    """
    if not request.balance_on:
        return
    if plan.draw is not None:
        raise InputError(f"balance_on: {plan.key} draws by a policy that learns; leave it out")
    if not plan.sticky:
        raise InputError(
            f"balance_on: members of {plan.key} do not keep their variant, so that another decision could give them "
            "another one; write sticky: enrolment in the definition"
        )
    for name in request.balance_on:
        if name not in plan.frozen:
            raise InputError(
                f"balance_on: {name!r} is not among the strata that {plan.key} is analysed by; "
                "write it under analysis: strata before launch"
            )
