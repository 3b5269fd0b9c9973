"""What must hold whatever the numbers: uniform, independent, stable under more traffic, the same when explained.

Salts are fixed, so each chi-square test either passes for ever or fails for ever; with salts drawn afresh it would fail
falsely with probability ALPHA. Tail probabilities come from scipy.
"""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from allocation import (
    AttributePlan,
    Enrolment,
    ExperimentPlan,
    HoldoutPlan,
    LayerPlan,
    MemberState,
    PhasePlan,
    VariantPlan,
    decide,
    explain,
)
from tests.allocation.plans import SALT, compiled, experiment

ALPHA = 1e-4
N = 20_000
UNITS = [f"member-{i}" for i in range(N)]
SALTS = ["3a1f00d2c4b59687", "77e0a1b2c3d4e5f6", "0f0e0d0c0b0a0908"]


def answers(plan: ExperimentPlan, units: list[str] = UNITS) -> list[str]:
    """Return each unit's variant, or the reason it has none."""
    snapshot = compiled(plan)
    return [(a := decide(snapshot, "x", unit, now=0)).variant or a.reason for unit in units]


def salted(salt: str, **fields: Any) -> ExperimentPlan:
    weights, traffic = fields.pop("weights", (1, 1)), fields.pop("traffic", "1")
    return experiment(weights=weights, phases=(PhasePlan(1, salt, weights, traffic),), **fields)


def goodness_p(observed: dict[str, int], shares: dict[str, float]) -> float:
    total = sum(observed.values())
    statistic = sum((observed.get(k, 0) - total * s) ** 2 / (total * s) for k, s in shares.items())
    return float(chi2.sf(statistic, len(shares) - 1))


def count(values: list[str]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted(set(values))}


def dependence_p(one: list[str], two: list[str]) -> float:
    rows, columns = sorted(set(one)), sorted(set(two))
    pairs = list(zip(one, two, strict=True))
    table = [[pairs.count((r, c)) for c in columns] for r in rows]
    return float(chi2_contingency(table, correction=False).pvalue)


def test_variants_get_their_shares() -> None:
    for salt in SALTS:
        got = count(answers(salted(salt, weights=(5, 3, 2))))
        assert goodness_p(got, {"control": 0.5, "a": 0.3, "b": 0.2}) > ALPHA


def test_the_gate_enrols_its_share_and_leaves_the_split_alone() -> None:
    for salt in SALTS:
        got = count(answers(salted(salt, weights=(1, 1, 1), traffic="0.1")))
        third = 0.1 / 3
        assert goodness_p(got, {"control": third, "a": third, "b": third, "not_in_traffic": 0.9}) > ALPHA


def test_gate_and_split_are_independent() -> None:
    for salt in SALTS:
        gate = [a if a == "not_in_traffic" else "in" for a in answers(salted(salt, traffic="0.3"))]
        assert dependence_p(gate, answers(salted(salt, weights=(1,) * 5))) > ALPHA


def test_experiments_are_independent_of_each_other() -> None:
    for one, two in itertools.combinations(SALTS, 2):
        assert dependence_p(answers(salted(one, weights=(1, 1, 1))), answers(salted(two, weights=(1, 2)))) > ALPHA


def test_layers_holdouts_and_splits_are_independent_of_each_other() -> None:
    split = answers(salted(SALTS[0], weights=(1, 1, 1)))

    def place(**fields: Any) -> list[str]:
        return [a if a in ("other_slot", "holdout") else "in" for a in answers(salted(SALTS[0], **fields))]

    one = place(layer=LayerPlan("one", "1" * 16, (("0", "0.4"),)))
    two = place(layer=LayerPlan("two", "2" * 16, (("0.2", "0.6"),)))
    held = place(holdouts=(HoldoutPlan("h", "4" * 16, "0.1"),))
    for a, b in itertools.combinations([split, one, two, held], 2):
        assert dependence_p(a, b) > ALPHA


def test_raising_traffic_moves_nobody() -> None:
    before: dict[str, str] = {}
    for share in ("0", "0.01", "0.1", "1/3", "0.5", "0.999", "1"):
        after = {
            unit: variant
            for unit, variant in zip(UNITS[:5000], answers(salted(SALT, traffic=share), UNITS[:5000]), strict=True)
            if variant != "not_in_traffic"
        }
        assert before.items() <= after.items()
        before = after
    assert len(before) == 5000


def test_more_weight_for_all_alike_moves_nobody() -> None:
    assert answers(salted(SALT, weights=(1, 2))) == answers(salted(SALT, weights=(10, 20)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5).filter(any), st.text("0123456789abcdef", min_size=16))
