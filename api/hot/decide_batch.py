"""``POST /v1/decide/batch``: up to 10,000 members at a time, JSON or NDJSON, each with a result of its own.

One bad member never fails the rest. All that is to be logged is logged in one commit; what this node answered lately is
repeated and not written again. All members are decided as things stood when the batch arrived.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from allocation.answers import nothing
from allocation.compiled import CompiledExperiment
from allocation.decide import decide
from allocation.decision import Decision, OccasionError
from allocation.drawing import drawer
from allocation.hashing import UnitError
from api.errors import FieldProblem, Problem
from api.hot.batch_request import MAX_ADVICE, Batch, Member, read_batch, wants_lines
from api.hot.decide import MAX_ATTRIBUTES, Value, offer_json, send_at_us
from api.hot.http import Receive, Scope, Send, read_body
from api.node.answered import Answers
from experiments.personal import personal_id

if TYPE_CHECKING:
    from allocation.compiled import CompiledSnapshot
    from api.node.deciding import Deciding
    from api.node.state import Node
    from api.security.door import Caller

MAX_BODY_BYTES = 16_000_000
"""Room for 10,000 members with 1,600 bytes of attributes each."""
BODY_TIMEOUT_S = 30.0
PIECE = 500
"""Members that are decided before others are served again: about a millisecond."""


class MemberReply(msgspec.Struct, frozen=True, gc=False):
    """What one member gets: the fields of ``/v1/decide``, and the unit, to join by."""

    unit: str
    decision_id: str | None
    experiment: str
    variant: str | None
    enrolled: bool
    reason: str
    offer: msgspec.Raw | None
    revision: int
    phase: int
    occasion: str
    holdout: str | None
    fallback: bool
    stale: bool
    state_unknown: bool
    missing_attribute: str | None
    snapshot: str


class MemberError(msgspec.Struct, frozen=True, gc=False):
    """What is wrong with one member of a batch; never its id."""

    code: str
    message: str
    pointer: str = ""
    """JSON pointer into the member as sent."""


class MemberRefused(msgspec.Struct, frozen=True, gc=False):
    """In the place of a member that could not be decided."""

    index: int
    """Its place in the batch, from 0."""
    error: MemberError


class BatchReply(msgspec.Struct, frozen=True):
    """The answer to a batch: one item for each member, in the order they were sent."""

    items: list[MemberReply | MemberRefused]
    refused: int
    """How many of them are errors."""


_encode = msgspec.json.Encoder().encode
_NO_ATTRIBUTES: dict[str, Value] = {}


async def answer(node: Node, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Decide every member, log them in one commit, and answer once they are durable.

    Raises:
        Problem: 4xx for what is no batch, or one of an unknown experiment; 503 when nothing is published yet or the log
            cannot take it now. Nothing is kept then.
    """
    body = await read_body(scope, receive, limit=MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S)
    batch = read_batch(scope, body)
    compiled = node.deciding.snapshot()
    if batch.experiment is not None:
        node.deciding.plan(compiled, batch.experiment, batch.unit_type)  # an unknown one fails the batch, not each
    decided: list[Decision | FieldProblem | bytes] = []
    deciding = _Members(node, compiled, batch)
    answers = Answers(node.deciding.answered, "decide", send_at_us(batch.send_at), caller.ack)
    for start in range(0, len(batch.members), PIECE):
        if start:
            await asyncio.sleep(0)
        decided += deciding.decide(batch.members[start : start + PIECE])
    # From here to the commit nothing else runs, so that nobody is told what is not on its way to the disk.
    stale, add = deciding.stale, answers.add
    items: list[bytes] = []
    refused = 0
    for index, one in enumerate(decided):
        if isinstance(one, bytes):
            items.append(one)
        elif isinstance(one, Decision):
            items.append(_encode(_reply(add(one), stale)))
        else:
            items.append(_encode(_refused(index, one)))
            refused += 1
    deciding.count()
    if answers.waiting:
        await answers.durable()
    await _send(send, items, refused, lines=wants_lines(scope, batch))


