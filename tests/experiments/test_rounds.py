"""What the worker does by the clock: reports kept fresh, things told to webhooks, the night's export."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from api.cli import cli
from experiments.jobs import queue, watching
from experiments.jobs.nightly import ask_for_export, last_time
from experiments.jobs.refreshing import Refresher, arrivals
from experiments.lifecycle.transition import transition
from experiments.report import archive
from experiments.report.document import Report, RuleResult, Verdict
from experiments.security import keys
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.log_tables import dead_letters
from experiments.store.migrate import upgrade
from experiments.store.webhook_tables import webhook_deliveries
from experiments.webhooks import hooks
from tests.api.web_reports import broken_split
from tests.experiments.measuring import START_US, decided, define, experiment, happened, metric, record

DAY_US = 86_400_000_000


@pytest.fixture
def listened(store: Store) -> Store:
    hooks.create(store, "https://hooks.example.com/", actor="ann")
    return store


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    yield store
    store.close()


def told(store: Store) -> list[tuple[str, dict[str, Any]]]:
    c = webhook_deliveries.c
    with store.read() as connection:
        rows = connection.execute(sa.select(c.type, c.payload).order_by(c.created_at, c.type)).all()
    return [(row.type, json.loads(row.payload)["data"]) for row in rows]


# what a report tells --------------------------------------------------------------------------------------------------


def report(code: str, variant: str | None = None, srm: str = "ok", *, reached: bool = False, mark: int = 0) -> Report:
    """A report whose reading is as wanted; ``mark`` makes it another one."""
    text = {"en": f"{code} {mark}", "zh-CN": code}
    rules = [RuleResult(code=name, label=text, met=reached, actual=text) for name in ("planned_sample", "planned_days")]
    verdict = Verdict(code=code, variant=variant, sentence=text, reasons=[], rules=rules)  # type: ignore[arg-type]
    plain = broken_split()
    split = msgspec.structs.replace(plain.srm, status=srm)
    return msgspec.structs.replace(
        plain, verdict=verdict, srm=split, content_hash=f"{code}{variant}{srm}{reached}{mark}"
    )


def test_a_report_tells_what_it_changed_and_nothing_twice(listened: Store) -> None:
    key = report("keep_running").plan.experiment
    archive.save(listened, report("keep_running", mark=1))
    assert [event for event, _ in told(listened)] == ["report.reading_changed"]
    archive.save(listened, report("keep_running", mark=2))  # other figures, the same reading
    archive.save(listened, report("keep_running", mark=2))
    assert len(told(listened)) == 1
    archive.save(listened, report("roll_out", "coupon", mark=3))
    event, data = told(listened)[-1]
    assert event == "report.reading_changed"
    assert data == {
        "experiment": key, "phase": broken_split().plan.phase, "report": 3, "reading": "roll_out", "variant": "coupon",
        "sentence": {"en": "roll_out 3", "zh-CN": "roll_out"}, "before": {"reading": "keep_running", "variant": None},
    }  # fmt: skip


def test_a_failed_split_is_told_when_it_begins_to_fail(listened: Store) -> None:
    for mark, srm in enumerate(("ok", "caution", "fail", "fail", "ok", "fail")):
        archive.save(listened, report("keep_running", srm=srm, mark=mark))
    assert [data["report"] for event, data in told(listened) if event == "report.srm_failed"] == [3, 6]


def test_what_stays_undecided_at_its_planned_end_is_told_once(listened: Store) -> None:
    for mark, reached in enumerate((False, True, True)):
        archive.save(listened, report("keep_running", reached=reached, mark=mark))
    archive.save(listened, report("stop_no_effect", reached=True, mark=9))
    assert [data["report"] for event, data in told(listened) if event == "report.underpowered"] == [2]


# what is noticed ------------------------------------------------------------------------------------------------------


def test_keys_tell_that_they_are_made_revoked_and_about_to_expire(listened: Store) -> None:
    now = time.time_ns() // 1000
    made = keys.create(listened, "braze", ["decide"], actor="ann", expires_at=now + 3 * DAY_US)
    keys.create(listened, "later", ["decide"], actor="ann", expires_at=now + 30 * DAY_US)
    for _ in range(2):
        assert watching.look(listened) == 1
    keys.revoke(listened, "braze", actor="ann")
    assert watching.look(listened) == 0
    found = told(listened)
    assert [event for event, _ in found] == ["key.created", "key.created", "key.expiring", "key.revoked"]
    assert found[2][1]["name"] == "braze"
    assert made.text not in json.dumps(found)
    assert made.text.rpartition("_")[2] not in json.dumps(found)


def test_many_refused_events_are_told_once_an_hour(listened: Store) -> None:
    now = 1_772_524_800_000_000
    row = {"kind": "event", "reason": "invalid", "detail": "m-1", "source": "shop", "payload": "m-1"}
    with listened.begin() as connection:
        rows = [row | {"id": f"d-{n}", "received_at": now - n * 1_000_000} for n in range(150)]
        connection.execute(dead_letters.insert(), rows)
        connection.execute(dead_letters.insert(), [row | {"id": "old", "received_at": now - DAY_US}])
    for moment in (now, now + 60_000_000):
        assert watching.look(listened, moment) == 1
    assert told(listened) == [("dead_letters.many", {"last_hour": 150, "by_reason": {"invalid": 150}})]
    assert watching.look(listened, now + 2 * 3_600_000_000) == 0


# reports kept fresh ---------------------------------------------------------------------------------------------------


def test_arrivals_change_with_what_arrives(store: Store) -> None:
    def seen() -> object:
        with store.read() as connection:
            return arrivals(connection)

    before = seen()
    assert seen() == before
    record(store, [decided("u1", "control", START_US)])
    deadline = time.monotonic() + 20  # PostgreSQL counts a second late
    while seen() == before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert seen() != before


@pytest.mark.slow
def test_live_reports_are_computed_when_something_arrived(shop: Store, tmp_path: Path) -> None:
    define(shop, metric("buyers", "proportion"), experiment({"primary": ["buyers"]}))
    refresher = Refresher(shop, Settings(tmp_path, shop.url), threading.Event())
    assert refresher.run() == 0, "a draft has no report"
    for state in ("review", "running"):
        transition(shop, "winback", state, "ann", now=START_US - DAY_US)
    record(shop, [decided(f"u{n}", ("control", "a")[n % 2], START_US) for n in range(40)])
    assert refresher.run() == 1
    assert archive.latest(shop, "winback") is not None
    assert refresher.run() == 0
    [known] = refresher._known.values()
    record(shop, [happened("Order Completed", "u1", START_US + 1)])
    assert refresher.run() == 0, "not again so soon"
    known.computed_at -= 300
    known.took_s = 0.1
    assert refresher.run(lambda: False) == 0, "the lease is gone"
    assert refresher.run() == 1
    [known] = refresher._known.values()
    known.computed_at -= 3_600
    assert refresher.run() == 0, "nothing arrived"
    known.computed_at -= 6 * 3_600
    assert refresher.run() == 1


# the night ------------------------------------------------------------------------------------------------------------


def test_a_night_has_one_export_whoever_asks(store: Store) -> None:
    def ask(moment: str, zone: str = "Asia/Shanghai") -> tuple[str, bool]:
        at = round(datetime.fromisoformat(moment).timestamp() * 1e6)
        with store.begin() as connection:
            return ask_for_export(connection, zone, 2, now=at)

    assert ask("2026-03-03T01:59:59+08:00") == ("export-2026-03-02", True)
    assert ask("2026-03-03T01:59:59+08:00") == ("export-2026-03-02", False)
    assert ask("2026-03-03T02:00:00+08:00") == ("export-2026-03-03", True)
    assert ask("2026-03-04T01:00:00+08:00") == ("export-2026-03-03", False)
    assert [job.id for job in queue.listed(store, kind="export")] == ["export-2026-03-03", "export-2026-03-02"]


def test_days_of_changing_clocks_have_one_night_each() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for first in (datetime(2026, 3, 28, 2, tzinfo=berlin), datetime(2026, 10, 24, 2, tzinfo=berlin)):
        begin = first.timestamp()
        nights = [last_time(datetime.fromtimestamp(begin + 900 * n, berlin), 2).date() for n in range(4 * 60)]
        assert nights == sorted(nights)
        assert len(set(nights)) == 3


# the command line -----------------------------------------------------------------------------------------------------


def test_webhooks_on_the_command_line(shop: Store, tmp_path: Path) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["--data", str(tmp_path), "webhooks", *arguments])

    assert "There are no webhooks" in run("list").output
    added = run("add", "https://hooks.example.com/x?token=1", "--event", "key.created", "--output", "json")
    hook = json.loads(added.output)
    assert hook["secret"].startswith("whsec_")
    listed = run("list")
    assert hook["id"] in listed.output
    assert "whsec_" not in listed.output + run("list", "--output", "json").output
    assert run("ping", hook["id"]).exit_code == 0
    assert "pending" in run("deliveries", hook["id"]).output
    [message] = json.loads(run("deliveries", hook["id"], "--output", "json").output)
    assert run("deliveries", hook["id"], "--again", message["id"]).exit_code == 0
    assert json.loads(run("rotate", hook["id"], "--output", "json").output)["secret"] != hook["secret"]
    hooks.update(shop, hook["id"], actor="ann", active=False)
    paused = run("ping", hook["id"])
    assert (paused.exit_code, paused.output) == (
        2,
        f"equipoise: webhook {hook['id']} is paused; make it active first\n",
    )
    assert run("resume", hook["id"]).exit_code == 0
    assert run("remove", hook["id"]).output == f"Removed {hook['id']}.\n"
    for arguments in (("ping", "wh_0"), ("add", "http://10.0.0.1/"), ("add", "x"), ("deliveries", "wh_0")):
        refused = run(*arguments)
        assert refused.exit_code == 2
        assert refused.output.startswith("equipoise: ")
        assert refused.output.count("\n") == 1


def test_a_report_under_way_ends_with_the_worker(shop: Store, tmp_path: Path) -> None:
    define(shop, metric("buyers", "proportion"), experiment({"primary": ["buyers"]}))
    for state in ("review", "running"):
        transition(shop, "winback", state, "ann", now=START_US - DAY_US)
    stop = threading.Event()
    refresher = Refresher(shop, Settings(tmp_path, shop.url), stop)
    for wait_s in (0.0, 0.5):
        stop.clear()
        thread = threading.Thread(target=refresher.run)
        thread.start()
        stop.wait(wait_s)
        stop.set()
        refresher.cancel()
        thread.join(20)
        assert not thread.is_alive()
