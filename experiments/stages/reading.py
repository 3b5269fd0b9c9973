"""Every unit's stage as of a moment, computed where the log is, beside the stage it had and what is stored of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.definitions import Project, StageRule
from experiments.definitions.money import exponent
from experiments.definitions.stage_facts import FACTS
from experiments.measure.days import day_text
from experiments.sources.log import LogTables
from experiments.stages import facts, orders
from experiments.stages.days import Days
from experiments.stages.document import NONE, Detail, GridCell, Move
from experiments.stages.facts import SCORES, TABLE
from experiments.stages.orders import UNITS
from experiments.stages.ruling import asked, from_json, stage_sql

NOW = "stage_now"


@dataclass(frozen=True)
class Found:
    """What a computing found, before anything of it is kept."""

    units: int
    counts: dict[str, int]
    changes: Any
    """Arrow table of the units whose stage is another than before: unit, stage (NULL for none)."""
    statements: Any
    """Arrow table of the units of whom other attributes are stored: unit, stage, and a column for each kept fact."""
    detail: Detail


def read(log: LogTables, rule: StageRule, project: Project, as_of_us: int, *, schema: str, known_before: bool) -> Found:
    """Compute every unit's stage.

    Args:
        log: an open log on the embedded engine.
        rule: whose ``computed`` is there.
        project: for attributes, time zone and currency.
        as_of_us: microseconds since 1970 UTC.
        schema: of the store's tables in the engine.
        known_before: whether stages were computed before the week began.
    """
    computed = rule.computed
    if computed is None:
        raise ValueError("the rule says nothing of how it is computed")
    connection, types = log.connection, project.attribute_types()
    days = Days.until(as_of_us, project.time_zone)
    unit_type = _quoted(computed.unit_type)
    connection.raw_sql(
        f"CREATE OR REPLACE TEMP TABLE stage_members AS SELECT unit, attributes FROM {schema}.members "  # noqa: S608
        f"WHERE unit_type = {unit_type}"
    )
    orders.load(log, computed, as_of_us, "SELECT unit FROM stage_members")
    wanted = asked(rule, types) | set(computed.keep)
    why = facts.write(connection, computed, days, exponent(project.currency), wanted)
    stored = from_json("m.attributes")
    stage = stage_sql(rule, types, days, stored=stored)
    if computed.joined is not None:
        stage = f"CASE WHEN {stored(computed.joined, 'date')} > {as_of_us} THEN NULL ELSE {stage} END"
    had = (
        f"SELECT unit, arg_max(coalesce(stage, '{NONE}'), since) AS stage FROM {schema}.stage_history "  # noqa: S608
        f"WHERE rule = {_quoted(rule.key)} AND unit_type = {unit_type}"
    )
    kept = "".join(f', f."{name}" AS "{name}"' for name in computed.keep)
    differs = " OR ".join(
        f"{new} IS DISTINCT FROM {stored(name, kind)}"
        for name, kind, new in [
            (rule.attribute, "string", stage),
            *((name, FACTS[name], f'f."{name}"') for name in computed.keep),
        ]
    )
    connection.raw_sql(
        f"""
        CREATE OR REPLACE TEMP TABLE {NOW} AS
        WITH before AS ({had} AND since < {as_of_us} GROUP BY unit),
            monday AS ({had} AND since < {days.monday_us} GROUP BY unit)
        SELECT s.unit, s.unit = s.root AS counts, {stage} AS stage, before.stage AS before, monday.stage AS monday,
            f.spend, f.{SCORES[0]}, f.{SCORES[1]}{kept}, {differs} AS differs
        FROM {UNITS} s JOIN {TABLE} f USING (u) LEFT JOIN stage_members m ON m.unit = s.unit
            LEFT JOIN before ON before.unit = s.unit LEFT JOIN monday ON monday.unit = s.unit
        """  # noqa: S608 - our own names, rules printed by the rule printer, text in quotes
    )
    return _found(connection, computed.keep, days, why, computed.rfm.groups, known_before=known_before)


def _found(
    connection: Any, keep: Sequence[str], days: Days, why: str | None, groups: int, *, known_before: bool
) -> Found:
    con = connection.con
    counted = con.execute(
        f"SELECT coalesce(stage, '{NONE}'), count(*) FROM {NOW} WHERE counts GROUP BY 1 ORDER BY 1"  # noqa: S608
    ).fetchall()
    counts = {stage: int(units) for stage, units in counted}
    moves = None
    if known_before:
        rows = con.execute(
            f"SELECT nullif(monday, '{NONE}') AS then_in, stage, count(*) FROM {NOW} "  # noqa: S608 - our own names
            f"WHERE counts AND (nullif(monday, '{NONE}') IS NOT NULL OR stage IS NOT NULL) "
            "GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2 NULLS LAST"
        ).fetchall()
        moves = [Move(before=before, after=after, units=int(units)) for before, after, units in rows]
    grid = con.execute(
        f"SELECT {SCORES[0]}, {SCORES[1]}, count(*), sum(spend) FROM {NOW} "  # noqa: S608 - our own names
        f"WHERE counts AND {SCORES[0]} IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    last_day, ordered = con.execute("SELECT max(day), count(DISTINCT u) FROM stage_order_days").fetchone()
    changes = con.execute(
        f"SELECT unit, stage FROM {NOW} WHERE coalesce(stage, '{NONE}') <> coalesce(before, '{NONE}') ORDER BY unit"  # noqa: S608
    ).to_arrow_table()
    columns = "".join(f', "{name}"' for name in keep)
    statements = con.execute(f"SELECT unit, stage{columns} FROM {NOW} WHERE differs ORDER BY unit").to_arrow_table()  # noqa: S608
    detail = Detail(
        week=day_text(days.today - (days.today + 3) % 7),
        moves=moves,
        grid=[GridCell(recency=int(r), frequency=int(f), units=int(n), spend=float(v)) for r, f, n, v in grid],
        groups=groups,
        written=statements.num_rows,
        ordered=int(ordered),
        last_order=None if last_day is None else day_text(last_day),
        notes=[] if why is None else [why],
    )
    return Found(sum(counts.values()), counts, changes, statements, detail)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
