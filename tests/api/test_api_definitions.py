"""Every kind of definition by REST: made, read, changed with its version, its revisions; on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from experiments.store import Store
from tests.api.management import BODIES, CHANGED, application, pages, problem


@pytest.fixture
def client(store: Store, tmp_path: Path) -> Iterator[FlaskClient]:
    with application(store, tmp_path) as made:
        yield made


@pytest.mark.parametrize("path", sorted(BODIES))
def test_a_definition_is_made_changed_and_never_lost(client: FlaskClient, path: str) -> None:
    address = f"/v1/{path}/first"
    assert problem(client.get(address), 404)
    created = client.put(address, json=BODIES[path])
    assert (created.status_code, created.headers["ETag"]) == (201, '"1"'), created.text
    assert created.json["definition"]["key"] == "first"

    assert "If-Match" in problem(client.put(address, json=BODIES[path]), 428)["detail"]
    new = BODIES[path] | CHANGED[path]
    changed = client.put(address, json=new, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"'), changed.text
    problem(client.put(address, json=BODIES[path], headers={"If-Match": '"1"'}), 412)
    problem(client.put(address, json=BODIES[path], headers={"If-None-Match": "*"}), 412)
    problem(client.put(f"/v1/{path}/second", json=new, headers={"If-Match": '"1"'}), 412)

    got = client.get(address)
    assert (got.json["revision"], got.json["version_id"], got.headers["ETag"]) == (2, 2, '"2"')
    assert client.get(address, headers={"If-None-Match": '"2"'}).status_code == 304
    # What GET gives, PUT takes, and nothing changes by it.
    again = client.put(address, json=got.json["definition"], headers={"If-Match": '"2"'})
    assert (again.status_code, again.json["version_id"]) == (200, 2), again.text

    listed = pages(client, f"{address}/revisions", 1)
    assert [item["revision"] for item in listed] == [2, 1]
    assert {item["created_by"] for item in listed} == {"anybody"}
    first = client.get(f"{address}/revisions/1")
    assert first.json["content_hash"] == listed[1]["content_hash"]
    assert "immutable" in first.headers["Cache-Control"]
    for field, value in CHANGED[path].items():
        assert first.json["definition"].get(field) != value
    assert "1 to 2" in problem(client.get(f"{address}/revisions/3"), 404)["detail"]
    problem(client.get(f"{address}/revisions/99999999999999999999"), 404)
    assert "never deleted" in problem(client.delete(address), 405)["detail"]


def test_how_an_experiment_is_judged_comes_back_as_it_was_sent(client: FlaskClient) -> None:
    analysis = {
        "inference": "group_sequential",
        "reserve": 0.1,
        "futility": {"power": 0.9},
        "multiplicity": "dunnett",
        "adjustment": "regression",
        "strata": ["stage"],
        "reached": "Delivered",
    }
    body = BODIES["experiments"] | {"analysis": analysis, "planned_units": 500}
    assert client.put("/v1/experiments/first", json=body).status_code == 201
    got = client.get("/v1/experiments/first")
    assert got.json["definition"]["analysis"] == analysis
    again = client.put("/v1/experiments/first", json=got.json["definition"], headers={"If-Match": '"1"'})
    assert (again.status_code, again.headers["ETag"]) == (200, '"1"')
    changed = body | {"analysis": analysis | {"reserve": 0.2}}
    assert client.put("/v1/experiments/first", json=changed, headers={"If-Match": '"1"'}).headers["ETag"] == '"2"'
    assert client.get("/v1/experiments/first/revisions/1").json["definition"]["analysis"]["reserve"] == 0.1


@pytest.mark.parametrize(
    ("analysis", "pointer"),
    [
        ({"inference": "bayes"}, "/analysis/inference"),
        ({"strata": ["nothing"]}, "/analysis/strata/0"),
        ({"inference": "bayesian", "reserve": 0.1}, "/analysis/reserve"),
        ({"prior": {"relative_sd": -1}}, "/analysis/prior/relative_sd"),
        ({"futility": {"power": 0.2}}, "/analysis/futility/power"),
        ({"other": 1}, "/analysis/other"),
    ],
)
def test_each_wrong_field_of_an_analysis_is_pointed_at(
    client: FlaskClient, analysis: dict[str, object], pointer: str
) -> None:
    refused = problem(client.put("/v1/experiments/first", json=BODIES["experiments"] | {"analysis": analysis}), 422)
    assert pointer in [error["pointer"] for error in refused["errors"]]
    problem(client.get("/v1/experiments/first"), 404)


def test_every_field_of_an_analysis_is_described(client: FlaskClient) -> None:
    schemas = client.get("/v1/openapi.json").json["components"]["schemas"]
    (analysis,) = [schemas[name] for name in schemas if name in ("Analysis", "Analysis-Input")]
    assert [name for name, field in analysis["properties"].items() if not field.get("description")] == []


@pytest.mark.parametrize("path", sorted(set(BODIES) - {"experiments", "metrics"}))
def test_lists_are_read_in_pages(client: FlaskClient, path: str) -> None:
    keys = ["a", "b-1", "b_1", "c", "d"]
    for key in reversed(keys):
        body = BODIES[path]
        assert client.put(f"/v1/{path}/{key}", json=body).status_code == 201
    found = pages(client, f"/v1/{path}", 2)
    assert [item["key"] for item in found] == sorted(keys)
    assert found[0]["definition"]["key"] == "a"


def test_the_project_has_no_key(client: FlaskClient) -> None:
    got = client.get("/v1/project")
    assert (got.json["kind"], got.json["definition"]["currency"], got.headers["ETag"]) == ("project", "CNY", '"1"')
    body = got.json["definition"] | {"name": "Harbour"}
    problem(client.put("/v1/project", json=body), 428)
    assert client.put("/v1/project", json=body, headers={"If-Match": '"1"'}).json["revision"] == 2
    assert [item["revision"] for item in client.get("/v1/project/revisions").json["items"]] == [2, 1]
    assert client.get("/v1/project/revisions/1").json["definition"]["name"] == {"en": "Harbour Retail"}


def test_what_members_have_anyway_is_kept_and_whom_an_offer_gives_nothing_is_said(client: FlaskClient) -> None:
    body = client.get("/v1/project").json["definition"]
    standing = {"attribute": "stage", "discounts": {"gold": "8.5折"}}
    wrong = body | {"standing": {"attribute": "tier", "discounts": {"gold": "8.5折"}}}
    refused = problem(client.put("/v1/project", json=wrong, headers={"If-Match": '"1"'}), 422)
    assert refused["errors"][0]["pointer"] == "/standing/attribute"
    put = client.put("/v1/project", json=body | {"standing": standing}, headers={"If-Match": '"1"'})
    assert put.json["definition"]["standing"] == {"attribute": "stage", "discounts": {"gold": "15"}}
    assert client.put("/v1/offers/nine", json={**BODIES["offers"], "percent_off": "9折"}).status_code == 201
    variants = [{"key": "control"}, {"key": "a", "offer": "nine"}]
    said = client.put("/v1/experiments/cart", json=BODIES["experiments"] | {"variants": variants}).json["notes"]
    assert said == ["Coupon gives gold members nothing and costs nothing when redeemed: they have 15% off anyway."]
    assert said[0] in client.get("/experiments/cart").text
    chinese = client.get("/experiments/cart", headers={"Accept-Language": "zh-CN"}).text
    assert "对gold会员没有额外优惠，核销也不产生成本：他们本来就享受8.5折。" in chinese


def test_phases_of_an_experiment(client: FlaskClient) -> None:
    assert client.get("/v1/experiments/winback/phases").json == {"items": [], "next_cursor": None}
    for state in ("review", "testing", "running"):
        assert client.post("/v1/experiments/winback/transitions", json={"to": state}).status_code == 200
    phases = client.get("/v1/experiments/winback/phases").json["items"]
    assert [(phase["phase"], phase["opened"], phase["weights"]) for phase in phases] == [
        (1, "start", {"control": 1, "a": 1})
    ]


WRONG = (
    "/v1/offers?cursor=x", "/v1/offers?cursor=WzFd", "/v1/offers?cursor=WyJcdTAwMDAiXQ", "/v1/audit?cursor=WyJhIl0",
    "/v1/audit?cursor=WzFlOTld", "/v1/dead-letters?cursor=WzFd", "/v1/offers?limit=0", "/v1/offers?limit=501",
    "/v1/offers?limit=1&limit=2", "/v1/offers?colour=red", "/v1/audit?key=%00", "/v1/jobs?state=lost",
    "/v1/experiments?state=flying", "/v1/experiments/winback/reports?cursor=%F0%9F%8D%8A",
)  # fmt: skip
UNDEFINABLE = ("%00", "%ED%A0%80", "UPPER", "a b", "%F0%9F%8D%8A", "x" * 3_000, "'; DROP TABLE x")


def test_a_wrong_parameter_is_named(client: FlaskClient) -> None:
    for address in WRONG:
        assert problem(client.get(address), 400)["type"].endswith("bad_parameter"), address


def test_a_key_that_cannot_be_is_not_defined(client: FlaskClient) -> None:
    for key in UNDEFINABLE:
        for path in ("offers", "experiments", "holdouts"):
            problem(client.get(f"/v1/{path}/{key}"), 404)
            problem(client.get(f"/v1/{path}/{key}/revisions"), 404)
            problem(client.put(f"/v1/{path}/{key}", json=BODIES[path]), 422)
        problem(client.get(f"/v1/dead-letters/{key}"), 404)
        problem(client.get(f"/v1/jobs/{key}"), 404)
        problem(client.get(f"/v1/webhooks/{key}"), 404)
