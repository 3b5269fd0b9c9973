"""What is said about members: the latest statement of each attribute counts, whatever the order of arrival."""

from __future__ import annotations

import json
import random

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from experiments.log.absorb import Absorbed, absorb
from experiments.log.dead_letters import DEAD_LETTER_REASONS
from experiments.log.rows import TraitsRow
from experiments.log.traits import FUTURE_US, Known, Statement
from experiments.store import Store
from experiments.store.log_tables import dead_letters, members
from tests.experiments.log_samples import NOON_US

VALUES = st.none() | st.sampled_from(["new", "active", 1, 2, True, False])
SAYINGS = st.lists(
    st.tuples(st.integers(0, 5), st.dictionaries(st.sampled_from("abc"), VALUES), st.none() | st.booleans()),
    max_size=12,
)


def traits(unit: str, at: int, attributes: object, opted_out: bool | None = None, **changes: object) -> TraitsRow:
    values: dict[str, object] = {"source": "cdp", "unit_type": "member", "unit": unit, "at": at, "received_at": at}
    return TraitsRow(
        **(values | {"attributes": json.dumps(attributes), "opted_out": opted_out} | changes)  # type: ignore[arg-type]
    )


@given(SAYINGS, st.randoms())
def test_the_order_of_statements_does_not_matter(
    sayings: list[tuple[int, dict[str, object], bool | None]], shuffle: random.Random
) -> None:
    said = [Statement("member", "m", at, attributes, opted_out) for at, attributes, opted_out in sayings]
    one, other = Known(), Known()
    for statement in said:
        one.take(statement)
    shuffle.shuffle(said)
    for statement in [*said, *said]:
        other.take(statement)
    assert one == other
    for name in "abc":
        latest = max((at for at, attributes, _ in sayings if name in attributes), default=None)
        assert one.stated_at.get(name) == latest
        assert one.attributes.get(name) in [a.get(name) for at, a, _ in sayings if at == latest] + [None]


def stored(store: Store) -> dict[str, tuple[object, bool]]:
    with store.read() as connection:
        found = connection.execute(sa.select(members)).all()
    return {row.unit: (json.loads(row.attributes), bool(row.opted_out)) for row in found}


def test_statements_reach_the_store_in_any_order_and_any_batches(store: Store) -> None:
    rows = [
        traits("m-1", NOON_US, {"stage": "dormant", "tier": "gold"}),
        traits("m-1", NOON_US + 5, {"stage": "active"}, opted_out=True),
        traits("m-1", NOON_US + 3, {"stage": "new", "tier": None}),
        traits("m-1", NOON_US - 9, {"tier": "silver"}, opted_out=False),
        traits("小明", NOON_US, {"stage": "dormant"}),
    ]
    shuffle = random.Random(7)
    for _ in range(5):
        with store.begin() as connection:
            connection.execute(members.delete())
        shuffle.shuffle(rows)
        for begin in range(0, len(rows), 2):
            with store.begin() as connection:
                absorb(connection, rows[begin : begin + 2], NOON_US)
        assert stored(store) == {"m-1": ({"stage": "active"}, True), "小明": ({"stage": "dormant"}, False)}
    with store.begin() as connection:
        assert absorb(connection, rows, NOON_US) == Absorbed(duplicates=5), "a repeat changes nothing"


def test_a_statement_from_the_future_counts_from_its_arrival(store: Store) -> None:
    far = traits("m-1", NOON_US + 10 * FUTURE_US, {"stage": "wrong"}, received_at=NOON_US)
    with store.begin() as connection:
        absorb(connection, [far, traits("m-1", NOON_US + 60_000_000, {"stage": "right"})], NOON_US)
    assert stored(store) == {"m-1": ({"stage": "right"}, False)}


def test_attributes_that_cannot_be_read_are_a_dead_letter_without_their_text(store: Store) -> None:
    bad = TraitsRow("cdp", "member", "m-1", NOON_US, NOON_US, "[1, 'a@example.com']")
    with store.begin() as connection:
        assert absorb(connection, [bad, traits("m-2", NOON_US, {"a": 1})], NOON_US).dead_letters == 1
    with store.read() as connection:
        (letter,) = connection.execute(sa.select(dead_letters))
    assert letter.reason in DEAD_LETTER_REASONS
    assert (letter.kind, letter.payload) == ("member", "{}")
    assert stored(store) == {"m-2": ({"a": 1}, False)}
