"""A list in, a file out: what each row is told, once and for all."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from allocation.decide import decide
from allocation.decision import MemberState, OccasionError, decision_id
from api.cli import cli
from experiments.assignments import states
from experiments.assignments.asking import PastSendError, ask
from experiments.assignments.carry_out import carry_out
from experiments.assignments.request import LIST, RESULT, ListRequest, read_request
from experiments.assignments.running import NotRunningError
from experiments.errors import InputError
from experiments.jobs import files, queue
from experiments.log.absorb import absorb
from experiments.log.rows import AliasRow, DecisionRow, TraitsRow
from experiments.publishing import members
from experiments.publishing.publish import SnapshotFile, publish, publish_members
from experiments.settings import Settings
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.log_tables import conflicts, decisions
from tests.experiments.measuring import define, experiment, metric
from tests.experiments.small_shop import SECOND, walk

NOW = time.time_ns() // 1000

AUDIENCE = {"all": [
    {"attribute": "stage", "op": "eq", "value": "dormant"},
    {"attribute": "channel", "op": "in", "value": ["app", "sms"]},
]}  # fmt: skip
PROJECT = {
    "kind": "project",
    "name": "Shop",
    "currency": "CNY",
    "time_zone": "Asia/Shanghai",
    "attributes": {
        "stage": {"type": "string", "kept": "stored"},
        "channel": {"type": "string", "kept": "request"},
        "visits": {"type": "number", "kept": "request"},
    },
    "exclude": {"member": ["staff"]},
}
OFFER = {"kind": "offer", "key": "save", "name": "Save", "type": "fixed_coupon", "face_value": "5.00"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({}, data=str(tmp_path / "data"))


@pytest.fixture
def shop(store: Store, settings: Settings) -> Store:
    """A running experiment for dormant members, with a holdout, in a store whose members are published."""
    define(
        store,
        OFFER,
        metric("spend", "sum", value="value"),
        {"kind": "holdout", "key": "global", "name": "Global", "share": "10%"},
        experiment(
            {"primary": ["spend"]},
            variants=[{"key": "control"}, {"key": "a", "offer": "save"}],
            audience=AUDIENCE,
            overrides={"tester": "a"},
            breakdowns=["visits"],
            sticky="none",
        ),
        project=PROJECT,
    )
    walk(store, "winback", "review", "testing", "running", now=NOW)
    told = [TraitsRow("crm", "member", f"m-{i}", 1, 1, '{"stage":"dormant"}', i % 50 == 7) for i in range(2_000)]
    with store.begin() as connection:
        absorb(connection, told, NOW)
    publish(store, settings, NOW)
    return store


def put(store: Store, content: bytes, name: str = "list.csv", **fields: Any) -> ListRequest:
    """Keep a list without a queue, as an upload does."""
    import hashlib

    request = ListRequest("winback", hashlib.sha256(content).hexdigest(), **fields)
    files.save(store, request.job_id, LIST, [content], name=name)
    return request


def run(store: Store, settings: Settings, request: ListRequest) -> tuple[dict[str, Any], list[dict[str, str]]]:
    result = carry_out(store, settings, request, lambda done, total: None)
    return result, list(csv.DictReader(io.StringIO(answer(store, request).decode())))


def answer(store: Store, request: ListRequest) -> bytes:
    kept = files.find(store, request.job_id, RESULT)
    assert kept is not None
    return b"".join(files.read(store, kept))


def a_list(rows: int = 1_000, columns: Mapping[str, str] = {"channel": "app"}) -> bytes:
    header = ",".join(["unit", *columns])
    return "\n".join([header, *(",".join([f"m-{i}", *columns.values()]) for i in range(rows))]).encode() + b"\n"


def logged(store: Store) -> dict[str, Any]:
    with store.read() as connection:
        return {row.unit: row for row in connection.execute(sa.select(decisions))}


def test_everybody_is_told_what_deciding_says_and_the_log_holds_it(shop: Store, settings: Settings) -> None:
    request = put(shop, a_list(1_000), occasion="june", send_at=NOW + SECOND)
    result, rows = run(shop, settings, request)
    assert [row["unit"] for row in rows] == [f"m-{i}" for i in range(1_000)]
    snapshot = SnapshotFile(settings.snapshot_dir).load()
    held = logged(shop)
    at = {row.at for row in held.values()}
    assert len(at) == 1, "one moment for everybody"
    for i, row in enumerate(rows):
        state = MemberState({"stage": "dormant"}, opted_out=i % 50 == 7)
        expected = decide(
            snapshot, "winback", row["unit"], now=NOW, attributes={"channel": "app"}, state=state, occasion="june"
        )
        assert row["variant"] == (expected.variant or "")
        assert row["decision_id"] == (expected.decision_id or "")
        assert (row["reason"], row["holdout"]) == (expected.reason, expected.holdout or "")
        assert row["offer"] == ("save" if expected.variant == "a" else "")
        assert (row["unit"] in held) == expected.logged
        if expected.logged:
            found = held[row["unit"]]
            assert (found.source, found.send_at, found.occasion) == (f"list:{request.job_id}", NOW + SECOND, "june")
            assert found.variant == expected.variant
    assert result["rows"] == 1_000
    assert result["variants"] == {v: sum(r["variant"] == v for r in rows) for v in ("control", "a")}
    assert result["not_enrolled"] == {"opted_out": 20}
    assert result["held_out"] == sum(row["holdout"] == "global" for row in rows) > 50
    kept = files.find(shop, request.job_id, RESULT)
    assert kept is not None
    assert result["file"] == {
        "name": kept.name,
        "media_type": "text/csv; charset=utf-8",
        "bytes": kept.bytes,
        "sha256": kept.sha256,
    }


def test_nobody_is_dropped_silently_and_repeats_are_answered_alike(shop: Store, settings: Settings) -> None:
    text = (
        "member_id,channel,visits,opted_out\n"
        "m-1,app,3,\nm-2,mail,,\n,app,,\nm-1,mail,9,\nstaff,app,,\nli@example.com,app,,\n13800138000,app,,\n"
        f"{'x' * 300},app,,\nm-3,app,many,yes\nm-4,app,1e999,no\ntester,app,,\nstranger,app,,\nm-3,app,1,no\n"
    )
    request = put(shop, text.encode("gb18030"))
    result, rows = run(shop, settings, request)
    assert [row["reason"] for row in rows] == [
        rows[0]["reason"], "not_in_audience", "invalid_unit", rows[0]["reason"], "excluded", "personal_id",
        "personal_id", "invalid_unit", "opted_out", rows[9]["reason"], "override", "missing_attribute", "opted_out",
    ]  # fmt: skip
    assert rows[0] == rows[3], "the first row of a unit counts"
    assert rows[0]["reason"] in ("assigned", "holdout")
    assert rows[5]["unit"] == "li@example.com"
    assert (result["rows"], result["repeated"]) == (13, 2)
    assert result["refused"] == {"missing": 1, "personal": 2, "longer than 256 bytes": 1}
    assert result["unreadable"] == {"visits": 1}
    assert not {"li@example.com", "13800138000"} & set(logged(shop))


def test_parquet_in_and_out(shop: Store, settings: Settings) -> None:
    table = pa.table({"unit": [f"m-{i}" for i in range(300)] + [None], "channel": ["app"] * 301})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    request = put(shop, stream.getvalue(), "list.parquet", format="parquet")
    result = carry_out(shop, settings, request, lambda done, total: None)
    found = pq.read_table(io.BytesIO(answer(shop, request))).to_pylist()
    assert [row["unit"] for row in found] == table["unit"].to_pylist()
    assert {row["offer_json"] is not None for row in found if row["variant"] == "a"} == {True}
    assert json.loads(next(row["offer_json"] for row in found if row["offer"]))["key"] == "save"
    assert found[-1] == dict.fromkeys(found[-1], None) | {"reason": "invalid_unit"}
    assert result["refused"] == {"missing": 1}


class KilledError(Exception):
    pass


@pytest.mark.parametrize("linked", [False, True])
def test_a_job_that_was_killed_comes_out_the_same(
    shop: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    monkeypatch.setattr("experiments.assignments.assigning.CHUNK_ROWS", 100)
    if linked:
        with shop.begin() as connection:
            pairs = [AliasRow("app", "member", f"m-{i}", f"m-{i + 300}", 1, 1) for i in range(300)]
            absorb(connection, pairs, NOW)
        publish_members(shop, settings, NOW)
    whole = put(shop, a_list(800), occasion="whole")
    _, expected = run(shop, settings, whole)

    request = put(shop, a_list(800), occasion="killed")

    def killed(done: int, total: int) -> None:
        if done >= 400:
            raise KilledError

    with pytest.raises(KilledError):
        carry_out(shop, settings, request, killed)
    assert files.find(shop, request.job_id, RESULT) is None
    result, rows = run(shop, settings, request)
    strip = [{k: v for k, v in row.items() if k != "decision_id"} for row in rows]
    assert strip == [{k: v for k, v in row.items() if k != "decision_id"} for row in expected]
    first = answer(shop, request)
    again, _ = run(shop, settings, request)
    assert (answer(shop, request), again) == (first, result)
    with shop.read() as connection:
        per_unit = connection.execute(
            sa.select(sa.func.count(), sa.func.count(sa.distinct(decisions.c.unit)), sa.func.min(decisions.c.at))
            .where(decisions.c.source == request.source)
        ).one()  # fmt: skip
        assert per_unit[0] == per_unit[1]
        assert connection.scalar(sa.select(sa.func.count()).select_from(conflicts)) == 0
    if linked:
        by_unit = {row["unit"]: row for row in rows}
        pairs_told = [
            (by_unit[f"m-{i}"]["variant"], by_unit[f"m-{i + 300}"]["variant"]) for i in range(300)
            if by_unit[f"m-{i}"]["variant"] and by_unit[f"m-{i + 300}"]["variant"]
        ]  # fmt: skip
        assert len(pairs_told) > 100
        assert all(one == two for one, two in pairs_told)


def test_what_the_store_holds_already_is_what_the_file_says(shop: Store, settings: Settings) -> None:
    other = {f"m-{i}": ("control", "a", None)[i % 3] for i in range(40) if i != 7}
    earlier = [
        DecisionRow(
            decision_id("winback", 1, "member", unit), "winback", 1, 1, "member", unit, "",
            "enrolled" if variant else "holdout", variant, "assigned" if variant else "holdout", 0.5, 5,
            holdout=None if variant else "global",
        )
        for unit, variant in other.items()
    ]  # fmt: skip
    with shop.begin() as connection:
        absorb(connection, earlier, NOW)
    result, rows = run(shop, settings, put(shop, a_list(60)))
    told = {row["unit"]: row["variant"] or None for row in rows}
    assert {unit: told[unit] for unit in other} == other
    assert rows[2]["holdout"] == "global"
    assert result["answered_before"] > 0
    held = logged(shop)
    assert all(held[row["unit"]].variant == (row["variant"] or None) for row in rows if row["decision_id"])
    with shop.read() as connection:
        assert connection.execute(sa.select(conflicts)).all() == []


def test_columns_of_the_list_win_over_what_is_stored(shop: Store, settings: Settings) -> None:
    text = "unit,channel,stage\nm-1,app,dormant\nm-2,app,active\nnew,app,dormant\nm-4,app,\n"
    _, rows = run(shop, settings, put(shop, text.encode()))
    assert [row["reason"] in ("assigned", "holdout") for row in rows] == [True, False, True, False]
    assert rows[3]["reason"] == "missing_attribute"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"unit,channel\n", "has no rows"),
        (b"unit\nm-1\n", "reads 'channel', which is no column; add it to the list. There are: unit"),
        (b"customer,channel\nm-1,app\n", "which column is the member's id? Name it by unit_column. There are: cust"),
        (b"m-17,app\nm-18,app\n", "There are: (a name with digits), app"),
        (b"PK\x03\x04 zip", "is an Excel workbook or a zip archive"),
        (b'unit,channel\n"m-1,app\n', "line"),
    ],
)  # fmt: skip
def test_lists_that_cannot_be_used(shop: Store, settings: Settings, content: bytes, message: str) -> None:
    request = put(shop, content)
    with pytest.raises(InputError) as raised:
        carry_out(shop, settings, request, lambda done, total: None)
    assert message in str(raised.value)
    assert str(raised.value).startswith("the list: ")
    assert "m-1" not in str(raised.value).replace("m-1,app", "")
    assert logged(shop) == {}


def test_an_experiment_that_does_not_run_is_refused(shop: Store, settings: Settings) -> None:
    walk(shop, "winback", "ended", now=NOW)
    publish(shop, settings, NOW, ahead_us=0)
    request = put(shop, a_list(3))
    with pytest.raises(NotRunningError, match="a list needs a running one"):
        carry_out(shop, settings, request, lambda done, total: None)


def test_asking_again_is_the_same_job_and_a_failed_one_begins_again(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(a_list(3))
    request = ListRequest("winback", "ab" * 32, occasion="june")

    def asked(wanted: ListRequest = request, now: int = NOW) -> tuple[str, bool]:
        job, new = ask(store, wanted, path, name="list.csv", media_type="text/csv", created_by="test", now=now)
        assert job.state == "queued" or not new
        return job.id, new

    assert asked() == (request.job_id, True)
    assert asked() == (request.job_id, False)
    assert asked(ListRequest("winback", "ab" * 32, occasion="july"))[0] != request.job_id
    job = queue.claim(store, "worker", ["assignments"])
    assert job is not None
    assert asked()[1] is False
    queue.fail(store, job, "no", again=False)
    assert asked(now=NOW + 3_600 * SECOND) == (job.id, True)
    again = queue.get(store, job.id)
    assert (again.state, again.attempts, again.error) == ("queued", 0, None)
    with store.read() as connection:
        assert again.not_before <= database_now(connection), "by the clock that workers go by, not by ours"
    with pytest.raises(PastSendError):
        asked(ListRequest("winback", "cd" * 32, send_at=NOW - 3_600 * SECOND))


def test_the_command_does_the_same_here_and_now(shop: Store, settings: Settings, tmp_path: Path) -> None:
    path, out = tmp_path / "list.csv", tmp_path / "out.csv"
    path.write_bytes(a_list(100) + b"m-1,app\n,app\n")
    options = ["--data", str(settings.data_dir), "--database", shop.url]

    def assign(*arguments: str) -> Any:
        return CliRunner().invoke(cli, [*options, "assign", "winback", str(path), "-o", str(out), *arguments])

    done = assign("--log", "--occasion", "june", "--send-at", "2099-06-01T10:00:00+08:00")
    assert done.exit_code == 0, done.output
    first = out.read_bytes()
    rows = list(csv.DictReader(io.StringIO(first.decode())))
    held = logged(shop)
    assert len(rows) == 102
    assert {row["unit"] for row in rows if row["decision_id"]} == set(held)
    assert {row.send_at for row in held.values()} == {4_083_962_400_000_000}
    assert "102 rows written to" in done.output
    assert "note: 1 rows repeat an earlier row's unit" in done.output
    assert "warning: 1 unit ids are missing" in done.output
    assert assign("--log", "--occasion", "june", "--send-at", "2099-06-01T10:00:00+08:00").exit_code == 0
    assert out.read_bytes() == first
    # What an upload of the same list makes is the same job.
    request = put(shop, path.read_bytes(), occasion="june", send_at=4_083_962_400_000_000)
    run(shop, settings, request)
    assert answer(shop, request) == first
    for arguments, message in [
        (["--log", "--at", "2026-01-01"], "--at does not go with --log"),
        (["--log", "--send-at", "soon"], "send_at: is no ISO 8601 time"),
        (["--send-at", "2099-06-01T10:00:00Z"], "--send-at goes with --log"),
        (["--log", "--occasion", "a b"], "--occasion: occasion must be"),
    ]:
        wrong = assign(*arguments)
        assert (wrong.exit_code, message in wrong.output) == (2, True), wrong.output


@pytest.mark.parametrize("query", [states._MEMBERS, states._ENROLMENTS, states._LINKED])
def test_members_are_looked_up_and_never_read_through(tmp_path: Path, query: str) -> None:
    """Whatever SQLite thinks of the sizes: read for every wanted unit, a file of millions would take for ever."""
    told = [("member", f"m-{i}", "{}", 0) for i in range(500)]
    manifest = members.write(tmp_path, 1, told, [], [("member", f"m-{i}", "m-0") for i in range(500)])
    connection = sqlite3.connect(tmp_path / manifest.file)
    values = ['["m-1"]', "member", "winback"][: query.count("?")]
    steps = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + query, values)]
    connection.close()
    assert [step.split()[0] for step in steps] == ["SCAN", "SEARCH"], steps
    assert "PRIMARY KEY (unit_type=? AND unit=?" in steps[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"send_at": "tomorrow"}, "send_at: is no ISO 8601 time"),
        ({"send_at": "2026-03-03T09:00:00"}, "send_at: has no time zone"),
        ({"send_at": "0001-01-01T00:00:00Z"}, "does not lie between"),
        ({"format": "xlsx"}, "format: is 'xlsx'; write csv or parquet"),
        ({"ocasion": "x"}, "ocasion: is no parameter here"),
        ({"encoding": "klingon"}, "encoding: is no text encoding"),
        ({"occasion": "a b"}, "occasion must be"),
    ],
)
def test_parameters_that_cannot_be_used(given: dict[str, str], message: str) -> None:
    with pytest.raises((InputError, OccasionError)) as raised:
        read_request("winback", "00", given)
    assert message in str(raised.value)
