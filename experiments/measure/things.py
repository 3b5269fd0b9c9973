"""What happened to each unit, one row a thing: loose events, orders, and other objects in their latest state.

Three kinds of things read disjoint events. Grouping them together would carry the orders' states through every row of a
visit. A covariate is taken as it was known *before* the unit's entry: a refund of an old order after the entry may be
an effect of the treatment and must not leak into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.measure.facts import Census, Facts, order_names, relevant, rows_of
from experiments.measure.latest import latest
from experiments.measure.parts import CANCELLED, PLACED, PRICED, REDEEMED, REFUNDED, Part, order_events
from experiments.measure.properties import Properties
from experiments.measure.redemption import standing_minor

PPM = 1_000_000


@dataclass(frozen=True)
class Term:
    """What one thing means to one part."""

    counts: Any
    """Whether it counts, never NULL."""
    value: Any
    """Its value, NULL where it has none."""
    at: Any
    """Microseconds after the unit's entry."""
    adds: Any
    """What it adds to the unit's sum: its value where it counts, else 0 (for a profit less what it cost)."""


@dataclass(frozen=True)
class Things:
    """Rows of one kind, and what they mean to each part."""

    table: Any
    """With ``u``, the unit's number."""
    terms: Mapping[str, Term]
    """By column of the part."""

    def per_unit(self, parts: Sequence[Part]) -> Any:
        """Return u and one column per part: the sum over its things, or the time of the first that counts."""
        import ibis

        columns = {}
        for part in parts:
            term = self.terms[part.column]
            if part.measure == "first":
                columns[part.column] = ibis.ifelse(term.counts, term.at, ibis.null("int64")).min()
            else:
                columns[part.column] = term.adds.sum()
        return self.table.group_by("u").aggregate(**columns)

    def values(self, part: Part) -> Any:
        """Return u and value of every thing that counts for a part and has a value."""
        term = self.terms[part.column]
        rows = self.table.select("u", value=term.value, counts=term.counts)
        return rows.filter(rows.counts, rows.value.notnull()).select("u", "value")


def _term(counts: Any, value: Any, at: Any) -> Term:
    import ibis

    return Term(counts, value, at, ibis.ifelse(counts, value.fill_null(_zero(value)), _zero(value)))


def loose(facts: Facts, parts: Sequence[Part], properties: Properties) -> Things:
    """Return events that speak of no object."""
    e = relevant(facts)
    e = e.filter(e.name.isin(list({p.event for p in parts})), e.object_id.isnull())
    rows = rows_of(facts, e, properties)
    first, last = min(p.start_us for p in parts), max(p.end_us for p in parts)
    rows = rows.filter(rows["dt"] >= first, rows["dt"] < last)
    terms = {}
    for part in parts:
        counts = (rows.name == part.event) & (rows["dt"] >= part.start_us) & (rows["dt"] < part.end_us)
        flag = properties.flag_of(part)
        if flag is not None:
            counts = counts & (rows[flag] == 1).fill_null(False)
        terms[part.column] = _term(counts, _value(rows, part, properties), rows["dt"])
    return Things(rows, terms)


def objects(facts: Facts, parts: Sequence[Part], properties: Properties) -> Things:
    """Return objects that are no orders, each in its latest state, at its first time."""
    e = relevant(facts)
    e = e.filter(e.name.isin(list({p.event for p in parts})), e.object_id.notnull())
    rows = rows_of(facts, e, properties).rename(key="object_id")
    aggregates: dict[str, Any] = {}
    for event in dict.fromkeys(p.event for p in parts):
        aggregates |= _state_of(rows, event, parts, properties)
    states = rows.group_by("u", "name", "key").aggregate(**aggregates)
    return Things(states, {part.column: _of_object(states, part, properties) for part in parts})


def _of_object(states: Any, part: Part, properties: Properties) -> Term:
    counts = _state_counts(states, part, properties)
    return _term(counts, _state_value(states, part, properties), states[f"{column_prefix(part.event)}_dt"])


def orders(facts: Facts, parts: Sequence[Part], properties: Properties, census: Census) -> Things:
    """Return orders, each in its latest state, once whatever the source."""
    return of_orders(order_states(facts, parts, properties, census), facts, parts, properties)


def order_states(facts: Facts, parts: Sequence[Part], properties: Properties, census: Census) -> Any:
    """Return a table of orders, one row each: u, key, and the latest of everything that the parts read."""
    e = relevant(facts)
    rows = rows_of(facts, e.filter(e.name.isin(order_names(facts))), properties)
    names = order_names(facts)
    rows = _with_key(rows, census, names)
    aggregates: dict[str, Any] = {}
    for event in dict.fromkeys(p.event for p in parts):
        aggregates |= _state_of(rows, event, parts, properties)
    if any(p.measure in PRICED for p in parts):
        aggregates["variant"] = rows.variant.min()
        aggregates |= {name: rows[name].min() for name in facts.pricing}
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
        given = _with_key(rows_of(facts, e.filter(e.name == REFUNDED), Properties()), census, names)
        refunds = _refunds(given, before=before)
        states = states.left_join(refunds, ["u", "key"]).drop("u_right", "key_right")
    return states


def of_orders(states: Any, facts: Facts, parts: Sequence[Part], properties: Properties) -> Things:
    """Return what a table of `order_states` means to each part."""
    stating = order_events(parts)
    terms = {}
    for part in parts:
        if part.event in stating:
            terms[part.column] = _of_order(states, part, properties, facts)
        else:
            terms[part.column] = _of_object(states, part, properties)
    return Things(states, terms)


