"""Load on one core and what it costs the server: wrk pinned to a core of its own, and CPU time from /proc.

Requests a second depend on what else the machine does; the CPU time that a server spends on a request hardly does. Both
are measured, in turns between the servers that are compared.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = 1
CONNECTIONS = 32
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

_SCRIPT = """
local head = {head}
local between = {between}
local tail = {tail}
local last = {last}
local times = {times}
local run = "{run}-"
local n = 0
local headers = {{ ["Content-Type"] = "application/json"{headers} }}
request = function()
  n = n + 1
  if "{method}" == "GET" then
    return wrk.format("GET", "{path}", headers)
  end
  local body = head .. run .. n .. string.format(tail, 1, 1)
  if times > 1 then
    local parts = {{ body }}
    for i = 2, times do
      parts[i] = between .. run .. n .. string.format(tail, i, i)
    end
    body = table.concat(parts)
  end
  return wrk.format("{method}", "{path}", headers, body .. last)
end
done = function(summary, latency, requests)
  io.write(string.format(
    '\\n{{"requests":%d,"us":%d,"refused":%d,"failed":%d,"p50_us":%d,"p99_us":%d}}\\n', summary.requests,
    summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class MissingToolError(RuntimeError):
    """Something that this needs is not installed; the message says what to do."""


@dataclass(frozen=True)
class Question:
    """One kind of request; between ``head`` and ``tail`` of its body goes an id that no request had before.

    Where it is about several things, ``tail`` has a ``%d`` or two for the number of each, and ``between`` stands for
    ``head`` from the second on.
    """

    path: str
    head: str
    tail: str
    between: str = ""
    last: str = ""
    times: int = 1
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Load:
    """What came of some seconds of load."""

    requests_per_s: float
    us_per_request: float
    """CPU time of the server's processes."""
    p50_ms: float
    p99_ms: float
    requests: int


def check_tools() -> None:
    """See that what the load needs is here.

    Raises:
        MissingToolError: when there is no wrk, or only one core.
    """
    if shutil.which("wrk") is None:
        raise MissingToolError("wrk is not installed: apt-get install wrk")
    if shutil.which("taskset") is None:
        raise MissingToolError("taskset is not installed: apt-get install util-linux")
    if (os.cpu_count() or 1) < 2:
        raise MissingToolError("this needs two cores: one for the server, one for the load")


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """Return a command that runs on one core only, its children too."""
    return ["taskset", "-c", str(core), *command]


def family(pid: int) -> list[int]:
    """Return a process and all that came from it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                todo.extend(int(text) for text in task.read_text().split())
            except OSError:
                continue
    return found


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU time, user and system, that processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_S


def load(port: int, question: Question, seconds: int, pids: Sequence[int], connections: int = CONNECTIONS) -> Load:
    """Ask as fast as the server answers, over so many connections that each wait for their answer.

    Raises:
        RuntimeError: when an answer was not of 2xx, or a connection failed: such a figure would mean nothing.
    """
    script = _SCRIPT.format(
        head=json.dumps(question.head),
        tail=json.dumps(question.tail),
        between=json.dumps(question.between),
        last=json.dumps(question.last),
        times=question.times,
        run=uuid.uuid4().hex[:8],
        method=question.method,
        path=question.path,
        headers="".join(f", [{json.dumps(name)}] = {json.dumps(value)}" for name, value in question.headers),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ask.lua"
        file.write_text(script, encoding="utf-8")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(file), f"http://127.0.0.1:{port}"]
        before, began = cpu_s(pids), time.perf_counter()
        done = subprocess.run(pinned(LOAD_CORE, command), capture_output=True, text=True, check=False)
        spent, took = cpu_s(pids) - before, time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    told = json.loads(done.stdout.rsplit("\n{", 1)[1].join(("{", "")))
    if told["refused"] or told["failed"] or not told["requests"]:
        raise RuntimeError(f"{question.path}: {told} after {took:.1f} s")
    return Load(
        requests_per_s=told["requests"] / (told["us"] / 1e6),
        us_per_request=spent / told["requests"] * 1e6,
        p50_ms=told["p50_us"] / 1e3,
        p99_ms=told["p99_us"] / 1e3,
        requests=told["requests"],
    )
