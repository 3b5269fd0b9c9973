"""The random policy beside the others: it knows nothing, also where many rows say the same."""

from __future__ import annotations

import numpy as np

from stats.uplift.prices import Prices
from stats.uplift.recommending import recommend
from stats.uplift.trial import Trial


def test_a_random_choice_gains_nothing_where_most_rows_are_alike() -> None:
    rng = np.random.default_rng(5)
    n = 4_000
    tier = rng.integers(0, 2, n).astype(np.float64)
    arm = rng.integers(0, 2, n)
    outcome = (rng.random(n) < 0.1).astype(np.float64)  # no effect at all
    trial = Trial(outcome, arm, tier[:, None], np.full((n, 2), 0.5))
    found = recommend(trial, Prices.none(2), candidates=[("x", "linear")])
    value = found.policies["random"].value
    # Of a policy that knows nothing the value is that of its mix; four standard errors: once in 16,000 by chance.
    assert abs(value.estimate) < 4 * max(value.std_error, 1e-9)
