"""From orders to a stage, to a decision that freezes it, to a report in which nobody moves when stages do."""

from __future__ import annotations

import json
import threading
from typing import Any

from allocation.compiled import compile_snapshot
from allocation.decide import decide
from allocation.decision import MemberState
from experiments.jobs import queue
from experiments.jobs.handlers import load
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.log.absorb import absorb
from experiments.log.rows import DecisionRow
from experiments.publishing.plans import snapshot_of
from experiments.report.build import build_report
from experiments.settings import Settings
from experiments.stages.computing import compute
from experiments.store import Store
from tests.experiments.stages.shop import RULE, at, define, ordered, record, stored

EXPERIMENT = """
---
kind: metric
key: repurchase
name: {en: Repurchase, zh-CN: 复购}
type: proportion
event: Order Completed
window: {days: 7}
---
kind: experiment
key: winback
name: {en: Win back, zh-CN: 唤回}
enrolment: once
audience: {attribute: stage, op: in, value: [dormant, active]}
breakdowns: [stage]
variants: [{key: control}, {key: a}]
control: control
metrics: {primary: [repurchase]}
"""
NOON = at("2026-05-20T12:00")
DAY = 86_400_000_000


def by_stage(store: Store, now_us: int) -> dict[str, int]:
    """Return how many members the report has in each stage."""
    report = build_report(store, "winback", now_us)
    counts: dict[str, int] = {}
    for row in report.breakdowns[0].rows:
        counts[row.level] = row.n + row.n_control
    assert report.breakdowns[0].rows[0].label
    return counts


def test_a_later_stage_never_moves_a_member_in_the_report(sqlite_store: Store) -> None:
    store = sqlite_store
    named = RULE.replace("- {stage: active}", "- {stage: active, name: {en: Active, zh-CN: 活跃}}").replace(
        "- {stage: dormant,", "- {stage: dormant, name: {en: Dormant, zh-CN: 沉睡},"
    )
    define(store, named + EXPERIMENT)
    units = [f"m-{number:03d}" for number in range(120)]
    record(store, [ordered(unit, NOON - (40 if i % 2 else 5) * DAY) for i, unit in enumerate(units)])
    compute(store, "lifecycle", NOON)
    for state in ("review", "testing", "running"):
        transition(store, "winback", state, "tests", now=NOON)
    snapshot = compile_snapshot(snapshot_of(Repository(store), "tests", NOON))
    known: dict[str, dict[str, Any]] = stored(store)
    rows = []
    for unit in units:
        decision = decide(snapshot, "winback", unit, now=NOON + 1, state=MemberState(attributes=known[unit]))
        rows.append(DecisionRow.from_decision(decision))
    assert {json.loads(row.frozen)["stage"] for row in rows} == {"active", "dormant"}
    with store.begin() as connection:
        absorb(connection, rows, NOON + 2)
    assert by_stage(store, NOON + 10 * DAY) == {"active": 60, "dormant": 60}
    # The dormant buy again, the others fall asleep; the report stays as it was.
    record(store, [ordered(unit, NOON + 39 * DAY) for i, unit in enumerate(units) if i % 2])
    run = compute(store, "lifecycle", NOON + 40 * DAY)
    assert (run.counts, run.changed) == ({"active": 60, "dormant": 60}, 120)
    assert by_stage(store, NOON + 41 * DAY) == {"active": 60, "dormant": 60}


def test_a_job_that_somebody_was_faster_than_is_done(sqlite_store: Store, settings: Settings) -> None:
    define(sqlite_store)
    record(sqlite_store, [ordered("m-1", NOON)])
    with sqlite_store.begin() as connection:
        queue.enqueue(connection, "a", "stages", {"rule": "lifecycle"}, created_by="schedule", now=NOON + 5)
    job = queue.claim(sqlite_store, "me", ["stages"])
    assert job is not None
    compute(sqlite_store, "lifecycle", NOON + 6)
    result = load("stages")(sqlite_store, settings, job, lambda _done, _total: None, threading.Event())
    assert result["counts"] == {"active": 1}
