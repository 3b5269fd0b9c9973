"""Units without history: what is filled in must not matter, and nobody is dropped."""

from __future__ import annotations

import numpy as np
import pytest

from stats.adjustment import cuped_means
from stats.effects import difference_of_means
from stats.history import with_indicators
from stats.moments import Moments


def simulate(n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    arm, taste, new = np.arange(n) % 2, rng.gamma(2, 1, n), rng.random(n) < 0.4
    before = np.where(new, np.nan, taste + rng.normal(0, 0.3, n))
    return arm, 2 * taste + 3 * new + 0.5 * arm + rng.normal(0, 0.5, n), before


def errors(arm: np.ndarray, columns: tuple[str, ...], table: np.ndarray) -> tuple[float, float]:
    moments = Moments.from_rows(["y", *columns], table, cell=arm)
    sample = cuped_means(moments, "y", columns).sample
    value = difference_of_means(sample[0], sample[1]).value()
    assert value.estimate is not None
    assert value.std_error is not None
    return value.estimate, value.std_error


def test_what_is_filled_in_does_not_matter() -> None:
    arm, y, before = simulate()
    done = with_indicators(["before"], before)
    other = np.column_stack([np.where(np.isnan(before), -77.0, before), np.isnan(before)])
    ours = errors(arm, done.columns, np.column_stack([y, done.values]))
    theirs = errors(arm, done.columns, np.column_stack([y, other]))
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_it_gains_over_no_adjustment_over_dropping_and_over_calling_it_zero() -> None:
    arm, y, before = simulate()
    done, known = with_indicators(["before"], before), ~np.isnan(before)
    ours = errors(arm, done.columns, np.column_stack([y, done.values]))[1]
    dropped = errors(arm[known], ("x",), np.column_stack([y, before])[known])[1]
    zero = errors(arm, ("x",), np.column_stack([y, np.nan_to_num(before)]))[1]
    none = np.sqrt(sum(y[arm == k].var(ddof=1) / (arm == k).sum() for k in (0, 1)))
    assert ours < min(zero, none)
    assert ours < 0.9 * none
    assert with_indicators(["x"], before).values.shape == (2000, 2)
    assert dropped != ours  # another question: of those with history only


def test_one_indicator_for_one_pattern() -> None:
    table = [[1.0, np.nan, np.nan, 4.0, np.nan], [2.0, 5.0, 6.0, np.nan, np.nan], [3.0, np.nan, np.nan, 5.0, np.nan]]
    done = with_indicators(["whole", "a", "b", "c", "never"], table)
    assert done.columns == ("whole", "a", "b", "c", "never", "a missing", "c missing")
    assert not np.isnan(done.values).any()
    assert done.values[:, 4].tolist() == [0.0, 0.0, 0.0]
    assert done.values[:, 5].tolist() == [1.0, 0.0, 1.0]
    assert with_indicators(["x"], np.zeros(0)).values.shape == (0, 1)
