"""Variants that give each unit its own offer, by an attribute that holds the offer's key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from allocation.compiled import PlanError, compile_experiment, compile_snapshot
from allocation.decide import decide, explain
from allocation.decision import Decision, Enrolment, MemberState
from allocation.drawing import drawer
from allocation.plan import AttributePlan, ExperimentPlan, PhasePlan, Snapshot, VariantPlan
from allocation.snapshot import encode, parse
from allocation.sql import assignment_sql, caveats
from api.explanation import sentence

OFFERS = {"a": {"key": "a", "face_value": "20"}, "b": {"key": "b", "face_value": "30"}}
PLAN = ExperimentPlan(
    "test",
    1,
    "running",
    (VariantPlan("control"), VariantPlan("policy", offer_by="best", offers=OFFERS)),
    (PhasePlan(1, "00c0ffee00c0ffee", (0, 1)),),
    attributes={"best": AttributePlan("string")},
    frozen=("best",),
    overrides={"tester": "policy"},
    requires=("offer_by",),
)


def told(best: str | None, plan: ExperimentPlan = PLAN, unit: str = "m-1", **state: Any) -> tuple[Decision, str]:
    snapshot = compile_snapshot(Snapshot("v1", 0, {"test": plan}))
    known = MemberState({} if best is None else {"best": best}, **state)
    answer, steps = explain(snapshot, "test", unit, now=0, state=known)
    assert answer == decide(snapshot, "test", unit, now=0, state=known)
    return answer, sentence(next(step for step in steps if step.name == "offer"))


@pytest.mark.parametrize(
    ("best", "offer", "words"),
    [
        ("a", OFFERS["a"], "its own offer, by best: a"),
        ("b", OFFERS["b"], "its own offer, by best: b"),
        ("", None, "its own offer, by best, which says none: it gets none"),
        (None, None, "its own offer, by best, which says none: it gets none"),
        ("c", None, "its own offer, by best, which is 'c': no offer of the launch has that key, so it gets none"),
    ],
)
def test_a_unit_gets_the_offer_that_its_attribute_names_and_else_none(
    best: str | None, offer: object, words: str
) -> None:
    for unit in ("m-1", "tester"):
        answer, said = told(best, unit=unit)
        assert (answer.variant, answer.offer, said) == ("policy", offer, words)
    answer, _ = told(best)
    assert msgspec.json.decode(answer.frozen) == ({} if best is None else {"best": best})


def test_who_is_enrolled_before_gets_its_own_offer_too() -> None:
    enrolled = {"test": Enrolment(1, "policy", 0)}
    for plan in (
        msgspec.structs.replace(PLAN, sticky=True),
        msgspec.structs.replace(PLAN, phases=(*PLAN.phases, PhasePlan(2, "00c0ffee00c0ffee", (1, 1), opened="keep"))),
    ):
        answer, said = told("b", plan, enrolments=enrolled)
        assert (answer.reason, answer.offer) == ("kept", OFFERS["b"])
        assert said.endswith("b")


def test_the_attribute_comes_from_where_it_is_declared_to_come_from() -> None:
    plan = msgspec.structs.replace(PLAN, attributes={"best": AttributePlan("string", "request")})
    snapshot = compile_snapshot(Snapshot("v1", 0, {"test": plan}))
    assert (PLAN.needs, plan.needs) == ("attributes", "none")
    assert decide(snapshot, "test", "m-1", now=0, attributes={"best": "a"}).offer == OFFERS["a"]
    stored = compile_snapshot(Snapshot("v1", 0, {"test": PLAN}))
    answer = decide(stored, "test", "m-1", now=0, attributes={"best": "a"})
    assert (answer.offer, answer.state_unknown) == (None, True)
    assert drawer(snapshot.experiments["test"], 0) is None, "what freezes attributes is decided in full"


def test_the_feature_travels_and_a_reader_that_does_not_know_it_refuses() -> None:
    snapshot = parse(encode(Snapshot("v1", 0, {"test": PLAN})))
    assert snapshot.experiments["test"] == PLAN
    other = msgspec.structs.replace(PLAN, requires=("offer_by", "offer_by_the_moon"))
    assert "test" in parse(encode(Snapshot("v1", 0, {"test": other}))).refused


def test_a_plan_that_contradicts_itself_is_refused() -> None:
    both = msgspec.structs.replace(PLAN, variants=(VariantPlan("policy", OFFERS["a"], "best"),))
    loose = msgspec.structs.replace(PLAN, frozen=())
    for plan in (msgspec.structs.replace(both, phases=(PhasePlan(1, "c0", (1,)),), overrides={}), loose):
        with pytest.raises(PlanError, match="policy gives offers by an attribute"):
            compile_experiment(plan)


def test_sql_draws_the_variant_and_says_where_the_offer_stands() -> None:
    assert "'policy'" in assignment_sql(PLAN, "duckdb")
    assert caveats(PLAN, opted_out=True) == [
        "Members of policy get the offer whose key stands in their column best, or none."
    ]
