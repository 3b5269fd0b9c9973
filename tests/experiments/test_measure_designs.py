"""Quantiles, times, strata, clusters, reach, waves, overlaps and switchbacks, against plain loops over random logs."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats as scipy_stats

from allocation.decision import decision_id
from experiments.definitions import DefinitionError, Metric
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.measure.clusters import clustering, sums_by_cluster
from experiments.measure.experiment import MeasuredExperiment, measure_experiment
from experiments.measure.order_statistics import quantiles_of
from experiments.measure.overlaps import overlaps
from experiments.measure.parts import MeasuredMetric, parts_of
from experiments.measure.places import place_periods
from experiments.measure.population import PopulationPlan
from experiments.measure.reached import REACHED, cells_with_reached
from experiments.measure.redemption import Costs
from experiments.measure.survival import STEPS, event_times
from experiments.measure.waves import measure_waves
from experiments.publishing.publish import build_snapshot
from experiments.sources.log import open_log
from experiments.store import Store
from tests.experiments.measure_oracle import Unit, population
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record
from tests.experiments.random_log import log_of

VARIANTS = ("control", "a")
SEEDS = (11, 12)
Log = list[DecisionRow | EventRow]


def frozen_log(seed: int) -> Log:
    """The random world of test_measure_oracle, with a tier and a store for each unit."""
    rng = np.random.default_rng(seed + 100)
    rows: Log = []
    attributes: dict[str, str] = {}
    for row in log_of(seed):
        if isinstance(row, DecisionRow):
            if row.unit not in attributes:
                held: dict[str, str] = {"tier": str(rng.choice(["gold", "basic"]))}
                if rng.random() < 0.9:
                    held["store"] = f"s{rng.integers(0, 12)}"
                attributes[row.unit] = json.dumps(held)
            rows.append(msgspec.structs.replace(row, frozen=attributes[row.unit]))
        else:
            rows.append(row)
    return rows


def plan(**changes: Any) -> PopulationPlan:
    values: dict[str, Any] = {
        "experiment": "winback",
        "unit_type": "member",
        "phase": 1,
        "kind": "assigned",
        "exposure_events": ("Experiment Viewed",),
        "excluded": [],
        "frozen": (),
        "time_zone": "Asia/Shanghai",
        "now_us": NOW_US,
    }
    return PopulationPlan(**(values | changes))


def metrics_of(*documents: dict[str, Any]) -> list[MeasuredMetric]:
    return [parts_of(Metric.model_validate(d), f"m{i}", "primary", 2) for i, d in enumerate(documents)]


@contextlib.contextmanager
def measuring(
    store: Store, metrics: list[MeasuredMetric], population_plan: PopulationPlan, strata: tuple[str, ...] = ()
) -> Iterator[MeasuredExperiment]:
    store.close()
    with open_log(store.url) as log:
        yield measure_experiment(log, population_plan, metrics, Costs("CNY", {}, {}), VARIANTS, strata=strata)


def units_of(rows: Log) -> dict[str, tuple[str, Unit]]:
    """Unit → variant and its events."""
    found, _ = population((r for r in rows if isinstance(r, DecisionRow)), set(), 1)
    events: dict[str, list[EventRow]] = defaultdict(list)
    for row in rows:
        if isinstance(row, EventRow):
            events[row.unit].append(row)
    return {name: (variant, Unit(entry, events[name])) for name, (variant, entry, _) in found.items()}


def spend(unit: Unit) -> float:
    return sum(o.net for o in unit.placed(0, 14)) / 100


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quantile_of_units_is_that_of_their_sums(store: Store, seed: int) -> None:
    rows = frozen_log(seed)
    record(store, rows)
    wanted = metrics_of(metric("p75", "quantile", value="value", quantile=0.75))
    with measuring(store, wanted, plan()) as measured:
        found = quantiles_of(measured, wanted[0])
    for variant in VARIANTS:
        values = [spend(unit) for v, unit in units_of(rows).values() if v == variant]
        assert found[variant].n == len(values)
        assert found[variant].estimate == pytest.approx(float(np.quantile(values, 0.75, method="hazen")), rel=1e-12)
        assert found[variant].clusters is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("event", "value"), [("Order Completed", "value"), ("Visit", "minutes")])
def test_a_quantile_of_events_counts_units_as_clusters(store: Store, seed: int, event: str, value: str) -> None:
    rows = frozen_log(seed)
    record(store, rows)
    wanted = metrics_of(metric("p60", "quantile", event=event, value=value, quantile=0.6, per="event"))
    with measuring(store, wanted, plan()) as measured:
        found = quantiles_of(measured, wanted[0])
    for variant in VARIANTS:
        by_unit: list[list[float]] = []
        for v, unit in units_of(rows).values():
            if v != variant:
                continue
            if event == "Visit":
                by_unit.append([json.loads(e.properties)["minutes"] for e in unit.plain("Visit", 0, 14)])
            else:
                by_unit.append([o.net / 100 for o in unit.placed(0, 14)])
        by_unit = [values for values in by_unit if values]
        flat = np.concatenate(by_unit)
        quantile = float(np.quantile(flat, 0.6, method="hazen"))
        sample = found[variant]
        assert (sample.n, sample.clusters) == (len(flat), len(by_unit))
        assert sample.estimate == pytest.approx(quantile, rel=1e-12)
        # Deng, Knoblich, Lu (2018), eq. 4: variance of the share at or below, units as clusters, by residuals.
        below = np.array([sum(x <= quantile for x in values) for values in by_unit])
        events = np.array([len(values) for values in by_unit])
        share = below.sum() / events.sum()
        k = len(by_unit)
        robust = k / (k - 1) * ((below - share * events) ** 2).sum() / events.sum() ** 2
        assert sample.design_effect == pytest.approx(robust / (share * (1 - share) / events.sum()), rel=1e-9)


def test_only_ranks_that_matter_leave_the_engine(store: Store) -> None:
    rng = np.random.default_rng(7)
    values = rng.permutation(20_000)
    rows: Log = []
    for i, value in enumerate(values.tolist()):
        rows.append(decided(f"u{i}", VARIANTS[i % 2], START_US))
        rows.append(happened("Order Completed", f"u{i}", START_US + 5, value))
    record(store, rows)
    wanted = metrics_of(metric("p90", "quantile", value="value", quantile=0.9))
    with measuring(store, wanted, plan()) as measured:
        found = quantiles_of(measured, wanted[0])
    for i, variant in enumerate(VARIANTS):
        mine = values[i::2] / 100
        sample = found[variant]
        assert len(sample.values) < 600 < sample.n == 10_000
        assert sample.estimate == pytest.approx(float(np.quantile(mine, 0.9, method="hazen")), rel=1e-12)
        low, high = (float(end) for end in sample.ends(0.025))
        ranks = np.sort(mine)
        assert low == pytest.approx(ranks[int(9000 - 1.96 * 30)], abs=0.1)
        assert high == pytest.approx(ranks[int(9000 + 1.96 * 30)], abs=0.1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("event", ["Order Completed", "Visit"])
@pytest.mark.parametrize("days_later", [9, 60])
def test_times_are_counted_to_the_first_event_or_to_now(store: Store, seed: int, event: str, days_later: int) -> None:
    rows = frozen_log(seed)
    record(store, rows)
    now = START_US + days_later * DAY_US
    wanted = metrics_of(metric("wait", "time_to_event", event=event))
    with measuring(store, wanted, plan(now_us=now)) as measured:
        found = event_times(measured, wanted[0])
    seen = [r for r in rows if r.at <= now]
    step = 14 * DAY_US // STEPS
    for variant in VARIANTS:
        expected: dict[float, list[int]] = defaultdict(lambda: [0, 0])
        for v, unit in units_of(seen).values():
            if v != variant:
                continue
            at, happened_ = unit.first_order(14, now) if event.startswith("Order") else unit.first_plain(event, 14, now)
            middle = 14.0 if at >= 14 * DAY_US else min(at // step * step + step / 2, 14 * DAY_US) / DAY_US
            expected[middle][0 if happened_ else 1] += 1
        times = found[variant]
        assert times.times == pytest.approx(sorted(expected))
        assert times.events.tolist() == [expected[t][0] for t in sorted(expected)]
        assert times.censored.tolist() == [expected[t][1] for t in sorted(expected)]
        assert times.events.sum() > 0
        assert (times.censored[:-1].sum() > 0) == (days_later < 14)


@pytest.mark.parametrize("seed", SEEDS)
def test_strata_are_combinations_of_frozen_levels(store: Store, seed: int) -> None:
    rows = frozen_log(seed)
    record(store, rows)
    wanted = metrics_of(metric("spend", "sum", value="value"))
    with measuring(store, wanted, plan(frozen=("tier", "store")), strata=("tier", "store")) as measured:
        assert measured.strata == ("tier", "store")
        moments, strata = measured.cells.by_stratum("spend"), measured.cells.strata
    held = {r.unit: json.loads(r.frozen) for r in rows if isinstance(r, DecisionRow)}
    expected: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, (variant, unit) in units_of(rows).items():
        expected[variant, f"{held[name]['tier']} · {held[name].get('store', '')}"].append(spend(unit))
    assert set(strata) == {stratum for _, stratum in expected}
    for i, variant in enumerate(VARIANTS):
        for j, stratum in enumerate(strata):
            values = expected[variant, stratum]
            assert moments.n[i, j] == len(values)
            if values:
                assert moments.mean[i, j, 0] == pytest.approx(np.mean(values), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_clusters_are_summed_one_by_one(store: Store, seed: int) -> None:
    rows = frozen_log(seed)
    record(store, rows)
    wanted = metrics_of(metric("spend", "sum", value="value", covariate={"days": 28}))
    with measuring(store, wanted, plan(frozen=("store",))) as measured:
        counted = clustering(measured, "store")
        sums = sums_by_cluster(measured, "store", wanted[0].spec.columns)
    held = {r.unit: json.loads(r.frozen).get("store") for r in rows if isinstance(r, DecisionRow)}
    expected: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    units = units_of(rows)
    for name, (variant, unit) in units.items():
        before = sum(o.net for o in unit.placed(-28, 0)) / 100
        expected[held[name] or f"alone {name}", VARIANTS.index(variant)].append([spend(unit), before])
    found = sorted(zip(sums.variant.tolist(), sums.n.tolist(), sums.sums.round(6).tolist(), strict=True))
    assert found == sorted((v, len(x), np.sum(x, axis=0).round(6).tolist()) for (_, v), x in expected.items())
    stores = {s for s in held.values() if s is not None}
    mixed = {s for s in stores if (s, 0) in expected and (s, 1) in expected}
    alone = [name for name in units if held[name] is None]
    assert (counted.mixed, counted.alone) == (len(mixed), len(alone))
    assert counted.clusters == len({c for c, _ in expected})
    assert counted.mixed_units == sum(len(x) for (c, _), x in expected.items() if c in mixed)


def test_an_offer_reaches_from_the_entry_to_the_end_of_the_window(store: Store) -> None:
    rows = frozen_log(11)
    units = units_of(rows)
    rng = np.random.default_rng(3)
    reached: dict[str, bool] = {}
    for name, (_, unit) in units.items():
        what = rng.choice(["in", "before", "late", "other", "none"])
        at = {"before": -5, "late": 14 * DAY_US}.get(what, int(rng.integers(0, 14 * DAY_US)))
        reached[name] = what == "in"
        if what != "none":
            changes = {"experiment": "something"} if what == "other" else {}
            rows.append(happened("Delivered", name, unit.entry + at, **changes))
    record(store, rows)
    wanted = metrics_of(metric("spend", "sum", value="value"))
    with measuring(store, wanted, plan()) as measured:
        cells = cells_with_reached(measured, "Delivered", "winback", measured.specs)
    moments = cells.totals["spend"]
    assert moments.columns[-1] == REACHED
    for i, variant in enumerate(VARIANTS):
        table = np.array([[spend(u), reached[name]] for name, (v, u) in units.items() if v == variant])
        assert moments.mean[i] == pytest.approx(table.mean(axis=0), rel=1e-12)
        centred = table - table.mean(axis=0)
        np.testing.assert_allclose(moments.m2[i], centred.T @ centred, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["assigned", "exposed", "sent"])
def test_a_wave_begins_for_each_unit_with_its_own_decision(store: Store, kind: str) -> None:
    """Decisions of one unit a week apart: each occasion has a window of its own."""
    rng = np.random.default_rng(5)
    rows: Log = []
    entries: dict[tuple[str, str], int] = {}
    events: dict[str, list[EventRow]] = defaultdict(list)
    variants: dict[str, str] = {}
    for i in range(120):
        unit = f"u{i:03d}"
        variants[unit] = str(rng.choice(VARIANTS))
        for week in range(3):
            if rng.random() < 0.3:
                continue
            at = START_US + week * 7 * DAY_US + int(rng.integers(0, DAY_US))
            made = decided(unit, variants[unit], at, occasion=f"w{week}", send_at=at + 3_600_000_000)
            rows.append(made)
            later = at + int(rng.integers(0, 9 * DAY_US))
            if kind == "exposed":
                rows.append(happened("Experiment Viewed", unit, later, experiment="winback"))
            elif kind == "sent" and rng.random() < 0.5:
                rows.append(happened("Message Sent", unit, later, decision_id=made.decision_id))
                entries[unit, f"w{week}"] = later
            if kind == "sent":
                entries.setdefault((unit, f"w{week}"), at + 3_600_000_000)
            elif kind == "assigned":
                entries[unit, f"w{week}"] = at
        for _ in range(int(rng.poisson(3))):
            at = START_US + int(rng.integers(0, 30 * DAY_US))
            events[unit].append(happened("Order Completed", unit, at, int(rng.integers(100, 9000))))
        rows += events[unit]
    if kind == "exposed":
        decisions = sorted((r.unit, r.at, r.occasion) for r in rows if isinstance(r, DecisionRow))
        for place, (unit, at, occasion) in enumerate(decisions):
            after = decisions[place + 1] if place + 1 < len(decisions) else ("", 0, "")
            until = after[1] if after[0] == unit else NOW_US
            views = [e.at for e in rows if isinstance(e, EventRow) and e.name == "Experiment Viewed" and e.unit == unit]
            seen = [v for v in views if at <= v < until]
            if seen:
                entries[unit, occasion] = min(seen)
    record(store, rows)
    wanted = metrics_of(metric("spend", "sum", value="value", window={"days": 5}))
    changes: dict[str, Any] = {"exposed": {"kind": "exposed"}, "sent": {"send_event": "Message Sent"}}.get(kind, {})
    population_plan = plan(**changes)
    with measuring(store, wanted, population_plan) as measured:
        waves = measure_waves(measured, population_plan, wanted)
    assert waves is not None
    assert (waves.occasions, waves.left_out) == (("w0", "w1", "w2"), 0)
    moments = waves.cells.by_stratum("spend")
    for i, variant in enumerate(VARIANTS):
        for j, occasion in enumerate(waves.cells.strata):
            values = [
                sum(e.value_minor or 0 for e in events[u] if 0 <= e.at - t0 < 5 * DAY_US) / 100
                for (u, o), t0 in entries.items()
                if o == occasion and variants[u] == variant
            ]
            assert moments.n[i, j] == len(values)
            assert moments.mean[i, j, 0] == pytest.approx(np.mean(values), rel=1e-12)


def test_units_shared_with_another_experiment_stand_under_its_variants(store: Store) -> None:
    rows = frozen_log(12)
    units = units_of(rows)
    rng = np.random.default_rng(9)
    other: dict[str, str] = {}
    for place, name in enumerate(sorted(units)):
        for key, share in (("big", 0.95), ("small", 0.05)):
            if rng.random() > share:
                continue
            chosen = str(rng.choice(["x", "y"]))
            twice = key == "big" and place % 20 == 0
            for occasion, variant in (("", chosen), ("again", {"x": "y", "y": "x"}[chosen])):
                if occasion and not twice:
                    continue
                made = decision_id(key, 1, "member", name, occasion)
                rows.append(decided(name, variant, START_US, experiment=key, decision_id=made, occasion=occasion))
            if key == "big" and not twice:
                other[name] = chosen
    record(store, rows)
    wanted = metrics_of(metric("spend", "sum", value="value"))
    with measuring(store, wanted, plan()) as measured:
        (found,) = overlaps(measured, "winback", measured.specs)  # too few units are in the small one
    assert (found.experiment, found.units) == ("big", len(other))
    moments = found.cells.by_stratum("spend")
    for i, variant in enumerate(VARIANTS):
        for j, theirs in enumerate(found.cells.strata):
            values = [spend(u) for name, (v, u) in units.items() if v == variant and other.get(name) == theirs]
            assert moments.n[i, j] == len(values)
            assert moments.mean[i, j, 0] == pytest.approx(np.mean(values), rel=1e-12)


def test_places_and_periods_come_out_one_by_one(store: Store) -> None:
    rng = np.random.default_rng(4)
    rows: Log = []
    expected = []
    for place in ("north@east", "south"):
        for day in range(6):
            unit, variant = f"{place}@2026-03-{day + 1:02d}", str(rng.choice(VARIANTS))
            rows.append(decided(unit, variant, START_US))
            values = rng.integers(1, 9000, size=int(rng.poisson(2))).tolist()
            rows += [happened("Order Completed", unit, START_US + 7, value) for value in values]
            expected.append((place, f"2026-03-{day + 1:02d}", VARIANTS.index(variant), sum(values) / 100))
    record(store, rows)
    wanted = metrics_of(metric("spend", "sum", value="value"))
    with measuring(store, wanted, plan()) as measured:
        found = place_periods(measured, wanted[0].spec.columns)
    assert found is not None
    listed = zip(found.place, found.period, found.variant.tolist(), found.values["m0"].tolist(), strict=True)
    assert list(listed) == sorted(expected)


def test_the_frozen_attributes_of_an_analysis_are_in_the_definition(store: Store) -> None:
    """What a plan asks to be frozen stands in the snapshot that decisions are made by."""
    project = {
        "kind": "project",
        "name": "Shop",
        "currency": "CNY",
        "time_zone": "UTC",
        "attributes": {name: {"type": "string", "kept": "stored"} for name in ("tier", "store", "city")},
    }
    define(
        store,
        metric("spend", "sum", value="value"),
        experiment(
            {"primary": ["spend"]},
            breakdowns=["tier"],
            analysis={"strata": ["city", "tier"], "cluster": "store"},
        ),
        project=project,
    )
    assert Repository(store).experiment("winback").definition.frozen == ("tier", "city", "store")
    for state in ("review", "testing", "running"):
        transition(store, "winback", state, "tester")
    made = build_snapshot(store, 0).experiments["winback"]
    assert made.frozen == ("tier", "city", "store")
    assert set(made.attributes) == {"tier", "city", "store"}


def test_a_stratum_that_the_project_does_not_know_is_refused(store: Store) -> None:
    analysis = {"strata": ["city"], "cluster": "store"}
    with pytest.raises(DefinitionError) as refused:
        define(store, metric("spend", "sum", value="value"), experiment({"primary": ["spend"]}, analysis=analysis))
    assert {p.pointer for p in refused.value.problems} == {"/analysis/strata/0", "/analysis/cluster"}


def test_ranks_of_the_oracle_are_those_of_scipy() -> None:
    """The interval that the quantile test above expects is scipy's own, within a rank."""
    values = np.arange(10_000) / 100
    found = scipy_stats.quantile_test(values, q=0, p=0.9).confidence_interval(0.95)
    assert values[int(9000 - 1.96 * 30)] == pytest.approx(found.low, abs=0.02)
    assert values[int(9000 + 1.96 * 30)] == pytest.approx(found.high, abs=0.02)
