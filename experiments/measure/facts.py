"""From events to one row per unit: every metric of an experiment in one expression.

Events meet their units and become days after entry; what concerns one object (an order, whatever the source) is
brought to its latest state; then everything is summed per unit. A covariate is taken as it was known *before* the
unit's entry: a refund of an old order after the entry may be an effect of the treatment and must not leak into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.measure.latest import latest
from experiments.measure.parts import CANCELLED, ORDER_FAMILY, PLACED, REDEEMED, REFUNDED, Part, order_events
from experiments.measure.properties import Properties, names_needed
from experiments.measure.redemption import Costs
from experiments.sources.duck import fetch
from experiments.sources.log import LogTables

ORDERS = 1
"""Family number of orders; other events with objects follow from 2 on, events without one are 0."""
PPM = 1_000_000


@dataclass(frozen=True)
class Census:
    """How many events of each needed name there are, and how many speak of an object."""

    events: dict[str, int]
    objects: dict[str, int]
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
    e = _relevant(facts)
    counted = e.group_by("name").aggregate(n=e.count(), objects=e.object_id.count(), last=e["at"].max())
    rows = fetch(counted)
    return Census(
        events={r["name"]: int(r["n"]) for r in rows},
        objects={r["name"]: int(r["objects"]) for r in rows},
        last_us=max((int(r["last"]) for r in rows), default=None),
    )


def unit_columns(facts: Facts, census: Census) -> Any:
    """Return u and one column per part, for units that have any event that counts."""
    properties = Properties.needed_by(facts.parts)
    rows = _rows(facts, properties, census)
    families = _families(facts, census)
    if not families:
        sums = {p.column: _direct(rows, p, properties).sum() for p in facts.parts}
        return _finished(rows.group_by("u").aggregate(**sums), facts.parts)
    states = _states(facts, rows, properties, families, census)
    per_unit = {p.column: _from_state(states, p, properties, families, facts).sum() for p in facts.parts}
    return _finished(states.group_by("u").aggregate(**per_unit), facts.parts)


def _relevant(facts: Facts) -> Any:
    e = facts.log.events
    return e.filter(e.name.isin(names_needed(facts.parts)), e.unit_type == facts.unit_type, e["at"] <= facts.now_us)


def _rows(facts: Facts, properties: Properties, census: Census) -> Any:
    """Return the events of the units: u, dt (µs after entry), name, object and what the parts read."""
    e = properties.extract(facts.log, _relevant(facts))
    units = facts.units.select("u", "unit", "variant", "t0")
    joined = e.join(units, "unit")
    dt = joined["at"] - joined.t0
    first, last = min(p.start_us for p in facts.parts), max(p.end_us for p in facts.parts)
    within = (dt >= first) & (dt < last)
    if _families(facts, census):
        # What an object became later, or was before, decides what it counts for: nothing of an object is cut off.
        within = within | joined.object_id.notnull() | joined.name.isin(ORDER_FAMILY)
    joined = joined.filter(within)
    return joined.select(
        "u", "variant", "name", "object_id", "value_minor", "source", "event_id", *properties.columns(),
        dt=joined["at"] - joined.t0,
    )  # fmt: skip


def _families(facts: Facts, census: Census) -> dict[str, int]:
    """Return event → number of its object family, for names whose events speak of objects."""
    families: dict[str, int] = {}
    stating = order_events(facts.parts)
    if any(p.event in stating for p in facts.parts):
        families |= dict.fromkeys((*ORDER_FAMILY, *stating), ORDERS)
    following = ORDERS + 1
    for name in dict.fromkeys(p.event for p in facts.parts):
        if name not in families and census.objects.get(name):
            families[name] = following
            following += 1
    return families


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


def _states(facts: Facts, rows: Any, properties: Properties, families: dict[str, int], census: Census) -> Any:
    """Return one row per object of a unit, in its latest state, and one for all of a unit's events without object."""
    import ibis

    orders = rows.name.isin([n for n, f in families.items() if f == ORDERS])
    others = [(n, f) for n, f in families.items() if f != ORDERS]
    family = ibis.cases(
        (orders, ibis.literal(ORDERS, type="int8")),
        *(((rows.name == n) & rows.object_id.notnull(), ibis.literal(f, type="int8")) for n, f in others),
        else_=ibis.literal(0, type="int8"),
    )
    # An order that names no object is an order of its own.
    loose = orders & rows.object_id.isnull()
    key = ibis.ifelse(loose, rows.source + ":" + rows.event_id, rows.object_id) if ORDERS in families.values() else (
        rows.object_id
    )  # fmt: skip
    rows = rows.mutate(family=family, key=ibis.ifelse(family > 0, key, ibis.null("string")))
    aggregates: dict[str, Any] = {"variant": rows.variant.min()}
    for part in facts.parts:
        if families.get(part.event) != ORDERS:
            simple = ibis.ifelse(rows.family == 0, _direct(rows, part, properties), ibis.null())
            aggregates[f"sum_{part.column}"] = simple.sum()
    for event in dict.fromkeys(p.event for p in facts.parts if families.get(p.event, 0) != 0):
        aggregates |= _state_of(rows, event, facts.parts, properties)
    if any(p.measure == "profit" for p in facts.parts):
        aggregates |= _state_of(rows, REDEEMED, facts.parts, properties)
        aggregates["redeemed_offer"] = latest(rows.offer_key, rows["dt"], rows.name == REDEEMED)
    has_orders = any(p.event in order_events(facts.parts) for p in facts.parts)
    before = any(p.is_before for p in facts.parts)
    if has_orders and census.events.get(CANCELLED):
        aggregates["cancelled"] = (rows.name == CANCELLED).any()
        if before:
            aggregates["cancelled_before"] = ((rows.name == CANCELLED) & (rows["dt"] < 0)).any()
    states = rows.group_by("u", "family", "key").aggregate(**aggregates)
    if has_orders and census.events.get(REFUNDED):
        refunds = _refunds(rows, before=before)
        states = states.left_join(refunds, ["u", "family", "key"]).drop("u_right", "family_right", "key_right")
    return states


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


