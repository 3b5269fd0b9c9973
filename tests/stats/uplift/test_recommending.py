"""Recommendations: by money, on units that nothing was fitted on, and only where there is evidence."""

from __future__ import annotations

import numpy as np
import pytest

from bench.simulations import uplift as simulation
from experiments.simulating.surfaces import draw
from stats.uplift.prices import Prices
from stats.uplift.recommending import WIDER, Scorer, above_threshold, recommend
from stats.uplift.trial import Trial
from stats.uplift.valuing import policy_value

LINEAR = (("x", "linear"),)


def free(arms: int) -> Prices:
    return Prices(60.0, np.zeros(arms), np.zeros(arms), np.zeros(arms))


def test_values_are_those_of_the_scores() -> None:
    drawn = draw("linear", 3000, offers=2, seed=3)
    found = recommend(drawn.trial, simulation.prices(2), candidates=LINEAR, names=drawn.names)
    result = found.policies["tree"]
    own = policy_value(found.scores, result.choice).estimate - policy_value(found.scores, result.choice * 0).estimate
    assert result.value.estimate == pytest.approx(own, abs=1e-12)
    assert result.mix == pytest.approx(tuple(np.bincount(result.choice, minlength=3) / 3000))
    assert result.treated == pytest.approx(1 - result.mix[0])
    assert found.policies["none"].value.estimate == 0.0
    assert found.policies["best_single"].gain.estimate == 0.0
    assert found.best_single == int(found.scores.mean(axis=0).argmax())
    assert set(found.policies) == {
        "personalised", "best_single", "none", "all:1", "all:2", "tree", "response", "random"
    }  # fmt: skip


def test_the_choice_is_what_earns_most_by_prediction() -> None:
    drawn = draw("steps", 2000, offers=2, seed=5)
    found = recommend(drawn.trial, simulation.prices(2), candidates=LINEAR, rfm=drawn.trial.features[:, 0])
    np.testing.assert_array_equal(found.policies["personalised"].choice, found.predicted_net.argmax(axis=1))
    assert found.tree is None
    assert "rfm" in found.policies


def test_large_differences_are_evident_and_the_policy_is_recommended() -> None:
    rng = np.random.default_rng(1)
    x, arm = rng.normal(size=(3000, 1)), rng.integers(0, 2, 3000)
    trial = Trial(x[:, 0] * arm + rng.normal(size=3000), arm, x, np.full((3000, 2), 0.5))
    found = recommend(trial, Prices.none(2), candidates=LINEAR, names=["x"])
    assert found.evidence
    assert found.recommended == "personalised"
    truth = float(np.maximum(x, 0).mean())
    assert found.policies["personalised"].value.estimate == pytest.approx(truth, abs=0.1)
    assert found.tree is not None
    assert abs(found.tree.splits[0].threshold) < 0.6


def test_an_offer_that_costs_more_than_it_brings_is_given_to_nobody() -> None:
    drawn = draw("null", 4000, seed=2)
    dear = Prices(60.0, np.zeros(2), np.zeros(2), np.array([0.0, 20.0]))
    found = recommend(drawn.trial, dear, candidates=LINEAR)
    assert (found.recommended, found.best_single, found.evidence) == ("best_single", 0, False)
    assert found.policies["best_single"].treated == 0.0
    assert found.policies["personalised"].treated == 0.0


def test_cost_is_paid_where_an_offer_is_given() -> None:
    drawn = draw("null", 6000, seed=4)
    prices = Prices(60.0, np.array([0.0, 10.0]), np.array([0.0, 0.5]), np.array([0.0, 0.2]))
    cost = recommend(drawn.trial, prices, candidates=LINEAR).policies["all:1"].cost
    given = drawn.trial.arm == 1
    assert cost == pytest.approx(0.2 + 5 * drawn.trial.outcome[given].mean(), abs=0.05)


