"""The simulated shop: what the demo puts in is what the reports find, and a second run changes nothing."""

from __future__ import annotations

import json
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.definitions.loader import load_text
from experiments.demo import definitions, shop
from experiments.demo.campaigns import Calendar
from tests.system.serving import Server, run, serving

NOW = 1_795_000_000_000_000


def test_the_documents_are_valid_and_bilingual() -> None:
    calendar = Calendar(NOW)
    text = definitions.documents(
        members_day_us=calendar.members_day_us,
        members_day_end_us=calendar.members_day_end_us,
        winback_us=calendar.winback_us,
        winback_end_us=calendar.winback_end_us,
        home_page_us=calendar.home_page_us,
        reminder_us=calendar.reminder_us,
        shipping_us=calendar.shipping_us,
        early_us=calendar.early_us,
        cart_us=calendar.cart_us,
    )
    loaded = [item.definition for item in load_text(text)]
    assert sum(definition.kind == "experiment" for definition in loaded) == 8
    for definition in loaded:
        if getattr(definition, "name", None):
            assert set(definition.name) == {"en", "zh-CN"}, definition.key


def test_the_shop_repeats_and_its_stages_follow_the_rule() -> None:
    one, two = (shop.make_members(np.random.default_rng(7), start_us=NOW, count=2_000) for _ in range(2))
    assert one.ids == two.ids
    assert np.array_equal(one.basket_minor, two.basket_minor)
    nobody = np.array([], dtype=np.int64)
    stage = shop.stages_at(one, shop.Orders(nobody, nobody, nobody, nobody), NOW)
    quiet_days = (NOW - one.last_order_at) // shop.DAY_US
    joined = one.joined_at <= NOW
    assert np.array_equal(stage == shop.STAGES.index("churned"), joined & (quiet_days >= 181))
    assert np.array_equal(stage == shop.STAGES.index("dormant"), joined & (quiet_days >= 61) & (quiet_days < 181))


