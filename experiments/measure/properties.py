"""Columns read out of the events' properties: filters and numbers, each extracted once, only where it is needed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from allocation.audience import json_columns, parse, to_sql
from allocation.dialects import dialect
from experiments.measure.parts import ORDER_FAMILY, PLACED, PRICED, REDEEMED, Part, order_events
from experiments.sources.log import LogTables

OFFER = "offer"
_VIEWS = itertools.count()
"""Every use of SQL within an expression gets a view of its own name: expressions are computed later than written."""


@dataclass
class Properties:
    """Which filters and numbers the parts need, and the names of their columns."""

    flags: dict[tuple[str, str], str] = field(default_factory=dict)
    """(event, rule) → column of 0 and 1."""
    numbers: dict[tuple[str, str], str] = field(default_factory=dict)
    """(event, property) → column of doubles."""
    needs_offer: bool = False

    @classmethod
    def needed_by(cls, parts: Iterable[Part]) -> Properties:
        """Collect what the parts read."""
        found = cls()
        for part in parts:
            if part.where is not None:
                found.flags.setdefault((part.event, part.where), f"flag_{len(found.flags)}")
            if part.number is not None:
                found.numbers.setdefault((part.event, part.number), f"number_{len(found.numbers)}")
            found.needs_offer = found.needs_offer or part.measure in PRICED
        return found

    def flag_of(self, part: Part) -> str | None:
        """Return the part's filter column, if it has a filter."""
        return None if part.where is None else self.flags[part.event, part.where]

    def number_of(self, part: Part) -> str | None:
        """Return the part's number column, if it sums a property."""
        return None if part.number is None else self.numbers[part.event, part.number]

    def columns(self) -> list[str]:
        """Return the names of all columns that `extract` adds."""
        return [*self.flags.values(), *self.numbers.values(), *(["offer_key"] if self.needs_offer else [])]

    def extract(self, log: LogTables, events: Any) -> Any:
        """Return the events with the columns added; NULL on events that they do not belong to."""
        if not self.columns():
            return events
        name = log.dialect
        words = dialect(name)
        held = "properties" if name == "duckdb" else "CAST(properties AS JSONB)"
        resolve = json_columns(name, held)
        written: list[str] = []
        for (event, rule), column in self.flags.items():
            condition = to_sql(parse(json.loads(rule)), name, column=resolve, now=0)
            written.append(
                f"CASE WHEN {_is_event(words, event)} THEN CASE WHEN {condition} THEN 1 ELSE 0 END END AS {column}"
            )
        for (event, key), column in self.numbers.items():
            written.append(f"CASE WHEN {_is_event(words, event)} THEN {resolve(key, 'number')} END AS {column}")
        if self.needs_offer:
            redeemed = f"name = {words.literal(REDEEMED)}"
            written.append(f"CASE WHEN {redeemed} THEN {resolve(OFFER, 'string')} END AS offer_key")
        # Everything written here comes from the rule printer and the resolver, which quote names and text.
        view = f"equipoise_events_{next(_VIEWS)}"
        return events.alias(view).sql(f"SELECT *, {', '.join(written)} FROM {view}")  # noqa: S608


def states_of(event: str) -> tuple[str, ...]:
    """Return the events that state what ``event`` is about: for an order all that may change it."""
    return PLACED if event in PLACED else (event,)


def names_needed(parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the names of all events that the parts read, the ones that change an order's state included."""
    names = dict.fromkeys(part.event for part in parts)
    if any(name in order_events(parts) for name in names):
        names |= dict.fromkeys(n for n in ORDER_FAMILY if n != REDEEMED)
    if any(part.measure in PRICED for part in parts):
        names |= dict.fromkeys(ORDER_FAMILY)
    return tuple(names)


def _is_event(words: Any, event: str) -> str:
    listed = ", ".join(words.literal(name) for name in states_of(event))
    return f"name IN ({listed})"
