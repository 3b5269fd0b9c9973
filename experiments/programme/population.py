"""Who a holdout is compared with: the members it keeps out, and those whom the programme reached in their place.

The log holds every held-out member who was in an audience, but of the others only those who also passed the
experiment's layer slot and traffic. So held-out members are put through the same gates, by the same hash: what is left
are those who would have been enrolled, and the two groups differ by the holdout's own draw alone. Their sizes must then
be as the holdout's share says, and that is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from allocation.hashing import DIGITS, SPACE, bound, digest
from allocation.plan import ExperimentPlan, HoldoutPlan
from experiments.keeping.records import ExperimentRecord
from experiments.measure.redemption import Costs
from experiments.sources.duck import fetch, fetch_one, listed
from experiments.sources.log import LogTables

HELD_OUT, REACHED = "held_out", "reached"
BETWEEN = "/"
"""Between experiment and variant in what a reached unit was given first."""
WHOLE = ("t0", "contact_cost")


@dataclass(frozen=True)
class Covered:
    """An experiment whose members a holdout keeps out of."""

    record: ExperimentRecord
    plan: ExperimentPlan
    costs: Costs


@dataclass(frozen=True)
class Compared:
    """The units, one row each."""

    table: Any
    """Ibis table: u, unit, variant (held_out, or experiment/variant of the first decision), group, t0, contacts (0),
    contact_cost (10^-decimals minor units of all its decisions)."""
    held_out: int
    reached: int
    would_not: int
    """Held-out units that would not have been enrolled anywhere: not compared."""
    both: int
    """Units seen on both sides: left out."""
    first_us: int | None
    last_us: int | None


def passes(plan: ExperimentPlan, record: ExperimentRecord, unit: str, at_us: int, holdout: str) -> bool:
    """Return whether a unit that ``holdout`` kept out would else have been enrolled: other holdouts, slot, traffic."""
    if any(other.key != holdout and _within(digest(other.salt, unit), other.share) for other in plan.holdouts):
        return False
    if plan.layer is not None:
        place = int(digest(plan.layer.salt, unit)[:DIGITS], 16)
        if not any(bound(Fraction(low)) <= place < bound(Fraction(high)) for low, high in plan.layer.slots):
            return False
    phase = max((p for p in record.phases if p.opened_at <= at_us), key=lambda p: p.number, default=None)
    if phase is None:
        return False
    return int(digest(phase.salt, unit)[DIGITS : 2 * DIGITS], 16) < bound(Fraction(phase.traffic))


def _within(digits: str, share: str) -> bool:
    return int(digits[:DIGITS], 16) < bound(Fraction(share))


def compare(
    log: LogTables, holdout: HoldoutPlan, unit_type: str, covered: Sequence[Covered], now_us: int, decimals: int
) -> Compared:
    """Find the units of both sides.

    Args:
        log: where the decisions lie.
        holdout: its key, salt and share.
        unit_type: of the holdout.
        covered: experiments that were launched under it.
        now_us: nothing later is read.
        decimals: of a minor unit in which contacts are counted.
    """
    import ibis

    by_key = {one.record.key: one for one in covered}
    d = log.decisions
    d = d.filter(d.unit_type == unit_type, d["at"] <= now_us, d.experiment.isin(sorted(by_key)))
    held, would_not = _held(log, d, holdout, by_key)
    reached = log.keep(_reached(d.filter(d.kind == "enrolled"), by_key, decimals), "equipoise_reached", whole=WHOLE)
    both = int(fetch_one(reached.semi_join(held, "unit").count()))
    rows = held.anti_join(reached, "unit").union(reached.anti_join(held, "unit"))
    rows = log.keep(rows, "equipoise_compared")
    table = rows.mutate(u=ibis.row_number().over(order_by="unit").cast("int32"), contacts=ibis.literal(0, "int64"))
    table = log.keep(table, "equipoise_programme", whole=("contacts",))
    counts = {r["group"]: int(r["n"]) for r in fetch(table.group_by("group").aggregate(n=table.count()))}
    span = fetch(table.aggregate(first=table.t0.min(), last=table.t0.max()))[0]
    return Compared(
        table, counts.get(HELD_OUT, 0), counts.get(REACHED, 0), would_not, both, span["first"], span["last"]
    )


def _held(log: LogTables, d: Any, holdout: HoldoutPlan, covered: Mapping[str, Covered]) -> tuple[Any, int]:
    """Return unit, variant, group, t0 and contact_cost of the held-out who would have been enrolled; and the others."""
    import ibis

    kept_out = d.filter(d.kind == "holdout", d.holdout == holdout.key)
    first = kept_out.group_by("unit", "experiment").aggregate(t0=kept_out["at"].min())
    entered: dict[str, int] = {}
    seen = set()
    for row in fetch(first):
        unit, one = row["unit"], covered[row["experiment"]]
        seen.add(unit)
        if passes(one.plan, one.record, unit, int(row["t0"]), holdout.key):
            entered[unit] = min(int(row["t0"]), entered.get(unit, int(row["t0"])))
    texts = {"unit": list(entered), "at_text": [str(at) for at in entered.values()]}
    table = listed(log.connection, texts, "equipoise_held")
    table = table.select(
        "unit",
        variant=ibis.literal(HELD_OUT),
        group=ibis.literal(HELD_OUT),
        t0=table.at_text.cast("int64"),
        contact_cost=ibis.literal(0, "int64"),
    )
    return log.keep(table, "equipoise_held_out", whole=WHOLE), len(seen) - len(entered)


def _reached(d: Any, covered: Mapping[str, Covered], decimals: int) -> Any:
    """Return the same columns of every enrolled unit; a contact for every decision, as reports count them."""
    import ibis

    costs = [
        ((d.experiment == key) & (d.variant == variant.key), round(one.costs.contact(variant.key) * 10**decimals))
        for key, one in covered.items()
        for variant in one.record.definition.variants
        if one.costs.contact(variant.key)
    ]
    cost = ibis.cases(*costs, else_=ibis.literal(0, "int64")) if costs else ibis.literal(0, "int64")
    d = d.mutate(cost=cost.cast("int64"), given=d.experiment + BETWEEN + d.variant, entered=d["at"])
    # Of two decisions in one microsecond the first name counts, whatever the order of the rows.
    by_unit = d.group_by("unit").aggregate(t0=d.entered.min(), contact_cost=d.cost.sum().cast("int64"))
    first = d.join(by_unit.select("unit", "t0"), "unit").filter(lambda t: t.entered == t.t0)
    given = first.group_by("unit").aggregate(variant=first.given.min())
    table = by_unit.join(given, "unit")
    return table.select("unit", "variant", "t0", "contact_cost", group=ibis.literal(REACHED)).select(
        "unit", "variant", "group", "t0", "contact_cost"
    )


def expected_shares(holdout: HoldoutPlan) -> tuple[float, float]:
    """Return what shares of both sides together the held-out and the reached should be."""
    held = bound(Fraction(holdout.share)) / SPACE
    return held, 1 - held
