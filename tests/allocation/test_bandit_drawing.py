from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from allocation import Enrolment, MemberState, compile_snapshot, decide, explain, sql
from allocation.bandits.policy import Policy
from allocation.bandits.probabilities import floor, igw
from allocation.compiled import CompiledSnapshot
from allocation.dialects import DialectError
from allocation.hashing import u
from allocation.plan import BanditPlan, PhasePlan, PolicyPlan, Snapshot
from tests.allocation.bandit_plans import ATTRIBUTES, TYPES, bandit, learned
from tests.allocation.bandit_policies import ENCODER, VARIANTS, contextual, members
from tests.allocation.plans import SALT, experiment

ROOT = Path(__file__).parents[2]


def drawn(snapshot: CompiledSnapshot, unit: str, attributes: dict[str, Any] | None = None, **asked: Any) -> Any:
    decision = decide(snapshot, "x", unit, now=0, attributes=attributes or {}, **asked)
    return decision, json.loads(decision.policy or "null")


def test_what_is_logged_is_what_was_drawn_from() -> None:
    snapshot = learned(control_share="0.1")
    policy = contextual()
    groups = set()
    for index, row in enumerate(members(300)):
        decision, how = drawn(snapshot, f"m-{index}", row)
        assert list(how) == ["version", "group", "eligible", "p", "x"]
        assert decision.propensity == how["p"][how["eligible"].index(decision.variant)]
        assert sum(how["p"]) == pytest.approx(1, abs=1e-12)
        groups.add((how["group"], how["version"]))
        if how["group"] == "uniform":
            assert how == {"version": 0, "group": "uniform", "eligible": list(VARIANTS), "p": [0.2] * 5, "x": []}
        else:
            # Learning encodes the frozen attributes again, and gets the very same.
            assert how["x"] == ENCODER.encode(json.loads(decision.frozen))
            assert how["p"] == floor(policy.probabilities(how["x"], range(5)), 0.02)
            place = u(SALT + ":policy:", f"m-{index}")
            below = sum(np.cumsum(how["p"])[:-1] <= place)
            assert decision.variant == VARIANTS[below]
    assert groups == {("uniform", 0), ("policy", 7)}


def test_the_groups_are_drawn_by_salts_of_their_own() -> None:
    snapshot = learned(control_share="0.25", share="0.4")
    for index in range(400):
        unit = f"m-{index}"
        _, how = drawn(snapshot, unit)
        uniform = u(SALT + ":uniform", unit) < 0.25
        ramped = u(SALT + ":ramp", unit) < 0.4
        assert how["group"] == ("uniform" if uniform else "policy")
        assert how["version"] == (7 if ramped and not uniform else 0)


def test_a_version_is_ramped_up_beside_the_live_one() -> None:
    known = {"a": contextual(), "b": contextual("greedy")}
    plans = (PolicyPlan(4, "a"), PolicyPlan(5, "b", "0.1"))
    snapshot = bandit(known, policies=plans)
    for index in range(300):
        _, how = drawn(snapshot, f"m-{index}")
        assert how["version"] == (5 if u(SALT + ":ramp", f"m-{index}") < 0.1 else 4)
    more = bandit(known, policies=(plans[0], PolicyPlan(5, "b", "0.5")))
    before = {i for i in range(300) if drawn(snapshot, f"m-{i}")[1]["version"] == 5}
    assert before < {i for i in range(300) if drawn(more, f"m-{i}")[1]["version"] == 5}  # nobody goes back


def test_a_cold_start_draws_evenly_and_says_so() -> None:
    decision, how = drawn(bandit(), "m-1")
    assert decision.propensity == 0.2
    assert how == {"version": 0, "group": "policy", "eligible": list(VARIANTS), "p": [0.2] * 5, "x": []}


def test_an_occasion_is_drawn_anew_and_a_repeat_is_not() -> None:
    snapshot = learned()
    variants = {drawn(snapshot, "m-1", occasion=f"send-{index}")[0].variant for index in range(200)}
    assert len(variants) > 1
    again = [drawn(snapshot, "m-1", occasion="cart-1")[0] for _ in range(3)]
    assert again[0] == again[1] == again[2]
    _, first = drawn(snapshot, "m-1", occasion="send-1")
    assert first["group"] == drawn(snapshot, "m-1", occasion="send-2")[1]["group"]


