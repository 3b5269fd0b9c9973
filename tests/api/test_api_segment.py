"""Segment's messages: what becomes of each, what is refused and why, and what is never kept."""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.plan import ProjectPlan
from api.errors import Problem
from api.hot.event_row import BadEventError, Rejected
from api.hot.inflate import inflated
from api.hot.items import split_items
from api.hot.segment import MAX_MESSAGES, parse, read_messages
from api.hot.segment_map import SKEW_US, Arrival, read_message
from experiments.log.dead_letters import DEAD_LETTER_REASONS
from experiments.log.rows import AliasRow, EventRow, TraitsRow

NOON = 1_772_539_200_000_000
"""2026-03-03 12:00 UTC."""
SHOP = ProjectPlan("CNY", stored={"stage": "string", "orders": "number", "vip": "boolean", "labels": "list"})
ARRIVAL = Arrival("shop", NOON, SHOP)
TRACK: dict[str, Any] = {
    "type": "track",
    "messageId": "m-1",
    "userId": "u-1",
    "event": "Order Completed",
    "timestamp": "2026-03-03T12:00:00.000Z",
    "properties": {"order_id": "o-1", "revenue": 199.5, "currency": "CNY"},
    "context": {"ip": "10.0.0.1", "library": {"name": "x"}, "traits": {"email": "li@example.com"}},
}
IDENTIFY: dict[str, Any] = {
    "type": "identify",
    "messageId": "m-2",
    "userId": "u-1",
    "timestamp": "2026-03-03T12:00:00Z",
    "traits": {"stage": "dormant", "email": "li@example.com", "name": "Li Lei", "orders": 3},
}


def read(
    message: dict[str, Any], arrival: Arrival = ARRIVAL, **changes: object
) -> EventRow | TraitsRow | AliasRow | None:
    return read_message(json.dumps({**message, **changes}).encode(), arrival)[0]


def track(arrival: Arrival = ARRIVAL, properties: object = None, **changes: object) -> EventRow:
    row = read(TRACK, arrival, **({"properties": properties} if properties is not None else {}), **changes)
    assert isinstance(row, EventRow)
    return row


def refused(*messages: object, arrival: Arrival = ARRIVAL) -> list[Rejected]:
    raw = [msgspec.Raw(json.dumps(message).encode()) for message in messages]
    rows, keys, rejected = read_messages(raw, arrival)
    assert (rows, keys) == ([], [])
    return rejected


def test_an_order() -> None:
    assert track() == EventRow(
        "shop", "m-1", "Order Completed", "member", "u-1", NOON, NOON, "o-1", 19_950, "CNY", None, None,
        '{"currency":"CNY","order_id":"o-1","revenue":199.5}',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "properties", "name", "object_id", "minor"),
    [
        ("Order Completed", {"order_id": 7, "total": 20, "revenue": 18, "value": 17}, "Order Completed", "7", 1700),
        ("Order Completed", {"orderId": "a", "total": 20, "revenue": "18.00"}, "Order Completed", "a", 1800),
        ("Order Completed", {"checkout_id": "c", "total": 20}, "Order Completed", "c", 2000),
        ("Order Completed", {"order_id": "", "checkout_id": "c"}, "Order Completed", "c", None),
        ("Completed Order", {"order_id": "a"}, "Order Completed", "a", None),
        ("Order Refunded", {"order_id": "a", "total": 5}, "Order Refunded", "a", 500),
        ("Order Canceled", {"order_id": "a"}, "Order Cancelled", "a", None),
        ("Order Updated", {"order_id": "a", "revenue": 30.299999999999997}, "Order Updated", "a", 3030),
        ("Coupon Redeemed", {"order_id": "a", "discount": 20, "total": 80}, "Coupon Redeemed", "a", 2000),
        ("Coupon Applied", {"order_id": "a", "discount": 20}, "Coupon Redeemed", "a", 2000),
        ("Coupon Applied", {"cart_id": "a", "discount": 20}, "Coupon Applied", None, 2000),
        ("Product Viewed", {"order_id": "a", "value": "high"}, "Product Viewed", None, None),
        ("Product Viewed", {"value": 3, "currency": "cny"}, "Product Viewed", None, 300),
        ("Product Viewed", {"price": 3, "currency": "USD"}, "Product Viewed", None, None),
        ("Video Played", {"value": [1]}, "Video Played", None, None),
    ],
)
def test_what_an_event_becomes(
    event: str, properties: object, name: str, object_id: str | None, minor: int | None
) -> None:
    row = track(event=event, properties=properties)
    assert (row.name, row.object_id, row.value_minor) == (name, object_id, minor)
    assert json.loads(row.properties) == properties, "all of them stay as they came"


