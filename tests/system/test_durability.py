"""Acknowledged means durable: by the order of system calls, and by killing the server.

kill -9 proves little (the kernel keeps what a killed process wrote, whether or not it was synced): the promise is the
order of system calls. The same check must fail with synchronous OFF and NORMAL, else it checks nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from experiments.store import open_store
from experiments.store.log_tables import decisions, events
from tests.system.serving import Server, serving
from tests.system.syscalls import RECEIVE, SEND, Call, calls, strace, unsynced

ROOT = Path(__file__).parents[2]

DEFINITIONS = """
kind: project
name: Harbour Retail
currency: CNY
---
kind: metric
key: repurchase
name: Repurchase
type: proportion
event: Order Completed
window: {days: 14}
---
kind: experiment
key: always
name: Always
variants: [{key: control}, {key: a}]
control: control
metrics: {primary: [repurchase]}
"""

# ---- the order of system calls ---------------------------------------------------------------------------------------

WRITER = """
import os, sys, threading
from pathlib import Path
from experiments.log.spool import Spool
from tests.experiments.log_samples import event

def work(worker):
    for i in range(25):
        name = f"id-{worker}-{i:04d}-end"
        spool.append([event(name)]).result(timeout=30)
        os.write(1, f"ack {name}\\n".encode())

with Spool(Path(sys.argv[1]), sys.argv[2]) as spool:
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def traced_spool(folder: Path, synchronous: str) -> tuple[list[Call], dict[str, Call]]:
    """Run eight threads that each wait for every row before they say so, under trace."""
    log = folder / "trace"
    subprocess.run(
        [*strace(log), sys.executable, "-c", WRITER, str(folder / "spool"), synchronous],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        timeout=100,
        check=True,
    )
    trace = calls(log)
    acknowledged = {}
    for call in trace:
        if call.name == "write" and '"ack ' in call.arguments:
            acknowledged[call.arguments.split('"ack ')[1].split("\\n")[0]] = call
    return trace, acknowledged


def test_every_acknowledgement_follows_an_fdatasync_of_its_rows(tmp_path: Path) -> None:
    trace, acknowledged = traced_spool(tmp_path, "FULL")
    assert len(acknowledged) == 200
    assert unsynced(trace, acknowledged) == {}


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_check_notices_a_spool_that_does_not_sync(tmp_path: Path, synchronous: str) -> None:
    trace, acknowledged = traced_spool(tmp_path, synchronous)
    assert len(acknowledged) == 200
    # NORMAL syncs at checkpoints only, so that a few rows may happen to be safe.
    assert len(unsynced(trace, acknowledged)) > 150


SERVER = """
import sys
from experiments.log import spool
spool.DEFAULT_SYNCHRONOUS = sys.argv.pop(1)
from api.cli import main
main()
"""


