"""Reports from the log: who counts, what cannot be read yet, what to do, and the same document from the same facts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from api.cli import cli
from experiments.log.rows import DAY_US, SKEW_US, DecisionRow, EventRow
from experiments.report import archive
from experiments.report.build import build_report
from experiments.report.content import content_hash
from experiments.report.document import Report
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record

BUYERS = metric("buyers", "proportion", covariate={"days": 28})
PROFIT = metric("profit", "profit", margin={"rate": "0.4"})
QUIT = metric("quit", "proportion", event="Unsubscribed", direction="decrease")
OFFER = {
    "kind": "offer",
    "key": "save",
    "name": "¥5 off",
    "type": "fixed_coupon",
    "face_value": "5.00",
    "contact_cost": {"sms": "0.05"},
}
ARMS = [
    {"key": "control", "name": {"en": "No offer"}},
    {"key": "a", "name": {"en": "¥5 off"}, "offer": "save", "channel": "sms"},
]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    """An SQLite store; that both databases do alike is tested in test_measure_oracle and test_measure_hillstrom."""
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    yield store
    store.close()


def campaign(n: int = 2000, *, lift: float = 0.1, seed: int = 5, days: int = 1) -> list[DecisionRow | EventRow]:
    """Half the members get the offer; a tenth buys anyway, ``lift`` more with the offer."""
    rng = np.random.default_rng(seed)
    rows: list[DecisionRow | EventRow] = []
    for i in range(n):
        unit, variant = f"u{i:05d}", ("control", "a")[i % 2]
        at = START_US + int(rng.integers(0, days * DAY_US))
        rows.append(decided(unit, variant, at, frozen=json.dumps({"tier": ["gold", "basic"][i % 3 == 0]})))
        if rng.random() < 0.1 + (lift if variant == "a" else 0):
            rows.append(
                happened("Order Completed", unit, at + int(rng.integers(1, 13 * DAY_US)), 10_000, object_id=f"o{i}")
            )
        if rng.random() < 0.2:
            rows.append(happened("Order Completed", unit, at - DAY_US, 10_000, object_id=f"p{i}"))
        if rng.random() < 0.02:
            rows.append(happened("Unsubscribed", unit, at + DAY_US))
    return rows


def defined(shop: Store, **fields: object) -> None:
    metrics = {"primary": ["profit", "buyers"], "guardrails": [{"metric": "quit", "margin": "100%"}]}
    define(shop, OFFER, BUYERS, PROFIT, QUIT, experiment(metrics, variants=ARMS, **fields))


def test_a_clear_winner_is_rolled_out_with_money_in_the_sentence(shop: Store) -> None:
    defined(shop, planned_units=2000, breakdowns=["tier"])
    record(shop, campaign())
    report = build_report(shop, "winback", NOW_US)
    assert report.verdict is not None
    assert (report.verdict.code, report.verdict.variant) == ("roll_out", "a")
    profit = report.metrics[0]
    assert (profit.unit, profit.role) == ("money", "primary")
    effect = profit.comparisons[0].effect.estimate
    assert effect is not None
    assert f"profit rises by ¥{effect:.2f} (95% interval +¥" in report.verdict.sentence["en"]
    assert f"profit上升 ¥{effect:.2f}（95% 区间 +¥" in report.verdict.sentence["zh-CN"]
    assert f"Over its 1,000 members that is ¥{1000 * effect:,.0f} more." in report.verdict.sentence["en"]
    assert "¥5 off" in report.verdict.sentence["en"]
    assert {r.code: r.met for r in report.verdict.rules if r.code != "quality"} == {
        "planned_sample": True,
        "outcomes_mature": True,
        "primary_better": True,
        "primary_not_harmed": True,
        "guardrail_within": True,
    }
    assert [c.code for c in report.checks] == ["srm", "sample", "contaminated", "balance", "completeness", "novelty"]
    assert {b.attribute for b in report.breakdowns} == {"tier"}
    assert report.plan.currency == "CNY"
    total = profit.comparisons[0].total
    assert total is not None
    assert total.estimate == pytest.approx(effect * 1000)


def test_the_order_of_rows_does_not_change_the_hash(shop: Store, tmp_path: Path) -> None:
    rows = campaign(400)
    hashes = set()
    for seed in range(3):
        store = open_store(f"sqlite:///{tmp_path / f'shuffled{seed}.sqlite'}")
        upgrade(store)
        defined(store, breakdowns=["tier"])
        events = [r for r in rows if isinstance(r, EventRow)]
        random.Random(seed).shuffle(events)
        record(store, [*(r for r in rows if isinstance(r, DecisionRow)), *events])
        hashes.add(build_report(store, "winback", NOW_US).content_hash)
        store.close()
    assert len(hashes) == 1


def test_later_computation_gives_the_same_document(shop: Store) -> None:
    defined(shop)
    record(shop, campaign(300))
    first, second = build_report(shop, "winback", NOW_US), build_report(shop, "winback", NOW_US + 5 * DAY_US)
    assert first == second
    assert content_hash(first) == first.content_hash


def test_windows_that_are_not_over_are_counted_and_waited_for(shop: Store) -> None:
    defined(shop)
    record(shop, campaign(days=4))
    now = START_US + 16 * DAY_US  # windows of those who entered on days 1 and 2 are over
    report = build_report(shop, "winback", now)
    assert 0 < report.population.immature < 2000
    assert report.verdict is not None
    assert report.verdict.code == "keep_running"
    assert "2 more days" in report.verdict.sentence["en"]
    assert build_report(shop, "winback", START_US + 18 * DAY_US).population.immature == 0


def test_only_the_exposed_count_where_the_plan_says_so(shop: Store) -> None:
    defined(shop, population="exposed")
    rows = campaign(600)
    exposures = []
    for i in range(0, 600, 3):
        unit = f"u{i:05d}"
        exposures.append(happened("Experiment Viewed", unit, START_US - DAY_US))
        exposures.append(happened("Experiment Viewed", unit, START_US + 2 * DAY_US))
        exposures.append(happened("Experiment Viewed", unit, START_US + 3 * DAY_US))
    record(shop, [*rows, *exposures])
    report = build_report(shop, "winback", NOW_US)
    assert report.population.kind == "exposed"
    assert (report.population.assigned, report.population.exposed, report.population.analysed) == (600, 200, 200)
    assert report.population.left_out == {"not_exposed": 400}
    assert sum(report.srm.observed.values()) == 200
    # The window begins with the first exposure after the decision: an order before it does not count.
    entry = START_US + 2 * DAY_US
    buyers = {
        e.unit
        for e in rows
        if isinstance(e, EventRow) and e.name == "Order Completed" and entry <= e.at < entry + 14 * DAY_US
    } & {f"u{i:05d}" for i in range(0, 600, 3)}
    found = next(m for m in report.metrics if m.name == "buyers")
    assert sum(round((v.mean or 0) * v.n) for v in found.variants) == len(buyers)


def test_an_exposure_in_the_millisecond_of_its_decision_counts(shop: Store) -> None:
    """Apps cut their times to milliseconds, decisions have microseconds."""
    defined(shop)
    rows = campaign(60)
    entered = {row.unit: row.at for row in rows if isinstance(row, DecisionRow)}
    late = {"u00001": 999, "u00002": 1, "u00003": 0}
    rows = [
        msgspec.structs.replace(row, at=row.at // 1000 * 1000 + late[row.unit])
        if isinstance(row, DecisionRow) and row.unit in late
        else row
        for row in rows
    ]
    seen = [happened("Experiment Viewed", unit, entered[unit] // 1000 * 1000) for unit in late]
    before = happened("Experiment Viewed", "u00004", entered["u00004"] // 1000 * 1000 - 1000)
    record(shop, [*rows, *seen, before])
    assert build_report(shop, "winback", NOW_US).population.exposed == 3


def test_an_exposure_that_names_the_experiment_counts_by_a_clock_that_goes_behind(shop: Store) -> None:
    """Times that are less than ten minutes off are left as they are; it shows that the decision was before."""
    defined(shop, population="exposed")
    rows = campaign(60)
    entered = {row.unit: row.at for row in rows if isinstance(row, DecisionRow)}
    behind = {"u00001": 3_000_000, "u00002": SKEW_US, "u00003": SKEW_US + 1}
    seen = [
        happened("Experiment Viewed", unit, entered[unit] - late, experiment="winback") for unit, late in behind.items()
    ]
    record(shop, [*rows, *seen, happened("Experiment Viewed", "u00004", entered["u00004"] - 3_000_000)])
    population = build_report(shop, "winback", NOW_US).population
    assert (population.exposed, population.analysed) == (2, 2)


def test_assigned_population_prints_the_exposed_too(shop: Store) -> None:
    defined(shop)
    record(shop, [*campaign(60), happened("$exposure", "u00001", START_US + 5 * DAY_US)])
    report = build_report(shop, "winback", NOW_US)
    assert (report.population.kind, report.population.exposed, report.population.analysed) == ("assigned", 1, 60)


@pytest.mark.parametrize(
    ("stated", "bulk", "kind"),
    [
        (None, 0, "assigned"),
        (None, 30, "assigned"),  # of 60: an app asked about a campaign that half of the members got elsewhere
        (None, 31, "exposed"),
        (None, 60, "exposed"),
        ("assigned", 60, "assigned"),
        ("exposed", 0, "exposed"),
    ],
)
def test_who_counts_where_the_plan_does_not_say(shop: Store, stated: str | None, bulk: int, kind: str) -> None:
    """An app that evaluates everything at start is told of experiments that it never shows."""
    defined(shop, population=stated)
    rows: list[Any] = campaign(60)
    asked = [place for place, row in enumerate(rows) if isinstance(row, DecisionRow)]
    for place in asked[:bulk]:
        rows[place] = msgspec.structs.replace(rows[place], source="ofrep:bulk")
    seen = [happened("Experiment Viewed", f"u{i:05d}", START_US + 5 * DAY_US) for i in range(20)]
    record(shop, [*rows, *seen])
    population = build_report(shop, "winback", NOW_US).population
    assert (population.kind, population.assigned, population.exposed) == (kind, 60, 20)
    assert population.analysed == (20 if kind == "exposed" else 60)


def test_a_broken_split_forbids_reading_but_keeps_the_figures(shop: Store) -> None:
    defined(shop)
    rows = [r for i, r in enumerate(campaign()) if not (isinstance(r, DecisionRow) and r.variant == "a" and i % 4 == 0)]
    record(shop, rows)
    report = build_report(shop, "winback", NOW_US)
    assert report.srm.status == "fail"
    assert report.verdict is not None
    assert report.verdict.code == "do_not_read"
    for result in report.metrics:
        assert not result.comparisons[0].readable
        assert "SRM" in (result.comparisons[0].why or "")
        assert result.comparisons[0].effect.estimate is not None


def test_rolling_enrolment_reads_always_valid_and_not_in_the_first_week(shop: Store) -> None:
    defined(shop, enrolment="rolling")
    record(shop, campaign(days=10))
    early = build_report(shop, "winback", START_US + 6 * DAY_US)
    assert early.plan.inference == "always_valid"
    assert all(not c.readable for m in early.metrics for c in m.comparisons)
    assert "week" in (early.metrics[0].comparisons[0].why or "")
    late = build_report(shop, "winback", NOW_US)
    assert all(c.readable for m in late.metrics for c in m.comparisons)
    curves = [c for c in late.curves if c.metric == "buyers"]
    assert len(curves) == 1
    assert curves[0].axis == "experiment_day"
    assert [p.day for p in curves[0].points] == list(range(1, 12))
    last, effect = curves[0].points[-1], late.metrics[1].comparisons[0].effect
    assert last.estimate == pytest.approx(effect.estimate, rel=1e-9)
    assert (last.ci_low, last.ci_high) == pytest.approx((effect.ci_low, effect.ci_high), rel=1e-9)


def test_rolling_breakdowns_are_always_valid_too(shop: Store) -> None:
    defined(shop, enrolment="rolling", breakdowns=["tier"])
    record(shop, campaign(days=10))
    report = build_report(shop, "winback", NOW_US)
    rows = next(b.rows for b in report.breakdowns if b.metric == "profit")
    means = {m.name: m for m in report.metrics}["profit"].comparisons[0].effect
    for row in rows:
        effect = row.effect
        assert None not in (effect.ci_low, effect.ci_high, means.ci_low, means.ci_high, row.p_value)
        half = ((effect.ci_high or 0) - (effect.ci_low or 0)) / 2
        whole = ((means.ci_high or 0) - (means.ci_low or 0)) / 2
        # A level's band is as many standard errors wide as the whole's (2.9 here, not 1.96): so it is wider by the
        # square root of the units, as far as the levels vary alike.
        assert half / whole == pytest.approx(np.sqrt(2000 / (row.n + row.n_control)), rel=0.25)


def test_member_days_lead_to_the_scorecards_estimate(shop: Store) -> None:
    defined(shop)
    record(shop, campaign())
    report = build_report(shop, "winback", NOW_US)
    for result in report.metrics[:2]:
        curve = next(c for c in report.curves if c.metric == result.name)
        assert curve.axis == "member_day"
        assert [p.day for p in curve.points] == list(range(1, 15))
        assert curve.points[-1].estimate == pytest.approx(result.comparisons[0].effect.estimate, rel=1e-9)
        assert curve.clear_from_day is not None
        widths = [(p.ci_high or 0) - (p.ci_low or 0) for p in curve.points]
        assert min(widths) > 0


def test_each_phase_is_read_by_itself(shop: Store) -> None:
    defined(shop)
    rows = campaign(400)
    second = [decided(f"x{i:04d}", ("control", "a")[i % 2], START_US + 9 * DAY_US, phase=2) for i in range(100)]
    kept = [decided("u00001", "a", START_US + 9 * DAY_US, phase=2)]
    record(shop, [*rows, *second, *kept])
    assert build_report(shop, "winback", NOW_US, phase=1).population.analysed == 400
    report = build_report(shop, "winback", NOW_US, phase=2)
    assert report.population.analysed == 100
    assert report.population.left_out == {"other_phase": 1}
    assert report.plan.phase == 2


def test_nothing_happened_yet(shop: Store) -> None:
    defined(shop, breakdowns=["tier"])
    report = build_report(shop, "winback", NOW_US)
    assert report.population.analysed == 0
    assert report.verdict is None
    assert {c.reading for m in report.metrics for c in m.comparisons} == {"not_computed"}
    assert "NaN" not in json.dumps(msgspec.to_builtins(report))
    record(shop, [decided("u1", "a")])
    assert build_report(shop, "winback", NOW_US).verdict is not None


def test_reports_are_kept_numbered_and_only_when_they_differ(store: Store) -> None:
    defined(store)
    record(store, campaign(60))
    report = build_report(store, "winback", NOW_US)
    assert archive.latest(store, "winback") is None
    assert archive.save(store, report, now=NOW_US) == 1
    assert archive.save(store, report, now=NOW_US + 1) == 1
    record(store, [happened("Order Completed", "u00001", START_US + DAY_US, 100, object_id="late")])
    newer = build_report(store, "winback", NOW_US)
    assert archive.save(store, newer, now=NOW_US + 2) == 2
    assert archive.latest(store, "winback") == newer
    assert archive.load(store, "winback", 1) == report
    assert archive.load(store, "winback", 3) is None


def test_command_line(shop: Store, tmp_path: Path) -> None:
    defined(shop)
    record(shop, campaign(200))
    runner = CliRunner()
    base = ["--data", str(tmp_path), "report"]
    none = runner.invoke(cli, [*base, "winback", "--stored"])
    assert (none.exit_code, none.output.count("\n")) == (2, 1)
    assert "no report of 'winback' was kept yet" in none.output
    table = runner.invoke(cli, [*base, "winback"])
    assert table.exit_code == 0, table.output
    assert "Win-back" in table.output
    found = runner.invoke(cli, [*base, "winback", "--stored", "--output", "json"])
    report = msgspec.json.decode(found.output, type=Report)
    assert report.plan.experiment == "winback"
    chinese = runner.invoke(cli, [*base, "winback", "--lang", "zh-CN"])
    assert "唤回" in chinese.output
    unknown = runner.invoke(cli, [*base, "winbak"])
    assert unknown.exit_code == 2
    assert "winback" in unknown.output
