"""Importing files: exact, idempotent, resumable, and clear about what it refuses."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from allocation.decision import decision_id
from api.cli import cli
from experiments.definitions.loader import load_file
from experiments.errors import InputError
from experiments.importing import (
    DecisionMapping,
    EventMapping,
    ImportResult,
    MemberMapping,
    WideEvent,
    import_decisions,
    import_events,
    import_members,
    reading,
    run,
)
from experiments.keeping.repository import Repository
from experiments.log.rows import DecisionRow
from experiments.store import Store, open_store
from experiments.store.log_tables import conflicts, dead_letters, decisions, events, imports, members
from experiments.store.migrate import upgrade

NOW = 1_775_000_000_000_000
"""2026-03-31 23:33:20 UTC."""
SENT = "2026-03-03T08:00:00+08:00"
SENT_US = 1_772_496_000_000_000

DEFINITIONS = """
kind: project
name: Harbour Retail
currency: CNY
time_zone: Asia/Shanghai
attributes:
  stage: {type: string, kept: stored}
  tier: {type: string, kept: stored}
  orders: {type: number, kept: stored}
  vip: {type: boolean, kept: stored}
  labels: {type: list, kept: stored}
  cart: {type: number, kept: request}
---
kind: metric
key: visit
name: Visit
type: proportion
event: visit
window: {days: 14}
---
kind: experiment
key: send
name: 发券
variants: [{key: control}, {key: a, weight: 3}]
control: control
breakdowns: [stage]
metrics: {primary: [visit]}
"""


@pytest.fixture
def shop(store: Store, tmp_path: Path) -> Store:
    """A store with a project in yuan and one experiment."""
    file = tmp_path / "definitions.yaml"
    file.write_text(DEFINITIONS)
    Repository(store).apply(load_file(file), "test")
    return store


@pytest.fixture(scope="module")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The same on SQLite only, for what fails before the database matters."""
    folder = tmp_path_factory.mktemp("shop")
    store = open_store(f"sqlite:///{folder / 'shop.sqlite'}")
    upgrade(store)
    (folder / "definitions.yaml").write_text(DEFINITIONS)
    Repository(store).apply(load_file(folder / "definitions.yaml"), "test")
    yield store
    store.close()


def table(store: Store, which: sa.Table) -> list[sa.Row[tuple[object, ...]]]:
    with store.read() as connection:
        return list(connection.execute(sa.select(which).order_by(*which.primary_key)))


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def counts(result: ImportResult) -> tuple[int, int, int, int, int]:
    return result.rows, result.accepted, result.duplicates, result.conflicts, result.rejected


SENDS = """会员,组,时间,stage,次数
m-1,对照,2026-03-03 08:00:00,沉睡,3
m-2,a,2026-03-03T00:00:00Z,新客,
m-3,a,1772496000,,1
"""
BY_NAME = DecisionMapping(
    {"unit": "会员", "variant": "组", "at": "时间"},
    experiment="send",
    variants={"对照": "control"},
    attributes={"orders": "次数"},
)


@pytest.mark.parametrize("kind", ["utf-8", "utf-8-sig", "gb18030", "gzip", "parquet"])
def test_every_kind_of_file_gives_the_same_decisions(shop: Store, tmp_path: Path, kind: str) -> None:
    file = write(tmp_path / "send.csv", SENDS, kind if kind[0] in "ug" and kind != "gzip" else "utf-8")
    if kind == "gzip":
        file = tmp_path / "send.csv.gz"
        file.write_bytes(gzip.compress(SENDS.encode()))
    if kind == "parquet":
        file = tmp_path / "send.parquet"
        duckdb.sql(f"COPY (FROM read_csv('{tmp_path / 'send.csv'}', all_varchar=true)) TO '{file}'")
    assert counts(import_decisions(shop, file, BY_NAME, now=NOW)) == (3, 3, 0, 0, 0)
    stored = {row.unit: DecisionRow(*row) for row in table(shop, decisions)}
    assert stored["m-1"] == DecisionRow(
        decision_id=decision_id("send", 1, "member", "m-1", ""),
        experiment="send",
        revision=1,
        phase=1,
        unit_type="member",
        unit="m-1",
        occasion="",
        kind="enrolled",
        variant="control",
        reason="assigned",
        propensity=0.25,
        at=SENT_US,
        frozen='{"orders":3,"stage":"沉睡"}',
        snapshot="",
        source="import:send",
    )
    assert [stored[unit].at for unit in ("m-2", "m-3")] == [SENT_US, SENT_US]
    assert [stored[unit].frozen for unit in ("m-2", "m-3")] == ['{"stage":"新客"}', '{"orders":1}']
    assert stored["m-2"].propensity == 0.75


