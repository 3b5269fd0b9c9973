"""``balance_on``: a list split evenly within strata, kept through crashes, and analysed by them."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from api.cli import cli
from experiments.assignments.carry_out import carry_out
from experiments.assignments.request import LIST, RESULT, ListRequest, read_request
from experiments.errors import InputError
from experiments.jobs import files
from experiments.log.absorb import absorb
from experiments.log.rows import AliasRow, TraitsRow
from experiments.publishing.publish import publish, publish_members
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.log_tables import decisions
from experiments.store.migrate import upgrade
from tests.experiments.measuring import define, experiment, metric
from tests.experiments.small_shop import walk

NOW = time.time_ns() // 1000
PROJECT = {
    "kind": "project",
    "name": "Shop",
    "currency": "CNY",
    "time_zone": "Asia/Shanghai",
    "attributes": {
        "tier": {"type": "string", "kept": "request"},
        "city": {"type": "string", "kept": "request"},
    },
}
VARIANTS = [{"key": "control", "weight": 2}, {"key": "a", "offer": "save"}, {"key": "b", "offer": "save"}]
OFFER = {"kind": "offer", "key": "save", "name": "Save", "type": "fixed_coupon", "face_value": "5.00"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({}, data=str(tmp_path / "data"))


def a_shop(store: Store, settings: Settings, **fields: Any) -> Store:
    given = {"sticky": "enrolment", "enrolment": "once", "analysis": {"strata": ["tier", "city"]}, "variants": VARIANTS}
    define(store, OFFER, metric("spend", "sum", value="value"), experiment({"primary": ["spend"]}, **(given | fields)),
           project=PROJECT)  # fmt: skip
    walk(store, "winback", "review", "testing", "running", now=NOW)
    publish(store, settings, NOW)
    return store


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    """That both databases keep lists alike is tested with a job that was killed, and in test_assignments."""
    opened = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def shop(sqlite: Store, settings: Settings) -> Store:
    return a_shop(sqlite, settings)


def a_list(rows: int = 403, start: int = 0) -> bytes:
    tiers, cities = ("plain", "silver", "gold"), ("Hangzhou", "")
    lines = [f"m-{i},{tiers[(i * i) % 7 % 3]},{cities[i % 5 == 0]}" for i in range(start, start + rows)]
    return "\n".join(["unit,tier,city", *lines]).encode() + b"\n"


def put(store: Store, content: bytes, **fields: Any) -> ListRequest:
    request = ListRequest("winback", hashlib.sha256(content).hexdigest(), **fields)
    files.save(store, request.job_id, LIST, [content], name="list.csv")
    return request


def run(store: Store, settings: Settings, request: ListRequest) -> tuple[dict[str, Any], list[dict[str, str]]]:
    result = carry_out(store, settings, request, lambda done, total: None)
    kept = files.find(store, request.job_id, RESULT)
    assert kept is not None
    return result, list(csv.DictReader(io.StringIO(b"".join(files.read(store, kept)).decode())))


def test_every_stratum_is_split_by_the_weights(shop: Store, settings: Settings) -> None:
    content = a_list() + b"m-1,plain,Hangzhou\n"
    result, rows = run(shop, settings, put(shop, content, balance_on=("city", "tier")))
    told = list(csv.DictReader(io.StringIO(content.decode())))
    counted: dict[tuple[str, str], Counter[str]] = {}
    for member, row in zip(told[:403], rows, strict=False):
        counted.setdefault((member["city"], member["tier"]), Counter())[row["variant"]] += 1
    for counts in counted.values():
        units = sum(counts.values())
        assert abs(counts["control"] - units / 2) < 1
        assert max(abs(counts[key] - units / 4) for key in "ab") < 2
    assert Counter(row["variant"] for row in rows[:403])["control"] in (201, 202)
    assert rows[1] == rows[403], "a row that repeats a unit is told the same"
    balance = result["balance"]
    assert (balance["attributes"], balance["strata"], balance["units"]) == (["city", "tier"], len(counted), 403)
    assert balance["variants"] == dict(Counter(row["variant"] for row in rows[:403]))
    first = balance["by_stratum"][0]
    assert first["variants"] == dict(counted[first["levels"]["city"] or "", first["levels"]["tier"]])
    with shop.read() as connection:
        logged = {row.unit: row for row in connection.execute(sa.select(decisions))}
    assert {row["unit"]: row["variant"] for row in rows} == {unit: row.variant for unit, row in logged.items()}
    assert {row.propensity for row in logged.values()} == {0.5, 0.25}


def test_most_members_have_what_the_hash_would_have_given(shop: Store, settings: Settings) -> None:
    """Bounds move, digests stay."""
    plain = put(shop, a_list(2000, 5000), occasion="x", balance_on=("tier",))
    _, rows = run(shop, settings, plain)
    from allocation.decide import decide
    from experiments.publishing.snapshot_file import SnapshotFile

    snapshot = SnapshotFile(settings.snapshot_dir).load()
    by_hash = [decide(snapshot, "winback", row["unit"], now=NOW, occasion="x").variant for row in rows]
    same = sum(row["variant"] == variant for row, variant in zip(rows, by_hash, strict=True))
    assert 1800 < same < 2000


class KilledError(Exception):
    pass


def test_a_job_that_was_killed_comes_out_the_same(store: Store, settings: Settings, monkeypatch: Any) -> None:
    from experiments.assignments import assigning

    shop = a_shop(store, settings)
    request = put(shop, a_list(), balance_on=("tier",))
    monkeypatch.setattr(assigning, "CHUNK_ROWS", 50)

    def die(done: int, total: int) -> None:
        if done >= 150:
            raise KilledError

    with pytest.raises(KilledError):
        carry_out(shop, settings, request, die)
    with shop.read() as connection:
        begun = {row.unit: row.variant for row in connection.execute(sa.select(decisions))}
    assert 0 < len(begun) < 403
    publish_members(shop, settings, NOW)  # those who were told are enrolled by now
    result, rows = run(shop, settings, request)
    assert {row["unit"]: row["variant"] for row in rows}.items() >= begun.items()
    counts = Counter(row["variant"] for row in rows)
    assert abs(counts["control"] - 201.5) < 1
    assert result["balance"]["units"] == 403


def test_who_is_enrolled_keeps_theirs_and_the_others_are_balanced(shop: Store, settings: Settings) -> None:
    first, rows = run(shop, settings, put(shop, a_list(100)))
    assert "balance" not in first
    before = {row["unit"]: row["variant"] for row in rows}
    # Not yet published: the log says it.
    result, rows = run(shop, settings, put(shop, a_list(300), balance_on=("tier",)))
    assert result["balance"]["units"] == 200
    assert {row["unit"]: row["variant"] for row in rows[:100]} == before
    assert abs(Counter(row["variant"] for row in rows[100:])["control"] - 100) < 1
    publish_members(shop, settings, NOW)
    result, rows = run(
        shop,
        settings,
        put(shop, a_list(300) + a_list(100, 700).partition(b"\n")[2], occasion="july", balance_on=("tier",)),
    )
    assert result["balance"]["units"] == 100
    assert {row["unit"]: row["variant"] for row in rows[:100]} == before


def test_what_becomes_known_while_it_runs_unbalances_nothing(shop: Store, settings: Settings) -> None:
    """Who is counted and who is assigned must be the same members: both go by the states of the job's beginning."""
    with shop.begin() as connection:
        absorb(connection, [TraitsRow("crm", "member", "other", 1, 1, opted_out=True)], NOW)
    publish_members(shop, settings, NOW)
    request, news = put(shop, a_list(400), balance_on=("tier",)), []

    def learn(done: int, total: int) -> None:
        if news:
            return
        news.extend(TraitsRow("crm", "member", f"m-{i}", 2, 2, opted_out=True) for i in range(0, 400, 7))
        with shop.begin() as connection:
            absorb(connection, news, NOW)
        publish_members(shop, settings, NOW + 1)

    result = carry_out(shop, settings, request, learn)
    assert (len(news), result["enrolled"]) == (58, 400)
    assert result["balance"]["variants"] == result["variants"]
    _, rows = run(shop, settings, put(shop, a_list(600), balance_on=("tier",), occasion="later"))
    assert Counter(row["reason"] for row in rows)["opted_out"] == 58, "the next list knows it"


