"""Sample ratio check: scipy is the oracle; weights, thresholds and edges."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from stats.srm import srm


@given(st.lists(st.tuples(st.integers(50, 10**6), st.integers(1, 20)), min_size=2, max_size=6))
def test_scipy_agrees(variants: list[tuple[int, int]]) -> None:
    observed = np.array([count for count, _ in variants])
    weights = np.array([weight for _, weight in variants], dtype=float)
    expected = weights / weights.sum() * observed.sum()
    check = srm(observed, weights).value()
    if expected.min() < 5:
        assert check.why_code == "too_few_expected"
        return
    theirs = scipy.stats.chisquare(observed, expected)
    assert check.chi_square == pytest.approx(theirs.statistic, rel=1e-9)
    assert check.p_value == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-300)
    assert check.df == len(variants) - 1


def test_thresholds() -> None:
    statuses = [srm([10_000 + extra, 10_000 - extra], [1, 1]).value().status for extra in (0, 200, 240)]
    p_values = [srm([10_000 + extra, 10_000 - extra], [1, 1]).value().p_value for extra in (0, 200, 240)]
    assert p_values == pytest.approx([1.0, 0.004678, 0.000689], abs=1e-6)
    assert statuses == ["ok", "caution", "fail"]


def test_variants_of_weight_zero_take_no_degree_of_freedom() -> None:
    with_zero = srm([500, 520, 0], [1, 1, 0]).value()
    assert with_zero.df == 1
    assert with_zero.p_value == srm([500, 520], [1, 1]).value().p_value


def test_units_where_none_were_planned_fail() -> None:
    check = srm([500, 500, 3], [1, 1, 0]).value()
    assert (check.status, check.p_value, check.why_code) == ("fail", 0.0, "unplanned_units")


@pytest.mark.parametrize(
    ("observed", "weights", "why"),
    [
        ([0, 0], [1, 1], "no_units"),
        ([3, 4], [1, 1], "too_few_expected"),
        ([100, 0], [1, 0], "no_weight"),
        ([0, 0], [0, 0], "no_weight"),
    ],
)
def test_edges_say_why_and_warn_of_nothing(observed: list[int], weights: list[float], why: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check = srm(observed, weights).value()
    assert (check.why_code, check.p_value, check.status) == (why, None, "info")


def test_segments_at_once() -> None:
    observed = np.array([[500, 520, 480], [30, 60, 31], [1, 2, 0]])
    checks = srm(observed, [1, 1, 1])
    assert [checks.value(i).p_value for i in range(3)] == [srm(row, [1, 1, 1]).value().p_value for row in observed]
    assert checks.expected[1] == pytest.approx([121 / 3] * 3)


@pytest.mark.parametrize("bad", [[-1, 5], [np.nan, 5], [np.inf, 5]])
def test_impossible_counts_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        srm(bad, [1, 1])


def test_false_alarms_come_at_the_stated_rate() -> None:
    """200,000 splits of 3,000 units by 6:3:1 at alpha .01: .01 ± 3 s.e. (.0007) and .0003 for discreteness."""
    rng = np.random.default_rng(51)
    counts = rng.multinomial(3000, [0.6, 0.3, 0.1], 200_000)
    assert (srm(counts, [6, 3, 1]).p_value < 0.01).mean() == pytest.approx(0.01, abs=0.001)
