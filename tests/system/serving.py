"""A real server process for the system tests: ``equipoise serve`` on a free port."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_S = 60


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    process: subprocess.Popen[str]
    host: str
    port: int
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def connect(self, timeout: float = 30) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, timeout: float = 30
    ) -> Reply:
        """Send a request on a connection of its own; anything but bytes goes as JSON."""
        chosen = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            chosen.setdefault("Content-Type", "application/json")
        with contextlib.closing(self.connect(timeout)) as connection:
            connection.request(method, path, body=body, headers=chosen)
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())

    def wait_ready(self, snapshot_with: str | None = None, timeout_s: float = START_S) -> None:
        """Wait until the node decides; with a key, until each of its processes knows that experiment.

        Which process answers is not to be chosen: a dozen connections in a row find the one that is behind.
        """
        deadline, knew = time.monotonic() + timeout_s, 0
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                while self.send("GET", "/readyz").status == 200:
                    if snapshot_with is None:
                        return
                    if self.send("POST", "/v1/decide", {"experiment": snapshot_with, "unit": "probe"}).status == 404:
                        break
                    knew += 1
                    if knew == 12 or len(self._child_processes()) <= 2:  # one that serves, one for upkeep
                        return
            knew = 0
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError("the server did not get ready:\n" + "".join(self.errors[-40:]))

    def children(self, name: str = "serving") -> list[int]:
        """Return the process ids below the supervisor that serve, or (``upkeep``) do the upkeep.

        Upkeep is nicer than the others, from the moment on at which it begins its work.
        """
        deadline = time.monotonic() + 40
        while True:
            found = self._child_processes()
            upkeep = [child for child in found if _niceness(child) > 0]
            if upkeep or time.monotonic() > deadline:
                return upkeep if name == "upkeep" else [child for child in found if child not in upkeep]
            time.sleep(0.05)

    def _child_processes(self) -> list[int]:
        parent = self.process.pid
        return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    def metrics(self) -> str:
        """Return what is told to Prometheus; the address is in the log."""
        (line,) = self.log_lines("metrics_at")
        with urllib.request.urlopen(line["address"] + "/metrics", timeout=10) as response:
            text: str = response.read().decode()
        return text

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the service's log about one kind of event."""
        lines = [json.loads(line) for line in list(self.errors) if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def stop(self, signal_number: int = signal.SIGTERM, timeout_s: float = 20) -> int:
        self.process.send_signal(signal_number)
        return self.process.wait(timeout_s)


def _niceness(process: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getpriority(os.PRIO_PROCESS, process)
    return 0


def command(*arguments: str, prelude: str = "pass") -> list[str]:
    """Return what starts ``equipoise ARGUMENTS``, after some Python of the test's."""
    return [sys.executable, "-c", f"{prelude}\nfrom api.cli import main; main()", *arguments]


def run(*arguments: str, timeout: float = 60, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``equipoise ARGUMENTS`` to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})}
    )


@contextlib.contextmanager
def serving(
    data: Path,
    *,
    database: str | None = None,
    ready: bool = True,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    new_session: bool = False,
    prelude: str = "pass",
) -> Iterator[Server]:
    options = ["--data", str(data), *(["--database", database] if database else [])]
    if "--metrics" not in arguments:
        arguments = ["--metrics", "off", *arguments]
    process = subprocess.Popen(
        command(*options, "serve", "--port", "0", *arguments, prelude=prelude),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=new_session,
    )
    server = Server(process, "127.0.0.1", 0)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        threading.Thread(target=lambda: server.errors.extend(process.stderr), daemon=True).start()
        for line in process.stdout:
            server.lines.append(line)
            if "listens on http://" in line:
                address = line.split("http://", 1)[1].split()[0]
                server.host, _, port = address.rpartition(":")
                server.port = int(port)
                break
        else:
            process.wait(5)
            time.sleep(0.2)
            raise AssertionError("the server did not start:\n" + "".join(server.errors[-40:]))
        if ready:
            server.wait_ready()
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