def traced_server(folder: Path, synchronous: str) -> tuple[list[Call], dict[str, Call]]:
    """Run the real server under trace, ask it 60 decisions and send it 60 events over four connections."""
    log = folder / "trace"
    process = subprocess.Popen(
        [*strace(log), sys.executable, "-c", SERVER, synchronous, "--data", folder / "data", "serve", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        server = _started(process)
        server.wait_ready(timeout_s=60)
        _define(server)

        def work(worker: int) -> None:
            with contextlib.closing(server.connect()) as connection:
                for i in range(15):
                    _decide(connection, f"unit-{worker}-{i}")
                    _send_event(connection, f"event-{worker}-{i:04d}-end")

        _together(work, 4)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    trace = calls(log)
    return trace, _acknowledged_by_server(trace)


def _acknowledged_by_server(trace: list[Call]) -> dict[str, Call]:
    """Pair each request with the first bytes of its answer on the same connection."""
    acknowledged: dict[str, Call] = {}
    waiting: dict[str, str] = {}
    for call in trace:
        if call.name in RECEIVE and call.result > 0:
            if r"\"event_id\": \"" in call.arguments:
                waiting[call.descriptor] = call.arguments.split(r"\"event_id\": \"")[1].split("\\")[0]
            elif r"\"unit\": \"unit-" in call.arguments:
                waiting[call.descriptor] = "decision"
        elif call.name in SEND and call.descriptor in waiting:
            # Headers and body may be sent apart: the body has the decision's id.
            if waiting[call.descriptor] != "decision":
                acknowledged[waiting.pop(call.descriptor)] = call
            elif r"\"decision_id\":\"" in call.arguments:
                identity = call.arguments.split(r"\"decision_id\":\"")[1].split("\\")[0]
                del waiting[call.descriptor]
                acknowledged[identity] = call
    return acknowledged


@pytest.mark.slow
def test_the_server_answers_after_the_fdatasync(tmp_path: Path) -> None:
    trace, acknowledged = traced_server(tmp_path, "FULL")
    assert len(acknowledged) == 120
    assert unsynced(trace, acknowledged) == {}


@pytest.mark.slow
@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_check_notices_a_server_that_does_not_sync(tmp_path: Path, synchronous: str) -> None:
    trace, acknowledged = traced_server(tmp_path, synchronous)
    assert len(acknowledged) == 120
    assert len(unsynced(trace, acknowledged)) > 60


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


class Load:
    """Clients that ask and send without pause, and remember what was acknowledged to them and what was not."""

    def __init__(self) -> None:
        self.decisions: dict[str, str] = {}
        """decision_id → variant."""
        self.events: set[str] = set()
        self.unanswered: set[str] = set()
        self._stop = threading.Event()
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def on(self, server: Server, round_: int, clients: int = 8) -> Iterator[None]:
        self._stop.clear()
        threads = [threading.Thread(target=self._work, args=(server, round_, n), daemon=True) for n in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(30)

    def _work(self, server: Server, round_: int, client: int) -> None:
        with contextlib.closing(server.connect(timeout=10)) as connection:
            i = 0
            while not self._stop.is_set():
                i += 1
                name = f"{round_}-{client}-{i}"
                with self._guard:
                    self.unanswered.add(name)
                try:
                    answer = _decide(connection, f"unit-{name}")
                    _send_event(connection, name)
                except (OSError, http.client.HTTPException):
                    return
                with self._guard:
                    self.decisions[answer["decision_id"]] = answer["variant"]
                    self.events.add(name)
                    self.unanswered.discard(name)

    def again(self, server: Server) -> None:
        """Do what clients do after an outage: send what was not acknowledged once more, under the same ids."""
        with contextlib.closing(server.connect()) as connection:
            for name in sorted(self.unanswered):
                answer = _decide(connection, f"unit-{name}")
                _send_event(connection, name)
                self.decisions[answer["decision_id"]] = answer["variant"]
                self.events.add(name)
        self.unanswered.clear()


def kill_under_load(url: str, data: Path, rounds: int, seconds: float) -> None:
    load = Load()
    for round_ in range(rounds):
        with serving(data, database=url) as server:
            if round_ == 0:
                _define(server)
            server.wait_ready("always")
            load.again(server)
            with load.on(server, round_):
                time.sleep(seconds)
                server.process.kill()
                server.process.wait(10)
    with serving(data, database=url) as server:
        server.wait_ready("always")
        load.again(server)
        assert server.stop() == 0
    assert not list((data / "spool").glob("*.spool")), "every spool was adopted and emptied"
    assert len(load.events) > 100 * rounds * seconds, "that was no load"
    store = open_store(url)
    with store.read() as connection:
        stored = list(connection.execute(sa.select(decisions.c.decision_id, decisions.c.variant, decisions.c.unit)))
        names = [row.event_id for row in connection.execute(sa.select(events.c.event_id))]
    store.close()
    asked = [row for row in stored if row.unit.startswith("unit-")]
    assert {row.decision_id: row.variant for row in asked} == load.decisions
    assert max(Counter(row.decision_id for row in stored).values()) == 1
    assert set(names) == load.events
    assert max(Counter(names).values()) == 1


def test_killing_the_server_loses_nothing_acknowledged(store_url: str, tmp_path: Path) -> None:
    kill_under_load(store_url, tmp_path / "data", rounds=1, seconds=0.7)


@pytest.mark.slow
def test_killing_the_server_five_times_loses_nothing_acknowledged(store_url: str, tmp_path: Path) -> None:
    kill_under_load(store_url, tmp_path / "data", rounds=5, seconds=2)


# ---- a client --------------------------------------------------------------------------------------------------------


def _started(process: subprocess.Popen[str]) -> Server:
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[str] = []
    threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True).start()
    for line in process.stdout:
        if "listens on http://" in line:
            host, _, port = line.split("http://", 1)[1].split()[0].rpartition(":")
            return Server(process, host, int(port), errors=errors)
    raise AssertionError("the server did not start:\n" + "".join(errors))


def _define(server: Server) -> None:
    reply = server.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"})
    assert reply.status == 200, reply.body
    for state in ("review", "testing", "running"):
        reply = server.send("POST", "/v1/experiments/always/transitions", {"to": state})
        assert reply.status == 200, reply.body
    deadline = time.monotonic() + 40
    while server.send("POST", "/v1/decide", {"experiment": "always", "unit": "probe"}).json().get("variant") is None:
        assert time.monotonic() < deadline, "the launch was not published"
        time.sleep(0.1)


def _post(connection: http.client.HTTPConnection, path: str, body: object) -> dict[str, str]:
    connection.request("POST", path, body=json.dumps(body), headers={"Content-Type": "application/json"})
    response = connection.getresponse()
    answer: dict[str, str] = json.loads(response.read())
    if response.status != 200:
        raise http.client.HTTPException(f"{response.status}: {answer}")
    return answer


def _decide(connection: http.client.HTTPConnection, unit: str) -> dict[str, str]:
    answer = _post(connection, "/v1/decide", {"experiment": "always", "unit": unit})
    assert answer["variant"] in {"control", "a"}
    return answer


def _send_event(connection: http.client.HTTPConnection, event_id: str) -> None:
    event = {"name": "Order Completed", "event_id": event_id, "unit": "m", "at": "2026-03-03T00:00:00Z", "value": "9.9"}
    answer = _post(connection, "/v1/events", {"events": [event]})
    assert answer["rejected"] == []


def _together(work: object, workers: int) -> None:
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
