"""A unit with several ids: the first assignment of any of them is that of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation import Enrolment, MemberState, PhasePlan, decide, explain
from tests.allocation.plans import DORMANT, EVERYBODY_HELD, SALT, STAGE_SENT, compiled, experiment

PLAIN = compiled(experiment())
IDS = st.text("abcdefgh0123456789", min_size=1, max_size=8)


def linked(variant: str, phase: int = 1, **fields: Any) -> MemberState:
    return MemberState(enrolments={"x": Enrolment(phase, variant, 5)}, linked=("other",), **fields)


@given(IDS, st.sampled_from(["control", "a"]))
def test_an_id_keeps_what_another_of_its_unit_got(unit: str, variant: str) -> None:
    answer = decide(PLAIN, "x", unit, now=9, state=linked(variant))
    assert (answer.variant, answer.reason, answer.phase) == (variant, "kept", 1)
    assert (answer.unit, answer.decision_id) == (unit, decide(PLAIN, "x", unit, now=9).decision_id)
    told, steps = explain(PLAIN, "x", unit, now=9, state=linked(variant))
    assert told == answer
    assert [step.name for step in steps][-1] == "kept"


@given(st.lists(IDS, min_size=1, max_size=6, unique=True), st.randoms())
def test_the_ids_of_a_unit_all_get_the_variant_of_the_first_that_asked(ids: list[str], shuffle: Any) -> None:
    shuffle.shuffle(ids)
    enrolments: Mapping[str, Enrolment] = {}
    got = []
    for now, unit in enumerate([*ids, *ids]):
        state = MemberState(enrolments=dict(enrolments), linked=tuple(other for other in ids if other != unit))
        answer = decide(PLAIN, "x", unit, now=now, state=state)
        got.append(answer.variant)
        if not enrolments and answer.variant is not None:
            enrolments = {"x": Enrolment(answer.phase, answer.variant, now)}
    assert set(got) == {decide(PLAIN, "x", ids[0], now=0).variant}


@given(IDS)
def test_who_has_one_id_is_drawn_whatever_was_enrolled(unit: str) -> None:
    drawn = decide(PLAIN, "x", unit, now=9)
    other = "a" if drawn.variant == "control" else "control"
    state = MemberState(enrolments={"x": Enrolment(1, other, 5)})
    assert decide(PLAIN, "x", unit, now=9, state=state) == drawn
    fresh = MemberState(linked=("other",))
    assert decide(PLAIN, "x", unit, now=9, state=fresh) == drawn, "nobody of the group has asked yet"


def test_holdout_and_traffic_are_not_asked_again_but_the_audience_is() -> None:
    held = compiled(experiment(holdouts=(EVERYBODY_HELD,)))
    assert decide(held, "x", "m", now=9).reason == "holdout"
    assert decide(held, "x", "m", now=9, state=linked("a")).variant == "a"
    asked = compiled(experiment(audience=DORMANT, attributes=STAGE_SENT))
    answer = decide(asked, "x", "m", now=9, attributes={"stage": "new"}, state=linked("a"))
    assert answer.reason == "not_in_audience"
    assert decide(held, "x", "m", now=9, state=linked("a", opted_out=True)).reason == "opted_out"


@pytest.mark.parametrize("variant", ["gone", "a"])
def test_an_enrolment_that_no_longer_counts_is_drawn_anew(variant: str) -> None:
    phases = (PhasePlan(1, SALT, (1, 1)), PhasePlan(2, "f" * 16, (1, 3)))
    anew = compiled(experiment(phases=phases))
    state = linked(variant, phase=1)
    assert decide(anew, "x", "m", now=9, state=state) == decide(anew, "x", "m", now=9)
