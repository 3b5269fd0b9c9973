"""Who may be on an audience: the members of a list, or the stored ones, each once, with what is known of them.

Columns of a list win; what it does not say comes from the stored members. An opt-out counts whoever tells it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from allocation.hashing import UnitError, check_unit
from experiments.assignments.assign_source import guess_unit_column
from experiments.errors import InputError
from experiments.personal import personal_id
from experiments.sources.columns import FALSE_WORDS, TRUE_WORDS, read_columns
from experiments.sources.file import ROW, first_line, open_file
from experiments.store import Store
from experiments.store.log_tables import identities, members
from experiments.uplift.arrays import arrays_of

AT_ONCE = 5_000
"""Members asked for in one query."""
OPTED_OUT = "opted_out"
_TRUE = frozenset({*TRUE_WORDS, "y", "1", "1.0", "是"})
_FALSE = frozenset({*FALSE_WORDS, "n", "0", "0.0", "否", ""})
_UNIT = "text:unit"


@dataclass(frozen=True, eq=False)
class Roster:
    """Members, each once, in the order of their list."""

    units: list[str]
    attributes: Mapping[str, NDArray[Any]]
    """Attribute → (n,), text as decisions freeze it, ``None`` where it is not known."""
    opted_out: NDArray[np.bool_]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """``invalid_unit``, ``personal_id``, ``repeated`` → rows of the list that are nobody's."""

    @property
    def missing(self) -> dict[str, int]:
        """Attribute → members for whom it is not known, where there are any."""
        counts = {name: sum(value is None for value in values) for name, values in self.attributes.items()}
        return {name: count for name, count in counts.items() if count}


def of_file(
    path: Path,
    name: str,
    wanted: Sequence[str],
    *,
    unit_type: str = "member",
    unit_column: str | None = None,
    encoding: str | None = None,
    allow_personal: bool = False,
) -> Roster:
    """Read a list of members: CSV (UTF-8, GB18030, UTF-16; plain or gzip) or Parquet.

    Args:
        path: where it lies.
        name: what messages call it.
        wanted: attributes; those that are no column of it are not known.
        unit_type: of the members, by which the column of ids is guessed.
        unit_column: column of ids.
        encoding: of a CSV; found out when ``None``.
        allow_personal: whether ids that look like an e-mail address or a telephone number are taken.

    Raises:
        InputError: when the list or a column cannot be used.
    """
    import duckdb

    try:
        with open_file(path, encoding=encoding) as file:
            id_column = file.require(guess_unit_column(file.header, unit_type, unit_column, name))
            columns = {_UNIT: id_column}
            columns |= {f"a:{each}": file.require(each) for each in (*wanted, OPTED_OUT) if each in file.header}
            table = read_columns(file, columns, (), materialise=True)
            found = arrays_of(table.order_by(ROW))
    except duckdb.Error as error:
        raise InputError(f"{name}: cannot be read: {first_line(error).replace(str(path), name)}") from None
    except InputError as error:
        raise InputError(str(error).replace(str(path), name)) from None
    kept, left_out = _usable(found[_UNIT], allow_personal)
    if not kept:
        raise InputError(f"{name}: has no row with a usable member id in column {id_column!r}")
    rows = np.array(kept, dtype=np.intp)
    nothing = np.full(len(rows), None, dtype=object)
    attributes = {each: found[f"a:{each}"][rows] if f"a:{each}" in found else nothing for each in wanted}
    said = found.get(f"a:{OPTED_OUT}")
    return Roster(
        [str(unit) for unit in found[_UNIT][rows]],
        attributes,
        _opted_out(said, found[_UNIT], rows, name),
        left_out,
    )


def _usable(units: NDArray[Any], allow_personal: bool) -> tuple[list[int], dict[str, int]]:
    """Return the rows that are somebody's, the first one of each, and how many are not."""
    kept: list[int] = []
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    for row, unit in enumerate(units):
        try:
            check_unit(unit)
        except UnitError:
            left_out["invalid_unit"] += 1
            continue
        if not allow_personal and personal_id(unit) is not None:
            left_out["personal_id"] += 1
        elif unit in seen:
            left_out["repeated"] += 1
        else:
            seen.add(unit)
            kept.append(row)
    return kept, dict(left_out)


