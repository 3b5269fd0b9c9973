"""Four client libraries as they are, each delivering to a running service: what it sends arrives in the store."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.store import Store, open_store
from experiments.store.log_tables import dead_letters, events, identities, members
from tests.system.serving import Server, run, serving

ROOT = Path(__file__).parents[2]
MODULES = Path(__file__).parent / "clients" / "node_modules"
PYTHON = ROOT / ".venv-clients" / "bin" / "python"

DEFINITIONS = """
kind: project
name: Harbour Retail
currency: CNY
attributes:
  stage: {type: string}
  visits: {type: number}
"""

SEGMENT_PYTHON = """
import os, segment.analytics as analytics
analytics.write_key, analytics.host = os.environ["WRITE_KEY"], os.environ["HOST"]
analytics.gzip = os.environ.get("GZIP") == "1"
analytics.on_error = lambda error, items: print("FAILED", error)
"""
RUDDER_PYTHON = """
import os, rudderstack.analytics as analytics
analytics.write_key, analytics.dataPlaneUrl = os.environ["WRITE_KEY"], os.environ["HOST"]
analytics.on_error = lambda error, items: print("FAILED", error)
"""
PYTHON_CALLS = """
import datetime
user = os.environ["USER_ID"]
at = datetime.datetime(2026, 3, 3, 12, tzinfo=datetime.timezone.utc)
analytics.identify(user, {"stage": "dormant", "visits": 3, "email": "li@example.com"})
analytics.track(user, "Order Completed", {"order_id": user + "-1", "revenue": 19.9, "currency": "CNY"}, timestamp=at)
analytics.track(user, "Experiment Viewed", {"experiment": "winback", "variation_id": "a"})
analytics.alias("anon-" + user, user)
analytics.page(user, "Docs", "Python", {})
analytics.group(user, "household-1", {})
analytics.flush()
analytics.shutdown()
print("SENT")
"""
SEGMENT_NODE = """
import { Analytics } from "@segment/analytics-node";
const analytics = new Analytics({ writeKey: process.env.WRITE_KEY, host: process.env.HOST });
analytics.on("error", (error) => console.log("FAILED", error));
const close = () => analytics.closeAndFlush();
"""
RUDDER_NODE = """
import rudder from "@rudderstack/rudder-sdk-node";
const Analytics = rudder.default ?? rudder;
const analytics = new Analytics(process.env.WRITE_KEY, { dataPlaneUrl: process.env.HOST,
  errorHandler: (error) => console.log("FAILED", error.message) });
const close = () => analytics.flush();
"""
NODE_CALLS = """
const userId = process.env.USER_ID;
const order = { order_id: userId + "-1", revenue: 19.9, currency: "CNY" };
analytics.identify({ userId, traits: { stage: "dormant", visits: 3, email: "li@example.com" } });
analytics.track({ userId, event: "Order Completed", properties: order, timestamp: new Date("2026-03-03T12:00:00Z") });
analytics.track({ userId, event: "Experiment Viewed", properties: { experiment: "winback", variation_id: "a" } });
analytics.alias({ previousId: "anon-" + userId, userId });
analytics.page({ userId, category: "Docs", name: "Node" });
analytics.group({ userId, groupId: "household-1", traits: {} });
await close();
console.log("SENT");
"""

CLIENTS = {
    "segment-python": SEGMENT_PYTHON + PYTHON_CALLS,
    "rudder-python": RUDDER_PYTHON + PYTHON_CALLS,
    "segment-node": SEGMENT_NODE + NODE_CALLS,
    "rudder-node": RUDDER_NODE + NODE_CALLS,
}
client = pytest.mark.parametrize("name", CLIENTS)


def deliver(name: str, server: Server, write_key: str, user: str, folder: Path, **more: str) -> None:
    """Run a client library's program to its end."""
    environment = {"HOST": f"http://{server.host}:{server.port}", "WRITE_KEY": write_key, "USER_ID": user, **more}
    if name.endswith("python"):
        if not PYTHON.exists():
            pytest.skip("the client libraries are missing: make test installs them into .venv-clients")
        command = [str(PYTHON), "-c", CLIENTS[name]]
    else:
        node = shutil.which("node")
        if node is None or not MODULES.is_dir():
            pytest.skip("node or the client libraries are missing: make test installs them into tests/system/clients")
        script = folder / f"{name}.mjs"
        script.write_text(CLIENTS[name], encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            (folder / "node_modules").symlink_to(MODULES)
        command = [node, str(script)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert "SENT" in done.stdout, done.stderr[-2000:]
    assert "FAILED" not in done.stdout, done.stdout


def arrived(store: Store, user: str, wait_s: float = 10) -> tuple[list[Any], dict[str, Any], set[str]]:
    """Return the user's events, attributes and ids, once everything that the client sent is there."""
    deadline = time.monotonic() + wait_s
    while True:
        with store.read() as connection:
            found = connection.execute(sa.select(events).where(events.c.unit == user)).all()
            known = connection.execute(sa.select(members.c.attributes).where(members.c.unit == user)).scalar()
            linked = sa.select(identities.c.unit).where(identities.c.root == f"anon-{user}")
            ids = set(connection.execute(linked).scalars())
        if (len(found) >= 2 and known is not None and ids) or time.monotonic() > deadline:
            return list(found), json.loads(known or "{}"), ids
        time.sleep(0.1)


def assert_arrived(store: Store, user: str, source: str) -> None:
    found, attributes, ids = arrived(store, user)
    order, seen = sorted(found, key=lambda row: str(row.name), reverse=True)
    assert (order.source, order.name, order.unit_type) == (source, "Order Completed", "member")
    assert (order.object_id, order.value_minor, order.currency) == (f"{user}-1", 1990, "CNY")
    assert (order.at, order.stated_at) == (1_772_539_200_000_000, None)
    assert abs(order.received_at - time.time() * 1e6) < 60e6
    assert (seen.name, seen.experiment, len(seen.event_id) > 8) == ("Experiment Viewed", "winback", True)
    assert attributes == {"stage": "dormant", "visits": 3}, "declared attributes, and no address"
    assert ids == {user, f"anon-{user}"}


def contains(data: Path, text: str) -> list[Path]:
    """Return the files of a data folder that hold a text."""
    needle = text.encode()
    return [path for path in data.rglob("*") if path.is_file() and needle in path.read_bytes()]


def key_of(data: Path, name: str, *options: str) -> str:
    made = run("--data", str(data), "keys", "create", name, "--scope", "ingest", *options)
    found = re.search(r"eqp_[a-z0-9]+_[a-z0-9]{12}_[A-Za-z0-9]{43}", made.stdout)
    assert found is not None, made.stderr
    return found[0]


def closed(server: Server) -> bool:
    return server.send("POST", "/v1/batch", {"batch": []}).status == 401


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, Store]]:
    yield from _service(tmp_path_factory.mktemp("open") / "data")


