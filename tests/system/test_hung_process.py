"""A serving process that hangs without ending: the others go on, it is replaced, and who waited for it is answered."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.serving.watchdog import HUNG_AFTER_S
from tests.system.serving import Server, serving
from tests.system.test_faults_processes import define_everywhere, replaced

SOON_S = 5.0
SOONER = f"from api.serving import watchdog; watchdog.HUNG_AFTER_S = {SOON_S}"
CONNECTIONS = 16


@contextlib.contextmanager
def frozen(*processes: int) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def hangs(server: Server, limit_s: float) -> None:
    define_everywhere(server)
    hung, other = server.children()
    began = time.monotonic()
    with frozen(hung), concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        # Each on a new connection: the kernel gives half of them to the one that hangs.
        asked = [
            pool.submit(
                server.send, "POST", "/v1/decide", {"experiment": "always", "unit": f"m-{n}"}, timeout=limit_s + 25
            )
            for n in range(CONNECTIONS)
        ]
        after = replaced(server, hung, 2, timeout_s=limit_s + 20)
        took = time.monotonic() - began
        assert {one.result().status for one in asked} == {200}, "who waited is answered by the successor"
    assert limit_s <= took
    assert other in after, "the one that answers is left alone"
    (line,) = server.log_lines("process_hung")
    (died,) = server.log_lines("process_died")
    assert line["process_name"] == died["process_name"]
    assert died["exit_code"] == -signal.SIGKILL
    assert server.stop() == 0


@pytest.mark.slow
def test_a_hung_process_is_replaced_and_who_waited_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--workers", "2"], prelude=SOONER) as server:
        hangs(server, SOON_S)


@pytest.mark.slow
def test_the_same_after_the_time_that_holds_in_practice(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--workers", "2"]) as server:
        hangs(server, HUNG_AFTER_S)


@pytest.mark.slow
def test_a_host_that_was_suspended_as_a_whole_goes_on_with_the_same_processes(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--workers", "2"], prelude=SOONER) as server:
        define_everywhere(server)
        before = server.children()
        with frozen(server.process.pid, *before, *server.children("upkeep")):
            time.sleep(SOON_S + 3)
        time.sleep(2)
        assert server.children() == before
        assert server.log_lines("process_hung") == []
        assert server.send("POST", "/v1/decide", {"experiment": "always", "unit": "m-1"}).status == 200
        assert server.stop() == 0
