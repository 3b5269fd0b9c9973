"""Objects of mabwiser made from what we know: the same as if mabwiser had learned it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import FeatureSpec, Settings
from allocation.bandits.learning.statistics import LinearStatistics
from allocation.bandits.learning.train import train
from allocation.bandits.mabwiser.exporting import to_mabwiser
from allocation.bandits.mabwiser.importing import from_mabwiser
from allocation.bandits.mabwiser.reading import read
from allocation.bandits.policy import Policy, to_bytes
from tests.allocation.mabwiser_cases import ARMS, CASES, COUNTERS, FEATURES, LINEAR, encoded, fitted, log


def statistics(rows: slice = slice(None)) -> LinearStatistics:
    decisions, rewards, contexts = (part[rows] for part in log())
    return LinearStatistics.from_rows(contexts, np.array([ARMS.index(arm) for arm in decisions]), rewards, len(ARMS))


@pytest.mark.parametrize("learner", ["lingreedy", "linucb"])
def test_statistics_become_what_mabwiser_would_have_learned(learner: str) -> None:
    members = log(300, seed=5)[2]
    own = fitted(LINEAR[learner])
    made = to_mabwiser(statistics(), variants=ARMS, learner=learner, alpha=1.0, l2_lambda=2.0)
    assert made.learning_policy == own.learning_policy
    assert made.predict(members) == own.predict(members)
    for arm in ARMS:
        for field in ("A", "A_inv", "Xty", "beta"):
            theirs, ours = getattr(own._imp.arm_to_model[arm], field), getattr(made._imp.arm_to_model[arm], field)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


def test_an_exported_object_goes_on_learning() -> None:
    decisions, rewards, contexts = log()
    made = to_mabwiser(statistics(slice(500)), variants=ARMS, learner="linucb", alpha=1.0, l2_lambda=2.0)
    made.partial_fit(decisions[500:], rewards[500:], contexts[500:])
    members = log(300, seed=5)[2]
    assert made.predict(members) == fitted(LINEAR["linucb"]).predict(members)


@pytest.mark.parametrize("name", sorted(COUNTERS | LINEAR))
def test_there_and_back(name: str) -> None:
    """A state handed back is read the same, expects the same, and goes on learning the same."""
    mab = fitted(*CASES[name])
    back = to_mabwiser(read(mab), seed=7)
    assert back.learning_policy == mab.learning_policy
    assert to_bytes(from_mabwiser(back, features=FEATURES)) == to_bytes(from_mabwiser(mab, features=FEATURES))
    if name not in {"random", "thompson", "lints", "popularity", "softmax"}:  # whose expectations are random
        assert expectations(back) == pytest.approx(expectations(mab), abs=1e-12)
    decisions, rewards, contexts = log(200, seed=9)
    for one in (mab, back):
        one.partial_fit(decisions, rewards, *([contexts] if one.is_contextual else []))
    if name != "popularity":  # whose own partial_fit mixes shares and means
        np.testing.assert_allclose(
            *(from_mabwiser(one, features=FEATURES).probabilities_batch(batch(one)) for one in (mab, back)), atol=1e-9
        )


def batch(mab: Any) -> Any:
    return encoded(from_mabwiser(mab, features=FEATURES), log(100, seed=5)[2])


def expectations(mab: Any) -> dict[str, float]:
    found: dict[str, float] = mab.predict_expectations(*([log(1, seed=5)[2]] if mab.is_contextual else []))
    return found


@pytest.mark.parametrize("rule", ["linucb", "thompson", "greedy"])
def test_a_policy_of_ours_becomes_an_object_that_expects_the_same(rule: str) -> None:
    rng = np.random.default_rng(3)
    variant, age = rng.integers(0, 3, 2000), rng.normal(40, 10, 2000)
    stage = rng.choice(np.array(["new", "old", None], dtype=object), 2000)
    amount = np.exp(rng.normal(3 + 0.02 * (age - 40) * (variant == 1), 0.5))
    rows = Rows(variant, {"age": age, "stage": stage}, np.ones(2000, bool), amount)
    features = (FeatureSpec("age", "numeric"), FeatureSpec("stage", "categorical"))
    policy = train(rows, Settings(tuple(ARMS), features, policy=rule, model="linear", contact=(0.0, 0.5, 0.5)))
    mab = to_mabwiser(policy)
    members = policy.encoder.encode_columns(rows.columns, rows.n).take(np.arange(200))
    design = policy.encoder.design(members)
    models = [mab._imp.arm_to_model[arm] for arm in ARMS]
    # The spread is kept in single precision.
    np.testing.assert_allclose(
        np.column_stack([design @ model.beta for model in models]),
        policy.scores_batch(members) * policy.scale,
        rtol=1e-6,
    )
    if rule == "linucb":
        best = policy.probabilities_batch(members)
        chosen = [ARMS.index(arm) for arm in mab.predict(design)]
        assert (best[np.arange(200), chosen] > 0).mean() > 0.99


def test_what_mabwiser_has_no_learner_for_is_refused() -> None:
    logistic = Policy(variants=("a", "b"), kind="contextual", rule="igw", model="logistic", coef=np.zeros((2, 1)),
                      worth=np.ones(2))  # fmt: skip
    with pytest.raises(ValueError, match="no learner for a logistic model"):
        to_mabwiser(logistic)
    with pytest.raises(ValueError, match="no learner for a table"):
        to_mabwiser(from_mabwiser(fitted(COUNTERS["softmax"])))
    with pytest.raises(ValueError, match="cannot be handed back"):
        to_mabwiser(read(fitted(*CASES["trees of ucb1"])))
    with pytest.raises(ValueError, match="how uncertain"):
        to_mabwiser(
            Policy(variants=("a", "b"), kind="contextual", rule="greedy", coef=np.zeros((2, 1))), learner="lints"
        )
    with pytest.raises(ValueError, match="must be one of"):
        to_mabwiser(statistics(), variants=ARMS, learner="knn")
    with pytest.raises(ValueError, match="name the 3 variants"):
        to_mabwiser(statistics(), variants=ARMS[:2])


def test_a_uniform_policy_is_random() -> None:
    mab = to_mabwiser(Policy(variants=tuple(ARMS)))
    assert isinstance(mab, MAB)
    assert mab.learning_policy == LearningPolicy.Random()
    assert {mab.predict() for _ in range(100)} == set(ARMS)


def test_columns_without_uncertainty_survive() -> None:
    """An imported object's policy has an intercept and indicators that it is certain about: they are 0."""
    mab = fitted(LINEAR["linucb"])
    policy = from_mabwiser(mab, features=FEATURES)
    back = to_mabwiser(policy)
    members = log(200, seed=5)[2]
    assert back.predict(policy.encoder.design(encoded(policy, members))) == mab.predict(members)
    assert isinstance(policy.encoder, Encoder)
    assert isinstance(policy.encoder.features[0], FeatureCode)
