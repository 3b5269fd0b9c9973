"""What units had ordered before a moment of their own: how long ago, how often, for how much.

An order counts in the state that was known before that moment: a refund or a cancellation that came later is not
looked at, for it may be an effect of what was decided then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from experiments.measure import things
from experiments.measure.days import DAY_US
from experiments.measure.facts import Facts, take_census
from experiments.measure.parts import PLACED, Part
from experiments.measure.properties import Properties
from experiments.measure.redemption import Costs
from experiments.measure.unit_table import unit_columns
from experiments.report.document import Text
from experiments.sources.log import LogTables
from experiments.uplift.arrays import arrays_of
from stats.uplift.trial import FloatArray

RECENCY = "$days_since_order"
LONG_DAYS = 3_650
"""How far back the last order is looked for."""
LABELS: dict[str, Text] = {
    RECENCY: {"en": "Days since last order", "zh-CN": "距上次下单天数"},
    "$orders_90d": {"en": "Orders in 90 days", "zh-CN": "90 天订单数"},
    "$orders_365d": {"en": "Orders in 365 days", "zh-CN": "365 天订单数"},
    "$spend_90d": {"en": "Spent in 90 days", "zh-CN": "90 天消费额"},
    "$spend_365d": {"en": "Spent in 365 days", "zh-CN": "365 天消费额"},
}
"""Every fact, in order; the sign keeps them apart from attributes."""
_WINDOWS = (90, 365)


def fact_parts(event: str) -> tuple[Part, ...]:
    """Return the sums that are needed; columns ``f_count_90``, ``f_value_90`` and so on.

    Args:
        event: that states an order.
    """
    return tuple(
        Part(f"f_{measure}_{days}", event, measure, -days * DAY_US, 0)
        for measure in ("count", "value")
        for days in _WINDOWS
    )


def last_order(facts: Facts, event: str) -> Any:
    """Return u and dt of each unit's last order before its moment that stood then, µs after the moment (negative)."""
    import ibis

    part = Part("last", event, "count", -LONG_DAYS * DAY_US, 0)
    alone = replace(facts, parts=(part,))
    properties = Properties.needed_by((part,))
    found = things.orders(alone, [part], properties, take_census(alone))
    term = found.terms["last"]
    rows = found.table.mutate(last_dt=ibis.ifelse(term.counts, term.at, ibis.null("int64")))
    return rows.group_by("u").aggregate(last_dt=rows.last_dt.max())


def facts_from(found: dict[str, Any], unit: int) -> dict[str, FloatArray]:
    """Return the facts by name, from the columns of `fact_parts` and ``last_dt``.

    Args:
        found: columns as numpy arrays.
        unit: minor units in one of what amounts are shown in.
    """
    facts = {RECENCY: -found["last_dt"] / DAY_US}
    for days in _WINDOWS:
        facts[f"$orders_{days}d"] = np.nan_to_num(found[f"f_count_{days}"])
    for days in _WINDOWS:
        facts[f"$spend_{days}d"] = np.nan_to_num(found[f"f_value_{days}"]) / unit
    return facts


def facts_of_units(
    log: LogTables, units: Sequence[str], unit_type: str, at_us: int, *, unit: int, event: str = PLACED[0]
) -> dict[str, FloatArray]:
    """Return what units had ordered before one moment.

    Args:
        log: where the events lie.
        units: ids, each once.
        unit_type: of the units.
        at_us: the moment, microseconds since 1970 UTC.
        unit: minor units in one of what amounts are shown in (100 for yuan).
        event: that states an order.

    Returns:
        Fact → (n,), in the order of ``units``; who never ordered has a missing number of days.
    """
    import ibis

    order = {name: place for place, name in enumerate(units)}
    table = log.listed(list(units), "equipoise_fact_units")
    table = table.mutate(
        u=ibis.row_number().over(order_by="unit").cast("int32"),
        variant=ibis.literal(""),
        t0=ibis.literal(at_us, type="int64"),
    )
    table = log.keep(table, "equipoise_fact_moments")
    facts = Facts(log, table, fact_parts(event), Costs("", {}, {}), unit_type, at_us)
    joined = unit_columns(facts, take_census(facts)).left_join(last_order(facts, event), "u").drop("u_right")
    found = arrays_of(joined)
    place = np.array([order[name] for name in found["unit"]], dtype=np.intp)
    sorted_ = {}
    for name, values in facts_from(found, unit).items():
        out = np.full(len(units), np.nan)
        out[place] = values
        sorted_[name] = out
    return sorted_
