"""Two real worker processes on one database: one works; when it is killed the other goes on where it was."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from experiments.jobs import queue
from experiments.store import Store

LEASE_S = 3.0
PATIENCE_S = 150.0


@dataclass
class Worker:
    process: subprocess.Popen[str]
    log: Path
    said: list[tuple[str, float]] = field(default_factory=list)

    @property
    def leads(self) -> bool:
        return bool(self.said) and self.said[-1][0] == "leads"

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(15)


@contextlib.contextmanager
def working(store: Store, data: Path, lease_s: float = LEASE_S) -> Iterator[Worker]:
    log = data / f"worker-{secrets.token_hex(4)}.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.experiments.job_worker", str(data), store.url, str(lease_s)],
            cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
        )  # fmt: skip
    worker = Worker(process, log)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            what, at = line.split()
            worker.said.append((what, float(at)))

    threading.Thread(target=read, daemon=True).start()
    try:
        yield worker
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)


def until(true: Callable[[], bool], what: str) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < PATIENCE_S, f"waited too long for {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def ask(store: Store, file: Path, job_id: str, steps: int = 1, **params: object) -> None:
    with store.begin() as connection:
        wanted = {"file": str(file), "steps": steps, **params}
        queue.enqueue(connection, job_id, "steps", wanted, created_by="test")


def lines(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def done(store: Store, *ids: str) -> bool:
    return all(queue.get(store, job_id).state in queue.OVER for job_id in ids)


@pytest.mark.slow
def test_one_works_and_when_it_is_killed_the_other_goes_on(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    with working(store, tmp_path) as first:
        until(lambda: first.leads, "the first to lead")
        with working(store, tmp_path) as second:
            for number in range(3):
                ask(store, file, f"short-{number}")
            until(lambda: done(store, "short-0", "short-1", "short-2"), "the short jobs")
            assert not second.leads
            ask(store, file, "long", steps=30)
            until(lambda: ["begin", "long"] in [line[:2] for line in lines(file)], "the long job to begin")
            os.kill(first.process.pid, signal.SIGKILL)
            killed_at = time.time()
            until(lambda: second.leads, "the second to lead")
            taken_s = second.said[-1][1] - killed_at
            ask(store, file, "after")
            until(lambda: done(store, "long", "after"), "what was left")
            second.stop()
    assert taken_s < LEASE_S * 1.25 + 2, "the lease of a dead holder lasts too long"
    assert queue.get(store, "long").state == "done"
    assert queue.get(store, "long").attempts == 2
    ends = [line[1] for line in lines(file) if line[0] == "end"]
    assert sorted(ends) == ["after", "long", "short-0", "short-1", "short-2"]
    pids = {line[1]: line[3] for line in lines(file) if line[0] == "end"}
    assert pids["short-0"] == str(first.process.pid)
    assert pids["long"] == pids["after"] == str(second.process.pid)


@pytest.mark.slow
def test_a_suspended_worker_comes_back_as_one_that_waits(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    with working(store, tmp_path) as first:
        until(lambda: first.leads, "the first to lead")
        with working(store, tmp_path) as second:
            os.kill(first.process.pid, signal.SIGSTOP)
            until(lambda: second.leads, "the second to lead")
            for number in range(4):
                ask(store, file, f"j-{number}", steps=3)
            os.kill(first.process.pid, signal.SIGCONT)
            until(lambda: done(store, *(f"j-{number}" for number in range(4))), "the jobs")
            until(lambda: not first.leads, "the first to notice")
            time.sleep(LEASE_S / 2)
            assert second.leads
            assert not first.leads
            assert {line[3] for line in lines(file)} == {str(second.process.pid)}
            assert [queue.get(store, f"j-{number}").attempts for number in range(4)] == [1, 1, 1, 1]


@pytest.mark.slow
def test_a_worker_that_stops_gives_its_job_and_the_lease_back(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    with working(store, tmp_path, lease_s=30) as first, working(store, tmp_path, lease_s=30) as second:
        until(lambda: first.leads or second.leads, "one to lead")
        leader, other = (first, second) if first.leads else (second, first)
        ask(store, file, "long", steps=20)
        until(lambda: bool(lines(file)), "the job to begin")
        leader.stop()
        # With a lease of 30 s it would wait that long if nothing were given back.
        assert until(lambda: other.leads, "the other to lead") < 15
        until(lambda: done(store, "long"), "the job")
        job = queue.get(store, "long")
        assert (job.state, job.attempts, job.rows_done, job.rows_total) == ("done", 1, 20, 20)


@pytest.mark.slow
def test_failures_are_written_down_without_what_a_row_says(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    with working(store, tmp_path) as worker:
        for trouble in ("refused", "once", "dies"):
            ask(store, file, trouble, trouble=trouble)
        ask(store, file, "cancelled", steps=600)
        until(lambda: done(store, "refused"), "the refused one")
        refused = queue.get(store, "refused")
        assert (refused.state, refused.attempts, refused.error) == ("failed", 1, "no column 'member'")
        until(lambda: all(queue.get(store, name).error for name in ("once", "dies")), "the first attempts")
        once, dies = queue.get(store, "once"), queue.get(store, "dies")
        assert once.error == "it failed with RuntimeError"
        assert dies.error == "its process ended"
        until(lambda: done(store, "once", "dies"), "the second attempts, ten seconds later")
        assert queue.get(store, "once").state == queue.get(store, "dies").state == "done"
        until(lambda: queue.get(store, "cancelled").state == "running", "the long one to begin")
        queue.cancel(store, "cancelled")
        time.sleep(LEASE_S)
        ask(store, file, "last")
        until(lambda: done(store, "last"), "the one after it")
        assert queue.get(store, "cancelled").state == "cancelled"
    log = worker.log.read_text()
    assert "job_failed" in log
    assert "RuntimeError" in log
    assert "m-1" not in log
    assert "member'" not in log