def counts(data: Path) -> dict[str, int]:
    with sqlite3.connect(f"file:{data / 'equipoise.sqlite'}?mode=ro", uri=True) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("decisions", "events", "members", "definition_revisions", "reports", "audit_log")
        }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with the whole demo."""
    folder = tmp_path_factory.mktemp("demo")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = run("--data", str(folder), "demo", timeout=240)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == 0, ended.stderr
    assert "All of it is invented" in ended.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 40
    return folder


@pytest.fixture(scope="module")
def server(filled: Path) -> Iterator[Server]:
    with serving(filled) as started:
        yield started


def report(server: Server, key: str) -> dict[str, Any]:
    reply = server.send("GET", f"/v1/experiments/{key}/report")
    assert reply.status == 200, reply.body
    document: dict[str, Any] = reply.json()
    return document


@pytest.mark.slow
def test_a_second_run_changes_nothing_and_says_so(filled: Path) -> None:
    before = counts(filled)
    ended = run("--data", str(filled), "demo", timeout=60)
    assert ended.returncode == 0
    assert "the demo changed nothing" in ended.stdout
    assert counts(filled) == before
    assert before["reports"] == 7


@pytest.mark.slow
def test_each_experiment_reads_as_the_story_says(server: Server) -> None:
    """Salts and seed are fixed, so this is no statistical test; the truth is experiments/demo/story.py."""
    winback = report(server, "dormant-winback")
    assert (winback["verdict"]["code"], winback["verdict"]["variant"]) == ("roll_out", "save20")
    profit = next(metric for metric in winback["metrics"] if metric["name"] == "profit-14d")
    bought = next(metric for metric in winback["metrics"] if metric["name"] == "repurchase-14d")
    readings = {c["variant"]: c["reading"] for c in profit["comparisons"]}
    assert readings == {"save20": "better", "percent15": "worse", "points500": "unclear"}
    assert {c["variant"]: c["reading"] for c in bought["comparisons"]}["percent15"] == "better"
    assert report(server, "free-shipping-79")["verdict"]["code"] == "keep_running"
    picks = report(server, "home-page-picks")
    assert (picks["verdict"]["code"], picks["verdict"]["variant"]) == ("roll_out", "picks")
    reminder = report(server, "points-reminder")
    assert (reminder["verdict"]["code"], reminder["verdict"]["variant"]) == ("roll_out", "push")
    for metric in reminder["metrics"]:
        assert all(c["p_value"] is None and c["chance_to_win"] is not None for c in metric["comparisons"])
    broken = report(server, "loyal-early-access")
    assert broken["verdict"]["code"] == "do_not_read"
    assert broken["srm"]["status"] == "fail"
    assert not any(c["readable"] for metric in broken["metrics"] for c in metric["comparisons"])


@pytest.mark.slow
def test_the_cart_page_learned_and_is_reported_without_a_scorecard(server: Server) -> None:
    """Salts and seed are fixed; the truth is experiments/demo/nudges.py: no single nudge is best for every cart."""
    found = report(server, "cart-nudge")
    assert found["metrics"] == []
    bandit = found["bandit"]
    assert bandit["gain"]["standing"] == "ahead"
    assert [version["state"] for version in bandit["versions"]] == ["replaced", "replaced", "live", "waiting"]
    assert bandit["valued_on"] == "held_out"
    assert all(check["status"] == "ok" for check in found["checks"]), found["checks"]
    csv = server.send("GET", "/v1/experiments/cart-nudge/report?format=csv").body.decode()
    assert len(csv.splitlines()) == 5
    page = server.send("GET", "/experiments/cart-nudge?lang=zh-CN").body.decode()
    assert "策略版本" in page
    assert "/experiments/cart-nudge/policies/4/approve" in page


@pytest.mark.slow
def test_every_kind_of_inference_is_there(server: Server) -> None:
    kinds = {
        key: report(server, key)["plan"]["inference"]
        for key in ("dormant-winback", "free-shipping-79", "home-page-picks", "points-reminder")
    }
    assert list(kinds.values()) == ["fixed", "group_sequential", "always_valid", "bayesian"]


@pytest.mark.slow
def test_the_pages_are_there_at_once_and_say_simulated(server: Server) -> None:
    for path, word in (
        ("/experiments?lang=en", "simulated"),
        ("/experiments?lang=zh-CN", "模拟"),
        ("/experiments/dormant-winback?lang=en", "Roll out"),
        ("/experiments/welcome-points?lang=en", "welcome points"),
    ):
        page = server.send("GET", path)
        assert page.status == 200
        assert word in page.body.decode()


@pytest.mark.slow
def test_a_refreshed_report_of_an_ended_experiment_says_the_same(server: Server) -> None:
    before = report(server, "dormant-winback")
    again = server.send("GET", "/v1/experiments/dormant-winback/report?refresh=1", timeout=120)
    assert again.status == 200, again.body
    after = again.json()
    assert [metric["comparisons"] for metric in after["metrics"]] == [m["comparisons"] for m in before["metrics"]]
    csv = server.send("GET", "/v1/experiments/dormant-winback/report?format=csv")
    assert csv.headers["content-type"] == "text/csv; charset=utf-8"
    assert csv.body.decode().splitlines()[0].startswith("metric,kind,role")
    unchanged = server.send(
        "GET", "/v1/experiments/dormant-winback/report?format=csv", headers={"If-None-Match": csv.headers["etag"]}
    )
    assert unchanged.status == 304


@pytest.mark.slow
def test_members_of_the_shop_are_decided_by_their_stage(server: Server, filled: Path) -> None:
    with sqlite3.connect(f"file:{filled / 'equipoise.sqlite'}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT unit, attributes FROM members WHERE unit NOT IN "
            "(SELECT unit FROM decisions WHERE experiment <> 'members-day') LIMIT 4000"
        ).fetchall()
    active = next(unit for unit, text in rows if json.loads(text)["stage"] == "active")
    dormant = next(unit for unit, text in rows if json.loads(text)["stage"] == "dormant")
    ask = {"experiment": "free-shipping-79"}
    assert server.send("POST", "/v1/decide", {**ask, "unit": active}).json()["reason"] in {"assigned", "holdout"}
    assert server.send("POST", "/v1/decide", {**ask, "unit": dormant}).json()["reason"] == "not_in_audience"


@pytest.mark.slow
def test_stages_and_segments_are_there_at_once(server: Server, filled: Path) -> None:
    """No round of the worker is waited for; what is counted is what is stored with the members."""
    with sqlite3.connect(f"file:{filled / 'equipoise.sqlite'}?mode=ro", uri=True) as connection:
        stored = [json.loads(text)["stage"] for (text,) in connection.execute("SELECT attributes FROM members")]
    found = server.send("GET", "/v1/stages/lifecycle").json()
    counts = {stage["stage"]: stage["units"] for stage in found["stages"] if stage["stage"]}
    assert counts == {stage: stored.count(stage) for stage in counts}
    assert len(found["weeks"]) == 5
    assert all(week["moves"] for week in found["weeks"][:-1])
    sizes = {each["key"]: each["size"] for each in server.send("GET", "/v1/segments").json()["items"]}
    assert sizes["new-members"]["members"] == counts["new"]
    assert 0 < sizes["quiet-cardholders"]["held_out"] < sizes["quiet-cardholders"]["members"] < counts["dormant"]
