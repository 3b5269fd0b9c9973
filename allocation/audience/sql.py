"""A rule as an SQL condition, three-valued as the compiled Python is, in each of seven dialects."""

from __future__ import annotations

from allocation.audience.columns import Resolver, plain_columns
from allocation.audience.dates import DAY_US, from_us
from allocation.audience.rules import All, AttributeType, Leaf, Node, Not, Rule, Scalar
from allocation.dialects import Dialect, DialectError, dialect


def to_sql(rule: Rule, dialect_name: str, *, column: Resolver | None = None, now: int | None = None) -> str:
    """Return ``rule`` as an SQL condition that is TRUE, FALSE or NULL where Python answers True, False or None.

    Args:
        rule: checked by `allocation.audience.parse`.
        dialect_name: one of `allocation.dialects.DIALECTS`.
        column: attribute and type → SQL expression of its canonical value; by default a column of the attribute's name.
        now: time of the question, microseconds since 1970-01-01 UTC; needed by ``days_since``.

    Raises:
        DialectError: for what the dialect cannot express.

    >>> from allocation.audience import parse
    >>> rule = parse({"attribute": "stage", "op": "in", "value": ["new", "dormant"]}, {"stage": "string"})
    >>> print(to_sql(rule, "duckdb"))
    "stage" IN ('new', 'dormant')
    """
    words = dialect(dialect_name)
    if rule.uses_now and now is None:
        raise DialectError("the rule counts days since a date, so SQL needs the time to count from; give 'now'")
    return _Printer(words, column or plain_columns(dialect_name), now or 0).node(rule.root, negated=False)


class _Printer:
    """Holds what every level of the tree needs: the dialect, the columns and the time."""

    def __init__(self, words: Dialect, column: Resolver, now: int) -> None:
        self.words = words
        self.column = column
        self.now = now

    def node(self, node: Node, *, negated: bool) -> str:
        if isinstance(node, Leaf):
            return self.leaf(node, negated=negated)
        if isinstance(node, Not):
            return f"NOT ({self.node(node.part, negated=not negated)})"
        parts = [self.node(part, negated=negated) for part in node.parts]
        if len(parts) == 1:
            return parts[0]
        return (" AND " if isinstance(node, All) else " OR ").join(f"({part})" for part in parts)

    def leaf(self, leaf: Leaf, *, negated: bool) -> str:
        x = self.column(leaf.attribute, leaf.type)
        if leaf.type == "list" and self.words.lists_are_never_missing and (negated or leaf.op == "exists"):
            raise DialectError(
                f"{self.words.title} stores a missing list as an empty one, so that 'exists' and 'not' of list "
                f"{leaf.attribute!r} would answer wrongly; use another attribute, or another dialect"
            )
        if leaf.op == "exists":
            return f"{x} IS {'NOT ' if leaf.values[0] else ''}NULL"
        if leaf.op == "days_since":
            return self.days_since(leaf, x)
        literals = [self.literal(value, leaf.type) for value in leaf.values]
        v = literals[0]
        if leaf.op in ("in", "not_in"):
            test = f"{x} {'NOT ' if leaf.op == 'not_in' else ''}IN ({', '.join(literals)})"
            return f"CASE WHEN {x} IS NOT NULL THEN {test} END" if self.words.in_ignores_null else test
        if leaf.op == "between":
            return f"{x} BETWEEN {v} AND {literals[1]}"
        if leaf.op == "contains":
            template = self.words.list_contains if leaf.type == "list" else self.words.contains
            return template.format(x=x, v=v)
        if leaf.op == "starts_with":
            return self.words.starts_with.format(x=x, v=v)
        return f"{x} {_SYMBOLS[leaf.op]} {v}"

    def days_since(self, leaf: Leaf, x: str) -> str:
        # floor((now − t) / day) ≥ g  ⇔  t ≤ now − g days;   floor(…) ≤ l  ⇔  t > now − (l + 1) days.
        tests = []
        if leaf.gte_days is not None:
            tests.append(f"{x} <= {self.moment(self.now - leaf.gte_days * DAY_US)}")
        if leaf.lte_days is not None:
            tests.append(f"{x} > {self.moment(self.now - (leaf.lte_days + 1) * DAY_US)}")
        return " AND ".join(tests)

    def literal(self, value: Scalar, kind: AttributeType) -> str:
        if isinstance(value, str):
            return self.words.literal(value)
        if isinstance(value, bool):
            return "TRUE" if value else "FALSE"
        if kind == "date":
            return self.moment(int(value))
        return self.words.number_literal(value)

    def moment(self, value: int) -> str:
        try:
            shown = from_us(value)
        except OverflowError:
            raise DialectError("a date of the rule lies outside the years 1 to 9999; correct it") from None
        first, last = self.words.date_years
        if not first <= int(shown[:4]) <= last:
            raise DialectError(
                f"{self.words.title} holds dates of the years {first} to {last}, and the rule compares with {shown}; "
                "use a nearer date"
            )
        return f"{value} /* {shown} */"


_SYMBOLS = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
