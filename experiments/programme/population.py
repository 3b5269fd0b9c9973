"""Who a holdout is compared with: the members it keeps out, and those whom the programme reached in their place.

The log holds every held-out member who was in an audience, but of the others only those who also passed the
experiment's layer slot and traffic. So held-out members are put through the same gates, by the same hash: what is left
are those who would have been enrolled, and the two groups differ by the holdout's own draw alone. Their sizes must then
be as the holdout's share says, and that is checked.

A member who is known by several ids counts once. The holdout drew each id for itself, so such a member may have been
kept out under one and reached under another: it stays on the side of its first decision. To leave it out, as reports do
with a unit of two variants, would take nearly every member of several ids from the small side and few from the large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from allocation.hashing import DIGITS, SPACE, bound, digest
from allocation.plan import ExperimentPlan, HoldoutPlan
from experiments.definitions.standing import Standing
from experiments.keeping.records import ExperimentRecord
from experiments.measure.linked import by_root, known_links, under_roots
from experiments.measure.population import frozen_levels, standing_ppm
from experiments.measure.redemption import Costs
from experiments.sources.duck import fetch, fetch_one, listed
from experiments.sources.log import LogTables

HELD_OUT, REACHED = "held_out", "reached"
BETWEEN = "/"
"""Between experiment and variant in what a reached unit was given first."""
WHOLE = ("t0", "contact_cost", "standing_ppm")
COLUMNS = ("unit", "variant", "own_offer", "standing_ppm", "group", "t0", "contact_cost")
"""Of a unit: what it was given first, its own offer if that was one, what it had off every order anyway, its side, when
it came, what contacts cost."""


@dataclass(frozen=True)
class Covered:
    """An experiment whose members a holdout keeps out of."""

    record: ExperimentRecord
    plan: ExperimentPlan
    costs: Costs

    @property
    def standing(self) -> Standing | None:
        """What members had off every order anyway, as its launch froze it."""
        return None if self.record.pinned is None else self.record.pinned.standing


@dataclass(frozen=True)
class Compared:
    """The units, one row each."""

    log: LogTables
    """The log in which every unit has one id."""
    table: Any
    """Ibis table: u, unit, variant (held_out, or experiment/variant of the first decision), own_offer, standing_ppm,
    group, t0, contacts (0), contact_cost (10^-decimals minor units of all its decisions)."""
    held_out: int
    reached: int
    would_not: int
    """Held-out units that would not have been enrolled anywhere: not compared."""
    both: int
    """Units seen on both sides under one id: left out."""
    linked: int
    """Compared units that decisions were made for under several ids."""
    crossed: int
    """Of these, units seen on both sides: each is on the side where it was first."""
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
        log: where the decisions lie, each under the id that asked.
        holdout: its key, salt and share.
        unit_type: of the holdout.
        covered: experiments that were launched under it.
        now_us: nothing later is read.
        decimals: of a minor unit in which contacts are counted.
    """
    import ibis

    by_key = {one.record.key: one for one in covered}
    known = known_links(log, unit_type)
    d = log.decisions
    d = d.filter(d.unit_type == unit_type, d["at"] <= now_us, d.experiment.isin(sorted(by_key)))
    d = d.mutate(asked=d.unit)
    d = d if known is None else under_roots(d, known, unit_type)
    held, seen = _held(log, d, holdout, by_key)
    reached = _reached(log, d.filter(d.kind == "enrolled"), by_key, decimals)
    reached = log.keep(reached, "equipoise_reached", whole=WHOLE)
    would_not = int(fetch_one(seen.anti_join(held, "unit").anti_join(reached, "unit").count()))
    both = int(fetch_one(reached.semi_join(held, "unit").count()))
    rows = held.anti_join(reached, "unit").union(reached.anti_join(held, "unit"))
    linked = crossed = 0
    if known is not None:
        met = _met_both(held, reached).semi_join(known.select(unit="root"), "unit")
        met = log.keep(met, "equipoise_crossed", whole=WHOLE)
        crossed = int(fetch_one(met.count()))
        rows = rows.union(met)
        ids = d.group_by("unit").aggregate(ids=d.asked.nunique()).filter(lambda t: t.ids > 1)
    rows = log.keep(rows, "equipoise_compared", whole=WHOLE)
    if known is not None:
        linked = int(fetch_one(ids.semi_join(rows, "unit").count()))
    table = rows.mutate(u=ibis.row_number().over(order_by="unit").cast("int32"), contacts=ibis.literal(0, "int64"))
    table = log.keep(table, "equipoise_programme", whole=("contacts", *WHOLE))
    counts = {r["group"]: int(r["n"]) for r in fetch(table.group_by("group").aggregate(n=table.count()))}
    span = fetch(table.aggregate(first=table.t0.min(), last=table.t0.max()))[0]
    return Compared(
        log=log if known is None else by_root(log, known, unit_type),
        table=table,
        held_out=counts.get(HELD_OUT, 0),
        reached=counts.get(REACHED, 0),
        would_not=would_not,
        both=both - crossed,
        linked=linked,
        crossed=crossed,
        first_us=span["first"],
        last_us=span["last"],
    )


def _met_both(held: Any, reached: Any) -> Any:
    """Return units of both sides on the side where each was first; what it was given and what that cost stay."""
    import ibis

    waited = held.select("unit", held_at=held.t0)
    joined = reached.join(waited, "unit")
    side = ibis.ifelse(joined.held_at <= joined.t0, HELD_OUT, REACHED)
    return joined.mutate(group=side, t0=ibis.least(joined.held_at, joined.t0)).select(*COLUMNS)


