"""What decides in a running node: the snapshot in use, and what is known of members."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from allocation.compiled import CompiledExperiment, CompiledSnapshot
from allocation.decide import decide
from allocation.decision import Decision, MemberState
from allocation.plan import ProjectPlan
from api.errors import FieldProblem, Problem, near, unavailable
from api.node.answered import Ack, Answered, Answers, Append
from api.node.metrics import Assigned
from api.node.recent import with_own_enrolments
from experiments.personal import personal_id
from experiments.publishing.members import MemberStates

if TYPE_CHECKING:
    from api.hot.decide import DecideRequest


class Deciding:
    """Decides from what was published last, and remembers what it answered."""

    def __init__(self, members: MemberStates, append: Append, assigned: Counter[Assigned]) -> None:
        self.compiled: CompiledSnapshot | None = None
        """The snapshot that decides now; ``None`` before the first."""
        self.project: ProjectPlan | None = None
        """What the door must know of the project; ``None`` while none is defined."""
        self.answered = Answered(append, assigned)
        self._members = members

    def snapshot(self) -> CompiledSnapshot:
        """Return the snapshot that decides now.

        Raises:
            Problem: 503 before the first.
        """
        if self.compiled is None:
            raise unavailable("nothing has been published on this node yet", code="no_snapshot")
        return self.compiled

    def check_personal(self, unit: str) -> None:
        """Refuse a unit id that looks like an e-mail address or telephone number, unless the project takes those.

        Raises:
            Problem: 422, without the id.
        """
        refused = personal_id(unit)
        if refused is not None and not (self.project is not None and self.project.allow_personal_ids):
            raise Problem(
                422, "the unit id is personal", code="invalid", errors=[FieldProblem("/unit", "personal_id", refused)]
            )

    def write(
        self, decision: Decision, source: str, ack: Ack, send_at: int | None = None
    ) -> tuple[Decision, asyncio.Future[None] | None]:
        """Count and log one answer.

        Args:
            decision: the answer.
            source: who decided, for the log.
            ack: what is waited for.
            send_at: when the message is scheduled to leave, microseconds since 1970 UTC.

        Returns:
            The answer, or the one that the same question got before, which is not written again; and the commit that it
            must wait for.

        Raises:
            Problem: 503 when the log cannot take the decision now.
        """
        if decision.decision_id is None:
            self.answered.count(decision)
            return decision, None
        answers = Answers(self.answered, source, send_at, ack)
        said = answers.add(decision)
        return said, next(iter(answers.written()), None)

    def decide(self, request: DecideRequest) -> Decision:
        """Decide.

        Args:
            request: experiment, unit, and what is known of the unit.

        Raises:
            Problem: 404 for an unknown experiment, 422 for another unit type, 503 when nothing is published yet.
        """
        compiled = self.snapshot()
        self.check_personal(request.unit)
        plan = self.plan(compiled, request.experiment, request.unit_type)
        return decide(
            compiled,
            request.experiment,
            request.unit,
            now=time.time_ns() // 1000,
            attributes=request.attributes,
            state=None if plan is None else self.state_for(plan, request.unit),
            occasion=request.occasion,
        )

    def plan(self, compiled: CompiledSnapshot, experiment: str, unit_type: str | None) -> CompiledExperiment | None:
        """Return the experiment; ``None`` for one that is published but that this node cannot decide.

        Raises:
            Problem: 404 for an unknown experiment, 422 for another unit type than it is about.
        """
        plan = compiled.experiments.get(experiment)
        if plan is None:
            if experiment in compiled.refused:
                return None
            advice = near(experiment, compiled.experiments) or "GET /v1/experiments lists what there is"
            raise Problem(
                404,
                f"no experiment of this key is published; {advice}",
                code="unknown_experiment",
                errors=[FieldProblem("/experiment", "unknown_experiment", f"is not published; {advice}")],
            )
        if unit_type is not None and unit_type != plan.unit_type:
            message = f'this experiment is about units of type "{plan.unit_type}"; send that, or leave it out'
            raise Problem(
                422,
                "this cannot be decided",
                code="invalid",
                errors=[FieldProblem("/unit_type", "other_unit_type", message)],
            )
        return plan

    def stateless(self, plan: CompiledExperiment) -> bool:
        """Return whether an experiment needs nothing of any member's state just now."""
        return plan.needs == "none" and self._members.nobody_linked and self._members.nobody_opted_out

    def state_for(self, plan: CompiledExperiment, unit: str) -> MemberState | None:
        """Return what the experiment needs of a member's state; those that need nothing honour opt-outs and links."""
        if plan.needs == "enrolment" or not self._members.nobody_linked:
            return self.member_state(plan.unit_type, unit)
        if plan.needs == "none" and self._members.nobody_opted_out:
            return None
        return self._members.get(plan.unit_type, unit, enrolments=False)

    def member_state(self, unit_type: str, unit: str) -> MemberState:
        """Return what is known of a member: published, and what this node has decided since."""
        state = self._members.get(unit_type, unit)
        return with_own_enrolments(
            state, *(self.answered.enrolments(unit_type, known) for known in sorted((unit, *state.linked)))
        )
