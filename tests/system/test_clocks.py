"""Clocks that are wrong: ours a day ahead, a day behind, and set back while we run.

libfaketime shifts the wall clock of every process of the service; the monotonic clock stays, as when a clock is set.
"""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from experiments.store import open_store
from experiments.store.log_tables import decisions, events, quarantined_events
from tests.system.serving import Server, serving

ROOT = Path(__file__).parents[2]
DAY_S = 86_400
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], max(seconds, 0)) and None
"""
"""For the service's interpreter: with the monotonic clock left alone, libfaketime's clock_nanosleep fails (EINVAL)."""
UNITS = [f"member-{n}" for n in range(60)]

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
window: {{days: 14}}
---
kind: experiment
key: always
name: Always
traffic: "0.8"
variants: [{{key: control}}, {{key: a}}]
control: control
metrics: {{primary: [repurchase]}}
---
kind: experiment
key: until-tonight
name: Until tonight
schedule: {{end: "{end}"}}
variants: [{{key: control}}, {{key: a}}]
control: control
metrics: {{primary: [repurchase]}}
"""


def library() -> str:
    """Return the file that shifts clocks, or skip loudly."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if shutil.which("faketime") is None or not found:
        pytest.skip("faketime is missing: apt-get install faketime")
    return str(found[0])


class Clock:
    """The wall clock of a service, to be set while it runs."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self._write(0)
        self.environment = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds; asking the file each time makes everything slow
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # or no compiled module would seem to be current
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        }
        (folder / "sitecustomize.py").write_text(SLEEP, encoding="ascii")

    def set(self, offset_s: int) -> None:
        """Set it so many seconds ahead of the true one, and wait until everybody has seen it."""
        self._write(offset_s)
        time.sleep(2.5)

    def _write(self, offset_s: int) -> None:
        self._file.write_text(f"{offset_s:+d}\n", encoding="ascii")


def variants(server: Server, experiment: str) -> list[tuple[str | None, str]]:
    """Return (variant, reason) of every unit."""
    found = []
    for unit in UNITS:
        reply = server.send("POST", "/v1/decide", {"experiment": experiment, "unit": unit, "on_failure": "error"})
        assert reply.status == 200, reply.body
        found.append((reply.json()["variant"], reply.json()["reason"]))
    return found


def iso(offset_s: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=offset_s)).isoformat()


def track(name: str, offset_s: float) -> dict[str, object]:
    return {
        "type": "track", "messageId": name, "userId": UNITS[0], "event": "Order Completed", "timestamp": iso(offset_s),
    }  # fmt: skip


@pytest.mark.slow
def test_a_clock_that_is_a_day_off_changes_nobodys_variant(store_url: str, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    data = tmp_path / "data"
    with serving(data, database=store_url, env=clock.environment) as server:
        text = DEFINITIONS.format(end=iso(DAY_S / 2))
        # Pages and management load in the background, which is slow under a shifted clock.
        yaml = {"Content-Type": "application/yaml"}
        reply = server.send("POST", "/v1/definitions", text.encode(), yaml, timeout=90)
        assert reply.status == 200, reply.body
        for key in ("always", "until-tonight"):
            for state in ("review", "testing", "running"):
                moved = server.send("POST", f"/v1/experiments/{key}/transitions", {"to": state})
                assert moved.status == 200, moved.body
        deadline = time.monotonic() + 40
        ask = {"experiment": "until-tonight", "unit": "probe"}
        while server.send("POST", "/v1/decide", ask).json().get("variant") is None:
            assert time.monotonic() < deadline, "the launch was not published"
            time.sleep(0.1)

        before = variants(server, "always")
        assert {variant for variant, _ in before} == {None, "control", "a"}
        for offset_s in (DAY_S, -DAY_S, 0):  # ahead, then two steps back while it runs
            clock.set(offset_s)
            assert variants(server, "always") == before, f"{offset_s} s"
            limited = {reason for _, reason in variants(server, "until-tonight")}
            assert limited == ({"ended"} if offset_s > 0 else {"assigned"}), f"{offset_s} s"

        # Our clock is a day behind. What a right clock states without saying when it sent is tomorrow's to us.
        clock.set(-DAY_S)
        ahead = {"name": "Order Completed", "event_id": "ahead", "unit": UNITS[0], "at": iso(0), "value": "5"}
        assert server.send("POST", "/v1/events", {"events": [ahead]}).json()["accepted"] == 1
        # A sender who says when it sent is corrected to our clock.
        body = {"batch": [track("corrected", -60)], "sentAt": iso(0)}
        assert server.send("POST", "/v1/batch", body).json()["accepted"] == 1
        assert server.send("POST", "/v1/batch", body).json() == {
            "success": True, "accepted": 1, "ignored": 0, "duplicates": 1, "rejected": [],
        }  # fmt: skip
        store = open_store(store_url)
        deadline = time.monotonic() + 40
        while True:
            with store.read() as connection:
                waiting = connection.execute(sa.select(quarantined_events.c.event_id)).scalars().all()
                corrected = connection.execute(sa.select(events).where(events.c.event_id == "corrected")).all()
            if (waiting and corrected) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert waiting == ["ahead"], "it waits, and no report has it"
        ours_s = time.time() - DAY_S
        assert -120 < corrected[0].at / 1e6 - ours_s < 0
        assert -120 < corrected[0].stated_at / 1e6 - time.time() < 0

        clock.set(0)  # its time has come
        deadline = time.monotonic() + 40
        while waiting and time.monotonic() < deadline:
            with store.read() as connection:
                waiting = connection.execute(sa.select(quarantined_events.c.event_id)).scalars().all()
            time.sleep(0.1)
        assert waiting == []
        assert server.stop() == 0
    with store.read() as connection:
        rows = connection.execute(sa.select(events.c.event_id, events.c.at, events.c.received_at)).all()
        logged = connection.execute(sa.select(decisions.c.unit, decisions.c.variant, decisions.c.experiment)).all()
    store.close()
    assert sorted(row.event_id for row in rows) == ["ahead", "corrected"]
    found = {row.unit: row.variant for row in logged if row.experiment == "always"}
    assert found == {unit: variant for unit, (variant, _) in zip(UNITS, before, strict=True) if variant is not None}
    negative = [line for line in server.errors if '_s": -' in line or '"ms": -' in line]
    assert negative == [], "no duration is negative"
