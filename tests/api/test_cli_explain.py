"""``equipoise explain`` and ``equipoise decide`` on published files: answers, words, and one line for wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from allocation import (
    AttributePlan,
    ExperimentPlan,
    HoldoutPlan,
    LayerPlan,
    PhasePlan,
    Snapshot,
    VariantPlan,
    decision_id,
)
from api.cli import cli
from experiments.publishing import members, snapshot_file

DAY = 86_400_000_000
START = 20_000 * DAY  # 2024-10-04
NOW = "2024-10-05T08:00:00+08:00"


def plan(**fields: Any) -> ExperimentPlan:
    return ExperimentPlan(
        **{
            "key": "winback",
            "revision": 3,
            "state": "running",
            "variants": (VariantPlan("control"), VariantPlan("a", {"key": "coupon-20", "name": "满100减20"})),
            "phases": (PhasePlan(1, "3a1f00d2c4b59687", (0, 1)),),
            "start": START,
            "end": START + 30 * DAY,
            "audience": {"attribute": "stage", "op": "eq", "value": "dormant"},
            "attributes": {"stage": AttributePlan("string", "stored")},
            "frozen": ("stage",),
            "layer": LayerPlan("coupons", "c" * 16, (("0", "1"),)),
            "holdouts": (HoldoutPlan("control-group", "b" * 16, "0.000001"),),
            "overrides": {"tester": "control"},
            **fields,
        }
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    plans = [plan(), plan(key="once-in", sticky=True), plan(key="no-more", state="paused")]
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    snapshot_file.write(snapshots, Snapshot("0001", START, {p.key: p for p in plans}))
    stored = [("member", "m-1", '{"stage":"dormant"}', 0), ("member", "m-2", '{"stage":"active"}', 0)]
    stored += [("member", "m-3", '{"stage":"dormant"}', 1), ("member", "m-4", "{}", 0)]
    enrolments = [("member", "m-2", key, 1, "a", START + 5) for key in ("once-in", "no-more")]
    members.write(snapshots, START + DAY // 2, stored, enrolments)
    return tmp_path


def run(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--data", str(data), *arguments])


def explained(data: Path, *arguments: str) -> dict[str, Any]:
    result = run(data, "explain", *arguments, "--now", NOW, "--output", "json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_every_step_is_a_line(data: Path) -> None:
    result = run(data, "explain", "winback", "m-1", "--now", NOW)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "winback, member m-1, at 2024-10-05T00:00:00Z"
    assert lines[1] == "snapshot 0001, revision 3, phase 1"
    steps = [line.split() for line in lines[3:12]]
    assert [step[1] for step in steps] == [
        "running", "opt-out", "override", "exclusion", "audience", "holdout", "layer", "traffic", "variant",
    ]  # fmt: skip
    assert [step[0] for step in steps] == ["✓"] * 8 + ["→"]
    assert "the rule holds with stage = 'dormant'" in result.stdout
    assert "a: assigned." in result.stdout
    assert 'offer: {"key": "coupon-20", "name": "满100减20"}' in result.stdout
    assert f"decision id: {decision_id('winback', 1, 'member', 'm-1')}" in result.stdout


def test_days_are_told_as_they_are_counted(tmp_path: Path) -> None:
    """An order of the evening is no day old the next morning, and a calendar would say one."""
    rule = {"not": {"attribute": "last_order_at", "op": "days_since", "gte": 1}}
    late = plan(audience=rule, attributes={"last_order_at": AttributePlan("date", "stored")}, frozen=())
    snapshot_file.write(tmp_path / "snapshots", Snapshot("0001", START, {late.key: late}))
    stored = [("member", unit, json.dumps({"last_order_at": at}), 0) for unit, at in
              (("m-1", "2024-10-04T20:00:00+08:00"), ("m-2", "2024-10-02"), ("m-3", "soon"))]  # fmt: skip
    members.write(tmp_path / "snapshots", START + DAY // 2, stored, [])
    told = {unit: explained(tmp_path, "winback", unit) for unit in ("m-1", "m-2", "m-3")}
    steps = {unit: next(s for s in found["steps"] if s["name"] == "audience") for unit, found in told.items()}
    assert [told[unit]["decision"]["reason"] for unit in told] == ["assigned", "not_in_audience", "missing_attribute"]
    assert "holds with last_order_at = '2024-10-04T20:00:00+08:00' (0 times 24 hours ago)" in steps["m-1"]["text"]
    assert "does not hold with last_order_at = '2024-10-02' (3 times 24 hours ago)" in steps["m-2"]["text"]
    assert steps["m-2"]["detail"]["days"] == {"last_order_at": 3}
    assert steps["m-3"]["detail"]["days"] == {}


@pytest.mark.parametrize(
    ("arguments", "reason", "last", "words"),
    [
        (("winback", "m-1"), "assigned", "variant", "of control 0 : a 1 → a"),
        (("winback", "m-2"), "not_in_audience", "audience", "the rule does not hold with stage = 'active'"),
        (("winback", "m-3"), "opted_out", "opt_out", "opted out of personalisation"),
        (("winback", "m-4"), "missing_attribute", "audience", "without a usable stage (known: no attributes)"),
        (("winback", "tester"), "override", "override", "on the allow-list for control; left out of the analysis"),
        (
            ("once-in", "m-2"),
            "kept",
            "enrolment",
            "enrolled in a (phase 1) since 2024-10-04T00:00:00.000005Z, and keeps",
        ),
        (("no-more", "m-1"), "paused", "enrolment", "not enrolled yet, and a pause takes nobody new"),
        (("winback", "m-2", "--attributes", '{"stage": "dormant"}'), "assigned", "variant", "→ a"),
    ],
)
def test_reasons_in_words(data: Path, arguments: tuple[str, ...], reason: str, last: str, words: str) -> None:
    document = explained(data, *arguments)
    assert document["decision"]["reason"] == reason
    assert document["steps"][-1]["name"] == last
    assert words in document["steps"][-1]["text"]


def test_now_is_another_time(data: Path) -> None:
    result = run(data, "explain", "winback", "m-1", "--now", "2024-10-03T23:59:59Z")
    assert "from 2024-10-04T00:00:00Z, until 2024-11-03T00:00:00Z: not now" in result.stdout
    assert "no variant: not_started." in result.stdout


def test_decide_prints_variant_and_reason(data: Path) -> None:
    assert run(data, "decide", "winback", "m-1", "--now", NOW).stdout == "a\tassigned\n"
    assert run(data, "decide", "winback", "m-2", "--now", NOW).stdout == "-\tnot_in_audience\n"
    result = run(data, "decide", "winback", "m-1", "--now", NOW, "--occasion", "send-1", "--output", "json")
    document = json.loads(result.stdout)
    assert document["decision_id"] == decision_id("winback", 1, "member", "m-1", "send-1")
    assert document["frozen"] == {"stage": "dormant"}
    assert document["offer"]["name"] == "满100减20"


def test_a_member_file_that_is_missing_is_said(data: Path) -> None:
    for file in (data / "snapshots").glob("members*"):
        file.unlink()
    result = run(data, "explain", "winback", "m-1", "--now", NOW)
    assert "no variant: missing_attribute." in result.stdout
    assert "The member's state is needed and not known here" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", "m-1"), 'no experiment "nothing" is published; check the key, or publish it'),
        (("winback", ""), "unit id is empty; give 1 to 256 bytes of text"),
        (("winback", "x" * 257), "unit id has 257 bytes"),
        (("winback", "m-1", "--attributes", "{"), "--attributes must be a JSON object"),
        (("winback", "m-1", "--attributes", "[1]"), "--attributes must be a JSON object"),
        (("winback", "m-1", "--now", "yesterday"), '--now "yesterday" is no time'),
        (("winback", "m-1", "--now", "2026-03-03T09:00:00"), "names no time zone"),
        (("winback", "m-1", "--occasion", "a b"), "occasion must be up to 64 characters"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(data: Path, arguments: tuple[str, ...], message: str) -> None:
    for command in ("explain", "decide"):
        result = run(data, command, *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_nothing_published(tmp_path: Path) -> None:
    result = run(tmp_path, "explain", "winback", "m-1")
    assert result.exit_code == 2
    assert "no snapshot in" in result.stderr
