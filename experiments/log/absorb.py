"""Taking rows into the store's log, whoever brings them: the loader from a spool, an import from a file.

Idempotent: the first row of a key wins. A later decision with another variant goes to ``conflicts``; a later event
with other content is a dead letter; an event from more than ten minutes in the future waits in quarantine. What is said
about members is merged by `experiments.log.traits`, links of ids by `experiments.log.identities`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.log.dead_letters import DeadLetter, dead_letter
from experiments.log.identities import link
from experiments.log.rows import AliasRow, DecisionRow, EventRow, TraitsRow
from experiments.log.spool import LogRow
from experiments.log.store_rows import insert_new, stored
from experiments.log.traits import merge, statement_of
from experiments.store.log_tables import conflicts, dead_letters, decisions, events, quarantined_events

FUTURE_US = 10 * 60 * 1_000_000
"""How far ahead of our clock an event may be before it is quarantined."""


@dataclass
class Absorbed:
    """What became of some rows. Counts of rows that were new, and of those that were not."""

    decisions: int = 0
    events: int = 0
    dead_letters: int = 0
    conflicts: int = 0
    duplicates: int = 0
    quarantined: int = 0
    released: int = 0
    """Events whose time has come: they left quarantine and are counted under ``events``."""
    members: int = 0
    """Units that are known differently by what was said about them."""
    links: int = 0

    def __iadd__(self, other: Absorbed) -> Self:
        for field in fields(Absorbed):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self


def absorb(connection: Connection, rows: Sequence[LogRow], now: int) -> Absorbed:
    """Take rows into the log, in their order: of two rows with one key the earlier one wins.

    Args:
        connection: inside a transaction of the store.
        rows: the rows.
        now: our clock, in microseconds.
    """
    absorbed = Absorbed()
    sorted_out: dict[type[LogRow], list[Any]] = {}
    for row in rows:
        sorted_out.setdefault(type(row), []).append(row)
    _absorb_decisions(connection, sorted_out.get(DecisionRow, []), absorbed)
    # Dead letters go in last and together: every transaction then takes its locks in one order.
    letters: list[DeadLetter] = sorted_out.get(DeadLetter, [])
    arrived: list[EventRow] = sorted_out.get(EventRow, [])
    present = [event for event in arrived if event.at <= now + FUTURE_US]
    absorbed.events += _absorb_events(connection, events, present, absorbed, letters)
    if len(present) < len(arrived):
        future = [event for event in arrived if event.at > now + FUTURE_US]
        absorbed.quarantined += _absorb_events(connection, quarantined_events, future, absorbed, letters)
    _absorb_traits(connection, sorted_out.get(TraitsRow, []), absorbed, letters)
    linked = link(connection, sorted_out.get(AliasRow, []))
    absorbed.links += linked.added
    absorbed.duplicates += linked.repeated
    letters += linked.letters
    _absorb_dead_letters(connection, letters, absorbed)
    return absorbed


def release_quarantined(connection: Connection, now: int) -> Absorbed:
    """Take the quarantined events whose time has come into the log."""
    absorbed = Absorbed()
    names = EventRow.__struct_fields__
    # Taken and removed by one statement: what another host puts there meanwhile stays for the next time.
    taken = quarantined_events.delete().where(quarantined_events.c.at <= now)
    found = connection.execute(taken.returning(*(quarantined_events.c[name] for name in names))).all()
    if found:
        letters: list[DeadLetter] = []
        released = _absorb_events(connection, events, [EventRow(*row) for row in found], absorbed, letters)
        _absorb_dead_letters(connection, letters, absorbed)
        absorbed.events = absorbed.released = released
    return absorbed


def _absorb_decisions(connection: Connection, rows: list[DecisionRow], absorbed: Absorbed) -> None:
    if not rows:
        return
    first: dict[str, DecisionRow] = {}
    for row in rows:
        first.setdefault(row.decision_id, row)
    ids = sorted(first)
    inserted = insert_new(connection, decisions, [msgspec.structs.astuple(first[key]) for key in ids])
    absorbed.decisions += inserted
    if inserted == len(rows):
        return
    variants: dict[str, str | None] = {key: row.variant for key, row in first.items()}
    if inserted < len(first):
        place = list(decisions.c.keys()).index("variant")
        variants = {key[0]: row[place] for key, row in stored(connection, decisions, [(key,) for key in ids]).items()}
    differing = {
        (row.decision_id, row.variant or ""): (
            row.decision_id,
            row.variant or "",
            variants[row.decision_id] or "",
            row.experiment,
            row.phase,
            row.unit_type,
            row.unit,
            row.at,
            row.source,
        )
        for row in reversed(rows)
        if row.variant != variants[row.decision_id]
    }
    noted = insert_new(connection, conflicts, [differing[key] for key in sorted(differing)])
    absorbed.conflicts += noted
    absorbed.duplicates += len(rows) - inserted - noted


def _absorb_events(
    connection: Connection, table: sa.Table, rows: list[EventRow], absorbed: Absorbed, letters: list[DeadLetter]
) -> int:
    if not rows:
        return 0
    tuples = [_event_tuple(row) for row in rows]
    first: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in tuples:
        first.setdefault(row[:3], row)
    keys = sorted(first)
    inserted = insert_new(connection, table, [first[key] for key in keys])
    if inserted == len(rows):
        return inserted
    kept = first if inserted == len(first) else stored(connection, table, keys)
    differing = [event for event, row in zip(rows, tuples, strict=True) if _content(row) != _content(kept[row[:3]])]
    letters += [_conflicting(row) for row in differing]
    absorbed.duplicates += len(rows) - inserted - len(differing)
    return inserted


def _absorb_traits(
    connection: Connection, rows: list[TraitsRow], absorbed: Absorbed, letters: list[DeadLetter]
) -> None:
    statements = []
    for row in rows:
        try:
            statements.append(statement_of(row))
        except (msgspec.DecodeError, RecursionError):
            # Its text is not repeated: what is no object of declared attributes may be anything.
            letters.append(
                dead_letter(
                    "member",
                    "unreadable",
                    "the attributes are no JSON object",
                    "{}",
                    source=row.source,
                    received_at=row.received_at,
                    key=row.unit,
                )
            )
    changed = merge(connection, statements)
    absorbed.members += changed
    absorbed.duplicates += len(statements) - changed


def _absorb_dead_letters(connection: Connection, letters: list[DeadLetter], absorbed: Absorbed) -> None:
    first: dict[str, DeadLetter] = {}
    for letter in letters:
        first.setdefault(letter.id, letter)
    rows = [msgspec.structs.astuple(first[key]) for key in sorted(first)]
    absorbed.dead_letters += insert_new(connection, dead_letters, rows)


_AT, _RECEIVED = (list(events.c.keys()).index(name) for name in ("at", "received_at"))


def _event_tuple(row: EventRow) -> tuple[Any, ...]:
    """Return the row in the order of the table's columns, which begin with its key."""
    return (
        row.source,
        row.day,
        row.event_id,
        row.name,
        row.unit_type,
        row.unit,
        row.at,
        row.received_at,
        row.object_id,
        row.value_minor,
        row.currency,
        row.decision_id,
        row.experiment,
        row.properties,
        row.stated_at,
    )


def _content(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what makes two events the same: everything but when we heard of them.

    Their time is the stated one: a repeat that comes later is corrected by another amount.
    """
    stated = row[-1]
    return (*row[:_AT], row[_AT] if stated is None else stated, *row[_RECEIVED + 1 : -1])


def _conflicting(row: EventRow) -> DeadLetter:
    return dead_letter(
        "event",
        "conflicting_duplicate",
        "an event with this source, day and event_id is stored already, with other content",
        msgspec.json.encode({**msgspec.structs.asdict(row), "received_at": None}).decode(),
        source=row.source,
        received_at=row.received_at,
    )
