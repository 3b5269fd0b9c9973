"""A real experiment through the service: definition by REST, rows by import, report by REST; the file's own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.report.render_json import render_json
from tests.system.serving import run, serving

pytestmark = [pytest.mark.shared, pytest.mark.slow]

DEFINITIONS = """
kind: project
name: E-mail experiment
currency: USD
time_zone: America/New_York
---
kind: metric
key: visit
name: Visit
type: proportion
event: Visit
window: {days: 14}
---
kind: metric
key: conversion
name: Conversion
type: proportion
event: Conversion
window: {days: 14}
---
kind: metric
key: spend
name: Spend
type: sum
event: Order Completed
value: value
window: {days: 14}
"""
EXPERIMENT = {
    "name": {"en": "Which e-mail?", "zh-CN": "哪封邮件？"},
    "variants": [{"key": "No E-Mail"}, {"key": "Mens E-Mail"}, {"key": "Womens E-Mail"}],
    "control": "No E-Mail",
    "metrics": {"primary": ["visit", "conversion", "spend"]},
}


def figures(report: dict[str, Any]) -> list[Any]:
    return [
        (
            metric["name"],
            [(v["variant"], v["n"], v["mean"], v["std_error"]) for v in metric["variants"]],
            [(c["variant"], c["effect"], c["relative"], c["p_value"], c["reading"]) for c in metric["comparisons"]],
        )
        for metric in report["metrics"]
    ]


def test_the_service_gives_the_figures_of_the_file(store_url: str, shared_dir: Path, tmp_path: Path) -> None:
    file = shared_dir / "data" / "hillstrom.csv.gz"
    place = ["--data", str(tmp_path), "--database", store_url]
    with serving(tmp_path, database=store_url) as server:
        yaml = {"Content-Type": "application/yaml"}
        assert server.send("POST", "/v1/definitions", DEFINITIONS.encode(), yaml).status == 200
        created = server.send("PUT", "/v1/experiments/emails", EXPERIMENT)
        assert created.status == 201, created.body
        for state in ("review", "testing", "running"):
            moved = server.send("POST", "/v1/experiments/emails/transitions", {"to": state})
            assert moved.status == 200, moved.body
        decisions = run(
            *place, "import", "decisions", str(file), "--experiment", "emails", "--map", "variant=segment",
            "--unit-row-number", "--at-constant", "2026-03-03T08:00:00Z", timeout=120,
        )  # fmt: skip
        assert decisions.returncode == 0, decisions.stderr
        events = run(
            *place, "import", "events", str(file), "--unit-row-number", "--at-constant", "2026-03-05T08:00:00Z",
            "--event", "Visit=visit", "--event", "Conversion=conversion", "--event", "Order Completed=spend:value",
            timeout=120,
        )  # fmt: skip
        assert events.returncode == 0, events.stderr
        reply = server.send("GET", "/v1/experiments/emails/report?refresh=1", timeout=120)
        assert reply.status == 200, reply.body
        report = reply.json()
    options = AnalyzeOptions("segment", "No E-Mail", metrics=("visit", "conversion", "spend"))
    direct = json.loads(render_json(analyze_file(file, options)))
    assert report["srm"] == direct["srm"]
    assert figures(report) == figures(direct)
    # ../shared/data/README.md
    visit = report["metrics"][0]
    assert {v["variant"]: v["n"] for v in visit["variants"]} == {
        "No E-Mail": 21_306, "Mens E-Mail": 21_307, "Womens E-Mail": 21_387,
    }  # fmt: skip
    assert {v["variant"]: round(v["mean"], 5) for v in visit["variants"]} == {
        "No E-Mail": 0.10617, "Mens E-Mail": 0.18276, "Womens E-Mail": 0.15140,
    }  # fmt: skip
