"""Stages on the command line, over REST and as a page: what is shown, done, asked for once a day, and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from api.app import create_app
from api.cli import cli
from experiments.jobs import handlers, queue
from experiments.segments.asking import ask_for_sizes
from experiments.settings import Settings
from experiments.stages.asking import ask_for_stages
from experiments.stages.computing import compute
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.stages.shop import RULE, at, define, ordered, record, state, stored

NOON = at("2026-05-20T12:00")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env(data=str(tmp_path), database=None)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = open_store(settings.database_url)
    upgrade(opened)
    define(opened)
    orders = [ordered("m-1", at("2026-04-19T12:00")), ordered("m-2", at("2026-05-19T12:00"), 25_000)]
    record(opened, [*orders, ordered("m-3", at("2026-05-13T12:00"))])
    state(opened, "m-2", 5, tier="gold")
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store, settings: Settings) -> FlaskClient:
    assert store is not None
    return create_app(settings=settings).test_client()


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--data", str(settings.data_dir), "stages", *arguments])


def test_rest_shows_and_asks(client: FlaskClient, store: Store, settings: Settings) -> None:
    assert client.get("/v1/stages").get_json()["items"] == [{"rule": "lifecycle", "as_of": None, "units": 0}]
    empty = client.get("/v1/stages/lifecycle").get_json()
    assert (empty["as_of"], empty["weeks"], [s["entered"] for s in empty["stages"]]) == (None, [], [None] * 4)
    asked = client.post("/v1/stages/lifecycle/compute", json={"as_of": "2026-05-20T12:00:00+08:00", "weeks": 2})
    assert asked.status_code == 202
    job = queue.claim(store, "me", ["stages"])
    assert job is not None
    assert asked.headers["Location"] == f"/v1/jobs/{job.id}"
    result = handlers.load("stages")(store, settings, job, lambda _done, _total: None, None)  # type: ignore[arg-type]
    assert result["counts"] == {"active": 2, "dormant": 1}
    found = client.get("/v1/stages/lifecycle?weeks=1").get_json()
    assert (found["as_of"], found["units"], len(found["weeks"])) == ("2026-05-20T04:00:00Z", 3, 1)
    assert {(s["stage"], s["units"], s["entered"], s["left"]) for s in found["stages"]} == {
        ("potential", 0, 0, 1), ("lost", 0, 0, 0), ("dormant", 1, 1, 0), ("active", 2, 1, 1),
    }  # fmt: skip
    assert sum(cell["spend"] for cell in found["grid"]) == 450
    early = client.post("/v1/stages/lifecycle/compute", json={"as_of": "2026-05-19T00:00:00Z"})
    assert (early.status_code, early.get_json()["type"]) == (409, "urn:equipoise:problem:computed_already")


def test_rest_refuses_in_words(client: FlaskClient, store: Store) -> None:
    assert client.get("/v1/stages/other").status_code == 404
    assert client.get("/v1/stages/a%00b").status_code == 404
    assert client.get("/v1/stages/lifecycle?weeks=0").status_code == 400
    for body, pointer in (
        ({"weeks": 105}, "/weeks"),
        ({"as_of": "2026-05-20"}, "/as_of"),
        ({"as_of": "2999-05-20T00:00:00Z"}, "/as_of"),
        ({"week": 1}, "/week"),
    ):
        answer = client.post("/v1/stages/lifecycle/compute", json=body)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.get_json()["errors"]] == [pointer]
    define(store, "kind: stage_rule\nkey: stated\nstages: [{stage: a}]")
    answer = client.post("/v1/stages/stated/compute")
    assert (answer.status_code, answer.get_json()["type"]) == (409, "urn:equipoise:problem:not_computed")
    assert client.get("/v1/stages/stated").get_json()["computed"] is False


def test_the_page_in_both_languages(client: FlaskClient, store: Store) -> None:
    page = client.get("/members").get_data(as_text=True)
    assert "The stages were not computed yet" in page
    assert "equipoise stages compute lifecycle" in page
    compute(store, "lifecycle", NOON, weeks=3)
    page = client.get("/members?lang=en").get_data(as_text=True)
    assert "2 of 3 members changed their stage in the week from 18 May 2026 to 20 May 2026." in page
    assert "56% of spend" in page
    week = client.get("/members?lang=zh-CN&week=2026-05-11").get_data(as_text=True)
    assert "2 名会员中有 0 名换了阶段" in week  # who ordered for the first time was not known before
    assert "新增" in week
    assert "潜客" in week
    assert "Members" not in week.partition("<main")[2].partition("</main>")[0]
    done = client.post("/members/compute", data={"rule": "lifecycle"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert (done.status_code, done.headers["Location"]) == (303, "/members?rule=lifecycle")
    assert [job.kind for job in queue.listed(store)] == ["stages"]
    assert "Being computed" in client.get("/members?lang=en").get_data(as_text=True)
    none = client.post("/members/compute", data={"rule": "other"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert none.status_code == 404


def test_segments_have_a_size(client: FlaskClient, store: Store, settings: Settings) -> None:
    rule = "kind: segment\nkey: gold\nname: {en: Gold, zh-CN: 金卡}\nrule: {attribute: tier, op: eq, value: gold}"
    define(store, f"{RULE}---\n{rule}\n---\nkind: segment\nkey: full\nrule: {{attribute: cart, op: gt, value: 1}}")
    assert client.get("/v1/segments").get_json()["items"][0]["size"] is None
    assert "not counted yet" in client.get("/members?lang=en").get_data(as_text=True)
    assert ask_for_sizes(store)
    job = queue.claim(store, "me", ["segments"])
    assert job is not None
    queue.finish(store, job, handlers.load("segments")(store, settings, job, lambda _done, _total: None, None))  # type: ignore[arg-type]
    full, gold = client.get("/v1/segments").get_json()["items"]
    assert (gold["size"]["members"], gold["size"]["opted_out"], gold["size"]["held_out"]) == (1, 0, 0)
    assert (full["size"]["members"], full["size"]["why"]) == (None, "only a request tells cart")
    assert "size" not in client.get("/v1/segments/gold").get_json()  # its ETag is that of the definition
    page = client.get("/members?lang=zh-CN").get_data(as_text=True)
    assert "只有请求时才知道谁在其中" in page
    assert "统计于" in page
    define(store, f"{RULE}---\n{rule.replace('eq', 'ne')}")
    assert "changed since it was counted" in client.get("/members?lang=en").get_data(as_text=True)


def test_the_page_without_members(settings: Settings) -> None:
    """Computed of nobody is said to be so; nothing is drawn, and no worker is blamed while one computes."""
    opened = open_store(settings.database_url)
    upgrade(opened)
    define(opened)
    client = create_app(settings=settings).test_client()
    compute(opened, "lifecycle", NOON, weeks=2)
    page = client.get("/members?lang=en").get_data(as_text=True)
    assert "No member is known here yet" in page
    assert "equipoise import events" in page
    record(opened, [ordered("m-1", at("2026-05-19T12:00"))])
    compute(opened, "lifecycle", NOON + 1)
    late = client.get("/members?lang=en").get_data(as_text=True)
    assert "the worker that computes stages once a day does not run" in late
    client.post("/members/compute", data={"rule": "lifecycle"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert "once a day does not run" not in client.get("/members?lang=en").get_data(as_text=True)
    opened.close()


def test_the_page_without_a_rule(settings: Settings) -> None:
    opened = open_store(settings.database_url)
    upgrade(opened)
    client = create_app(settings=settings).test_client()
    assert "No stage rule is computed here yet" in client.get("/members").get_data(as_text=True)
    define(opened, RULE.partition("computed")[0] + "stages: [{stage: a}]")
    assert "Lifecycle" in client.get("/members?lang=en").get_data(as_text=True)
    opened.close()


def test_once_a_day(store: Store) -> None:
    """From 03:00 in the project's time zone on; asked again on the same day it is the same job."""
    night = at("2026-05-21T02:59")
    assert ask_for_stages(store, now=night) == ["stages-lifecycle-2026-05-20"]
    assert ask_for_stages(store, now=night) == []
    assert ask_for_stages(store, now=night + 60_000_000) == ["stages-lifecycle-2026-05-21"]
    job = queue.get(store, "stages-lifecycle-2026-05-21")
    assert dict(job.params) == {"rule": "lifecycle", "weeks": 8}
    define(store, RULE.partition("computed")[0] + "stages: [{stage: a}]")
    assert ask_for_stages(store, now=at("2026-05-22T12:00")) == []


