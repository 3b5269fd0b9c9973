"""Budget, stocks and floors together: brute force, ties, what cannot be reached, and many members."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.targeting import limits
from stats.targeting.cells import cells
from stats.targeting.limits import Floor


def best_of_all(value: np.ndarray, cost: np.ndarray, budget: float, stock: np.ndarray, floors: list[Floor]) -> float:
    """The best value within the limits, by trying everything; −inf where nothing keeps them."""
    n, offers = value.shape
    best = -np.inf
    for tried in itertools.product(range(-1, offers), repeat=n):
        choice = np.array(tried)
        rows = np.flatnonzero(choice >= 0)
        if cost[rows, choice[rows]].sum() > budget + 1e-9:
            continue
        if any((choice == offer).sum() > stock[offer] for offer in range(offers)):
            continue
        if any(np.isin(choice[floor.members], floor.offers).sum() < floor.least for floor in floors):
            continue
        best = max(best, float(value[rows, choice[rows]].sum()))
    return best


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float, np.ndarray, list[Floor]]:
    """Small problems with ties, negative net costs, stocks and floors, some of them impossible."""
    n, offers = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    value = draw(st.lists(st.integers(-3, 6), min_size=n * offers, max_size=n * offers))
    cost = draw(st.lists(st.integers(-1, 5), min_size=n * offers, max_size=n * offers))
    stock = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, np.inf]), min_size=offers, max_size=offers))
    floors = []
    for _ in range(draw(st.integers(0, 2))):
        members = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        of = draw(st.sets(st.integers(0, offers - 1), min_size=1))
        floors.append(Floor(members, tuple(sorted(of)), draw(st.integers(0, 3))))
    shaped = np.reshape(value, (n, offers)).astype(float), np.reshape(cost, (n, offers)).astype(float)
    return (*shaped, float(draw(st.integers(0, 12))), np.array(stock), floors)


@given(problems())
@settings(max_examples=60, deadline=None)
def test_brute_force(problem: tuple[np.ndarray, np.ndarray, float, np.ndarray, list[Floor]]) -> None:
    """So few members are all decided on again, so the best whole choice is found, and only the impossible refused."""
    value, cost, budget, stock, floors = problem
    exact = best_of_all(value, cost, budget, stock, floors)
    if exact == -np.inf:
        with pytest.raises(ValueError, match=r"floor"):
            limits.solve(value, cost, budget, stock=stock, floors=floors)
        return
    found = limits.solve(value, cost, budget, stock=stock, floors=floors)
    rows = np.flatnonzero(found.choice >= 0)
    assert cost[rows, found.choice[rows]].sum() <= budget + 1e-9
    assert all((found.choice == offer).sum() <= stock[offer] for offer in range(value.shape[1]))
    assert all(np.isin(found.choice[floor.members], floor.offers).sum() >= floor.least for floor in floors)
    assert found.bound >= exact - 1e-6
    assert found.gap == pytest.approx(found.bound - found.value)
    # What the budget alone decides stops one step short at most; all else is exact.
    if stock_or_floor_binds(found):
        assert found.value == pytest.approx(exact)
    else:
        assert exact >= found.value >= exact - 9


def stock_or_floor_binds(found: Any) -> bool:
    """Whether the solution came from the programme, not from the knapsack."""
    return found.stock_prices is not None


def shop(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Value, cost, tier and tie of n members: coupons of 5 to 30 on baskets with a margin of 60."""
    rng = np.random.default_rng(seed)
    base = rng.beta(1, 20, n)[:, None]
    bought = np.clip(base * (1 + rng.normal([0.1, 0.2, 0.3, 0.4], 0.3, (n, 4))), 0, 1)
    face = np.array([5.0, 10.0, 20.0, 30.0])
    return (
        60 * (bought - base) - face * bought - 0.1,
        face * bought + 0.1,
        rng.choice(3, n, p=[0.7, 0.25, 0.05]),
        rng.random(n),
    )


def floors_of(tier: np.ndarray) -> list[Floor]:
    n = len(tier)
    return [
        Floor(tier == 2, (0, 1, 2, 3), int(0.03 * n), "gold"),
        Floor(tier == 1, (3,), int(0.02 * n), "silver"),
    ]