@pytest.mark.parametrize("event", ["Experiment Viewed", "$exposure"])
@pytest.mark.parametrize("field", ["experiment", "experiment_id", "experimentId"])
def test_an_exposure_names_its_experiment(event: str, field: str) -> None:
    row = track(event=event, properties={field: "winback", "decision_id": "d" * 32, "variation_id": "a"})
    assert (row.name, row.experiment, row.decision_id) == (event, "winback", "d" * 32)


def test_who_it_is_about() -> None:
    assert track(userId=None, anonymousId="a-1").unit == "a-1"
    assert track(userId="", anonymousId="a-1").unit == "a-1"
    assert track(userId=42).unit == "42"
    assert track(context={"unit_type": "household"}).unit_type == "household"
    assert track(properties={"unit_type": "store"}, context={"unit_type": "household"}).unit_type == "store"


def test_a_clock_that_is_off_by_little_is_believed() -> None:
    for sent in ("2026-03-03T12:00:05Z", "2026-03-03T12:09:59Z", "2026-03-03T11:50:00Z", None):
        row = track(sentAt=sent)
        assert (row.at, row.stated_at) == (NOON, None)
    batch = msgspec.structs.replace(ARRIVAL, sent_at="2026-03-03T12:09:00Z")
    assert track(batch).at == NOON


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_clock_that_is_off_by_much_is_corrected(hours: int) -> None:
    """The sender's day is another one; the event was two minutes before it was sent."""
    received = NOON + 120_000_000 - hours * 3_600_000_000
    arrival = Arrival("shop", received, SHOP, sent_at="2026-03-03T12:02:00Z")
    row = track(arrival)
    assert (row.at, row.stated_at) == (received - 120_000_000, NOON)
    assert row.day == NOON // 86_400_000_000, "a repeat is found by what was stated"
    again = track(msgspec.structs.replace(arrival, received_at=received + 7_000_000))
    assert again.day == row.day
    assert again.at != row.at
    assert abs(received - NOON - 120_000_000) > SKEW_US


def test_the_message_says_itself_when_it_was_sent() -> None:
    arrival = Arrival("shop", NOON, SHOP, sent_at="2026-03-03T18:00:00Z")
    assert track(arrival, sentAt="2026-03-03T12:00:01Z").stated_at is None
    assert track(arrival, sentAt="nonsense").at == NOON


def test_the_time_that_counts() -> None:
    assert track(originalTimestamp="2026-03-01T00:00:00Z").at == NOON
    assert track(timestamp=None, originalTimestamp="2026-03-03T11:00:00Z").at == NOON - 3_600_000_000
    assert track(timestamp=None).at == NOON, "else its arrival"


def test_a_message_without_an_id_gets_that_of_its_content() -> None:
    without = {name: value for name, value in TRACK.items() if name != "messageId"}
    first, second = read(without), read(without)
    assert isinstance(first, EventRow)
    assert first == second
    assert len(first.event_id) == 32
    (nothing,) = refused({**without, "timestamp": None})
    assert "could not be told from a new event" in nothing.detail


def test_identify_keeps_declared_attributes_only() -> None:
    row = read(IDENTIFY)
    assert row == TraitsRow("shop", "member", "u-1", NOON, NOON, '{"orders":3,"stage":"dormant"}', None)
    assert read(IDENTIFY, traits={"email": "li@example.com"}) is None, "there is nothing to keep"
    gone = read(IDENTIFY, traits={"stage": None, "opted_out": True})
    assert isinstance(gone, TraitsRow)
    assert (gone.attributes, gone.opted_out) == ('{"stage":null}', True)
    rudder = {name: value for name, value in IDENTIFY.items() if name != "traits"}
    assert read({**rudder, "context": {"traits": {"vip": True}}}) == TraitsRow(
        "shop", "member", "u-1", NOON, NOON, '{"vip":true}', None
    )
    assert read(IDENTIFY, Arrival("shop", NOON, None)) is None, "no project declares anything"


