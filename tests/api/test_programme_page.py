"""The page of the programme and effects foretold over REST: asked for, made by jobs, shown, refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from flask.testing import FlaskClient

from allocation.compiled import compile_snapshot
from allocation.decide import decide
from allocation.plan import Snapshot
from api.app import create_app
from experiments.jobs import queue
from experiments.jobs.handlers import load
from experiments.keeping.repository import Repository
from experiments.log.rows import DecisionRow, EventRow
from experiments.programme.asking import ProgrammeOptions
from experiments.programme.jobs import ask_for_programme, programme_course
from experiments.publishing.plans import plan_of
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.api.management import problem
from tests.experiments.measuring import NOW_US, START_US, define, experiment, happened, metric, record
from tests.experiments.small_shop import walk

DAY_US = 86_400_000_000
OURS = {"Sec-Fetch-Site": "same-origin"}
KEYS = ("old-1", "old-2", "new")
MEMBERS = 700


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A shop of three campaigns under one holdout, whose members come over two months."""
    folder = tmp_path_factory.mktemp("shop")
    store = open_store(f"sqlite:///{folder / 'equipoise.sqlite'}")
    upgrade(store)
    define(
        store,
        {"kind": "holdout", "key": "everyone", "name": {"en": "Everyone", "zh-CN": "所有人"}, "share": "20%"},
        metric("profit", "profit", margin={"rate": "0.4"}),
        metric("orders", "count"),
        *(experiment({"primary": ["profit"]}, key=key) for key in KEYS),
        experiment({"primary": ["profit"]}, key="draft"),
    )
    for key in KEYS:
        walk(store, key, "review", "testing", "running", now=START_US - DAY_US)
    record(store, lived(store))
    yield Settings(folder / "data", store.url)
    store.close()


def lived(store: Store) -> list[DecisionRow | EventRow]:
    repository = Repository(store)
    plans = {key: plan_of(repository, repository.experiment(key)) for key in KEYS}
    snapshot = compile_snapshot(Snapshot(version="v", effective_at=0, experiments=plans))
    rng = np.random.default_rng(3)
    rows: list[DecisionRow | EventRow] = []
    for number in range(MEMBERS):
        unit, at = f"m{number}", START_US + int(rng.integers(0, 40 * DAY_US))
        answers = [decide(snapshot, key, unit, now=at) for key in KEYS]
        rows += [DecisionRow.from_decision(answer) for answer in answers]
        reached = answers[0].kind == "enrolled"
        for order in range(int(rng.poisson(2.5 if reached else 1.0))):
            when = at + int(rng.integers(0, 15 * DAY_US))
            rows.append(
                happened("Order Completed", unit, when, int(rng.integers(2000, 9000)), object_id=f"{number}-{order}")
            )
    return rows


@pytest.fixture
def client(made: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings=made)
    yield app.test_client()
    app.extensions["equipoise"].store.close()


def do(made: Settings, kind: str) -> queue.Job | None:
    """Have the next job of a kind done as its worker would, as of when the shop's log ends."""
    store = open_store(made.database_url)
    job = queue.claim(store, "me", [kind])
    assert job is not None
    try:
        as_of = queue.Job(**{**{name: getattr(job, name) for name in job.__dataclass_fields__}, "created_at": NOW_US})
        queue.finish(store, job, load(kind)(store, made, as_of, lambda *_: None, threading.Event()))
    finally:
        store.close()
    return job


