"""The first seconds of a deployment, and members who come while it serves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.system.serving import Server, run, serving

DEFINITIONS = b"""
kind: project
name: Harbour Retail
currency: CNY
time_zone: Asia/Shanghai
attributes: {stage: {type: string, changes_with_offer: true}}
---
kind: metric
key: visits
name: Visits
type: count
event: Visit
window: {days: 7}
---
kind: experiment
key: winback
name: Win back
audience: {attribute: stage, op: eq, value: dormant}
variants: [{key: control}, {key: a}]
control: control
metrics: {primary: [visits]}
"""


def launch(server: Server) -> None:
    reply = server.send("POST", "/v1/definitions", DEFINITIONS, {"Content-Type": "application/yaml"})
    assert reply.status == 200, reply.body
    for state in ("review", "testing", "running"):
        assert server.send("POST", "/v1/experiments/winback/transitions", {"to": state}).status == 200


def ask(server: Server, unit: str, wanted: str, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    answer = {}
    while time.monotonic() < deadline:
        answer = server.send("POST", "/v1/decide", {"experiment": "winback", "unit": unit}).json()
        assert answer.get("state_unknown") is not True, answer
        if answer.get("reason") == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(answer)


@pytest.mark.slow
def test_state_is_known_from_the_first_answer_on_and_an_import_is_noticed(tmp_path: Path) -> None:
    crm = tmp_path / "crm.csv"
    crm.write_text("unit,stage\nm-1,dormant\n")
    with serving(tmp_path / "data") as server:
        launch(server)
        ask(server, "m-1", "missing_attribute")
        imported = run("--data", str(tmp_path / "data"), "import", "members", str(crm))
        assert imported.returncode == 0, imported.stderr
        ask(server, "m-1", "assigned")
        assert server.stop() == 0
