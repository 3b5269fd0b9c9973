"""Whether arms were drawn at random: seldom doubted when they were, found out when they were not."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stats.uplift.predictable import predictable
from stats.uplift.randomised import Diagnosis, diagnose
from stats.uplift.trial import Trial

NAMES = ["spend", "month", "rare", "member", "visits"]


def attributes(generator: np.random.Generator, n: int) -> np.ndarray:
    """Long-tailed, a rare level, a coin, and gaps."""
    visits = np.where(generator.random(n) < 0.1, np.nan, generator.normal(size=n))
    columns = (generator.lognormal(3, 1.2, n), generator.integers(1, 13, n), generator.random(n) < 0.03)
    return np.column_stack((*columns, generator.random(n) < 0.5, visits)).astype(float)


def drawn(generator: np.random.Generator, propensity: np.ndarray) -> np.ndarray:
    below = generator.random(len(propensity))[:, None] > propensity.cumsum(axis=1)[:, :-1]
    return np.asarray(below.sum(axis=1), dtype=np.intp)


def trial_of(features: np.ndarray, arm: np.ndarray, propensity: np.ndarray | list[float]) -> Trial:
    n = len(arm)
    return Trial(
        np.zeros(n),
        arm,
        features,
        np.broadcast_to(np.asarray(propensity, dtype=float), (n, np.shape(propensity)[-1])).copy(),
    )


def statuses(found: Diagnosis) -> dict[str, str]:
    return {finding.code: finding.status for finding in found.findings}


def random_trial(seed: int, n: int, shares: list[float]) -> Trial:
    generator = np.random.default_rng(seed)
    features = attributes(generator, n)
    return trial_of(features, drawn(generator, np.tile(shares, (n, 1))), shares)


def by_spend(seed: int, n: int) -> Trial:
    """As a policy would have it that sends more to big spenders, and logs with which probability."""
    generator = np.random.default_rng(seed)
    features = attributes(generator, n)
    chance = 0.1 + 0.8 / (1 + np.exp(-(np.log(features[:, 0]) - 3)))
    propensity = np.column_stack((1 - chance, chance))
    return trial_of(features, drawn(generator, propensity), propensity)


def test_random_arms_bear_causal_words() -> None:
    found = diagnose(random_trial(1, 4000, [0.5, 0.3, 0.2]), NAMES, logged=True)
    assert found.causal
    assert statuses(found) == {"split": "ok", "propensity": "ok", "balance": "ok", "overlap": "ok"}
    assert found.auc is not None
    assert found.auc.ci_low < 0.5 < found.auc.ci_high
    assert {one.arm for one in found.differences} == {1, 2}
    assert {one.name for one in found.differences} == {*NAMES, "visits (missing)"}


def test_propensities_of_a_policy_explain_what_they_cause() -> None:
    """The same arms are found out when their propensities are not given."""
    logged = by_spend(2, 4000)
    assert diagnose(logged, NAMES, logged=True).causal
    share = np.bincount(logged.arm) / logged.rows
    found = diagnose(trial_of(logged.features, logged.arm, share), NAMES, logged=False)
    assert statuses(found)["propensity"] == statuses(found)["balance"] == "fail"
    assert found.differences[0].name == "spend"
    assert found.auc is not None
    assert found.auc.ci_low > 0.55
    assert all(problem.needed for problem in found.problems)


def _young_and_old(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    features = attributes(generator, n)
    return features, (generator.random(n) < np.where(np.abs(features[:, 4]) > 1, 0.65, 0.43)).astype(np.intp)


def _after_the_fact(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    features, arm = attributes(generator, n), generator.integers(0, 2, n)
    features[:, 3] = generator.random(n) < 0.5 + 0.1 * arm
    return features, arm


def _gaps(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    features, arm = attributes(generator, n), generator.integers(0, 2, n)
    features[(generator.random(n) < 0.1) & (arm == 1), 0] = np.nan
    return features, arm


@pytest.mark.parametrize("broken", [_young_and_old, _after_the_fact, _gaps])
def test_what_is_not_random_is_found_out(broken: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    features, arm = broken(np.random.default_rng(8), 4000)
    found = diagnose(trial_of(features, arm, [0.5, 0.5]), NAMES, logged=True)
    assert "propensity" in {problem.code for problem in found.problems}


def test_trees_see_what_a_line_cannot() -> None:
    features, arm = _young_and_old(np.random.default_rng(8), 4000)
    told = predictable(trial_of(features[:, 4:], arm, np.bincount(arm) / 4000), constant=True)
    assert told is not None
    assert told.trees < 1e-6 < told.line


def test_a_split_that_is_not_the_planned_one() -> None:
    trial = random_trial(3, 4000, [0.55, 0.45])
    found = diagnose(trial_of(trial.features, trial.arm, [0.5, 0.5]), NAMES, logged=True)
    assert [problem.code for problem in found.problems] == ["split"]
    unknown = diagnose(trial_of(trial.features, trial.arm, [0.5, 0.5]), NAMES, logged=False)
    assert unknown.causal
    assert statuses(unknown)["split"] == "caution"


def test_the_split_is_pearson_s_where_propensities_are_the_same() -> None:
    from scipy.stats import chisquare

    trial = random_trial(4, 3000, [0.5, 0.3, 0.2])
    split = diagnose(trial, NAMES, logged=True).findings[0]
    counts = np.bincount(trial.arm)
    assert split.p_value == pytest.approx(chisquare(counts, np.array([1500.0, 900.0, 600.0])).pvalue)


def test_units_that_could_not_get_every_arm() -> None:
    trial = random_trial(5, 4000, [0.5, 0.5])
    sure = trial.propensity.copy()
    sure[:50] = np.eye(2)[trial.arm[:50]]
    found = diagnose(Trial(trial.outcome, trial.arm, trial.features, sure), NAMES, logged=True)
    assert [problem.code for problem in found.problems] == ["overlap"]
    assert found.smallest_propensity == 0.0
    few = trial_of(trial.features, trial.arm, [0.995, 0.005])
    assert statuses(diagnose(few, NAMES, logged=True))["overlap"] == "caution"


def test_too_little_to_tell_is_said() -> None:
    few = diagnose(random_trial(6, 30, [0.5, 0.5]), NAMES, logged=True)
    assert statuses(few)["propensity"] == "caution"
    nothing = diagnose(
        Trial(np.zeros(100), np.arange(100) % 2, np.empty((100, 0)), np.full((100, 2), 0.5)), [], logged=True
    )
    assert statuses(nothing)["propensity"] == "caution"
    assert nothing.auc is None
    alike = Trial(np.zeros(100), np.arange(100) % 2, np.ones((100, 1)), np.full((100, 2), 0.5))
    assert diagnose(alike, ["one"], logged=True).auc is None


@pytest.mark.filterwarnings("error")
def test_columns_of_which_little_or_nothing_is_known() -> None:
    generator = np.random.default_rng(9)
    features = np.full((500, 4), np.nan)
    features[:, 0], features[7, 1], features[:, 2] = generator.normal(0, 1e12, 500), 3.0, 5.0
    arm = generator.integers(0, 2, 500)
    found = diagnose(trial_of(features, arm, [0.5, 0.5]), list("abcd"), logged=True)
    assert found.causal
    assert [one.name for one in found.differences if one.name[0] != "a"] == ["b (missing)"]
    nothing = diagnose(trial_of(features[:, 3:], arm, [0.5, 0.5]), ["d"], logged=True)
    assert (nothing.auc, nothing.differences) == (None, ())
    one_arm = diagnose(trial_of(features, np.zeros(500, dtype=np.intp), [0.5, 0.5]), list("abcd"), logged=True)
    assert [problem.code for problem in one_arm.problems] == ["split"]


def test_the_order_of_rows_does_not_matter() -> None:
    trial = random_trial(7, 1000, [0.5, 0.5])
    mixed = np.random.default_rng(1).permutation(1000)
    first, again = diagnose(trial, NAMES, logged=True), diagnose(trial.take(mixed), NAMES, logged=True)
    assert [one.p_value for one in again.findings] == pytest.approx([one.p_value for one in first.findings])
    assert again.auc == first.auc


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="one name"):
        diagnose(random_trial(1, 100, [0.5, 0.5]), ["one"], logged=True)
    with pytest.raises(ValueError, match="logged"):
        diagnose(by_spend(1, 100), NAMES, logged=False)
    with pytest.raises(ValueError, match="no units"):
        diagnose(by_spend(1, 100).take(np.empty(0, dtype=np.intp)), NAMES, logged=True)
    with pytest.raises(ValueError, match="finite"):
        diagnose(trial_of(np.full((4, 1), np.inf), np.array([0, 1, 0, 1]), [0.5, 0.5]), ["one"], logged=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda seed: random_trial(seed, 300, [0.5, 0.5]),
        lambda seed: random_trial(seed, 2000, [0.9, 0.1]),
        lambda seed: random_trial(seed, 2000, [0.4, 0.3, 0.3]),
        lambda seed: by_spend(seed, 2000),
    ],
    ids=["small", "one in ten", "three arms", "a policy's log"],
)
def test_random_arms_are_seldom_doubted(make: Callable[[int], Trial]) -> None:
    """At most 1 % false alarms: 4 or more of 40 have a chance of .0007 were it exactly 1 %."""
    alarms = sum(not diagnose(make(seed), NAMES, logged=True).causal for seed in range(40))
    assert alarms < 4


@pytest.mark.shared
def test_hillstrom_s_arms_are_random_and_half_of_them_by_hand_are_not(shared_dir: Path) -> None:
    file = shared_dir / "data" / "hillstrom.csv.gz"
    if not file.is_file():
        pytest.skip(f"{file} is absent")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    names = ["recency", "history", "mens", "womens", "newbie"]
    features = np.array([[float(row[name]) for name in names] for row in rows])
    segments = ["No E-Mail", "Mens E-Mail", "Womens E-Mail"]
    arm = np.array([segments.index(row["segment"]) for row in rows])
    found = diagnose(trial_of(features, arm, [1 / 3, 1 / 3, 1 / 3]), names, logged=True)
    assert found.causal
    assert found.findings[0].p_value == pytest.approx(0.90, abs=0.005)  # data/README.md
    # As if the women's e-mail had been sent to those who had bought women's clothes only.
    kept = (arm == 0) | ((arm == 2) & (features[:, 3] == 1))
    chosen = trial_of(features[kept], (arm[kept] > 0).astype(np.intp), np.bincount(arm[kept] > 0) / kept.sum())
    assert not diagnose(chosen, names, logged=False).causal
