"""The answers a node has given lately, and their way into the log.

An answer is given when its row is durable. The same question again gets the same answer, also after the snapshot has
changed, and is not written again.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from allocation.decision import Decision, Enrolment
from api.node.durable import on_disk
from api.node.metrics import Assigned
from api.node.recent import Bounded
from experiments.log.rows import DecisionRow
from experiments.log.spool import Commit

if TYPE_CHECKING:
    from experiments.log.spool import LogRow

RECENT_ANSWERS = 50_000
RECENT_UNITS = 100_000

Ack = Literal["spool", "store", "none"]
"""What an answer waits for: this node's disk, the database, or nothing."""


class Append(Protocol):
    """Puts rows into the log."""

    def __call__(self, rows: Sequence[LogRow], ack: Ack = "spool") -> asyncio.Future[None]:
        """Return what is resolved when they are durable; raises `Problem` when they are not taken."""


class Answered:
    """What this node remembers of its answers."""

    def __init__(self, append: Append, assigned: Counter[Assigned]) -> None:
        self.assigned = assigned
        self.recent: Bounded[str, Decision] = Bounded(RECENT_ANSWERS)
        self.stored: Bounded[str, None] = Bounded(RECENT_ANSWERS)
        """Recent answers that are known to be in the database."""
        self.committing: dict[str, asyncio.Future[None]] = {}
        """Commits that recent answers, and those who ask the same again, still wait for."""
        self._made: dict[asyncio.Future[None], list[Decision]] = {}
        """Answers by the commit that writes them: many requests share one."""
        self._append = append
        self._enrolments: Bounded[tuple[str, str], dict[str, Enrolment]] = Bounded(RECENT_UNITS)

    def count(self, decision: Decision) -> None:
        """Count an answer."""
        self.assigned[decision.experiment, decision.variant, decision.reason] += 1

    def enrolments(self, unit_type: str, unit: str) -> Mapping[str, Enrolment] | None:
        """Return the enrolments that this node's own answers made."""
        return self._enrolments.get((unit_type, unit))

    def remember(self, decision: Decision) -> None:
        """Remember an answer that is about to be written, and the enrolment it makes."""
        assert decision.decision_id is not None  # noqa: S101 - only what is logged comes here
        self.recent.put(decision.decision_id, decision)
        if decision.kind == "enrolled" and decision.variant is not None:
            key = (decision.unit_type, decision.unit)
            own = self._enrolments.get(key)
            known = None if own is None else own.get(decision.experiment)
            if known is None or known.phase < decision.phase:
                enrolment = Enrolment(decision.phase, decision.variant, decision.at)
                self._enrolments.put(key, {**(own or {}), decision.experiment: enrolment})

    def forget(self, decision: Decision) -> None:
        """Forget an answer that did not reach the disk, and the enrolment it made: it was never given."""
        if decision.decision_id is not None:
            self.recent.forget(decision.decision_id)
        key = (decision.unit_type, decision.unit)
        own = dict(self._enrolments.get(key) or {})
        made = own.get(decision.experiment)
        if made is not None and made.since == decision.at:
            del own[decision.experiment]
            self._enrolments.put(key, own)

    def write(self, rows: Sequence[DecisionRow], made: Sequence[Decision], ack: Ack) -> asyncio.Future[None]:
        """Put the rows of remembered answers into the log, in one commit; return what it resolves.

        Raises:
            Problem: 503 when the log cannot take them now; the answers are forgotten.
        """
        try:
            durable = self._append(rows, "store" if ack == "store" else "spool")
        except BaseException:
            for decision in made:
                self.forget(decision)
                self.assigned[decision.experiment, decision.variant, decision.reason] -= 1
            raise
        for decision in made:
            self.committing[decision.decision_id or ""] = durable
        together = self._made.get(durable)
        if together is None:
            self._made[durable] = list(made)
            durable.add_done_callback(self._written)
        else:
            together += made
        if ack == "store":
            durable.add_done_callback(functools.partial(self._stored, rows))
        return durable

    def _stored(self, rows: Sequence[DecisionRow], durable: asyncio.Future[None]) -> None:
        if not durable.cancelled() and durable.exception() is None:
            for row in rows:
                self.stored.put(row.decision_id, None)

    def _written(self, durable: asyncio.Future[None]) -> None:
        """Note that a commit is over; what it failed to write is forgotten."""
        failed = durable.cancelled() or durable.exception() is not None
        for decision in self._made.pop(durable):
            self.committing.pop(decision.decision_id or "", None)
            if failed:
                self.forget(decision)


class Answers:
    """Answers of one request, written in one commit; what was answered lately is repeated and not written again."""

    __slots__ = ("_ack", "_answered", "_made", "_rows", "_send_at", "_source", "_waits")

    def __init__(self, answered: Answered, source: str, send_at: int | None = None, ack: Ack = "spool") -> None:
        self._ack = ack
        self._answered = answered
        self._source = source
        self._send_at = send_at
        self._made: list[Decision] = []
        self._rows: list[DecisionRow] = []
        self._waits: set[asyncio.Future[None]] = set()

    @property
    def waiting(self) -> bool:
        """Whether anything must become durable before the answers are given."""
        return bool(self._rows or self._waits)

    def add(self, decision: Decision, send_at: int | None = None) -> Decision:
        """Take an answer; return it, or the one that was given to the same question before."""
        answered = self._answered
        answered.count(decision)
        decision_id = decision.decision_id
        if decision_id is None:
            return decision
        known = answered.recent.get(decision_id)
        if known is not None and self._ack == "store" and decision_id not in answered.stored:
            # It may be in the spool alone yet: repeated to the database, which takes it once.
            self._rows.append(DecisionRow.from_decision(known, self._source, send_at or self._send_at))
            return known
        if known is not None:
            durable = answered.committing.get(decision_id)
            if durable is not None:
                self._waits.add(durable)
            return known
        self._rows.append(DecisionRow.from_decision(decision, self._source, send_at or self._send_at))
        self._made.append(decision)
        answered.remember(decision)
        return decision

    def written(self) -> Collection[asyncio.Future[None]]:
        """Write what is new; return what to wait for before the answers are given.

        Must follow `add` with no ``await`` between: who asks the same waits too.

        Raises:
            Problem: 503 when the log cannot take it now; nothing of it is remembered then.
        """
        if self._rows:
            self._waits.add(self._answered.write(self._rows, self._made, self._ack))
        return () if self._ack == "none" else self._waits

    async def durable(self) -> None:
        """Write what is new and wait for it, see `written`.

        Raises:
            Problem: 503 when the log cannot take it now; nothing of it is remembered then.
        """
        for wait in self.written():
            await shared(wait)


async def shared(wait: asyncio.Future[None]) -> None:
    """Wait for a commit that others may wait for too, and that goes on whoever hangs up.

    Raises:
        Problem: 503 when it could not be written.
    """
    # The spool's cannot be called off; the database's is shielded.
    await on_disk(wait if isinstance(wait, Commit) else asyncio.shield(wait))
