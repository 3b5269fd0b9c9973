"""``GET /v1/programme``: the document that the command prints, computed in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from experiments.settings import Settings
from experiments.store import open_store
from experiments.store.migrate import upgrade
from tests.experiments.measuring import define, metric

HOLDOUT = {"kind": "holdout", "key": "everyone", "share": "5%"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    url = f"sqlite:///{tmp_path / 'equipoise.sqlite'}"
    store = open_store(url)
    upgrade(store)
    define(store, HOLDOUT, metric("profit", "profit", margin={"rate": "0.4"}))
    store.close()
    app = create_app(settings=Settings(tmp_path / "data", url))
    yield app.test_client()
    app.extensions["equipoise"].store.close()


def test_document(client: FlaskClient) -> None:
    first = client.get("/v1/programme?days=90&fixed_cost=20")
    assert first.status_code == 200, first.json
    assert first.json is not None
    assert first.json["metric"] == "profit"
    assert first.json["days"] == 90
    (result,) = first.json["holdouts"]
    assert (result["holdout"], result["readable"], result["profit"]["estimate"]) == ("everyone", False, None)
    again = client.get("/v1/programme?days=90&fixed_cost=20")
    assert again.json == first.json  # less than a minute old


@pytest.mark.parametrize(
    ("question", "status", "words"),
    [
        ("metric=buyers", 422, "no profit metric 'buyers'"),
        ("holdout=nobody", 422, "no holdout 'nobody'"),
        ("days=0", 400, "days"),
        ("alpha=nan", 400, "alpha"),
        ("difference=0", 400, "difference"),
        ("fixed_cost=inf", 400, "fixed_cost"),
        ("month=3", 400, "month"),
    ],
)
def test_what_is_wrong_is_said(client: FlaskClient, question: str, status: int, words: str) -> None:
    reply = client.get(f"/v1/programme?{question}")
    assert reply.status_code == status
    assert reply.content_type == "application/problem+json"
    assert words in str(reply.json)