def test_seen_redemptions_are_what_is_paid() -> None:
    """Half of the buyers redeem though the price list says all do: the policy's value follows what was seen."""
    drawn = draw("null", 6000, seed=6)
    trial = drawn.trial
    prices = Prices(60.0, np.array([0.0, 30.0]), np.array([0.0, 1.0]), np.zeros(2))
    redeemed = trial.outcome * (trial.arm == 1) * (np.random.default_rng(1).random(6000) < 0.5)
    value = recommend(trial, prices, redemptions=redeemed, candidates=LINEAR).policies["all:1"].value.estimate
    given = trial.arm == 1
    plain = 60 * trial.outcome[given].mean() - 30 * redeemed[given].mean() - 60 * trial.outcome[~given].mean()
    assert value == pytest.approx(plain, abs=0.15)


def test_the_order_of_rows_makes_no_difference() -> None:
    drawn = draw("steps", 1500, seed=4)
    turn = np.random.default_rng(1).permutation(1500)
    first = recommend(drawn.trial, simulation.prices(1), candidates=LINEAR, names=drawn.names)
    second = recommend(drawn.trial.take(turn), simulation.prices(1), candidates=LINEAR, names=drawn.names)
    for code, result in first.policies.items():
        np.testing.assert_array_equal(result.choice[turn], second.policies[code].choice, err_msg=code)
        assert result.value.estimate == pytest.approx(second.policies[code].value.estimate, abs=1e-12)


def test_the_best_single_choice_is_the_same_for_everybody() -> None:
    """Of two offers at break-even each fold would pick another one: the bar is one of them for all, or nobody."""
    drawn = draw("null", 1500, offers=2, seed=13)
    found = recommend(drawn.trial, simulation.prices(2, 0.0, 1.2), candidates=LINEAR)
    best, nobody = found.policies["best_single"], found.policies["none"]
    assert sorted(best.mix) == [0.0, 0.0, 1.0]
    assert best.mix[found.best_single] == 1.0
    fixed = [found.policies[code] for code in ("none", "all:1", "all:2")]
    assert max(result.value.estimate for result in fixed) == best.value.estimate
    assert max(result.gain.estimate for result in fixed) == 0.0
    same = fixed[found.best_single].value
    assert (nobody.gain.ci_low, nobody.gain.ci_high) == pytest.approx((-same.ci_high, -same.ci_low))
    assert best.value.std_error == pytest.approx(WIDER * same.std_error), "it was picked, the other one was given"
    mine = found.policies["personalised"]
    assert mine.gain.estimate == pytest.approx(mine.value.estimate - best.value.estimate)


def test_a_threshold_that_never_pays_treats_nobody_and_ties_are_treated_alike() -> None:
    fold = np.array([0, 1] * 4)
    assert above_threshold(np.tile([0.0, -1.0], (8, 1)), np.arange(8.0), fold).sum() == 0
    scores = np.column_stack([np.zeros(8), np.tile([3.0, 3.0, -1.0, -1.0], 2)])
    assert above_threshold(scores, np.ones(8), fold).tolist() == [1] * 8


def test_a_scorer_is_the_same_again_and_prices_what_it_predicts() -> None:
    drawn = draw("linear", 2000, offers=2, seed=8)
    prices = simulation.prices(2)
    turn = np.random.default_rng(1).permutation(2000)
    first = Scorer.fit(drawn.trial, prices, "dr", "linear", seed=3)
    again = Scorer.fit(drawn.trial.take(turn), prices, "dr", "linear", seed=3)
    at = drawn.trial.features[:50]
    np.testing.assert_array_equal(first.net(at), again.net(at))
    outcomes = first.model.outcomes(at)
    np.testing.assert_allclose(first.cost(at)[:, 1], 12 * outcomes[:, 1] + 0.3)
    np.testing.assert_allclose(first.net(at)[:, 0], 60 * outcomes[:, 0])
    np.testing.assert_array_equal(first.choice(at), first.net(at).argmax(axis=1))


def test_prices_of_other_arms_are_refused() -> None:
    trial = draw("null", 400).trial
    for call in (lambda: recommend(trial, free(3)), lambda: Scorer.fit(trial, free(3), "x", "linear")):
        with pytest.raises(ValueError, match="prices of 3 arms, and 2 arms"):
            call()
