"""The split watched at every look: against Pólya's urn unit by unit, full enumeration, and plain chi-square."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.sequential_srm import sequential_srm


def urn(order: list[int], weights: np.ndarray, concentration: float) -> float:
    """Return the evidence of units coming in one by one: predicted share over planned share, multiplied."""
    shares = weights / weights.sum()
    seen, e = np.zeros(len(weights)), 1.0
    for arm in order:
        predicted = (concentration * shares[arm] + seen[arm]) / (concentration + seen.sum())
        e *= predicted / shares[arm]
        seen[arm] += 1
    return e


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.floats(1, 1e4))
def test_it_is_polyas_urn_whatever_the_order(order: list[int], concentration: float) -> None:
    weights = np.array([1.0, 3.0, 6.0])
    counts = np.bincount(order, minlength=3)
    check = sequential_srm(counts[None], weights, [concentration])
    assert float(check.log_e[0]) == pytest.approx(math.log(urn(order, weights, concentration)), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_the_evidence_is_a_fair_bet_under_the_plan(n: int) -> None:
    """E(e) = 1, over all outcomes of n units in three variants; the mean of several priors too."""
    shares = np.array([0.2, 0.3, 0.5])
    expected = 0.0
    for order in itertools.product(range(3), repeat=n):
        counts = np.bincount(order, minlength=3)
        e = math.exp(float(sequential_srm(counts[None], shares, [3.0, 50.0]).log_e[0]))
        expected += e * float(np.prod(shares[list(order)]))
    assert expected == pytest.approx(1.0, rel=1e-9)


def test_several_priors_are_averaged() -> None:
    days = [[60, 40], [130, 70]]
    single = [np.exp(sequential_srm(days, [1, 1], [c]).log_e) for c in (10.0, 1000.0)]
    assert np.exp(sequential_srm(days, [1, 1], [10.0, 1000.0]).log_e) == pytest.approx(
        np.mean(single, axis=0), rel=1e-9
    )


def test_false_alarms_at_any_look() -> None:
    """4,000 splits as planned, 100 looks: at most .05 may fall below .05 (s.e. .0034). Seed fixed."""
    rng = np.random.default_rng(31)
    counts = np.cumsum(rng.multinomial(500, [0.1, 0.9], size=(4000, 100)), axis=1)
    ever = (sequential_srm(counts, [1, 9]).p_value[:, -1] < 0.05).mean()
    assert ever <= 0.05
    assert ever > 0.001  # and it is not dead


def test_a_broken_split_is_found_and_stays_found() -> None:
    days = np.cumsum(np.tile([5100, 4900], (20, 1)), axis=0)
    check = sequential_srm(days, [1, 1])
    value = check.value()
    assert (value.status, value.why) == ("fail", None)
    assert value.failed_at is not None
    assert value.failed_at < 15
    assert (np.diff(check.p_value) <= 0).all()


@given(st.lists(st.integers(0, 400), min_size=2, max_size=4), st.floats(0.01, 100))
def test_scale_of_weights_and_order_of_variants_do_not_matter(counts: list[int], scale: float) -> None:
    weights = np.arange(1.0, len(counts) + 1)
    one = sequential_srm([counts], weights).p_value
    assert sequential_srm([counts], weights * scale).p_value == pytest.approx(one, rel=1e-6, nan_ok=True)
    assert sequential_srm([counts[::-1]], weights[::-1]).p_value == pytest.approx(one, rel=1e-6, nan_ok=True)


def test_a_variant_without_weight_is_left_out_unless_it_has_units() -> None:
    days = np.array([[300, 280], [650, 600]])
    padded = np.concatenate([days, np.zeros((2, 1), dtype=int)], axis=1)
    assert sequential_srm(padded, [1, 1, 0]).p_value == pytest.approx(sequential_srm(days, [1, 1]).p_value)
    padded[1, 2] = 1
    value = sequential_srm(padded, [1, 1, 0]).value()
    assert (value.status, value.p_value, value.failed_at, value.why_code) == ("fail", 0.0, 1, "unplanned_units")


def test_grids_are_their_cells() -> None:
    counts = np.cumsum(np.random.default_rng(4).integers(0, 50, (2, 3, 5, 2)), axis=2)
    weights = np.array([[1.0, 1.0], [1.0, 2.0]])[:, None, :]
    together = sequential_srm(counts, np.broadcast_to(weights, (2, 3, 2)))
    for i, j in np.ndindex(2, 3):
        alone = sequential_srm(counts[i, j], weights[i, 0])
        assert together.p_value[i, j] == pytest.approx(alone.p_value)
        assert together.value(i, j) == alone.value()


def test_nothing_yet_and_nothing_to_compare() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = sequential_srm([[0, 0]], [1, 1]).value()
        one = sequential_srm([[5, 0]], [1, 0]).value()
        huge = sequential_srm([[10**9, 10**9]], [1, 1]).value()
    assert (none.p_value, none.status, none.why_code) == (None, "info", "no_units")
    assert one.why_code == "no_weight"
    assert (huge.p_value, huge.status) == (1.0, "ok")


@pytest.mark.parametrize(
    ("counts", "weights", "message"),
    [([[5, 5], [4, 6]], [1, 1], "fall"), ([[5, -1]], [1, 1], "negative"), ([[5, 5]], [1, np.nan], "finite")],
)
def test_wrong_input_is_named(counts: list[list[int]], weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sequential_srm(counts, weights)
