"""Learners find effects that are known, whatever the order of rows, and without having seen what they predict."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from experiments.simulating.surfaces import draw
from stats.uplift import learners
from stats.uplift.choosing import choose
from stats.uplift.curves import uplift_curve
from stats.uplift.encoding import Encoder
from stats.uplift.learners import LEARNERS
from stats.uplift.trial import Trial


def simple(n: int = 3000, seed: int = 1, noise: float = 0.5, level: float = 3.0) -> Trial:
    """Effect of offer 1 is x, of offer 2 is 1 − x; the level is ``level``·z."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 2))
    arm = rng.choice(3, n, p=[0.2, 0.3, 0.5])
    effect = np.column_stack([np.zeros(n), features[:, 0], 1 - features[:, 0]])
    outcome = level * features[:, 1] + effect[np.arange(n), arm] + rng.normal(0, noise, n)
    return Trial(outcome, arm, features, np.tile([0.2, 0.3, 0.5], (n, 1)))


@pytest.mark.parametrize("learner", LEARNERS)
def test_linear_effects_of_several_offers_are_found(learner: learners.Learner) -> None:
    model = learners.fit(simple(), learner, "linear")
    at = np.array([[-1.0, 0.0], [0.0, 2.0], [1.0, -1.0]])
    np.testing.assert_allclose(model.effects(at), np.column_stack([at[:, 0], 1 - at[:, 0]]), atol=0.15)
    outcomes = model.outcomes(at)
    np.testing.assert_allclose(outcomes[:, 0], 3 * at[:, 1], atol=0.25)
    np.testing.assert_allclose(outcomes[:, 1:] - outcomes[:, :1], model.effects(at), atol=1e-12)


@pytest.mark.parametrize("learner", LEARNERS)
def test_trees_rank_effects(learner: learners.Learner) -> None:
    model = learners.fit(simple(6000, level=0.5), learner, "trees")
    at = simple(500, seed=9).features
    assert np.corrcoef(model.effects(at)[:, 0], at[:, 0])[0, 1] > 0.85


@pytest.mark.parametrize("base", ["linear", "trees"])
@pytest.mark.parametrize("learner", ["s", "x", "dr", "r"])
def test_the_order_of_rows_makes_no_difference(learner: learners.Learner, base: str) -> None:
    trial = draw("steps", 1500, seed=4).trial
    turn = np.random.default_rng(1).permutation(trial.rows)
    first = learners.cross_fit(trial, learner, base, folds=3, seed=5)  # type: ignore[arg-type]
    second = learners.cross_fit(trial.take(turn), learner, base, folds=3, seed=5)  # type: ignore[arg-type]
    np.testing.assert_array_equal(first.effects[turn], second.effects)
    np.testing.assert_array_equal(first.fold[turn], second.fold)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_unit_is_predicted_by_models_that_never_saw_it(learner: learners.Learner) -> None:
    """Another outcome of a unit may move it to another fold, so folds are held by telling models what they saw."""
    trial = simple(400)
    ready = learners.prepare(trial, 4, seed=0)
    before = learners.Fitting(ready.trial, ready.fold, "linear").cross_fitted(learner)
    changed = ready.trial.outcome.copy()
    changed[ready.fold == 2] += 100.0
    other = Trial(changed, ready.trial.arm, ready.trial.features, ready.trial.propensity)
    after = learners.Fitting(other, ready.fold, "linear").cross_fitted(learner)
    own = ready.fold == 2
    np.testing.assert_array_equal(before.effects[own], after.effects[own])
    assert np.abs(before.outcomes[~own] - after.outcomes[~own]).max() > 1


def test_propensities_that_follow_attributes_do_not_mislead() -> None:
    """Those with z > 0 are given the offer far more often, and z is no column: only the log knows."""
    rng = np.random.default_rng(3)
    z, x = rng.normal(size=8000), rng.normal(size=8000)
    chance = np.where(z > 0, 0.85, 0.15)
    arm = (rng.random(8000) < chance).astype(np.intp)
    outcome = 2 * z + 0.5 * arm * (1 + x) + rng.normal(size=8000)
    trial = Trial(outcome, arm, x[:, None], np.column_stack([1 - chance, chance]))
    for learner in LEARNERS:
        effect = learners.fit(trial, learner, "linear").effects(np.array([[0.0], [1.0]]))[:, 0]
        np.testing.assert_allclose(effect, [0.5, 1.0], atol=0.3, err_msg=learner)


