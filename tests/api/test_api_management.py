"""The management API: definitions in and out, versions, moves, refusals; on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from experiments.settings import Settings
from experiments.store import Store

PROJECT = """
kind: project
name: Harbour Retail
currency: CNY
time_zone: Asia/Shanghai
attributes: {stage: {type: string}, cart_minor: {type: number, kept: request}}
---
kind: metric
key: repurchase-14d
name: {en: Repurchase, zh-CN: 复购率}
type: proportion
event: Order Completed
window: {days: 14}
"""
EXPERIMENT: dict[str, Any] = {
    "name": {"en": "Win-back", "zh-CN": "唤回"},
    "audience": {"attribute": "stage", "op": "eq", "value": "dormant"},
    "variants": [{"key": "control"}, {"key": "a"}],
    "control": "control",
    "metrics": {"primary": ["repurchase-14d"]},
}


@pytest.fixture
def client(store: Store, tmp_path: Path) -> Iterator[FlaskClient]:
    app = create_app(settings=Settings(tmp_path / "data", store.url))
    yield app.test_client()
    app.extensions["equipoise"].store.close()


@pytest.fixture
def defined(client: FlaskClient) -> FlaskClient:
    reply = client.post("/v1/definitions", data=PROJECT, content_type="application/yaml")
    assert reply.status_code == 200, reply.text
    return client


def put(client: FlaskClient, key: str = "winback", **changes: Any) -> Any:
    headers = changes.pop("headers", {})
    return client.put(f"/v1/experiments/{key}", json={**EXPERIMENT, **changes}, headers=headers)


def problem(reply: Any, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.content_type == "application/problem+json"
    document: dict[str, Any] = json.loads(reply.data)
    assert document["status"] == status
    assert document["request_id"] == reply.headers["X-Request-Id"]
    return document


def test_an_experiment_goes_in_and_comes_out(defined: FlaskClient) -> None:
    created = put(defined)
    assert created.status_code == 201, created.text
    assert created.headers["ETag"] == '"1"'
    got = defined.get("/v1/experiments/winback")
    assert got.json["definition"]["name"] == {"en": "Win-back", "zh-CN": "唤回"}
    assert got.json["state"] == "draft"
    assert got.json["moves"] == ["review"]
    listed = defined.get("/v1/experiments").json
    assert [item["key"] for item in listed["items"]] == ["winback"]
    assert listed["next_cursor"] is None


def test_a_change_needs_the_version_that_was_read(defined: FlaskClient) -> None:
    put(defined)
    assert "If-Match" in problem(put(defined, owner="CRM"), 428)["detail"]
    changed = put(defined, owner="CRM", headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    assert "read it again" in problem(put(defined, owner="Growth", headers={"If-Match": '"1"'}), 412)["detail"]
    assert problem(put(defined, owner="Growth", headers={"If-Match": "*"}), 400)["detail"].startswith("If-Match takes")
    assert problem(put(defined, key="other", headers={"If-Match": '"4"'}), 412)


def test_moves_follow_the_order(defined: FlaskClient) -> None:
    put(defined)
    address = "/v1/experiments/winback/transitions"
    refused = problem(defined.post(address, json={"to": "running"}), 409)
    assert refused["detail"] == "experiment winback is draft and cannot move to running; it can move to review"
    assert problem(defined.post(address, json={"to": "gone"}), 422)["errors"][0]["pointer"] == "/to"
    assert problem(defined.post(address, json={"state": "review"}), 422)["errors"][0]["pointer"] in {"/to", "/state"}
    assert problem(defined.post(address, json={"to": "review"}, headers={"If-Match": '"7"'}), 412)
    moved = defined.post(address, json={"to": "review"}, headers={"If-Match": '"1"'})
    assert (moved.status_code, moved.json["state"], moved.headers["ETag"]) == (200, "review", '"2"')
    assert problem(defined.post("/v1/experiments/nope/transitions", json={"to": "review"}), 404)


def test_documents_are_applied_all_or_none(defined: FlaskClient) -> None:
    good = {"kind": "layer", "key": "mails"}
    bad = {"kind": "holdout", "key": "h", "share": "120%"}
    refused = problem(defined.post("/v1/definitions", json=[good, bad]), 422)
    assert [error["pointer"] for error in refused["errors"]] == ["/1/share"]
    assert "nothing was saved" in refused["detail"]
    applied = defined.post("/v1/definitions", json=[good])
    assert [change["action"] for change in applied.json["changes"]] == ["created"]
    assert defined.post("/v1/definitions", json=good).json["changes"][0]["action"] == "unchanged"


def test_pages_of_experiments(defined: FlaskClient) -> None:
    for key in ("c", "a", "b"):
        assert put(defined, key).status_code == 201
    first = defined.get("/v1/experiments?limit=2").json
    assert [item["key"] for item in first["items"]] == ["a", "b"]
    second = defined.get(f"/v1/experiments?limit=2&cursor={first['next_cursor']}").json
    assert [item["key"] for item in second["items"]] == ["c"]
    assert defined.get("/v1/experiments?state=running").json["items"] == []


def test_a_report_before_the_start_is_refused(defined: FlaskClient) -> None:
    put(defined)
    assert problem(defined.get("/v1/experiments/winback/report"), 409)["detail"].startswith(
        "the experiment is in draft"
    )
    assert problem(defined.get("/v1/experiments/nope/report"), 404)


def test_every_answer_is_protected(defined: FlaskClient) -> None:
    for path in ("/v1/experiments", "/v1/nothing", "/experiments"):
        reply = defined.get(path, headers={"X-Request-Id": "send-42"})
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Request-Id"] == "send-42"


def test_the_api_describes_itself(client: FlaskClient) -> None:
    document = client.get("/v1/openapi.json").json
    assert document["openapi"].startswith("3.")
    assert {
        "/v1/experiments",
        "/v1/experiments/{key}",
        "/v1/experiments/{key}/transitions",
        "/v1/experiments/{key}/report",
        "/v1/experiments/{key}/explain",
        "/v1/definitions",
    } <= set(document["paths"])


def test_the_document_has_what_the_front_answers_and_every_reference_leads_somewhere(client: FlaskClient) -> None:
    document = client.get("/v1/openapi.json").json
    assert {"/v1/decide", "/v1/events", "/livez", "/readyz", "/version"} <= set(document["paths"])
    asked = document["components"]["schemas"]["DecideRequest"]
    assert asked["required"] == ["experiment", "unit"]
    assert document["components"]["schemas"]["EventsRequest"]["properties"]["events"]["items"] == {
        "$ref": "#/components/schemas/EventItem"
    }
    named = set(re.findall(r"#/components/schemas/([A-Za-z0-9._-]+)", json.dumps(document)))
    assert named <= set(document["components"]["schemas"])


def test_without_a_project_nothing_can_be_defined(client: FlaskClient) -> None:
    refused = problem(put(client), 422)
    assert any("project" in error["message"] for error in refused["errors"])


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        (b"{", "application/json", 400, "not valid JSON"),
        (b"", "application/json", 400, "the body is empty"),
        (b"\xef\xbb\xbf{}", "application/json", 400, "byte-order mark"),
        (b'{"a":NaN}', "application/json", 400, "NaN and Infinity"),
        (b'{"a":1e999}', "application/json", 400, "not valid JSON"),
        (b'{"a":"\\ud800"}', "application/json", 400, "surrogate"),
        ('{"a":1}'.encode("utf-16"), "application/json", 400, "not UTF-8"),
        (b"[" * 100_000, "application/json", 400, "nested too deeply"),
        (b'{"a":' * 100_000, "application/json", 400, "nested too deeply"),
        (b"[" * 100_000, "application/yaml", 422, "wrong"),
        (b"a: &x [*x]", "application/yaml", 422, "wrong"),
        (b"\xff\xfe", "application/yaml", 400, "not UTF-8"),
        (b"{}", "text/plain", 415, "send Content-Type"),
        (b"{}", "application/x-www-form-urlencoded", 415, "send Content-Type"),
        (b'"text"', "application/json", 422, "wrong"),
        (b'{"kind":"layer","key":"a\\u0000b"}', "application/json", 422, "wrong"),
        (b'{"kind":"layer","key":"mails","key":"other"}', "application/json", 422, "wrong"),
        (b"kind: layer\nkey: [1,2", "application/yaml", 422, "wrong"),
        (b"", "application/yaml", 422, "wrong"),
        (b"kind: spaceship", "application/yaml", 422, "wrong"),
    ],
)
def test_bad_bodies_are_refused_by_name(
    defined: FlaskClient, body: bytes, content_type: str, status: int, message: str
) -> None:
    refused = problem(defined.post("/v1/definitions", data=body, content_type=content_type), status)
    assert message in refused["detail"]
    if status == 422:
        assert refused["errors"][0]["message"]
    put_refused = problem(defined.put("/v1/experiments/x", data=body, content_type=content_type), status)
    assert "Traceback" not in json.dumps(put_refused)
