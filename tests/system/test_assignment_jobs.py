"""A list in, a file out, on real servers: also when what works on it is killed in the middle."""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.definitions.loader import load_text
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.store import open_store
from experiments.store.log_tables import decisions
from experiments.store.migrate import upgrade
from tests.system.serving import Reply, Server, serving

DEFINITIONS = """
kind: project
name: Shop
currency: CNY
time_zone: Asia/Shanghai
attributes:
  channel: {type: string, kept: request}
---
kind: holdout
key: global
name: Global
share: 10%
---
kind: offer
key: save
name: Save
type: fixed_coupon
face_value: "5.00"
---
kind: metric
key: bought
name: Bought
type: proportion
event: Order Completed
window: {days: 14}
---
kind: experiment
key: nightly
name: Nightly
audience: {attribute: channel, op: eq, value: sms}
variants:
  - {key: control}
  - {key: a, offer: save}
metrics: {primary: [bought]}
windows_start: send
---
kind: experiment
key: even
name: Even
enrolment: once
sticky: enrolment
variants:
  - {key: control}
  - {key: a, offer: save}
metrics: {primary: [bought]}
analysis: {strata: [channel]}
---
kind: experiment
key: still-a-draft
name: Draft
variants:
  - {key: control}
  - {key: a}
metrics: {primary: [bought]}
"""
LISTS = "/v1/experiments/nightly/assignments"


def launch(data: Path, database: str | None) -> None:
    """Make the database, with the experiment running; the server publishes it when it starts."""
    data.mkdir(parents=True, exist_ok=True)
    store = open_store(database or f"sqlite:///{data / 'equipoise.sqlite'}")
    try:
        upgrade(store)
        Repository(store).apply(load_text(DEFINITIONS), "test")
        for state in ("review", "testing", "running"):
            transition(store, "nightly", state, "test")
            transition(store, "even", state, "test")
    finally:
        store.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    with request.getfixturevalue("postgres_server").fresh_database() as url:
        yield url


def a_list(rows: int) -> bytes:
    return b"member_id,channel\n" + b"".join(
        b"m-%06d,%s\n" % (i, b"app" if i % 10 == 3 else b"sms") for i in range(rows)
    )