def test_outcomes_stay_possible_and_keep_their_differences() -> None:
    drawn = draw("linear", 4000, offers=2, scale=0.05, seed=7)
    model = learners.fit(drawn.trial, "x", "linear")
    outcomes, effects = model.outcomes(drawn.trial.features), model.effects(drawn.trial.features)
    assert outcomes.min() >= 0
    assert outcomes.max() <= 1
    np.testing.assert_allclose(outcomes[:, 1:] - outcomes[:, :1], effects, atol=1e-12)


def test_outcomes_that_never_happen_have_no_effect() -> None:
    trial = simple(600)
    none = Trial(np.zeros(600), trial.arm, trial.features, trial.propensity)
    for learner in LEARNERS:
        for base in ("linear", "trees"):
            np.testing.assert_allclose(learners.fit(none, learner, base).effects(none.features), 0.0, atol=1e-9)  # type: ignore[arg-type]


def test_what_cannot_be_learned_is_named() -> None:
    trial = simple(60)
    with pytest.raises(ValueError, match=r"arm \d has \d+ rows; 20 are needed"):
        learners.fit(trial.take(trial.arm != trial.arm[0]), "x", "linear")
    with pytest.raises(ValueError, match="must be one of s, t, x, dr, r"):
        learners.fit(simple(200), "q", "linear")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="three folds"):
        learners.cross_fit(simple(200), "x", "linear", folds=2)
    with pytest.raises(ValueError, match="a candidate"):
        choose(simple(200), ())


def test_the_chooser_takes_lines_for_lines_and_trees_for_steps() -> None:
    """Losses are relative to a constant effect: where effects differ a lot they are below 1."""
    lines = choose(simple(3000), (("x", "linear"), ("x", "trees")), folds=3)
    assert lines.chosen.code == "x-linear"
    assert lines.chosen.loss == min(one.loss for one in lines.candidates) < 0.8
    rng = np.random.default_rng(2)
    x, arm = rng.uniform(-1, 1, size=(3000, 2)), rng.integers(0, 2, 3000)
    outcome = 3.0 * arm * (np.abs(x[:, 0]) < 0.5) + rng.normal(0, 0.5, 3000)
    steps = choose(Trial(outcome, arm, x, np.full((3000, 2), 0.5)), (("x", "linear"), ("x", "trees")), folds=3)
    assert steps.chosen.code == "x-trees"


def hillstrom(folder: Path, segments: tuple[str, ...]) -> Trial:
    """Visits of those with no e-mail, and of those with one of the segments'."""
    with gzip.open(folder / "data" / "hillstrom.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["segment"] in (*segments, "No E-Mail")]
    columns = {name: np.array([float(row[name]) for row in rows]) for name in ("recency", "history", "mens", "womens")}
    columns |= {name: np.array([row[name] for row in rows], dtype=object) for name in ("newbie", "zip_code", "channel")}
    arm = np.array([int(row["segment"] != "No E-Mail") for row in rows])
    share = len(segments) / (len(segments) + 1)
    visit = np.array([float(row["visit"]) for row in rows])
    features = Encoder.fit(columns).transform(columns)
    return Trial(visit, arm, features, np.tile([1 - share, share], (len(rows), 1)))


def stratified_half(trial: Trial, seed: int) -> np.ndarray:
    """Return half of each arm's buyers and non-buyers."""
    rng = np.random.default_rng(seed)
    first = np.zeros(trial.rows, dtype=bool)
    for stratum in np.unique(trial.arm * 2 + trial.outcome):
        rows = rng.permutation(np.flatnonzero(trial.arm * 2 + trial.outcome == stratum))
        first[rows[: len(rows) // 2]] = True
    return first


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("segments", "goal"), [(("Womens E-Mail",), 0.0070), (("Mens E-Mail", "Womens E-Mail"), 0.0043)]
)
def test_the_default_ranks_hillstrom_s_customers_as_well_as_the_best_that_was_measured(
    shared_dir: Path, segments: tuple[str, ...], goal: float
) -> None:
    """Mean Qini a head of ten stratified halves, seeds 0–9 (the domain guide's goal 2); one draw, so no error bar."""
    trial = hillstrom(shared_dir, segments)
    found = []
    for seed in range(10):
        half = stratified_half(trial, seed)
        learn, held = trial.take(half), trial.take(~half)
        chosen = choose(learn, seed=seed).chosen
        score = learners.fit(learn, chosen.learner, chosen.base, seed=seed).effects(held.features)[:, 0]
        found.append(uplift_curve(held.outcome, held.arm, score).qini_coefficient("qini"))
    assert np.mean(found) >= goal, [round(value, 5) for value in found]
