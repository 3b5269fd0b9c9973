"""RFM scores: the stated rule for ties against counting by hand, fixed cuts, and pandas-free quintiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.rfm import SEGMENTS, Cuts, quantile_cuts, scores, segments

VALUES = st.lists(st.integers(0, 12), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(values=VALUES, groups=st.integers(2, 6))
def test_score_is_what_the_share_below_says(values: list[int], groups: int) -> None:
    """1 + the number of k with share strictly below ≥ k/groups, counted by hand in whole numbers."""
    array = np.array(values, dtype=float)
    found = scores(-array + 20, array, array * 3, groups=groups)
    for place, value in enumerate(values):
        below = sum(other < value for other in values)
        expected = 1 + sum(below * groups >= k * len(values) for k in range(1, groups))
        assert found[place].tolist() == [expected] * 3


@settings(max_examples=60, deadline=None)
@given(values=VALUES, seed=st.integers(0, 9))
def test_equal_values_have_equal_scores_in_any_order(values: list[int], seed: int) -> None:
    array = np.array(values, dtype=float)
    order = np.random.default_rng(seed).permutation(len(array))
    found = scores(array, array, None)
    assert (scores(array[order], array[order], None) == found[order]).all()
    for value in set(values):
        assert len({tuple(row) for row in found[array == value].tolist()}) == 1


def test_without_ties_groups_are_equal() -> None:
    rng = np.random.default_rng(2)
    found = scores(rng.random(1000), rng.random(1000), rng.random(1000))
    for column in found.T:
        assert np.bincount(column).tolist() == [0, 200, 200, 200, 200, 200]


def test_most_with_one_order_leave_scores_empty() -> None:
    frequency = np.r_[np.ones(60), np.full(20, 2), np.full(20, 5)]
    found = scores(np.arange(100.0), frequency, None)[:, 1]
    assert np.bincount(found, minlength=6).tolist() == [0, 60, 0, 0, 20, 20]


def test_fixed_cuts_are_met_from_their_value_on() -> None:
    """30 and 90 days, 2 and 5 orders, 100 and 500 yuan: each boundary value earns its point."""
    cuts = Cuts((30, 90), (2, 5), (100, 500))
    found = scores([30, 31, 90, 91], [5, 4, 2, 1], [500, 499.99, 100, 99.99], cuts=cuts)
    assert found.tolist() == [[3, 3, 3], [2, 2, 2], [2, 2, 2], [1, 1, 1]]


def test_quantile_cuts_kept_score_the_same_members_the_same() -> None:
    rng = np.random.default_rng(5)
    r, f, m = rng.integers(0, 40, 300), rng.integers(1, 6, 300), rng.integers(0, 900, 300)
    cuts = quantile_cuts(r, f, m)
    assert (scores(r, f, m, cuts=cuts) == scores(r, f, m)).all()
    assert scores([0], [99], [9999], cuts=cuts)[0, 1:].max() <= 5


def test_money_not_known_scores_nothing() -> None:
    found = scores([1, 2], [3, 1], None)
    assert found[:, 2].tolist() == [0, 0]
    assert SEGMENTS[segments(found)[1]].startswith("general")


def test_all_eight_groups() -> None:
    every = np.array([[r, f, m] for r in (1, 5) for f in (1, 5) for m in (1, 5)])
    assert [SEGMENTS[i] for i in segments(every)] == list(SEGMENTS)
    assert SEGMENTS[segments(np.array([[3, 3, 3]]))[0]] == "general_win_back"  # the middle is not high


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        scores([np.nan], [1], None)
    with pytest.raises(ValueError, match="2 groups"):
        quantile_cuts([1], [1], None, groups=1)
