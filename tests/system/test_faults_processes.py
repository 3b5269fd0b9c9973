"""Processes that die, are told to end, or are held up: nothing that was acknowledged is lost, and answering goes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from allocation.decide import decide
from experiments.publishing.snapshot_file import SnapshotFile, path_of, versions
from experiments.settings import Settings
from experiments.store import open_store
from experiments.store.log_tables import decisions, events
from tests.system.serving import Server, run, serving
from tests.system.test_durability import _define as define

ROOT = Path(__file__).parents[2]
RATE_PER_S = 300
CLIENTS = 6


class Steady:
    """Clients that send events at a steady rate, and what was not answered once more on a new connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self.took_s: list[float] = []
        self._stop = threading.Event()

    @contextlib.contextmanager
    def on(self, server: Server) -> Iterator[None]:
        threads = [threading.Thread(target=self._work, args=(server, n), daemon=True) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(30)

    def until(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        wanted, deadline = len(self.acknowledged) + count, time.monotonic() + 60
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, "that was no load"
            time.sleep(0.02)

    def _work(self, server: Server, client: int) -> None:
        connection: http.client.HTTPConnection | None = None
        number, due = 0, time.monotonic()
        while not self._stop.is_set():
            due += CLIENTS / RATE_PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            name = f"{self.name}-{client}-{number}"
            event = {"name": "Visit", "event_id": name, "unit": name, "at": "2026-03-03T08:00:00Z"}
            began = time.perf_counter()
            try:
                connection = connection or server.connect(timeout=10)
                connection.request("POST", "/v1/events", json.dumps({"events": [event]}))
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.02)
                continue
            self.took_s.append(time.perf_counter() - began)
            if response.status == 200:
                self.acknowledged.append(name)
                number += 1
            else:
                self.refused.append(response.status)


def define_everywhere(server: Server) -> None:
    """Define and launch an experiment, and wait until every serving process decides it."""
    define(server)
    in_a_row, deadline = 0, time.monotonic() + 30
    while in_a_row < 12 * len(server.children()):  # each on a connection of its own, which may reach any of them
        answer = server.send("POST", "/v1/decide", {"experiment": "always", "unit": "probe"}).json()
        in_a_row = in_a_row + 1 if answer.get("variant") else 0
        assert time.monotonic() < deadline


def stored_events(url: str) -> Counter[str]:
    store = open_store(url)
    with store.read() as connection:
        found = Counter(connection.scalars(sa.select(events.c.event_id)).all())
    store.close()
    return found


def gone(pid: int, timeout_s: float = 15) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z"):
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def replaced(server: Server, dead: int, count: int, name: str = "serving", timeout_s: float = 20) -> list[int]:
    """Return the processes once the dead one has a successor."""
    deadline = time.monotonic() + timeout_s
    while dead in (found := server.children(name)) or len(found) < count:
        assert time.monotonic() < deadline, "the dead one was not replaced"
        time.sleep(0.05)
    return found


def kill_worker_then_parent(url: str, data: Path, rounds: int, seconds: float) -> None:
    everything: set[str] = set()
    for round_ in range(rounds):
        load = Steady(f"r{round_}")
        with serving(data, database=url, arguments=["--workers", "2"]) as server:
            if round_ == 0:
                define_everywhere(server)
            with load.on(server):
                load.until(round(seconds * RATE_PER_S))
                before = server.children()
                os.kill(before[0], signal.SIGKILL)
                load.until(round(seconds * RATE_PER_S))
                after = replaced(server, before[0], 2)
                processes = [*after, *server.children("upkeep")]
                server.process.kill()
                server.process.wait(10)
            assert all(gone(pid) for pid in processes), "nobody stays behind without the supervisor"
            assert [line["process_name"] for line in server.log_lines("process_died")]
        assert load.refused == []
        everything |= set(load.acknowledged)
    with serving(data, database=url) as server:
        assert server.stop() == 0
    assert not list((data / "spool").glob("*.spool")), "every spool was adopted and emptied"
    stored = stored_events(url)
    assert everything <= set(stored)
    assert max(stored.values()) == 1


@pytest.mark.slow
def test_killing_a_worker_and_then_the_supervisor_loses_nothing_acknowledged(store_url: str, tmp_path: Path) -> None:
    kill_worker_then_parent(store_url, tmp_path / "data", rounds=1, seconds=0.7)


@pytest.mark.slow
def test_the_same_five_times(store_url: str, tmp_path: Path) -> None:
    kill_worker_then_parent(store_url, tmp_path / "data", rounds=5, seconds=2)


@pytest.mark.slow
def test_a_dead_upkeep_process_is_replaced(tmp_path: Path) -> None:
    """Rows wait on disk meanwhile, and what is defined is published by the one that comes."""
    with serving(tmp_path) as server:
        (upkeep,) = server.children("upkeep")
        os.kill(upkeep, signal.SIGKILL)
        event = {"name": "Visit", "event_id": "e-1", "unit": "m-1", "at": "2026-03-03T08:00:00Z"}
        assert server.send("POST", "/v1/events", {"events": [event]}).status == 200
        replaced(server, upkeep, 1, "upkeep")
        define_everywhere(server)
        assert server.stop() == 0
    assert stored_events(f"sqlite:///{tmp_path / 'equipoise.sqlite'}") == {"e-1": 1}


def test_stopping_four_workers_under_load_loses_nothing(store_url: str, tmp_path: Path) -> None:
    """SIGTERM: no request that was accepted gets anything but its answer, and all ends in time, queues empty."""
    load = Steady("s")
    with serving(tmp_path, database=store_url, arguments=["--workers", "4"]) as server, load.on(server):
        load.until(RATE_PER_S)
        processes = [*server.children(), *server.children("upkeep")]
        assert len(processes) == 5
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        assert all(gone(pid, 1) for pid in processes)
    assert load.refused == []
    assert not list((tmp_path / "spool").glob("*.spool"))
    stored = stored_events(store_url)
    assert set(load.acknowledged) <= set(stored)
    assert max(stored.values()) == 1


def test_ctrl_c_at_a_terminal_reaches_every_process_and_ends_once(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--workers", "2"], new_session=True) as server:
        processes = [*server.children(), *server.children("upkeep")]
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(12) == 0
        assert all(gone(pid, 1) for pid in processes)
        time.sleep(0.2)
        assert "Traceback" not in "".join(server.errors)


# ---- published files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [pytest.param("truncated", marks=pytest.mark.slow), "flipped"])
def test_a_damaged_published_file_is_refused_said_and_counted(tmp_path: Path, damage: str) -> None:
    with serving(tmp_path, arguments=["--metrics", "127.0.0.1:0"]) as server:
        define_everywhere(server)
        folder = Settings(tmp_path, "").snapshot_dir
        good = versions(folder)[-1]
        body = bytearray(path_of(folder, good).read_bytes())
        if damage == "truncated":
            del body[len(body) // 2 :]
        else:
            body[len(body) // 2] ^= 0x10
        path_of(folder, "9999999999999999-damaged").write_bytes(body)
        deadline = time.monotonic() + 5
        while not server.log_lines("published_file_refused"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        answer = server.send("POST", "/v1/decide", {"experiment": "always", "unit": "m-1"}).json()
        assert (answer["enrolled"], answer["snapshot"]) == (True, good)
        while "equipoise_published_file_refused 1.0" not in server.metrics():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert server.stop() == 0


# ---- determinism -----------------------------------------------------------------------------------------------------

OTHER_PROCESS = """
import hashlib, sys
from pathlib import Path
from allocation.decide import decide
from experiments.publishing.snapshot_file import SnapshotFile
snapshot = SnapshotFile(Path(sys.argv[1])).load()
told = hashlib.sha256()
for number in range(100_000):
    told.update(str(decide(snapshot, "always", f"m-{number}", now=1_800_000_000_000_000).variant).encode() + b"\\n")
print(told.hexdigest())
"""


@pytest.mark.slow
def test_a_member_gets_the_same_variant_from_every_worker_restart_and_process(tmp_path: Path) -> None:
    """100,000 ids in two other processes, whose hash seeds differ; 1,000 of them over HTTP from four workers, twice."""
    answers: list[dict[str, str]] = []
    answered_by: set[int] = set()
    for _ in range(2):
        with serving(tmp_path, arguments=["--workers", "4"]) as server:
            if not answers:
                define_everywhere(server)
            found: dict[str, str] = {}
            for number in range(1_000):
                with contextlib.closing(server.connect()) as connection:  # each may reach another worker
                    body = json.dumps({"experiment": "always", "unit": f"m-{number * 100}"})
                    connection.request("POST", "/v1/decide", body)
                    found[f"m-{number * 100}"] = json.loads(connection.getresponse().read())["variant"]
            answers.append(found)
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(15)
            time.sleep(0.2)
            answered_by |= {index for index, line in enumerate(server.log_lines("stopped")) if line.get("assigned", 0)}
    assert answered_by == {0, 1, 2, 3}, "every worker has answered"
    assert answers[0] == answers[1]
    snapshot = SnapshotFile(Settings(tmp_path, "").snapshot_dir).load()
    mine = {unit: decide(snapshot, "always", unit, now=time.time_ns() // 1000).variant for unit in answers[0]}
    assert mine == answers[0]
    told = {
        subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, str(Settings(tmp_path, "").snapshot_dir)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


# ---- slow clients ----------------------------------------------------------------------------------------------------


def half_sent(server: Server, text: bytes) -> socket.socket:
    opened = socket.create_connection((server.host, server.port), timeout=10)
    opened.sendall(text)
    return opened


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_slow_clients_hold_up_nobody(tmp_path: Path, workers: int) -> None:
    """200 half heads and 200 half bodies, for hot paths and for Flask's: who sends whole requests waits for nobody."""
    with serving(tmp_path, arguments=["--workers", str(workers)]) as server:
        define_everywhere(server)
        paths = (b"/v1/decide", b"/v1/events", b"/v1/definitions", b"/v1/experiments/always/transitions")
        slow = []
        for number in range(200):
            path = paths[number % len(paths)]
            slow.append(half_sent(server, b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Le"))
            slow.append(half_sent(server, b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"))
        took: dict[str, list[float]] = {"decide": [], "flask": []}
        try:
            with contextlib.closing(server.connect()) as connection:
                for number in range(200):
                    for kind in took:
                        began = time.perf_counter()
                        if kind == "decide":
                            body = json.dumps({"experiment": "always", "unit": f"healthy-{number}"})
                            connection.request("POST", "/v1/decide", body)
                        else:
                            connection.request("GET", "/v1/experiments/always")
                        response = connection.getresponse()
                        response.read()
                        took[kind].append(time.perf_counter() - began)
                        assert response.status == 200
        finally:
            for opened in slow:
                opened.close()
    for kind, seconds in took.items():
        assert sorted(seconds)[int(0.99 * len(seconds))] < 0.25, (kind, sorted(seconds)[-5:])


# ---- what cannot be started ------------------------------------------------------------------------------------------


def test_metrics_where_they_were_asked_for_or_nowhere(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("--data", str(tmp_path), "serve", "--port", "0", "--metrics", address)
        assert ended.returncode == 2
        assert f"port {taken.getsockname()[1]} is taken" in ended.stderr
    ended = run("--data", str(tmp_path), "serve", "--port", "0", "--metrics", "nowhere")
    assert ended.stderr == "equipoise: --metrics nowhere: give HOST:PORT, such as 127.0.0.1:9464, or off\n"


def test_a_taken_port_is_named_for_many_workers_too(tmp_path: Path) -> None:
    with serving(tmp_path / "one", arguments=["--workers", "2"]) as server:
        ended = run("--data", str(tmp_path / "two"), "serve", "--port", str(server.port), "--workers", "2")
        assert ended.returncode == 2
        assert "is taken" in ended.stderr


def test_a_decision_reaches_the_store_from_every_worker(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--workers", "3"]) as server:
        define_everywhere(server)
        given = {}
        for number in range(60):
            answer = server.send("POST", "/v1/decide", {"experiment": "always", "unit": f"m-{number}"}).json()
            given[answer["decision_id"]] = answer["variant"]
        assert server.stop() == 0
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    with store.read() as connection:
        rows = connection.execute(sa.select(decisions.c.decision_id, decisions.c.variant, decisions.c.unit)).all()
    store.close()
    assert {row.decision_id: row.variant for row in rows if row.unit != "probe"} == given
