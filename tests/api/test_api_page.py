"""The page about the HTTP interface: every address on it, also without scripts and without the viewer's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.web import api_page, pages
from experiments.settings import Settings
from experiments.store import open_store
from experiments.store.migrate import upgrade


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    settings = Settings(tmp_path, f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    store = open_store(settings.database_url)
    upgrade(store)
    store.close()
    app = create_app(settings=settings)
    yield app.test_client()
    app.extensions["equipoise"].store.close()


def test_every_address_is_on_the_page(client: FlaskClient) -> None:
    document = client.get("/v1/openapi.json").json
    page = client.get("/docs/api")
    assert page.status_code == 200
    for path, operations in document["paths"].items():
        assert f"<code>{path}</code>" in page.text
        for operation in operations.values():
            assert operation["summary"]
    assert 'href="/docs/api"' in client.get("/experiments").text


def test_what_the_front_answers_says_which_scope_it_takes(client: FlaskClient) -> None:
    paths = client.get("/v1/openapi.json").json["paths"]
    for path, method, scope in [
        ("/v1/decide", "get", "decide"),
        ("/v1/decide/batch", "post", "decide"),
        ("/v1/events", "post", "ingest"),
        ("/v1/identify", "post", "ingest"),
        ("/ofrep/v1/evaluate/flags/{key}", "post", "decide"),
        ("/v1/experiments/{key}/assignments", "post", "decide"),
        ("/v1/audit", "get", "report"),
    ]:
        operation = paths[path][method]
        assert {"bearer": [scope]} in operation["security"], path
        assert operation["description"].endswith(f"Scope: `{scope}`."), path
    assert all(">>>" not in str(part) for part in client.get("/v1/openapi.json").json["components"]["schemas"].values())


def test_nothing_is_evaluated_and_nothing_comes_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs/api")
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "https://" not in page.text.replace('"http://www.w3.org', "")


def test_without_the_viewer_the_list_stays(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_page, "BUNDLE", "vendor/not-there.js")
    pages._version.cache_clear()
    page = client.get("/docs/api")
    assert "api.mjs" not in page.text
    assert "<code>/v1/experiments</code>" in page.text


def test_it_is_there_in_chinese(client: FlaskClient) -> None:
    assert "HTTP 接口" in client.get("/docs/api?lang=zh-CN").text
