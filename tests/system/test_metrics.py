"""Metrics of all processes of a host at one address: true sums, that survive a process, and name nobody."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.system.serving import Server, serving
from tests.system.test_faults_processes import define_everywhere

SECRET = "member-4711-secret"


def value(text: str, name: str, **labels: str) -> float:
    """Return the sum over all series of a name that have these labels."""
    total = 0.0
    for line in text.splitlines():
        found = re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line)
        if found and found[1] == name:
            has = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            if labels.items() <= has.items():
                total += float(found[3])
    return total


def eventually(server: Server, name: str, wanted: float, **labels: str) -> str:
    deadline = time.monotonic() + 40
    while True:
        text = server.metrics()
        if value(text, name, **labels) == wanted:
            return text
        assert time.monotonic() < deadline, (name, labels, value(text, name, **labels), wanted)
        time.sleep(0.2)


def settled(server: Server) -> str:
    """Return what is told once every process has left its figures: nothing has been asked for two of their turns."""
    text, since = server.metrics(), time.monotonic()
    deadline = since + 20
    while time.monotonic() - since < 2.5:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        newer = server.metrics()
        if counted(newer) != counted(text):
            text, since = newer, time.monotonic()
    return text


def counted(text: str) -> float:
    return value(text, "equipoise_request_duration_seconds_count")


@pytest.mark.slow
def test_metrics_add_up_over_processes_and_deaths(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--workers", "3", "--metrics", "127.0.0.1:0"]) as server:
        define_everywhere(server)
        before = value(settled(server), "equipoise_assignments_total", experiment="always", reason="assigned")
        for number in range(60):
            server.send("POST", "/v1/decide", {"experiment": "always", "unit": f"{SECRET}-{number}"})
        event = {"name": "Visit", "event_id": "e-1", "unit": SECRET, "at": "2026-03-03T08:00:00Z"}
        later = {**event, "event_id": "e-2", "at": "2999-03-03T08:00:00Z"}
        server.send("POST", "/v1/events", {"events": [event, later, {"unit": SECRET}]})
        server.send("GET", f"/v1/experiments/{SECRET}")
        server.send("GET", f"/v1/{SECRET}")
        eventually(server, "equipoise_events_total", 1, result="quarantined")
        text = settled(server)
        assert value(text, "equipoise_assignments_total", experiment="always", reason="assigned") == before + 60
        assert value(text, "equipoise_assignments_total", experiment="always", variant="a") > 0
        assert value(text, "equipoise_request_duration_seconds_count", route="/v1/decide", status="200") >= 60
        assert value(text, "equipoise_events_total", result="accepted") == 2
        assert value(text, "equipoise_events_total", result="rejected") == 1
        assert 'status="404"' in text, "Flask's routes are counted by their rules"
        assert value(text, "equipoise_serving_processes") == 3
        assert value(text, "equipoise_database_up") == 1
        assert value(text, "equipoise_stale") == 0
        assert value(text, "equipoise_upkeep_failing") == 0
        assert value(text, "equipoise_ingest_lag_seconds") < 30
        assert value(text, "equipoise_snapshot_age_seconds") < 60
        assert "equipoise_build_info{version=" in text
        assert SECRET not in text
        told = counted(text)
        os.kill(server.children()[0], signal.SIGKILL)
        text = eventually(server, "equipoise_process_restarts_total", 1)
        eventually(server, "equipoise_serving_processes", 3)
        assert counted(text) >= told, "counters never go down"
        assert server.stop() == 0


def test_a_request_is_found_in_the_log_from_the_callers_side(tmp_path: Path) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"X-Request-Id": "send-42", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    with serving(tmp_path) as server:
        reply = server.send("POST", f"/v1/definitions?note={SECRET}", {"kind": SECRET}, headers)
        assert reply.headers["x-request-id"] == "send-42"
        assert server.stop() == 0
        time.sleep(0.2)
        (line,) = server.log_lines("request")
        assert (line["request_id"], line["trace_id"], line["process"]) == ("send-42", trace, "serving-1")
        assert SECRET not in "".join(server.errors)
