"""What sources say about units, merged: of each attribute the latest statement counts, whatever the order of arrival.

An event stream may deliver yesterday's statement after today's, and twice. So every attribute carries the time of the
statement that it comes from, also one that is no longer known, and a late statement changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.log.rows import TraitsRow
from experiments.log.store_rows import replace, stored
from experiments.store.log_tables import members

FUTURE_US = 10 * 60 * 1_000_000
"""How far ahead of its arrival a statement may be before it counts from its arrival: else nothing could ever follow."""
OPT_OUT = ""
"""What the opt-out is called among the times of statements."""

_json = msgspec.json.Encoder(order="sorted")


class Statement(msgspec.Struct, frozen=True):
    """What somebody says about a unit at a moment; attributes that it does not mention stay as they are."""

    unit_type: str
    unit: str
    at: int
    attributes: Mapping[str, Any]
    """``None`` means no longer known."""
    opted_out: bool | None = None
    """``None`` where nothing was said about it."""


class Known(msgspec.Struct):
    """What is known of one unit."""

    attributes: dict[str, Any] = {}
    opted_out: bool = False
    updated_at: int = 0
    stated_at: dict[str, int] = {}
    """Attribute → microsecond of the statement that its value comes from."""

    def take(self, statement: Statement) -> None:
        """Merge a statement. Of two at the same moment the greater value counts, so that their order does not matter.

        >>> known = Known()
        >>> for at, stage in ((5, "active"), (3, "dormant"), (9, None), (7, "new")):
        ...     known.take(Statement("member", "m-1", at, {"stage": stage}))
        >>> known.attributes, known.stated_at
        ({}, {'stage': 9})
        """
        for name, value in statement.attributes.items():
            if not self._counts(name, statement.at, value, self.attributes.get(name)):
                continue
            self.stated_at[name] = statement.at
            if value is None:
                self.attributes.pop(name, None)
            else:
                self.attributes[name] = value
        opted_out = statement.opted_out
        if opted_out is not None and self._counts(OPT_OUT, statement.at, opted_out, self.opted_out):
            self.stated_at[OPT_OUT] = statement.at
            self.opted_out = opted_out
        self.updated_at = max(self.updated_at, statement.at)

    def _counts(self, name: str, at: int, new: Any, held: Any) -> bool:
        known = self.stated_at.get(name)
        if known is None:
            known = self.updated_at if held else -1
        return at > known or (at == known and _json.encode(new) > _json.encode(held))


def statement_of(row: TraitsRow) -> Statement:
    """Return what a row of the log says; one from the future counts from its arrival.

    Raises:
        msgspec.DecodeError: when its attributes are no JSON object.
    """
    at = row.at if row.at <= row.received_at + FUTURE_US else row.received_at
    return Statement(
        row.unit_type, row.unit, at, msgspec.json.decode(row.attributes, type=dict[str, Any]), row.opted_out
    )


def merge(connection: Connection, statements: Iterable[Statement]) -> int:
    """Merge statements into ``members``, in any order.

    Args:
        connection: inside a transaction of the store.
        statements: what is said.

    Returns:
        How many units are known differently now.
    """
    statements = list(statements)
    keys = sorted({(statement.unit_type, statement.unit) for statement in statements})
    if not keys:
        return 0
    if connection.dialect.name == "postgresql":
        # Hosts load at the same time: what is read here must still be so when it is written.
        connection.execute(sa.text("LOCK TABLE members IN SHARE ROW EXCLUSIVE MODE"))
    before = stored(connection, members, keys)
    state: dict[tuple[Any, ...], Known] = {key: Known() for key in keys}
    for key, (_, _, attributes, opted_out, updated_at, stated_at) in before.items():
        state[key] = Known(msgspec.json.decode(attributes), bool(opted_out), updated_at, msgspec.json.decode(stated_at))
    for statement in statements:
        state[statement.unit_type, statement.unit].take(statement)
    rows = [
        (
            *key,
            _json.encode(known.attributes).decode(),
            known.opted_out,
            known.updated_at,
            _json.encode(known.stated_at).decode(),
        )
        for key, known in state.items()
    ]
    replace(connection, members, [row for row in rows if row != _comparable(before.get(row[:2]))])
    return sum(_content(row) != _content(_comparable(before.get(row[:2]))) for row in rows)


def _comparable(row: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    return None if row is None else (*row[:3], bool(row[3]), *row[4:])


def _content(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    return ("{}", False) if row is None else (row[2], row[3])
