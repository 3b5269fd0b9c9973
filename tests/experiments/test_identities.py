"""Links of ids: groups that depend on the links alone, never on which came first."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa

from experiments.log.absorb import Absorbed, absorb
from experiments.log.dead_letters import DEAD_LETTER_REASONS
from experiments.log.identities import MAX_GROUP
from experiments.log.rows import AliasRow
from experiments.store import Store
from experiments.store.log_tables import dead_letters, identities, links
from tests.experiments.log_samples import NOON_US


def alias(unit: str, other: str, at: int = NOON_US, unit_type: str = "member") -> AliasRow:
    return AliasRow("cdp", unit_type, unit, other, at, at + 5)


def take(store: Store, rows: list[AliasRow]) -> Absorbed:
    with store.begin() as connection:
        return absorb(connection, rows, NOON_US)


def roots(store: Store) -> dict[tuple[str, str], str]:
    with store.read() as connection:
        return {(row.unit_type, row.unit): row.root for row in connection.execute(sa.select(identities))}


def components(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The roots that the links imply, the simple way: spread along links until nothing changes."""
    groups = {unit: {unit} for pair in pairs for unit in pair}
    for one, other in pairs:
        joined = groups[one] | groups[other]
        for unit in joined:
            groups[unit] = joined
    return {unit: min(group) if len(group) <= MAX_GROUP else unit for unit, group in groups.items()}


def test_the_root_is_the_least_id_of_all_that_hang_together(store: Store) -> None:
    assert take(store, [alias("m-3", "m-2"), alias("m-2", "m-1"), alias("小明", "m-9")]).links == 3
    assert take(store, [alias("m-1", "m-2"), alias("m-5", "m-5")]) == Absorbed(duplicates=2), "either way round"
    assert take(store, [alias("小明", "m-3", at=NOON_US - 7)]).links == 1
    assert roots(store) == dict.fromkeys([("member", u) for u in ("m-1", "m-2", "m-3", "m-9", "小明")], "m-1")
    take(store, [alias("m-3", "x", unit_type="device")])
    assert roots(store)["device", "m-3"] == "m-3", "ids of another type are other ids"


def test_groups_do_not_depend_on_the_order_of_links(store: Store) -> None:
    shuffle = random.Random(11)
    for trial in range(4):
        names = [f"{trial}-{n}" for n in range(240)]
        pairs = [tuple(shuffle.sample(names[:90], 2)) for _ in range(70)]  # large groups too
        pairs += [tuple(shuffle.sample(names[90:], 2)) for _ in range(60)]
        expected = components(pairs)  # type: ignore[arg-type]
        for _ in range(3):
            with store.begin() as connection:
                for table in (identities, links):
                    connection.execute(table.delete())
            shuffle.shuffle(pairs)
            step = shuffle.choice([1, 7, 200])
            for begin in range(0, len(pairs), step):
                take(store, [alias(one, other) for one, other in pairs[begin : begin + step]])
            assert {unit: root for (_, unit), root in roots(store).items()} == expected
        assert max(len([u for u in expected if expected[u] == r]) for r in expected.values()) > 1


def test_more_than_fifty_ids_are_nobody(store: Store) -> None:
    assert take(store, [alias("till", f"m-{n:03d}") for n in range(MAX_GROUP - 1)]).dead_letters == 0
    assert set(roots(store).values()) == {"m-000"}
    assert take(store, [alias("till", "m-999")]).dead_letters == 1
    assert all(unit == root for (_, unit), root in roots(store).items()), "each counts for itself"
    assert take(store, [alias("till", "m-999")]).dead_letters == 0, "kept once"
    assert take(store, [alias("a", "b"), alias("b", "m-001")]).dead_letters == 1
    assert roots(store)["member", "a"] == "a"
    with store.read() as connection:
        letters = connection.execute(sa.select(dead_letters)).all()
    assert {(row.kind, row.reason) for row in letters} == {("alias", "group_too_large")}
    assert "group_too_large" in DEAD_LETTER_REASONS


@pytest.mark.parametrize(
    "generic", ["null", "Undefined", "[object Object]", "0", "-1", " guest ", "NaN", "None", "true"]
)
def test_ids_that_stand_for_many_are_not_linked(generic: str, store: Store) -> None:
    assert take(store, [alias(generic, "m-1"), alias("m-2", generic)]).dead_letters == 2
    assert roots(store) == {}
    with store.read() as connection:
        assert {row.reason for row in connection.execute(sa.select(dead_letters))} == {"generic_id"}