class _Members:
    """Decides members as things stood when their batch arrived."""

    def __init__(self, node: Node, compiled: CompiledSnapshot, batch: Batch) -> None:
        self._deciding = node.deciding
        self._compiled = compiled
        self._batch = batch
        self._now = node.now_us()
        self.stale = node.stale
        self._nothing: dict[str, dict[str, _Nothing]] = {}
        project = node.deciding.project
        self._takes_personal = project is not None and project.allow_personal_ids
        self._plans: dict[str, CompiledExperiment | FieldProblem | None] = {}
        self._unknown = 0

    def decide(self, members: list[str | Member | FieldProblem]) -> list[Decision | FieldProblem | bytes]:
        """Decide some members, one after the other; who gets nothing has an answer in JSON at once."""
        compiled, now, takes_personal = self._compiled, self._now, self._takes_personal
        usual, its_occasion = self._batch.experiment or "", self._batch.occasion
        state_for, stateless = self._deciding.state_for, self._deciding.stateless
        decided: list[Decision | FieldProblem | bytes] = []
        keep = decided.append
        plan: CompiledExperiment | FieldProblem | None = None
        last, needs_nothing, draw = None, False, None
        alike: dict[str, _Nothing] = {}
        for member in members:
            if isinstance(member, str):
                unit, experiment, attributes, occasion = member, usual, _NO_ATTRIBUTES, None
            elif isinstance(member, Member):
                unit, attributes, occasion = member.unit, member.attributes, member.occasion
                experiment = usual if member.experiment is None else member.experiment
            else:
                keep(member)
                continue
            if experiment != last:
                plan, last = self._plan(experiment), experiment
                needs_nothing, draw = False, None
                if isinstance(plan, CompiledExperiment) and stateless(plan):
                    needs_nothing, draw = True, drawer(plan, now, its_occasion)
                    alike = self._nothing.setdefault(experiment, {})
            try:
                if isinstance(plan, FieldProblem):
                    keep(plan)
                elif not takes_personal and (refused := personal_id(unit)) is not None:
                    keep(FieldProblem("/unit", "personal_id", refused))
                elif attributes and len(attributes) > MAX_ATTRIBUTES:
                    keep(FieldProblem("/attributes", "too_many", f"at most {MAX_ATTRIBUTES} attributes are allowed"))
                elif draw is not None and occasion is None:
                    drawn = draw(unit, attributes)
                    if isinstance(drawn, str):
                        same = alike.get(drawn)
                        if same is None:
                            assert isinstance(plan, CompiledExperiment)  # noqa: S101 - it is drawn from
                            same = alike[drawn] = _Nothing(plan, its_occasion, drawn, self.stale)
                        same.members += 1
                        keep(b'{"unit":' + _encode(unit) + same.tail)
                    else:
                        keep(drawn)
                else:
                    keep(
                        decide(
                            compiled,
                            experiment,
                            unit,
                            now=now,
                            attributes=attributes,
                            state=None if needs_nothing or plan is None else state_for(plan, unit),
                            occasion=its_occasion if occasion is None else occasion,
                        )
                    )
            except UnitError as error:
                keep(FieldProblem("/unit", "bad_unit", str(error)))
            except OccasionError as error:
                keep(FieldProblem("/occasion", "bad_occasion", str(error)))
        return decided

    def count(self) -> None:
        """Count those who get nothing; the others are counted as they are logged."""
        assigned = self._deciding.answered.assigned
        for experiment, reasons in self._nothing.items():
            for reason, same in reasons.items():
                assigned[experiment, None, reason] += same.members
        self._nothing.clear()

    def _plan(self, experiment: str) -> CompiledExperiment | FieldProblem | None:
        plans = self._plans
        if experiment not in plans:
            if experiment and experiment not in self._compiled.experiments and experiment not in self._compiled.refused:
                self._unknown += 1
                if self._unknown > MAX_ADVICE:
                    return FieldProblem("/experiment", "unknown_experiment", "is not published")
            plans[experiment] = _plan(self._deciding, self._compiled, experiment, self._batch.unit_type)
        return plans[experiment]


class _Nothing:
    """Answers that differ by the unit alone: most of a large list are like that, and their JSON is written once."""

    __slots__ = ("members", "tail")

    def __init__(self, plan: CompiledExperiment, occasion: str, reason: str, stale: bool) -> None:
        # Without the unit, and the brace and name before it.
        self.tail = _encode(_reply(nothing(plan, "", occasion, 0, reason), stale)).removeprefix(b'{"unit":""')
        self.members = 0


def _plan(
    deciding: Deciding, compiled: CompiledSnapshot, experiment: str, unit_type: str | None
) -> CompiledExperiment | FieldProblem | None:
    if not experiment:
        return FieldProblem("/experiment", "missing", "name the experiment in the member, or for the whole batch")
    try:
        return deciding.plan(compiled, experiment, unit_type)
    except Problem as problem:
        return problem.errors[0]


def _reply(decision: Decision, stale: bool) -> MemberReply:
    offer = decision.offer
    return MemberReply(
        decision.unit,
        decision.decision_id,
        decision.experiment,
        decision.variant,
        decision.variant is not None,
        decision.reason,
        None if offer is None else offer_json(offer),
        decision.revision,
        decision.phase,
        decision.occasion,
        decision.holdout,
        False,
        stale,
        decision.state_unknown,
        decision.missing_attribute,
        decision.snapshot,
    )


def _refused(index: int, problem: FieldProblem) -> MemberRefused:
    return MemberRefused(index, MemberError(problem.code, problem.message, problem.pointer))


async def _send(send: Send, items: list[bytes], refused: int, *, lines: bool) -> None:
    if lines:
        body, kind = b"".join([item + b"\n" for item in items]), b"application/x-ndjson"
    else:  # a `BatchReply`
        body, kind = b'{"items":[%b],"refused":%d}' % (b",".join(items), refused), b"application/json"
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
