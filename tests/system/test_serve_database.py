"""The database goes away: deciding and taking events go on, marked stale, and nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests import postgres
from tests.system.serving import Server, serving
from tests.system.test_serve import CART, DEFINITIONS, launch

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def decide(server: Server, unit: str) -> tuple[dict[str, object], float]:
    began = time.perf_counter()
    reply = server.send("POST", "/v1/decide", {"experiment": "basket", "unit": unit, "attributes": CART})
    assert reply.status == 200, reply.body
    return reply.json(), time.perf_counter() - began


def count(server: postgres.Server, database: str, table: str) -> int:
    with server.connect(database) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(str(row[0]))


def test_a_hanging_postgres_and_a_restart_without_it(tmp_path: Path) -> None:
    try:
        running = postgres.running_server()
        with running as database, database.fresh_database() as url:
            name = url.split("@/")[1].split("?")[0]
            with serving(tmp_path, database=url) as server:
                reply = server.send(
                    "POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"}
                )
                assert reply.status == 200, reply.body
                launch(server)
                decide(server, "before")
                hanging = [database.process.pid, *_children(database.process.pid)]
                for process in hanging:
                    os.kill(process, signal.SIGSTOP)
                try:
                    began = time.perf_counter()
                    reply = server.send("GET", "/v1/experiments")
                    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
                    assert time.perf_counter() - began < 9, "a ping of 2 s and a connection of 3 s, on a busy machine"
                    took = []
                    for number in range(200):
                        answer, seconds = decide(server, f"during-{number}")
                        assert answer["enrolled"] is True
                        took.append(seconds)
                        time.sleep(0.1)
                    assert sorted(took)[int(0.95 * len(took))] < 0.5
                    event = {"name": "Visit", "event_id": "e-1", "unit": "m", "at": "2026-03-03T08:00:00Z"}
                    assert server.send("POST", "/v1/events", {"events": [event]}).json()["accepted"] == 1
                    assert decide(server, "late")[0]["stale"] is True
                    assert server.send("GET", "/readyz").json()["database"] == "degraded"
                finally:
                    for process in hanging:
                        os.kill(process, signal.SIGCONT)
                deadline = time.monotonic() + 30
                while count(database, name, "decisions") < 202 and time.monotonic() < deadline:
                    time.sleep(0.2)
                assert count(database, name, "decisions") == 202
                assert count(database, name, "events") == 1
                assert server.stop() == 0
        # Restarted while the database cannot be reached at all: the last published snapshot decides.
        with serving(tmp_path, database="postgresql://nobody@127.0.0.1:1/none") as server:
            deadline = time.monotonic() + 40
            while not decide(server, "after")[0]["stale"]:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert server.send("GET", "/v1/experiments").status == 503
    except postgres.PostgresMissingError as missing:
        pytest.skip(str(missing))


def _children(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
