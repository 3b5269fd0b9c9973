"""Orders and logins as they were known at a moment, one row each, whoever reported them: as reports count them.

An order is its latest state: what was given back is off its value, one that was cancelled or given back in full is
none, and several sources that report the same order report one. Ids that are known to be one unit are one unit here,
under the id that stands for their group.
"""

from __future__ import annotations

from dataclasses import replace

from experiments.definitions.stage_facts import Computed
from experiments.measure.facts import Facts, take_census
from experiments.measure.parts import ORDER_FAMILY, PLACED, Part
from experiments.measure.properties import Properties
from experiments.measure.redemption import Costs
from experiments.measure.things import loose, objects, orders
from experiments.sources.log import LogTables

ENDLESS_US = 1 << 60
UNITS, ORDERS, LOGINS = "stage_units", "stage_orders", "stage_logins"
"""Temporary tables: u, unit, root · u, at_us, value · u, at_us."""


def load(log: LogTables, computed: Computed, as_of_us: int, members: str) -> None:
    """Write the temporary tables of units, orders and logins.

    Args:
        log: an open log on the embedded engine.
        computed: which events are orders and logins, and of which units.
        as_of_us: microseconds since 1970 UTC; what came later is not known.
        members: SQL of the units that are known as members.
    """
    linked = under_roots(_read_once(log, computed, as_of_us), computed.unit_type)
    _units(linked, computed, members)
    events = linked.events.mutate(unit=linked.events.root)
    units = log.connection.table(UNITS)
    roots = units.filter(units.unit == units.root).select("u", "unit", variant=units.root.substr(0, 0), t0=units.t0)
    part = Part("spend", computed.order, "value", 0, ENDLESS_US)
    facts = Facts(replace(log, events=events), roots, (part,), Costs("", {}, {}), computed.unit_type, as_of_us)
    properties = Properties()
    if computed.order in PLACED:
        found = [orders(facts, (part,), properties, take_census(facts))]
    else:
        found = [loose(facts, (part,), properties), objects(facts, (part,), properties)]
    tables = []
    for things in found:
        term = things.terms[part.column]
        rows = things.table.select("u", at_us=term.at, value=term.adds.cast("int64"), counts=term.counts)
        tables.append(rows.filter(rows.counts).drop("counts"))
    together = tables[0] if len(tables) == 1 else tables[0].union(tables[1])
    log.keep(together, ORDERS)
    e = events.filter(events.name == (computed.login or ""))
    log.keep(e.join(roots.select("u", "unit"), "unit").select("u", at_us="at"), LOGINS)


def _read_once(log: LogTables, computed: Computed, as_of_us: int) -> LogTables:
    """Return the log with the events that matter in a table of the engine: they are looked at several times."""
    e = log.events
    named = dict.fromkeys([*ORDER_FAMILY, computed.order, *([computed.login] if computed.login else [])])
    wanted = e.filter(e.unit_type == computed.unit_type, e["at"] <= as_of_us, e.name.isin(list(named)))
    columns = ("source", "event_id", "name", "unit_type", "unit", "at", "object_id", "value_minor")
    return replace(log, events=log.keep(wanted.select(*columns), "stage_events"))


def under_roots(log: LogTables, unit_type: str) -> LogTables:
    """Return the log whose events have a column ``root``: the id that stands for the unit's group, or its own."""
    import ibis

    if log.identities is None:
        return replace(log, events=log.events.mutate(root=log.events.unit))
    known = log.identities.filter(log.identities.unit_type == unit_type)
    known = log.keep(known.select(linked_unit="unit", linked_root="root"), "stage_identities")
    joined = log.events.left_join(known, (log.events.unit == known.linked_unit) & (log.events.unit_type == unit_type))
    root = ibis.coalesce(joined.linked_root, joined.unit)
    return replace(log, events=joined.mutate(root=root).drop("linked_unit", "linked_root"))


def _units(log: LogTables, computed: Computed, members: str) -> None:
    """Number every unit that is known: as a member, by an order or a login, or as the root of a group."""
    connection = log.connection
    named = [
        *(PLACED if computed.order in PLACED else (computed.order,)),
        *([computed.login] if computed.login else []),
    ]
    e = log.events
    seen = e.filter(e.name.isin(named))
    log.keep(seen.select("unit", "root").distinct(), "stage_seen")
    linked = "SELECT linked_unit AS unit, linked_root AS root FROM stage_identities"
    known = f"({linked})" if log.identities is not None else "(SELECT NULL::VARCHAR AS unit, NULL::VARCHAR AS root)"
    connection.raw_sql(
        f"""
        CREATE OR REPLACE TEMP TABLE {UNITS} AS
        WITH everyone AS (
            {members} UNION SELECT unit FROM stage_seen UNION SELECT root FROM stage_seen
        ), rooted AS (
            SELECT everyone.unit, coalesce(known.root, everyone.unit) AS root
            FROM everyone LEFT JOIN {known} AS known ON known.unit = everyone.unit
        ), complete AS (
            SELECT unit, root FROM rooted UNION SELECT root, root FROM rooted
        )
        SELECT dense_rank() OVER (ORDER BY root) AS u, unit, root, 0::BIGINT AS t0 FROM complete
        """  # noqa: S608 - our own names
    )
