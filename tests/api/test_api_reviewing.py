"""Dead letters, audit, webhooks and jobs by REST; on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from experiments.jobs import queue
from experiments.keeping import audit
from experiments.log.absorb import absorb
from experiments.log.dead_letters import DeadLetter, dead_letter
from experiments.log.rows import EventRow
from experiments.store import Store
from experiments.store.log_tables import events
from tests.api.management import application, pages, problem

NOW = 1_772_600_000_000_000
DAY_US = 86_400_000_000


@pytest.fixture
def client(store: Store, tmp_path: Path) -> Iterator[FlaskClient]:
    with application(store, tmp_path) as made:
        yield made


def event(**fields: Any) -> str:
    return json.dumps(
        {"name": "Order Completed", "event_id": "e-1", "unit": "m-1", "at": "2026-03-03T08:00:00Z", **fields}
    )


def letter(reason: str, payload: str, at: int = NOW, source: str = "shop", kind: Any = "event") -> DeadLetter:
    return dead_letter(kind, reason, "why", payload, source=source, received_at=at)


def keep(store: Store, *rows: Any) -> None:
    with store.begin() as connection:
        absorb(connection, rows, NOW)


def test_dead_letters_are_listed_by_arrival(client: FlaskClient, store: Store) -> None:
    keep(store, *(letter("invalid", event(event_id=str(n)), NOW + n // 2) for n in range(9)))
    keep(store, letter("unknown_currency", event(currency="EUR"), NOW + 100, source="pos"))
    found = pages(client, "/v1/dead-letters", 2)
    assert len(found) == len({item["id"] for item in found}) == 10
    assert [item["received_at"] for item in found] == sorted((item["received_at"] for item in found), reverse=True)
    assert len(pages(client, "/v1/dead-letters?reason=invalid&source=shop&kind=event", 4)) == 9
    assert [item["source"] for item in pages(client, "/v1/dead-letters?source=pos", 4)] == ["pos"]
    assert "payload" not in found[0]
    one = client.get(f"/v1/dead-letters/{found[0]['id']}").json
    assert json.loads(one["payload"])["currency"] == "EUR"
    assert one["meaning"].startswith("The amount is not in the project's currency")
    problem(client.get(f"/v1/dead-letters/{'0' * 32}"), 404)


def test_the_list_of_experiments_says_that_rows_were_refused_lately(client: FlaskClient, store: Store) -> None:
    now = time.time_ns() // 1000
    assert "could not be taken" not in client.get("/experiments").text
    keep(store, letter("invalid", "long ago", now - 8 * DAY_US), letter("invalid", "yesterday", now - DAY_US))
    page = client.get("/experiments").text
    assert "1 row of the last seven days could not be taken." in page
    assert 'href="/v1/dead-letters"' in page
    keep(store, *(letter("invalid", str(n), now - n) for n in range(1001)))
    assert "1,000 rows or more of the last seven days" in client.get("/experiments").text
    assert "至少 1,000 行数据未能接收" in client.get("/experiments?lang=zh-CN").text


def test_an_event_is_taken_after_the_currency_was_corrected(client: FlaskClient, store: Store) -> None:
    kept = letter("unknown_currency", event(currency="EUR", value="19.90"))
    keep(store, kept)
    address = f"/v1/dead-letters/{kept.id}/retry"
    refused = client.post(address).json
    assert (refused["outcome"], refused["reason"]) == ("refused", "unknown_currency")
    project = client.get("/v1/project").json["definition"] | {"currency": "EUR"}
    assert client.put("/v1/project", json=project, headers={"If-Match": '"1"'}).status_code == 200
    assert client.post(address).json["outcome"] == "absorbed"
    with store.read() as connection:
        row = connection.execute(sa.select(events)).one()
    assert (row.unit, row.value_minor, row.currency, row.source) == ("m-1", 1990, "EUR", "shop")
    assert client.get("/v1/dead-letters").json["items"] == []
    problem(client.post(address), 404)
    last = client.get("/v1/audit?kind=dead_letter").json["items"][0]
    assert (last["action"], last["key"], last["detail"]["outcome"]) == ("retried", kept.id, "absorbed")
    assert "m-1" not in json.dumps(last)


def test_a_repeat_and_a_conflict_are_told_apart(client: FlaskClient, store: Store) -> None:
    stored = EventRow("shop", "e-1", "Order Completed", "member", "m-1", 1772524800000000, NOW)
    same, other = letter("invalid", event()), letter("invalid", event(unit="m-2"))
    keep(store, stored, same, other)
    assert client.post(f"/v1/dead-letters/{same.id}/retry").json["outcome"] == "duplicate"
    refused = client.post(f"/v1/dead-letters/{other.id}/retry").json
    assert (refused["outcome"], refused["reason"]) == ("refused", "conflicting_duplicate")
    # Refused, it changed nothing: it is there as it was, and there is no second one.
    assert [item["id"] for item in client.get("/v1/dead-letters").json["items"]] == [other.id]


@pytest.mark.parametrize(
    "kept",
    [
        letter("unreadable", "{"), letter("invalid", "[1]"), letter("invalid", '{"row": "1"}'),
        letter("invalid", event(), kind="member"), letter("invalid", '{"at": 1, "source": "x"}'),
        letter("personal_id", event(unit="(withheld)")),
        letter("personal_id", '{"type":"track","event":"Visit","messageId":"m","userId":"(withheld)"}'),
    ],
)  # fmt: skip
def test_what_is_no_event_is_not_retried(client: FlaskClient, store: Store, kept: DeadLetter) -> None:
    keep(store, kept)
    assert "cannot be retried" in problem(client.post(f"/v1/dead-letters/{kept.id}/retry"), 409)["detail"]
    assert client.delete(f"/v1/dead-letters/{kept.id}").json == {"id": kept.id, "discarded": True}
    problem(client.delete(f"/v1/dead-letters/{kept.id}"), 404)
    assert client.get("/v1/audit").json["items"][0]["action"] == "discarded"


def test_what_reads_like_a_row_is_checked_like_an_event(client: FlaskClient, store: Store) -> None:
    row = EventRow("till", "e-9", "Visit", "member", "li.lei@example.com", NOW, NOW)
    written = letter("invalid", json.dumps({name: getattr(row, name) for name in EventRow.__struct_fields__}))
    stored = letter("storage_refused", written.payload.replace("li.lei@example.com", "m-7"))
    keep(store, written, stored)
    assert client.post(f"/v1/dead-letters/{written.id}/retry").json["outcome"] == "refused"
    assert client.post(f"/v1/dead-letters/{stored.id}/retry").json["outcome"] == "absorbed"
    with store.read() as connection:
        assert [found.unit for found in connection.execute(sa.select(events))] == ["m-7"]


def test_the_trail_is_read_in_pages_and_checked(client: FlaskClient, store: Store) -> None:
    for number in range(5):
        client.post("/v1/definitions", json={"kind": "layer", "key": f"l{number}"})
    rows = pages(client, "/v1/audit", 3)
    assert [row["number"] for row in rows] == sorted((row["number"] for row in rows), reverse=True)
    assert len(rows) == len(audit.rows(store)) == 8
    assert [row["key"] for row in pages(client, "/v1/audit?kind=layer&key=l3", 3)] == ["l3"]
    assert pages(client, "/v1/audit?actor=nobody", 3) == []
    assert client.get("/v1/audit/check").json == {"holds": True, "broken_at": None}
    with store.begin() as connection:
        connection.exec_driver_sql("UPDATE audit_log SET actor = 'somebody' WHERE number = 4")
    assert client.get("/v1/audit/check").json == {"holds": False, "broken_at": 4}


def test_a_webhook_by_rest(client: FlaskClient, store: Store) -> None:
    wrong = problem(client.post("/v1/webhooks", json={"url": "http://127.0.0.1/x", "events": []}), 422)
    assert wrong["errors"][0]["pointer"] == "/url"
    wrong = problem(client.post("/v1/webhooks", json={"url": "https://hooks.example.com/", "events": ["x"]}), 422)
    assert wrong["errors"][0]["pointer"] == "/events"
    problem(client.post("/v1/webhooks", json={"url": 7}), 422)
    made = client.post("/v1/webhooks", json={"url": "https://hooks.example.com/x", "events": ["key.created"]})
    assert made.status_code == 201, made.text
    address = f"/v1/webhooks/{made.json['id']}"
    got = client.get(address)
    assert "secret" not in got.json
    assert got.headers["ETag"] == made.headers["ETag"] == '"1"'
    paused = client.patch(address, json={"active": False}, headers={"If-Match": '"1"'})
    assert (paused.status_code, paused.json["active"]) == (200, False), paused.text
    problem(client.patch(address, json={"active": True}, headers={"If-Match": '"1"'}), 412)
    problem(client.post(f"{address}/ping"), 409)
    assert client.patch(address, json={"active": True}).status_code == 200
    sent = client.post(f"{address}/ping")
    assert (sent.status_code, sent.json["state"], sent.json["type"]) == (202, "pending", "webhook.ping")
    for _ in range(2):
        client.post(f"{address}/ping")
    assert len(pages(client, f"{address}/deliveries", 1)) == 3
    assert len(pages(client, f"{address}/deliveries?state=failed", 1)) == 0
    assert client.post(f"{address}/deliveries/{sent.json['id']}/redeliver").status_code == 202
    problem(client.post(f"{address}/deliveries/nothing/redeliver"), 404)
    rotated = client.post(f"{address}/rotate")
    assert rotated.json["secret"] not in {None, made.json["secret"]}
    assert client.delete(address).json == {"id": made.json["id"], "deleted": True}
    problem(client.get(address), 404)
    trail = json.dumps(client.get("/v1/audit?kind=webhook").json)
    assert made.json["secret"] not in trail
    assert rotated.json["secret"] not in trail


def test_jobs_by_rest(client: FlaskClient, store: Store) -> None:
    with store.begin() as connection:
        for number in range(5):
            queue.enqueue(
                connection, f"j{number}", "report.refresh", {"n": number}, created_by="test", now=NOW + number
            )
    assert [job["id"] for job in pages(client, "/v1/jobs", 2)] == ["j4", "j3", "j2", "j1", "j0"]
    assert client.post("/v1/jobs/j3/cancel").json["state"] == "cancelled"
    assert [job["id"] for job in pages(client, "/v1/jobs?state=cancelled", 2)] == ["j3"]
    assert client.get("/v1/jobs/j1").json["kind"] == "report.refresh"
    problem(client.get("/v1/jobs/none"), 404)
    problem(client.post("/v1/jobs/none/cancel"), 404)
