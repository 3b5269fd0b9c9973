"""A rule as a Python function: one closure for each comparison, specialised by operator and type, built once.

Three-valued as SQL is: ``True``, ``False``, or ``None`` for unknown. A comparison is unknown when the attribute is
missing, null, or not of its declared type (NaN is not a number). Text compares by code point, which orders as the bytes
of UTF-8 do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from allocation.audience.dates import DAY_US, to_us
from allocation.audience.rules import All, AnyOf, Leaf, Node, Not, Rule, Scalar, Tracer

Predicate = Callable[[Mapping[str, Any], int], bool | None]
"""Takes the attributes and the time of the question (microseconds since 1970-01-01 UTC)."""


def compile_python(rule: Rule) -> Predicate:
    """Return ``rule`` as a function of (attributes, now_us): ``True``, ``False`` or ``None`` when unknown.

    >>> from allocation.audience import parse
    >>> dormant = compile_python(parse({"attribute": "stage", "op": "eq", "value": "dormant"}, {"stage": "string"}))
    >>> dormant({"stage": "dormant"}, 0), dormant({"stage": "new"}, 0), dormant({}, 0)
    (True, False, None)
    """
    return _compile(rule.root)


def first_unknown(rule: Rule, attributes: Mapping[str, Any], now_us: int) -> str | None:
    """Return the name of the first attribute that makes the rule unknown, ``None`` when the rule is not unknown.

    >>> from allocation.audience import parse
    >>> rule = parse({"not": {"attribute": "tier", "op": "eq", "value": "gold"}}, {"tier": "string"})
    >>> first_unknown(rule, {}, 0), first_unknown(rule, {"tier": "gold"}, 0)
    ('tier', None)
    """
    return rule.tracer(attributes, now_us)[1]


def days_ago(rule: Rule, attributes: Mapping[str, Any], now_us: int) -> dict[str, int]:
    """Return what ``days_since`` counts of each date that the rule asks it of: whole periods of 24 hours until now.

    >>> from allocation.audience import parse
    >>> rule = parse({"attribute": "last_order", "op": "days_since", "gte": 2}, {"last_order": "date"})
    >>> days_ago(rule, {"last_order": "1970-01-01T12:00Z"}, 2 * DAY_US)
    {'last_order': 1}
    """
    moments = {name: to_us(got) for name in _dated(rule.root) if isinstance(got := attributes.get(name), str)}
    return {name: (now_us - moment) // DAY_US for name, moment in moments.items() if moment is not None}


def _dated(node: Node) -> list[str]:
    """Return the attributes of which days are counted."""
    if isinstance(node, Leaf):
        return [node.attribute] if node.op == "days_since" else []
    if isinstance(node, Not):
        return _dated(node.part)
    return list(dict.fromkeys(name for part in node.parts for name in _dated(part)))


def compile_tracer(rule: Rule) -> Tracer:
    """Return ``rule`` as a function that answers and names the first attribute that makes it unknown.

    It looks at every part, so it is slower than `compile_python`; a rule keeps its own as `Rule.tracer`.
    """
    return _trace(rule.root)


def _trace(node: Node) -> Tracer:
    if isinstance(node, Leaf):
        return _trace_leaf(_leaf(node), node.attribute)
    if isinstance(node, Not):
        return _trace_not(_trace(node.part))
    return _trace_parts(tuple(_trace(part) for part in node.parts), decisive=isinstance(node, AnyOf))


def _trace_leaf(check: Predicate, name: str) -> Tracer:
    def trace(attributes: Mapping[str, Any], now_us: int) -> tuple[bool | None, str | None]:
        answer = check(attributes, now_us)
        return answer, name if answer is None else None

    return trace


def _trace_not(part: Tracer) -> Tracer:
    def trace(attributes: Mapping[str, Any], now_us: int) -> tuple[bool | None, str | None]:
        answer, name = part(attributes, now_us)
        return None if answer is None else not answer, name

    return trace


def _trace_parts(parts: tuple[Tracer, ...], *, decisive: bool) -> Tracer:
    """Build ``any`` (one true part decides) or ``all`` (one false part decides)."""

    def trace(attributes: Mapping[str, Any], now_us: int) -> tuple[bool | None, str | None]:
        first = None
        for part in parts:
            answer, name = part(attributes, now_us)
            if answer is decisive:
                return answer, None
            first = first or name
        return (not decisive, None) if first is None else (None, first)

    return trace


def _compile(node: Node) -> Predicate:
    if isinstance(node, Leaf):
        return _leaf(node)
    if isinstance(node, Not):
        return _not(_compile(node.part))
    parts = tuple(_compile(part) for part in node.parts)
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2 and isinstance(node, All):
        return _both(*parts)
    return _all(parts) if isinstance(node, All) else _any(parts)


def _all(parts: tuple[Predicate, ...]) -> Predicate:
    def check(attributes: Mapping[str, Any], now_us: int) -> bool | None:
        unknown = False
        for part in parts:
            answer = part(attributes, now_us)
            if answer is False:
                return False
            if answer is None:
                unknown = True
        return None if unknown else True

    return check


def _both(one: Predicate, two: Predicate) -> Predicate:
    """Build ``all`` of two parts, the most frequent kind, without a loop."""

    def check(attributes: Mapping[str, Any], now_us: int) -> bool | None:
        first = one(attributes, now_us)
        if first is False:
            return False
        second = two(attributes, now_us)
        return second if first or second is False else None

    return check


def _any(parts: tuple[Predicate, ...]) -> Predicate:
    def check(attributes: Mapping[str, Any], now_us: int) -> bool | None:
        unknown = False
        for part in parts:
            answer = part(attributes, now_us)
            if answer:
                return True
            if answer is None:
                unknown = True
        return None if unknown else False

    return check


def _not(part: Predicate) -> Predicate:
    def check(attributes: Mapping[str, Any], now_us: int) -> bool | None:
        answer = part(attributes, now_us)
        return None if answer is None else not answer

    return check


def _leaf(leaf: Leaf) -> Predicate:
    if leaf.op == "exists":
        return _exists(leaf)
    if leaf.type == "string":
        return _string(leaf)
    if leaf.type == "number":
        return _number(leaf)
    if leaf.type == "date":
        return _days_since(leaf) if leaf.op == "days_since" else _date(leaf)
    if leaf.type == "list":
        return _list_contains(leaf.attribute, leaf.values[0])
    return _boolean(leaf)


def _test(leaf: Leaf) -> Callable[[Any], bool]:
    """Return the comparison of a usable value, two-valued; where one exists, the value's own C method."""
    value: Any = leaf.values[0]
    if leaf.op == "in":
        return frozenset(leaf.values).__contains__
    if leaf.op == "not_in":
        members = frozenset(leaf.values)
        return lambda got: got not in members
    if leaf.op == "between":
        high: Any = leaf.values[1]
        return lambda got: bool(value <= got <= high)
    if leaf.op == "contains":
        return lambda got: value in got
    if leaf.op == "starts_with":
        return lambda got: bool(got.startswith(value))
    method: Callable[[Any], bool] = getattr(value, _MIRRORED[leaf.op])
    return method


