"""Which ids are one unit: groups that follow from links, whatever the order in which the links came.

A group is what hangs together by links, and its root is the least of its ids in byte order. Ids that stand for many
people are refused, and a group that would hold more than fifty ids is nobody's: a shared device, a till, a test
account. Its ids are marked (each alone under itself) and count each for itself from then on, as does everything that is
linked to them later. So the outcome depends on the links alone, never on which of them came first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.generic_ids import generic_id
from experiments.log.dead_letters import DeadLetter, dead_letter
from experiments.log.rows import AliasRow
from experiments.log.store_rows import insert_new, replace, stored
from experiments.store.log_tables import identities, links

MAX_GROUP = 50
"""Ids that one unit may have."""
_CHUNK = 500

Id = tuple[str, str]
"""unit_type, unit"""


@dataclass
class Linked:
    """What became of some links."""

    added: int = 0
    repeated: int = 0
    letters: list[DeadLetter] = field(default_factory=list)


def link(connection: Connection, rows: Sequence[AliasRow]) -> Linked:
    """Take links into the store and bring the groups up to date.

    Args:
        connection: inside a transaction of the store.
        rows: the links, in any order.
    """
    outcome = Linked()
    if not rows:
        return outcome
    if connection.dialect.name == "postgresql":
        # Two hosts that join the same groups at the same time would each miss what the other does.
        connection.execute(sa.text("LOCK TABLE identities IN SHARE ROW EXCLUSIVE MODE"))
    wanted: dict[tuple[str, str, str], AliasRow] = {}
    for row in sorted(rows, key=lambda row: (row.at, row.received_at, row.source)):
        refused = generic_id(row.unit) or generic_id(row.other)
        if refused is not None:
            outcome.letters.append(_letter(row, "generic_id", refused))
        elif row.unit != row.other:
            wanted.setdefault((row.unit_type, *sorted((row.unit, row.other))), row)  # type: ignore[arg-type]
    known = stored(connection, links, sorted(wanted))
    new = [key for key in sorted(wanted) if key not in known]
    groups = _Groups(connection, {(key[0], end) for key in new for end in key[1:]})
    kept = []
    for key in new:
        if groups.join((key[0], key[1]), (key[0], key[2])):
            row = wanted[key]
            kept.append((*key, row.at, row.received_at, row.source))
        else:
            detail = f"more than {MAX_GROUP} ids would be one unit; they count each for itself"
            outcome.letters.append(_letter(wanted[key], "group_too_large", detail))
    insert_new(connection, links, kept)
    replace(connection, identities, groups.changed())
    outcome.added = len(kept)
    outcome.repeated = len(rows) - len(kept) - len(outcome.letters)
    return outcome


class _Groups:
    """The groups that some ids belong to: read once, joined in memory, written where they changed."""

    def __init__(self, connection: Connection, ends: Iterable[Id]) -> None:
        keys = sorted(ends)
        self._before: dict[Id, str] = {
            (row[0], row[1]): row[2] for row in stored(connection, identities, keys).values()
        }
        roots = {(unit_type, root) for (unit_type, _), root in self._before.items()}
        for unit_type in sorted({unit_type for unit_type, _ in roots}):
            self._read(connection, unit_type, sorted(root for kind, root in roots if kind == unit_type))
        self._group: dict[Id, set[Id]] = {}
        together: dict[Id, set[Id]] = {}
        for (unit_type, unit), root in self._before.items():
            together.setdefault((unit_type, root), set()).add((unit_type, unit))
        self._nobodys: set[Id] = set()
        for members in together.values():
            if len(members) == 1:
                self._nobodys |= members
            self._group.update(dict.fromkeys(members, members))
        for key in keys:
            self._group.setdefault(key, {key})

    def _read(self, connection: Connection, unit_type: str, roots: list[str]) -> None:
        c = identities.c
        for begin in range(0, len(roots), _CHUNK):
            query = sa.select(c.unit, c.root).where(c.unit_type == unit_type, c.root.in_(roots[begin : begin + _CHUNK]))
            for unit, root in connection.execute(query):
                self._before[unit_type, unit] = root

    def join(self, one: Id, other: Id) -> bool:
        """Make two groups one; return whether that is one unit still."""
        joined = self._group[one] | self._group[other]
        if len(joined) > MAX_GROUP or not self._nobodys.isdisjoint(joined):
            self._nobodys |= joined
            self._group.update({key: {key} for key in joined})
            return False
        self._group.update(dict.fromkeys(joined, joined))
        return True

    def changed(self) -> list[tuple[Any, ...]]:
        """Return the rows of ``identities`` to write, in key order."""
        roots: dict[int, str] = {}
        rows = []
        for key, members in sorted(self._group.items()):
            root = roots.get(id(members))
            if root is None:
                root = roots[id(members)] = min(members)[1]
            if self._before.get(key) != root:
                rows.append((*key, root))
        return rows


def _letter(row: AliasRow, reason: str, detail: str) -> DeadLetter:
    payload = msgspec.json.encode({**msgspec.structs.asdict(row), "received_at": None}).decode()
    return dead_letter("alias", reason, detail, payload, source=row.source, received_at=row.received_at)
