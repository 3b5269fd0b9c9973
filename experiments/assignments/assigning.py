"""Everybody on a list, a chunk at a time: screened, decided, recorded, and told in the list's own order.

    read → screen → decide → record → write

``decide`` is `allocation.decide`, the same as for one member. Rules about the list as a whole — how often a member may
be contacted, which of two experiments goes first, who agreed to be contacted, a budget — come between deciding and
recording: they see a chunk of decisions and may take an offer away, before anything is logged.

Recording inserts a chunk's decisions by their natural keys. Where the store holds a decision of an id already, that one
stands, and the file says it: what was answered before is answered again. So a crash anywhere, and beginning anew, give
the same rows and the same file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from allocation.compiled import CompiledExperiment
from allocation.decide import decide
from allocation.decision import Decision, Enrolment, MemberState, decision_id
from allocation.hashing import UnitError, check_unit
from allocation.offers import OfferBy
from experiments.assignments.balancing import Balanced, drawn
from experiments.assignments.frozen import Frozen
from experiments.assignments.listed import ListRow, MemberList
from experiments.assignments.request import ListRequest
from experiments.assignments.states import ListStates
from experiments.assignments.written import AnswerRow, Write
from experiments.log.rows import DecisionRow
from experiments.log.store_rows import insert_new, stored
from experiments.personal import personal_id
from experiments.store import Store
from experiments.store.log_tables import decisions

CHUNK_ROWS = 10_000
INVALID_UNIT = "invalid_unit"
"""Reason of a row whose unit id cannot be used: missing, empty, too long."""
PERSONAL_ID = "personal_id"
"""Reason of a row whose unit id looks like an e-mail address or a telephone number."""
_PLACE = {column.name: place for place, column in enumerate(decisions.c)}
_NEVER_AGAIN = frozenset({"opted_out", "excluded"})
"""Reasons that stand against what was answered before."""


@dataclass
class Tally:
    """What became of a list."""

    rows: int = 0
    repeated: int = 0
    """Rows whose unit stands in an earlier row too; they are told the same."""
    variants: dict[str, int] = field(default_factory=dict)
    """Variant → rows that have it."""
    held_out: int = 0
    not_enrolled: Counter[str] = field(default_factory=Counter)
    """Reason → rows without a variant, beside the held-out."""
    refused: dict[str, int] = field(default_factory=dict)
    """What is wrong with a unit id → rows, which are in the file with reason ``invalid_unit`` or ``personal_id``."""
    unreadable: dict[str, int] = field(default_factory=dict)
    """Attribute → values that are not of its type; they count as missing."""
    answered_before: int = 0
    """Rows told what the log held already, where deciding anew would say something else."""
    without_offer: dict[str, Counter[str]] = field(default_factory=dict)
    """Variant that gives each unit its own offer → rows that it gives none: ``none`` where the attribute says none,
    ``unknown`` where it is the key of no offer."""
    balance: dict[str, Any] | None = None
    """How even the split is, where the list was balanced."""

    def count(self, row: AnswerRow) -> None:
        """Count one row of the file."""
        if row.variant is not None:
            self.variants[row.variant] += 1
        elif row.holdout is not None:
            self.held_out += 1
        else:
            self.not_enrolled[row.reason] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return it as a job's result says it; ``without_offer`` and ``balance`` only where they say something."""
        own = bool(self.without_offer)
        return {
            "rows": self.rows,
            "repeated": self.repeated,
            "enrolled": sum(self.variants.values()),
            "variants": self.variants,
            "held_out": self.held_out,
            "not_enrolled": dict(sorted(self.not_enrolled.items())),
            "refused": self.refused,
            "unreadable": self.unreadable,
            "answered_before": self.answered_before,
            **({"without_offer": {key: dict(found) for key, found in self.without_offer.items()}} if own else {}),
            **({} if self.balance is None else {"balance": self.balance}),
        }


