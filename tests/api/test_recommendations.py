"""Recommendations over REST and on the pages: asked for, made by the job, shown, and carried on from."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from api.app import create_app
from experiments.jobs import queue
from experiments.jobs.handlers import load
from experiments.jobs.latest import course
from experiments.keeping.repository import Repository
from experiments.report import archive as reports
from experiments.report.build import build_report
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from experiments.uplift import archive, asking
from tests.api.management import problem
from tests.experiments.measuring import NOW_US
from tests.experiments.uplift_shop import KEY, shop

ADDRESS = f"/v1/experiments/{KEY}/recommendation"
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A shop whose experiment has ended, with its report and a recommendation made by the job."""
    folder = tmp_path_factory.mktemp("shop")
    store = open_store(f"sqlite:///{folder / 'equipoise.sqlite'}")
    upgrade(store)
    settings = Settings(folder / "data", store.url)
    shop(store)
    reports.save(store, build_report(store, KEY, NOW_US), now=NOW_US)
    with store.begin() as connection:
        job, _ = queue.enqueue(connection, "recommend-1", "recommend", {}, created_by="t", experiment=KEY, now=NOW_US)
    result = load("recommend")(store, settings, job, lambda *_: None, threading.Event())
    assert result["evidence"] is True
    again = load("recommend")(store, settings, job, lambda *_: None, threading.Event())
    assert again["number"] == result["number"] == 1
    with store.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET state = 'done'"))
    yield settings
    store.close()


@pytest.fixture
def client(made: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings=made)
    yield app.test_client()
    app.extensions["equipoise"].store.close()


def fresh(tmp_path: Path, **fields: object) -> tuple[Store, FlaskClient]:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    shop(store, members=20, **fields)  # type: ignore[arg-type]
    return store, create_app(settings=Settings(tmp_path / "data", store.url)).test_client()


@pytest.mark.slow
def test_a_recommendation_is_given_as_json_and_csv(client: FlaskClient) -> None:
    reply = client.get(ADDRESS)
    assert reply.status_code == 200
    document = reply.json
    assert document["recommended"] == "personalised"
    assert document["rule"] == {"attribute": "tier", "op": "eq", "value": "gold"}
    assert "NaN" not in reply.text
    assert client.get(ADDRESS, headers={"If-None-Match": reply.headers["ETag"]}).status_code == 304
    assert client.get(f"{ADDRESS}?number=1").json["content_hash"] == document["content_hash"]
    listed = list(csv.DictReader(io.StringIO(client.get(f"{ADDRESS}?format=csv").text)))
    assert {"check", "arm", "policy", "curve", "profile"} <= {row["part"] for row in listed}
    problem(client.get(f"{ADDRESS}?number=2"), 404)
    problem(client.get(f"{ADDRESS}?number=0"), 400)


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "zh-CN"])
def test_the_page_says_who_to_send_it_to(client: FlaskClient, lang: str) -> None:
    page = client.get(f"/experiments/{KEY}?lang={lang}").text
    heading = {"en": "Who to send it to: ¥20 off", "zh-CN": "该发给谁：减20元"}[lang]
    assert heading in page
    assert {"en": "Save as segment", "zh-CN": "保存为人群"}[lang] in page
    assert {"en": "send to top 5", "zh-CN": "发给前 5"}[lang] in page
    assert 'role="img"' in page


@pytest.mark.slow
def test_the_group_is_saved_as_a_segment_from_the_page(client: FlaskClient, made: Settings) -> None:
    address = f"/experiments/{KEY}/recommendation/segment"
    assert f"{KEY}-target" in client.get(address).text
    refused = client.post(address, data={"key": "Not A Key"}, headers=OURS)
    assert refused.status_code == 409
    saved = client.post(address, data={"key": "gold-members"}, headers=OURS)
    assert saved.status_code == 303
    store = open_store(made.database_url)
    rule = next(d for name, d in Repository(store).catalogue().definitions.items() if name[1] == "gold-members")
    assert rule.rule == {"attribute": "tier", "op": "eq", "value": "gold"}
    store.close()
    assert client.get(f"/experiments/{KEY}/recommendation/other").status_code == 404


@pytest.mark.slow
def test_the_draft_of_its_test_is_made_from_the_page(client: FlaskClient) -> None:
    made = client.post(f"/experiments/{KEY}/recommendation/draft", data={"key": "winback-policy"}, headers=OURS)
    assert (made.status_code, made.headers["Location"]) == (303, "/experiments/winback-policy")
    draft = client.get("/v1/experiments/winback-policy").json
    assert draft["state"] == "draft"


def test_one_is_asked_for_and_waits_in_the_queue(tmp_path: Path) -> None:
    store, client = fresh(tmp_path)
    detail = problem(client.get(ADDRESS), 404)["detail"]
    assert f"POST {ADDRESS}" in detail
    reply = client.post(ADDRESS, json={"outcome": "buys", "value": 60})
    assert reply.status_code == 202
    job = queue.get(store, reply.json["job"])
    assert (job.kind, job.experiment, job.params) == (
        "recommend", KEY, {"outcome": "buys", "value": 60.0, "seed": 0, "folds": 5},
    )  # fmt: skip
    # The page's button does not ask again while one is under way.
    assert client.post(f"/experiments/{KEY}/recommendation", headers=OURS).status_code == 303
    assert course(store, asking.KIND, KEY).under_way == job.id
    client.application.extensions["equipoise"].store.close()
    store.close()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"outcome": "nothing"}, "/outcome"),
        ({"phase": 7}, "/phase"),
        ({"folds": 2}, "/folds"),
        ({"value": "60"}, "/value"),
        ({"other": 1}, "/other"),
    ],
)
def test_what_is_asked_for_wrongly_is_pointed_to(tmp_path: Path, body: dict[str, object], pointer: str) -> None:
    store, client = fresh(tmp_path)
    found = problem(client.post(ADDRESS, json=body), 422)
    assert [error["pointer"] for error in found["errors"]] == [pointer]
    client.application.extensions["equipoise"].store.close()
    store.close()


def test_nothing_is_asked_for_before_the_end(tmp_path: Path) -> None:
    store, client = fresh(tmp_path, state="running")
    assert "is running" in problem(client.post(ADDRESS), 409)["detail"]
    assert client.post(f"/experiments/{KEY}/recommendation", headers=OURS).status_code == 404
    problem(client.get("/v1/experiments/nothing/recommendation"), 404)
    client.application.extensions["equipoise"].store.close()
    store.close()


@pytest.mark.slow
def test_a_recommendation_becomes_due_once_when_an_ended_experiment_may_be_read(made: Settings) -> None:
    store = open_store(made.database_url)
    ended = Repository(store).experiment(KEY).ended_at
    assert ended is not None
    first = asking.ask_for_recommendations(store, now=ended + 1)
    assert len(first) == 1
    assert asking.ask_for_recommendations(store, now=ended + 2) == []
    with store.begin() as connection:
        connection.execute(sa.text("DELETE FROM jobs WHERE id = :id"), {"id": first[0]})
    assert asking.ask_for_recommendations(store, now=ended + asking.RECENT_US + 1) == []
    assert archive.latest(store, KEY) is not None
    store.close()
