"""From events to one row per unit: every metric of an experiment in one expression.

Events meet their units and become days after entry; what concerns one object (an order, whatever the source) is
brought to its latest state; then everything is summed per unit. A covariate is taken as it was known *before* the
unit's entry: a refund of an old order after the entry may be an effect of the treatment and must not leak into it.

Three branches read disjoint events: loose ones, orders, and other events about objects. Grouping them together would
carry the orders' states through every row of a visit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.measure.latest import latest
from experiments.measure.parts import CANCELLED, ORDER_FAMILY, PLACED, REDEEMED, REFUNDED, Part, order_events
from experiments.measure.properties import Properties, names_needed
from experiments.measure.redemption import Costs
from experiments.sources.duck import fetch
from experiments.sources.log import LogTables

PPM = 1_000_000


@dataclass(frozen=True)
class Census:
    """How many events of each needed name there are, and how many speak of an object."""

    events: dict[str, int]
    objects: dict[str, int]
    several_sources: frozenset[str]
    """Names that more than one source reports."""
    last_us: int | None
    """Latest event of any needed name."""


@dataclass(frozen=True)
class Facts:
    """What the unit table is made from."""

    log: LogTables
    units: Any
    """Ibis table with u, unit, variant, t0."""
    parts: tuple[Part, ...]
    costs: Costs
    unit_type: str
    now_us: int


def take_census(facts: Facts) -> Census:
    """Count the needed events by name, in one scan."""
    e = _relevant(facts).filter(lambda t: t.name.isin(names_needed(facts.parts)))
    counted = e.group_by("name").aggregate(
        n=e.count(), objects=e.object_id.count(), last=e["at"].max(), several=e.source.min() != e.source.max()
    )
    rows = fetch(counted)
    return Census(
        events={r["name"]: int(r["n"]) for r in rows},
        objects={r["name"]: int(r["objects"]) for r in rows},
        several_sources=frozenset(r["name"] for r in rows if r["several"]),
        last_us=max((int(r["last"]) for r in rows), default=None),
    )


def unit_columns(facts: Facts, census: Census) -> Any:
    """Return every unit with one column per part, 0 where it had no event that counts."""
    import ibis

    properties = Properties.needed_by(facts.parts)
    orders = _order_names(facts)
    of_orders = [p for p in facts.parts if p.event in orders]
    others = [p for p in facts.parts if p.event not in orders]
    of_objects = [p for p in others if census.objects.get(p.event)]
    branches: list[tuple[list[Part], Callable[[], Any]]] = [
        (others, lambda: _loose(facts, others, properties)),
        (of_orders, lambda: _orders(facts, of_orders, properties, census)),
        (of_objects, lambda: _objects(facts, of_objects, properties)),
    ]
    table = facts.units
    summed: dict[str, Any] = {}
    for number, (parts, branch) in enumerate(branches):
        if not parts:
            continue
        # One after the other: each needs memory for its groups, and gives back a table of a few columns per unit.
        whole = [p.column for p in parts if not _is_double(p, properties)]
        kept = facts.log.keep(branch(), f"equipoise_branch_{number}", whole=whole)
        named = kept.rename({f"{p.column}_{number}": p.column for p in parts})
        table = table.left_join(named, "u").drop("u_right")
        for part in parts:
            summed.setdefault(part.column, []).append(f"{part.column}_{number}")
    columns: dict[str, Any] = {}
    for part in facts.parts:
        values = [table[c].fill_null(ibis.literal(0, type=table[c].type())) for c in summed[part.column]]
        total = values[0] if len(values) == 1 else values[0] + values[1]
        columns[part.column] = (total > 0).cast("int64") if part.measure == "any" else total
    return table.select(*facts.units.columns, **columns)


def _is_double(part: Part, properties: Properties) -> bool:
    return part.measure == "property" and properties.number_of(part) is not None


def _relevant(facts: Facts) -> Any:
    e = facts.log.events
    return e.filter(e.unit_type == facts.unit_type, e["at"] <= facts.now_us)


def _order_names(facts: Facts) -> tuple[str, ...]:
    """Return the names of all events that belong to orders; none where no metric asks for an order."""
    stating = order_events(facts.parts)
    if not any(p.event in stating for p in facts.parts):
        return ()
    return tuple(dict.fromkeys((*ORDER_FAMILY, *stating)))


def _rows(facts: Facts, events: Any, properties: Properties) -> Any:
    """Return events of the units: u, variant, dt (µs after entry), name, object, and what the parts read."""
    e = properties.extract(facts.log, events)
    joined = e.join(facts.units.select("u", "unit", "variant", "t0"), "unit")
    return joined.select(
        "u",
        "variant",
        "name",
        "object_id",
        "value_minor",
        "source",
        "event_id",
        *properties.columns(),
        dt=joined["at"] - joined.t0,
    )


def _loose(facts: Facts, parts: Sequence[Part], properties: Properties) -> Any:
    """Return u and the parts' sums over events that speak of no object."""
    e = _relevant(facts)
    e = e.filter(e.name.isin(list({p.event for p in parts})), e.object_id.isnull())
    rows = _rows(facts, e, properties)
    first, last = min(p.start_us for p in parts), max(p.end_us for p in parts)
    rows = rows.filter(rows["dt"] >= first, rows["dt"] < last)
    return rows.group_by("u").aggregate(**{p.column: _direct(rows, p, properties).sum() for p in parts})


