"""Events as they come in: each is checked on its own, and a refusal says what is wrong without repeating ids."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.plan import ProjectPlan
from api.errors import Problem
from api.hot.event_row import BadEventError
from api.hot.events import parse_batch, read_event, read_events
from experiments.log.dead_letters import DEAD_LETTER_REASONS

NOW = 1_772_600_000_000_000
GOOD = {"name": "Order Completed", "event_id": "e-1", "unit": "m-1", "at": "2026-03-03T08:00:00+08:00"}


def event(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


CNY = ProjectPlan("CNY")


def read(raw: bytes, project: ProjectPlan | None = CNY) -> Any:
    return read_event(raw, source="shop", received_at=NOW, project=project)


def test_an_event_becomes_a_row() -> None:
    row = read(event(value="199.90", object_id="o-1", properties={"b": 1, "a": "赵"}))
    # 2026-03-03T00:00:00Z is day 20515 of the epoch: 20515 × 86,400 s.
    assert row.at == 20_515 * 86_400_000_000
    assert row.day == 20_515
    assert row.value_minor == 19_990
    assert row.currency == "CNY"
    assert row.properties == '{"a":"赵","b":1}'


@pytest.mark.parametrize(
    ("value", "minor"),
    [("0.10", 10), (0.1, 10), (-5, -500), ("1e2", 10_000), (19.99, 1_999), ("0", 0), (1_000_000.01, 100_000_001)],
)
def test_money_is_exact(value: object, minor: int) -> None:
    assert read(event(value=value)).value_minor == minor


def test_yen_have_no_decimals() -> None:
    assert read(event(value=120), ProjectPlan("JPY", minor_digits=0)).value_minor == 120
    with pytest.raises(BadEventError, match="more than 0 decimal places"):
        read(event(value="120.5"), ProjectPlan("JPY", minor_digits=0))


@pytest.mark.parametrize(
    ("raw", "reason", "message"),
    [
        (b"[1]", "invalid", "the event: expected `object`, got `array`"),
        (b'"x"', "invalid", "the event: expected `object`, got `str`"),
        (event(unit=5), "invalid", "/unit: expected `str`, got `int`"),
        (event(unit=""), "invalid", "unit id is empty"),
        (event(unit="x" * 257), "invalid", "unit id has 257 bytes"),
        (event(unit="a\x00b"), "invalid", "unit id contains a NUL"),
        (event(name=""), "invalid", "/name: is empty"),
        (event(name="x" * 201), "invalid", "/name: has 201 characters; at most 200"),
        (event(event_id=""), "invalid", "/event_id: is empty"),
        (event(object_id="o\x00"), "invalid", "/object_id: contains a NUL"),
        (event(at="yesterday"), "invalid", "/at: is not an ISO 8601 time"),
        (event(at="2026-03-03T08:00:00"), "invalid", "/at: has no time zone"),
        (event(at="1969-12-31T23:59:59Z"), "invalid", "/at: lies before the year 2000"),
        (event(at=1772524800), "invalid", "/at: expected `str`, got `int`"),
        (event(value="12,50"), "invalid", "/value: is not a decimal number"),
        (event(value="1.005"), "invalid", "/value: has more than 2 decimal places"),
        (event(value="1e999999999"), "invalid", "/value: is not a finite amount"),
        (event(value="Infinity"), "invalid", "/value: is not a finite amount"),
        (event(value=True), "invalid", "/value: expected `"),
        (event(currency="USD"), "unknown_currency", "this project counts in CNY"),
        (event(properties=[1]), "invalid", "/properties: expected `object`"),
        (event(properties={"a": "\x00"}), "invalid", "/properties: contains a NUL"),
        (event(prise="1"), "invalid", "/prise: there is no such field"),
        (b'{"name":"x"}', "invalid", "this field is required"),
        (b'{"name":"x","event_id":"\\ud800","unit":"m","at":"2026-03-03T08:00:00Z"}', "unreadable", "not valid JSON"),
        (event(properties={"a": "x" * 40_000}), "invalid", "exceeds 32,768 bytes"),
        (b'{"properties":' + b'{"a":' * 2_000 + b"1" + b"}" * 2_001, "unreadable", "not valid JSON"),
    ],
)  # fmt: skip
def test_a_bad_event_says_what_is_wrong(raw: bytes, reason: str, message: str) -> None:
    with pytest.raises(BadEventError) as caught:
        read(raw)
    assert caught.value.code == reason
    assert reason in DEAD_LETTER_REASONS
    assert message in str(caught.value)


def test_no_project_no_money() -> None:
    with pytest.raises(BadEventError, match="no currency yet"):
        read(event(value="1"), None)
    assert read(event(), None).value_minor is None


@pytest.mark.parametrize("unit", ["li.lei@example.com", "+49 30 901820", "13800138000"])
def test_a_personal_id_is_refused_and_not_kept(unit: str) -> None:
    batch = parse_batch(b'{"events":[' + event(unit=unit, object_id=unit, value="5") + b"]}")
    rows, rejected = read_events(batch, received_at=NOW, project=CNY)
    assert rows == []
    assert rejected[0].code == "personal_id"
    assert rejected[0].code in DEAD_LETTER_REASONS
    assert "set allow_personal_ids in the project" in rejected[0].detail
    assert unit not in rejected[0].detail
    kept = json.loads(rejected[0].raw)
    assert (kept["unit"], kept["object_id"], kept["event_id"]) == ("(withheld)", "(withheld)", "e-1")
    assert read(event(unit=unit), ProjectPlan("CNY", allow_personal_ids=True)).unit == unit
    assert read_events(batch, received_at=NOW, project=None)[0] == [], "no project allows nothing"


@pytest.mark.parametrize("wrong", [{"at": None}, {"name": ""}, {"colour": 1}, {"value": []}, {"event_id": 7}])
def test_a_personal_id_is_not_kept_whatever_else_is_wrong(wrong: dict[str, Any]) -> None:
    batch = parse_batch(b'{"events":[' + event(**{"unit": "li.lei@example.com", **wrong}) + b"]}")
    (rejected,) = read_events(batch, received_at=NOW, project=CNY)[1]
    assert rejected.code == "invalid"
    assert b"li.lei" not in rejected.raw
    (taken,) = read_events(batch, received_at=NOW, project=ProjectPlan("CNY", allow_personal_ids=True))[1]
    assert b"li.lei" in taken.raw


def test_a_personal_id_in_an_event_that_is_nested_deeply() -> None:
    deep = event(unit="li.lei@example.com")[:-1] + b',"properties":{"a":' + b"[" * 800 + b"]" * 800 + b"}}"
    rows, rejected = read_events(parse_batch(b'{"events":[' + deep + b"]}"), received_at=NOW, project=CNY)
    assert rows == []
    assert b"li.lei" not in rejected[0].raw


def test_a_bad_event_leaves_the_others_alone() -> None:
    batch = parse_batch(b'{"events":[' + event() + b',{"unit":"secret-7"},' + event(event_id="e-2") + b"]}")
    rows, rejected = read_events(batch, received_at=NOW, project=CNY)
    assert [row.event_id for row in rows] == ["e-1", "e-2"]
    assert [(item.index, item.code) for item in rejected] == [(1, "invalid")]
    assert rejected[0].raw == b'{"unit":"secret-7"}'
    assert "secret" not in rejected[0].detail


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is empty"),
        (b"{", 400, "not valid JSON"),
        (b"\xef\xbb\xbf{}", 400, "byte-order mark"),
        ('{"events":[]}'.encode("utf-16"), 400, "not UTF-8"),
        (b'{"source":NaN,"events":[]}', 400, "NaN and Infinity are not numbers"),
        (b'{"events":' + b"[" * 100_000, 400, "nested too deeply"),
        (b"[]", 422, "not a batch"),
        (b'{"events":{}}', 422, "not a batch"),
        (b"{}", 422, "not a batch"),
        (b'{"events":[],"source":"a b"}', 422, "source is not a name"),
        (b'{"event":[]}', 422, "not a batch"),
        (b'{"events":[' + b"1," * 5_000 + b"1]}", 413, "5,001 events"),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(body: bytes, status: int, message: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_batch(body)
    assert caught.value.status == status
    assert message in caught.value.detail


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    with contextlib.suppress(Problem):  # every Problem of parse_batch is a 4xx
        read_events(parse_batch(body), received_at=NOW, project=CNY)


SCALARS = st.none() | st.booleans() | st.floats() | st.text() | st.integers()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
FIELDS = [*sorted(GOOD), "value", "currency", "properties", "object_id"]


@given(VALUES, st.sampled_from(FIELDS))
def test_any_value_in_any_field_is_refused_or_read(value: object, field: str) -> None:
    with contextlib.suppress(BadEventError):
        read(json.dumps({**GOOD, field: value}).encode())
