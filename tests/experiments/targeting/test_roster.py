"""Who is on a list: each member once, opt-outs whoever tells them, text in the encodings that shops write."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.errors import InputError
from experiments.log.absorb import absorb
from experiments.log.rows import AliasRow, TraitsRow
from experiments.store import Store
from experiments.targeting import roster

TEXT = (
    "member_id,等级,tier,opted_out\n"
    "m-1,金,gold,\nm-2,,basic,是\nm-1,银,basic,\n,金,gold,\nli@example.com,金,gold,no\nm-3,银,,no\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gzip"])
def test_a_csv_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(gzip.compress(TEXT.encode()) if encoding == "gzip" else TEXT.encode(encoding))
    found = roster.of_file(path, "the list", ("等级", "age"))
    assert found.units == ["m-1", "m-2", "m-3"]
    assert found.attributes["等级"].tolist() == ["金", None, "银"]
    assert found.attributes["age"].tolist() == [None] * 3
    assert found.opted_out.tolist() == [False, True, False]
    assert found.left_out == {"repeated": 1, "invalid_unit": 1, "personal_id": 1}
    assert found.missing == {"等级": 1, "age": 3}


def test_parquet_keeps_types_and_an_opt_out_in_a_later_row_counts(tmp_path: Path) -> None:
    table = pa.table({"unit": ["a", "b", "a"], "age": [30.5, None, 7.0], "vip": [True, False, None],
                      "opted_out": [False, False, True]})  # fmt: skip
    pq.write_table(table, tmp_path / "list.parquet")
    found = roster.of_file(tmp_path / "list.parquet", "the list", ("age", "vip"))
    assert found.units == ["a", "b"]
    assert found.attributes["age"].tolist() == ["30.5", None]
    assert found.attributes["vip"].tolist() == ["true", "false"]
    assert found.opted_out.tolist() == [True, False]


def test_what_cannot_be_read_is_said_without_the_path_or_an_id(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("unit,opted_out\nm-1,perhaps\n")
    with pytest.raises(InputError, match=r"^the list, row 1, column opted_out: 'perhaps' is neither yes nor no"):
        roster.of_file(path, "the list", ())
    path.write_text("who,tier\nm-1,gold\n")
    with pytest.raises(InputError, match=r"^the list: which column is the member's id"):
        roster.of_file(path, "the list", ())
    path.write_text("unit,tier\n,gold\n")
    with pytest.raises(InputError, match=r"^the list: has no row with a usable member id"):
        roster.of_file(path, "the list", ())


def test_a_member_known_by_several_ids_is_on_the_list_once_and_any_ids_opt_out_counts(
    store: Store, tmp_path: Path
) -> None:
    told: list[Any] = [AliasRow("crm", "member", "app-1", "m-1", 1, 1), AliasRow("crm", "member", "app-2", "m-2", 1, 1)]
    told += [TraitsRow("crm", "member", "app-2", 1, 1, "{}", True)]
    with store.begin() as connection:
        absorb(connection, told, 2)
    path = tmp_path / "list.csv"
    path.write_text("unit\nm-1\nm-2\napp-1\nm-3\n")
    found = roster.each_once(store, roster.of_file(path, "the list", ()), "member")
    assert found.units == ["m-1", "m-2", "m-3"]
    assert found.opted_out.tolist() == [False, True, False]
    assert found.left_out == {"repeated": 1}


def test_stored_members_fill_what_the_list_lacks_and_their_opt_outs_count(store: Store, tmp_path: Path) -> None:
    told = [
        TraitsRow("crm", "member", unit, 1, 1, json.dumps(held), out)
        for unit, held, out in (("m-1", {"tier": "basic", "age": 40}, False), ("m-2", {"age": 2.5, "vip": True}, True))
    ]
    with store.begin() as connection:
        absorb(connection, told, 2)
    path = tmp_path / "list.csv"
    path.write_text("unit,tier\nm-1,gold\nm-2,\nm-3,\n")
    found = roster.with_stored(store, roster.of_file(path, "the list", ("tier", "age", "vip")), "member")
    assert {name: values.tolist() for name, values in found.attributes.items()} == {
        "tier": ["gold", None, None],
        "age": ["40", "2.5", None],
        "vip": [None, "true", None],
    }
    assert found.opted_out.tolist() == [False, True, False]
