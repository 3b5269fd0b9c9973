"""Each step of the order, each reason, and what stops first when several would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from allocation import (
    REASONS,
    Decision,
    Enrolment,
    HoldoutPlan,
    LayerPlan,
    MemberState,
    OccasionError,
    UnitError,
    UnknownExperimentError,
    decide,
    decision_id,
    explain,
)
from allocation.plan import ExperimentState
from tests.allocation.plans import DORMANT, EVERYBODY_HELD, NO_SLOT, STAGE_SENT, STAGE_STORED, compiled, experiment

ENROLLED = {"x": Enrolment(1, "a", 5)}

# Every way of being stopped, in the design's order: (reason, fields of the plan, fields of the member's state).
STOPS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("ended", {"end": 50}, {}),
    ("opted_out", {}, {"opted_out": True}),
    ("override", {"overrides": {"m": "control"}}, {}),
    ("excluded", {"excluded": ("m",)}, {}),
    ("kept", {"sticky": True}, {"enrolments": ENROLLED}),
    ("not_in_audience", {"audience": DORMANT, "attributes": STAGE_STORED}, {"attributes": {"stage": "active"}}),
    ("holdout", {"holdouts": (EVERYBODY_HELD,)}, {}),
    ("other_slot", {"layer": NO_SLOT}, {}),
    ("not_in_traffic", {"traffic": "0"}, {}),
    ("assigned", {}, {}),
]


@pytest.mark.parametrize("first", range(len(STOPS)), ids=[reason for reason, _, _ in STOPS])
def test_the_earlier_step_decides(first: int) -> None:
    """With every stop from ``first`` on in place, the first one gives the reason."""
    plan: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for _, fields, known in STOPS[first:]:
        plan |= fields
        state |= known
    answer, steps = explain(compiled(experiment(**plan)), "x", "m", now=100, state=MemberState(**state))
    assert answer.reason == STOPS[first][0]
    assert [step.goes_on for step in steps[:-1]] == [True] * (len(steps) - 1)
    assert steps[-1].goes_on is (None if answer.enrolled else False)


def test_every_reason_is_published_and_reached() -> None:
    reached = {reason for reason, _, _ in STOPS}
    reached |= {"refused", "not_running", "testing", "paused", "not_started", "missing_attribute"}  # tests below
    assert reached == REASONS.keys()


def one(now: int = 100, unit: str = "m", occasion: str = "", **fields: Any) -> Decision:
    """Decide unit m in a plan of these fields, without attributes or state."""
    return decide(compiled(experiment(**fields)), "x", unit, now=now, occasion=occasion)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("draft", "not_running"),
        ("review", "not_running"),
        ("testing", "testing"),
        ("running", "assigned"),
        ("paused", "paused"),
        ("ended", "ended"),
        ("decided", "ended"),
    ],
)
def test_states(state: str, reason: str) -> None:
    answer = one(state=state)
    assert answer.reason == reason
    assert answer.logged == (reason == "assigned")


@pytest.mark.parametrize(
    ("now", "reason"), [(9, "not_started"), (10, "assigned"), (19, "assigned"), (20, "ended"), (21, "ended")]
)
def test_the_schedule_is_half_open(now: int, reason: str) -> None:
    assert one(now=now, start=10, end=20).reason == reason


def test_testing_gives_overrides_only_and_looks_at_no_schedule() -> None:
    fields = {"state": "testing", "start": 1000, "overrides": {"tester": "a"}}
    answer = one(unit="tester", **fields)
    assert (answer.reason, answer.variant, answer.kind) == ("override", "a", "override")
    assert one(unit="m", **fields).reason == "testing"


def test_an_override_has_offer_and_identity_but_no_propensity() -> None:
    answer = one(overrides={"m": "a"})
    assert (answer.variant, answer.offer, answer.propensity) == ("a", {"key": "coupon-a"}, None)
    assert answer.decision_id == decision_id("x", 1, "member", "m")


def test_an_override_may_name_a_variant_without_weight() -> None:
    assert one(weights=(1, 0), overrides={"m": "a"}).variant == "a"


def test_exclusion_by_project_is_by_unit_type() -> None:
    plans = experiment(), experiment(key="y", unit_type="device")
    snapshot = compiled(*plans, excluded={"member": ("m",)})
    assert decide(snapshot, "x", "m", now=0).reason == "excluded"
    assert decide(snapshot, "y", "m", now=0).reason == "assigned"


def test_the_audience() -> None:
    snapshot = compiled(experiment(audience=DORMANT, attributes=STAGE_SENT))
    inside = decide(snapshot, "x", "m", now=0, attributes={"stage": "dormant"})
    outside = decide(snapshot, "x", "m", now=0, attributes={"stage": "new"})
    unknown = decide(snapshot, "x", "m", now=0, attributes={"tier": "gold"})
    assert [a.reason for a in (inside, outside, unknown)] == ["assigned", "not_in_audience", "missing_attribute"]
    assert [a.missing_attribute for a in (inside, outside, unknown)] == [None, None, "stage"]
    assert not unknown.state_unknown  # the request should have said it, so no state is missing


def test_the_audience_is_asked_of_held_out_members_too() -> None:
    snapshot = compiled(experiment(audience=DORMANT, attributes=STAGE_SENT, holdouts=(EVERYBODY_HELD,)))
    held = decide(snapshot, "x", "m", now=0, attributes={"stage": "dormant"})
    assert (held.reason, held.kind, held.holdout, held.variant) == ("holdout", "holdout", "control-group", None)
    assert held.logged
    assert held.decision_id is not None
    assert decide(snapshot, "x", "m", now=0, attributes={"stage": "new"}).reason == "not_in_audience"


def test_the_first_holdout_that_holds_is_named() -> None:
    nobody = HoldoutPlan("nobody", "d" * 16, "0")
    scoped = HoldoutPlan("scoped", "e" * 16, "1", "scoped")
    assert one(holdouts=(nobody, scoped, EVERYBODY_HELD)).holdout == "scoped"


def test_layer_slots_exclude_each_other() -> None:
    def slot(key: str, *slots: tuple[str, str]) -> Any:
        return experiment(key=key, layer=LayerPlan("coupons", "c" * 16, slots))

    snapshot = compiled(slot("x", ("0", "0.3"), ("0.9", "1")), slot("y", ("0.3", "0.6")), slot("z", ("0.6", "0.9")))
    for i in range(500):
        reasons = [decide(snapshot, key, f"m{i}", now=0).reason for key in "xyz"]
        assert sorted(reasons) == ["assigned", "other_slot", "other_slot"]


def test_an_answer_names_everything_the_log_keeps() -> None:
    plan = experiment(
        revision=7,
        unit_type="household",
        frozen=("stage", "tier"),
        attributes={**STAGE_SENT, "tier": STAGE_SENT["stage"]},
        weights=(1, 0),
    )
    answer = decide(compiled(plan), "x", "会员", now=123, occasion="send-1", attributes={"stage": "新", "other": 1})
    assert answer == Decision(
        decision_id=decision_id("x", 1, "household", "会员", "send-1"),
        experiment="x",
        revision=7,
        phase=1,
        unit_type="household",
        unit="会员",
        occasion="send-1",
        kind="enrolled",
        variant="control",
        reason="assigned",
        propensity=1.0,
        at=123,
        frozen='{"stage":"新"}',
        holdout=None,
        snapshot="v1",
        offer=None,
        missing_attribute=None,
        state_unknown=False,
    )


def test_the_occasion_changes_the_identity_and_never_the_variant() -> None:
    first, second = one(), one(occasion="cart-1")
    assert first.variant == second.variant
    assert first.decision_id != second.decision_id


def test_the_offer_is_one_read_only_object() -> None:
    snapshot = compiled(experiment(weights=(0, 1)))
    offers = [decide(snapshot, "x", unit, now=0).offer for unit in ("m", "n")]
    assert offers[0] is offers[1]
    with pytest.raises(TypeError, match="cannot be changed"):
        offers[0]["key"] = "other"  # type: ignore[index]


def test_an_answer_without_variant_has_neither_identity_nor_offer() -> None:
    answer = one(traffic="0")
    assert (answer.decision_id, answer.offer, answer.kind, answer.logged, answer.enrolled) == (
        None, None, None, False, False,
    )  # fmt: skip


@pytest.mark.parametrize("unit", ["", "x" * 257, "a\x00b", "a\ud800", 42, None])
def test_unusable_units_are_refused(unit: Any) -> None:
    with pytest.raises(UnitError, match="unit id"):
        one(unit=unit)


@pytest.mark.parametrize("occasion", ["a b", "é", "x" * 65, "a\n", 'a"', "٣"])
def test_unusable_occasions_are_refused(occasion: str) -> None:
    with pytest.raises(OccasionError, match="up to 64 characters"):
        one(occasion=occasion)


def test_an_unknown_experiment() -> None:
    with pytest.raises(UnknownExperimentError, match='no experiment "y" is published'):
        decide(compiled(experiment()), "y", "m", now=0)


def test_a_refused_experiment_answers_and_says_why() -> None:
    snapshot = compiled(experiment(), experiment(key="y", traffic="lots"))
    answer, steps = explain(snapshot, "y", "m", now=0)
    assert (answer.reason, answer.variant, answer.logged) == ("refused", None, False)
    assert steps[0].detail == {"why": 'traffic is "lots"; write a decimal number from 0 to 1'}
    assert decide(snapshot, "x", "m", now=0).reason == "assigned"


def test_the_guide_names_every_reason_and_state() -> None:
    text = (Path(__file__).parents[2] / "docs/deciding.md").read_text(encoding="utf-8")
    for word in (*REASONS, *get_args(ExperimentState)):
        assert re.search(rf"\b{word}\b", text), word