def test_alias_links_two_ids() -> None:
    alias = {"type": "alias", "messageId": "m-3", "previousId": "a-1", "userId": "u-1", "timestamp": TRACK["timestamp"]}
    assert read(alias) == AliasRow("shop", "member", "a-1", "u-1", NOON, NOON)
    assert read(alias, previousId="u-1") is None
    assert refused({**alias, "previousId": "null"})[0].code == "generic_id"
    assert refused({**alias, "userId": None})[0].detail.startswith("/userId: is missing")


@pytest.mark.parametrize("kind", ["group", "page", "screen"])
def test_what_is_taken_and_not_kept(kind: str) -> None:
    assert read({"type": kind, "userId": "u-1"}) is None


@pytest.mark.parametrize(
    ("message", "reason", "detail"),
    [
        ({}, "invalid", "/type: is missing"),
        ({"type": "delete"}, "invalid", "/type: is none of track"),
        ({**TRACK, "event": None}, "invalid", "/event: is missing"),
        ({**TRACK, "event": "x" * 201}, "invalid", "/event: has 201 characters"),
        ({**TRACK, "event": 5}, "invalid", "/event: expected `str | null`, got `int`"),
        ({**TRACK, "messageId": "x" * 257}, "invalid", "/messageId: has 257 characters"),
        ({**TRACK, "userId": None}, "invalid", "/userId: is missing"),
        ({**TRACK, "userId": 1.5}, "invalid", "/userId: expected"),
        ({**TRACK, "userId": "数" * 86}, "invalid", "258 bytes"),
        ({**TRACK, "userId": "a\x00"}, "invalid", "NUL"),
        ({**TRACK, "timestamp": "yesterday"}, "invalid", "/timestamp: is not an ISO 8601 time"),
        ({**TRACK, "timestamp": "2026-03-03T12:00:00"}, "invalid", "/timestamp: has no time zone"),
        ({**TRACK, "timestamp": 1772539200}, "invalid", "/timestamp: expected"),
        ({**TRACK, "timestamp": "1970-01-01T00:00:00Z"}, "invalid", "before the year 2000"),
        ({**TRACK, "properties": [1]}, "invalid", "/properties: expected"),
        ({**TRACK, "properties": {"a": "\x00"}}, "invalid", "/properties: contains a NUL"),
        ({**TRACK, "properties": {"order_id": "x" * 257}}, "invalid", "/properties/order_id: has 257"),
        ({**TRACK, "properties": {"revenue": "12,50"}}, "invalid", "/properties/revenue: is not a decimal number"),
        ({**TRACK, "properties": {"revenue": True}}, "invalid", "/properties/revenue: is not an amount"),
        ({**TRACK, "properties": {"revenue": 5, "currency": "USD"}}, "unknown_currency", "counts in CNY"),
        ({**TRACK, "event": "Tip", "properties": {"value": 5, "currency": "USD"}}, "unknown_currency", "counts in CNY"),
        ({**TRACK, "properties": {"text": "x" * 40_000}}, "invalid", "exceeds 32,768 bytes"),
        ({**IDENTIFY, "traits": {"stage": 5}}, "invalid", "/traits/stage: is no string"),
        ({**IDENTIFY, "traits": {"orders": True}}, "invalid", "/traits/orders: is no number"),
        ({**IDENTIFY, "traits": {"labels": [1]}}, "invalid", "/traits/labels: is no list"),
        ({**IDENTIFY, "traits": {"opted_out": "yes"}}, "invalid", "/traits/opted_out: is neither true nor false"),
        ("text", "invalid", "expected `object`"),
        (7, "invalid", "expected `object`"),
    ],
)  # fmt: skip
def test_a_bad_message_says_what_is_wrong(message: object, reason: str, detail: str) -> None:
    (rejected,) = refused(message)
    assert rejected.code == reason
    assert reason in DEAD_LETTER_REASONS
    assert detail in rejected.detail
    letter = rejected.letter("shop", NOON)
    assert len(letter.payload) <= 32_768
    assert "example.com" not in letter.payload, "neither of the context nor of the traits"
    assert "10.0.0.1" not in letter.payload


