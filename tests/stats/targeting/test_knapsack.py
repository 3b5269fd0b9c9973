"""At most one offer each within a budget: the reference, brute force, ties, the order of rows."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.targeting import knapsack
from stats.targeting.curve import budget_curve
from stats.targeting.hulls import hulls
from stats.targeting.options import options


def best_of_all(value: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """The best value within the budget, by trying everything."""
    n, offers = value.shape
    best = -np.inf
    for choice in itertools.product(range(-1, offers), repeat=n):
        chosen = [(at, offer) for at, offer in enumerate(choice) if offer >= 0]
        if sum(cost[one] for one in chosen) <= budget + 1e-9:
            best = max(best, sum(value[one] for one in chosen))
    return float(best)


@pytest.mark.shared
@pytest.mark.parametrize("budget", ["3", "5", "8", "12"])
def test_reference(shared_dir: Path, budget: str) -> None:
    """The reference's prices, bounds and greedy choices; the remainder may only add to them."""
    reference: dict[str, Any] = json.loads((shared_dir / "reference" / "uplift_reference.json").read_text())["mckp"]
    value, cost = reference["input"]["value"], reference["input"]["cost"]
    expected = reference["output"][budget]
    greedy = knapsack.solve(value, cost, float(budget), spend_remainder=False)
    assert greedy.multiplier == pytest.approx(expected["greedy_hull"]["lambda_"], abs=1e-9)
    assert greedy.bound == pytest.approx(expected["greedy_hull"]["lp_upper_bound"], abs=1e-9)
    assert greedy.value == pytest.approx(expected["greedy_hull"]["value"], abs=1e-9)
    assert greedy.cost == pytest.approx(expected["greedy_hull"]["cost"], abs=1e-9)
    if budget != "3":  # at 3 two choices are worth the same, and the reference breaks the tie the other way round
        assert greedy.choice.tolist() == expected["greedy_hull"]["assignment"]
    ours = knapsack.solve(value, cost, float(budget))
    assert (
        expected["greedy_hull"]["value"] - 1e-9 <= ours.value <= expected["exact"]["value"] + 1e-9 <= ours.bound + 2e-9
    )


numbers = st.integers(-3, 6).map(float)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    """Small problems with many ties and with negative values and costs."""
    n, offers = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    value = draw(st.lists(numbers, min_size=n * offers, max_size=n * offers))
    cost = draw(st.lists(st.integers(-2, 5).map(float), min_size=n * offers, max_size=n * offers))
    return np.reshape(value, (n, offers)), np.reshape(cost, (n, offers)), float(draw(st.integers(0, 12)))


@given(problems())
@settings(max_examples=100, deadline=None)
def test_brute_force(problem: tuple[np.ndarray, np.ndarray, float]) -> None:
    value, cost, budget = problem
    found = knapsack.solve(value, cost, budget)
    steps = hulls(options(value, cost)).value
    exact = best_of_all(value, cost, budget)
    step = float(steps.max()) if len(steps) else 0.0
    assert found.cost <= budget
    assert found.value <= exact + 1e-9 <= found.bound + 2e-9
    assert found.value >= found.bound - step - 1e-9
    assert found.gap == pytest.approx(found.bound - found.value)
    rows = np.flatnonzero(found.choice >= 0)
    assert found.value == pytest.approx(value[rows, found.choice[rows]].sum())
    assert found.cost == pytest.approx(cost[rows, found.choice[rows]].sum())


