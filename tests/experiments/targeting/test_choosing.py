"""Choosing with exploration, stocks and floors: limits hold for all together, and probabilities are those drawn by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.errors import InputError
from experiments.targeting.choosing import Draws, Floor, Problem, choose
from experiments.targeting.request import limits, read_amount, read_floor, read_stock


def problem(n: int = 600, seed: int = 0, **fields: Any) -> Problem:
    rng = np.random.default_rng(seed)
    value = rng.normal(1.0, 2.0, (n, 2))
    cost = np.broadcast_to([1.0, 3.0], (n, 2)).copy()
    given = {"open": rng.random(n) > 0.1, "budget": 300.0, **fields}
    return Problem(value, cost, **given)


def draws(n: int = 600, seed: int = 1) -> Draws:
    rng = np.random.default_rng(seed)
    return Draws(rng.random(n), rng.random(n), rng.random(n))


def spent(asked: Problem, offer: np.ndarray) -> float:
    return float(sum(asked.cost[row, place] for row, place in enumerate(offer) if place >= 0))


def test_who_is_barred_gets_nothing_and_the_budget_holds_with_exploration() -> None:
    asked = problem(explore=0.2)
    found = choose(asked, draws())
    assert (found.offer[~asked.open] == -1).all()
    assert not found.explored[~asked.open].any()
    assert spent(asked, found.offer) <= 300.0
    assert 60 < found.explored.sum() < 160
    # Of the explored a third gets nothing, whatever the model says; 4.5 standard errors of a share of ~110.
    shares = np.bincount(found.offer[found.explored] + 1, minlength=3) / found.explored.sum()
    assert np.abs(shares - 1 / 3).max() < 0.2


def test_propensities_are_those_that_a_redraw_shows() -> None:
    """Over 400 draws of who is explored and what is drawn, at prices that hardly move; 4.5 standard errors."""
    asked = problem(300, budget=None, explore=0.3)
    counts = np.zeros((300, 3))
    stated = np.full((300, 3), np.nan)
    for seed in range(400):
        found = choose(asked, draws(300, seed))
        counts[np.arange(300), found.offer + 1] += 1
        stated[np.arange(300), found.offer + 1] = found.propensity
    known = np.isfinite(stated) & asked.open[:, None]
    error = np.sqrt(stated * (1 - stated) / 400)
    assert (np.abs(counts / 400 - stated)[known] < 4.5 * error[known] + 1e-9).all()
    assert np.allclose(stated[asked.open].sum(axis=1), 1.0)
    assert (stated[~asked.open, 0] == 1).all()


def test_stocks_and_floors_count_the_explored_too() -> None:
    group = np.arange(600) % 3 == 0
    floor = Floor("tier=gold", group, (0, 1), 120)
    asked = problem(explore=0.2, stock=np.array([np.inf, 60.0]), floors=[floor], budget=400.0)
    found = choose(asked, draws())
    assert (found.offer == 1).sum() <= 60
    assert (group & (found.offer >= 0)).sum() >= 120
    assert spent(asked, found.offer) <= 400.0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"budget": 20.0}, "exploring alone takes"),
        ({"stock": np.array([2.0, np.inf])}, "exploring alone takes .* pieces of offer 1"),
        ({"floors": [Floor("tier=gold", np.arange(600) < 5, (0,), 50)]}, "tier=gold"),
    ],
)
def test_limits_that_cannot_hold_are_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        choose(problem(explore=0.3, **fields), draws())


def test_options_are_read_or_refused_with_what_to_write() -> None:
    assert read_amount("5,000.50", "--budget") == 5000.5
    assert read_stock("满100减30=20") == ("满100减30", 20)
    floor = read_floor("tier=gold:100:a")
    assert (floor.attribute, floor.level, floor.least, floor.offer) == ("tier", "gold", 100, "a")
    for bad in ("tier", "tier=gold", "tier=gold:many", "tier=gold:5:", "=gold:5"):
        with pytest.raises(InputError, match="--floor"):
            read_floor(bad)
    for bad in ("a", "a=", "a=-5", "=5"):
        with pytest.raises(InputError, match="--stock"):
            read_stock(bad)
    for bad in ("many", "-5", "nan", "inf", "1e99"):
        with pytest.raises(InputError, match="--budget"):
            read_amount(bad, "--budget")
    with pytest.raises(InputError, match=r"explore: is 0\.01"):
        limits(explore=0.01)
