"""The report of a policy that learns: against a truth that is known, from plain rows and from a real log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from experiments.definitions.allocation import Allocation
from experiments.keeping.repository import Repository
from experiments.learning import versions
from experiments.learning.versions import NewVersion
from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.report import archive
from experiments.report.bandit.arms import arms_of
from experiments.report.bandit.build import build_bandit_report, logged_of, made_of
from experiments.report.bandit.document import Arm, Gain, PolicyValue
from experiments.report.bandit.gain import gain_of
from experiments.report.bandit.policies import Other, even, single, values_of
from experiments.report.build import build_report, report_of
from experiments.report.document import Report
from experiments.report.inputs import Declared
from experiments.sources.log import open_log
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from stats.ope.adaptive import past_means
from tests.experiments import bandit_log
from tests.experiments.bandit_log import VARIANTS, truth
from tests.experiments.measuring import START_US, define, experiment, happened, metric, record

BUYERS = metric("buyers", "proportion", window={"days": 7})
ALLOCATION = {
    "policy": "greedy",
    "features": [{"attribute": "tier", "kind": "categorical"}],
    "reward": {"metric": "buyers", "worth": "20"},
    "explore": "0.2",
    "control": {"share": "0.4"},
}
ARMS = [
    {"key": "control", "name": {"en": "No offer", "zh-CN": "无优惠"}},
    {"key": "coupon", "name": {"en": "Coupon", "zh-CN": "优惠券"}},
    {"key": "points", "name": {"en": "Points", "zh-CN": "积分"}},
]
NOW_US = START_US + 60 * DAY_US


def gain(n: int = 20_000, **changes: object) -> Gain:
    log = logged_of(bandit_log.rows(n, **changes), "UTC")  # type: ignore[arg-type]
    return gain_of(log, alpha=0.05, control_share=0.1, control_split="uniform")


def arms(n: int = 20_000, seed: int = 1) -> list[Arm]:
    found = bandit_log.rows(n, seed=seed)
    log = logged_of(found, "UTC")
    guess = past_means(log.variant, log.reward, 3, cluster=log.unit)
    return arms_of(log, {"control": 1, "coupon": 1, "points": 2}, guess, 0.05)


def test_the_gain_holds_the_truth_and_is_clustered_by_member() -> None:
    found = gain()
    assert found.standing == "ahead"
    drew = (bandit_log.DAYS - bandit_log.COLD_DAYS) / bandit_log.DAYS
    true = drew * (truth()["policy"] - truth()["even"])
    assert found.gain.estimate is not None
    assert found.gain.std_error is not None
    # Within 3.5 standard errors: a false alarm of 1 in 2,000 for this fixed seed.
    assert abs(found.gain.estimate - true) < 3.5 * found.gain.std_error
    assert found.total.estimate == pytest.approx(found.gain.estimate * found.policy_decisions)
    # The same decisions twice tell nothing new: their members are the clusters.
    once = bandit_log.rows()
    log = logged_of(once.take(np.repeat(np.arange(once.n), 2)), "UTC")
    twice = gain_of(log, alpha=0.05, control_share=0.1, control_split="uniform")
    assert twice.gain.std_error == pytest.approx(found.gain.std_error)


def test_the_curve_ends_at_the_total_with_a_band_wider_than_the_interval() -> None:
    found = gain()
    last = found.curve[-1].total
    assert last.estimate == pytest.approx(found.total.estimate)
    assert last.ci_low is not None
    assert found.total.ci_low is not None
    assert last.ci_low < found.total.ci_low
    assert [point.date for point in found.curve] == sorted(point.date for point in found.curve)


@pytest.mark.slow
def test_the_gain_s_interval_covers_as_it_says() -> None:
    drew = (bandit_log.DAYS - bandit_log.COLD_DAYS) / bandit_log.DAYS
    true = drew * (truth()["policy"] - truth()["even"])
    hits = [
        found.gain.ci_low < true < found.gain.ci_high  # type: ignore[operator]
        for found in (gain(5_000, seed=seed) for seed in range(300))
    ]
    # 95 % ± 3 standard errors of 300 simulated logs: a false alarm of 3 in 1,000 for this fixed seed.
    assert 0.912 < np.mean(hits) < 0.988


def test_a_cold_start_says_so_and_compares_nothing() -> None:
    found = gain(cold=True)
    assert found.standing == "cold"
    assert found.gain.estimate is None
    assert "no version has drawn yet" in (found.gain.why or "")
    assert found.curve == []


def test_few_outcomes_are_too_early() -> None:
    found = gain(120)
    assert found.standing == "early"
    assert "too few" in (found.gain.why or "")


def test_variants_earn_what_is_true_where_plain_means_mislead() -> None:
    found = {arm.variant: arm for arm in arms(40_000)}
    for variant in VARIANTS:
        value = found[variant].value
        assert value.estimate is not None
        assert value.std_error is not None
        assert abs(value.estimate - truth()[variant]) < 3.5 * value.std_error, variant
    coupon = found["coupon"]
    assert coupon.naive_mean is not None
    # The policy sends coupons to those who need them: their plain mean overstates what all would do.
    assert coupon.naive_mean - truth()["coupon"] > 3 * (coupon.value.std_error or 0)
    always = coupon.always_valid
    assert (always.ci_high or 0) - (always.ci_low or 0) > (coupon.value.ci_high or 0) - (coupon.value.ci_low or 0)
    assert sum(arm.chance_best or 0 for arm in found.values()) == pytest.approx(1)
    assert found["points"].share == 0.5


def test_other_policies_are_valued_on_the_same_decisions() -> None:
    log = logged_of(bandit_log.rows(40_000), "UTC")
    guess = past_means(log.variant, log.reward, 3, cluster=log.unit)
    kind = bandit_log.rows(40_000).columns["kind"]
    served = np.full((log.n, 3), bandit_log.EXPLORE / 3)
    served[np.arange(log.n), np.where(kind == "bargain", 1, 2)] += 1 - bandit_log.EXPLORE
    others = [
        Other("live", served, version=2),
        Other("best_single", single(log, 1), variant="coupon"),
        Other("uniform", even(log)),
    ]
    found: dict[str, PolicyValue] = {value.code: value for value in values_of(log, guess, others, 0.05)}
    for code, name in (("live", "policy"), ("best_single", "coupon"), ("uniform", "even")):
        value = found[code].value
        assert abs((value.estimate or 0) - truth()[name]) < 3.5 * (value.std_error or 0), code
    paired = found["uniform"].against_live
    assert paired is not None
    assert paired.estimate == pytest.approx(
        (found["uniform"].value.estimate or 0) - (found["live"].value.estimate or 0)
    )
    # Paired differences know more than two intervals: they share their decisions.
    assert (paired.std_error or 0) < np.hypot(found["uniform"].value.std_error or 0, found["live"].value.std_error or 0)
    assert found["live"].against_live is None
    assert 0 < (found["live"].ess or 0) <= log.n


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(store)
    yield store
    store.close()


@pytest.fixture
def both(store_url: str) -> Iterator[Store]:
    """A store in either database."""
    store = open_store(store_url)
    upgrade(store)
    yield store
    store.close()


def defined(shop: Store, **allocation: object) -> None:
    fields = {"breakdowns": ["tier"], "variants": ARMS, "allocation": ALLOCATION | allocation}
    define(shop, BUYERS, experiment({"primary": ["buyers"]}, **fields))


def log_of(n: int = 3_000, *, drew: bool = True) -> list[DecisionRow | EventRow]:
    """Return a log in which version 1 drew from the tenth day on; gold members like points, others the coupon."""
    rng = np.random.default_rng(4)
    made: list[DecisionRow | EventRow] = []
    for i in range(n):
        unit = f"u{i:05d}"
        uniform, gold, day = i % 10 < 4, i // 10 % 2 == 0, int(rng.integers(0, 40))
        learned = drew and not uniform and day >= 10
        p = np.full(3, 1 / 3)
        if learned:
            p = np.full(3, 0.2 / 3)
            p[2 if gold else 1] += 0.8
        drawn = int(rng.choice(3, p=p))
        at = START_US + day * DAY_US + i
        policy = {
            "version": int(learned),
            "group": "uniform" if uniform else "policy",
            "eligible": list(VARIANTS),
            "p": p.tolist(),
            "x": [2 if gold else 3] if learned else [],
        }
        made.append(
            DecisionRow(
                decision_id=f"{i:032x}",
                experiment="winback",
                revision=1,
                phase=1,
                unit_type="member",
                unit=unit,
                occasion="",
                kind="enrolled",
                variant=VARIANTS[drawn],
                reason="assigned",
                propensity=float(p[drawn]),
                at=at,
                frozen=json.dumps({"tier": "gold" if gold else "basic"}),
                policy=json.dumps(policy, separators=(",", ":")),
            )
        )
        if rng.random() < 2 * bandit_log.CONVERTS[int(gold), drawn]:
            made.append(
                happened("Order Completed", unit, at + int(rng.integers(1, 6 * DAY_US)), 10_000, object_id=f"o{i}")
            )
    return made


def learned_versions(shop: Store) -> None:
    from allocation.bandits.encoding import Encoder, FeatureCode
    from allocation.bandits.policy import Policy, to_bytes

    encoder = Encoder(features=(FeatureCode(attribute="tier", kind="categorical", levels=("gold", "basic")),))
    names = [column.name for column in encoder.columns]
    for gap in (1.0, 2.0):
        coef = np.zeros((3, len(names)))
        coef[2, names.index("tier=gold")] = gap
        coef[1, names.index("tier=basic")] = gap
        made = Policy(variants=VARIANTS, kind="contextual", rule="greedy", model="linear", encoder=encoder, coef=coef)
        new = NewVersion("winback", to_bytes(made), "greedy", START_US + 9 * DAY_US, START_US + 9 * DAY_US, 600)
        with shop.begin() as connection:
            number = versions.insert(connection, new)
            if number == 1:
                versions.move(connection, "winback", 1, "live", now=START_US + 9 * DAY_US)


def test_an_experiment_that_learns_gets_no_scorecard_but_its_own_report(both: Store) -> None:
    defined(both)
    record(both, log_of(), NOW_US)
    learned_versions(both)
    report = build_report(both, "winback", NOW_US)
    assert report.metrics == []
    assert report.verdict is None
    assert report.bandit is not None
    assert report.curves == []
    # The split that is checked is the control group's, which never moves.
    assert set(report.srm.observed) == {"policy", "uniform"}
    assert report.srm.status == "ok"
    bandit = report.bandit
    assert bandit.gain.standing == "ahead"
    assert bandit.gain.policy_decisions == 1_800
    assert bandit.gain.control_decisions == 1_200
    assert bandit.decisions == 3_000
    assert bandit.open == 0
    assert bandit.reward.unit == "money"
    assert "more (95% interval +¥" in bandit.sentence["en"]
    assert "多 ¥" in bandit.sentence["zh-CN"]
    assert [s.version for s in bandit.starts] == [1]
    assert sum(day.decisions for day in bandit.days) == 1_800
    assert {(line.version, line.state) for line in bandit.versions} == {(1, "live"), (2, "candidate")}
    assert bandit.versions[0].decisions == sum(
        json.loads(row.policy or "{}")["version"] == 1 for row in log_of() if isinstance(row, DecisionRow)
    )
    assert [value.code for value in bandit.policies] == ["candidate", "live", "best_single", "greedy", "uniform"]
    # Nothing was learned from the control group and from what came after the newest version.
    assert bandit.valued_on == "held_out"
    later = [row.at > START_US + 9 * DAY_US for row in log_of() if isinstance(row, DecisionRow)]
    assert bandit.valued_decisions == sum(late or i % 10 < 4 for i, late in enumerate(later))
    assert sum(bandit.propensities.counts) == 3_000
    assert bandit.propensities.lowest == pytest.approx(0.2 / 3)
    assert {check.code: check.status for check in report.checks}["decision_log"] == "ok"
    assert all(check.status in {"ok", "info"} for check in report.checks), report.checks


def test_the_report_is_kept_and_read_back_as_it_was(shop: Store) -> None:
    defined(shop)
    record(shop, log_of(600), NOW_US)
    report = build_report(shop, "winback", NOW_US)
    assert archive.save(shop, report, now=NOW_US) == 1
    assert archive.save(shop, build_report(shop, "winback", NOW_US), now=NOW_US + 1) == 1
    assert archive.latest(shop, "winback") == report
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_a_cold_start_is_reported_as_one(shop: Store) -> None:
    defined(shop)
    record(shop, log_of(400, drew=False), NOW_US)
    report = build_report(shop, "winback", NOW_US)
    assert report.bandit is not None
    assert report.bandit.gain.standing == "cold"
    assert "Still exploring" in report.bandit.sentence["en"]
    assert report.bandit.live is None
    assert [value.code for value in report.bandit.policies] == ["best_single", "uniform"]


def test_before_the_first_decision_there_is_a_report_too(shop: Store) -> None:
    defined(shop)
    report = build_report(shop, "winback", NOW_US)
    assert report.bandit is not None
    assert report.bandit.decisions == 0
    assert report.bandit.days == []
    assert all(arm.value.estimate is None and arm.value.why for arm in report.bandit.arms)
    json.loads(msgspec.json.encode(report))


def test_open_windows_are_counted_and_not_compared(shop: Store) -> None:
    defined(shop)
    record(shop, log_of(1_000), NOW_US)
    report = build_report(shop, "winback", START_US + 20 * DAY_US)
    assert report.bandit is not None
    bandit = report.bandit
    assert bandit.open > 0
    assert bandit.gain.policy_decisions + bandit.gain.control_decisions + bandit.open == bandit.decisions


def test_the_ordinary_report_refuses_what_learns(shop: Store) -> None:
    defined(shop)
    repository = Repository(shop)
    found = repository.experiment("winback")
    from experiments.report.audience import Names

    declared = Declared(found, repository.project(), {}, {}, {}, Names())
    shop.close()
    with open_log(shop.url) as log, pytest.raises(ValueError, match="has no scorecard"):
        report_of(log, declared, NOW_US)
    assert made_of(shop, found).versions == []
    assert Allocation.model_validate(ALLOCATION).policy == "greedy"
    assert build_bandit_report(shop, repository, declared, NOW_US).bandit is not None