def _objects(facts: Facts, parts: Sequence[Part], properties: Properties) -> Any:
    """Return u and the parts' sums over objects that are no orders, each in its latest state, at its first time."""
    import ibis

    e = _relevant(facts)
    e = e.filter(e.name.isin(list({p.event for p in parts})), e.object_id.notnull())
    rows = _rows(facts, e, properties).rename(key="object_id")
    aggregates: dict[str, Any] = {}
    for event in dict.fromkeys(p.event for p in parts):
        aggregates |= _state_of(rows, event, parts, properties)
    states = rows.group_by("u", "name", "key").aggregate(**aggregates)
    sums = {}
    for part in parts:
        value = _state_value(states, part, properties)
        sums[part.column] = ibis.ifelse(
            _state_counts(states, part, properties), value.fill_null(_zero(value)), _zero(value)
        ).sum()
    return states.group_by("u").aggregate(**sums)


def _orders(facts: Facts, parts: Sequence[Part], properties: Properties, census: Census) -> Any:
    """Return u and the parts' sums over orders, each in its latest state, once whatever the source."""
    import ibis

    e = _relevant(facts)
    rows = _rows(facts, e.filter(e.name.isin(_order_names(facts))), properties)
    names = _order_names(facts)
    rows = _with_key(rows, census, names)
    aggregates: dict[str, Any] = {}
    for event in dict.fromkeys(p.event for p in parts):
        aggregates |= _state_of(rows, event, parts, properties)
    if any(p.measure == "profit" for p in parts):
        aggregates["variant"] = rows.variant.min()
        aggregates |= _state_of(rows, REDEEMED, parts, properties)
        aggregates["redeemed_offer"] = latest(rows.offer_key, rows["dt"], rows.name == REDEEMED)
    before = any(p.is_before for p in parts)
    if census.events.get(CANCELLED):
        aggregates["cancelled"] = (rows.name == CANCELLED).any()
        if before:
            aggregates["cancelled_before"] = ((rows.name == CANCELLED) & (rows["dt"] < 0)).any()
    joined = REFUNDED in census.several_sources
    if census.events.get(REFUNDED) and not joined:
        aggregates |= _refunded(rows, rows.name == REFUNDED, before=before)
    states = rows.group_by("u", "key").aggregate(**aggregates)
    if joined:
        given = _with_key(_rows(facts, e.filter(e.name == REFUNDED), Properties()), census, names)
        refunds = _refunds(given, before=before)
        states = states.left_join(refunds, ["u", "key"]).drop("u_right", "key_right")
    stating = order_events(parts)
    sums = {}
    for part in parts:
        if part.event in stating:
            sums[part.column] = _from_order(states, part, properties, facts).sum()
        else:
            value = _state_value(states, part, properties)
            counts = _state_counts(states, part, properties)
            sums[part.column] = ibis.ifelse(counts, value.fill_null(_zero(value)), _zero(value)).sum()
    return states.group_by("u").aggregate(**sums)