def test_the_command_line(store: Store, settings: Settings) -> None:
    never = run(settings, "show", "lifecycle")
    assert "were never computed: run equipoise stages compute lifecycle" in never.output
    done = run(settings, "compute", "lifecycle", "--as-of", "2026-05-20T12:00", "--weeks", "2")
    assert done.exit_code == 0, done.output
    assert stored(store)["m-1"]["stage"] == "dormant"
    shown = run(settings, "show", "lifecycle", "--output", "csv", "--lang", "zh-CN").output.splitlines()
    assert shown[:2] == ["stage,name,units,share,entered,left", "potential,潜客,0,0.000000,0,1"]
    moves = run(settings, "transitions", "lifecycle", "--weeks", "1")
    assert "active → dormant  1" in moves.output
    found = json.loads(run(settings, "transitions", "lifecycle", "--output", "json").output)
    assert [week["week"] for week in found["weeks"]] == ["2026-05-18", "2026-05-11", "2026-05-04"]
    assert run(settings, "show", "lifecycle", "--unit", "m-1").output.splitlines() == [
        "since 2026-05-20T04:00:00Z  dormant  (revision 1 of the rule)",
        "since 2026-05-10T15:59:59Z  active  (revision 1 of the rule)",
    ]
    for arguments, words in (
        (("compute",), "name the KEY of a stage rule, or a file of --orders"),
        (("compute", "other"), "no stage rule 'other' is defined; there are: lifecycle"),
        (("compute", "lifecycle", "--as-of", "soon"), "--as-of: 'soon' is not a time"),
        (("compute", "lifecycle", "--as-of", "2026-05-19"), "was computed as of 2026-05-20T04:00:00Z already"),
        (("compute", "lifecycle", "--preset", "5-stage"), "belong to --orders"),
        (("compute", "--orders", "x.csv", "--preset", "5-stage"), "--orders needs --as-of"),
        (("compute", "--orders", "x.csv", "--as-of", "2026-03-03"), "needs one of --rule FILE and --preset NAME"),
        (("compute", "--orders", "x.csv", "--preset", "5-stage", "--weeks", "3"), "--weeks belongs to the KEY"),
        (("show", "lifecycle", "--unit", "m-9"), "has never found this member in a stage"),
        (("show", "other"), "no stage rule 'other' is defined"),
        (("presets", "six"), "no preset 'six' here"),
    ):
        wrong = run(settings, *arguments)
        assert (wrong.exit_code, words in wrong.output) == (2, True), wrong.output