def test_a_variant_without_weight_is_never_drawn(weights: list[int], salt: str) -> None:
    drawn = set(answers(salted(salt, weights=tuple(weights)), UNITS[:60]))
    assert drawn <= {k for k, w in zip(("control", "a", "b", "c", "d"), weights, strict=False) if w}


shares = st.sampled_from(["0", "0.2", "0.5", "1/3", "0.9", "1"])
attribute_values = st.dictionaries(
    st.sampled_from(["stage", "cart"]), st.sampled_from(["dormant", "new", 5, 500, None])
)


@st.composite
def plans(draw: st.DrawFn) -> ExperimentPlan:
    """Any plan at all: every step may be there or not."""
    leaves = [
        {"attribute": "stage", "op": "eq", "value": "dormant"},
        {"not": {"attribute": "cart", "op": "gt", "value": 100}},
    ]
    kept = st.sampled_from(["stored", "request"])
    size = draw(st.integers(1, 3))
    weights = st.lists(st.integers(0, 2), min_size=size, max_size=size).filter(any).map(tuple)
    opened = ["reassign", *draw(st.lists(st.sampled_from(["keep", "reassign"]), max_size=2))]
    low, high = sorted((draw(st.sampled_from(["0", "0.3"])), draw(st.sampled_from(["0.4", "1"]))))
    return ExperimentPlan(
        key="x",
        revision=1,
        state=draw(st.sampled_from(["draft", "testing", "running", "running", "running", "paused", "ended"])),
        variants=tuple(VariantPlan(key) for key in ("control", "a", "b")[:size]),
        phases=tuple(PhasePlan(i + 1, draw(st.sampled_from(SALTS)), draw(weights), draw(shares), o)
                     for i, o in enumerate(opened)),  # type: ignore[arg-type]
        start=draw(st.sampled_from([None, 5])),
        end=draw(st.sampled_from([None, 50])),
        audience=draw(st.sampled_from([None, *leaves, {"all": leaves}, {"any": leaves}])),
        attributes={"stage": AttributePlan("string", draw(kept)), "cart": AttributePlan("number", draw(kept))},
        frozen=draw(st.sampled_from([(), ("stage",), ("cart", "stage")])),
        sticky=draw(st.booleans()),
        layer=draw(st.sampled_from([None, LayerPlan("l", "1" * 16, ((low, high),))])),
        holdouts=tuple(draw(st.lists(st.builds(HoldoutPlan, st.just("h"), st.just("4" * 16), shares), max_size=2))),
        overrides=draw(st.sampled_from([{}, {"m1": "control"}])),
        excluded=draw(st.sampled_from([(), ("m2",)])),
    )  # fmt: skip


states = st.none() | st.builds(
    MemberState,
    attributes=attribute_values,
    enrolments=st.just({}) | st.builds(
        lambda phase, variant: {"x": Enrolment(phase, variant, 1)}, st.integers(1, 3), st.sampled_from(["control", "a"])
    ),
    opted_out=st.sampled_from([False, False, True]),
    state_known=st.sampled_from([True, True, False]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(plans(), st.sampled_from(["m1", "m2", "m3", "m4"]), attribute_values, states, st.sampled_from([0, 10, 90]))
def test_explaining_decides_the_same_and_ends_where_the_answer_is(
    plan: ExperimentPlan, unit: str, attributes: dict[str, Any], state: MemberState | None, now: int
) -> None:
    arguments: dict[str, Any] = {"now": now, "attributes": attributes, "state": state, "occasion": "o"}
    answer = decide(compiled(plan), "x", unit, **arguments)
    explained, steps = explain(compiled(plan), "x", unit, **arguments)
    assert explained == answer == decide(compiled(plan), "x", unit, **arguments)
    assert all(step.goes_on is True for step in steps[:-1])
    assert steps[-1].goes_on is (None if answer.variant is not None else False)
    last = {
        "kept": {"enrolment", "kept"},
        "override": {"override"},
        "testing": {"override"},
        "assigned": {"variant"},
        "opted_out": {"opt_out"},
        "excluded": {"exclusion"},
        "paused": {"enrolment"},
        "not_in_audience": {"audience"},
        "missing_attribute": {"audience"},
        "holdout": {"holdout"},
        "other_slot": {"layer"},
        "not_in_traffic": {"traffic"},
    }.get(answer.reason, {"running"})
    assert steps[-1].name in last
    assert answer.logged == (answer.decision_id is not None) == (answer.kind is not None)
    assert answer.propensity is None or (answer.kind == "enrolled" and 0 < answer.propensity <= 1)
    assert answer.propensity is not None or answer.reason != "assigned"