def _value(rows: Any, part: Part, properties: Properties) -> Any:
    import ibis

    if part.measure in ("any", "count"):
        return ibis.literal(1, type="int64")
    number = properties.number_of(part)
    return rows.value_minor.cast("int64") if number is None else rows[number]


def _zero(value: Any) -> Any:
    import ibis

    return ibis.literal(0, type=value.type())


def _direct(rows: Any, part: Part, properties: Properties) -> Any:
    """Return what one event without an object adds to its unit."""
    import ibis

    value = _value(rows, part, properties)
    counts = (rows.name == part.event) & (rows["dt"] >= part.start_us) & (rows["dt"] < part.end_us)
    flag = properties.flag_of(part)
    if flag is not None:
        counts = counts & (rows[flag] == 1)
    return ibis.ifelse(counts, value.fill_null(_zero(value)), _zero(value))


def _with_key(rows: Any, census: Census, names: Sequence[str]) -> Any:
    """Return order events with the key of their order; an event that names none is an order of its own."""
    if all(census.objects[name] == n for name, n in census.events.items() if name in names):
        return rows.mutate(key=rows.object_id)
    return rows.mutate(key=rows.object_id.fill_null(rows.source + ":" + rows.event_id))


def _prefix(event: str) -> str:
    return "placed" if event in PLACED else "object_" + "".join(c if c.isalnum() else "_" for c in event.lower())


def _state_of(rows: Any, event: str, parts: Sequence[Part], properties: Properties) -> dict[str, Any]:
    """Return when an object was first stated by ``event``, and the latest of what the parts read from it."""
    import ibis

    states = PLACED if event in PLACED else (event,)
    stated = rows.name.isin(states)
    mine = [p for p in parts if p.event == event]
    prefix = _prefix(event)
    found = {f"{prefix}_dt": ibis.ifelse(stated, rows["dt"], ibis.null("int64")).min()}
    read = {"value": rows.value_minor.cast("int64")}
    for part in mine:
        flag, number = properties.flag_of(part), properties.number_of(part)
        read |= {c: rows[c] for c in (flag, number) if c is not None}
    for name, column in read.items():
        found[f"{prefix}_{name}"] = latest(column, rows["dt"], stated)
        if any(p.is_before for p in mine):
            found[f"{prefix}_{name}_before"] = latest(column, rows["dt"], stated & (rows["dt"] < 0))
    return found


def _refunded(rows: Any, given: Any, *, before: bool) -> dict[str, Any]:
    """Return how much was refunded: in all, and as far as it was known before the unit's entry."""
    import ibis

    none = ibis.null("int64")
    value = rows.value_minor.cast("int64")
    amounts = {
        "refunded": ibis.ifelse(given, value, none).sum(),
        "refunded_fully": (given & value.isnull()).any(),
    }
    if before:
        early = given & (rows["dt"] < 0)
        amounts["refunded_before"] = ibis.ifelse(early, value, none).sum()
        amounts["refunded_fully_before"] = (early & value.isnull()).any()
    return amounts


def _refunds(given: Any, *, before: bool) -> Any:
    """Return what each order gave back: refunds of one source add up; several sources report the same ones."""
    amounts = _refunded(given, given.name == REFUNDED, before=before)
    by_source = given.group_by("u", "key", "source").aggregate(**amounts)
    return by_source.group_by("u", "key").aggregate(**{name: by_source[name].max() for name in amounts})


def _when(part: Part) -> str:
    return "_before" if part.is_before else ""


