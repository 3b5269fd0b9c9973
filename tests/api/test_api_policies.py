"""``/v1/experiments/KEY/policies``: versions, what people do with them, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from allocation.bandits.policy import Policy, to_bytes
from api.app import create_app
from experiments.learning import versions
from experiments.learning.versions import NewVersion
from experiments.publishing.snapshot_file import SnapshotFile
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.learning_shop import KEY, VARIANTS, bandit, shop
from tests.experiments.measuring import START_US

AT = f"/v1/experiments/{KEY}/policies"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(Settings.from_env(data=str(tmp_path), database=None).database_url)
    upgrade(opened)
    shop(opened, bandit(primary="buys"), bandit("plain", primary="buys", allocation=None))
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store, tmp_path: Path) -> FlaskClient:
    assert store is not None
    return create_app(settings=Settings.from_env(data=str(tmp_path), database=None)).test_client()


def made(store: Store, number: int = 1) -> None:
    body = to_bytes(Policy(variants=VARIANTS, kind="table", rule="greedy", table=np.array([[1.0, 2.0, number]])))
    with store.begin() as connection:
        versions.insert(connection, NewVersion(KEY, body, "greedy", START_US, START_US, 300))


def published(tmp_path: Path) -> tuple[list[tuple[int, str]], tuple[str, ...]]:
    plan = SnapshotFile(tmp_path / "snapshots").load().experiments[KEY].plan.bandit
    assert plan is not None
    return [(each.version, each.share) for each in plan.policies], plan.masked


def test_versions_are_listed_approved_published_and_rolled_back(
    client: FlaskClient, store: Store, tmp_path: Path
) -> None:
    assert client.get(AT).get_json() == {"items": [], "next_cursor": None}
    made(store)
    (one,) = client.get(AT).get_json()["items"]
    assert (one["version"], one["state"], one["rows"], one["gate"]) == (1, "candidate", 300, {})
    moved = client.post(f"{AT}/1/approve")
    assert (moved.status_code, moved.get_json()["state"], moved.get_json()["share"]) == (200, "ramping", "0.1")
    assert published(tmp_path) == ([(1, "0.1")], ())
    back = client.post(f"{AT}/roll-back", json={"reason": "complaints"})
    assert (back.status_code, back.get_json()) == (200, {"live": None})
    assert published(tmp_path) == ([], ())
    assert client.get(f"{AT}/1").get_json()["state"] == "rolled_back"
    rejected = client.post(f"{AT}/1/reject", json={"reason": "bad"})
    assert rejected.get_json()["state"] == "rejected"
    trail = client.get("/v1/audit", query_string={"kind": "experiment", "key": KEY}).get_json()["items"]
    assert [row["action"] for row in trail[:3]] == ["policy_rejected", "policy_rolled_back", "policy_ramped"]


def test_versions_come_by_pages(client: FlaskClient, store: Store) -> None:
    for number in range(3):
        made(store, number)
    first = client.get(AT, query_string={"limit": 2}).get_json()
    assert [each["version"] for each in first["items"]] == [3, 2]
    rest = client.get(AT, query_string={"limit": 2, "cursor": first["next_cursor"]}).get_json()
    assert ([each["version"] for each in rest["items"]], rest["next_cursor"]) == ([1], None)


def test_variants_are_taken_out_and_put_back(client: FlaskClient, tmp_path: Path) -> None:
    out = client.post(f"{AT}/mask", json={"variant": "gift", "reason": "sold out"}).get_json()["items"]
    assert [(mask["variant"], mask["reason"]) for mask in out] == [("gift", "sold out")]
    assert published(tmp_path) == ([], ("gift",))
    assert client.get(f"{AT}/masks").get_json()["items"] == out
    assert client.post(f"{AT}/unmask", json={"variant": "gift"}).get_json()["items"] == []
    assert published(tmp_path) == ([], ())


def test_an_update_is_put_into_the_queue(client: FlaskClient) -> None:
    asked = client.post(f"{AT}/learn")
    assert asked.status_code == 202
    job = client.get(asked.headers["Location"]).get_json()
    assert (job["kind"], job["experiment"], job["state"]) == ("learn", KEY, "queued")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/9", None, 404, "unknown_policy"),
        (f"/{10**30}", None, 404, "unknown_policy"),
        ("/9/approve", {}, 404, "unknown_policy"),
        ("/roll-back", {}, 409, "policy_refused"),
        ("/roll-back", {"to": 7}, 404, "unknown_policy"),
        ("/roll-back", {"to": -1}, 422, "invalid"),
        ("/mask", {"variant": "nobody"}, 422, "invalid"),
        ("/mask", {}, 422, "invalid"),
        ("/unmask", {"variant": "gift"}, 409, "policy_refused"),
    ],
)
def test_what_cannot_be_done_is_a_problem(
    client: FlaskClient, path: str, body: dict[str, object] | None, status: int, code: str
) -> None:
    answer = client.get(AT + path) if body is None else client.post(AT + path, json=body)
    assert (answer.status_code, answer.get_json()["type"].rpartition(":")[2]) == (status, code)


def test_an_experiment_of_the_hash_has_no_policy(client: FlaskClient) -> None:
    for path in ("roll-back", "learn"):
        answer = client.post(f"/v1/experiments/plain/policies/{path}", json={})
        assert (answer.status_code, answer.get_json()["type"].rpartition(":")[2]) == (409, "policy_refused")
