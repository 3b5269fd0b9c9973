"""A snapshot as bytes and compiled: what survives, and what is refused by whom."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import msgspec
import pytest

from allocation import (
    AttributePlan,
    HoldoutPlan,
    LayerPlan,
    PhasePlan,
    Snapshot,
    SnapshotError,
    VariantPlan,
    compile_snapshot,
    decide,
    encode,
    parse,
)
from allocation.compiled import ALLOCATIONS, Draw, Outcome
from tests.allocation.plans import DORMANT, SALT, STAGE_STORED, compiled, experiment

FULL = experiment(
    unit_type="household",
    start=5,
    end=2**60,
    audience=DORMANT,
    attributes={**STAGE_STORED, "cart": AttributePlan("number", "request")},
    frozen=("stage",),
    sticky=True,
    layer=LayerPlan("coupons", "c" * 16, (("0", "0.5"), ("0.75", "1"))),
    holdouts=(HoldoutPlan("all", "b" * 16, "0.05"), HoldoutPlan("some", "d" * 16, "0.1", "scoped")),
    overrides={"会员": "a"},
    excluded=("staff-1",),
    phases=(PhasePlan(1, SALT, (1, 1), "0.5"), PhasePlan(2, SALT, (1, 3), "1", "keep")),
)


def test_a_snapshot_survives_being_written() -> None:
    snapshot = Snapshot("v9", 77, {"x": FULL, "y": experiment(key="y")}, excluded={"member": ("m1",)})
    data = encode(snapshot)
    assert parse(data) == snapshot
    assert encode(parse(data)) == data


def test_equal_snapshots_have_equal_bytes() -> None:
    one, two = experiment(), experiment(key="y")
    assert encode(Snapshot("v", 0, {"x": one, "y": two})) == encode(Snapshot("v", 0, {"y": two, "x": one}))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version":1}', b"\xff", b'{"version":"v"}', b"[" * 100_000])
def test_bytes_that_are_no_snapshot(data: bytes) -> None:
    with pytest.raises(SnapshotError, match="not a readable snapshot"):
        parse(data)


def test_a_broken_experiment_is_named_and_nothing_is_half_loaded() -> None:
    data = encode(Snapshot("v", 0, {"x": experiment()})).replace(b'"revision":1', b'"revision":"one"')
    with pytest.raises(SnapshotError, match=r"in experiment x.*revision"):
        parse(data)


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(SnapshotError, match=r"format 2.*upgrade this node"):
        parse(b'{"version":"v","effective_at":0,"format":2}')


def document(**changes: Any) -> dict[str, Any]:
    wire: dict[str, Any] = json.loads(encode(Snapshot("v", 0, {"x": experiment(), "y": experiment(key="y")})))
    return wire | changes


def test_an_unknown_feature_refuses_that_experiment_and_no_other() -> None:
    wire = document()
    wire["experiments"]["y"] = {"requires": ["tides"], "shape": ["of", "a", "newer", "version"]}
    snapshot = compile_snapshot(parse(json.dumps(wire).encode()))
    assert decide(snapshot, "x", "m", now=0).reason == "assigned"
    assert decide(snapshot, "y", "m", now=0).reason == "refused"
    assert snapshot.refused == {"y": 'needs "tides", which this version does not know; upgrade this node'}


def test_an_unknown_feature_of_the_document_refuses_all() -> None:
    snapshot = parse(json.dumps(document(requires=["tides"])).encode())
    assert snapshot.refused.keys() == {"x", "y"}


def test_an_unknown_field_without_a_feature_changes_nothing() -> None:
    wire = document(note="later")
    wire["experiments"]["x"]["note"] = "later"
    assert parse(json.dumps(wire).encode()).experiments["x"] == experiment()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"traffic": "1.1"}, "traffic is 1.1; it must lie from 0 to 1"),
        ({"traffic": "nan"}, 'traffic is "nan"'),
        ({"weights": (0, 0)}, "weights of phase 1"),
        ({"weights": (1, -1)}, "weights of phase 1"),
        ({"phases": ()}, "phases"),
        ({"phases": (PhasePlan(1, SALT, (1,)),)}, "1 weights for 2 variants"),
        ({"phases": (PhasePlan(1, SALT, (1, 1)), PhasePlan(1, SALT, (1, 1)))}, "different numbers"),
        ({"variants": ()}, "variants"),
        ({"overrides": {"m": "z"}}, "overrides name z"),
        ({"frozen": ("tier",)}, "tier are not declared"),
        ({"allocation": "tides"}, 'allocation "tides" is not known'),
        ({"layer": LayerPlan("l", "c", (("0.5", "0.2"),))}, r"slot \[0.5, 0.2\) of layer l ends before"),
        ({"holdouts": (HoldoutPlan("h", "b", "5%"),)}, 'share of holdout h is "5%"'),
        ({"audience": DORMANT}, "stage"),
        ({"audience": {"attribute": "stage"}, "attributes": STAGE_STORED}, "op"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_with_the_reason(fields: dict[str, Any], message: str) -> None:
    snapshot = compiled(experiment(**fields))
    assert not snapshot.experiments
    assert re.search(message, snapshot.refused["x"])


def test_an_offer_is_immutable_all_the_way_down_and_still_json() -> None:
    offer = {"kind": "gift", "items": [{"sku": "s"}], "price": {"minor": 5}}
    snapshot = compiled(experiment(weights=(1,), variants=(VariantPlan("a", offer),)))
    given = decide(snapshot, "x", "m", now=0).offer
    assert given is not None
    assert json.loads(msgspec.json.encode(given)) == offer
    for change in (
        lambda: given.update(kind="cash"),
        lambda: given["price"].update(minor=1),
        lambda: given["items"][0].clear(),
        lambda: given["items"].append(1),
        lambda: given.pop("kind"),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()
    mine = copy.deepcopy(given)
    mine["kind"] = "cash"
    assert given["kind"] == "gift"


def test_a_new_kind_of_allocation_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seam for policies that learn: a maker of drawing functions that return an outcome with its propensity."""

    def by_length(_plan: object, _phase: object, _policies: object) -> Draw:
        def draw(_digest: str, unit: str, occasion: str, attributes: Any, _now: int) -> Outcome:
            return Outcome("a", None, 0.25 if (len(unit), occasion, attributes) == (2, "o", {"k": 1}) else 0.75)

        return draw

    monkeypatch.setitem(ALLOCATIONS, "by_length", by_length)
    plan = experiment(allocation="by_length", frozen=("k",), attributes={"k": AttributePlan("number", "request")})
    answer = decide(compiled(plan), "x", "mm", now=0, occasion="o", attributes={"k": 1})
    assert (answer.variant, answer.propensity, answer.reason) == ("a", 0.25, "assigned")
