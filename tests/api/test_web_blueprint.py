"""The blueprint on a Flask application: addresses, languages, themes, headers, unknown keys."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.web.blueprint import create_blueprint
from api.web.views import Site
from tests.api import web_reports


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = Flask("test", static_folder=None)
    reports = {"dormant-winback": web_reports.REPORT}
    plans = {"draft": web_reports.PLAN}
    app.register_blueprint(
        create_blueprint(
            web_reports.list_rows,
            reports.get,
            load_plan=plans.get,
            site=lambda: Site(project={"en": "Shop", "zh-CN": "小店"}),
        )
    )
    with app.test_client() as client:
        yield client


def test_the_root_leads_to_the_list(client: FlaskClient) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/experiments")


@pytest.mark.parametrize(
    ("path", "status"), [("/experiments", 200), ("/experiments/dormant-winback", 200), ("/experiments/draft", 200)]
)
def test_pages_answer_with_a_strict_policy(client: FlaskClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.mimetype == "text/html"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert {"Accept-Language", "Cookie"} <= set(answer.headers["Vary"].replace(" ", "").split(","))


@pytest.mark.parametrize("key", ["zzz", "%3Cscript%3E", "a%2Fb", "ZZZ%00"])
def test_an_unknown_key_is_a_404_page(client: FlaskClient, key: str) -> None:
    answer = client.get(f"/experiments/{key}")
    assert answer.status_code == 404
    assert b"<script>" not in answer.data


def test_language_and_theme_are_remembered_without_a_script(client: FlaskClient) -> None:
    first = client.get("/experiments?lang=zh-CN&theme=dark")
    assert 'lang="zh-CN" data-theme="dark"' in first.text
    cookies = first.headers.getlist("Set-Cookie")
    assert all("HttpOnly" in c and "SameSite=Lax" in c for c in cookies)
    second = client.get("/experiments/dormant-winback", headers={"Accept-Language": "en"})
    assert 'lang="zh-CN" data-theme="dark"' in second.text
    assert "Set-Cookie" not in second.headers
    assert 'data-theme="' not in client.get("/experiments?theme=auto").text


def test_the_project_has_its_name_in_the_page_language(client: FlaskClient) -> None:
    english, chinese = (client.get(f"/experiments?lang={lang}").text for lang in ("en", "zh-CN"))
    assert "<small>Shop</small>" in english
    assert "<small>小店</small>" in chinese


def test_odd_choices_are_ignored(client: FlaskClient) -> None:
    answer = client.get("/experiments?lang=%22%3E&theme=%22onload=x&status=%22&q=%00%F0%9F%98%80")
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert "onload" not in answer.text.replace("theme=%22onload", "")


def test_switches_keep_the_filter(client: FlaskClient) -> None:
    page = client.get("/experiments?status=running&q=free").text
    assert "/experiments?status=running&amp;q=free&amp;lang=zh-CN" in page


def test_static_files_are_served_and_versioned(client: FlaskClient) -> None:
    page = client.get("/experiments").text
    assert "/assets/app.css?v=" in page
    for name, mime in (("app.css", "text/css"), ("app.mjs", "text/javascript"), ("icon.svg", "image/svg+xml")):
        answer = client.get(f"/assets/{name}")
        assert (answer.status_code, answer.mimetype) == (200, mime)
        assert "immutable" not in answer.headers["Cache-Control"]
        assert "immutable" in client.get(f"/assets/{name}?v=1").headers["Cache-Control"]
    assert client.get("/assets/../pages.py").status_code == 404


def test_the_list_is_exported_as_it_is_shown(client: FlaskClient) -> None:
    page = client.get("/experiments?status=running&lang=zh-CN")
    assert 'href="/experiments.csv?status=running"' in page.text
    answer = client.get("/experiments.csv?status=running")
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.data.startswith(b"\xef\xbb\xbf")  # so that spreadsheets read Chinese
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    everything = list(csv.DictReader(io.StringIO(client.get("/experiments.csv").data.decode("utf-8-sig"))))
    assert 0 < len(rows) < len(everything) == len(web_reports.list_rows())
    winback = next(row for row in everything if row["key"] == "dormant-winback")
    assert winback["title"].startswith("沉睡会员")
    assert float(winback["ci_low"]) < float(winback["change"]) < float(winback["ci_high"])
    assert not any(value.startswith(("=", "+", "@")) for row in everything for value in row.values())