@dataclass
class Assigner:
    """Assigns one list."""

    store: Store
    request: ListRequest
    frozen: Frozen
    states: ListStates
    tally: Tally = field(default_factory=Tally)
    balanced: Balanced | None = None
    """Where strata are cut, where the list is balanced."""
    _offers: dict[str, str | None] = field(init=False)
    _own: dict[str, OfferBy] = field(init=False)
    _source: str = field(init=False)

    def __post_init__(self) -> None:
        self._source = self.request.source
        self._offers = {
            variant.key: variant.offer.get("key") if variant.offer else None for variant in self._plan.plan.variants
        }
        outcomes = self._plan.phase.outcomes.values()
        self._own = {outcome.variant: outcome.own for outcome in outcomes if outcome.own is not None}

    def run(self, members: MemberList, write: Write, progress: Callable[[int, int], None]) -> Tally:
        """Assign everybody.

        Args:
            members: the list.
            write: takes the rows of the file.
            progress: told after each chunk how many rows are done, and of how many; may raise to stop.
        """
        tally = self.tally
        tally.repeated, tally.unreadable = members.repeated, members.unreadable
        tally.variants = {variant.key: 0 for variant in self._plan.plan.variants}
        tally.without_offer = {key: Counter() for key in self._own}
        tally.balance = None if self.balanced is None else self.balanced.report()
        progress(0, members.rows)
        for chunk in members.chunks(CHUNK_ROWS):
            rows = self._assign(chunk, members.attributes)
            write(rows)
            for row in rows:
                tally.count(row)
            tally.rows += len(rows)
            progress(tally.rows, members.rows)
        return tally

    @property
    def _plan(self) -> CompiledExperiment:
        return self.frozen.compiled

    def draws(self, members: MemberList) -> Iterator[Decision]:
        """Yield the decisions that the draw would make and that the log does not hold yet; record nothing."""
        for chunk in members.chunks(CHUNK_ROWS):
            _, decided = self._decided(chunk, members.attributes)
            found = {d.decision_id: d for d in decided if d is not None and d.decision_id is not None and drawn(d)}
            with self.store.read() as connection:
                held = stored(connection, decisions, [(key,) for key in sorted(found)])
            yield from (decision for key, decision in found.items() if (key,) not in held)

    def _decided(
        self, chunk: Sequence[ListRow], present: frozenset[str]
    ) -> tuple[list[str | None], list[Decision | None]]:
        """Return for each row why it cannot be decided, or its decision."""
        screened = [self._screen(row.unit) for row in chunk]
        units = [row.unit for row, problem in zip(chunk, screened, strict=True) if problem is None and row.unit]
        states = self.states.of(units) if self.states.needed else {}
        decided = [
            self._decide(row, states, present) if problem is None else None
            for row, problem in zip(chunk, screened, strict=True)
        ]
        return screened, decided

    def _assign(self, chunk: Sequence[ListRow], present: frozenset[str]) -> list[AnswerRow]:
        screened, decided = self._decided(chunk, present)
        answers = self._record([decision for decision in decided if decision is not None])
        found = iter(answers)
        return [
            next(found) if problem is None else AnswerRow(row.unit, None, None, None, problem)
            for row, problem in zip(chunk, screened, strict=True)
        ]

    def _screen(self, unit: str | None) -> str | None:
        """Return the reason for which a row cannot be decided, and count what is wrong."""
        wrong = None
        if unit is None:
            wrong, reason = "missing", INVALID_UNIT
        else:
            try:
                check_unit(unit)
            except UnitError:
                wrong, reason = _what_is_wrong(unit), INVALID_UNIT
            else:
                if self.frozen.allow_personal_ids or personal_id(unit) is None:
                    return None
                wrong, reason = "personal", PERSONAL_ID
        self.tally.refused[wrong] = self.tally.refused.get(wrong, 0) + 1
        return reason

    def _decide(self, row: ListRow, states: dict[str, MemberState], present: frozenset[str]) -> Decision:
        unit, plan = row.unit or "", self._plan
        state = states.get(unit) if self.states.needed else None
        if state is None and (plan.needs_state or row.opted_out):
            state = self.states.unknown
        if state is not None:
            state = self._with_columns(row, state, present)
            if state.linked:
                state = self.states.with_given(unit, state)
        decision = decide(
            self.frozen.snapshot,
            plan.key,
            unit,
            now=self.frozen.at,
            attributes=row.attributes,
            state=state,
            occasion=self.request.occasion,
        )
        if self.balanced is not None:
            decision = self.balanced.of(decision, plan)
        if state is not None and state.linked and decision.kind == "enrolled" and decision.variant is not None:
            self.states.remember(unit, state, Enrolment(decision.phase, decision.variant, decision.at))
        return decision

    def _with_columns(self, row: ListRow, state: MemberState, present: frozenset[str]) -> MemberState:
        """Return the state with what the list itself says of stored attributes: its columns win."""
        own = {name: row.attributes[name] for name in self._plan.stored if name in row.attributes}
        covered = self._plan.stored and present.issuperset(self._plan.stored)
        if not own and not row.opted_out and not covered:
            return state
        silent = {name for name in self._plan.stored if name in present and name not in row.attributes}
        held = {name: value for name, value in state.attributes.items() if name not in silent}
        return msgspec.structs.replace(
            state,
            attributes={**held, **own},
            opted_out=state.opted_out or row.opted_out,
            state_known=state.state_known or bool(covered),
        )

    def _record(self, decided: Sequence[Decision]) -> list[AnswerRow]:
        """Put a chunk's decisions into the log and return what each row is told."""
        rows: dict[str, DecisionRow] = {}
        for decision in decided:
            if decision.kind is not None and decision.decision_id is not None:
                rows.setdefault(decision.decision_id, self._row(decision))
        keys = sorted(rows)
        held: dict[str, tuple[Any, ...]] = {}
        unlogged = self._unlogged(decided) if self.frozen.again else {}
        with self.store.begin() as connection:
            inserted = insert_new(connection, decisions, [msgspec.structs.astuple(rows[key]) for key in keys])
            wanted = {*unlogged.values(), *(keys if inserted < len(keys) else ())}
            if wanted:
                found = stored(connection, decisions, [(key,) for key in sorted(wanted)])
                held = {key[0]: row for key, row in found.items()}
        return [self._answer(decision, held, unlogged) for decision in decided]

    def _unlogged(self, decided: Sequence[Decision]) -> dict[str, str]:
        """Return unit → the id that an earlier attempt may have logged, of units that now get nothing."""
        plan = self._plan
        return {
            d.unit: decision_id(plan.key, d.phase, plan.unit_type, d.unit, d.occasion)
            for d in decided
            if d.kind is None and d.reason not in _NEVER_AGAIN
        }

    def _row(self, decision: Decision) -> DecisionRow:
        row = DecisionRow.from_decision(decision)
        return msgspec.structs.replace(row, source=self._source, send_at=self.request.send_at)

    def _answer(self, decision: Decision, held: dict[str, tuple[Any, ...]], unlogged: dict[str, str]) -> AnswerRow:
        key = decision.decision_id or unlogged.get(decision.unit)
        before = None if key is None else held.get(key)
        variant, reason, holdout = decision.variant, decision.reason, decision.holdout
        identity = decision.decision_id
        if before is not None and (decision.kind is not None or before[_PLACE["source"]] == self._source):
            identity = before[_PLACE["decision_id"]]
            known = (before[_PLACE["variant"]], before[_PLACE["holdout"]])
            if known != (variant, holdout):
                self.tally.answered_before += 1
            variant, holdout = known
            # The first attempt's own words; another's "assigned" is no contradiction of "kept".
            if before[_PLACE["source"]] == self._source or decision.variant != variant:
                reason = before[_PLACE["reason"]]
        offer = self._offers.get(variant) if variant is not None else None
        if variant in self._own:
            frozen = decision.frozen if before is None else before[_PLACE["frozen"]]
            offer = self._own_offer(variant, frozen, decision)
        return AnswerRow(decision.unit, variant, offer, identity, reason, holdout)

    def _own_offer(self, variant: str, frozen: str, decision: Decision) -> str | None:
        """Return the key of a unit's own offer, by what its decision froze; count who gets none."""
        own = self._own[variant]
        if decision.kind == "override":  # which freezes nothing
            return None if decision.offer is None else decision.offer.get("key")
        view = msgspec.json.decode(frozen)
        offer = own.of(view)
        if offer is None:
            self.tally.without_offer[variant]["unknown" if view.get(own.attribute) else "none"] += 1
            return None
        key: str | None = offer.get("key")
        return key


def _what_is_wrong(unit: str) -> str:
    if not unit:
        return "empty"
    return "with a NUL character" if "\0" in unit else "longer than 256 bytes"
