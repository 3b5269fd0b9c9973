"""What decides in a running node: the snapshot in use, the members' states, and the answers given lately.

An answer is given when its row is durable. The same question again gets the same answer, also after the snapshot has
changed, and is not written again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from allocation.compiled import CompiledExperiment, CompiledSnapshot
from allocation.decide import UnknownExperimentError, decide
from allocation.decision import Decision, Enrolment, MemberState
from allocation.plan import ProjectPlan
from api.durable import on_disk
from api.errors import FieldProblem, Problem, near, unavailable
from api.recent import Bounded, with_own_enrolments
from experiments.log.rows import DecisionRow
from experiments.personal import personal_id
from experiments.publishing.members import MemberStates

if TYPE_CHECKING:
    from api.hot.decide import DecideRequest
    from experiments.log.spool import LogRow

RECENT_ANSWERS = 50_000
RECENT_UNITS = 100_000


class Append(Protocol):
    """Puts rows into the log."""

    def __call__(self, rows: Sequence[LogRow]) -> asyncio.Future[None]:
        """Return what is resolved when they are durable; raises `Problem` when they are not taken."""


class Deciding:
    """Decides from what was published last, and remembers what it answered."""

    def __init__(self, members: MemberStates, append: Append, counts: Counter[str]) -> None:
        self.compiled: CompiledSnapshot | None = None
        """The snapshot that decides now; ``None`` before the first."""
        self.project: ProjectPlan | None = None
        """What the door must know of the project; ``None`` while none is defined."""
        self._members = members
        self._append = append
        self._counts = counts
        self._recent: Bounded[str, Decision] = Bounded(RECENT_ANSWERS)
        self._committing: dict[str, asyncio.Future[None]] = {}
        """Commits that recent answers, and those who ask the same again, still wait for."""
        self._enrolments: Bounded[tuple[str, str], dict[str, Enrolment]] = Bounded(RECENT_UNITS)

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

    async def decide(self, request: DecideRequest) -> Decision:
        """Decide and return once the decision is on disk; the same question again gets the same answer, unwritten.

        Raises:
            Problem: 404 for an unknown experiment, 422 for another unit type, 503 when nothing is published yet or the
                log cannot take the decision now.
        """
        decision = self._decide(request)
        self._counts[decision.reason] += 1
        if decision.kind is None or decision.decision_id is None:
            return decision
        known = self._recent.get(decision.decision_id)
        if known is None:
            self._committing[decision.decision_id] = self._append([DecisionRow.from_decision(decision)])
            self._recent.put(decision.decision_id, decision)
            if decision.kind == "enrolled" and decision.variant is not None:
                self._remember_enrolment(decision, decision.variant)
        durable = self._committing.get(decision.decision_id)
        if durable is not None:
            try:
                await on_disk(asyncio.shield(durable))
            except Problem:
                self._forget(known or decision)
                raise
            finally:
                if durable.done():
                    self._committing.pop(decision.decision_id, None)
        return known or decision

    def _decide(self, request: DecideRequest) -> Decision:
        compiled = self.compiled
        if compiled is None:
            raise unavailable("nothing has been published on this node yet", code="no_snapshot")
        self.check_personal(request.unit)
        plan = compiled.experiments.get(request.experiment)
        if plan is not None and request.unit_type not in {None, plan.unit_type}:
            message = f'this experiment is about units of type "{plan.unit_type}"; send that, or leave it out'
            raise Problem(
                422,
                "this cannot be decided",
                code="invalid",
                errors=[FieldProblem("/unit_type", "other_unit_type", message)],
            )
        try:
            return decide(
                compiled,
                request.experiment,
                request.unit,
                now=time.time_ns() // 1000,
                attributes=request.attributes,
                state=None if plan is None else self._state_for(plan, request.unit),
                occasion=request.occasion,
            )
        except UnknownExperimentError:
            advice = near(request.experiment, compiled.experiments) or "GET /v1/experiments lists what there is"
            raise Problem(
                404,
                f"no experiment of this key is published; {advice}",
                code="unknown_experiment",
                errors=[FieldProblem("/experiment", "unknown_experiment", f"is not published; {advice}")],
            ) from None

    def _state_for(self, plan: CompiledExperiment, unit: str) -> MemberState | None:
        """Return what the experiment needs of a member's state; opt-outs are honoured by those that need nothing."""
        if plan.needs == "enrolment":
            return self.member_state(plan.unit_type, unit)
        if plan.needs == "none" and self._members.nobody_opted_out:
            return None
        return self._members.get(plan.unit_type, unit, enrolments=False)

    def member_state(self, unit_type: str, unit: str) -> MemberState:
        """Return what is known of a member: published, and what this node has decided since."""
        return with_own_enrolments(self._members.get(unit_type, unit), self._enrolments.get((unit_type, unit)))

    def _remember_enrolment(self, decision: Decision, variant: str) -> None:
        key = (decision.unit_type, decision.unit)
        own = self._enrolments.get(key) or {}
        known = own.get(decision.experiment)
        if known is None or known.phase < decision.phase:
            enrolment = Enrolment(decision.phase, variant, decision.at)
            self._enrolments.put(key, {**own, decision.experiment: enrolment})

    def _forget(self, decision: Decision) -> None:
        """Forget an answer that did not reach the disk, and the enrolment it made: it was never given."""
        if decision.decision_id is not None:
            self._recent.forget(decision.decision_id)
        key = (decision.unit_type, decision.unit)
        own = dict(self._enrolments.get(key) or {})
        made = own.get(decision.experiment)
        if made is not None and made.since == decision.at:
            del own[decision.experiment]
            self._enrolments.put(key, own)