def test_refused_messages_lose_the_write_key_and_what_is_not_declared() -> None:
    key = "eqp_live_0123456789ab_" + "s" * 43
    bad = {**IDENTIFY, "writeKey": key, "traits": {**IDENTIFY["traits"], "stage": 5, "phone": "13800138000"}}
    (rejected,) = refused(bad)
    assert rejected.kind == "member"
    assert json.loads(rejected.raw)["traits"] == {"stage": 5, "orders": 3}
    assert "eqp_live" not in rejected.raw.decode()
    assert rejected.message_id == "m-2"


@pytest.mark.parametrize("unit", ["li.lei@example.com", "13800138000", "+49 30 901820"])
def test_personal_ids_are_refused_and_not_kept(unit: str) -> None:
    alias = {**TRACK, "type": "alias", "previousId": unit}
    for message in ({**TRACK, "userId": unit, "properties": {"order_id": unit}}, {**IDENTIFY, "userId": unit}, alias):
        (rejected,) = refused(message)
        assert rejected.code == "personal_id"
        assert unit not in rejected.raw.decode()
        assert unit not in rejected.detail
    allowed = msgspec.structs.replace(ARRIVAL, project=ProjectPlan("CNY", allow_personal_ids=True))
    assert track(allowed, userId=unit).unit == unit


@pytest.mark.parametrize("unit", ["li.lei@example.com", 13800138000])
def test_personal_ids_are_not_kept_whatever_else_is_wrong(unit: str | int) -> None:
    alias = {**TRACK, "type": "alias", "previousId": unit, "timestamp": "yesterday"}
    for message in ({**TRACK, "userId": unit, "event": 5}, {**TRACK, "anonymousId": unit, "timestamp": "?"}, alias):
        (rejected,) = refused(message)
        assert rejected.code == "invalid"
        assert str(unit) not in rejected.raw.decode()
    (rejected,) = refused({**TRACK, "userId": unit})
    assert (rejected.code, str(unit) in rejected.raw.decode()) == ("personal_id", False)


def test_one_bad_message_leaves_the_others_alone() -> None:
    messages = [TRACK, {**TRACK, "event": None}, {**TRACK, "messageId": "m-9"}, {"type": "page"}]
    raw = [msgspec.Raw(json.dumps(message).encode()) for message in messages]
    raw.append(msgspec.Raw(b'{"type":"track","userId":"\\ud800"}'))
    raw.append(msgspec.Raw(b'{"type":"track","properties":' + b'{"a":' * 2_000 + b"1" + b"}" * 2_001))
    rows, keys, rejected = read_messages(raw, ARRIVAL)
    assert [key[2] for key in keys] == ["m-1", "m-9"]
    assert len(rows) == 2
    assert [(item.index, item.code) for item in rejected] == [(1, "invalid"), (4, "unreadable"), (5, "unreadable")]


# ---- the outer document