def _refunds(rows: Any, *, before: bool) -> Any:
    """Return what each order gave back: refunds of one source add up; several sources report the same ones."""
    import ibis

    given = rows.filter(rows.name == REFUNDED)
    early = given["dt"] < 0
    none = ibis.null("int64")
    amounts: dict[str, Any] = {
        "refunded": given.value_minor.cast("int64").sum(),
        "refunded_fully": given.value_minor.isnull().any(),
    }
    if before:
        amounts["refunded_before"] = ibis.ifelse(early, given.value_minor.cast("int64"), none).sum()
        amounts["refunded_fully_before"] = (given.value_minor.isnull() & early).any()
    by_source = given.group_by("u", "family", "key", "source").aggregate(**amounts)
    return by_source.group_by("u", "family", "key").aggregate(**{name: by_source[name].max() for name in amounts})


def _from_state(
    states: Any, part: Part, properties: Properties, families: dict[str, int], facts: Facts
) -> Any:  # one number per state row
    import ibis

    if part.event in order_events(facts.parts):
        return _from_order(states, part, properties, facts)
    number = states[f"sum_{part.column}"] if f"sum_{part.column}" in states.columns else None
    if part.event not in families:
        return number.fill_null(_zero(number)) if number is not None else ibis.literal(0, type="int64")
    prefix = _prefix(part.event)
    at = states[f"{prefix}_dt"]
    value = _state_value(states, part, prefix, properties)
    counts = (at >= part.start_us) & (at < part.end_us)
    flag = properties.flag_of(part)
    if flag is not None:
        counts = counts & (states[f"{prefix}_{flag}{_when(part)}"] == 1)
    object_value = ibis.ifelse(counts.fill_null(False), value.fill_null(_zero(value)), _zero(value))
    if number is None:
        return object_value
    return ibis.ifelse(states.family == 0, number.fill_null(_zero(number)), object_value)


def _when(part: Part) -> str:
    return "_before" if part.is_before else ""


def _state_value(states: Any, part: Part, prefix: str, properties: Properties) -> Any:
    import ibis

    if part.measure in ("any", "count"):
        return ibis.literal(1, type="int64")
    number = properties.number_of(part)
    return states[f"{prefix}_{number or 'value'}{_when(part)}"]


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


def _finished(per_unit: Any, parts: Sequence[Part]) -> Any:
    shown = {}
    for part in parts:
        column = per_unit[part.column]
        shown[part.column] = (column > 0).cast("int64") if part.measure == "any" else column
    return per_unit.select("u", **shown)
