"""What each decision earned: outcomes in their latest state, given to the decisions in whose windows they happened.

An outcome (an event, an order whatever its source, another object) belongs to the unit's last decision before it, or to
every decision whose window it lies in, as declared. An order belongs where it was first placed; what became of it
afterwards, a refund or a redemption, goes with it, however late it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.learning.decided import Decided
from experiments.learning.declared import Declared
from experiments.measure import things
from experiments.measure.facts import Census, Facts, order_names, take_census
from experiments.measure.parts import REDEEMED, Part
from experiments.measure.properties import Properties
from experiments.measure.things import Things
from experiments.sources.duck import fetch


@dataclass(frozen=True)
class Rewards:
    """What was earned by the decisions that earned or cost anything."""

    sums: dict[int, tuple[float, ...]]
    """Number of a decision → the sum of each of the declared parts, in the parts' own units."""
    outcomes: int
    """Outcomes that belong to a decision, each counted once."""
    overlaps: int
    """Of these, how many lie in the windows of several decisions."""
    last_event: int | None
    """When the latest event of the kinds that count happened."""
    redemptions: bool
    """Whether the log tells of redemptions at all."""


def rewards(decided: Decided, declared: Declared, until: int) -> Rewards:
    """Measure what decisions earned.

    Args:
        decided: the decisions.
        declared: what is earned, and how it is given to decisions.
        until: microseconds since 1970 UTC; nothing later is read.
    """
    unit_type = declared.record.definition.unit_type
    facts = Facts(decided.log, decided.units, declared.parts, declared.costs, unit_type, until)
    census = take_census(facts)
    columns = [part.column for part in facts.parts]
    sums: dict[int, tuple[float, ...]] = {}
    outcomes = overlaps = 0
    for number, found in enumerate(_branches(decided, declared, facts, census)):
        there = [name for name in columns if name in found.columns]
        given = facts.log.keep(found.select("d", "thing", "windows", *there), f"equipoise_given_{number}")
        by_decision = given.group_by("d").aggregate(**{name: given[name].sum() for name in there})
        for row in fetch(by_decision):
            before = sums.get(row["d"], (0.0,) * len(columns))
            sums[row["d"]] = tuple(
                float(old) + float(row.get(name) or 0) for name, old in zip(columns, before, strict=True)
            )
        if columns[0] in there:
            earned = given.filter(given[columns[0]] != 0)
            shared = earned.filter(earned.windows > 1)
            outcomes += fetch(earned.aggregate(n=earned.thing.nunique()))[0]["n"]
            overlaps += fetch(shared.aggregate(n=shared.thing.nunique()))[0]["n"]
    return Rewards(sums, outcomes, overlaps, census.last_us, redemptions=bool(census.events.get(REDEEMED)))


def _branches(decided: Decided, declared: Declared, facts: Facts, census: Census) -> Iterator[Any]:
    """Yield tables of d, thing, windows and what the thing adds to each part: of events, of objects, of orders."""
    properties = Properties.needed_by(facts.parts)
    names = order_names(facts)
    of_orders = [part for part in facts.parts if part.event in names]
    others = [part for part in facts.parts if part.event not in names]
    if others:
        yield _given(_plain(things.loose(facts, others, properties), others), decided, declared)
    if any(census.objects.get(part.event) for part in others):
        yield _given(_plain(things.objects(facts, others, properties), others), decided, declared)
    if of_orders:
        states = things.order_states(facts, of_orders, properties, census)
        states = facts.log.keep(states, "equipoise_order_states")
        at = _first(things.of_orders(states, facts, of_orders, properties), of_orders)
        # What an offer costs depends on the variant, which is the decision's: so orders are given away first.
        given = _given(states.mutate(at=at), decided, declared)
        meant = things.of_orders(given, facts, of_orders, properties)
        yield given.select(
            "d", "thing", "windows", **{part.column: meant.terms[part.column].adds for part in of_orders}
        )


def _plain(meant: Things, parts: Sequence[Part]) -> Any:
    """Return u, when a thing happened, and what it adds to each part."""
    adds = {part.column: meant.terms[part.column].adds for part in parts}
    return meant.table.select("u", at=_first(meant, parts), **adds)


def _first(meant: Things, parts: Sequence[Part]) -> Any:
    """Return when a thing happened: an order when it was placed, else when something was redeemed."""
    import ibis

    times = [meant.terms[part.column].at for part in parts]
    if any(part.measure == "profit" for part in parts):
        times.append(meant.table[f"{things.column_prefix(REDEEMED)}_dt"])
    return ibis.coalesce(*times)


def _given(rows: Any, decided: Decided, declared: Declared) -> Any:
    """Return things with the decision that each belongs to (d and its variant), or one row for each of several."""
    import ibis

    start_us, end_us = declared.window_us
    rows = rows.drop(*[name for name in ("variant",) if name in rows.columns])
    rows = rows.filter(rows["at"].notnull()).mutate(thing=ibis.row_number())
    rows = decided.log.keep(rows, "equipoise_things")
    # What an offer costs depends on what the member has anyway, too: as the decision froze it.
    anyway = [name for name in ("standing_ppm",) if name in decided.table.columns]
    d = decided.table.select("d", "t0", "variant", *anyway, decided_u="u")
    joined = rows.join(d, rows.u == d.decided_u)
    joined = joined.filter(joined["at"] >= joined.t0 + start_us, joined["at"] < joined.t0 + end_us)
    latest = ibis.window(group_by=joined.thing, order_by=[joined.t0.desc(), joined.d.desc()])
    whole = ibis.window(group_by=joined.thing)
    joined = joined.mutate(
        place=ibis.row_number().over(latest),
        windows=joined.count().over(whole),
    )
    kept = joined if declared.attribution == "all" else joined.filter(joined.place == 0)
    return kept.drop("place", "decided_u", "t0")