def test_the_address_says_what_a_single_message_is() -> None:
    body = json.dumps({**TRACK, "type": "page", "writeKey": "k"}).encode()
    messages, sent_at, key = parse(body, "track")
    assert (sent_at, key, len(messages)) == (None, "k", 1)
    row, _ = read_message(messages[0], msgspec.structs.replace(ARRIVAL, kind="track"))
    assert isinstance(row, EventRow)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is empty"),
        (b"{", 400, "not valid JSON"),
        (b"\xef\xbb\xbf{}", 400, "byte-order mark"),
        ('{"batch":[]}'.encode("utf-16"), 400, "not UTF-8"),
        (b'{"sentAt":NaN,"batch":[]}', 400, "NaN and Infinity are not numbers"),
        (b'{"batch":[1,]}', 400, "not valid JSON"),
        (b'{"batch":' + b"[" * 100_000, 400, "nested too deeply"),
        (b"[]", 400, "not a batch"),
        (b"{}", 400, "not a batch"),
        (b'{"batch":{}}', 400, "not a batch"),
        (b'{"batch":[' + b"1," * MAX_MESSAGES + b"1]}", 413, "5,001 messages"),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(body: bytes, status: int, message: str) -> None:
    with pytest.raises(Problem) as caught:
        parse(body, None)
    assert (caught.value.status, message in caught.value.detail) == (status, True), caught.value.detail


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (gzip.compress(b"x" * 1_001), 413, "exceeds 1,000 bytes when it is unpacked"),
        (gzip.compress(b"x" * 600) + gzip.compress(b"x" * 600), 413, "exceeds"),
        (gzip.compress(b"x" * 50_000_000), 413, "exceeds"),
        (gzip.compress(b"x" * 900)[:-9], 400, "cut off"),
        (gzip.compress(b"x" * 900) + b"rest", 400, "broken"),
        (b"\x1f\x8b" + b"x" * 20, 400, "broken"),
    ],
    ids=["one byte", "two members", "bomb", "cut off", "followed by something", "not gzip"],
)
def test_gzip_that_is_too_large_or_broken(body: bytes, status: int, message: str) -> None:
    with pytest.raises(Problem) as caught:
        inflated(body, 1_000)
    assert (caught.value.status, message in caught.value.detail) == (status, True), caught.value.detail
    assert inflated(gzip.compress(b"x" * 1_000), 1_000) == b"x" * 1_000


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    for kind in (None, "track"):
        with contextlib.suppress(Problem):  # every Problem of parse is a 4xx
            read_messages(parse(body, kind)[0], ARRIVAL)


SCALARS = st.none() | st.booleans() | st.floats() | st.text() | st.integers()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
FIELDS = st.sampled_from([*sorted(TRACK), "sentAt", "originalTimestamp", "anonymousId", "traits"])


@given(st.sampled_from([TRACK, IDENTIFY, {**TRACK, "type": "alias"}]), FIELDS, VALUES)
def test_any_value_in_any_field_is_refused_or_read(message: dict[str, Any], field: str, value: object) -> None:
    raw = msgspec.Raw(json.dumps({**message, field: value}).encode())
    _, _, rejected = read_messages([raw], ARRIVAL)
    for item in rejected:
        assert item.code in DEAD_LETTER_REASONS
        item.letter("shop", NOON).payload.encode()


@given(st.sampled_from(["value", "revenue", "total", "currency", "order_id", "experiment", "unit_type"]), VALUES)
def test_any_property_is_refused_or_read(name: str, value: object) -> None:
    for event in ("Order Completed", "Coupon Applied", "Visit"):
        with contextlib.suppress(BadEventError):
            read({**TRACK, "event": event, "properties": {name: value}})


POISON = [
    b'{"type":"track","userId":"\\ud800"}',
    b'{"type":"track","userId":NaN}',
    b'{"type":"track","userId":"\xff"}',
    b'{"properties":' + b'{"a":' * 4_000 + b"1" + b"}" * 4_001,
    b'{"type":"track" "userId":1}',
]


def test_a_message_that_no_parser_reads_is_refused_alone() -> None:
    good = json.dumps(TRACK).encode()
    for poison in POISON:
        body = b'{"batch": [%b, %b , %b], "writeKey": "k", "sentAt": "2026-03-03T12:00:00Z"}' % (good, poison, good)
        messages, sent_at, key = parse(body, None)
        assert (sent_at, key, len(messages)) == ("2026-03-03T12:00:00Z", "k", 3)
        rows, _, rejected = read_messages(messages, ARRIVAL)
        assert len(rows) == 2
        assert [(item.index, item.code) for item in rejected] == [(1, "unreadable")]
    letters = [read_messages([msgspec.Raw(poison)], ARRIVAL)[2][0].letter("shop", NOON) for poison in POISON]
    assert len({letter.id for letter in letters}) == len(POISON)


JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@given(st.lists(JSON, max_size=5), st.dictionaries(st.text().filter(lambda name: name != "batch"), JSON, max_size=3))
def test_items_are_told_apart_by_brackets_and_quotes(items: list[object], more: dict[str, object]) -> None:
    body = json.dumps({**more, "batch": items, "x": [[]]}, indent=1).encode()
    apart = split_items(body, "batch")
    assert apart is not None
    assert [json.loads(item) for item in apart[0]] == json.loads(json.dumps(items)) or "NaN" in body.decode()
    assert split_items(body[:-1], "batch") is None
    assert split_items(body, "other") is None or "other" in more
