"""Policies that mabwiser trains: a function of the rows, weighted, free of the currency, and worth something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy, NeighborhoodPolicy

from allocation.bandits.encoding import Encoder
from allocation.bandits.learning.encoders import fit_encoder
from allocation.bandits.learning.rewards import rewards, scale_of
from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import FeatureSpec, Settings
from allocation.bandits.learning.train import train
from allocation.bandits.mabwiser import training
from allocation.bandits.mabwiser.importing import from_mabwiser
from allocation.bandits.policy import Policy, from_bytes, to_bytes

VARIANTS = ("control", "coupon", "points")
FEATURES = (FeatureSpec("spend", "numeric"), FeatureSpec("stage", "categorical", min_rows=1))
STAGES = np.array(["new", "loyal", None], dtype=object)
POLICIES = sorted(training.POLICIES)


def log(n: int = 3000, seed: int = 0) -> Rows:
    """Coupons work for whoever spends much, points for the others."""
    rng = np.random.default_rng(seed)
    variant, spend, stage = rng.integers(0, 3, n), rng.normal(size=n), rng.choice(STAGES, n)
    converted = rng.random(n) < chance(variant, spend)
    amount = converted * rng.lognormal(3, 0.5, n)
    return Rows(variant, {"spend": spend, "stage": stage}, converted, amount, rng.random(n) * 60)


def chance(variant: np.ndarray, spend: np.ndarray) -> np.ndarray:
    helps = np.where(spend > 0, variant == 1, variant == 2)
    return 1 / (1 + np.exp(2 - 1.5 * helps))


def settings(policy: str, model: str = "logistic", **given: object) -> Settings:
    features = FEATURES if policy in {"clusters", "tree"} else ()
    worth = (20.0, 18.0, 18.0) if model == "logistic" else None
    made = Settings(VARIANTS, features, policy=policy, model=model, worth=worth, contact=(0.0, 0.1, 0.1))  # type: ignore[arg-type]
    return replace(made, **given)  # type: ignore[arg-type]


def shares(policy: Policy, rows: Rows) -> np.ndarray:
    return policy.probabilities_batch(policy.encoder.encode_columns(rows.columns, rows.n))


@pytest.mark.parametrize("model", ["logistic", "hurdle", "linear"])
@pytest.mark.parametrize("name", POLICIES)
def test_a_function_of_the_set_of_rows(name: str, model: str) -> None:
    rows = log()
    for half_life in (None, 20.0):
        given = settings(name, model, half_life_days=half_life)
        policy = train(rows, given)
        shuffled = rows.take(np.random.default_rng(1).permutation(rows.n))
        assert to_bytes(train(shuffled, given)) == to_bytes(policy)
        assert to_bytes(from_bytes(to_bytes(policy))) == to_bytes(policy)
        assert policy.variants == VARIANTS


@pytest.mark.parametrize("factor", [100.0, 1e-4])
@pytest.mark.parametrize("model", ["logistic", "hurdle", "linear"])
@pytest.mark.parametrize("name", POLICIES)
def test_the_currency_does_not_matter(name: str, model: str, factor: float) -> None:
    rows, given = log(), settings(name, model)
    other = replace(
        given,
        worth=None if given.worth is None else tuple(factor * value for value in given.worth),
        contact=tuple(factor * value for value in given.contact),
    )
    dearer = replace(rows, amount=rows.amount * factor)
    np.testing.assert_allclose(shares(train(dearer, other), rows), shares(train(rows, given), rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["epsilon_greedy", "popularity", "softmax", "ucb1"])
def test_counters_are_mabwisers_own(name: str) -> None:
    """On standardised rewards, mabwiser fitted by hand gives the same probabilities."""
    rows, given = log(), settings(name, optimism=0.3)
    policy = {
        "epsilon_greedy": LearningPolicy.EpsilonGreedy(0.0),
        "popularity": LearningPolicy.Popularity(),
        "softmax": LearningPolicy.Softmax(0.3),
        "ucb1": LearningPolicy.UCB1(0.3),
    }[name]
    mab = MAB(list(VARIANTS), policy)
    mab.fit(np.array(VARIANTS)[rows.variant], rewards(rows, given) / scale_of(rows, given, rows.weight))
    expected = from_mabwiser(mab).probabilities([], [0, 1, 2])
    np.testing.assert_allclose(train(rows, given).probabilities([], [0, 1, 2]), expected, atol=1e-12)


def test_trees_are_mabwisers_own() -> None:
    rows, given = log(), settings("tree", "linear", parameters={"learner": "epsilon_greedy", "max_depth": 3})
    encoder = fit_encoder(rows, FEATURES)
    design = encoder.design(encoder.encode_columns(rows.columns, rows.n))
    around = NeighborhoodPolicy.TreeBandit({"max_depth": 3, "min_samples_leaf": 50})
    mab = MAB(list(VARIANTS), LearningPolicy.EpsilonGreedy(0.0), around, seed=0)
    mab.fit(np.array(VARIANTS)[rows.variant], rewards(rows, given) / scale_of(rows, given, rows.weight), design)
    ours = shares(train(rows, given), rows)
    theirs = np.array([VARIANTS.index(arm) for arm in mab.predict(design[:300])])
    assert (ours[:300][np.arange(300), theirs] > 0).mean() > 0.98  # equal leaves are split evenly


@pytest.mark.parametrize("name", ["clusters", "tree"])
def test_counting_again_with_weight_one_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, given = log(), settings(name)
    once = shares(train(rows, given), rows)
    monkeypatch.setattr(training, "SAMPLE", rows.n - 1)  # one row fewer is fitted on, so all are counted again
    again = shares(train(rows, given), rows)
    assert np.abs(once - again).mean() < 0.02


@pytest.mark.parametrize("name", POLICIES)
def test_weights_count_as_copies(name: str) -> None:
    """A row of weight 2 is worth what two rows are, in whatever was counted."""
    rows = log(1500)
    double = replace(rows, weight=np.where(rows.variant == 1, 2.0, 1.0))
    copies = rows.take(np.repeat(np.arange(rows.n), np.where(rows.variant == 1, 2, 1)))
    ours, expected = (shares(train(part, settings(name)), rows) for part in (double, copies))
    if name in {"clusters", "tree"}:  # what was fitted may differ a little, the counts do not
        assert np.abs(ours - expected).mean() < 0.06
    else:
        np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_half_lives_forget() -> None:
    old = Rows(np.tile([0, 1], 500), {}, np.tile([True, False], 500), np.tile([10.0, 0.0], 500), np.full(1000, 100.0))
    new = Rows(np.tile([0, 1], 100), {}, np.tile([False, True], 100), np.tile([0.0, 10.0], 100), np.zeros(200))
    both = Rows(
        np.concatenate([old.variant, new.variant]), {}, np.concatenate([old.converted, new.converted]),
        np.concatenate([old.amount, new.amount]), np.concatenate([old.age_days, new.age_days]),
    )  # fmt: skip
    given = Settings(("a", "b"), policy="epsilon_greedy")
    assert train(both, given).probabilities([], [0, 1]) == [1.0, 0.0]
    assert train(both, replace(given, half_life_days=10.0)).probabilities([], [0, 1]) == [0.0, 1.0]


@pytest.mark.parametrize("learner", ["thompson", "ucb1", "epsilon_greedy"])
@pytest.mark.parametrize("name", ["clusters", "tree"])
def test_who_gets_what_is_learned(name: str, learner: str) -> None:
    """True conversions 12 % or 38 % by offer and spend: a policy that sees it earns 1.3 times an even split or more."""
    policy = train(log(6000), settings(name, parameters={"learner": learner}, optimism=0.2))
    fresh = log(4000, seed=1)
    p, spend = shares(policy, fresh), fresh.columns["spend"]
    earned = sum(p[:, k] * chance(np.full(fresh.n, k), spend) for k in range(3)).mean()
    even = np.mean([chance(np.full(fresh.n, k), spend) for k in range(3)])
    assert earned > 1.3 * even


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_rows_or_none_are_no_error_and_none_draw_evenly(name: str, n: int) -> None:
    policy = train(log(3000).take(np.arange(n)), settings(name))
    p = policy.probabilities(policy.encode({"spend": 1.0, "stage": "new"}), [0, 1, 2])
    assert sum(p) == pytest.approx(1.0)
    if n == 0 and name not in {"clusters", "tree"}:
        assert p == pytest.approx([1 / 3] * 3)


def test_one_variant_needs_no_mabwiser_opinion() -> None:
    rows = log().take(np.arange(100))
    one = replace(rows, variant=np.zeros(100, dtype=np.intp))
    for name in POLICIES:
        given = Settings(("only",), FEATURES if name in {"clusters", "tree"} else (), policy=name)
        policy = train(one, given)
        assert policy.probabilities(policy.encode({"spend": 0.0}), [0]) == [1.0]


def test_identical_members_are_one_cluster() -> None:
    rows = replace(log(), columns={"spend": np.ones(3000), "stage": np.full(3000, "new", dtype=object)})
    policy = train(rows, settings("clusters"))
    assert policy.cells == "none"
    assert policy.encoder != Encoder()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("clusters", {"clusters": 4}, "clusters is no parameter of clusters, which has draws, learner"),
        ("tree", {"n_clusters": 4}, "n_clusters is no parameter of tree"),
        ("ucb1", {"alpha": 1.0}, "alpha is no parameter of ucb1, which has none"),
        ("clusters", {"n_clusters": 1}, "whole number from 2"),
        ("clusters", {"n_clusters": 2.5}, "whole number from 2"),
        ("clusters", {"minibatch": 1}, "true or false"),
        ("clusters", {"n_clusters": float("inf")}, "whole number from 2"),
        ("tree", {"learner": "softmax"}, "learner must be one of thompson, ucb1, epsilon_greedy"),
    ],
)
def test_parameters_that_do_not_exist_are_named(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(log(50), settings(name, parameters=parameters))


def test_a_policy_of_somebody_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not one that mabwiser trains"):
        training.train(log(50), settings("igw"))
