"""Reports of every kind of inference from one log: looks at a planned sample, posteriors, families, segments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from experiments.definitions.errors import DefinitionError
from experiments.report import archive, figures
from experiments.report.build import build_report
from experiments.report.document import Report
from experiments.report.history import past_effects
from experiments.report.looks import day_end_us, looks_at
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from stats.bayes import normal_posterior
from stats.sequential import Spending, bounds, peeking_risk
from tests.experiments.measuring import NOW_US, START_US, define, record
from tests.experiments.measuring import experiment as plain_experiment
from tests.experiments.test_report_build import ARMS, BUYERS, DAY_US, OFFER, PROFIT, QUIT, campaign, defined

MINUTE_US = 60_000_000


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    yield store
    store.close()


def rolling(shop: Store, *, days: int = 28, lift: float = 0.1, n: int = 2000, seed: int = 5, **fields: Any) -> None:
    """A test that members enter over four weeks; windows are 14 days long."""
    defined(shop, enrolment="rolling", **{"planned_units": 2000, **fields})
    record(shop, campaign(n, days=days, lift=lift, seed=seed))


def test_a_planned_rolling_test_is_looked_at_by_matured_units(shop: Store) -> None:
    rolling(shop)
    report = build_report(shop, "winback", START_US + 30 * DAY_US)
    assert report.plan.inference == "group_sequential"
    assert report.plan.sequential is not None
    assert (report.plan.sequential.planned_units, report.plan.sequential.past_plan) == (2000, False)
    assert report.population.immature > 0
    buyers = next(m for m in report.metrics if m.name == "buyers")
    matured = sum(v.n for v in buyers.variants)
    assert 0 < matured < 2000
    test = next(t for t in report.sequential if t.metric == "buyers")
    last = test.looks[-1]
    assert (last.units, last.information) == (matured, matured / 2000)
    # Every look's bound depends on the shares of the plan alone: they are those of the standard function.
    shares = [look.information for look in test.looks]
    expected = bounds(shares, 0.05, Spending())
    assert [look.bound for look in test.looks if look.bound] == pytest.approx(expected[np.isfinite(expected)].tolist())
    effect = buyers.comparisons[0].effect
    curve = next(c for c in report.curves if c.metric == "buyers")
    assert curve.points[-1].estimate == pytest.approx(effect.estimate)
    assert (curve.points[-1].ci_low, curve.points[-1].ci_high) == pytest.approx((effect.ci_low, effect.ci_high))
    assert len(curve.points) == len(test.looks)


def test_figures_change_once_a_day(shop: Store) -> None:
    rolling(shop)
    evening = day_end_us(int((START_US + 30 * DAY_US) // DAY_US), "Asia/Shanghai")
    before, after = (build_report(shop, "winback", evening + shift * MINUTE_US) for shift in (-60, -1))
    assert before.metrics == after.metrics
    assert build_report(shop, "winback", evening + MINUTE_US).metrics != before.metrics


def test_what_was_known_at_a_look_is_found_again_later(shop: Store) -> None:
    rolling(shop, lift=0.02)
    early = build_report(shop, "winback", START_US + 26 * DAY_US)
    late = build_report(shop, "winback", START_US + 38 * DAY_US)
    for one, two in zip(early.sequential, late.sequential, strict=True):
        assert len(one.looks) < len(two.looks)
        for a, b in zip(one.looks, two.looks, strict=False):
            assert (a.day, a.units, a.bound) == (b.day, b.units, pytest.approx(b.bound) if b.bound else None)


def test_a_bound_that_was_crossed_stops_the_test_before_its_plan(shop: Store) -> None:
    metrics = {"primary": ["profit", "buyers"]}
    define(
        shop, OFFER, BUYERS, PROFIT, plain_experiment(metrics, variants=ARMS, enrolment="rolling", planned_units=4000)
    )
    record(shop, campaign(days=28, lift=0.2))
    report = build_report(shop, "winback", START_US + 36 * DAY_US)
    test = next(t for t in report.sequential if t.metric == "buyers")
    assert test.crossed_day is not None
    crossed = next(look for look in test.looks if look.day == test.crossed_day)
    assert crossed.z is not None
    assert crossed.bound is not None
    assert crossed.z >= crossed.bound
    assert report.verdict is not None
    assert report.verdict.code == "roll_out"
    assert "bound_crossed" in {rule.code for rule in report.verdict.rules}
    comparison = next(m for m in report.metrics if m.name == "buyers").comparisons[0]
    assert comparison.reading == "better"
    assert comparison.after_stopping is not None
    assert comparison.after_stopping.ci_low is not None
    assert comparison.after_stopping.ci_low > 0


def test_past_the_plan_figures_stay_as_they_were(shop: Store) -> None:
    rolling(shop, planned_units=1500)
    report = build_report(shop, "winback", NOW_US + 60 * DAY_US)
    assert report.plan.sequential is not None
    assert report.plan.sequential.past_plan
    looks = report.sequential[0].looks
    assert [look.information >= 1 for look in looks] == [False] * (len(looks) - 1) + [True]
    assert sum(v.n for v in report.metrics[0].variants) == looks[-1].units < 2000
    assert "when the plan was reached" in report.warnings[0]["en"]
    assert "1,500" in report.warnings[0]["zh-CN"]


def test_a_reserve_pays_for_looks_past_the_plan(shop: Store) -> None:
    rolling(shop, planned_units=1500, analysis={"reserve": 0.2})
    report = build_report(shop, "winback", NOW_US + 60 * DAY_US)
    looks = report.sequential[0].looks
    assert looks[-1].units == 2000
    assert looks[-1].information > 1
    plan = bounds([look.information for look in looks], 0.04, Spending())
    at_plan = next(k for k, look in enumerate(looks) if look.information >= 1)
    assert looks[at_plan].bound == pytest.approx(plan[at_plan])
    assert looks[-1].bound is not None
    assert looks[-1].bound > 2.5  # 20 % of alpha, by a band that is valid at any number of looks
    assert not any("when the plan was reached" in w["en"] for w in report.warnings)


def test_little_hope_is_said_and_forbids_nothing(shop: Store) -> None:
    rolling(shop, lift=0.0, seed=7, analysis={"futility": {"power": 0.9}})
    report = build_report(shop, "winback", START_US + 36 * DAY_US)
    test = next(t for t in report.sequential if t.metric == "buyers")
    floors = [look.futility for look in test.looks if look.futility is not None]
    assert floors == sorted(floors)
    last = test.looks[-1]
    assert last.z is not None
    assert last.futility is not None
    assert test.crossed_day is None
    assert test.futile
    assert last.z <= last.futility < (last.bound or 0)
    assert report.verdict is not None
    assert report.verdict.code == "keep_running"
    assert report.verdict.sentence["en"].startswith(f"Keep running or give up: after {last.units:,} of 2,000 planned")
    assert report.verdict.sentence["zh-CN"].startswith("继续或放弃均可")
    assert any("futility" in m["en"] for m in report.methods)


def test_nobody_has_matured_yet(shop: Store) -> None:
    rolling(shop)
    report = build_report(shop, "winback", START_US + 10 * DAY_US)
    assert report.population.analysed > 0
    assert report.sequential == []
    for metric in report.metrics:
        for comparison in metric.comparisons:
            assert not comparison.readable
            assert "no look yet" in (comparison.why or "")
            assert comparison.effect.estimate is None
    assert report.verdict is not None
    assert report.verdict.code == "keep_running"
    assert "NaN" not in json.dumps(msgspec.to_builtins(report))


def test_days_end_where_the_project_is() -> None:
    assert day_end_us(0, "UTC") == DAY_US
    assert day_end_us(20_520, "America/New_York") - day_end_us(20_519, "America/New_York") == DAY_US * 23 // 24
    looks = looks_at(
        np.array([10, 10, 10]), [0, 1, 2], planned=100, window_us=DAY_US, now_us=3 * DAY_US, time_zone="UTC"
    )
    assert looks.days == (0, 1)
    ended = looks_at(
        np.array([10, 10]), [0, 1], planned=100, window_us=0, now_us=DAY_US + 5, time_zone="UTC", ended_us=DAY_US + 3
    )
    assert ended.days == (0, 1)


def bayesian(shop: Store, **prior: Any) -> Report:
    defined(shop, planned_units=2000, breakdowns=["tier"], analysis={"inference": "bayesian", "prior": prior or None})
    record(shop, campaign())
    return build_report(shop, "winback", NOW_US)


def test_a_bayesian_report_has_chances_and_no_p(shop: Store) -> None:
    report = bayesian(shop, relative_sd=0.5)
    assert report.plan.multiplicity == "none"
    assert "±50%" in report.plan.prior["en"]
    for metric in report.metrics:
        for comparison in metric.comparisons:
            assert comparison.p_value is comparison.p_value_adjusted is comparison.p_value_margin is None
            assert comparison.chance_to_win is not None
            assert comparison.expected_loss is not None
            assert sum(metric.chance_best.values()) == pytest.approx(1)
            assert metric.chance_best["a"] == pytest.approx(comparison.chance_to_win)
    assert all(r.p_value is None for b in report.breakdowns for r in b.rows)
    assert all(r.shrunken is None for b in report.breakdowns for r in b.rows)  # a posterior is shrunk already
    assert all(i.p_value is None for b in report.breakdowns for i in b.interactions)
    assert report.verdict is not None
    assert report.verdict.code == "roll_out"
    assert not re_p(json.dumps([report.verdict.sentence, report.summary, report.methods]))
    (comparison,) = report.metrics[0].comparisons
    chance, loss = comparison.chance_to_win or 0, comparison.expected_loss or 0
    for lang, sure, lost in (("en", "better with a chance of ", "expected loss"), ("zh-CN", "更好的概率 ", "期望损失")):
        said = report.verdict.sentence[lang]
        assert f"{sure}{figures.chance(chance)}" in said
        assert figures.loss(loss, report.metrics[0].unit, "CNY", lang=lang) in said
        assert lost in said


def test_a_bayesian_verdict_says_what_an_unclear_variant_would_cost(shop: Store) -> None:
    defined(shop, planned_units=2000, analysis={"inference": "bayesian"})
    record(shop, campaign(lift=0.0))
    report = build_report(shop, "winback", NOW_US)
    assert report.verdict is not None
    (reason,) = report.verdict.reasons
    (comparison,) = report.metrics[0].comparisons
    chance = comparison.chance_to_win or 0
    word = "better" if chance >= 0.5 else "worse"
    assert f"{word} with a chance of {figures.chance(max(chance, 1 - chance))}, 95% credible interval" in reason["en"]
    assert "expected loss of choosing it now" in reason["en"]


def test_a_watched_test_counts_outcomes_and_forecasts_from_entries(shop: Store) -> None:
    rolling(shop, planned_units=4000, lift=0.0)
    report = build_report(shop, "winback", START_US + 24 * DAY_US)
    assert report.verdict is not None
    matured = report.sequential[0].looks[-1].units
    entered = report.population.analysed
    assert matured < entered / 2
    # Units come evenly: 4,000 of them in as many days as the entries so far took, then a window of 14 days.
    days = 24 * 4000 / entered + 14 - 24
    said = re.search(r"about (\d+) more days: outcomes of ([\d,]+) of 4,000", report.verdict.sentence["en"])
    assert said is not None
    assert said[2] == f"{matured:,}"
    assert days - 2 <= int(said[1]) <= days + 9  # whole weeks


def re_p(text: str) -> bool:
    return " p " in text or "Holm" in text


def test_the_posterior_is_the_normal_one_of_the_plain_estimate(tmp_path: Path) -> None:
    found = {}
    for kind in ("fixed", "bayesian"):
        store = open_store(f"sqlite:///{tmp_path / kind}.sqlite")
        upgrade(store)
        defined(store, analysis={"inference": kind})
        record(store, campaign())
        found[kind] = next(m for m in build_report(store, "winback", NOW_US).metrics if m.name == "profit")
        store.close()
    plain, believed = (found[kind].comparisons[0].effect for kind in ("fixed", "bayesian"))
    assert None not in (plain.ci_low, plain.ci_high, plain.estimate)
    n = [v.n for v in found["fixed"].variants]
    pooled = float(np.average([v.mean or 0.0 for v in found["fixed"].variants], weights=n))
    # The fixed interval is Student's with about 2000 degrees of freedom: 1.961 standard errors.
    error = ((plain.ci_high or 0) - (plain.ci_low or 0)) / 2 / 1.9612
    expected = normal_posterior(plain.estimate or 0, error, 0.0, 0.2 * abs(pooled)).value()
    assert believed.estimate == pytest.approx(expected.mean, rel=1e-3)
    assert believed.ci_low == pytest.approx(expected.ci_low, rel=1e-3)
    assert found["bayesian"].comparisons[0].chance_to_win == pytest.approx(expected.chance_positive, rel=1e-3)
    assert found["bayesian"].comparisons[0].expected_loss == pytest.approx(expected.loss_if_chosen, rel=0.05)


def test_a_prior_is_learnt_from_finished_experiments(shop: Store) -> None:
    report = bayesian(shop, source="history", relative_sd=0.3)
    assert "only 0 comparisons" in report.plan.prior["en"]
    assert "±30%" in report.plan.prior["en"]
    ended = msgspec.structs.replace(report, plan=msgspec.structs.replace(report.plan, state="ended"))
    effects = past_effects([ended, report], "profit")
    assert len(effects) == 1  # of the finished one alone
    control, variant = report.metrics[0].variants
    assert effects[0][0] == pytest.approx((variant.mean or 0) / (control.mean or 1) - 1)
    for i in range(12):
        other = msgspec.structs.replace(ended, plan=msgspec.structs.replace(ended.plan, experiment=f"past-{i}"))
        archive.save(shop, msgspec.structs.replace(other, content_hash=f"{i}"), now=NOW_US)
    learnt = build_report(shop, "winback", NOW_US)
    assert "as in 12 comparisons" in learnt.plan.prior["en"]
    assert "12" in learnt.plan.prior["zh-CN"]


@pytest.mark.parametrize("method", ["holm", "hochberg", "benjamini_hochberg", "dunnett", "none"])
def test_every_adjustment_for_several_questions(shop: Store, method: str) -> None:
    arms = [*ARMS, {"key": "b", "name": {"en": "B"}, "offer": "save", "channel": "sms"}]
    metrics = {"primary": ["profit", "buyers"], "guardrails": [{"metric": "quit", "margin": "100%"}]}
    analysis = {"multiplicity": method}
    define(shop, OFFER, BUYERS, PROFIT, QUIT, plain_experiment(metrics, variants=arms, analysis=analysis))
    rows = [
        msgspec.structs.replace(r, variant="b") if getattr(r, "variant", "") == "a" and int(r.unit[1:]) % 4 == 1 else r
        for r in campaign(lift=0.02)
    ]
    record(shop, rows)
    report = build_report(shop, "winback", NOW_US)
    assert report.plan.multiplicity == method
    for metric in report.metrics[:2]:
        for c in metric.comparisons:
            assert c.p_value is not None
            assert c.p_value_adjusted is not None
            assert (c.p_value_adjusted >= c.p_value) if method != "none" else (c.p_value_adjusted == c.p_value)
            low, high = c.effect.ci_low_adjusted, c.effect.ci_high_adjusted
            assert low is not None
            assert high is not None
            if method != "hochberg":
                assert (c.p_value_adjusted <= 0.05) == (low >= 0 or high <= 0)
    word = {"holm": "Holm", "hochberg": "Hochberg", "benjamini_hochberg": "false", "dunnett": "Dunnett"}
    assert any(word.get(method, "not adjusted") in m["en"] for m in report.methods)


def test_segments_are_shrunken_and_tested_for_a_difference(shop: Store) -> None:
    defined(shop, breakdowns=["tier"])
    record(shop, campaign())
    report = build_report(shop, "winback", NOW_US)
    tests = [i for b in report.breakdowns for i in b.interactions]
    assert [i.variant for i in tests] == ["a", "a"]
    for breakdown in report.breakdowns:
        effects = [r.effect.estimate for r in breakdown.rows]
        shrunken = [r.shrunken.estimate if r.shrunken else None for r in breakdown.rows]
        assert None not in effects
        if None not in shrunken:
            assert np.ptp(shrunken) <= np.ptp(effects) + 1e-12  # type: ignore[arg-type]
    p_values = sorted(i.p_value for i in tests if i.p_value is not None)
    assert min(i.p_value_adjusted or 0 for i in tests) == pytest.approx(min(1, 2 * p_values[0]))


def test_a_test_made_for_its_end_warns_whoever_looks_before(shop: Store) -> None:
    defined(shop, planned_units=2000)
    record(shop, campaign(1500))
    early = build_report(shop, "winback", START_US + 5 * DAY_US)
    assert "read once, at its end" in early.warnings[0]["en"]
    assert "1,500 of 2,000" in early.warnings[0]["en"]
    # Read daily until the 14-day windows are over: 14 looks at a test without effect.
    risk = f"{100 * peeking_risk(np.arange(1, 15) / 14):.0f}%"
    assert f"on each of 14 days and stops at the first clear effect finds one in {risk}" in early.warnings[0]["en"]
    assert f"14 天里每天查看、一见明确效果就停止，毫无效果的实验中也有 {risk}" in early.warnings[0]["zh-CN"]
    late = build_report(shop, "winback", NOW_US)
    assert "1,500 of 2,000" in late.warnings[0]["en"]
    record(shop, [r for r in campaign(2000) if r.unit >= "u01500"])
    assert not any("read once" in w["en"] for w in build_report(shop, "winback", NOW_US).warnings)


def test_group_sequential_needs_a_plan(shop: Store) -> None:
    with pytest.raises(DefinitionError, match="planned sample"):
        defined(shop, analysis={"inference": "group_sequential"})
