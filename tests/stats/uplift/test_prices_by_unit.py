"""Prices where a redemption costs more with some units than with others: unit by unit, and in a recommendation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stats.uplift.prices import Prices
from stats.uplift.recommending import recommend
from stats.uplift.trial import Trial


def test_prices_by_unit_are_each_units_own_prices() -> None:
    prices = Prices(60.0, np.array([0.0, 30.0]), np.array([0.0, 1.0]), np.array([0.0, 0.1]))
    each = np.array([[0.0, 30.0], [0.0, 15.0], [0.0, 0.0]])
    outcomes, arm = np.array([[0.02, 0.05], [0.1, 0.2], [0.0, 1.0]]), np.array([1, 1, 0])
    together = replace(prices, redemption=each)
    alone = [replace(prices, redemption=row) for row in each]
    for place, own in enumerate(alone):
        row = outcomes[place : place + 1]
        assert np.array_equal(together.net(outcomes)[place], own.net(row)[0])
        assert np.array_equal(together.expected_cost(outcomes)[place], own.expected_cost(row)[0])
        assert together.realised(outcomes[:, 1], arm)[place] == own.realised(row[:, 1], arm[place : place + 1])[0]


def test_an_offer_that_costs_nothing_with_some_is_recommended_to_them() -> None:
    """With the offer everybody orders .4 instead of .3 times, at ¥10; it costs one half ¥4 an order, the other nothing.

    So it earns .1 × 10 − .4 × 4 = −.6 with the one half and +1 with the other, though members answer alike. By the mean
    price of ¥2 it would be for all.
    """
    rng = np.random.default_rng(8)
    n = 20_000
    card, arm = rng.integers(0, 2, n), rng.integers(0, 2, n)
    outcome = (rng.random(n) < 0.3 + 0.1 * arm).astype(float)
    trial = Trial(outcome, arm, card[:, None].astype(float), np.full((n, 2), 0.5))
    prices = Prices(10.0, np.array([0.0, 2.0]), np.array([0.0, 1.0]), np.zeros(2))
    each = np.column_stack([np.zeros(n), np.where(card == 1, 0.0, 4.0)])
    found = recommend(trial, prices, redemption=each, candidates=[("x", "linear")])
    chosen = found.predicted_net.argmax(axis=1)
    assert (chosen == card).mean() > 0.99
    assert found.evidence
    plain = recommend(trial, prices, candidates=[("x", "linear")])
    assert len(set(plain.predicted_net.argmax(axis=1))) == 1
