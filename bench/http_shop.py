"""The deployment that the HTTP benchmarks ask: one rule on an attribute, three variants with offers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.http_load import LOAD_CORE, SERVER_CORE, Question, family, pinned
from experiments.settings import Settings

START_S = 60.0
DEFINITIONS = """
kind: project
name: Bench
currency: CNY
time_zone: Asia/Shanghai
attributes: {country: {type: string, kept: request}}
---
kind: offer
key: coupon-a
name: {en: "¥20 off ¥100", zh-CN: 满100减20}
type: spend_x_save_y
face_value: "20.00"
minimum_spend: "100.00"
---
kind: offer
key: coupon-b
name: {en: "¥30 off ¥150", zh-CN: 满150减30}
type: spend_x_save_y
face_value: "30.00"
minimum_spend: "150.00"
---
kind: metric
key: bought
name: {en: Bought, zh-CN: 购买}
type: proportion
event: Order Completed
window: {days: 14}
---
kind: experiment
key: logged
name: {en: Everybody, zh-CN: 全部}
audience: {attribute: country, op: eq, value: US}
variants: [{key: control}, {key: a, offer: coupon-a}, {key: b, offer: coupon-b}]
metrics: {primary: [bought]}
---
kind: experiment
key: counted
name: {en: Hardly anybody, zh-CN: 极少数}
audience: {attribute: country, op: eq, value: US}
traffic: "0.0000000001"
variants: [{key: control}, {key: a, offer: coupon-a}, {key: b, offer: coupon-b}]
metrics: {primary: [bought]}
---
kind: experiment
key: logged-all
name: {en: Everybody without a rule, zh-CN: 全部，无规则}
variants: [{key: control}, {key: a, offer: coupon-a}, {key: b, offer: coupon-b}]
metrics: {primary: [bought]}
---
kind: experiment
key: counted-all
name: {en: Hardly anybody without a rule, zh-CN: 极少数，无规则}
traffic: "0.0000000001"
variants: [{key: control}, {key: a, offer: coupon-a}, {key: b, offer: coupon-b}]
metrics: {primary: [bought]}
"""
EXPERIMENTS = ("logged", "counted", "logged-all", "counted-all")
"""``logged`` enrols whoever asks; ``counted`` hashes whoever asks and enrols nobody, so nothing is written. Those of
``-all`` have no rule."""


def decide_question(experiment: str, **more: str) -> Question:
    """Return ``POST /v1/decide`` about ever new members."""
    return Question(
        "/v1/decide",
        f'{{"experiment":"{experiment}","attributes":{{"country":"US"}},"unit":"m',
        '"}',
        headers=tuple(more.items()),
    )


def ofrep_question(experiment: str) -> Question:
    """Return OFREP's single evaluation for ever new members."""
    return Question(f"/ofrep/v1/evaluate/flags/{experiment}", '{"context":{"country":"US","targetingKey":"m', '"}}')


def batch_question(experiment: str, members: int, *, rule: bool) -> Question:
    """Return ``POST /v1/decide/batch`` with so many members, other ones in every request.

    Args:
        experiment: its key.
        members: how many.
        rule: whether each member comes with the attribute that the experiment's rule reads, or is an id alone.
    """
    member, end = ('{"attributes":{"country":"US"},"unit":"m', '"}') if rule else ('"m', '"')
    head = f'{{"experiment":"{experiment}","units":[{member}'
    return Question("/v1/decide/batch", head, f"-%d{end}", between=f",{member}", last="]}", times=members)


def events_question(events: int) -> Question:
    """Return Segment's batch of so many orders, as its client libraries write them."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    message = '{"messageId":"'
    tail = (
        f'-%d","userId":"m%d","type":"track","event":"Order Completed","timestamp":"{now}",'
        '"context":{"library":{"name":"analytics-node","version":"3.1.0"}},"integrations":{},'
        '"properties":{"order_id":"o-481516","revenue":129.9,"currency":"CNY","channel":"app","products":3}}'
    )
    return Question("/v1/batch", f'{{"batch":[{message}', tail, between=f",{message}", last="]}", times=events)


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def send(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """Send one request and return its status and JSON (``None`` when the answer is none)."""
    given = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, given)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, data = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, data = error.code, error.read()
    try:
        return status, json.loads(data)
    except ValueError:
        return status, None


def wait_for(port: int, path: str, process: subprocess.Popen[Any], wanted: int = 200) -> None:
    """Wait until an address answers.

    Raises:
        RuntimeError: when the process ends, or nothing comes in a minute.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if send(port, path)[0] == wanted:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the server on port {port} did not get ready (exit code {process.poll()})")