def test_only_the_eligible_are_drawn() -> None:
    rules = {
        "a": {"attribute": "stage", "op": "eq", "value": "dormant"},
        "c": {"attribute": "age", "op": "gte", "value": 50},
    }
    snapshot = learned(eligible=rules, masked=("b",), weights=(1, 1, 1, 1, 0), control_share="0.1")
    for index, row in enumerate(members(300)):
        _, how = drawn(snapshot, f"m-{index}", row)
        expected = ["control"]
        expected += ["a"] if row.get("stage") == "dormant" else []
        expected += ["c"] if row.get("age", 0) >= 50 else []
        assert how["eligible"] == expected
        assert min(how["p"]) >= 0.02 / len(expected)


def test_who_is_eligible_for_nothing_gets_the_control() -> None:
    never = {key: {"attribute": "age", "op": "gte", "value": 1e9} for key in VARIANTS}
    decision, how = drawn(learned(eligible=never), "m-1", {"age": 40})
    assert (decision.variant, decision.propensity) == ("control", 1.0)
    assert how == {"version": 0, "group": "policy", "eligible": ["control"], "p": [1.0], "x": []}
    assert drawn(learned(masked=VARIANTS), "m-1")[0].variant == "control"


def test_the_control_group_may_be_split_by_weight() -> None:
    snapshot = learned(weights=(4, 3, 2, 1, 0), control_share="0.999999", control_split="weights", masked=("a",))
    _, how = drawn(snapshot, "m-1")
    assert how["eligible"] == ["control", "b", "c"]
    assert how["p"] == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_variants_are_told_by_their_keys_not_by_their_places() -> None:
    """The version learned them in another order, and one that has gone since."""
    scores = {"b": 1.0, "gone": 9.0, "control": 0.0, "a": 2.0}
    policy = Policy(
        variants=tuple(scores), kind="contextual", rule="softmax", coef=np.array([[score] for score in scores.values()])
    )
    snapshot = learned(policy, weights=(1, 1, 1), explore="0.000001")
    _, how = drawn(snapshot, "m-1")
    expected = np.exp([scores[key] for key in how["eligible"]])
    assert how["eligible"] == ["control", "a", "b"]
    assert how["p"] == pytest.approx(expected / expected.sum(), abs=1e-5)


def test_a_variant_that_the_version_does_not_know_is_forced() -> None:
    known = Policy(variants=("control", "a"), kind="contextual", rule="greedy", coef=np.array([[0.0], [1.0]]))
    snapshot = learned(known, forced={"b": "0.25"}, weights=(1, 1, 1))
    _, how = drawn(snapshot, "m-1")
    assert dict(zip(how["eligible"], how["p"], strict=True))["b"] == pytest.approx(0.25)
    assert sum(how["p"]) == pytest.approx(1)
    assert how["p"][1] > how["p"][0]
    only = learned(known, weights=(0, 0, 1, 1), variants=experiment(weights=(1,) * 4).variants)
    assert drawn(only, "m-1")[1]["p"] == [0.5, 0.5]


def test_enrolments_are_not_looked_at() -> None:
    snapshot = learned(sticky=True)
    assert snapshot.experiments["x"].needs == "none"
    plain = [drawn(snapshot, f"m-{index}")[0] for index in range(100)]
    for decision in plain:
        other = next(key for key in VARIANTS if key != decision.variant)
        for linked in ((), ("m-other",)):
            state = MemberState(enrolments={"x": Enrolment(1, other, 0)}, linked=linked)
            assert drawn(snapshot, decision.unit, state=state)[0] == decision


def test_a_paused_policy_gives_nobody_anything() -> None:
    snapshot = learned(state="paused")
    state = MemberState(enrolments={"x": Enrolment(1, "a", 0)})
    decision, how = drawn(snapshot, "m-1", state=state)
    assert (decision.variant, decision.reason, how) == (None, "paused", None)


def test_overrides_and_holdouts_come_first() -> None:
    decision, how = drawn(learned(overrides={"m-1": "b"}), "m-1")
    assert (decision.kind, decision.variant, decision.propensity, how) == ("override", "b", None, None)


