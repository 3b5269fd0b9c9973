"""Audience rules: every mistake is found when saved, with a pointer; answers are three-valued."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import pytest

from allocation.audience import RuleError, compile_python, first_unknown, parse
from allocation.audience.dates import DAY_US, from_us, to_us
from tests.allocation.audience_cases import NOT_DATES

TYPES = {"stage": "string", "orders": "number", "vip": "boolean", "last_order_at": "date", "tags": "list"}
NOW = 1_772_500_000_000_000


def leaf(attribute: str, op: str, *value: Any, **more: Any) -> dict[str, Any]:
    return {"attribute": attribute, "op": op, **({"value": value[0]} if value else {}), **more}


def nested(levels: int) -> Any:
    rule: Any = leaf("vip", "eq", True)
    for _ in range(levels):
        rule = {"not": rule}
    return rule


WRONG: list[tuple[Any, str, str]] = [
    # rule, pointer, part of the message
    ("dormant", "", "a rule must be an object, not text"),
    (None, "", "a rule must be an object, not null"),
    ([leaf("vip", "eq", True)], "", "a rule must be an object, not a list"),
    ({}, "", "a comparison needs an 'attribute'"),
    ({"all": []}, "/all", "'all' is an empty list"),
    ({"any": leaf("vip", "eq", True)}, "/any", "'any' must be a list of rules, not an object"),
    ({"all": [leaf("vip", "eq", True)], "any": []}, "/any", "'all' stands beside 'any'"),
    ({"not": {}}, "/not", "a comparison needs an 'attribute'"),
    ({"all": [leaf("vip", "eq", True), {"any": [3]}]}, "/all/1/any/0", "a rule must be an object, not a number"),
    (nested(12), "/not" * 12, "nested more than 12 levels deep"),
    ({"any": [leaf("stage", "eq", str(i)) for i in range(500)]}, "/any/499", "more than 500 parts"),
    ({"op": "eq", "value": 1}, "", "a comparison needs an 'attribute'"),
    ({"attribute": 3, "op": "eq", "value": 1}, "/attribute", "an attribute name must be text, not a number"),
    ({"attribute": "", "op": "eq", "value": 1}, "/attribute", "an attribute name must be text"),
    (leaf("stag", "eq", "x"), "/attribute", "attribute 'stag' is not declared; did you mean 'stage'?"),
    (leaf("zzzz", "eq", "x"), "/attribute", "declare it under 'attributes' of the project"),
    ({"attribute": "stage", "value": "x"}, "", "a comparison needs an 'op'"),
    (leaf("stage", "equals", "x"), "/op", "unknown operator 'equals'; use one of eq, ne, in"),
    (leaf("stage", ["eq"], "x"), "/op", "unknown operator ['eq']"),
    (leaf("vip", "lt", True), "/op", "lt does not apply to 'vip', a boolean; use eq, ne, exists"),
    (leaf("tags", "eq", "x"), "/op", "eq does not apply to 'tags', a list; use contains, exists"),
    (leaf("orders", "contains", "1"), "/op", "contains does not apply to 'orders', a number"),
    (leaf("stage", "days_since", gte=1), "/op", "days_since does not apply to 'stage', a string"),
    ({"attribute": "stage", "op": "eq"}, "", "eq needs a 'value'"),
    (leaf("stage", "eq", "x", values=["y"]), "/values", "eq does not take 'values'; it takes 'value'"),
    (leaf("stage", "eq", "x", **{"a/b~": 1}), "/a~1b~0", "eq does not take 'a/b~'"),
    (leaf("last_order_at", "days_since", 3), "/value", "days_since does not take 'value'; it takes 'gte' and 'lte'"),
    (leaf("stage", "eq", 3), "/value", "'stage' is a string and is compared with a number; write text in quotes"),
    (leaf("stage", "eq", None), "/value", "is compared with null"),
    (leaf("stage", "eq", ["x"]), "/value", "is compared with a list"),
    (leaf("stage", "contains", ""), "/value", "contains with empty text is true of everything"),
    (leaf("stage", "eq", "a\x00"), "/value", "NUL character"),
    (leaf("stage", "eq", "\ud800"), "/value", "lone surrogate"),
    (leaf("stage", "eq", "满" * 342), "/value", "text has 1026 bytes; use at most 1024"),
    (leaf("orders", "gt", "3"), "/value", "is a number and is compared with text; take the quotes off"),
    (leaf("orders", "gt", True), "/value", "is a number and is compared with a boolean"),
    (leaf("orders", "gt", math.nan), "/value", "nan is not a number that can be compared exactly"),
    (leaf("orders", "gt", math.inf), "/value", "inf is not a number"),
    (leaf("orders", "eq", 2**53), "/value", "use one between -2^53 and 2^53"),
    (leaf("vip", "eq", 1), "/value", "is a boolean and is compared with a number; write true or false"),
    (leaf("last_order_at", "gt", "2026-02-30"), "/value", "is compared with '2026-02-30'; write 2026-03-03"),
    (leaf("last_order_at", "gt", 20260303), "/value", "is a date and is compared with a number"),
    (leaf("stage", "in", "x"), "/value", "in needs a list, not text"),
    (leaf("stage", "in", []), "/value", "in has an empty list"),
    (leaf("stage", "not_in", ["x", 3]), "/value/1", "'stage' is a string and is compared with a number"),
    (leaf("stage", "in", [str(i) for i in range(10_001)]), "/value", "lists 10001 values"),
    (leaf("orders", "between", 3), "/value", 'between needs a list, not a number; write "value": [lowest, highest]'),
    (leaf("orders", "between", [3]), "/value", "between needs two values, not 1"),
    (leaf("orders", "between", [4, 3]), "/value", "the lowest value is above the highest"),
    (leaf("orders", "exists", "yes"), "/value", "exists takes true or false"),
    (leaf("last_order_at", "days_since"), "", "days_since needs 'gte' or 'lte'"),
    (leaf("last_order_at", "days_since", gte=1.5), "/gte", "days must be a whole number"),
    (leaf("last_order_at", "days_since", lte=True), "/lte", "days must be a whole number"),
    (leaf("last_order_at", "days_since", gte=40_000), "/gte", "give one from -36525 to 36525"),
    (leaf("last_order_at", "days_since", gte=10, lte=9), "", "no day is ≥ 10 and ≤ 9"),
]


@pytest.mark.parametrize(("rule", "pointer", "message"), WRONG, ids=[message[:40] for *_, message in WRONG])
def test_mistakes_are_found_when_saved(rule: Any, pointer: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(rule, TYPES)
    assert caught.value.pointer == pointer
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.advice


def test_an_unknown_declared_type_is_named() -> None:
    with pytest.raises(RuleError, match="unknown type 'money'; use string, number, boolean, date, list"):
        parse(leaf("a", "eq", 1), {"a": "money"})


ANSWERS: list[tuple[Any, dict[str, Any], bool | None]] = [
    (leaf("stage", "eq", "dormant"), {"stage": "dormant"}, True),
    (leaf("stage", "eq", "dormant"), {"stage": "Dormant"}, False),
    (leaf("stage", "eq", "dormant"), {}, None),
    (leaf("stage", "eq", "dormant"), {"stage": None}, None),
    (leaf("stage", "eq", "dormant"), {"stage": 3}, None),
    (leaf("stage", "ne", "dormant"), {}, None),
    (leaf("stage", "lt", "\U00010000"), {"stage": "\uffff"}, True),  # bytes of UTF-8, not UTF-16 units
    (leaf("stage", "eq", "é"), {"stage": "e\u0301"}, False),  # no normalisation
    (leaf("stage", "starts_with", "d"), {"stage": "dormant"}, True),
    (leaf("stage", "contains", "%"), {"stage": "100"}, False),  # no wildcards
    (leaf("orders", "eq", 1), {"orders": 1.0}, True),
    (leaf("orders", "eq", 1), {"orders": True}, None),  # a boolean is not a number
    (leaf("orders", "ne", 1), {"orders": math.nan}, None),
    (leaf("orders", "lt", 1), {"orders": -math.inf}, True),
    (leaf("orders", "gte", 3), {"orders": 10**400}, True),
    (leaf("orders", "between", [1, 3]), {"orders": 3}, True),
    (leaf("orders", "between", [1, 3]), {"orders": 3.0000001}, False),
    (leaf("orders", "not_in", [1, 2]), {"orders": 2.0}, False),
    (leaf("vip", "ne", True), {"vip": False}, True),
    (leaf("vip", "eq", True), {"vip": 1}, None),
    (leaf("last_order_at", "gte", "2026-03-03"), {"last_order_at": "2026-03-03T08:00:00+08:00"}, True),
    (leaf("last_order_at", "gte", "2026-03-03"), {"last_order_at": "2026-03-03T07:59:59+08:00"}, False),
    (leaf("last_order_at", "gte", "2026-03-03"), {"last_order_at": "3 March"}, None),
    (leaf("tags", "contains", "sms"), {"tags": ["push", "sms"]}, True),
    (leaf("tags", "contains", "1"), {"tags": [1, None]}, False),
    (leaf("tags", "contains", "sms"), {"tags": "sms"}, None),
    (leaf("stage", "exists"), {"stage": ""}, True),
    (leaf("stage", "exists"), {"stage": 3}, False),
    (leaf("stage", "exists", False), {}, True),
    ({"not": leaf("stage", "eq", "x")}, {}, None),
    ({"all": [leaf("stage", "eq", "x"), leaf("vip", "eq", True)]}, {"vip": False}, False),
    ({"all": [leaf("stage", "eq", "x"), leaf("vip", "eq", True)]}, {"vip": True}, None),
    ({"any": [leaf("stage", "eq", "x"), leaf("vip", "eq", True)]}, {"vip": True}, True),
    ({"any": [leaf("stage", "eq", "x"), leaf("vip", "eq", True)]}, {"vip": False}, None),
]


@pytest.mark.parametrize(("rule", "attributes", "answer"), ANSWERS)
def test_answers(rule: Any, attributes: dict[str, Any], answer: bool | None) -> None:
    assert compile_python(parse(rule, TYPES))(attributes, NOW) is answer


def test_days_are_whole_periods_of_86400_seconds() -> None:
    check = compile_python(parse(leaf("last_order_at", "days_since", gte=30, lte=59), TYPES))
    start = to_us("2026-01-01")
    assert start is not None
    for now, answer in [
        (start + 30 * DAY_US - 1, False),
        (start + 30 * DAY_US, True),
        (start + 60 * DAY_US - 1, True),
        (start + 60 * DAY_US, False),
        (start - 1, False),
    ]:
        assert check({"last_order_at": "2026-01-01"}, now) is answer
    tomorrow = compile_python(parse(leaf("last_order_at", "days_since", lte=-1), TYPES))
    assert tomorrow({"last_order_at": from_us(NOW + 1)}, NOW) is True
    assert tomorrow({"last_order_at": from_us(NOW)}, NOW) is False


@pytest.mark.parametrize("text", NOT_DATES)
def test_what_is_no_date(text: str) -> None:
    assert to_us(text) is None


def test_dates_are_utc() -> None:
    assert to_us("2026-03-03") == to_us("2026-03-03T00:00Z") == to_us("2026-03-03 08:00:00.000000+08:00")
    assert to_us("1969-12-31T23:59:59.999999") == -1


def test_yaml_dates_are_accepted_as_written() -> None:
    for value in (date(2026, 3, 3), datetime(2026, 3, 3, tzinfo=UTC)):
        assert parse(leaf("last_order_at", "eq", value), TYPES).root == parse(
            leaf("last_order_at", "eq", "2026-03-03"), TYPES
        ).root  # fmt: skip


def test_the_first_missing_attribute_is_named() -> None:
    rule = parse(
        {"all": [leaf("vip", "eq", True), {"any": [leaf("stage", "eq", "x"), leaf("orders", "gt", 1)]}]}, TYPES
    )
    assert rule.attributes == ("vip", "stage", "orders")
    assert first_unknown(rule, {"vip": True, "orders": 0}, NOW) == "stage"
    assert first_unknown(rule, {"vip": True, "stage": "y"}, NOW) == "orders"
    assert first_unknown(rule, {"vip": False}, NOW) is None


def test_undeclared_types_follow_from_the_value() -> None:
    row = {"channel": "app", "items": 3, "gift": True, "at": "2026-01-01"}
    for rule in (
        leaf("channel", "in", ["app", "web"]),
        leaf("items", "between", [1, 3]),
        leaf("gift", "eq", True),
        leaf("at", "days_since", gte=1),
        leaf("at", "exists"),
        leaf("gone", "exists", False),
    ):
        assert compile_python(parse(rule))(row, NOW) is True