def wait_until(there: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so.

    Raises:
        RuntimeError: when it never is.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if there():
                return
        time.sleep(0.05)
    raise RuntimeError("a server of the benchmark did not start; BENCH_VERBOSE=1 shows what it says")


@contextlib.contextmanager
def process(command: list[str], core: int, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process on one core and end it afterwards."""
    log = None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL
    started = subprocess.Popen(pinned(core, command), stdout=log, stderr=log, env={**os.environ, **env})
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            for pid in family(started.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            started.wait(5)


def equipoise(data: Path, *arguments: str, database: str | None = None) -> list[str]:
    """Return the command line of ``equipoise`` for a data folder."""
    where = ["--data", str(data), *(["--database", database] if database else [])]
    return [sys.executable, "-c", "from api.cli import main; main()", *where, *arguments]


def set_up(data: Path, database: str | None = None) -> None:
    """Make the deployment: database, definitions, both experiments running."""
    file = data / "bench.yaml"
    data.mkdir(parents=True, exist_ok=True)
    file.write_text(DEFINITIONS, encoding="utf-8")
    steps = [["migrate"], ["apply", str(file)]]
    steps += [["transition", key, state] for key in EXPERIMENTS for state in ("review", "testing", "running")]
    for arguments in steps:
        done = subprocess.run(
            equipoise(data, *arguments, database=database), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"equipoise {' '.join(arguments)}: {done.stderr.strip()}")


def key_of(service: Ours, ack: str) -> str:
    """Make the first key of a running service and return its text once the service knows it."""
    arguments = ["keys", "create", f"bench-{ack}", "--scope", "decide", "--ack", ack, "--output", "json"]
    done = subprocess.run(equipoise(service.data, *arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"equipoise keys create: {done.stderr.strip()}")
    text: str = json.loads(done.stdout)["key"]
    question = b'{"experiment":"counted","unit":"m"}'
    wait_until(lambda: send(service.port, "/v1/decide", question)[0] == 401)
    wait_until(lambda: send(service.port, "/v1/decide", question, Authorization=f"Bearer {text}")[0] == 200)
    return text


class Ours:
    """Our service, running: which of its processes answer, and which do the rest."""

    def __init__(self, data: Path, port: int, supervisor: int) -> None:
        self.data = data
        self.port = port
        everybody = family(supervisor)
        spool = Settings.from_env(data=str(data)).spool_dir
        self.serving = [pid for pid in everybody if _holds_a_spool(pid, spool)]
        self.rest = [pid for pid in everybody if pid not in self.serving]
        if not self.serving or not self.rest:
            raise RuntimeError("the serving processes could not be told from the others")
        for pid in everybody:
            core = SERVER_CORE if pid in self.serving else LOAD_CORE
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(task.name), {core})


def _holds_a_spool(pid: int, folder: Path) -> bool:
    """Return whether a process owns a spool file: it holds the lock file of that name open."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = link.readlink()
            if target.parent == folder and target.suffix == ".lock" and len(target.stem) == 32:
                return True
    return False


@contextlib.contextmanager
def ours(data: Path, database: str | None = None) -> Iterator[Ours]:
    """Run our service: the process that answers on the server's core, those that load and publish on the other."""
    port = free_port()
    command = equipoise(data, "serve", "--port", str(port), "--metrics", "off", database=database)
    with process(command, SERVER_CORE) as started:
        wait_for(port, "/readyz", started)
        wait_for(port, "/v1/openapi.json", started)  # what is imported after the start has been
        # taskset has become the command itself, so this is the supervisor.
        yield Ours(data, port, started.pid)