@pytest.fixture(scope="module")
def keyed_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, Store]]:
    yield from _service(tmp_path_factory.mktemp("keyed") / "data")


def _service(data: Path) -> Iterator[tuple[Server, Path, Store]]:
    with serving(data) as server:
        reply = server.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"})
        assert reply.status == 200, reply.body
        deadline = time.monotonic() + 40
        order: dict[str, Any] = {
            "type": "track",
            "userId": "probe",
            "event": "Tip",
            "messageId": "p",
            "properties": {"revenue": 1},
        }
        order["timestamp"] = "2026-03-03T12:00:00Z"
        while server.send("POST", "/v1/batch", {"batch": [order]}).json()["rejected"]:
            assert time.monotonic() < deadline, "the project was not published"
            time.sleep(0.1)
        store = open_store(f"sqlite:///{data / 'equipoise.sqlite'}")
        try:
            yield server, data, store
        finally:
            store.close()


@client
def test_a_client_library_delivers(name: str, open_service: tuple[Server, Path, Store], tmp_path: Path) -> None:
    server, data, store = open_service
    deliver(name, server, "any-write-key-12345", f"u-{name}", tmp_path)
    assert_arrived(store, f"u-{name}", "segment")
    assert contains(data, "any-write-key-12345") == [], "the write key is kept nowhere"
    assert contains(data, "li@example.com") == [], "nor are traits that nobody declared"


def test_gzip_from_the_python_library(open_service: tuple[Server, Path, Store], tmp_path: Path) -> None:
    server, _, store = open_service
    deliver("segment-python", server, "k", "u-zipped", tmp_path, GZIP="1")
    assert_arrived(store, "u-zipped", "segment")


@pytest.mark.parametrize(
    "name", [name if name == "rudder-node" else pytest.param(name, marks=pytest.mark.slow) for name in CLIENTS]
)
def test_a_client_library_delivers_with_a_key(
    name: str, keyed_service: tuple[Server, Path, Store], tmp_path: Path
) -> None:
    server, data, store = keyed_service
    key = key_of(data, f"shop-{name}", "--source", "web" if name == "rudder-node" else "")
    deadline = time.monotonic() + 60
    while not closed(server) or server.send("POST", "/v1/batch", {"batch": [], "writeKey": key}).status != 200:
        assert time.monotonic() < deadline, "the key was not published"
        time.sleep(0.2)
    deliver(name, server, key, f"k-{name}", tmp_path)
    assert_arrived(store, f"k-{name}", "web" if name == "rudder-node" else f"shop-{name}")
    secret = key.rpartition("_")[2]
    assert contains(data, secret) == []
    assert secret not in "".join(server.errors + server.lines)


def test_a_key_in_the_body_counts_and_is_stripped(keyed_service: tuple[Server, Path, Store]) -> None:
    server, data, store = keyed_service
    key = key_of(data, "in-the-body")
    deadline = time.monotonic() + 60
    while not closed(server):
        assert time.monotonic() < deadline, "the key was not published"
        time.sleep(0.2)
    bad = {"type": "track", "userId": "u", "messageId": "bad-1", "writeKey": key, "timestamp": "2026-03-03T12:00:00Z"}
    while (reply := server.send("POST", "/v1/batch", {"writeKey": key, "batch": [bad]})).status != 200:
        assert (reply.status, reply.json()["success"]) == (401, False)
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert reply.json()["rejected"] == [
        {"index": 0, "reason": "invalid", "detail": "/event: is missing; name what happened", "messageId": "bad-1"}
    ]
    single = server.send("POST", "/v1/track", {**bad, "event": "Visit", "messageId": "good-1"})
    assert single.json() == {"success": True, "accepted": 1, "ignored": 0, "duplicates": 0, "rejected": []}
    for wrong in ({}, {"writeKey": key[:-1] + ("a" if key[-1] != "a" else "b")}):
        refused = server.send("POST", "/v1/batch", {"batch": [bad], **wrong})
        assert (refused.status, set(refused.json()) >= {"success", "code", "message"}) == (401, True)
    deadline = time.monotonic() + 40
    letters: list[str] = []
    while not letters and time.monotonic() < deadline:
        with store.read() as connection:
            said = dead_letters.c.payload
            letters = list(connection.execute(sa.select(said).where(said.contains("bad-1"))).scalars())
        time.sleep(0.1)
    assert json.loads(letters[0]) == {name: value for name, value in bad.items() if name != "writeKey"}
    assert contains(data, key.rpartition("_")[2]) == []
