"""Member state: stored attributes, enrolments, phases, pause; and what happens without it."""

from __future__ import annotations

from typing import Any

import pytest

from allocation import AttributePlan, Enrolment, ExperimentPlan, MemberState, PhasePlan, decide, explain
from tests.allocation.plans import DORMANT, EVERYBODY_HELD, SALT, STAGE_SENT, STAGE_STORED, compiled, experiment

UNITS = [f"m{i}" for i in range(300)]


def enrolled(variant: str = "a", phase: int = 1, **fields: Any) -> MemberState:
    return MemberState(enrolments={"x": Enrolment(phase, variant, 5)}, **fields)


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, "none"),
        ({"audience": DORMANT, "attributes": STAGE_SENT}, "none"),
        ({"audience": DORMANT, "attributes": STAGE_STORED}, "attributes"),
        ({"frozen": ("stage",), "attributes": STAGE_STORED}, "attributes"),
        ({"sticky": True}, "enrolment"),
        ({"state": "paused"}, "enrolment"),
        ({"phases": (PhasePlan(1, SALT, (1, 1)), PhasePlan(2, SALT, (1, 3), opened="keep"))}, "enrolment"),
        ({"phases": (PhasePlan(1, SALT, (1, 1)), PhasePlan(2, "f" * 16, (1, 3)))}, "none"),
    ],
)
def test_what_an_experiment_needs(fields: dict[str, Any], needs: str) -> None:
    plan = experiment(**fields)
    assert plan.needs == needs
    snapshot = compiled(plan)
    assert snapshot.experiments["x"].needs == needs
    without = decide(snapshot, "x", "m", now=0)
    too_old = decide(snapshot, "x", "m", now=0, state=MemberState(state_known=False))
    known = decide(snapshot, "x", "m", now=0, state=MemberState())
    assert without.state_unknown == too_old.state_unknown == (needs != "none")
    assert not known.state_unknown


def test_an_attribute_comes_from_its_one_place() -> None:
    for attributes, asked, held, reason in [
        (STAGE_STORED, {}, {"stage": "dormant"}, "assigned"),
        (STAGE_STORED, {"stage": "dormant"}, {}, "missing_attribute"),
        (STAGE_STORED, {"stage": "dormant"}, {"stage": "new"}, "not_in_audience"),
        (STAGE_SENT, {"stage": "dormant"}, {"stage": "new"}, "assigned"),
        (STAGE_SENT, {}, {"stage": "dormant"}, "missing_attribute"),
    ]:
        snapshot = compiled(experiment(audience=DORMANT, attributes=attributes))
        answer = decide(snapshot, "x", "m", now=0, attributes=asked, state=MemberState(attributes=held))
        assert answer.reason == reason


def test_stored_and_sent_attributes_in_one_rule() -> None:
    rule = {"all": [DORMANT, {"attribute": "cart", "op": "gte", "value": 100}]}
    plan = experiment(
        audience=rule, attributes={**STAGE_STORED, "cart": AttributePlan("number", "request")}, frozen=("stage", "cart")
    )
    snapshot = compiled(plan)
    state = MemberState(attributes={"stage": "dormant", "cart": 1})
    answer = decide(snapshot, "x", "m", now=0, attributes={"cart": 150, "stage": "new"}, state=state)
    assert answer.reason == "assigned"
    assert answer.frozen == '{"stage":"dormant","cart":150}'
    without = decide(snapshot, "x", "m", now=0, attributes={"cart": 150})
    assert (without.reason, without.missing_attribute, without.state_unknown) == ("missing_attribute", "stage", True)


def test_of_state_that_is_not_known_only_what_happened_counts() -> None:
    snapshot = compiled(experiment(sticky=True, weights=(1, 0), frozen=("stage",), attributes=STAGE_STORED))
    stale = enrolled("a", state_known=False, attributes={"stage": "dormant"})
    answer = decide(snapshot, "x", "m", now=0, state=stale)
    assert (answer.reason, answer.variant, answer.state_unknown) == ("kept", "a", True)
    assert answer.frozen == "{}", "its attributes are not looked at"
    nobody = MemberState(state_known=False, attributes={"stage": "dormant"})
    answer = decide(snapshot, "x", "m", now=0, state=nobody)
    assert (answer.reason, answer.variant, answer.state_unknown) == ("assigned", "control", True)
    rule = compiled(experiment(audience=DORMANT, attributes=STAGE_STORED))
    assert decide(rule, "x", "m", now=0, state=stale).reason == "missing_attribute"
    gone = MemberState(opted_out=True, state_known=False)
    assert decide(snapshot, "x", "m", now=0, state=gone).reason == "opted_out"


def test_opt_out_is_honoured_where_no_state_is_needed() -> None:
    snapshot = compiled(experiment(overrides={"m": "a"}))
    assert decide(snapshot, "x", "m", now=0, state=MemberState(opted_out=True)).reason == "opted_out"


def test_a_sticky_member_keeps_its_variant_when_the_audience_stops_matching() -> None:
    fields: dict[str, Any] = {"audience": DORMANT, "attributes": STAGE_STORED, "weights": (1, 0)}
    bought = enrolled("a", attributes={"stage": "active"})
    kept = decide(compiled(experiment(sticky=True, **fields)), "x", "m", now=0, state=bought)
    assert (kept.reason, kept.variant, kept.offer, kept.kind) == ("kept", "a", {"key": "coupon-a"}, "enrolled")
    assert kept.propensity is None  # this split would never draw it: the enrolment said so
    assert decide(compiled(experiment(**fields)), "x", "m", now=0, state=bought).reason == "not_in_audience"


