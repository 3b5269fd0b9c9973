"""From events to one row per unit: every metric of an experiment in one expression.

Events meet their units and become days after entry; what concerns one object (an order, whatever the source) is
brought to its latest state; then everything is summed per unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from experiments.measure import things
from experiments.measure.facts import Census, Facts, order_names
from experiments.measure.parts import Part
from experiments.measure.properties import Properties
from experiments.measure.things import Things


def unit_columns(facts: Facts, census: Census) -> Any:
    """Return every unit with one column per part, 0 where it had no event that counts.

    The time of a first event is NULL where there was none.
    """
    properties = Properties.needed_by(facts.parts)
    table = facts.units
    found: dict[str, list[str]] = {}
    for number, (parts, branch) in enumerate(_branches(facts, census, properties)):
        # One after the other: each needs memory for its groups, and gives back a table of a few columns per unit.
        whole = [p.column for p in parts if not _is_double(p, properties)]
        kept = facts.log.keep(branch().per_unit(parts), f"equipoise_branch_{number}", whole=whole)
        named = kept.rename({f"{p.column}_{number}": p.column for p in parts})
        table = table.left_join(named, "u").drop("u_right")
        for part in parts:
            found.setdefault(part.column, []).append(f"{part.column}_{number}")
    columns = {part.column: _together(part, [table[c] for c in found[part.column]]) for part in facts.parts}
    return table.select(*facts.units.columns, **columns)


def event_values(facts: Facts, census: Census, part: Part) -> Any:
    """Return u and value of every single event (order, object) that counts for a part and has a value."""
    properties = Properties.needed_by((part,))
    alone = replace(facts, parts=(part,))
    tables = [branch().values(part) for _, branch in _branches(alone, census, properties)]
    together = tables[0]
    for table in tables[1:]:
        together = together.union(table)
    return together


def _branches(
    facts: Facts, census: Census, properties: Properties
) -> Iterator[tuple[Sequence[Part], Callable[[], Things]]]:
    names = order_names(facts)
    of_orders = [p for p in facts.parts if p.event in names]
    others = [p for p in facts.parts if p.event not in names]
    of_objects = [p for p in others if census.objects.get(p.event)]
    if others:
        yield others, lambda: things.loose(facts, others, properties)
    if of_orders:
        yield of_orders, lambda: things.orders(facts, of_orders, properties, census)
    if of_objects:
        yield of_objects, lambda: things.objects(facts, of_objects, properties)


def _together(part: Part, columns: Sequence[Any]) -> Any:
    """Return what the branches of one part make together."""
    import ibis

    if part.measure == "first":
        if len(columns) == 1:
            return columns[0]
        one, two = columns
        return ibis.cases((one.isnull(), two), (two.isnull(), one), else_=ibis.least(one, two))
    values = [c.fill_null(ibis.literal(0, type=c.type())) for c in columns]
    total = values[0] if len(values) == 1 else values[0] + values[1]
    return (total > 0).cast("int64") if part.measure == "any" else total


def _is_double(part: Part, properties: Properties) -> bool:
    return part.measure == "property" and properties.number_of(part) is not None