def _opted_out(said: NDArray[Any] | None, units: NDArray[Any], rows: NDArray[np.intp], name: str) -> NDArray[np.bool_]:
    """Return who opted out by the list's own column, in any row of theirs.

    Raises:
        InputError: for a value that is neither yes nor no: nobody is taken to agree by mistake.
    """
    if said is None:
        return np.zeros(len(rows), dtype=bool)
    out = set()
    for row, value in enumerate(said):
        word = "" if value is None else str(value).strip().lower()
        if word in _TRUE:
            out.add(units[row])
        elif word not in _FALSE:
            raise InputError(f"{name}, row {row + 1}, column {OPTED_OUT}: {word[:40]!r} is neither yes nor no")
    return np.array([units[row] in out for row in rows], dtype=bool)


def with_stored(store: Store, roster: Roster, unit_type: str) -> Roster:
    """Return the roster with what the stored members say beside it: attributes that the list lacks, and opt-outs."""
    place = {unit: row for row, unit in enumerate(roster.units)}
    attributes = {name: values.copy() for name, values in roster.attributes.items()}
    opted_out = roster.opted_out.copy()
    for unit, held, out in _stored(store, unit_type, roster.units):
        row = place[unit]
        opted_out[row] |= out
        for name, values in attributes.items():
            if values[row] is None and name in held:
                values[row] = as_frozen(held[name])
    return Roster(roster.units, attributes, opted_out, roster.left_out)


def each_once(store: Store, roster: Roster, unit_type: str) -> Roster:
    """Return the roster with each member once who is known by several ids, under the first; any id's opt-out counts."""
    root = dict(_in_parts(store, roster.units, lambda some: _linked(unit_type, some)))
    if not root:
        return roster
    out = {each for (each,) in _in_parts(store, sorted(set(root.values())), lambda some: _out(unit_type, some))}
    seen: set[str] = set()
    kept = []
    for row, unit in enumerate(roster.units):
        own = root.get(unit)
        if own is None or own not in seen:
            kept.append(row)
        if own is not None:
            seen.add(own)
    rows = np.array(kept, dtype=np.intp)
    repeated = len(roster.units) - len(kept)
    opted_out = roster.opted_out | np.array([root.get(unit) in out for unit in roster.units], dtype=bool)
    return Roster(
        [roster.units[row] for row in kept],
        {name: values[rows] for name, values in roster.attributes.items()},
        opted_out[rows],
        {**roster.left_out, **({"repeated": roster.left_out.get("repeated", 0) + repeated} if repeated else {})},
    )


def _linked(unit_type: str, some: Sequence[str]) -> sa.Select[Any]:
    i = identities.c
    return sa.select(i.unit, i.root).where(i.unit_type == unit_type, i.unit.in_(some))


def _out(unit_type: str, roots: Sequence[str]) -> sa.Select[Any]:
    """Ask for the roots of which any id opted out."""
    i, m = identities.c, members.c
    joined = identities.join(members, sa.and_(m.unit_type == i.unit_type, m.unit == i.unit))
    query = sa.select(i.root).distinct().select_from(joined)
    return query.where(i.unit_type == unit_type, i.root.in_(roots), m.opted_out)


def _in_parts(store: Store, texts: Sequence[str], ask: Callable[[Sequence[str]], sa.Select[Any]]) -> Iterator[Any]:
    """Yield the rows of a query that is asked of some texts at a time."""
    for start in range(0, len(texts), AT_ONCE):
        with store.read() as connection:
            yield from connection.execute(ask(texts[start : start + AT_ONCE])).all()


def of_stored(rows: Iterable[tuple[str, Mapping[str, Any], bool]], wanted: Sequence[str]) -> Roster:
    """Return stored members as a roster.

    Args:
        rows: unit, stored attributes, opt-out.
        wanted: attributes.
    """
    units: list[str] = []
    columns: dict[str, list[str | None]] = {name: [] for name in wanted}
    out: list[bool] = []
    for unit, held, opted_out in rows:
        units.append(unit)
        out.append(opted_out)
        for name, values in columns.items():
            values.append(as_frozen(held.get(name)))
    arrays = {name: np.array(values, dtype=object) for name, values in columns.items()}
    return Roster(units, arrays, np.array(out, dtype=bool))


def as_frozen(value: Any) -> str | None:
    """Return an attribute's value as the report reads what a decision froze of it: text, ``None`` where unknown.

    >>> as_frozen("gold"), as_frozen(3), as_frozen(2.5), as_frozen(True), as_frozen(None)
    ('gold', '3', '2.5', 'true', None)
    """
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _stored(store: Store, unit_type: str, units: Sequence[str]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    c = members.c

    def ask(some: Sequence[str]) -> sa.Select[Any]:
        return sa.select(c.unit, c.attributes, c.opted_out).where(c.unit_type == unit_type, c.unit.in_(some))

    for unit, attributes, opted_out in _in_parts(store, units, ask):
        yield unit, json.loads(attributes), bool(opted_out)