def test_a_second_import_does_nothing_and_a_longer_file_adds_only_its_new_rows(shop: Store, tmp_path: Path) -> None:
    file = write(
        tmp_path / "orders.csv", "unit,name,at,value\nm-1,Order,2026-03-03,19.90\nm-1,Order,2026-03-03,19.90\n"
    )
    first = import_events(shop, file, EventMapping(), now=NOW)
    assert counts(first) == (2, 2, 0, 0, 0), "two equal rows of one file are two events"
    again = import_events(shop, file, EventMapping(), now=NOW + 1)
    assert again.already_done
    assert counts(again) == counts(first)
    file.write_text(file.read_text() + "m-2,Order,2026-03-04,5\n")
    longer = import_events(shop, file, EventMapping(), now=NOW + 2)
    assert counts(longer) == (3, 1, 2, 0, 0)
    assert [row.value_minor for row in table(shop, events)].count(1990) == 2


def test_an_interrupted_import_goes_on_where_it_stopped(
    shop: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 10)
    rows = "".join(f"m-{i},{'a' if i % 4 else 'control'},{SENT}\n" for i in range(95))
    file = write(tmp_path / "send.csv", "unit,variant,at\n" + rows + ",a,2026-03-03\n")
    mapping = DecisionMapping(experiment="send")
    seen: list[tuple[int, int]] = []

    def stop_at_30(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_decisions(shop, file, mapping, progress=stop_at_30, now=NOW)
    assert seen == [(10, 96), (20, 96), (30, 96)]
    assert len(table(shop, decisions)) == 30
    result = import_decisions(shop, file, mapping, now=NOW + 9)
    assert (counts(result), result.resumed_at, result.already_done) == ((96, 95, 0, 0, 1), 30, False)
    assert len(table(shop, decisions)) == 95
    assert [row.finished_at for row in table(shop, imports)] == [NOW + 9]


def test_a_batch_that_fails_leaves_nothing_of_itself(
    shop: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 10)
    file = write(tmp_path / "send.csv", "unit,variant,at\n" + "".join(f"m-{i},a,{SENT}\n" for i in range(25)))
    calls = []
    absorb = run.absorb

    def fail_in_the_second_batch(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("the power went")
        return absorb(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "absorb", fail_in_the_second_batch)
    with pytest.raises(OSError, match="the power went"):
        import_decisions(shop, file, DecisionMapping(experiment="send"), now=NOW)
    assert len(table(shop, decisions)) == table(shop, imports)[0].rows_done == 10
    monkeypatch.undo()
    assert counts(import_decisions(shop, file, DecisionMapping(experiment="send"), now=NOW)) == (25, 25, 0, 0, 0)


def test_units_in_two_variants_are_conflicts(shop: Store, tmp_path: Path) -> None:
    rows = ["m-1,a", "m-1,control", "m-2,a", "m-2,a"]
    file = write(tmp_path / "send.csv", "unit,variant\n" + "\n".join(rows) + "\n")
    mapping = DecisionMapping(experiment="send", at_constant=SENT)
    assert counts(import_decisions(shop, file, mapping, now=NOW)) == (4, 2, 1, 1, 0)
    assert [(row.unit, row.stored_variant, row.variant) for row in table(shop, conflicts)] == [("m-1", "a", "control")]


def test_occasions_and_propensities(shop: Store, tmp_path: Path) -> None:
    rows = ["m-1,a,s1,0.9", "m-1,control,s2,0.1", "m-1,a,s 3,0.5", "m-2,a,s1,1.5", "m-3,a,s1,"]
    file = write(tmp_path / "send.csv", "unit,variant,occasion,propensity\n" + "\n".join(rows) + "\n")
    result = import_decisions(shop, file, DecisionMapping(experiment="send", at_constant=SENT), now=NOW)
    assert counts(result) == (5, 3, 0, 0, 2)
    assert [problem.row for problem in result.problems] == [3, 4]
    assert {(row.unit, row.occasion, row.propensity) for row in table(shop, decisions)} == {
        ("m-1", "s1", 0.9),
        ("m-1", "s2", 0.1),
        ("m-3", "s1", 0.75),
    }


def test_bad_rows_are_kept_with_their_numbers_and_reasons(shop: Store, tmp_path: Path) -> None:
    rows = ["m-1,a,2026-03-03", ",a,2026-03-03", "m-3,,2026-03-03", "m-4,a,yesterday", "m-5,a,", "m-6,a,2031-01-01"]
    rows += ["m" * 257 + ",a,2026-03-03", "m-8,a,1999-12-31", "m-9,a,2026/13/03", "a@b.cn,a,2026-03-03"]
    file = write(tmp_path / "send.csv", "unit,variant,at\n" + "\n".join(rows) + "\n")
    result = import_decisions(shop, file, DecisionMapping(experiment="send"), now=NOW)
    assert counts(result) == (10, 1, 0, 0, 9)
    messages = {problem.row: problem.message for problem in result.problems}
    expected = {
        2: "unit id is empty", 3: "variant is empty", 4: "'yesterday' is not a time", 5: "time is empty",
        6: "in the future", 7: "has 257 bytes", 8: "before the year 2000", 9: "is not a time",
        10: "looks like an e-mail address",
    }  # fmt: skip
    assert set(messages) == set(expected)
    for row, words in expected.items():
        assert words in messages[row]
    letters = {row.detail.split(":")[0]: row for row in table(shop, dead_letters)}
    assert set(letters) == {f"row {row}" for row in expected}
    assert msgspec.json.decode(letters["row 4"].payload) == {"unit": "m-4", "at": "yesterday", "variant": "a"}
    assert {row.kind for row in letters.values()} == {"decision"}
    assert letters["row 3"].reason == "unknown_variant"


def test_personal_ids_are_refused_and_not_kept_unless_the_project_takes_them(shop: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "orders.csv", f"unit,at,name\nm-1,{SENT},Visit\nli.lei@example.com,{SENT},Visit\n")
    refused = import_events(shop, file, EventMapping(), now=NOW)
    assert (refused.accepted, refused.rejected) == (1, 1)
    (letter,) = table(shop, dead_letters)
    assert letter.reason == "personal_id"
    assert "li.lei" not in letter.payload + letter.detail + refused.problems[0].message
    repository = Repository(shop)
    repository.apply([repository.project().model_copy(update={"allow_personal_ids": True})], "ann")
    again = write(tmp_path / "more.csv", f"unit,at,name\nli.lei@example.com,{SENT},Buy\n")
    assert import_events(shop, again, EventMapping(), now=NOW).accepted == 1


def test_a_wide_file_without_ids_and_times(shop: Store, tmp_path: Path) -> None:
    file = write(
        tmp_path / "outcomes.csv",
        "visit,conversion,spend,clicks,minutes\n1,0,0.0,3,2.5\ntrue,1,29.99,,\n0,0,0,0,7\n,,,x,\n1,2,5,1,1\n1,0,5.001,0,1\n",
    )
    mapping = EventMapping(
        unit_row_number=True,
        at_constant=SENT,
        wide=tuple(
            WideEvent.parse(text)
            for text in (
                "visit=visit",
                "bought=conversion",
                "spend=spend:value",
                "click=clicks:count",
                "stay=minutes:number",
            )
        ),
    )
    result = import_events(shop, file, mapping, now=NOW)
    assert counts(result) == (6, 9, 0, 0, 3)
    *messages, last = [problem.message for problem in result.problems]
    assert messages == [
        "column 'clicks': 'x' is not a count; write a whole number from 0 to 9999",
        "column 'conversion': '2' is neither yes nor no; write 1 or 0",
    ]
    assert last.startswith("column 'spend': '5.001' is not an amount in CNY; write digits and a point")
    stored = sorted((r.unit, r.name, r.value_minor, r.currency, r.properties) for r in table(shop, events))
    assert stored == [
        ("1", "click", None, None, "{}"),
        ("1", "click", None, None, "{}"),
        ("1", "click", None, None, "{}"),
        ("1", "stay", None, None, '{"minutes":2.5}'),
        ("1", "visit", None, None, "{}"),
        ("2", "bought", None, None, "{}"),
        ("2", "spend", 2999, "CNY", "{}"),
        ("2", "visit", None, None, "{}"),
        ("3", "stay", None, None, '{"minutes":7}'),
    ]
    assert {row.at for row in table(shop, events)} == {SENT_US}


def test_a_long_file_with_every_field(shop: Store, tmp_path: Path) -> None:
    header = "who,what,when,id,order,paid,ccy,decision,experiment,channel,qty,code\n"
    rows = [
        "m-1,Order Completed,2026-03-04 10:00,e-1,o-1,199.00,CNY,d1,send,app,2,007",
        "m-1,Order Refunded,2026-03-05 10:00,e-2,o-1,-19.5,,,,,,",
        "m-2,Order Completed,2026-03-04 10:00,e-3,o-2,10,USD,,,,,",
        "m-2,Order Completed,2026-03-04 10:00,e-1,o-9,10,,,,,,",
    ]
    file = write(tmp_path / "orders.csv", header + "\n".join(rows) + "\n")
    mapping = EventMapping(
        {
            "unit": "who", "name": "what", "at": "when", "event_id": "id", "object_id": "order", "value": "paid",
            "currency": "ccy", "decision_id": "decision",
        },
        properties={"channel": "channel", "quantity": "qty", "code": "code"},
        source="pos",
    )  # fmt: skip
    result = import_events(shop, file, mapping, now=NOW)
    assert counts(result) == (4, 2, 0, 0, 2)
    first, refund = table(shop, events)
    assert (first.source, first.event_id, first.name, first.unit) == ("pos", "e-1", "Order Completed", "m-1")
    assert (first.object_id, first.value_minor, first.currency, first.decision_id) == ("o-1", 19_900, "CNY", "d1")
    assert (first.experiment, first.received_at, first.at) == ("send", NOW, SENT_US + (24 + 2) * 3_600_000_000)
    assert msgspec.json.decode(first.properties) == {"channel": "app", "quantity": 2, "code": "007"}
    assert (refund.value_minor, refund.properties, refund.decision_id) == (-1950, "{}", None)
    assert {row.reason for row in table(shop, dead_letters)} == {"unknown_currency", "conflicting_duplicate"}


def test_parquet_keeps_times_and_decimals_exact(shop: Store, tmp_path: Path) -> None:
    file = tmp_path / "orders.parquet"
    duckdb.sql(
        f"""COPY (SELECT * FROM (VALUES
            (1, TIMESTAMP '2026-03-03 08:00:00.123456', 0.1 + 0.2, 19.90::DECIMAL(9,2)),
            (2, NULL, 29.99::DOUBLE, 5)) t(unit, "at", score, value)) TO '{file}'"""
    )
    mapping = EventMapping(name="Order", properties={"score": "score"})
    result = import_events(shop, file, mapping, now=NOW)
    assert counts(result) == (2, 1, 0, 0, 1)
    row = table(shop, events)[0]
    assert (row.unit, row.at, row.value_minor) == ("1", SENT_US + 123_456, 1990)
    zoned = tmp_path / "zoned.parquet"
    duckdb.sql(f"""COPY (SELECT 'm' AS unit, make_timestamptz({SENT_US}) AS "at") TO '{zoned}'""")
    import_events(shop, zoned, EventMapping(name="Order"), now=NOW)
    assert {row.at for row in table(shop, events) if row.unit == "m"} == {SENT_US}


def test_members_are_merged_and_newer_knowledge_wins(shop: Store, tmp_path: Path) -> None:
    crm = write(
        tmp_path / "crm.csv",
        "unit,stage,orders,vip,labels,opted_out,cart\nm-1,dormant,3,1,a|b,0,9\nm-2,new,x,1,,0,9\nm-3,new,,0,,1,9\n",
    )
    result = import_members(shop, crm, MemberMapping(), now=NOW)
    assert counts(result) == (3, 2, 0, 0, 1)
    assert result.problems[0].message == "column 'orders': 'x' is not a number"
    known = {row.unit: (msgspec.json.decode(row.attributes), bool(row.opted_out)) for row in table(shop, members)}
    assert known == {
        "m-1": ({"stage": "dormant", "orders": 3, "vip": True, "labels": ["a", "b"]}, False),
        "m-3": ({"stage": "new", "vip": False}, True),
    }
    tiers = write(
        tmp_path / "tiers.csv", "id,level,seen\nm-1,gold,2026-03-01\nm-3,silver,2026-04-20\nm-4,gold,2026-04-20\n"
    )
    mapping = MemberMapping({"unit": "id", "at": "seen"}, attributes={"tier": "level"})
    assert counts(import_members(shop, tiers, mapping, now=NOW)) == (3, 3, 0, 0, 0)
    older = write(tmp_path / "older.csv", "id,level,seen\nm-1,bronze,2026-02-28\nm-3,gold,2026-04-19\n")
    assert counts(import_members(shop, older, mapping, now=NOW)) == (2, 0, 2, 0, 0), "of each attribute the latest"
    known = {row.unit: (msgspec.json.decode(row.attributes), bool(row.opted_out)) for row in table(shop, members)}
    assert known["m-1"][0]["tier"] == "gold", "nobody has said anything about the tier since 1 March"
    assert known["m-3"] == ({"stage": "new", "tier": "silver", "vip": False}, True)
    assert known["m-4"] == ({"tier": "gold"}, False)


WRONG = [
    ("unit,variant,at\nm,zzz,2026-03-03\nm,a,2026-03-03\n", DecisionMapping(experiment="send"),
     r"column 'variant': 'zzz' \(1 rows\) not among the variants of experiment send \(control, a\).*--variant"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping(experiment="sent"), r"sent.*send"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping(), "Add --experiment"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping(experiment="send", phase=2), "--phase 2.*no such phase"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping({"units": "unit"}, experiment="send"), "no field 'units'"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping({"unit": "uint"}, experiment="send"),
     "no column 'uint'.*unit"),
    ("id,variant,at\nm,a,2026-03-03\n", DecisionMapping(experiment="send"),
     "Add --map unit=COLUMN, or --unit-row-number"),
    ("unit,group,at\nm,a,2026-03-03\n", DecisionMapping(experiment="send"), "Add --map variant=COLUMN"),
    ("unit,variant\nm,a\n", DecisionMapping(experiment="send"), "Add --at COLUMN, or --at-constant"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping(experiment="send", time_zone="Mars"), "--time-zone Mars"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping(experiment="send", variants={"a": "b"}), "no variant 'b'"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping(experiment="send", unit_type="store"), "--unit-type store"),
    ("unit,variant,at\nm,a,nope\nn,a,nope\n", DecisionMapping(experiment="send"),
     "none of the first 2 rows can be used; row 1: 'nope' is not a time.*nothing was imported"),
    ("unit,variant,at\n", DecisionMapping(experiment="send"), "no rows"),
    ("", DecisionMapping(experiment="send"), "empty"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping({"unit": "unit"}, experiment="send", unit_row_number=True),
     "exclude each other"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping({"at": "at"}, experiment="send", at_constant=SENT),
     "exclude each other"),
    ("unit,variant,at\nm,a,2026-03-03\n", DecisionMapping(experiment="send", attributes={"x": "unit"}),
     "no attribute 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "mapping", "message"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_a_file_that_cannot_be_used_changes_nothing(
    small_shop: Store, tmp_path: Path, text: str, mapping: DecisionMapping, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        import_decisions(small_shop, write(tmp_path / "send.csv", text), mapping, now=NOW)
    assert "\n" not in str(caught.value)
    assert [table(small_shop, each) for each in (decisions, dead_letters, imports)] == [[], [], []]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (EventMapping(), "which events are these"),
        (EventMapping(wide=(WideEvent("a", "b"),)), "no column 'b'"),
        (EventMapping(name="x", wide=(WideEvent("a", "at"),)), "--name and --event exclude"),
        (EventMapping(wide=(WideEvent("a", "at"), WideEvent("a", "unit"))), "--event a=… is given twice"),
        (EventMapping({"value": "at"}, wide=(WideEvent("a", "at"),)), "--map value=… and --event exclude"),
        (EventMapping(name="x", properties={"p": "q"}), "no column 'q'"),
    ],
)
def test_outcomes_that_cannot_be_understood_change_nothing(
    small_shop: Store, tmp_path: Path, mapping: EventMapping, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        import_events(small_shop, write(tmp_path / "o.csv", "unit,at\nm,2026-03-03\n"), mapping, now=NOW)
    assert table(small_shop, events) == table(small_shop, imports) == []


def test_a_row_with_too_few_cells_is_named(small_shop: Store, tmp_path: Path) -> None:
    text = "unit,variant,at\n" + f"m,a,{SENT}\n" * 30_000 + "m;a\n" + f"m,a,{SENT}\n" * 10
    with pytest.raises(InputError, match=r"send.csv: cannot be read.*30002.*nothing was imported"):
        import_decisions(small_shop, write(tmp_path / "send.csv", text), DecisionMapping(experiment="send"), now=NOW)
    assert table(small_shop, decisions) == []


def test_columns_count_as_they_are_written(small_shop: Store, tmp_path: Path) -> None:
    """``Unit`` is not ``unit``, and of two columns with one name neither is taken silently."""
    mapping = EventMapping(name="x", at_constant=SENT)
    file = write(tmp_path / "a.csv", "Unit,unit,Value,value\nA,m-1,1.00,2.50\n")
    assert import_events(small_shop, file, mapping, now=NOW).accepted == 1
    with small_shop.read() as connection:
        assert connection.execute(sa.text("SELECT unit, value_minor FROM events")).all() == [("m-1", 250)]
    twice = write(tmp_path / "b.csv", "unit,unit\nm-1,m-2\n")
    with pytest.raises(InputError, match="2 columns are named 'unit': give each a name of its own"):
        import_events(small_shop, twice, mapping, now=NOW)


def test_wide_events_are_read_from_options() -> None:
    assert WideEvent.parse("a b=c:d") == WideEvent("a b", "c:d")
    assert WideEvent.parse("n=c:d:count") == WideEvent("n", "c:d", "count")
    for wrong in ("visit", "=x", "x=", "x=:value"):
        with pytest.raises(InputError, match="write NAME=COLUMN"):
            WideEvent.parse(wrong)


def test_the_command_line(shop: Store, tmp_path: Path) -> None:
    def equipoise(*arguments: str | Path) -> Result:
        return CliRunner().invoke(
            cli, ["--data", str(tmp_path / "data"), "--database", shop.url, "import", *map(str, arguments)]
        )

    sends = write(tmp_path / "send.csv", SENDS.replace("m-3,a,1772496000", "m-3,a,never"), "gb18030")
    options = ["--map", "unit=会员", "--map", "variant=组", "--at", "时间", "--variant", "对照=control"]
    result = equipoise("decisions", sends, "--experiment", "send", *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == "send.csv: 3 rows, 2 decisions, 1 refused (kept as dead letters)\n"
    assert result.stderr == "  row 3: 'never' is not a time; write it like 2026-03-03T08:00:00+08:00\n"
    again = equipoise("decisions", sends, "--experiment", "send", *options)
    assert again.stdout.endswith("(imported before; nothing was done)\n")
    wide = write(tmp_path / "out.csv", "会员,visit,spend\nm-1,1,9.90\n")
    result = equipoise(
        "events",
        wide,
        "--map",
        "unit=会员",
        "--at-constant",
        SENT,
        "--event",
        "visit=visit",
        "--event",
        "s=spend:value",
    )
    assert result.stdout == "out.csv: 1 rows, 2 events\n"
    crm = write(tmp_path / "crm.csv", "unit,stage\nm-1,new\n")
    assert equipoise("members", crm).stdout == "crm.csv: 1 rows, 1 members changed\n"
    for wrong in (
        ["decisions", "absent.csv", "--experiment", "send"],
        ["decisions", str(sends), "--experiment", "send", "--map", "unit"],
        ["events", str(wide), "--event", "visit"],
        ["members", str(wide)],
    ):
        refused = equipoise(*wrong)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert re.fullmatch(r"equipoise: [^\n]+\n", refused.stderr), refused.stderr


@pytest.mark.shared
def test_hillstrom(shop: Store, shared_dir: Path, tmp_path: Path) -> None:
    """64,000 customers without ids and times; group sizes and outcome rates as in ../shared/data/README.md."""
    file = shared_dir / "data" / "hillstrom.csv.gz"
    if not file.exists():
        pytest.skip(f"{file} is absent")
    definitions = write(
        tmp_path / "e.yaml",
        "kind: experiment\nkey: mail\nname: Mail\ncontrol: No E-Mail\nmetrics: {primary: [visit]}\n"
        "variants: [{key: No E-Mail}, {key: Mens E-Mail}, {key: Womens E-Mail}]\n",
    )
    Repository(shop).apply(load_file(definitions), "test")
    assigned = DecisionMapping({"variant": "segment"}, unit_row_number=True, at_constant=SENT, experiment="mail")
    assert counts(import_decisions(shop, file, assigned, now=NOW)) == (64_000, 64_000, 0, 0, 0)
    wide = tuple(WideEvent.parse(text) for text in ("visit=visit", "conversion=conversion", "spend=spend:value"))
    outcomes = EventMapping(unit_row_number=True, at_constant=SENT, wide=wide)
    import_events(shop, file, outcomes, now=NOW)
    with shop.read() as connection:
        query = sa.text(
            "SELECT d.variant, e.name, count(*), sum(e.value_minor) FROM decisions d JOIN events e ON e.unit = d.unit "
            "GROUP BY d.variant, e.name"
        )
        found = {(variant, name): (n, total) for variant, name, n, total in connection.execute(query)}
        sizes = dict(map(tuple, connection.execute(sa.text("SELECT variant, count(*) FROM decisions GROUP BY 1"))))
    assert sizes == {"Mens E-Mail": 21_307, "Womens E-Mail": 21_387, "No E-Mail": 21_306}
    expected = {
        "Mens E-Mail": (0.18276, 0.01253, 1.4226), "Womens E-Mail": (0.15140, 0.00884, 1.0772),
        "No E-Mail": (0.10617, 0.00573, 0.6528),
    }  # fmt: skip
    for variant, (visit, conversion, spend) in expected.items():
        assert round(found[variant, "visit"][0] / sizes[variant], 5) == visit
        assert round(found[variant, "conversion"][0] / sizes[variant], 5) == conversion
        assert round(int(found[variant, "spend"][1]) / 100 / sizes[variant], 4) == spend