def finished(server: Server, reply: Reply, timeout_s: float = 60) -> dict[str, Any]:
    """Wait for a job as a caller would."""
    deadline = time.monotonic() + timeout_s
    document: dict[str, Any] = reply.json()
    while document["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, document
        time.sleep(0.1)
        answer = server.send("GET", document["links"]["self"])
        assert answer.status == 200, answer.body
        document = answer.json()
    return document


def logged(data: Path, database: str | None) -> list[Any]:
    store = open_store(database or f"sqlite:///{data / 'equipoise.sqlite'}")
    try:
        with store.read() as connection:
            return list(connection.execute(sa.select(decisions)).all())
    finally:
        store.close()


def test_a_list_in_a_file_out(tmp_path: Path, database: str | None) -> None:
    launch(tmp_path, database)
    content = a_list(1_000) + b"li@example.com,sms\n"
    with serving(tmp_path, database=database) as server:
        server.wait_ready("nightly")
        query = "?occasion=june&send_at=2099-06-01T10:00:00%2B08:00"
        reply = server.send("POST", LISTS + query, content, {"Content-Type": "text/csv"})
        assert reply.status == 202, reply.body
        assert reply.headers["location"] == f"{LISTS}/{reply.json()['id']}"
        job = finished(server, reply)
        assert job["state"] == "done", job
        result = job["result"]
        assert result["rows"] == 1_001
        assert result["not_enrolled"] == {"not_in_audience": 100, "personal_id": 1}
        assert sum(result["variants"].values()) + result["held_out"] == 900
        assert server.send("GET", job["links"]["job"]).json()["state"] == "done"

        file = server.send("GET", job["links"]["file"])
        digest = hashlib.sha256(file.body).hexdigest()
        assert file.headers["etag"] == f'"{digest}"'
        assert digest == result["file"]["sha256"] == file.headers["x-checksum-sha256"]
        assert f'filename="nightly-june-{job["id"][:8]}.csv"' in file.headers["content-disposition"]
        assert server.send("GET", job["links"]["file"], headers={"If-None-Match": f'"{digest}"'}).status == 304
        head = server.send("HEAD", job["links"]["file"])
        assert (head.status, head.headers["content-length"], head.body) == (200, str(len(file.body)), b"")
        assert server.send("GET", f"/v1/jobs/{job['id']}/result").body == file.body
        rows = list(csv.DictReader(io.StringIO(file.body.decode())))
        assert [row["unit"] for row in rows] == [line.split(",")[0] for line in content.decode().splitlines()[1:]]
        held = {row.unit: row for row in logged(tmp_path, database)}
        for row in rows:
            found = held.get(row["unit"])
            assert (found is not None) == bool(row["decision_id"])
            if found is not None:
                assert (found.decision_id, found.variant or "") == (row["decision_id"], row["variant"])
                assert (found.occasion, found.source) == ("june", f"list:{job['id']}")
        # One at a time, and again as a list: the same answers, the same job.
        for row in rows[:20]:
            asked = {"experiment": "nightly", "unit": row["unit"], "occasion": "june", "attributes": {"channel": "sms"}}
            if row["reason"] == "assigned":
                assert server.send("POST", "/v1/decide", asked).json()["variant"] == row["variant"]
        again = server.send("POST", LISTS + query, content, {"Idempotency-Key": "another"})
        assert (again.status, again.json()["id"]) == (200, job["id"])
        other = server.send("POST", LISTS + "?occasion=july&format=parquet", content)
        assert other.json()["id"] != job["id"]
        parquet = server.send("GET", finished(server, other)["links"]["file"])
        assert parquet.body[:4] == b"PAR1"
        even = "/v1/experiments/even/assignments"
        balanced = finished(server, server.send("POST", even + "?balance_on=channel", a_list(1_000)))["result"]
        assert balanced["balance"]["strata"] == 2
        assert sum(balanced["variants"].values()) + balanced["held_out"] == 1_000
        for row in balanced["balance"]["by_stratum"]:
            assert abs(row["variants"]["a"] - row["variants"]["control"]) <= 2
        refused = server.send("POST", LISTS + "?balance_on=channel", content)
        assert refused.status == 422
        assert refused.json()["errors"][0]["pointer"] == "/balance_on"
        assert "sticky: enrolment" in refused.json()["detail"]
        everything = "".join([*server.lines, *server.errors])
        assert "li@example.com" not in everything
        assert "m-000" not in everything


@pytest.mark.slow
def test_killed_in_the_middle_it_comes_out_the_same(tmp_path: Path, database: str | None) -> None:
    """The same list on a server whose worker is killed again and again, and on one that is left alone."""
    launch(tmp_path, database)
    rows_in_all = 60_000  # Six parts: between any two of them it can be killed, however quick the machine.
    content = a_list(rows_in_all)
    with serving(tmp_path, database=database) as server:
        server.wait_ready("nightly")
        whole = finished(server, server.send("POST", LISTS + "?occasion=whole", content), 120)
        expected = list(csv.DictReader(io.StringIO(server.send("GET", whole["links"]["file"]).body.decode())))
        reply = server.send("POST", LISTS + "?occasion=killed", content)
        source = f"list:{reply.json()['id']}"
        kept_at_the_kill = killed_once_some_rows_are_kept(server, source, tmp_path, database)
        assert 0 < kept_at_the_kill < rows_in_all * 8 // 10, "it was too quick to be killed in the middle"
        job = finished(server, reply, 120)
        assert job["state"] == "done", job
        found = list(csv.DictReader(io.StringIO(server.send("GET", job["links"]["file"]).body.decode())))
        rows = logged(tmp_path, database)
    same = ("unit", "variant", "offer", "reason", "holdout")
    assert [[row[name] for name in same] for row in found] == [[row[name] for name in same] for row in expected]
    mine = [row for row in rows if row.source == source]
    assert len({row.at for row in mine}) == 1, "one moment, also for what came after the kill"
    told = {row["decision_id"]: row["variant"] for row in found if row["decision_id"]}
    assert {row.decision_id: row.variant or "" for row in mine} == told


def killed_once_some_rows_are_kept(server: Server, source: str, data: Path, database: str | None) -> int:
    """Kill what works on the list as soon as the store holds some of its decisions; return how many it held then."""
    count = sa.select(sa.func.count()).select_from(decisions).where(decisions.c.source == source)
    store = open_store(database or f"sqlite:///{data / 'equipoise.sqlite'}")
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with store.read() as connection:
                kept = int(connection.execute(count).scalar_one())
            if kept:
                for pid in worker_of(server):
                    os.kill(pid, signal.SIGKILL)
                return kept
            time.sleep(0.005)
        raise AssertionError("nothing was stored in 90 s")
    finally:
        store.close()


def worker_of(server: Server) -> list[int]:
    """Return the process that does the upkeep and what it has started: all that can be working on the job."""
    pids = server.children("upkeep")
    for pid in list(pids):
        pids += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    return pids


@pytest.mark.slow
def test_what_cannot_be_taken_is_said(tmp_path: Path) -> None:
    launch(tmp_path, None)
    with serving(tmp_path, env={"EQUIPOISE_MAX_UPLOAD_MB": "1"}) as server:
        server.wait_ready("nightly")

        def refused(path: str, body: bytes = b"unit,channel\nm-1,sms\n") -> tuple[int, str]:
            reply = server.send("POST", path, body)
            assert reply.headers["content-type"] == "application/problem+json"
            return reply.status, reply.json()["detail"]

        assert refused("/v1/experiments/nightl/assignments") == (
            404,
            'no experiment of this key is published; did you mean "nightly"?',
        )
        code, detail = refused("/v1/experiments/still-a-draft/assignments")
        assert code == 409
        assert "move it by: equipoise transition still-a-draft running" in detail
        assert refused(LISTS, b"")[0] == 422
        assert refused(LISTS + "?send_at=soon")[0] == 422
        assert refused(LISTS + "?send_at=2020-01-01T00:00:00Z") == (
            422,
            "send_at: lies in the past; a list is decided before it is sent",
        )
        assert refused(LISTS + "?ocasion=x")[1].endswith('did you mean "occasion"?')
        assert refused(LISTS + "?occasion=%FF")[0] == 422
        assert refused(LISTS, b"x" * 1_000_001)[0] == 413
        assert server.send("GET", LISTS).status == 405
        assert server.send("GET", LISTS + "/nothing").status == 404
        assert server.send("GET", LISTS + "/nothing/file").status == 404
        failed = finished(server, server.send("POST", LISTS, b"unit\nm-1\n"))
        assert failed["state"] == "failed"
        assert "reads 'channel', which is no column" in failed["error"]
        gone = server.send("GET", f"{LISTS}/{failed['id']}/file")
        assert (gone.status, gone.json()["type"]) == (409, "urn:equipoise:problem:job_failed")
        assert server.send("POST", LISTS, b"unit\nm-1\n").json()["id"] == failed["id"], "it begins again"
        assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.slow
def test_slow_senders_hold_nothing(tmp_path: Path) -> None:
    """Eight half-sent lists are all that is taken; everything else is answered as always, and so is the ninth."""
    launch(tmp_path, None)
    with serving(tmp_path) as server:
        server.wait_ready("nightly")
        head = f"POST {LISTS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nunit,channel\n"
        slow = []
        for _ in range(8):
            connection = socket.create_connection((server.host, server.port))
            connection.sendall(head.encode())
            slow.append(connection)
        time.sleep(0.5)
        began = time.monotonic()
        for i in range(20):
            asked = {"experiment": "nightly", "unit": f"u{i}", "attributes": {"channel": "sms"}}
            assert server.send("POST", "/v1/decide", asked).status == 200
        assert time.monotonic() - began < 5
        busy = server.send("POST", LISTS, b"unit,channel\nm-1,sms\n")
        assert (busy.status, json.loads(busy.body)["type"]) == (503, "urn:equipoise:problem:busy")
        assert busy.headers["retry-after"] == "30"
        for connection in slow:
            connection.close()
        deadline = time.monotonic() + 40
        while (reply := server.send("POST", LISTS, b"unit,channel\nm-1,sms\n")).status == 503:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert reply.status == 202
        # A list that comes in pieces, slowly but steadily, is taken.
        client = http.client.HTTPConnection(server.host, server.port, timeout=20)
        client.putrequest("POST", LISTS + "?occasion=pieces")
        client.putheader("Transfer-Encoding", "chunked")
        client.endheaders()
        for piece in (b"unit,chan", b"nel\nm-1,", b"sms\n"):
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(0.3)
        client.send(b"0\r\n\r\n")
        answer = client.getresponse()
        assert answer.status == 202, answer.read()
        client.close()