@given(problems(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_of_rows_plays_no_part(problem: tuple[np.ndarray, np.ndarray, float], random: Any) -> None:
    value, cost, budget = problem
    tie = np.array(random.sample(range(100), len(value))) / 100
    order = np.array(random.sample(range(len(value)), len(value)))
    found = knapsack.solve(value, cost, budget, tie=tie)
    again = knapsack.solve(value[order], cost[order], budget, tie=tie[order])
    assert again.choice.tolist() == found.choice[order].tolist()


def test_those_who_are_equal_are_taken_in_the_order_of_the_hash() -> None:
    tie = np.array([0.9, 0.1, 0.5, 0.3])
    found = knapsack.solve(np.full((4, 1), 2.0), np.full((4, 1), 10.0), 25.0, tie=tie)
    assert found.choice.tolist() == [-1, 0, -1, 0]
    assert (found.cost, found.multiplier, found.gap) == (20.0, 0.2, 1.0)


def test_floats_that_do_not_add_up_are_money_that_does() -> None:
    """.1 + .1 + .1 > .3 in floats; three coupons of ¥0.10 are ¥0.30."""
    found = knapsack.solve(np.ones((5, 1)), np.full((5, 1), 0.1), 0.3)
    assert (found.choice >= 0).sum() == 3
    assert found.cost == 0.3


def test_an_offer_that_brings_money_in_pays_for_others() -> None:
    """The first offer of member 0 loses 1 and brings 5 in; with that, member 1 can be given what earns 9."""
    found = knapsack.solve([[-1.0], [9.0]], [[-5.0], [5.0]], 0.0)
    assert (found.choice.tolist(), found.value, found.cost) == ([0, 0], 8.0, 0.0)
    alone = knapsack.solve([[-1.0], [9.0]], [[-5.0], [5.0]], None)
    assert alone.choice.tolist() == [-1, 0]


def test_an_offer_that_is_barred_is_never_given() -> None:
    found = knapsack.solve([[-np.inf, 1.0], [5.0, -np.inf]], [[1.0, 1.0], [1.0, np.nan]], None)
    assert found.choice.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("value", "cost", "budget", "message"),
    [
        ([[1.0]], [[1.0, 2.0]], 1.0, "one shape"),
        ([[np.nan]], [[1.0]], 1.0, "value"),
        ([[1.0]], [[np.inf]], 1.0, "cost"),
        ([[1.0]], [[1.0]], -1.0, "budget"),
        ([[1.0]], [[1.0]], float("nan"), "budget"),
    ],
)
def test_refusals(value: Any, cost: Any, budget: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knapsack.solve(value, cost, budget)


def test_nobody() -> None:
    found = knapsack.solve(np.empty((0, 2)), np.empty((0, 2)), 10.0)
    assert (found.choice.tolist(), found.value, found.cost, found.gap) == ([], 0.0, 0.0, 0.0)


def test_many_members_spend_the_budget_to_the_cent() -> None:
    rng = np.random.default_rng(7)
    value, cost = rng.normal(1, 2, (50_000, 4)), rng.uniform(0.1, 5, (50_000, 4))
    found = knapsack.solve(value, cost, 10_000.0, tie=rng.random(50_000))
    rows = np.flatnonzero(found.choice >= 0)
    assert cost[rows, found.choice[rows]].sum() <= 10_000.0
    assert found.cost > 9_999.99
    assert found.gap < 1e-5 * found.value


def test_curve_is_concave_and_ends_where_more_money_adds_nothing() -> None:
    rng = np.random.default_rng(11)
    value, cost = rng.normal(0, 2, (400, 3)), rng.uniform(-0.5, 5, (400, 3))
    points = budget_curve(value, cost, 21)
    assert len(points) == 21
    assert [point.budget for point in points] == sorted(point.budget for point in points)
    slopes = np.diff([point.value for point in points])
    assert (slopes >= -1e-9).all()
    assert np.diff(slopes).max() < 2 * value.max()
    free = knapsack.solve(value, cost, None)
    assert points[-1].value == pytest.approx(free.value)
    assert (points[-1].treated, points[-1].multiplier) == (int((free.choice >= 0).sum()), 0.0)
    for point in points[::5]:
        found = knapsack.solve(value, cost, point.budget, spend_remainder=False)
        assert (point.value, point.cost, point.multiplier) == pytest.approx((found.value, found.cost, found.multiplier))
        assert point.treated == int((found.choice >= 0).sum())


def test_curve_needs_two_points() -> None:
    with pytest.raises(ValueError, match="two points"):
        budget_curve([[1.0]], [[1.0]], 1)
