"""What orders and logins say of each unit: one row a unit, the columns of `experiments.definitions.stage_facts`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from experiments.definitions.stage_facts import FACTS, OF_VALUE, PERIODS, Computed, RfmScores
from experiments.stages.days import Days
from experiments.stages.orders import LOGINS, ORDERS, UNITS
from experiments.stages.worth import worth_of
from stats import rfm
from stats.arrays import IntArray

TABLE = "stage_facts"
SCORES = ("recency_score", "frequency_score", "monetary_score")
_SINCE = {"last_order_at": "order", "first_order_at": "first_order", "last_login_at": "login"}


def days_column(name: str) -> str:
    """Return the column with the whole days since the date of a fact."""
    return f"{name} days"


def write(connection: Any, computed: Computed, days: Days, exponent: int, wanted: Collection[str]) -> str | None:
    """Write the table of facts; return why something of it is missing, if anything.

    Args:
        connection: Ibis connection with the tables of `orders`.
        computed: how scores are made, and how far is looked ahead.
        days: up to the moment as of which is counted.
        exponent: decimals of the currency.
        wanted: facts that are asked for; those that cost much are computed only then.
    """
    _count(connection, days, exponent)
    columns: dict[str, Any] = {"u": np.zeros(0, dtype=np.int64)}
    found = connection.con.execute(
        "SELECT u, days_since_order, orders, spend FROM stage_counted WHERE orders > 0 ORDER BY u"
    ).fetchnumpy()
    why = None
    if len(found["u"]):
        columns = {"u": found["u"]}
        columns |= _scored(found["days_since_order"], found["orders"], found["spend"], computed.rfm)
        if OF_VALUE & set(wanted):
            orders = connection.con.execute(
                f"SELECT u, day, value / {10**exponent} AS value FROM stage_order_days ORDER BY u, at_us, value"  # noqa: S608 - a number
            ).fetchnumpy()
            worth = worth_of(orders["u"], orders["day"], orders["value"], days.today, computed.horizon_days)
            why = worth.why
            columns |= {name: held for name in OF_VALUE if (held := getattr(worth, name)) is not None}
    _join(connection, columns)
    return why


def scores_of(recency: Any, frequency: Any, monetary: Any, rule: RfmScores) -> IntArray:
    """Return (n, 3): the scores of recency, frequency and money; see `stats.rfm`."""
    cuts = None
    if rule.recency is not None and rule.frequency is not None and rule.monetary is not None:
        cuts = rfm.Cuts(rule.recency, rule.frequency, rule.monetary)
    return rfm.scores(recency, frequency, monetary, groups=rule.groups, cuts=cuts)


def _scored(recency: Any, frequency: Any, monetary: Any, rule: RfmScores) -> dict[str, Any]:
    scored = scores_of(recency, frequency, monetary, rule)
    columns: dict[str, Any] = {name: scored[:, place] for place, name in enumerate(SCORES)}
    columns["rfm_segment"] = np.array(rfm.SEGMENTS)[rfm.segments(scored, rule.groups)]
    return columns


def _count(connection: Any, days: Days, exponent: int) -> None:
    today, unit = days.today, 10**exponent
    connection.raw_sql(
        f"CREATE OR REPLACE TEMP TABLE stage_order_days AS SELECT u, at_us, coalesce(value, 0) AS value, "  # noqa: S608
        f"{days.sql('at_us')} AS day FROM {ORDERS}"
    )
    periods = ", ".join(
        f"count(*) FILTER (day > {today - n}) AS orders_{n}d, sum(value) FILTER (day > {today - n}) AS spend_{n}d"
        for n in PERIODS
    )
    counted = ", ".join(
        f"coalesce(o.orders_{n}d, 0) AS orders_{n}d, coalesce(o.spend_{n}d, 0) / {unit} AS spend_{n}d" for n in PERIODS
    )
    connection.raw_sql(
        f"""
        CREATE OR REPLACE TEMP TABLE stage_counted AS
        WITH ordered AS (
            SELECT u, min(at_us) AS first_order_at, max(at_us) AS last_order_at, count(*) AS orders,
                sum(value) AS spend, {periods}
            FROM stage_order_days GROUP BY u
        ), logged AS (SELECT u, max(at_us) AS last_login_at FROM {LOGINS} GROUP BY u),
        everyone AS (SELECT DISTINCT u FROM {UNITS})
        SELECT everyone.u, o.first_order_at, o.last_order_at, l.last_login_at,
            {today} - {days.sql("o.first_order_at")} AS days_since_first_order,
            {today} - {days.sql("o.last_order_at")} AS days_since_order,
            {today} - {days.sql("l.last_login_at")} AS days_since_login,
            coalesce(o.orders, 0) AS orders, {counted},
            coalesce(o.spend, 0) / {unit} AS spend,
            round(o.spend / {unit} / o.orders, {exponent}) AS average_order
        FROM everyone LEFT JOIN ordered o USING (u) LEFT JOIN logged l USING (u)
        """  # noqa: S608 - our own names and numbers
    )


def _join(connection: Any, columns: dict[str, Any]) -> None:
    """Write the table of all facts; those that were not asked for, or cannot be told, are NULL."""
    import pyarrow as pa

    connection.con.register("stage_scored_arrow", pa.table({name: pa.array(held) for name, held in columns.items()}))
    parts = []
    for name, kind in FACTS.items():
        held = f"s.{name}" if name in columns else "NULL"
        if name == "rfm":
            together = " || ".join(f"s.{score}::VARCHAR" for score in SCORES)
            parts.append(f"{together if SCORES[0] in columns else 'NULL'}::VARCHAR AS rfm")
        elif name in (*SCORES, *OF_VALUE, "rfm_segment"):
            parts.append(f"{held}::{'VARCHAR' if kind == 'string' else 'DOUBLE'} AS {name}")
        else:
            parts.append(f"c.{name}::{'BIGINT' if kind == 'date' else 'DOUBLE'} AS {name}")
        if kind == "date":
            parts.append(f'c.days_since_{_SINCE[name]}::DOUBLE AS "{days_column(name)}"')
    connection.raw_sql(
        f"CREATE OR REPLACE TEMP TABLE {TABLE} AS SELECT c.u, {', '.join(parts)} "  # noqa: S608 - our own names
        "FROM stage_counted c LEFT JOIN stage_scored_arrow s USING (u)"
    )
    connection.con.unregister("stage_scored_arrow")