# `got >= value` is asked as `value.__le__(got)`, so each operator names its mirror image.
_MIRRORED = {"eq": "__eq__", "ne": "__ne__", "lt": "__gt__", "lte": "__ge__", "gt": "__lt__", "gte": "__le__"}


def _string(leaf: Leaf) -> Predicate:
    # The two comparisons that most audiences consist of have a closure of their own: half the time of the general one.
    if leaf.op == "eq":
        return _string_eq(leaf.attribute, leaf.values[0])
    if leaf.op == "in":
        return _string_in(leaf.attribute, frozenset(leaf.values))
    name = leaf.attribute
    test = _test(leaf)

    def check(attributes: Mapping[str, Any], _now_us: int) -> bool | None:
        got = attributes.get(name)
        return test(got) if got.__class__ is str else None

    return check


def _string_eq(name: str, value: Scalar) -> Predicate:
    def check(attributes: Mapping[str, Any], _now_us: int) -> bool | None:
        got = attributes.get(name)
        return got == value if got.__class__ is str else None

    return check


def _string_in(name: str, members: frozenset[Scalar]) -> Predicate:
    def check(attributes: Mapping[str, Any], _now_us: int) -> bool | None:
        got = attributes.get(name)
        return got in members if got.__class__ is str else None

    return check


def _number(leaf: Leaf) -> Predicate:
    name = leaf.attribute
    test = _test(leaf)

    def check(attributes: Mapping[str, Any], _now_us: int) -> bool | None:
        got = attributes.get(name)
        if got.__class__ is int or (got.__class__ is float and got == got):  # NaN differs from itself
            return test(got)
        return None

    return check


def _boolean(leaf: Leaf) -> Predicate:
    name = leaf.attribute
    wanted = leaf.values[0] is (leaf.op == "eq")

    def check(attributes: Mapping[str, Any], _now_us: int) -> bool | None:
        got = attributes.get(name)
        return got is wanted if got.__class__ is bool else None

    return check


def _date(leaf: Leaf) -> Predicate:
    name = leaf.attribute
    test = _test(leaf)

    def check(attributes: Mapping[str, Any], _now_us: int) -> bool | None:
        got = attributes.get(name)
        if got.__class__ is not str:
            return None
        moment = to_us(got)
        return None if moment is None else test(moment)

    return check


def _days_since(leaf: Leaf) -> Predicate:
    # floor((now − t) / day) ≥ g  ⇔  t ≤ now − g days;   floor(…) ≤ l  ⇔  t > now − (l + 1) days.
    name = leaf.attribute
    latest = None if leaf.gte_days is None else leaf.gte_days * DAY_US
    earliest = None if leaf.lte_days is None else (leaf.lte_days + 1) * DAY_US

    def check(attributes: Mapping[str, Any], now_us: int) -> bool | None:
        got = attributes.get(name)
        if got.__class__ is not str:
            return None
        moment = to_us(got)
        if moment is None:
            return None
        age = now_us - moment
        return (latest is None or age >= latest) and (earliest is None or age < earliest)

    return check


def _list_contains(name: str, value: Scalar) -> Predicate:
    def check(attributes: Mapping[str, Any], _now_us: int) -> bool | None:
        got = attributes.get(name)
        return value in got if got.__class__ is list else None

    return check


def _usable_number(got: Any) -> bool:
    return got.__class__ is int or (got.__class__ is float and got == got)


_USABLE: dict[str, Callable[[Any], bool]] = {
    "any": lambda got: got is not None,
    "string": lambda got: got.__class__ is str,
    "number": _usable_number,
    "boolean": lambda got: got.__class__ is bool,
    "date": lambda got: got.__class__ is str and to_us(got) is not None,
    "list": lambda got: got.__class__ is list,
}


def _exists(leaf: Leaf) -> Predicate:
    """Build the one comparison that is never unknown: does the attribute hold a value of its declared type?"""
    name = leaf.attribute
    usable = _USABLE[leaf.type]
    wanted = leaf.values[0]

    def check(attributes: Mapping[str, Any], _now_us: int) -> bool:
        return usable(attributes.get(name)) is wanted

    return check