def test_an_explanation_shows_the_numbers() -> None:
    snapshot = learned(masked=("d",), min_shares={"a": "0.1"}, control_share="0.000001")
    row = members(1)[0]
    decision, steps = explain(snapshot, "x", "m-1", now=0, attributes=row)
    detail = steps[-1].detail
    assert steps[-1].name == "variant"
    assert (detail["variant"], detail["propensity"]) == (decision.variant, decision.propensity)
    assert (detail["version"], detail["group"], detail["rule"]) == (7, "policy", "igw")
    assert detail["scores"] == dict(zip(VARIANTS, contextual().scores(ENCODER.encode(row)), strict=True))
    assert detail["least"] == {"a": 0.1}
    assert detail["masked"] == ["d"]
    assert detail["attributes"] == {name: row.get(name) for name in TYPES}
    assert sum(detail["before_floor"].values()) == pytest.approx(1)
    assert json.loads(json.dumps(detail)) == detail


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"masked": ("z",)}, "its policy names z, which is no variant"),
        ({"explore": "2"}, "explore is 2; it must lie from 0 to 1"),
        ({"bandit_missing": True}, "nothing says how"),
        ({"strange": True}, "knows none of the variants"),
        ({"undeclared": True}, "reads age, shop, spend, stage, which is not declared"),
        ({"no_policies": True}, "version 7 of its policy is not at hand here"),
    ],
)
def test_a_plan_that_cannot_be_drawn_from_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    own = {name: value for name, value in fields.items() if name in BanditPlan.__struct_fields__}
    variants = ("y", "z") if "strange" in fields else VARIANTS
    policy = Policy(variants=variants) if "strange" in fields else contextual()
    plan = experiment(
        weights=(1,) * 5,
        attributes={} if "undeclared" in fields else ATTRIBUTES,
        allocation="bandit",
        bandit=None if "bandit_missing" in fields else BanditPlan(policies=(PolicyPlan(7, "f"),), **own),
    )
    find = None if "no_policies" in fields else {"f": policy}.__getitem__
    snapshot = compile_snapshot(Snapshot("v1", 0, {"x": plan}), find)
    assert message in snapshot.refused["x"]


SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda values: sum(values) > 0.01)


@settings(max_examples=300, deadline=None)
@given(SHARES, st.floats(0, 1), st.data())
def test_the_floor_holds_for_everybody(raw: list[float], explore: float, data: st.DataObject) -> None:
    p = [value / sum(raw) for value in raw]
    left = max(0.0, 1 - explore) / len(p)
    least = data.draw(st.lists(st.floats(0, left), min_size=len(p), max_size=len(p)))
    mixed = floor(p, explore, least)
    assert sum(mixed) == pytest.approx(1, abs=1e-12)
    for value, lowest in zip(mixed, least, strict=True):
        assert value >= max(lowest, explore / len(p)) - 1e-12
    assert floor(p, explore) == pytest.approx([(1 - explore) * value + explore / len(p) for value in p])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_more_than_everything_is_shared_in_proportion(least: list[float]) -> None:
    least = [value / sum(least) * 1.5 for value in least]
    assert floor([1.0] + [0.0] * (len(least) - 1), 0.0, least) == pytest.approx([value / 1.5 for value in least])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=10), st.floats(0, 1e6))
def test_inverse_gap_weights_are_probabilities_in_the_order_of_scores(scores: list[float], gamma: float) -> None:
    p = igw(scores, gamma)
    assert sum(p) == pytest.approx(1, abs=1e-12)
    assert min(p) >= 0
    order = sorted(range(len(p)), key=scores.__getitem__)
    assert all(p[low] <= p[high] + 1e-12 for low, high in itertools.pairwise(order))


def chi_square(counts: np.ndarray, p: np.ndarray) -> float:
    """Return the p-value of counts when row i draws from p[i]: d' C⁻ d with C = Σ (diag p − p pᵀ)."""
    difference = (counts - p.sum(axis=0))[:-1]
    covariance = (np.diag(p.sum(axis=0)) - p.T @ p)[:-1, :-1]
    return float(stats.chi2.sf(difference @ np.linalg.solve(covariance, difference), len(difference)))


