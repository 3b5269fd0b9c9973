"""Audience rules: who may take part, as data; checked when saved, compiled once to Python, printed as SQL.

Three-valued everywhere, exactly as SQL: a comparison on a missing, null or wrongly typed attribute is unknown;
``not``, ``any`` and ``all`` follow SQL; unknown at the top is *not in the audience*. Examples: docs/audience-rules.md.
"""

from allocation.audience.columns import Resolver, json_columns, plain_columns
from allocation.audience.predicate import Predicate, compile_python, days_ago, first_unknown
from allocation.audience.rules import Rule, RuleError
from allocation.audience.sql import to_sql
from allocation.audience.typecheck import parse

__all__ = [
    "Predicate",
    "Resolver",
    "Rule",
    "RuleError",
    "compile_python",
    "days_ago",
    "first_unknown",
    "json_columns",
    "parse",
    "plain_columns",
    "to_sql",
]
