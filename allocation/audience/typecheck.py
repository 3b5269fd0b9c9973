"""From what a person wrote to a checked rule; every mistake is found here, when the experiment is saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from allocation.audience.dates import to_us
from allocation.audience.rules import All, AnyOf, AttributeType, Leaf, Node, Not, Op, Rule, RuleError, Scalar

MAX_DEPTH = 12
MAX_PARTS = 500
MAX_VALUES = 10_000
MAX_VALUE_BYTES = 1024
MAX_NUMBER = float(1 << 53)
MAX_DAYS = 36_525

_ORDERED: tuple[Op, ...] = ("eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "between")
OPS: dict[str, tuple[Op, ...]] = {
    "string": (*_ORDERED, "contains", "starts_with", "exists"),
    "number": (*_ORDERED, "exists"),
    "boolean": ("eq", "ne", "exists"),
    "date": (*_ORDERED, "days_since", "exists"),
    "list": ("contains", "exists"),
    "any": ("exists",),
}
"""The operators that each type of attribute takes."""

ALL_OPS = (*_ORDERED, "contains", "starts_with", "exists", "days_since")


def parse(document: object, attribute_types: Mapping[str, str] | None = None) -> Rule:
    """Check a rule written as JSON data and return it in the form that compiles.

    Args:
        document: ``{"all": […]}``, ``{"any": […]}``, ``{"not": …}`` or ``{"attribute": …, "op": …, "value": …}``.
        attribute_types: name → ``string``, ``number``, ``boolean``, ``date`` or ``list``. Without it (filters on event
            properties, which nobody declares) the type follows from the value that the attribute is compared with.

    Raises:
        RuleError: with a JSON pointer to the wrong place, what is wrong and what to do.

    >>> rule = parse({"attribute": "stage", "op": "eq", "value": "dormant"}, {"stage": "string"})
    >>> rule.attributes, rule.uses_now
    (('stage',), False)
    >>> parse({"attribute": "stage", "op": "lt", "value": 3}, {"stage": "string"})
    Traceback (most recent call last):
    allocation.audience.rules.RuleError: /value: 'stage' is a string and is compared with a number; write text in quotes
    """
    budget = iter(range(MAX_PARTS))
    root = _node(document, attribute_types, "", 1, budget)
    leaves = list(_leaves(root))
    return Rule(
        root=root,
        attributes=tuple(dict.fromkeys(leaf.attribute for leaf in leaves)),
        uses_now=any(leaf.op == "days_since" for leaf in leaves),
    )


def _leaves(node: Node) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    elif isinstance(node, Not):
        yield from _leaves(node.part)
    else:
        for part in node.parts:
            yield from _leaves(part)


def _node(doc: object, types: Mapping[str, str] | None, at: str, depth: int, budget: Iterator[int]) -> Node:
    if depth > MAX_DEPTH:
        raise RuleError(at, f"the rule is nested more than {MAX_DEPTH} levels deep", "flatten it")
    if next(budget, None) is None:
        raise RuleError(at, f"the rule has more than {MAX_PARTS} parts", "use 'in' with a list, or a stored attribute")
    if not isinstance(doc, dict):
        raise RuleError(
            at, f"a rule must be an object, not {_kind(doc)}", 'write {"attribute": …, "op": …, "value": …}'
        )
    combining = [key for key in ("all", "any", "not") if key in doc]
    if not combining:
        return _leaf(doc, types, at)
    if len(doc) > 1:
        other = next(key for key in doc if key != combining[0])
        raise RuleError(
            f"{at}/{_escape(other)}",
            f"'{combining[0]}' stands beside {other!r}",
            "give each its own object within one 'all' or 'any'",
        )
    key = combining[0]
    if key == "not":
        return Not(_node(doc["not"], types, f"{at}/not", depth + 1, budget))
    parts = doc[key]
    if not isinstance(parts, list | tuple):
        raise RuleError(f"{at}/{key}", f"'{key}' must be a list of rules, not {_kind(parts)}", "put the rules in [ ]")
    if not parts:
        raise RuleError(f"{at}/{key}", f"'{key}' is an empty list", "give at least one rule, or leave the rule out")
    nodes = tuple(_node(part, types, f"{at}/{key}/{i}", depth + 1, budget) for i, part in enumerate(parts))
    return All(nodes) if key == "all" else AnyOf(nodes)


def _leaf(doc: dict[Any, Any], types: Mapping[str, str] | None, at: str) -> Leaf:
    name = _attribute(doc, at)
    op = _op(doc, at)
    known = {"attribute", "op", *(("gte", "lte") if op == "days_since" else ("value",))}
    for key in doc:
        if key not in known:
            expected = "'gte' and 'lte' (whole days)" if op == "days_since" else "'value'"
            raise RuleError(f"{at}/{_escape(key)}", f"{op} does not take {key!r}", f"it takes {expected}")
    kind = _type(name, op, doc, types, at)
    if op == "days_since":
        return _days_since(doc, name, at)
    if op == "exists":
        expected = doc.get("value", True)
        if not isinstance(expected, bool):
            raise RuleError(f"{at}/value", "exists takes true or false", "leave 'value' out, or write true or false")
        return Leaf(name, kind, op, (expected,))
    if "value" not in doc:
        raise RuleError(at, f"{op} needs a 'value'", 'add "value": …')
    return Leaf(name, kind, op, _values(name, kind, op, doc["value"], f"{at}/value"))


def _attribute(doc: dict[Any, Any], at: str) -> str:
    if "attribute" not in doc:
        raise RuleError(at, "a comparison needs an 'attribute'", "or combine rules with 'all', 'any' or 'not'")
    name = doc["attribute"]
    if not isinstance(name, str) or not name:
        raise RuleError(f"{at}/attribute", f"an attribute name must be text, not {_kind(name)}", "write its name")
    return _text(name, f"{at}/attribute")


def _op(doc: dict[Any, Any], at: str) -> Op:
    if "op" not in doc:
        raise RuleError(at, "a comparison needs an 'op'", f"use one of {', '.join(ALL_OPS)}")
    op = doc["op"]
    if op not in ALL_OPS:
        raise RuleError(f"{at}/op", f"unknown operator {op!r}", f"use one of {', '.join(ALL_OPS)}")
    return cast("Op", op)


def _type(name: str, op: Op, doc: dict[Any, Any], types: Mapping[str, str] | None, at: str) -> AttributeType:
    if types is None:
        return _inferred(op, doc.get("value"))
    if name not in types:
        from difflib import get_close_matches

        near = get_close_matches(name, types, n=1)
        advice = f"did you mean {near[0]!r}?" if near else "declare it under 'attributes' of the project"
        raise RuleError(f"{at}/attribute", f"attribute {name!r} is not declared", advice)
    kind = types[name]
    if kind not in OPS:
        raise RuleError(f"{at}/attribute", f"attribute {name!r} has unknown type {kind!r}", f"use {_listed(OPS)}")
    if op not in OPS[kind]:
        raise RuleError(f"{at}/op", f"{op} does not apply to {name!r}, a {kind}", f"use {', '.join(OPS[kind])}")
    return cast("AttributeType", kind)


def _listed(types: Mapping[str, object]) -> str:
    return ", ".join(name for name in types if name != "any")


def _inferred(op: Op, value: object) -> AttributeType:
    if op == "days_since":
        return "date"
    if op == "exists":
        return "any"
    sample = value[0] if isinstance(value, list | tuple) and value else value
    if isinstance(sample, bool):
        return "boolean"
    return "number" if isinstance(sample, int | float) else "string"


def _values(name: str, kind: AttributeType, op: Op, value: object, at: str) -> tuple[Scalar, ...]:
    read = _READERS[kind]
    if op not in ("in", "not_in", "between"):
        return (read(name, value, at, op),)
    if not isinstance(value, list | tuple):
        example = "[lowest, highest]" if op == "between" else "[…]"
        raise RuleError(at, f"{op} needs a list, not {_kind(value)}", f'write "value": {example}')
    if op == "between":
        if len(value) != 2:
            raise RuleError(at, f"between needs two values, not {len(value)}", 'write "value": [lowest, highest]')
        low, high = (read(name, item, f"{at}/{i}", op) for i, item in enumerate(value))
        if low > high:  # type: ignore[operator]  # both have the attribute's one type
            raise RuleError(at, "the lowest value is above the highest", 'write "value": [lowest, highest]')
        return (low, high)
    if not value:
        raise RuleError(at, f"{op} has an empty list", "list at least one value, or leave the comparison out")
    if len(value) > MAX_VALUES:
        raise RuleError(at, f"{op} lists {len(value)} values", f"list at most {MAX_VALUES}, or store an attribute")
    return tuple(dict.fromkeys(read(name, item, f"{at}/{i}", op) for i, item in enumerate(value)))


def _days_since(doc: dict[Any, Any], name: str, at: str) -> Leaf:
    ends: dict[str, int] = {}
    for key in ("gte", "lte"):
        if key in doc:
            days = doc[key]
            if isinstance(days, float) and days.is_integer():
                days = int(days)
            if isinstance(days, bool) or not isinstance(days, int) or abs(days) > MAX_DAYS:
                raise RuleError(
                    f"{at}/{key}", "days must be a whole number", f"give one from -{MAX_DAYS} to {MAX_DAYS}"
                )
            ends[key] = days
    if not ends:
        raise RuleError(at, "days_since needs 'gte' or 'lte'", 'write for example "gte": 91, "lte": 180')
    if len(ends) == 2 and ends["gte"] > ends["lte"]:
        raise RuleError(at, f"no day is ≥ {ends['gte']} and ≤ {ends['lte']}", "swap 'gte' and 'lte'")
    return Leaf(name, "date", "days_since", gte_days=ends.get("gte"), lte_days=ends.get("lte"))


def _string(name: str, value: object, at: str, op: Op) -> str:
    if not isinstance(value, str):
        raise RuleError(at, f"{name!r} is a string and is compared with {_kind(value)}", "write text in quotes")
    if not value and op in ("contains", "starts_with"):
        raise RuleError(at, f"{op} with empty text is true of everything", "use exists, or give some text")
    return _text(value, at)


def _text(value: str, at: str) -> str:
    if "\x00" in value:
        raise RuleError(at, "text contains a NUL character", "remove it")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise RuleError(at, "text contains a lone surrogate", "write valid Unicode") from None
    if size > MAX_VALUE_BYTES:
        raise RuleError(at, f"text has {size} bytes", f"use at most {MAX_VALUE_BYTES}")
    return value


def _number(name: str, value: object, at: str, op: Op) -> float:  # noqa: ARG001 - one signature for all readers
    if isinstance(value, bool) or not isinstance(value, int | float):
        advice = "take the quotes off" if isinstance(value, str) else "write a number"
        raise RuleError(at, f"{name!r} is a number and is compared with {_kind(value)}", advice)
    # Below 2**53 comparing exactly and comparing as doubles give the same answer for every stored value, so that Python
    # and every SQL engine agree without converting.
    if not math.isfinite(value) or abs(value) >= MAX_NUMBER:
        raise RuleError(at, f"{value} is not a number that can be compared exactly", "use one between -2^53 and 2^53")
    return float(value)


def _boolean(name: str, value: object, at: str, op: Op) -> bool:  # noqa: ARG001 - one signature for all readers
    if not isinstance(value, bool):
        raise RuleError(at, f"{name!r} is a boolean and is compared with {_kind(value)}", "write true or false")
    return value


def _date(name: str, value: object, at: str, op: Op) -> int:  # noqa: ARG001 - one signature for all readers
    # YAML reads an unquoted 2026-03-03 as a date object; isoformat() gives back what was written.
    text = value.isoformat() if hasattr(value, "isoformat") else value
    moment = to_us(text) if isinstance(text, str) else None
    if moment is None:
        wrong = repr(text[:40]) if isinstance(text, str) else _kind(value)
        raise RuleError(
            at, f"{name!r} is a date and is compared with {wrong}", "write 2026-03-03 or 2026-03-03T00:00:00+08:00"
        )
    return moment


_READERS: dict[str, Callable[[str, object, str, Op], Scalar]] = {
    "string": _string,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "list": _string,
}


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    names: dict[type, str] = {str: "text", list: "a list", tuple: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def _escape(key: object) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")