@pytest.mark.parametrize("rounded", [pytest.param(False, marks=pytest.mark.slow), True])
def test_many_members(rounded: bool) -> None:
    """All limits are kept, and what is missed is less than a coupon; also where thousands score the same."""
    n = 20_000
    value, cost, tier, tie = shop(n)
    if rounded:
        value, cost = value.round(1), cost.round(1)
    stock = np.array([2000, 1000, np.inf, 600])
    found = limits.solve(value, cost, 4000.0, stock=stock, floors=floors_of(tier), tie=tie)
    rows = np.flatnonzero(found.choice >= 0)
    given_each = np.bincount(found.choice[rows], minlength=4)
    assert cost[rows, found.choice[rows]].sum() <= 4000.0 + 1e-6
    assert (given_each <= stock).all()
    assert (tier[rows] == 2).sum() >= 600
    assert ((tier == 1) & (found.choice == 3)).sum() >= 400
    assert 0 <= found.gap < 1.0
    assert found.multiplier > 0
    assert found.stock_prices is not None
    assert (found.stock_prices[[0, 1]] > 0).all()
    assert found.floor_prices is not None
    assert (found.floor_prices > 0).all()
    again = limits.solve(value, cost, 4000.0, stock=stock, floors=floors_of(tier), tie=tie)
    assert (again.choice == found.choice).all()


@pytest.mark.slow
def test_prices_are_what_one_more_would_add() -> None:
    """Against the difference of two solutions."""
    value, cost, tier, tie = shop(5000)
    stock = np.array([500, 250, np.inf, 150])
    base = limits.solve(value, cost, 1000.0, stock=stock, floors=floors_of(tier), tie=tie)
    richer = limits.solve(value, cost, 1020.0, stock=stock, floors=floors_of(tier), tie=tie)
    assert richer.bound - base.bound == pytest.approx(20 * base.multiplier, rel=0.05)
    more = limits.solve(value, cost, 1000.0, stock=[520, 250, np.inf, 150], floors=floors_of(tier), tie=tie)
    assert base.stock_prices is not None
    assert more.bound - base.bound == pytest.approx(20 * base.stock_prices[0], rel=0.05)


def test_order_of_rows_plays_no_part() -> None:
    value, cost, tier, tie = shop(600)
    stock = np.array([60, 30, np.inf, 18])
    order = np.random.default_rng(3).permutation(600)
    found = limits.solve(value, cost, 120.0, stock=stock, floors=floors_of(tier), tie=tie)
    again = limits.solve(value[order], cost[order], 120.0, stock=stock, floors=floors_of(tier[order]), tie=tie[order])
    assert (again.choice == found.choice[order]).all()


def test_equals_share_a_stock_by_the_hash() -> None:
    tie = np.random.default_rng(5).permutation(1000) / 1000
    found = limits.solve(np.full((1000, 2), [3.0, 1.0]), np.ones((1000, 2)), 600.0, stock=[400, np.inf], tie=tie)
    assert np.bincount(found.choice + 1).tolist() == [400, 400, 200]
    assert (found.value, found.cost) == (1400.0, 600.0)


def test_without_a_budget_and_without_binding_limits_everybody_has_their_best() -> None:
    value = np.array([[1.0, 2.0], [-1.0, -2.0]])
    found = limits.solve(value, np.ones((2, 2)), None, stock=[5, 5], floors=[Floor(np.array([True, True]), (0, 1), 1)])
    assert found.choice.tolist() == [1, -1]
    assert (found.gap, found.multiplier) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("budget", "stock", "least", "message"),
    [
        (100.0, None, 3, "“gold” asks for 3, but only 2 of its members"),
        (100.0, [1, 0], 2, "“gold” asks for 2, but there are only 1 pieces"),
        (3.0, None, 2, "“gold” asks for 2, which costs at least 4.00; the budget is 3.00"),
    ],
)
def test_a_floor_that_cannot_be_reached_is_named(
    budget: float, stock: list[float] | None, least: int, message: str
) -> None:
    floor = Floor(np.array([True, True, False]), (0, 1), least, "gold")
    with pytest.raises(ValueError, match=message):
        limits.solve(np.ones((3, 2)), np.full((3, 2), 2.0), budget, stock=stock, floors=[floor])


def test_floors_that_cannot_be_reached_together_are_named() -> None:
    """Each alone costs 6 of 10; both together cost 12."""
    members = np.arange(6) < 3
    floors = [Floor(members, (0,), 3, "old"), Floor(~members, (0,), 3, "new")]
    with pytest.raises(ValueError, match=r"not all floors can be reached together.*“(old|new)” by 1"):
        limits.solve(np.ones((6, 1)), np.full((6, 1), 2.0), 10.0, floors=floors)


