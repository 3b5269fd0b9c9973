"""How many stored members each segment's rule describes, counted where they are: one scan for all segments.

The rule is the one that decides, printed as SQL, so that a member counts here who would be in the audience. Ids that
are known to be one member are one member; an opt-out under any of them counts, as it does in a decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from allocation.audience import RuleError, json_columns, parse, to_sql
from allocation.dialects import DialectError
from allocation.plan import ExperimentPlan, HoldoutPlan, PhasePlan, VariantPlan
from allocation.sql import holdout_sql
from experiments.definitions import Experiment, Holdout, Project, Segment
from experiments.keeping.heads import Head
from experiments.keeping.repository import Repository
from experiments.sources.log import open_log
from experiments.store import Store

ENGINE = "duckdb"
SCHEMAS = {"sqlite": "log.main", "postgresql": "log.public"}
MEMBER = "member"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How many members a segment has."""

    revision: int
    """Of the segment's definition, whose rule was counted."""
    unit_type: str
    members: int | None
    """Whose stored attributes make the rule true; ``None`` where they cannot tell."""
    opted_out: int | None
    """Of these, how many refused personalisation."""
    held_out: int | None
    """Of these, how many are in a global holdout."""
    why: str | None = None
    """Why nothing is counted."""


def count_segments(store: Store, at: int) -> dict[str, Size]:
    """Return the size of every segment.

    Args:
        store: definitions and members. Its connections are closed while the engine reads; see ``Store.close``.
        at: microseconds since 1970 UTC, from which ``days_since`` counts.
    """
    repository = Repository(store)
    heads = repository.heads()
    project = repository.project()
    segments = {head.definition.key: head for (kind, _), head in heads.items() if kind == "segment"}
    conditions: dict[str, dict[str, str]] = {}
    found: dict[str, Size] = {}
    for key, head in sorted(segments.items()):
        unit_type = _unit_type(key, heads)
        condition, why = _condition(head, project, at)
        if condition is None:
            found[key] = Size(
                revision=head.revision, unit_type=unit_type, members=None, opted_out=None, held_out=None, why=why
            )
        else:
            conditions.setdefault(unit_type, {})[key] = condition
    if conditions:
        holdouts = {unit_type: _held_out(heads, unit_type) for unit_type in conditions}
        url, schema = store.url, SCHEMAS[store.dialect]
        # DuckDB brings an SQLite of its own, and closing its descriptor drops the locks of ours (see Store.close).
        store.close()
        with open_log(url) as log:
            for unit_type, asked in conditions.items():
                linked = log.identities is not None
                counted = _count(log.connection, schema, unit_type, asked, holdouts[unit_type], linked=linked)
                for key, (members, opted_out, held_out) in counted.items():
                    found[key] = Size(
                        revision=segments[key].revision,
                        unit_type=unit_type,
                        members=members,
                        opted_out=opted_out,
                        held_out=held_out,
                    )
    return dict(sorted(found.items()))


def _unit_type(key: str, heads: Mapping[tuple[str, str], Head]) -> str:
    """Return what the segment's experiments randomise, where they agree; members otherwise."""
    definitions = [head.definition for head in heads.values()]
    used = {each.unit_type for each in definitions if isinstance(each, Experiment) and each.segment == key}
    return used.pop() if len(used) == 1 else MEMBER


def _condition(head: Head, project: Project, at: int) -> tuple[str | None, str | None]:
    """Return the rule as SQL over a column ``attributes``, or why it cannot be counted."""
    segment = head.definition
    assert isinstance(segment, Segment)  # noqa: S101 - heads of this kind
    try:
        rule = parse(segment.rule, project.attribute_types())
        asked = sorted(name for name in rule.attributes if project.attributes[name].kept == "request")
        if asked:
            return None, f"only a request tells {', '.join(asked)}"
        return to_sql(rule, ENGINE, column=json_columns(ENGINE, "m.attributes"), now=at), None
    except (RuleError, DialectError) as error:
        return None, str(error)


def _held_out(heads: Mapping[tuple[str, str], Head], unit_type: str) -> str:
    """Return SQL over a column ``unit``: whether it is in a global holdout."""
    holdouts = tuple(
        HoldoutPlan(head.definition.key, head.salt or "", head.definition.share)
        for head in heads.values()
        if isinstance(head.definition, Holdout)
        and head.definition.scope is None
        and head.definition.unit_type == unit_type
    )
    anything = ExperimentPlan("any", 1, "running", (VariantPlan("a"),), (PhasePlan(1, "", (1,)),), holdouts=holdouts)
    return f"({holdout_sql(anything, ENGINE)}) IS NOT NULL"


def _count(
    connection: Any, schema: str, unit_type: str, conditions: Mapping[str, str], held_out: str, *, linked: bool
) -> dict[str, Sequence[int]]:
    """Return members, opted out and held out of each segment."""
    kind = "'" + unit_type.replace("'", "''") + "'"
    root, join = "member.unit", ""
    if linked:
        root = "coalesce(same.root, member.unit)"
        join = f"LEFT JOIN {schema}.identities same ON same.unit_type = {kind} AND same.unit = member.unit"
    tests = "".join(f", coalesce({test}, FALSE) AS s{place}" for place, test in enumerate(conditions.values()))
    anyone = "".join(f", bool_or(s{place}) AS s{place}" for place in range(len(conditions)))
    counts = ", ".join(
        f"count(*) FILTER (s{place}), count(*) FILTER (s{place} AND opted_out), count(*) FILTER (s{place} AND held_out)"
        for place in range(len(conditions))
    )
    row = connection.con.execute(
        f"""
        WITH m AS (
            SELECT member.unit, {root} AS root, member.attributes, member.opted_out
            FROM {schema}.members member {join} WHERE member.unit_type = {kind}
        ), ids AS (
            SELECT root, CAST(opted_out AS BOOLEAN) AS opted_out, {held_out} AS held_out{tests} FROM m
        ), one AS (
            SELECT bool_or(opted_out) AS opted_out, bool_or(held_out) AS held_out{anyone} FROM ids GROUP BY root
        )
        SELECT {counts} FROM one
        """  # noqa: S608 - our own names, rules printed by the rule printer, text in quotes
    ).fetchone()
    numbers = [int(number) for number in row]
    return {key: numbers[3 * place : 3 * place + 3] for place, key in enumerate(conditions)}
