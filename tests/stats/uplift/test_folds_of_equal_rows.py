"""Rows that say the same must not be dealt evenly to folds: else chance differences are found again as effects."""

from __future__ import annotations

import numpy as np
import pytest

from stats.uplift.folds import canonical_order
from stats.uplift.predictable import predictable
from stats.uplift.trial import Trial


def levels(seed: int, rows: int = 2_000) -> Trial:
    """Rows of a few cells, arms drawn by a coin that looks at nothing."""
    rng = np.random.default_rng(seed)
    features = np.column_stack([rng.integers(18, 60, rows), rng.integers(0, 2, rows)]).astype(np.float64)
    outcome = (rng.random(rows) < 0.2).astype(np.float64)
    return Trial(outcome, rng.integers(0, 3, rows), features, np.full((rows, 3), 1 / 3))


def test_halves_of_equal_rows_are_as_uneven_as_coins_make_them() -> None:
    """The variance of a cell's share of the first half is that of independent coins; 0 where cells are dealt evenly.

    The ratio has a standard error of √(2/40) over 40 cells; it lies beyond 4 of them with a probability of 6e-5.
    """
    cells = np.repeat(np.arange(40.0), 100)
    trial = Trial(np.zeros(4_000), np.zeros(4_000, dtype=np.intp), cells[:, None], np.full((4_000, 2), 0.5))
    ordered = cells[canonical_order(trial)]
    first = np.bincount(ordered[:2_000].astype(np.intp), minlength=40)
    alternate = np.bincount(ordered[::2].astype(np.intp), minlength=40)
    for counts in (first, alternate):
        ratio = float(np.mean((counts - 50.0) ** 2)) / 25.0
        assert abs(ratio - 1) < 4 * np.sqrt(2 / 40)


@pytest.mark.slow
def test_arms_that_were_drawn_at_random_are_not_told_by_attributes_of_few_levels() -> None:
    """Of 12 draws none is far out: each p-value lies below 1e-4 with that probability, so all pass but for 1e-3."""
    found = []
    for seed in range(12):
        trial = levels(seed)
        told = predictable(trial.take(canonical_order(trial)), constant=True)
        assert told is not None
        found.append(told.p_value)
    assert min(found) > 1e-4


def test_the_order_of_equal_rows_makes_no_difference() -> None:
    trial = levels(1)
    turned = trial.take(np.random.default_rng(2).permutation(trial.rows))
    one, other = (each.take(canonical_order(each, 5)) for each in (trial, turned))
    assert np.array_equal(one.features, other.features)
    assert np.array_equal(one.outcome, other.outcome)
    assert np.array_equal(one.arm, other.arm)