def calibration(count: int, snapshot: CompiledSnapshot) -> float:
    rows = members(2_000, seed=11)
    counts, p = np.zeros(5), np.zeros((count, 5))
    place = {key: index for index, key in enumerate(VARIANTS)}
    draw = snapshot.experiments["x"].draw
    assert draw is not None
    decode = msgspec.json.decode  # five times as fast, which a million decisions notice
    for index in range(count):
        outcome = draw("", f"member-{index}", "", rows[index % len(rows)], 0)
        how = decode(outcome.policy or "")
        p[index, [place[key] for key in how["eligible"]]] = how["p"]
        counts[place[outcome.variant]] += 1
    return chi_square(counts, p)


def test_shares_match_the_logged_probabilities() -> None:
    """20,000 decisions. A false alarm would come once in 1,000 choices of the salt, which is fixed."""
    assert calibration(20_000, learned(control_share="0.05", share="0.5")) > 0.001


@pytest.mark.slow
def test_shares_match_the_logged_probabilities_over_a_million() -> None:
    """10⁶ decisions of two versions, a control group, a rule, a floor; false alarm 1 in 1,000, the salt is fixed."""
    rule = {"attribute": "age", "op": "lt", "value": 45}
    snapshot = bandit(
        {"a": contextual(), "b": contextual("thompson")},
        policies=(PolicyPlan(1, "a"), PolicyPlan(2, "b", "0.05")),
        control_share="0.05",
        eligible={"c": rule},
        min_shares={"d": "0.05"},
    )
    assert calibration(1_000_000, snapshot) > 0.001


def test_the_calibration_would_notice_a_wrong_propensity() -> None:
    """Logging what a policy meant before the floor, as estimating afterwards would, is found out at 20,000."""
    policy = contextual("greedy")
    snapshot = learned(policy, explore="0.1")
    rows = members(500, seed=12)
    counts, p = np.zeros(5), np.zeros((20_000, 5))
    for index in range(20_000):
        decision, how = drawn(snapshot, f"m-{index}", rows[index % 500])
        counts[VARIANTS.index(decision.variant)] += 1
        p[index] = 0.95 * np.array(policy.probabilities(how["x"], range(5))) + 0.01
    assert chi_square(counts, p) < 1e-6


REPEAT = """
import hashlib, sys
from tests.allocation.bandit_plans import learned
from tests.allocation.bandit_policies import contextual, members
rows, digest = members(1000, seed=13), hashlib.sha256()
for rule, model in (("igw", "logistic"), ("thompson", "linear")):
    draw = learned(contextual(rule, model), control_share="0.05").experiments["x"].draw
    for index in range(int(sys.argv[1]) // 2):
        outcome = draw("", f"m-{index}", "cart-%d" % (index % 3), rows[index % 1000], 0)
        digest.update(f"{outcome.variant} {outcome.propensity!r} {outcome.policy}".encode())
print(digest.hexdigest())
"""
# Other processors take other ways through numpy and BLAS: these switches make this one take them.
HOSTS = (
    {"PYTHONHASHSEED": "1", "OPENBLAS_CORETYPE": "Haswell"},
    {"PYTHONHASHSEED": "2", "OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3"},
)


def repeats(count: int) -> set[str]:
    found = set()
    for host in HOSTS:
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", REPEAT, str(count)],
            cwd=ROOT, env={**os.environ, **host}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.add(ran.stdout.strip())
    return found


def test_repeats_are_identical_in_other_processes() -> None:
    digests = repeats(2_000)
    assert len(digests) == 1
    assert len(digests.pop()) == len(hashlib.sha256().hexdigest())


@pytest.mark.slow
def test_a_hundred_thousand_repeats_are_identical_across_processes_and_processors() -> None:
    assert len(repeats(100_000)) == 1


def test_traffic_and_the_draw_use_other_digits() -> None:
    """Half the traffic: the enrolled are drawn as evenly as everybody would be."""
    plan = learned(Policy(variants=VARIANTS), phases=(PhasePlan(1, SALT, (1,) * 5, "0.5"),))
    counts = dict.fromkeys(VARIANTS, 0)
    for index in range(10_000):
        decision, _ = drawn(plan, f"m-{index}")
        if decision.variant is not None:
            counts[decision.variant] += 1
    enrolled = sum(counts.values())
    assert abs(Fraction(enrolled, 10_000) - Fraction(1, 2)) < Fraction(2, 100)
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


def test_a_query_cannot_draw() -> None:
    plan = learned().source.experiments["x"]
    with pytest.raises(DialectError, match="draws its variants by 'bandit', which SQL cannot"):
        sql(plan, "duckdb")
