"""A stage rule as one SQL expression: the first stage whose rule is true, whole days where the rule counts days."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from allocation.audience import json_columns, parse, to_sql
from allocation.audience.rules import All, AnyOf, AttributeType, Leaf, Node, Not
from allocation.dialects import dialect
from experiments.definitions import StageRule
from experiments.definitions.stage_facts import FACTS
from experiments.stages.days import Days
from experiments.stages.facts import days_column

ENGINE = "duckdb"
Column = Callable[[str, AttributeType], str]


def stage_sql(rule: StageRule, types: Mapping[str, str], days: Days, *, stored: Column, facts: str = "f") -> str:
    """Return SQL for a unit's stage, NULL where no rule is true.

    ``days_since`` counts days of the project's calendar here, also of stored dates: the day after is day 1, whatever
    the hour.

    Args:
        rule: the stages.
        types: of the project's attributes.
        days: up to the moment as of which is counted.
        stored: SQL of a stored attribute.
        facts: name of the table of facts in the query.
    """

    def column(name: str, kind: AttributeType) -> str:
        if name in FACTS:
            dated = FACTS[name] == "date" and kind == "number"
            return f'{facts}."{days_column(name) if dated else name}"'
        if types[name] == "date" and kind == "number":
            return f"CAST({days.today} - {days.sql(stored(name, 'date'))} AS DOUBLE)"
        return stored(name, kind)

    words = dialect(ENGINE)
    known = {**types, **rule.fact_types()}
    cases: list[str] = []
    for stage in rule.stages:
        if stage.rule is None:
            return (
                f"CASE {' '.join(cases)} ELSE {words.literal(stage.stage)} END" if cases else words.literal(stage.stage)
            )
        parsed = parse(stage.rule, known)
        counted = replace(parsed, root=_in_days(parsed.root), uses_now=False)
        cases.append(f"WHEN {to_sql(counted, ENGINE, column=column)} THEN {words.literal(stage.stage)}")
    return f"CASE {' '.join(cases)} END"


def from_json(held: str) -> Column:
    """Return how stored attributes are read out of one column of JSON."""
    return json_columns(ENGINE, held)


def asked(rule: StageRule, types: Mapping[str, str]) -> frozenset[str]:
    """Return the names of everything that a rule reads."""
    known = {**types, **rule.fact_types()}
    rules = [parse(stage.rule, known) for stage in rule.stages if stage.rule is not None]
    return frozenset(name for parsed in rules for name in parsed.attributes)


def _in_days(node: Node) -> Node:
    """Return the tree with comparisons of days since a date as comparisons of a number of days."""
    if isinstance(node, Not):
        return Not(_in_days(node.part))
    if isinstance(node, All | AnyOf):
        return type(node)(tuple(_in_days(part) for part in node.parts))
    if node.op != "days_since":
        return node
    least, most = node.gte_days, node.lte_days
    if least is not None and most is not None:
        return Leaf(node.attribute, "number", "between", (float(least), float(most)))
    if least is not None:
        return Leaf(node.attribute, "number", "gte", (float(least),))
    return Leaf(node.attribute, "number", "lte", (float(cast("int", most)),))
