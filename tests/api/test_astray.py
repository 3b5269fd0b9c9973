"""Addresses that there are none of: people get pages, programs problem documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from experiments.settings import Settings
from experiments.store import open_store
from experiments.store.migrate import upgrade

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    settings = Settings(tmp_path, f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    store = open_store(settings.database_url)
    upgrade(store)
    store.close()
    app = create_app(settings=settings)
    yield app.test_client()
    app.extensions["equipoise"].store.close()


def test_a_browser_gets_a_page_in_its_language(client: FlaskClient) -> None:
    page = client.get("/nothing", headers={**BROWSER, "Accept-Language": "zh-CN"})
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "此地址没有内容。" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    wrong_method = client.get("/sign-out", headers=BROWSER)
    assert (wrong_method.status_code, wrong_method.mimetype) == (405, "text/html")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/problem+json"])
def test_a_program_gets_a_problem_document(client: FlaskClient, accept: str) -> None:
    reply = client.get("/nothing/", headers={"Accept": accept})
    assert (reply.status_code, reply.mimetype) == (404, "application/problem+json")
    assert "none ends with a slash" in reply.json["detail"]
    assert client.get("/nothing").mimetype == "application/problem+json"
    assert client.get("/v1/nothing", headers=BROWSER).mimetype == "application/problem+json"
    assert client.post("/nothing", headers=BROWSER).mimetype == "application/problem+json"


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("/experiments/", "/experiments"),
        ("/experiments/?status=running&q=a%20b", "/experiments?status=running&q=a%20b"),
        ("/experiments/win%20back//", "/experiments/win%20back"),
        ("/docs/api/", "/docs/api"),
    ],
)
def test_a_slash_too_many_leads_to_the_page(client: FlaskClient, asked: str, meant: str) -> None:
    reply = client.get(asked, headers=BROWSER)
    assert (reply.status_code, reply.headers["Location"]) == (308, meant)


@pytest.mark.parametrize("asked", ["//evil.example/", "/%2F%2Fevil.example/", "/\\evil.example/", "/nothing/"])
def test_a_slash_leads_to_no_other_place(client: FlaskClient, asked: str) -> None:
    reply = client.get(asked, headers=BROWSER)
    assert reply.status_code in {404, 421}
    assert "Location" not in reply.headers
