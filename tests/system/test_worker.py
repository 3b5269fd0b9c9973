"""`equipoise worker`: upkeep without serving, beside hosts that leave the deployment's jobs to it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.system.serving import command, run, serving


@pytest.mark.quick_on_postgres
def test_a_worker_does_the_jobs_that_servers_leave_to_it(store_url: str, tmp_path: Path) -> None:
    data = str(tmp_path / "worker")
    with serving(tmp_path / "server", database=store_url, arguments=["--no-worker"]) as server:
        process = subprocess.Popen(
            command("--data", data, "--database", store_url, "worker", "--metrics", "127.0.0.1:0"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines: list[str] = []
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True).start()
            assert process.stdout.readline().startswith("Equipoise works")
            deadline = time.monotonic() + 40
            text = ""
            while "equipoise_jobs_leading 1.0" not in text:
                assert time.monotonic() < deadline, text
                time.sleep(0.2)
                for line in lines:
                    told = json.loads(line)
                    if told["event"] == "metrics_at":
                        with (
                            contextlib.suppress(OSError),
                            urllib.request.urlopen(told["address"], timeout=10) as answer,
                        ):
                            text = answer.read().decode()
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0
        finally:
            process.kill()
            process.wait()
        assert server.log_lines("jobs_taken_over") == []
        assert server.stop() == 0


def test_a_worker_without_a_database_says_so(tmp_path: Path) -> None:
    ended = run("--data", str(tmp_path), "--database", "postgresql://nobody@127.0.0.1:1/none", "worker")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("equipoise: cannot use the database")
    assert "Traceback" not in ended.stderr