def test_one_person_under_two_ids_is_counted_once(shop: Store, settings: Settings) -> None:
    with shop.begin() as connection:
        absorb(connection, [AliasRow("crm", "member", "m-1", "m-2", 1, 1)], NOW)
    publish_members(shop, settings, NOW)
    result, rows = run(shop, settings, put(shop, a_list(100), balance_on=("tier",)))
    assert result["balance"]["units"] == 99
    assert rows[1]["variant"] == rows[2]["variant"]


@pytest.mark.parametrize(
    ("fields", "balance_on", "message"),
    [
        ({}, ("age",), "'age' is not among the strata"),
        ({"sticky": "none"}, ("tier",), "write sticky: enrolment"),
        ({"enrolment": "rolling"}, ("tier",), "enrols over time"),
        ({"analysis": {}, "breakdowns": ["tier"]}, ("tier",), "it has none.*analysis: strata"),
    ],
)
def test_what_cannot_be_balanced(
    sqlite: Store, settings: Settings, fields: dict[str, Any], balance_on: tuple[str, ...], message: str
) -> None:
    shop = a_shop(sqlite, settings, **fields)
    with pytest.raises(InputError, match=message):
        run(shop, settings, put(shop, a_list(), balance_on=balance_on))
    with shop.read() as connection:
        assert not connection.execute(sa.select(decisions)).all()


