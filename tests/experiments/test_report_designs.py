"""Reports of every declared design, from the log to the document, the terminal and the page."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from allocation.decision import decision_id
from api.web.pages import render_report
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.report.build import build_report
from experiments.report.document import Report
from experiments.report.render_rows import render_rows_csv
from experiments.report.render_table import print_report
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from stats.clusters import ClusterSums, difference, sample_of
from stats.quantiles import Quantiles, difference_of_quantiles
from stats.survival import FollowUp, difference_of_restricted_means
from tests.experiments.measuring import NOW_US, PROJECT, START_US, decided, define, experiment, happened, metric, record

SPEND = metric("spend", "sum", value="value")
Log = list[DecisionRow | EventRow]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    """An SQLite store; that PostgreSQL measures alike is tested in test_measure_designs."""
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    yield store
    store.close()


def project() -> dict[str, Any]:
    attributes = {name: {"type": "string", "kept": "stored"} for name in ("tier", "store")}
    return PROJECT | {"attributes": attributes, "unit_types": ["member", "place"]}


def campaign(
    n: int = 1200, *, variants: tuple[str, ...] = ("control", "a"), by_store: bool = False, seed: int = 3
) -> Log:
    """Members of 40 stores; treated ones order sooner and spend more; gold ones spend three times as much."""
    rng = np.random.default_rng(seed)
    rows: Log = []
    store_effect = rng.normal(0, 300, 40)
    for i in range(n):
        unit, store = f"u{i:04d}", int(rng.integers(0, 40))
        place = store if by_store else i
        variant = variants[place % len(variants)]
        gold = bool(rng.random() < 0.3)
        frozen = json.dumps({"tier": "gold" if gold else "basic", "store": f"s{store}"})
        rows.append(decided(unit, variant, START_US, frozen=frozen, propensity=1 / len(variants)))
        lift = 1 if variant != "control" else 0
        if rng.random() < 0.5 + 0.15 * lift:
            at = START_US + int(rng.exponential(5 - lift) * DAY_US)
            value = max(100, int(rng.gamma(2, 2000 * (3 if gold else 1)) + 400 * lift + store_effect[store]))
            rows.append(happened("Order Completed", unit, at, value))
        if variant != "control" and rng.random() < 0.7:
            rows.append(happened("Delivered", unit, START_US + 1000, experiment="winback"))
    return rows


def reported(shop: Store, rows: Log, *documents: dict[str, Any], now: int = NOW_US) -> Report:
    define(shop, *documents, project=project())
    record(shop, rows)
    return build_report(shop, "winback", now)


def by_variant(rows: Log) -> dict[str, dict[str, list[EventRow]]]:
    units = {r.unit: r.variant or "" for r in rows if isinstance(r, DecisionRow)}
    found: dict[str, dict[str, list[EventRow]]] = {v: {} for v in units.values()}
    for unit, variant in units.items():
        found[variant][unit] = []
    for row in rows:
        if isinstance(row, EventRow) and row.name == "Order Completed" and row.at < START_US + 14 * DAY_US:
            found[units[row.unit]][row.unit].append(row)
    return found


def test_a_quantile_is_a_metric_like_others(shop: Store) -> None:
    rows = campaign()
    p90 = metric("p90", "quantile", value="value", quantile=0.9)
    report = reported(shop, rows, SPEND, p90, experiment({"primary": ["p90"], "guardrails": [{"metric": "spend"}]}))
    (found, _) = report.metrics
    assert (found.kind, found.unit, found.quantile) == ("quantile", "money", 0.9)
    sums = {v: [sum(e.value_minor or 0 for e in es) / 100 for es in u.values()] for v, u in by_variant(rows).items()}
    samples = [Quantiles.from_values(sums[v], probability=0.9) for v in ("control", "a")]
    assert [v.mean for v in found.variants] == pytest.approx([s.estimate for s in samples], rel=1e-12)
    expected = difference_of_quantiles(*samples).value()
    (comparison,) = found.comparisons
    assert comparison.method == "quantile"
    assert comparison.total is None
    assert comparison.effect.estimate == pytest.approx(expected.estimate)
    assert (comparison.effect.ci_low, comparison.effect.ci_high) == pytest.approx((expected.ci_low, expected.ci_high))
    assert comparison.p_value == pytest.approx(expected.p_value)


def test_a_quantile_may_be_a_guardrail(shop: Store) -> None:
    p90 = metric("p90", "quantile", value="value", quantile=0.9)
    guarded = experiment({"primary": ["spend"], "guardrails": [{"metric": "p90", "margin": "0.3"}]})
    report = reported(shop, campaign(), SPEND, p90, guarded)
    (comparison,) = report.metrics[1].comparisons
    assert comparison.reading == "within_limit"
    assert comparison.p_value_margin is not None
    assert comparison.p_value_margin < 0.025
    assert comparison.relative.ci_low is not None
    assert comparison.relative.ci_low > -0.3


@pytest.mark.parametrize("inference", ["always_valid", "bayesian", "group_sequential"])
def test_metrics_of_rows_are_judged_under_every_inference(shop: Store, inference: str) -> None:
    """Estimates are the same; intervals that may be looked at are wider than those of a fixed horizon."""
    rows = campaign()
    documents = (
        SPEND,
        metric("p90", "quantile", value="value", quantile=0.9),
        metric("wait", "time_to_event", direction="decrease"),
    )
    plan: dict[str, Any] = {"primary": ["spend", "p90", "wait"]}
    declared = experiment(plan, enrolment="rolling", planned_units=1500, analysis={"inference": inference})
    looked = reported(shop, rows, *documents, declared)
    fixed = reported(shop, [], *documents, experiment(plan, key="winback", analysis={"inference": "fixed"}))
    for one, other in zip(looked.metrics[1:], fixed.metrics[1:], strict=True):
        assert [v.mean for v in one.variants] == [v.mean for v in other.variants]
        effect, plain = one.comparisons[0].effect, other.comparisons[0].effect
        assert effect.ci_low is not None
        assert effect.ci_high is not None
        assert plain.ci_low is not None
        assert plain.ci_high is not None
        if inference != "bayesian":
            assert effect.ci_high - effect.ci_low > plain.ci_high - plain.ci_low
    # What is judged by another method than the plan's is said.
    said = [m["en"] for m in looked.methods if "have no looks" in m["en"] or "known now" in m["en"]]
    assert len(said) == (2 if inference == "group_sequential" else 0)


def test_times_to_an_event_have_a_mean_and_a_curve(shop: Store) -> None:
    rows = campaign()
    wait = metric("wait", "time_to_event", direction="decrease")
    report = reported(shop, rows, wait, experiment({"primary": ["wait"]}), now=START_US + 20 * DAY_US)
    (found,) = report.metrics
    assert (found.unit, found.comparisons[0].method) == ("days", "restricted_mean")
    follow = []
    for v in ("control", "a"):
        times = [min((e.at - START_US for e in es), default=14 * DAY_US) for es in by_variant(rows)[v].values()]
        follow.append(FollowUp.from_units(np.array(times) / DAY_US, np.array(times) < 14 * DAY_US))
    expected = difference_of_restricted_means(*follow, 14.0).value()
    effect = found.comparisons[0].effect
    assert effect.estimate == pytest.approx(expected.estimate, abs=0.01)  # times are in steps of 20 minutes
    assert effect.ci_high == pytest.approx(expected.ci_high, abs=0.02)
    assert found.comparisons[0].reading == "better"
    assert [c.variant for c in report.survival] == ["control", "a"]
    for curve in report.survival:
        shares = [p.survival for p in curve.points]
        assert shares[0] == 1.0
        assert shares == sorted(shares, reverse=True)
        assert curve.points[-1].day == pytest.approx(14.0)


def test_strata_take_their_variance_out(shop: Store) -> None:
    rows = campaign(2000)
    stratified = experiment({"primary": ["spend"]}, analysis={"strata": ["tier"]})
    report = reported(shop, rows, SPEND, stratified)
    plain = reported(shop, [], SPEND, experiment({"primary": ["spend"]}))
    (one,), (other,) = report.metrics[0].comparisons, plain.metrics[0].comparisons
    assert (one.method, other.method) == ("post_stratified", "welch")
    spent: dict[tuple[str, str], list[float]] = {}
    tiers = {r.unit: json.loads(r.frozen)["tier"] for r in rows if isinstance(r, DecisionRow)}
    for variant, units in by_variant(rows).items():
        for unit, events in units.items():
            spent.setdefault((variant, tiers[unit]), []).append(sum(e.value_minor or 0 for e in events) / 100)
    shares = {t: sum(tiers[u] == t for u in tiers) / len(tiers) for t in ("gold", "basic")}
    expected = sum(share * (np.mean(spent["a", t]) - np.mean(spent["control", t])) for t, share in shares.items())
    assert one.effect.estimate == pytest.approx(expected)
    assert _width(one.effect) < 0.95 * _width(other.effect)


def _width(effect: Any) -> float:
    return float(effect.ci_high - effect.ci_low)


def test_clusters_that_were_drawn_whole_have_robust_errors(shop: Store) -> None:
    rows = campaign(by_store=True)
    analysis = {"cluster": "store", "randomised_by_cluster": True, "reached": "Delivered"}
    drawn = experiment({"primary": ["spend"]}, breakdowns=["tier"], analysis=analysis)
    report = reported(shop, rows, SPEND, drawn)
    (comparison,) = report.metrics[0].comparisons
    stores = {r.unit: json.loads(r.frozen)["store"] for r in rows if isinstance(r, DecisionRow)}
    listed = [
        (place, stores[unit], sum(e.value_minor or 0 for e in events) / 100)
        for place, variant in enumerate(("control", "a"))
        for unit, events in by_variant(rows)[variant].items()
    ]
    sums = ClusterSums.from_rows(
        ["spend"], [[x] for *_, x in listed], [c for _, c, _ in listed], [v for v, *_ in listed]
    )
    both = sample_of(sums, "spend")
    expected = difference(both[0], both[1]).value()
    assert comparison.method == "clusters_cr2"
    assert comparison.effect.estimate == pytest.approx(expected.estimate)
    assert (comparison.effect.ci_low, comparison.p_value) == pytest.approx((expected.ci_low, expected.p_value))
    assert [v.n for v in report.metrics[0].variants] == [len(by_variant(rows)[v]) for v in ("control", "a")]
    assert report.plan.design == "clusters"
    assert not [w for w in report.warnings if "clusters" in w["en"]]
    # Nothing is shown whose errors would be those of single members.
    assert (report.curves, report.breakdowns, report.reached, report.overlaps) == ([], [], [], [])
    assert [w for w in report.warnings if w["en"].startswith("Units hang together")]


def test_split_clusters_are_warned_of(shop: Store) -> None:
    report = reported(shop, campaign(), SPEND, experiment({"primary": ["spend"]}, analysis={"cluster": "store"}))
    assert report.metrics[0].comparisons[0].method == "welch"
    (said,) = [w for w in report.warnings if "clusters (store)" in w["en"]]
    assert said["en"].startswith("40 clusters (store) have members in several variants, 1,200 members in all.")
    assert "40 个群组" in said["zh-CN"]


def test_the_effect_on_those_reached_is_larger(shop: Store) -> None:
    report = reported(shop, campaign(), SPEND, experiment({"primary": ["spend"]}, analysis={"reached": "Delivered"}))
    (found,) = report.reached
    assert found.reached == pytest.approx(0.7, abs=0.05)
    assert found.reached_control == 0.0
    effect = report.metrics[0].comparisons[0].effect
    assert effect.estimate is not None
    assert found.effect.estimate == pytest.approx(effect.estimate / (found.reached or 1))


def test_waves_are_pooled(shop: Store) -> None:
    rng = np.random.default_rng(8)
    rows: Log = []
    for i in range(600):
        variant = ("control", "a")[i % 2]
        for wave in range(4):
            at = START_US + 15 * wave * DAY_US
            rows.append(decided(f"u{i}", variant, at, occasion=f"wave-{wave}"))
            if rng.random() < 0.5:
                value = int(rng.gamma(2, 1000)) + (500 if variant == "a" else 0)
                rows.append(happened("Order Completed", f"u{i}", at + 5, value))
    declared = experiment({"primary": ["spend"]}, analysis={"pool_occasions": True})
    report = reported(shop, rows, SPEND, declared, now=START_US + 100 * DAY_US)
    (pooled,) = report.pooled
    assert [w.occasion for w in pooled.waves] == [f"wave-{i}" for i in range(4)]
    assert {w.n for w in pooled.waves} == {600}
    assert sum(w.weight or 0 for w in pooled.waves) == pytest.approx(1)
    estimates = [w.effect.estimate or 0 for w in pooled.waves]
    expected = sum((w.weight or 0) * e for w, e in zip(pooled.waves, estimates, strict=True))
    assert pooled.effect.estimate == pytest.approx(expected)
    assert pooled.prediction_low is not None
    assert pooled.effect.ci_low is not None
    assert pooled.prediction_low <= pooled.effect.ci_low
    (said,) = [w for w in report.warnings if "in common" in w["en"]]
    assert "600 members count 2,400 times" in said["en"]
    assert "600 名会员共计 2,400 次" in said["zh-CN"]
    assert not any("as at one look" in m["en"] for m in report.methods)


def test_waves_of_different_members_are_independent(shop: Store) -> None:
    rows: Log = []
    for i in range(200):
        at = START_US + 15 * (i % 4) * DAY_US
        rows.append(decided(f"u{i}", ("control", "a")[i // 4 % 2], at, occasion=f"wave-{i % 4}"))
        rows.append(happened("Order Completed", f"u{i}", at + 5, 100 * i))
    declared = experiment({"primary": ["spend"]}, analysis={"pool_occasions": True, "inference": "always_valid"})
    report = reported(shop, rows, SPEND, declared, now=START_US + 100 * DAY_US)
    assert report.pooled
    assert not any("in common" in w["en"] for w in report.warnings)
    (said,) = [m for m in report.methods if "as at one look" in m["en"]]
    assert said["en"].startswith("Pooled waves are read")
    assert said["zh-CN"].startswith("合并批次按")


def test_factors_have_effects_and_aliases(shop: Store) -> None:
    arms = ("control", "coupon", "banner", "both")
    factors = [
        {"key": "coupon", "levels": {"control": 0, "coupon": 1, "banner": 0, "both": 1}},
        {"key": "banner", "levels": {"control": 0, "coupon": 0, "banner": 1, "both": 1}},
    ]
    declared = experiment({"primary": ["spend"]}, variants=[{"key": a} for a in arms], analysis={"factors": factors})
    report = reported(shop, campaign(variants=arms), SPEND, declared)
    (found,) = report.factorial
    assert [t.factors for t in found.terms] == [["coupon"], ["banner"], ["coupon", "banner"]]
    means = {v.variant: v.mean or 0 for v in report.metrics[0].variants}
    coupon = (means["coupon"] + means["both"] - means["control"] - means["banner"]) / 2
    assert found.terms[0].effect.estimate == pytest.approx(coupon)
    assert all(not t.aliases for t in found.terms)
    assert all((t.p_value_adjusted or 0) >= (t.p_value or 0) for t in found.terms)


def test_a_fraction_of_a_factorial_says_what_it_cannot_tell_apart(shop: Store) -> None:
    arms = ("control", "coupon", "banner", "sms")
    levels = {"coupon": (0, 1, 0, 1), "banner": (0, 0, 1, 1), "sms": (0, 1, 1, 0)}
    factors = [{"key": k, "levels": dict(zip(arms, v, strict=True))} for k, v in levels.items()]
    declared = experiment({"primary": ["spend"]}, variants=[{"key": a} for a in arms], analysis={"factors": factors})
    report = reported(shop, campaign(variants=arms), SPEND, declared)
    aliases = {tuple(t.factors): t.aliases for t in report.factorial[0].terms}
    assert aliases["coupon",] == [["banner", "sms"]]


def test_other_experiments_are_tested_for_interaction(shop: Store) -> None:
    rows = campaign()
    other: Log = []
    units = [r.unit for r in rows if isinstance(r, DecisionRow)]
    for i, unit in enumerate(units):
        chosen = ("x", "y")[i // 2 % 2]
        other.append(
            decided(unit, chosen, START_US, experiment="other", decision_id=decision_id("other", 1, "member", unit, ""))
        )
    report = reported(shop, [*rows, *other], SPEND, experiment({"primary": ["spend"]}))
    (found,) = report.overlaps
    assert (found.kind, found.subject, found.units, found.df) == ("experiment", "other", 1200, 1)
    spent = {u: sum(e.value_minor or 0 for e in es) / 100 for us in by_variant(rows).values() for u, es in us.items()}
    effects, squared = [], []
    for cell in range(2):
        arms = [[spent[u] for i, u in enumerate(units) if i // 2 % 2 == cell and i % 2 == v] for v in (0, 1)]
        effects.append(np.mean(arms[1]) - np.mean(arms[0]))
        squared.append(sum(np.var(a, ddof=1) / len(a) for a in arms))
    assert found.statistic == pytest.approx((effects[1] - effects[0]) ** 2 / sum(squared))


@pytest.mark.parametrize(("days", "count"), [(-60, 0), (-13, 1), (13, 1), (15, 0)])
def test_experiments_that_did_not_run_together_are_not_tested(shop: Store, days: int, count: int) -> None:
    """Units of this one enter on one day and are measured for 14: an offer before or after that cannot matter."""
    rows = campaign(300)
    other = [
        decided(
            r.unit,
            ("x", "y")[i // 2 % 2],
            START_US + days * DAY_US,
            experiment="other",
            decision_id=decision_id("other", 1, "member", r.unit, ""),
        )
        for i, r in enumerate(r for r in rows if isinstance(r, DecisionRow))
    ]
    report = reported(shop, [*rows, *other], SPEND, experiment({"primary": ["spend"]}))
    assert [(o.subject, o.units) for o in report.overlaps] == [("other", 300)] * count


def test_a_switchback_is_judged_by_its_assignment(shop: Store) -> None:
    rng = np.random.default_rng(2)
    rows: Log = []
    values: dict[str, list[list[float]]] = {"a": [], "control": []}
    for place in range(6):
        for day in range(20):
            variant = str(rng.choice(["control", "a"]))
            unit, at = f"store-{place}@2026-03-{day + 1:02d}", START_US + day * DAY_US
            rows.append(decided(unit, variant, at, unit_type="place"))
            rows[-1] = msgspec.structs.replace(rows[-1], decision_id=decision_id("winback", 1, "place", unit, ""))
            value = int(10_000 * (place + 1) + rng.normal(0, 500) + (600 if variant == "a" else 0))
            rows.append(happened("Order Completed", unit, at + 9, value, unit_type="place"))
            values[variant].append([place, value / 100])
    declared = experiment({"primary": ["spend"]}, unit_type="place", analysis={"switchback": True})
    report = reported(shop, rows, SPEND, declared)
    (comparison,) = report.metrics[0].comparisons
    assert (report.plan.design, comparison.method) == ("switchback", "randomisation")
    assert comparison.effect.estimate == pytest.approx(6.0, abs=3.0)  # not the places' own differences
    assert comparison.p_value is not None
    assert comparison.p_value < 0.001
    assert comparison.reading == "better"


def test_an_empty_log_leaves_every_section_empty(shop: Store) -> None:
    declared = experiment(
        {"primary": ["spend", "wait", "p90"]},
        analysis={"strata": ["tier"], "cluster": "store", "reached": "Delivered", "pool_occasions": True},
    )
    documents = (SPEND, metric("wait", "time_to_event"), metric("p90", "quantile", value="value", quantile=0.9))
    report = reported(shop, [], *documents, declared)
    assert (report.reached, report.pooled, report.overlaps, report.survival) == ([], [], [], [])
    assert all(c.effect.estimate is None for m in report.metrics for c in m.comparisons)


def test_every_section_is_in_the_detailed_csv(shop: Store) -> None:
    factors = [{"key": "coupon", "levels": {"control": 0, "a": 1}}]
    analysis = {"factors": factors, "reached": "Delivered", "pool_occasions": True, "inference": "group_sequential"}
    wait = metric("wait", "time_to_event", direction="decrease")
    plan: dict[str, Any] = {"primary": ["spend", "wait"]}
    fields: dict[str, Any] = {"breakdowns": ["tier"], "enrolment": "rolling", "planned_units": 400}
    other = [
        decided(f"u{i:04d}", ("x", "y")[i // 2 % 2], experiment="other", decision_id=f"{i:032x}") for i in range(400)
    ]
    report = reported(shop, [*campaign(400), *other], SPEND, wait, experiment(plan, analysis=analysis, **fields))
    rows = list(csv.DictReader(io.StringIO(render_rows_csv(report))))
    sections = {r["section"] for r in rows}
    assert sections == {
        *("curve_experiment_day", "breakdown", "interaction_attribute", "interaction_experiment", "look", "wave"),
        *("pooled", "reached", "factor", "survival"),
    }
    assert all((r["value"] == "") == (r["why"] != "") for r in rows)
    assert not any(r["value"] in ("nan", "None") for r in rows)

    def value(section: str, figure: str, name: str = "spend", item: str = "") -> float:
        found = [
            r for r in rows if (r["section"], r["figure"], r["metric"], r["item"]) == (section, figure, name, item)
        ]
        return float(found[-1]["value"])

    assert value("look", "z") == report.sequential[0].looks[-1].z
    assert value("wave", "effect") == report.pooled[0].waves[0].effect.estimate
    pooled = next(r for r in rows if (r["section"], r["figure"]) == ("pooled", "effect"))
    assert (pooled["value"], pooled["why"]) == ("", report.pooled[0].why)  # one wave alone
    assert value("reached", "reached") == report.reached[0].reached
    assert value("factor", "p_value", item="coupon") == report.factorial[0].terms[0].p_value
    assert value("interaction_experiment", "n", item="other") == report.overlaps[0].units == 400
    assert value("survival", "survival", "wait") == report.survival[-1].points[-1].survival
    assert value("breakdown", "n", item="tier=gold") == next(
        r.n for r in report.breakdowns[0].rows if r.level == "gold"
    )


@pytest.mark.parametrize("adjustment", ["cuped", "none"])
def test_covariates_adjust_inside_strata_where_they_are_asked_to(shop: Store, adjustment: str) -> None:
    spend = metric("spend", "sum", value="value", covariate={"days": 28})
    rows = campaign(2000)
    rng = np.random.default_rng(6)
    orders = [r for r in rows if isinstance(r, EventRow) and r.name == "Order Completed"]
    for order in orders:
        before = int((order.value_minor or 0) * rng.uniform(0.8, 1.2))
        rows.append(happened("Order Completed", order.unit, START_US - DAY_US, before))
    analysis = {"strata": ["tier"], "adjustment": adjustment}
    (found,) = reported(shop, rows, spend, experiment({"primary": ["spend"]}, analysis=analysis)).metrics
    (comparison,) = found.comparisons
    assert comparison.method == ("post_stratified_cuped" if adjustment == "cuped" else "post_stratified")
    assert (comparison.variance_reduction or 0) > (0.7 if adjustment == "cuped" else 0.02)
    assert (comparison.variance_reduction or 0) < (1.0 if adjustment == "cuped" else 0.4)


@pytest.mark.parametrize(
    ("adjustment", "strata", "inference"),
    [
        ("cuped", ["tier"], "fixed"),
        ("none", [], "fixed"),
        ("cuped", ["tier"], "group_sequential"),
        ("regression", [], "group_sequential"),
        ("none", ["tier"], "always_valid"),
        ("cuped", ["tier"], "bayesian"),
    ],
)
def test_a_curve_ends_where_the_scorecard_stands(
    shop: Store, adjustment: str, strata: list[str], inference: str
) -> None:
    """With the same covariates and the same strata, whatever the kind of inference."""
    spend = metric("spend", "sum", value="value", covariate={"days": 28})
    rows = campaign(600)
    rng = np.random.default_rng(6)
    spread = inference != "fixed"
    for i, row in enumerate(list(rows)):
        if isinstance(row, DecisionRow) and spread:
            rows[i] = msgspec.structs.replace(row, at=row.at - int(rng.integers(0, 20)) * DAY_US)
        elif isinstance(row, EventRow) and row.name == "Order Completed":
            value = int((row.value_minor or 0) * rng.uniform(0.8, 1.2))
            rows.append(happened("Order Completed", row.unit, START_US - 21 * DAY_US, value))
    declared = experiment(
        {"primary": ["spend"]},
        enrolment="rolling" if spread else "once",
        planned_units=600,
        analysis={"strata": strata, "adjustment": adjustment, "inference": inference},
    )
    report = reported(shop, rows, spend, declared)
    (curve,), (found,) = report.curves, report.metrics
    last, effect = curve.points[-1], found.comparisons[0].effect
    assert effect.estimate is not None
    assert last.estimate == pytest.approx(effect.estimate, rel=1e-9)
    if inference == "group_sequential":
        assert (last.ci_low, last.ci_high) == pytest.approx((effect.ci_low, effect.ci_high), rel=1e-9)


def test_a_group_sequential_test_is_stratified_at_every_look(shop: Store) -> None:
    rows = campaign(2000)
    spread = [
        msgspec.structs.replace(r, at=r.at + int(r.unit[1:]) % 20 * DAY_US) if isinstance(r, DecisionRow) else r
        for r in rows
    ]
    declared = experiment(
        {"primary": ["spend"]}, enrolment="rolling", planned_units=2000, analysis={"strata": ["tier"]}
    )
    (one,) = reported(shop, spread, SPEND, declared).metrics
    assert one.comparisons[0].method == "post_stratified"
    assert one.comparisons[0].effect.ci_low is not None
    early = build_report(shop, "winback", START_US + DAY_US)  # before the first look
    assert early.metrics[0].comparisons[0].effect.ci_low is None


def test_the_page_and_the_terminal_show_every_section(shop: Store) -> None:
    arms = ("control", "a")
    factors = [{"key": "coupon", "levels": {"control": 0, "a": 1}}]
    analysis = {"factors": factors, "reached": "Delivered", "pool_occasions": True}
    wait = metric("wait", "time_to_event", direction="decrease")
    declared = experiment({"primary": ["spend", "wait"]}, variants=[{"key": a} for a in arms], analysis=analysis)
    report = reported(shop, campaign(), SPEND, wait, declared)
    for lang, words in (
        ("en", ("Waves", "Effect on those reached", "Factors", "Time to the event", "Still waiting", "days")),
        ("zh-CN", ("批次", "对触达者的效果", "因素", "距事件发生的时间", "尚未发生")),
    ):
        page = render_report(report, lang, standalone=True)
        assert all(word in page for word in words)
        terminal = Console(width=160, record=True, file=io.StringIO())
        print_report(report, terminal, lang=lang)
        shown = terminal.export_text()
        assert all(word in shown for word in words[:3])
        assert "nan" not in page.lower().replace("finan", "")


def test_a_report_is_computed_without_pandas(shop: Store) -> None:
    """Which takes two seconds and 100 MB to load; DuckDB does so where a query has parameters."""
    covered = metric("spend", "sum", value="value", covariate={"days": 28}, winsorise=0.95)
    reported(shop, campaign(200), covered, experiment({"primary": ["spend"]}, breakdowns=["tier"]))
    code = (
        "import sys\n"
        "from experiments.report.build import build_report\n"
        "from experiments.store import open_store\n"
        f"assert build_report(open_store({shop.url!r}), 'winback', {NOW_US}).metrics\n"
        "assert 'pandas' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reports_that_were_kept_before_sections_and_inference_existed_still_load(shop: Store) -> None:
    declared = experiment({"primary": ["spend"]}, breakdowns=["tier"])
    report = reported(shop, campaign(200), SPEND, declared)
    old = json.loads(msgspec.json.encode(report))
    for name in ("sequential", "reached", "overlaps", "outlook", "pooled", "factorial", "survival", "summary"):
        del old[name]
    for name in ("multiplicity", "adjustment", "strata", "cluster", "design", "sequential", "prior"):
        del old["plan"][name]
    for found in old["metrics"]:
        del found["quantile"], found["chance_best"]
        for comparison in found["comparisons"]:
            del comparison["chance_to_win"], comparison["expected_loss"], comparison["after_stopping"]
    for breakdown in old["breakdowns"]:
        del breakdown["interactions"], breakdown["spread"]
        for row in breakdown["rows"]:
            del row["shrunken"]
    del old["srm"]["sequential_p_value"], old["verdict"]["stands"]
    loaded = msgspec.json.decode(json.dumps(old).encode(), type=Report)
    assert loaded.metrics[0].comparisons[0].effect == report.metrics[0].comparisons[0].effect
    for lang in ("en", "zh-CN"):
        assert "spend" in render_report(loaded, lang, standalone=True)
        print_report(loaded, Console(width=120, file=io.StringIO()), lang=lang)
    sections = {r["section"] for r in csv.DictReader(io.StringIO(render_rows_csv(loaded)))}
    assert sections == {"curve_member_day", "breakdown"}