def test_a_sticky_member_is_kept_by_a_holdout_layer_and_gate_made_later() -> None:
    plan = experiment(sticky=True, holdouts=(EVERYBODY_HELD,), traffic="0")
    assert decide(compiled(plan), "x", "m", now=0, state=enrolled()).variant == "a"


def test_an_enrolment_in_a_variant_that_is_gone_counts_for_nothing() -> None:
    answer = decide(compiled(experiment(sticky=True)), "x", "m", now=0, state=enrolled("z"))
    assert answer.reason == "assigned"


def test_a_pause_takes_no_new_members_and_keeps_the_enrolled() -> None:
    fields: dict[str, Any] = {"state": "paused", "audience": DORMANT, "attributes": STAGE_STORED}
    dormant, active = {"stage": "dormant"}, {"stage": "active"}
    for sticky, state, reason in [
        (False, MemberState(attributes=dormant), "paused"),
        (False, enrolled(attributes=dormant), "kept"),
        (False, enrolled(attributes=active), "not_in_audience"),
        (True, enrolled(attributes=active), "kept"),
        (True, MemberState(attributes=dormant), "paused"),
        (True, enrolled(attributes=dormant, state_known=False), "kept"),
        (False, enrolled(attributes=dormant, state_known=False), "missing_attribute"),
        (True, MemberState(attributes=dormant, state_known=False), "paused"),
    ]:
        answer, steps = explain(compiled(experiment(sticky=sticky, **fields)), "x", "m", now=0, state=state)
        assert answer.reason == reason
        assert answer.variant == ("a" if reason == "kept" else None)
        assert answer.state_unknown == (not state.state_known)
        assert "enrolment" in [step.name for step in steps]


def phases(opened: str, salt: str = SALT, second: tuple[int, ...] = (1, 3)) -> ExperimentPlan:
    return experiment(
        phases=(PhasePlan(1, SALT, (1, 1)), PhasePlan(2, salt, second, opened=opened))  # type: ignore[arg-type]
    )


def test_keep_leaves_the_enrolled_alone_and_gives_newcomers_the_new_split() -> None:
    before, after = compiled(experiment()), compiled(phases("keep", second=(0, 1)))
    for unit in UNITS:
        first = decide(before, "x", unit, now=0)
        assert first.variant is not None
        state = enrolled(first.variant)
        stays = decide(after, "x", unit, now=9, state=state)
        assert (stays.variant, stays.phase, stays.reason, stays.decision_id) == (
            first.variant, 1, "kept", first.decision_id,
        )  # fmt: skip
        assert stays.propensity == first.propensity == 0.5  # of the phase that drew it
        new = decide(after, "x", unit, now=9, state=MemberState())
        assert (new.variant, new.phase, new.reason, new.propensity) == ("a", 2, "assigned", 1.0)


def test_keep_keeps_its_members_when_traffic_falls() -> None:
    lowered = experiment(
        phases=(PhasePlan(1, SALT, (1, 1), "0.5"), PhasePlan(2, SALT, (1, 1), "0.1", "keep")),
    )
    for unit in UNITS:
        first = decide(compiled(experiment(traffic="0.5")), "x", unit, now=0)
        state = enrolled(first.variant) if first.variant else MemberState()
        after = decide(compiled(lowered), "x", unit, now=9, state=state)
        assert first.variant is None or after.variant == first.variant


def test_reassign_draws_everybody_again_under_a_new_salt() -> None:
    after = compiled(phases("reassign", salt="f" * 16))
    moved = 0
    for unit in UNITS:
        first = decide(compiled(experiment()), "x", unit, now=0)
        assert first.variant is not None
        again = decide(after, "x", unit, now=9, state=enrolled(first.variant))
        assert (again.phase, again.reason) == (2, "assigned")
        moved += again.variant != first.variant
    assert 100 < moved < 200  # half of 300 move, of independent draws: six standard deviations either side


def test_only_phases_back_to_the_last_reassignment_are_kept() -> None:
    plan = experiment(
        phases=(
            PhasePlan(1, SALT, (1, 1)),
            PhasePlan(2, "f" * 16, (1, 1)),
            PhasePlan(3, "f" * 16, (1, 2), opened="keep"),
            PhasePlan(4, "f" * 16, (1, 3), opened="keep"),
        )
    )
    assert plan.kept_phases == {2, 3, 4}
    answers = [decide(compiled(plan), "x", "m", now=0, state=enrolled("control", phase)) for phase in (1, 2, 3, 4, 5)]
    assert [answer.phase for answer in answers] == [4, 2, 3, 4, 4]
    assert [answer.reason for answer in answers] == ["assigned", "kept", "kept", "kept", "assigned"]


def test_an_enrolled_member_counts_once_whatever_the_occasion() -> None:
    snapshot = compiled(phases("keep"))
    ids = {decide(snapshot, "x", "m", now=0, state=enrolled("control"), occasion=o).decision_id for o in ("", "a", "b")}
    assert len(ids) == 3
    assert decide(snapshot, "x", "m", now=0, state=enrolled("control"), occasion="a").phase == 1