def _held(log: LogTables, d: Any, holdout: HoldoutPlan, covered: Mapping[str, Covered]) -> tuple[Any, Any]:
    """Return the held-out who would have been enrolled, in the columns of a unit, and all the held-out.

    Each id goes through the gates as itself: of several that are one unit, the first that passes counts.
    """
    import ibis

    kept_out = _with_frozen(log, d.filter(d.kind == "holdout", d.holdout == holdout.key), covered)
    first = kept_out.group_by("unit", "asked", "experiment").aggregate(
        t0=kept_out["at"].min(), ppm=kept_out.standing_ppm.argmin(kept_out["at"])
    )
    entered: dict[str, tuple[int, int]] = {}
    seen = set()
    for row in fetch(first):
        unit, one = row["unit"], covered[row["experiment"]]
        seen.add(unit)
        if passes(one.plan, one.record, row["asked"], int(row["t0"]), holdout.key):
            here = (int(row["t0"]), int(row["ppm"]))
            entered[unit] = min(here, entered.get(unit, here))
    texts = {
        "unit": list(entered),
        "at_text": [str(at) for at, _ in entered.values()],
        "ppm_text": [str(ppm) for _, ppm in entered.values()],
    }
    table = listed(log.connection, texts, "equipoise_held")
    table = table.select(
        "unit",
        variant=ibis.literal(HELD_OUT),
        own_offer=ibis.null("string"),
        standing_ppm=table.ppm_text.cast("int64"),
        group=ibis.literal(HELD_OUT),
        t0=table.at_text.cast("int64"),
        contact_cost=ibis.literal(0, "int64"),
    ).select(*COLUMNS)
    return log.keep(table, "equipoise_held_out", whole=WHOLE), log.listed(sorted(seen), "equipoise_kept_out")


def _reached(log: LogTables, d: Any, covered: Mapping[str, Covered], decimals: int) -> Any:
    """Return the same columns of every enrolled unit; a contact for every decision, as reports count them.

    Where a variant gives each unit its own offer, a decision costs what it froze: who was given none is not contacted.
    """
    import ibis

    d = _with_frozen(log, d, covered)
    costs = [
        (given, round(one.costs.contact(variant.key, offer) * 10**decimals))
        for key, one in covered.items()
        for variant in one.record.definition.variants
        for offer, given in _givings(d, key, variant.key, one.costs)
        if one.costs.contact(variant.key, offer)
    ]
    cost = ibis.cases(*costs, else_=ibis.literal(0, "int64")) if costs else ibis.literal(0, "int64")
    d = d.mutate(cost=cost.cast("int64"), given=d.experiment + BETWEEN + d.variant, entered=d["at"])
    # Of two decisions in one microsecond the first name counts, whatever the order of the rows.
    by_unit = d.group_by("unit").aggregate(t0=d.entered.min(), contact_cost=d.cost.sum().cast("int64"))
    first = d.join(by_unit.select("unit", "t0"), "unit").filter(lambda t: t.entered == t.t0)
    first = first.group_by("unit", "given").aggregate(own=first.own.min(), standing_ppm=first.standing_ppm.min())
    least = first.group_by("unit").aggregate(variant=first.given.min())
    given = (
        first.join(least, "unit")
        .filter(lambda t: t.given == t.variant)
        .select("unit", "variant", "standing_ppm", own_offer="own")
    )
    return by_unit.join(given, "unit").mutate(group=ibis.literal(REACHED)).select(*COLUMNS)


def _with_frozen(log: LogTables, d: Any, covered: Mapping[str, Covered]) -> Any:
    """Return decisions with what each froze of its member: own, the key of its own offer, and standing_ppm."""
    import ibis

    anyway = {key: one.standing for key, one in covered.items() if one.standing is not None}
    names = {name for one in covered.values() for name in one.costs.own.values()}
    attributes = sorted({*names, *(standing.attribute for standing in anyway.values())})
    frozen = frozen_levels(log, d, attributes)
    if frozen is None:
        return d.mutate(own=ibis.null("string"), standing_ppm=ibis.literal(0, "int64"))
    levels = {name: frozen[f"level_{place}"] for place, name in enumerate(attributes)}
    own = [
        ((frozen.experiment == key) & (frozen.variant == variant), levels[name])
        for key, one in covered.items()
        for variant, name in one.costs.own.items()
    ]
    off = [(frozen.experiment == key, standing_ppm(levels[each.attribute], each)) for key, each in anyway.items()]
    return frozen.mutate(
        own=ibis.cases(*own, else_=ibis.null("string")) if own else ibis.null("string"),
        standing_ppm=ibis.cases(*off, else_=ibis.literal(0, "int64")) if off else ibis.literal(0, "int64"),
    ).drop(*(f"level_{place}" for place in range(len(attributes))))


def _givings(d: Any, experiment: str, variant: str, costs: Costs) -> list[tuple[str | None, Any]]:
    """Return the offers that a variant's decisions may have given, each with the condition that it was this one."""
    here = (d.experiment == experiment) & (d.variant == variant)
    if variant not in costs.own:
        return [(None, here)]
    return [(offer, here & (d.own == offer).fill_null(False)) for offer in costs.offers]


def expected_shares(holdout: HoldoutPlan) -> tuple[float, float]:
    """Return what shares of both sides together the held-out and the reached should be."""
    held = bound(Fraction(holdout.share)) / SPACE
    return held, 1 - held