def _value(rows: Any, part: Part, properties: Properties) -> Any:
    import ibis

    if part.measure in ("any", "count", "first"):
        return ibis.literal(1, type="int64")
    number = properties.number_of(part)
    return rows.value_minor.cast("int64") if number is None else rows[number]


def _zero(value: Any) -> Any:
    import ibis

    return ibis.literal(0, type=value.type())


def _with_key(rows: Any, census: Census, names: Sequence[str]) -> Any:
    """Return order events with the key of their order; an event that names none is an order of its own."""
    if all(census.objects[name] == n for name, n in census.events.items() if name in names):
        return rows.mutate(key=rows.object_id)
    return rows.mutate(key=rows.object_id.fill_null(rows.source + ":" + rows.event_id))


def column_prefix(event: str) -> str:
    """Return how the columns of an object's state begin, of those that ``event`` states."""
    return "placed" if event in PLACED else "object_" + "".join(c if c.isalnum() else "_" for c in event.lower())


def _state_of(rows: Any, event: str, parts: Sequence[Part], properties: Properties) -> dict[str, Any]:
    """Return when an object was first stated by ``event``, and the latest of what the parts read from it."""
    import ibis

    states = PLACED if event in PLACED else (event,)
    stated = rows.name.isin(states)
    mine = [p for p in parts if p.event == event]
    prefix = column_prefix(event)
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
    at = states[f"{column_prefix(part.event)}_dt"]
    counts = (at >= part.start_us) & (at < part.end_us)
    flag = properties.flag_of(part)
    if flag is not None:
        counts = counts & (states[f"{column_prefix(part.event)}_{flag}{_when(part)}"] == 1)
    return counts.fill_null(False)


def _state_value(states: Any, part: Part, properties: Properties) -> Any:
    import ibis

    if part.measure in ("any", "count", "first"):
        return ibis.literal(1, type="int64")
    number = properties.number_of(part)
    return states[f"{column_prefix(part.event)}_{number or 'value'}{_when(part)}"]


def _optional(states: Any, name: str, default: Any) -> Any:
    return states[name].fill_null(default) if name in states.columns else None


def _of_order(states: Any, part: Part, properties: Properties, facts: Facts) -> Term:
    """Return what an order means: its latest value less refunds; it does not count when cancelled or refunded fully."""
    import ibis

    when = _when(part)
    zero = ibis.literal(0, type="int64")
    prefix = column_prefix(part.event)
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
    if part.measure in PRICED:
        redeemed, cost = _redemption(states, part, facts, gross, reversed_)
        if part.measure == "redeemed":
            return _term(redeemed, ibis.literal(1, type="int64"), at)
        if part.measure == "redemption":
            return _term(redeemed, cost, at)
        margin = ibis.ifelse(counts, _margin(states, part, properties, gross, net) - _standing(states, part, net), zero)
        return Term(counts, margin, at, margin - ibis.ifelse(redeemed, cost, zero))
    if part.measure in ("any", "count", "first"):
        return _term(counts, ibis.literal(1, type="int64"), at)
    if part.measure == "value":
        known = ibis.ifelse(states[f"{prefix}_value{when}"].isnull(), ibis.null("int64"), net)
        return _term(counts, known, at)
    return _term(counts, states[f"{prefix}_{properties.number_of(part)}{when}"], at)


def _margin(states: Any, part: Part, properties: Properties, gross: Any, net: Any) -> Any:
    """Return an order's margin in whole minor units; a partial refund takes its share of it back."""
    import ibis

    if part.margin_rate is not None:
        from fractions import Fraction

        ppm = round(Fraction(part.margin_rate) * PPM)
        return ((net * (2 * ppm) + PPM) // (2 * PPM)).cast("int64")
    margin = (
        states[f"{column_prefix(part.event)}_{properties.number_of(part)}{_when(part)}"]
        .fill_null(0.0)
        .round()
        .cast("int64")
    )
    if net is gross:
        return margin
    kept = (margin.cast("float64") * net.cast("float64") / gross.cast("float64")).round().cast("int64")
    return ibis.ifelse((gross > 0) & (net < gross), kept, margin)


def _standing(states: Any, part: Part, net: Any) -> Any:
    """Return what members have off an order anyway, where the margin is a rate of its value: it is none of theirs.

    A margin that the order states is what was left after it; one of nothing asks for the costs of redemptions alone.
    """
    import ibis

    if "standing_ppm" not in states.columns or part.margin_rate is None or not float(part.margin_rate):
        return ibis.literal(0, type="int64")
    return standing_minor(net, states.standing_ppm)


def _redemption(states: Any, part: Part, facts: Facts, gross: Any, reversed_: Any) -> tuple[Any, Any]:
    """Return whether an order has a redemption that counts, and what it costs."""
    import ibis

    prefix = column_prefix(REDEEMED)
    at = states[f"{prefix}_dt"]
    counts = (at >= part.start_us) & (at < part.end_us)
    offer, variant = states.redeemed_offer, states.variant
    if facts.has_own_offers:
        offer = ibis.coalesce(offer, states.own_offer)
    anyway = states.standing_ppm if "standing_ppm" in states.columns else None
    cost = facts.costs.redemption_expression(states[f"{prefix}_value"], offer, variant, gross, anyway)
    back = reversed_ & facts.costs.refund_returns_cost(offer, variant)
    return counts.fill_null(False) & ~back.fill_null(False), cost