def test_too_many_strata(shop: Store, settings: Settings) -> None:
    lines = [f"m-{i},{i}" for i in range(300)]
    content = "\n".join(["unit,tier", *lines]).encode()
    with pytest.raises(InputError, match="more than 200 combinations"):
        run(shop, settings, put(shop, content, balance_on=("tier",)))


def test_left_out_it_is_no_part_of_the_identity() -> None:
    plain = read_request("winback", "00", {})
    assert "balance_on" not in plain.params()
    one, other = (read_request("winback", "00", {"balance_on": text}) for text in ("tier, city", "city,tier,tier"))
    assert one.balance_on == ("city", "tier")
    assert one.job_id == other.job_id != plain.job_id
    assert ListRequest.of(one.params()) == one


@pytest.mark.parametrize("text", [",", "a,b,c,d,e,f", "x" * 200, "a\n"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="balance_on"):
        read_request("winback", "00", {"balance_on": text})


def test_the_command(shop: Store, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(a_list(40))
    where = ["--data", str(tmp_path / "data"), "--database", shop.url]
    out = str(tmp_path / "out.csv")
    args = ["assign", "winback", str(tmp_path / "list.csv"), "-o", out]
    refused = CliRunner().invoke(cli, [*where, *args, "--balance-on", "tier"])
    assert refused.exit_code == 2
    assert "--log" in refused.output
    done = CliRunner().invoke(cli, [*where, *args, "--balance-on", "tier", "--log"])
    assert done.exit_code == 0, done.output
    assert "40 of them split evenly within 3 strata of tier" in done.output
    first = Path(out).read_bytes()
    again = CliRunner().invoke(cli, [*where, *args, "--balance-on", "tier", "--log"])
    assert again.exit_code == 0
    assert Path(out).read_bytes() == first


def test_the_log_has_the_strata_that_effects_are_weighted_by(shop: Store, settings: Settings) -> None:
    run(shop, settings, put(shop, a_list(50), balance_on=("tier",)))
    with shop.read() as connection:
        frozen = {row.frozen for row in connection.execute(sa.select(decisions))}
    assert all('"tier"' in text for text in frozen)