def _state_counts(states: Any, part: Part, properties: Properties) -> Any:
    """Return whether an object (not an order) counts for a part: by its first time and its latest properties."""
    at = states[f"{_prefix(part.event)}_dt"]
    counts = (at >= part.start_us) & (at < part.end_us)
    flag = properties.flag_of(part)
    if flag is not None:
        counts = counts & (states[f"{_prefix(part.event)}_{flag}{_when(part)}"] == 1)
    return counts.fill_null(False)


def _state_value(states: Any, part: Part, properties: Properties) -> Any:
    import ibis

    if part.measure in ("any", "count"):
        return ibis.literal(1, type="int64")
    number = properties.number_of(part)
    return states[f"{_prefix(part.event)}_{number or 'value'}{_when(part)}"]


def _optional(states: Any, name: str, default: Any) -> Any:
    return states[name].fill_null(default) if name in states.columns else None


def _from_order(states: Any, part: Part, properties: Properties, facts: Facts) -> Any:
    """Return what one order adds: its latest value less refunds, nothing when it was cancelled or refunded fully."""
    import ibis

    when = _when(part)
    zero = ibis.literal(0, type="int64")
    prefix = _prefix(part.event)
    at = states[f"{prefix}_dt"]
    gross = states[f"{prefix}_value{when}"].fill_null(0)
    refunded = _optional(states, f"refunded{when}", 0)
    fully = _optional(states, f"refunded_fully{when}", False)
    cancelled = _optional(states, f"cancelled{when}", False)
    reversed_ = ibis.literal(False)
    net = gross
    if refunded is not None:
        reversed_ = fully | ((gross > 0) & (refunded >= gross))
        net = ibis.greatest(gross - refunded, zero)
    if cancelled is not None:
        reversed_ = reversed_ | cancelled
    counts = (at >= part.start_us) & (at < part.end_us) & ~reversed_
    flag = properties.flag_of(part)
    if flag is not None:
        counts = counts & (states[f"{prefix}_{flag}{when}"] == 1)
    counts = counts.fill_null(False)
    if part.measure == "profit":
        margin = ibis.ifelse(counts, _margin(states, part, properties, gross, net), zero)
        return margin - _redemption(states, part, facts, gross, reversed_)
    if part.measure in ("any", "count"):
        return ibis.ifelse(counts, ibis.literal(1, type="int64"), zero)
    if part.measure == "value":
        return ibis.ifelse(counts, net, zero)
    value = states[f"{prefix}_{properties.number_of(part)}{when}"]
    return ibis.ifelse(counts, value.fill_null(_zero(value)), _zero(value))


def _margin(states: Any, part: Part, properties: Properties, gross: Any, net: Any) -> Any:
    """Return an order's margin in whole minor units; a partial refund takes its share of it back."""
    import ibis

    if part.margin_rate is not None:
        from fractions import Fraction

        ppm = round(Fraction(part.margin_rate) * PPM)
        return ((net * (2 * ppm) + PPM) // (2 * PPM)).cast("int64")
    margin = (
        states[f"{_prefix(part.event)}_{properties.number_of(part)}{_when(part)}"].fill_null(0.0).round().cast("int64")
    )
    if net is gross:
        return margin
    kept = (margin.cast("float64") * net.cast("float64") / gross.cast("float64")).round().cast("int64")
    return ibis.ifelse((gross > 0) & (net < gross), kept, margin)


def _redemption(states: Any, part: Part, facts: Facts, gross: Any, reversed_: Any) -> Any:
    import ibis

    zero = ibis.literal(0, type="int64")
    prefix = _prefix(REDEEMED)
    at = states[f"{prefix}_dt"]
    counts = (at >= part.start_us) & (at < part.end_us)
    offer, variant = states.redeemed_offer, states.variant
    cost = facts.costs.redemption_expression(states[f"{prefix}_value"], offer, variant, gross)
    back = reversed_ & facts.costs.refund_returns_cost(offer, variant)
    return ibis.ifelse(counts.fill_null(False) & ~back.fill_null(False), cost, zero)
