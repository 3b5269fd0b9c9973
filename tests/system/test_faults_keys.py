"""Fault 23: keys that are revoked or expire, and keys while the database is away, on every process of a host."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from experiments.security import keys
from experiments.store import Store, open_store
from tests import postgres
from tests.system.serving import Reply, Server, run, serving
from tests.system.test_serve import CART, DEFINITIONS, launch

pytestmark = pytest.mark.postgres
WORKERS = ["--workers", "2"]
CONNECTIONS = 30
"""Each is new, so that every process gets some."""
SOON_S = 30.0


def with_key(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def decide(server: Server, unit: str, headers: Mapping[str, str]) -> Reply:
    body = {"experiment": "basket", "unit": unit, "attributes": CART, "on_failure": "error"}
    return server.send("POST", "/v1/decide", body, dict(headers))


def ingest(server: Server, number: int, headers: Mapping[str, str]) -> Reply:
    event = {"name": "Visit", "event_id": f"e-{number}", "unit": "m", "at": "2026-03-03T08:00:00Z"}
    return server.send("POST", "/v1/events", {"events": [event]}, dict(headers))


def within(seconds: float, said: Callable[[], bool]) -> float:
    """Wait until something is so, and return how long it took."""
    began = time.monotonic()
    while not said():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began


def everywhere(server: Server, status: int, headers: Mapping[str, str]) -> Callable[[], bool]:
    """Whether every one of many new connections is answered so."""
    return lambda: all(decide(server, f"m-{n}", headers).status == status for n in range(CONNECTIONS))


@pytest.fixture
def running(store_url: str, tmp_path: Path) -> Iterator[tuple[Server, Store]]:
    with serving(tmp_path / "data", database=store_url, arguments=WORKERS) as server:
        reply = server.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"})
        assert reply.status == 200, reply.body
        launch(server)
        store = open_store(store_url)
        yield server, store
        store.close()


def test_keys_close_rotate_expire_and_are_revoked_on_every_process(
    running: tuple[Server, Store], store_url: str, tmp_path: Path
) -> None:
    server, store = running
    assert decide(server, "open", {}).status == 200
    made = run(
        "--data", str(tmp_path / "data"), "--database", store_url,
        "keys", "create", "shop", "--scope", "decide", "--scope", "ingest",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    first = with_key(made.stdout.strip())
    took = {"first key": within(SOON_S, everywhere(server, 401, {}))}
    within(SOON_S, everywhere(server, 200, first))
    assert server.send("GET", "/v1/experiments", headers=first).status == 403
    assert server.send("GET", "/v1/experiments").status == 401

    second = with_key(keys.rotate(store, "shop", actor="test").text)
    took["rotation"] = within(SOON_S, everywhere(server, 200, second))
    assert everywhere(server, 200, first)()  # both work for a while
    assert ingest(server, 1, first).json()["accepted"] == ingest(server, 2, second).json()["accepted"] == 1

    brief = keys.create(store, "brief", ["decide"], actor="test", expires_at=keys.now_us() + 8_000_000)
    within(7, everywhere(server, 200, with_key(brief.text)))
    assert brief.key.expires_at is not None
    time.sleep(max(0.0, (brief.key.expires_at - keys.now_us()) / 1e6))
    assert everywhere(server, 401, with_key(brief.text))()  # at once: every process knows when it ends

    keys.revoke(store, "shop", actor="test")
    took["revocation"] = within(SOON_S, everywhere(server, 401, first))
    took["revocation"] += within(SOON_S, everywhere(server, 401, second))
    import sys

    sys.stderr.write(str(took) + "\n")
    assert server.send("GET", "/v1/experiments").status == 401  # no key works, and the service stays closed

    admin = with_key(keys.create(store, "admin", ["manage"], actor="test").text)
    asked = "/v1/keys?limit=1"
    within(SOON_S, lambda: all(server.send("GET", asked, headers=admin).status == 200 for _ in range(CONNECTIONS)))
    assert server.send("GET", asked, headers=admin).json()["items"][0]["name"] == "admin"


def test_a_key_whose_rows_must_be_in_the_database(running: tuple[Server, Store]) -> None:
    server, store = running
    strict = with_key(keys.create(store, "strict", ["decide", "ingest"], actor="test", ack="store").text)
    loose = with_key(keys.create(store, "loose", ["decide", "ingest"], actor="test", ack="none").text)
    within(SOON_S, everywhere(server, 401, {}))  # while the service is open, no key is looked at
    within(SOON_S, everywhere(server, 200, strict))
    for number in range(20):
        assert decide(server, f"strict-{number}", strict).json()["enrolled"]
        assert ingest(server, number, strict).status == 200
        # Not soon, but now: the answer came after the commit.
        assert stored(store, f"strict-{number}", f"e-{number}") == (1, 1)
    assert decide(server, "spooled", loose).status == 200
    assert decide(server, "spooled", strict).status == 200
    assert stored(store, "spooled", "e-0") == (1, 1)
    assert (
        decide(server, "strict-0", strict).json()["decision_id"]
        == decide(server, "strict-0", loose).json()["decision_id"]
    )
    time.sleep(1)
    assert stored(store, "strict-0", "e-0") == (1, 1)


def stored(store: Store, unit: str, event_id: str) -> tuple[int, int]:
    import sqlalchemy as sa

    from experiments.store.log_tables import decisions, events

    with store.read() as connection:
        return (
            connection.scalar(sa.select(sa.func.count()).where(decisions.c.unit == unit)) or 0,
            connection.scalar(sa.select(sa.func.count()).where(events.c.event_id == event_id)) or 0,
        )


@pytest.mark.slow
def test_while_the_database_is_away_known_keys_go_on_and_unknown_ones_wait(tmp_path: Path) -> None:
    try:
        with postgres.running_server() as database, database.fresh_database() as url:
            _without_a_database(database, url, tmp_path)
    except postgres.PostgresMissingError as missing:
        pytest.skip(str(missing))


def _without_a_database(database: postgres.Server, url: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    unknown = with_key("eqp_live_000000000000_" + "0" * 43)
    with serving(data, database=url, arguments=WORKERS) as server:
        assert server.send(
            "POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"}
        ).status == 200  # fmt: skip
        launch(server)
        store = open_store(url)
        spool = with_key(keys.create(store, "spool", ["decide", "ingest"], actor="test").text)
        strict = with_key(keys.create(store, "strict", ["decide", "ingest"], actor="test", ack="store").text)
        within(SOON_S, everywhere(server, 200, strict))
        within(SOON_S, everywhere(server, 401, unknown))
        store.close()
        stopped = [database.process.pid, *_children(database.process.pid)]
        for process in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        try:
            ended = time.monotonic() + 20
            took, number, refused = [], 0, []
            while time.monotonic() < ended:
                number += 1
                began = time.perf_counter()
                assert decide(server, f"away-{number}", spool).status == 200
                assert ingest(server, number, spool).status == 200
                took.append(time.perf_counter() - began)
                if time.monotonic() > ended - 15:  # whoever knows the database to be silent says so
                    began = time.perf_counter()
                    for reply in (decide(server, f"strict-{number}", strict), ingest(server, -number, strict)):
                        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
                    refused.append(time.perf_counter() - began)
                    assert decide(server, "unknown", unknown).status == 503
                time.sleep(0.2)
            assert sorted(took)[len(took) // 2] < 0.5
            assert sorted(refused)[len(refused) // 2] < 0.5, "two refusals, at once"
        finally:
            for process in stopped:
                with contextlib.suppress(ProcessLookupError):  # it was just ending
                    os.kill(process, signal.SIGCONT)
        within(SOON_S, lambda: decide(server, "back", strict).status == 200)
        within(SOON_S, everywhere(server, 401, unknown))
        assert server.stop() == 0
    # Restarted while the database cannot be reached at all.
    with serving(data, database="postgresql://nobody@127.0.0.1:1/none", arguments=WORKERS) as server:
        for _ in range(CONNECTIONS):
            assert decide(server, "after", unknown).status == 503  # from the first moment on
            assert decide(server, "after", spool).status == 200
            assert decide(server, "after", {}).status == 401
            assert decide(server, "strict", strict).status == 503


def _children(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_key_that_is_unknown_is_refused_for_good_while_only_a_file_cannot_be_written(
    running: tuple[Server, Store], tmp_path: Path, seconds: int
) -> None:
    """Member states fail (here their manifest's place is taken; a full disk does the same): keys are known as ever."""
    server, store = running
    admin = with_key(keys.create(store, "admin", ["manage", "decide", "ingest"], actor="test").text)
    unknown = with_key("eqp_live_000000000000_" + "0" * 43)
    within(SOON_S, everywhere(server, 401, unknown))
    within(SOON_S, everywhere(server, 200, admin))
    manifest = tmp_path / "data" / "snapshots" / "members.json"
    manifest.unlink()
    manifest.mkdir()
    trait = {"type": "identify", "userId": "m-1", "messageId": "i-1", "traits": {"opted_out": True}}
    assert server.send("POST", "/v1/identify", trait, admin).status == 200
    within(SOON_S, lambda: bool(server.log_lines("upkeep_fails")))
    assert {line["work"] for line in server.log_lines("upkeep_fails")} == {"members"}
    ended = time.monotonic() + seconds  # 20 are longer than work may hang until answers are marked stale
    while time.monotonic() < ended:
        assert decide(server, "m-1", unknown).status == 401
        assert decide(server, "m-1", admin).json()["stale"] is False
        time.sleep(0.5)
    assert server.send("GET", "/readyz").json()["database"] == "ok"
    late = with_key(keys.create(store, "late", ["decide"], actor="test").text)
    within(SOON_S, everywhere(server, 200, late))
    assert server.log_lines("database_away") == []
    manifest.rmdir()
    within(SOON_S, lambda: bool(server.log_lines("upkeep_works_again")))
    assert server.stop() == 0