def test_the_return_is_computed_once_a_day_as_it_was_last_asked_for(client: FlaskClient, made: Settings) -> None:
    before = client.get("/programme?lang=en").text
    assert "The return was not computed yet" in before
    wrong = client.post("/programme/compute", data={"metric": "profit", "days": "many"}, headers=OURS)
    assert wrong.status_code == 422
    assert "write a whole number from 1 to 3650" in wrong.text
    assert client.post("/programme/compute", data={"metric": "nothing"}, headers=OURS).status_code == 422
    assert client.post("/programme/compute", data={"fixed_cost": "inf"}, headers=OURS).status_code == 422
    assert client.post("/programme/compute", data={"days": "28", "fixed_cost": "100"}, headers=OURS).status_code == 303
    assert "Being computed" in client.get("/programme?lang=en").text
    do(made, "programme")
    store = open_store(made.database_url)
    document, _ = programme_course(store)
    assert document is not None
    (found,) = document.holdouts
    assert (document.days, found.fixed_cost, found.readable, len(found.months)) == (28, 100.0, True, 2)
    daily = ask_for_programme(store, now=NOW_US)
    assert daily is not None
    assert ask_for_programme(store, now=NOW_US) is None
    assert ProgrammeOptions(**queue.get(store, daily).params) == ProgrammeOptions(days=28, fixed_cost=100.0)
    queue.cancel(store, daily)
    store.close()
    english, chinese = (client.get(f"/programme?lang={lang}").text for lang in ("en", "zh-CN"))
    assert "The programme earned ¥" in english.replace("\u2060", "")
    assert "View as table" in english
    assert "2026-03" in english
    assert "整体营销比不做营销多赚 ¥" in chinese.replace("\u2060", "")


def test_an_effect_is_foretold(client: FlaskClient, made: Settings) -> None:
    address = "/v1/experiments/new/surrogate"
    problem(client.get(address), 404)
    body = {"long": "profit", "early": ["orders"], "early_days": 5, "long_days": 14}
    asked = client.post(address, json=body)
    assert asked.status_code == 202
    do(made, "surrogate")
    assert client.get(asked.headers["Location"]).json["state"] == "done"
    found = client.get(address).json
    assert (found["experiment"], found["early"], len(found["past"]), len(found["assumptions"])) == (
        "new",
        ["orders"],
        2,
        3,
    )
    page = client.get("/programme?lang=en").text
    assert "Assumed: the offer works on the long outcome only through the early ones" in page
    assert "old-2" in page
    sent = {"experiment": "new", "long": "profit", "early_days": "5", "long_days": "14"}
    assert client.post("/programme/surrogate", data=sent, headers=OURS).status_code == 303
    assert "new is being foretold" in client.get("/programme?lang=en").text
    for changes in ({"long": "nothing"}, {"early_days": "20"}, {"experiment": "nobody"}, {"experiment": "draft"}):
        assert client.post("/programme/surrogate", data=sent | changes, headers=OURS).status_code == 422


@pytest.mark.parametrize(
    ("key", "body", "status", "pointer"),
    [
        ("new", {}, 422, "/long"),
        ("new", {"long": "nothing"}, 422, "/long"),
        ("new", {"long": "profit", "early": ["profit", "x"]}, 422, "/early/1"),
        ("new", {"long": "profit", "early_days": 14, "long_days": 14}, 422, "/early_days"),
        ("new", {"long": "profit", "alpha": 0}, 422, "/alpha"),
        ("draft", {"long": "profit"}, 409, None),
        ("nobody", {"long": "profit"}, 404, None),
    ],
)
def test_what_cannot_be_foretold_is_said(
    client: FlaskClient, key: str, body: dict[str, object], status: int, pointer: str | None
) -> None:
    reply = client.post(f"/v1/experiments/{key}/surrogate", json=body)
    assert reply.status_code == status, reply.json
    if pointer is not None:
        assert pointer in {error["pointer"] for error in msgspec.json.decode(reply.data)["errors"]}


def test_without_a_holdout_the_page_says_what_is_missing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    app = create_app(settings=Settings(tmp_path / "data", store.url))
    assert "There is no global holdout" in app.test_client().get("/programme?lang=en").text
    define(store, {"kind": "holdout", "key": "everyone", "share": "20%"})
    assert ask_for_programme(store) is None
    assert "There is no profit metric to count by" in app.test_client().get("/programme?lang=en").text
    app.extensions["equipoise"].store.close()
    store.close()