@pytest.mark.parametrize(
    ("stock", "floors", "message"),
    [
        ([1], [], "stock must hold"),
        ([-1, 2], [], "stock must hold"),
        (None, [Floor(np.array([True]), (0,), 1)], "floor 1 must say for each member"),
        (None, [Floor(np.array([True, True]), (2,), 1)], "offers 0 to 1"),
        (None, [Floor(np.array([True, True]), (0,), -1)], "0 or more"),
    ],
)
def test_refusals(stock: Any, floors: list[Floor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        limits.solve(np.ones((2, 2)), np.ones((2, 2)), 5.0, stock=stock, floors=floors)


def test_cells_span_no_stratum_and_are_about_equal() -> None:
    rng = np.random.default_rng(1)
    stratum = rng.choice(3, 3000)
    found = cells(rng.normal(size=(3000, 4)), stratum, 64)
    assert np.bincount(found).min() > 15
    assert len(np.unique(found)) == 64
    assert all(len(np.unique(stratum[found == cell])) == 1 for cell in range(64))


def test_rows_that_are_the_same_stay_one_cell() -> None:
    assert cells(np.ones((50, 2)), np.zeros(50, dtype=np.int64), 8).tolist() == [0] * 50


@pytest.mark.slow
def test_beside_an_exact_solver() -> None:
    """80 problems of up to 300 members, by HiGHS's integer programme: the same refusals, at most a step missed."""
    from scipy import optimize, sparse

    rng = np.random.default_rng(1)
    refused = 0
    for trial in range(80):
        n, offers = int(rng.integers(6, 300)), int(rng.integers(1, 5))
        value, cost = rng.normal(1, 2, (n, offers)), rng.uniform(-0.2, 5, (n, offers))
        if trial % 3 == 0:
            value, cost = value.round(), cost.round()
        barred = rng.random((n, offers)) < (0.2 if trial % 5 == 0 else 0.0)
        floors = []
        for _ in range(int(rng.integers(0, 4))):
            about = rng.random(n) < rng.uniform(0.1, 0.6)
            counted = tuple(np.flatnonzero(rng.random(offers) < 0.6).tolist()) or (0,)
            floors.append(Floor(about, counted, int(about.sum() * rng.uniform(0, 0.6))))
        stock = np.where(rng.random(offers) < 0.6, rng.integers(0, n // 2 + 1, offers), np.inf)
        budget = float(rng.uniform(0, 2) * n * rng.choice([0.1, 1.0]))
        rows, upper = [cost.ravel()], [budget]
        for offer in np.flatnonzero(np.isfinite(stock)):
            rows.append(np.tile(np.arange(offers) == offer, n).astype(float))
            upper.append(stock[offer])
        for floor in floors:
            rows.append(
                -(floor.members[:, None] * np.isin(np.arange(offers), floor.offers)[None]).ravel().astype(float)
            )
            upper.append(-float(floor.least))
        one_each = sparse.kron(sparse.eye(n), np.ones((1, offers)), format="csr")
        exact = optimize.milp(
            -value.ravel(),
            constraints=[
                optimize.LinearConstraint(np.array(rows), -np.inf, upper),
                optimize.LinearConstraint(one_each, -np.inf, 1),
            ],
            integrality=np.ones(n * offers),
            bounds=optimize.Bounds(0, (~barred).ravel().astype(float)),
        )
        offered = np.where(barred, -np.inf, value)
        if exact.x is None:
            refused += 1
            with pytest.raises(ValueError, match="floor"):
                limits.solve(offered, cost, budget, stock=stock, floors=floors)
            continue
        found = limits.solve(offered, cost, budget, stock=stock, floors=floors)
        given = np.flatnonzero(found.choice >= 0)
        assert not barred[given, found.choice[given]].any()
        assert cost[given, found.choice[given]].sum() <= budget + 1e-6
        assert all((found.choice == offer).sum() <= stock[offer] for offer in range(offers))
        assert all(np.isin(found.choice[floor.members], floor.offers).sum() >= floor.least for floor in floors)
        assert found.bound >= -exact.fun - 1e-4
        assert found.value >= -exact.fun - 2.0, "less than one member's step, which is up to 8"
    assert 5 < refused < 40


@pytest.mark.slow
def test_a_million_members() -> None:
    """The gap is less than one coupon of ¥30, and nothing is overdrawn."""
    n = 1_000_000
    value, cost, tier, tie = shop(n)
    stock = np.array([0.1 * n, 0.05 * n, np.inf, 0.03 * n])
    found = limits.solve(value, cost, 0.2 * n, stock=stock, floors=floors_of(tier), tie=tie)
    rows = np.flatnonzero(found.choice >= 0)
    assert cost[rows, found.choice[rows]].sum() <= 0.2 * n + 1e-4
    assert (np.bincount(found.choice[rows], minlength=4) <= stock).all()
    assert (tier[rows] == 2).sum() >= 0.03 * n
    assert found.gap < 1.0
