"""The five decisions and what stands behind each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.decision import Decision, Finding, Progress, Quality, Reading, decide, read_effect

CLEAN = [Quality(code="srm", status="ok", numbers={"p_value": 0.4})]
DONE = Progress(units=40_000, planned_units=40_000)

FIGURES: dict[str, tuple[float, float, float]] = {
    "better": (0.09, 0.02, 0.16),
    "worse": (-0.08, -0.15, -0.01),
    "unclear": (0.01, -0.06, 0.08),
}


def profit(variant: str, reading: Reading, **changes: Any) -> Finding:
    estimate, low, high = FIGURES.get(reading, (None, None, None))
    values: dict[str, Any] = {"estimate": estimate, "ci_low": low, "ci_high": high} | changes
    return Finding(metric="profit", variant=variant, role="primary", direction="increase", reading=reading, **values)


def unsubscribe(variant: str, reading: Reading, **changes: Any) -> Finding:
    values: dict[str, Any] = {"estimate": 0.05, "ci_low": -0.16, "ci_high": 0.26, "limit": 0.3} | changes
    return Finding(
        metric="unsubscribe", variant=variant, role="guardrail", direction="decrease", reading=reading, **values
    )


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def outcomes(decision: Decision) -> dict[str, str]:
    return {outlook.variant: outlook.outcome for outlook in decision.variants}


def test_roll_out_the_best_of_those_that_meet_every_rule() -> None:
    findings = [
        profit("A", "better"),
        profit("B", "worse"),
        profit("C", "better", estimate=0.2, ci_low=0.1, ci_high=0.3),
        profit("D", "better", estimate=0.5, ci_low=0.4, ci_high=0.6),
        *(unsubscribe(variant, "within_limit") for variant in "ABC"),
        unsubscribe("D", "broken"),
    ]
    decision = decide(findings, CLEAN, DONE)
    assert (decision.code, decision.variant) == ("roll_out", "C")
    assert outcomes(decision) == {"A": "also_better", "B": "harmful", "C": "winner", "D": "harmful"}
    assert [(rule.code, rule.subject, rule.met) for rule in decision.rules] == [
        ("quality", "srm", True),
        ("planned_sample", None, True),
        ("outcomes_mature", None, True),
        ("primary_better", "profit", True),
        ("guardrail_within", "unsubscribe", True),
    ]
    why_not_d = next(outlook for outlook in decision.variants if outlook.variant == "D").reasons
    assert [(reason.code, reason.metric) for reason in why_not_d] == [("guardrail_broken", "unsubscribe")]


def test_a_second_primary_metric_must_not_be_harmed_but_need_not_be_better() -> None:
    repurchase = Finding(
        metric="repurchase", variant="A", role="primary", direction="increase", reading="unclear", estimate=0.0
    )
    harmed = Finding(
        metric="repurchase", variant="A", role="primary", direction="increase", reading="worse", estimate=-0.1
    )
    assert decide([profit("A", "better"), repurchase], CLEAN, DONE).code == "roll_out"
    stopped = decide([profit("A", "better"), harmed], CLEAN, DONE)
    assert (stopped.code, stopped.variant, codes(stopped)) == ("stop_harm", "A", ["primary_worse"])


def test_conversion_does_not_buy_a_loss() -> None:
    conversion = Finding(
        metric="conversion", variant="B", role="primary", direction="increase", reading="better", estimate=0.2
    )
    assert decide([profit("B", "worse"), conversion], CLEAN, DONE).code == "stop_harm"


def test_failed_quality_forbids_everything_else() -> None:
    failed = [Quality(code="srm", status="fail", numbers={"p_value": 1e-9}), Quality(code="contaminated", status="ok")]
    decision = decide([profit("A", "better")], failed, DONE)
    assert (decision.code, decision.variant, codes(decision)) == ("do_not_read", None, ["srm_failed"])
    assert decision.reasons[0].numbers == {"p_value": 1e-9}


def test_caution_and_unknown_checks_do_not_forbid() -> None:
    checks = [Quality(code="srm", status="caution"), Quality(code="balance", status="info")]
    decision = decide([profit("A", "better")], checks, DONE)
    assert decision.code == "roll_out"
    assert [rule.met for rule in decision.rules[:2]] == [True, None]


def test_stop_when_all_that_is_left_is_harm_or_nothing() -> None:
    flat = profit("B", "unclear", estimate=0.0, ci_low=-0.01, ci_high=0.01)
    decision = decide([profit("A", "worse"), flat], CLEAN, DONE, no_effect_within=0.02)
    assert (decision.code, decision.variant) == ("stop_harm", "A")
    assert codes(decision) == ["primary_worse", "no_effect_beyond"]


def test_no_effect_needs_a_bound_declared_before() -> None:
    flat = profit("A", "unclear", estimate=0.0, ci_low=-0.01, ci_high=0.01)
    assert decide([flat], CLEAN, DONE, no_effect_within=0.02).code == "stop_no_effect"
    assert decide([flat], CLEAN, DONE).code == "keep_running"
    assert decide([profit("A", "unclear")], CLEAN, DONE, no_effect_within=0.02).code == "keep_running"


def test_a_guardrail_not_proven_is_not_broken_and_not_kept() -> None:
    decision = decide([profit("A", "better"), unsubscribe("A", "not_proven", ci_high=0.34)], CLEAN, DONE)
    assert (decision.code, codes(decision)) == ("keep_running", ["guardrail_not_proven"])
    assert outcomes(decision) == {"A": "unclear"}
    # Half width .25, room .25 to the limit: nothing to gain by the present estimate, so one unit at least is said.
    assert decision.more_units == 1


def test_nothing_is_concluded_at_a_fixed_horizon_before_it() -> None:
    early = Progress(units=10_000, planned_units=40_000, immature=500, days_to_mature=9)
    for reading in ("better", "worse", "unclear"):
        decision = decide([profit("A", reading)], CLEAN, early, no_effect_within=0.5)
        assert decision.code == "keep_running"
        assert codes(decision) == ["planned_sample", "outcomes_mature"]
        assert (decision.more_units, decision.more_days) == (30_000, 9)


def test_rolling_tests_count_whole_weeks() -> None:
    def at(days: int, **changes: Any) -> Decision:
        progress = Progress(enrolment="rolling", units=1000 * days, days=days, **changes)
        return decide([profit("A", "better")], CLEAN, progress)

    assert codes(at(3)) == ["first_week", "whole_weeks"]
    assert at(3).more_days == 4
    assert at(7).code == "roll_out"
    assert (at(9).code, at(9).more_days) == ("keep_running", 5)
    assert (at(14, planned_days=28).code, at(14, planned_days=28).more_days) == ("keep_running", 14)
    # Past the plan a broken week does not turn the decision back.
    assert at(30, planned_days=28).code == "roll_out"
    # 1,000 units a day: 40,000 need 19 days more than 21, which is 42 days in whole weeks.
    late = at(21, planned_units=40_000)
    assert (late.code, late.more_units, late.more_days) == ("keep_running", 19_000, 21)


def test_harm_may_stop_an_always_valid_test_early_but_nothing_else_may() -> None:
    early = Progress(enrolment="rolling", inference="always_valid", units=9000, planned_units=40_000, days=9)
    assert decide([profit("A", "worse")], CLEAN, early).code == "stop_harm"
    assert decide([profit("A", "better")], CLEAN, early).code == "keep_running"
    assert decide([profit("A", "worse"), profit("B", "unclear")], CLEAN, early).code == "keep_running"
    first_days = Progress(enrolment="rolling", inference="always_valid", units=3000, days=3)
    assert decide([profit("A", "worse")], CLEAN, first_days).code == "keep_running"


def test_a_finished_test_is_over_and_claims_nothing_it_did_not_prove() -> None:
    finished = Progress(enrolment="rolling", inference="always_valid", units=9000, days=28, ended=True)
    unclear = decide([profit("A", "unclear", estimate=0.035, ci_low=-0.035, ci_high=0.105)], CLEAN, finished)
    assert (unclear.code, unclear.stands, unclear.more_days) == ("keep_running", "over", None)
    assert unclear.more_units == 27_000  # half width .07, estimate .035: four times the units in all
    # "No effect" stays a claim that needs its declared bound; a proof or harm keeps its own code.
    flat = profit("A", "unclear", estimate=0.0, ci_low=-0.01, ci_high=0.01)
    assert decide([flat], CLEAN, finished).code == "keep_running"
    assert decide([flat], CLEAN, finished, no_effect_within=0.02).code == "stop_no_effect"
    assert decide([profit("A", "better")], CLEAN, finished).code == "roll_out"
    assert decide([profit("A", "worse")], CLEAN, finished).code == "stop_harm"
    # Ended too early: the declared rule stays unmet, and no days are promised.
    short = Progress(enrolment="rolling", units=9000, planned_units=20_000, days=28, ended=True)
    decision = decide([profit("A", "better")], CLEAN, short)
    assert (decision.code, decision.stands, codes(decision)) == ("keep_running", "over", ["planned_sample"])
    assert (decision.more_units, decision.more_days) == (11_000, None)


def test_where_a_test_stands() -> None:
    assert Progress(units=1, enrolment="rolling").stands == "open"
    assert Progress(units=1, enrolment="rolling", immature=1, days_to_mature=3, ended=True).stands == "waiting"
    assert Progress(units=1, enrolment="rolling", ended=True).stands == "over"
    assert Progress(units=1, immature=1).stands == "open"
    assert Progress(units=1).stands == "over"
    assert Progress(units=1, days=3, planned_days=14).stands == "open"
    waiting = Progress(enrolment="rolling", units=900, days=21, immature=5, days_to_mature=6, ended=True)
    decision = decide([profit("A", "unclear")], CLEAN, waiting)
    assert (decision.code, decision.stands, decision.more_days) == ("keep_running", "waiting", 6)


def test_how_much_longer_follows_from_the_width() -> None:
    """Half width .07 and estimate .035: four times the units in all, 3 × 40,000 more."""
    unclear = profit("A", "unclear", estimate=0.035, ci_low=-0.035, ci_high=0.105)
    assert decide([unclear], CLEAN, DONE).more_units == 120_000
    hopeless = profit("A", "unclear", estimate=0.001, ci_low=-0.069, ci_high=0.071)
    assert decide([hopeless], CLEAN, DONE).more_units is None
    rolling = Progress(enrolment="rolling", units=40_000, days=28)
    decision = decide([unclear], CLEAN, rolling)
    assert (decision.more_units, decision.more_days) == (120_000, 84)


def test_a_watched_test_forecasts_from_entries_and_their_windows() -> None:
    """5,200 planned, 2,800 entered in 12 days, 1,400 matured: 2,400 more in 11 days, a window of 7: day 30."""
    watched = Progress(
        enrolment="rolling",
        inference="group_sequential",
        units=1_400,
        planned_units=5_200,
        days=12,
        planned_days=28,
        immature=1_400,
        days_to_mature=7,
    )
    unclear = profit("A", "unclear", estimate=0.035, ci_low=-0.035, ci_high=0.105)
    decision = decide([unclear], CLEAN, watched)
    assert (decision.more_units, decision.more_days) == (3_800, 35 - 12)
    # All who are needed have entered: only windows are waited for. Before the first look nothing has matured.
    entered = replace(watched, units=3_000, immature=2_300)
    assert decide([unclear], CLEAN, entered).more_days == 28 - 12
    nobody = replace(watched, units=0, immature=2_800)
    assert decide([unclear], CLEAN, nobody).more_days == 35 - 12


def test_what_is_not_computed_is_neither_met_nor_broken() -> None:
    missing = profit("A", "not_computed", why_code="too_few_units")
    decision = decide([missing], CLEAN, Progress(units=1))
    assert (decision.code, codes(decision)) == ("keep_running", ["not_computed"])
    assert decision.rules[-1].met is None
    assert decision.reasons[0].numbers["why"] == "too_few_units"
    assert (decision.more_units, decision.more_days) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([unsubscribe("A", "broken")], CLEAN, DONE, None), "no primary metric"),
        (([profit("A", "better"), unsubscribe("B", "broken")], CLEAN, DONE, None), "variant 'B' has no finding"),
        (([profit("A", "better")], CLEAN, DONE, 0.0), "no_effect_within must be positive"),
    ],
)
def test_wrong_input_is_named(arguments: tuple[Any, ...], message: str) -> None:
    findings, quality, progress, bound = arguments
    with pytest.raises(ValueError, match=message):
        decide(findings, quality, progress, no_effect_within=bound)


def test_lower_can_be_better() -> None:
    returns = {
        key: Finding(metric="returns", variant=key, role="primary", direction="decrease", reading="better", estimate=e)
        for key, e in (("A", -0.1), ("B", -0.3))
    }
    assert decide(list(returns.values()), CLEAN, DONE).variant == "B"
    assert read_effect(-0.1, 0.01, "decrease") == "better"
    assert read_effect(None, 0.01, "decrease") == "not_computed"


PRIMARY = st.sampled_from(["better", "worse", "unclear", "not_computed"])
GUARD = st.sampled_from(["within_limit", "not_proven", "broken", "not_computed"])


@given(
    st.lists(st.tuples(PRIMARY, GUARD), min_size=1, max_size=4),
    st.sampled_from(["ok", "caution", "fail", "info"]),
    st.builds(
        Progress,
        enrolment=st.sampled_from(["once", "rolling"]),
        inference=st.sampled_from(["fixed", "group_sequential", "always_valid", "bayesian"]),
        futile=st.booleans(),
        units=st.integers(0, 100),
        planned_units=st.none() | st.integers(1, 100),
        days=st.none() | st.integers(0, 40),
        planned_days=st.none() | st.integers(1, 40),
        immature=st.integers(0, 2),
        days_to_mature=st.none() | st.integers(0, 9),
        ended=st.booleans(),
    ),
    st.none() | st.floats(0.01, 0.2),
)
def test_whatever_comes_the_decision_holds_together(
    readings: list[tuple[Reading, Reading]], status: Any, progress: Progress, bound: float | None
) -> None:
    findings = []
    for index, (main, guard) in enumerate(readings):
        findings += [profit(str(index), main), unsubscribe(str(index), guard)]
    decision = decide(findings, [Quality(code="srm", status=status)], progress, no_effect_within=bound)
    assert len(decision.variants) == len(readings)
    assert decision.reasons
    assert (decision.code == "do_not_read") == (status == "fail")
    assert decision.more_units is None or decision.more_units > 0
    assert decision.more_days is None or decision.more_days >= 0
    assert decision.stands == progress.stands
    assert decision.stands != "over" or decision.more_days is None
    if decision.code == "roll_out":
        assert all(rule.met is not False for rule in decision.rules)
        assert readings[int(decision.variant or "x")] == ("better", "within_limit")
    if decision.code == "stop_harm":
        main, guard = readings[int(decision.variant or "x")]
        assert main == "worse" or guard == "broken"


def test_group_sequential_concludes_when_the_bound_is_crossed_or_the_plan_is_there() -> None:
    """ "Better" under sequential p-values is the crossing; weekdays and guardrails still count."""

    def at(days: int, **changes: Any) -> Progress:
        values: dict[str, Any] = {"units": 12_000, "planned_units": 40_000, "planned_days": 28} | changes
        return Progress(enrolment="rolling", inference="group_sequential", days=days, **values)

    findings = [profit("A", "better"), unsubscribe("A", "within_limit")]
    crossed = decide(findings, CLEAN, at(14))
    assert (crossed.code, crossed.variant) == ("roll_out", "A")
    assert [(r.code, r.met) for r in crossed.rules[1:3]] == [("whole_weeks", True), ("bound_crossed", True)]
    assert crossed.rules[2].numbers == {"units": 12_000, "planned": 40_000}
    assert all(rule.met is not False for rule in crossed.rules)
    midweek = decide(findings, CLEAN, at(10))
    assert (midweek.code, codes(midweek), midweek.more_days) == ("keep_running", ["whole_weeks"], 4)
    assert decide(findings, CLEAN, at(5)).code == "keep_running"
    assert decide([profit("A", "better"), unsubscribe("A", "not_proven")], CLEAN, at(14)).code == "keep_running"
    # The same look under a fixed horizon, or an always-valid band, waits for the plan.
    for inference in ("fixed", "always_valid"):
        waiting = Progress(enrolment="rolling", inference=inference, days=14, units=12_000, planned_units=40_000)
        assert decide(findings, CLEAN, waiting).code == "keep_running"
    # Harm needs no whole week, but a first one.
    assert decide([profit("A", "worse")], CLEAN, at(10)).code == "stop_harm"
    assert decide([profit("A", "worse")], CLEAN, at(6)).code == "keep_running"
    # Nothing crossed: no conclusion before the plan, whatever the interval; at the plan as ever.
    flat = profit("A", "unclear", estimate=0.0, ci_low=-0.01, ci_high=0.01)
    assert decide([flat], CLEAN, at(14), no_effect_within=0.02).code == "keep_running"
    assert decide([flat], CLEAN, at(28, units=40_000), no_effect_within=0.02).code == "stop_no_effect"
    assert decide(findings, CLEAN, at(28, units=40_000)).code == "roll_out"


def test_futility_is_said_and_does_not_bind() -> None:
    progress = Progress(
        enrolment="rolling", inference="group_sequential", days=14, units=20_000, planned_units=40_000, futile=True
    )
    decision = decide([profit("A", "unclear")], CLEAN, progress)
    assert (decision.code, codes(decision)) == ("keep_running", ["planned_sample", "futile"])
    assert decide([profit("A", "better")], CLEAN, progress).code == "roll_out"


def test_bayesian_concludes_after_the_plan_or_once_little_can_be_lost() -> None:
    def at(units: int, days: int = 14) -> Progress:
        return Progress(enrolment="rolling", inference="bayesian", days=days, units=units, planned_units=40_000)

    small, large = profit("A", "better", expected_loss=0.0004), profit("A", "better", expected_loss=0.004)
    early = decide([small], CLEAN, at(9_000), no_effect_within=0.001)
    assert (early.code, early.rules[-2].code) == ("roll_out", "loss_within")
    assert early.rules[-2].numbers == {"expected_loss": 0.0004}
    assert decide([large], CLEAN, at(9_000), no_effect_within=0.001).code == "keep_running"
    assert decide([small], CLEAN, at(9_000)).code == "keep_running"  # no bound was declared
    assert decide([profit("A", "better")], CLEAN, at(9_000), no_effect_within=0.001).code == "keep_running"
    assert decide([large], CLEAN, at(40_000), no_effect_within=0.001).code == "roll_out"
    assert decide([profit("A", "worse")], CLEAN, at(9_000, 9)).code == "stop_harm"
    # Of two, only the one that little can be lost with, though the other looks better.
    other = profit("B", "better", estimate=0.2, ci_low=0.01, ci_high=0.4, expected_loss=0.01)
    both = decide([small, other], CLEAN, at(9_000), no_effect_within=0.001)
    assert (both.code, both.variant) == ("roll_out", "A")
