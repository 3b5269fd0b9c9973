"""Values and intervals: what is simulated agrees with the formulas, and intervals cover what members then really do."""

from __future__ import annotations

import numpy as np
import pytest

from stats.clv import bgnbd, gamma_gamma
from stats.clv.bgnbd import BgNbd
from stats.clv.gamma_gamma import GammaGamma
from stats.clv.value import Members, _future, expected_value, member_intervals, total

MODEL = BgNbd(0.8, 6.0, 0.9, 3.0)
SPEND = GammaGamma(5.0, 3.5, 20.0)


def lived(n: int, seed: int, horizon: float) -> tuple[Members, np.ndarray, np.ndarray]:
    """Members who live by the two models, what was seen of them, and their orders and spend in the horizon after it."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 60, n)
    rate, leave = rng.gamma(MODEL.r, 1 / MODEL.alpha, n), rng.beta(MODEL.a, MODEL.b, n)
    scale = rng.gamma(SPEND.q, 1 / SPEND.gamma, n)
    x, t_x, seen, later, spent = (np.zeros(n) for _ in range(5))
    now, here = np.zeros(n), np.ones(n, dtype=bool)
    while here.any():
        now[here] += rng.exponential(1 / rate[here])
        here &= now <= age + horizon
        before, after = here & (now <= age), here & (now > age)
        x[before] += 1
        t_x[before] = now[before]
        value = rng.gamma(SPEND.p, 1 / scale)
        seen[before] += value[before]
        later[after] += 1
        spent[after] += value[after]
        here &= rng.random(n) > leave
    return Members(x, t_x, age, np.divide(seen, x, out=np.zeros(n), where=x > 0)), later, spent


def test_futures_have_the_expected_mean() -> None:
    """The mean of 40,000 simulated futures of each of four members, within 4 standard errors (< 6 in 10,000)."""
    members = Members(
        np.array([0.0, 1, 4, 30]), np.array([0.0, 3, 28, 39]), np.array([39.0, 39, 39, 40]), np.array([0.0, 9, 30, 4])
    )
    expected = expected_value(MODEL, SPEND, members, horizon=26)
    rng = np.random.default_rng(6)
    for place in range(4):
        one = members.part(np.full(40_000, place))
        orders = _future(MODEL, None, one, 26, np.ones(40_000), rng)
        money = _future(MODEL, SPEND, one, 26, np.ones(40_000), rng)
        assert expected.value is not None
        for drawn, mean in ((orders, expected.purchases[place]), (money, expected.value[place])):
            assert abs(drawn.mean() - mean) < 4 * drawn.std() / 200


def test_what_members_then_do_is_expected_and_covered() -> None:
    """6,000 members by the models, refitted: sums within 4 %, and members' intervals cover at least 94 %."""
    members, later, spent = lived(6000, 12, 26)
    assert members.mean is not None
    model = bgnbd.fit(members.x, members.t_x, members.age)
    spend = gamma_gamma.fit(members.x, members.mean)
    found = expected_value(model, spend, members, horizon=26)
    assert found.value is not None
    assert found.purchases.sum() == pytest.approx(later.sum(), rel=0.04)
    assert found.value.sum() == pytest.approx(spent.sum(), rel=0.06)
    part = np.arange(0, 6000, 6)
    for what, real in ((None, later), (spend, spent)):
        ends = member_intervals(model, what, members.part(part), horizon=26, draws=200)
        covered = np.mean((ends[:, 0] <= real[part]) & (real[part] <= ends[:, 1]))
        # 1,000 members, 200 draws: sd .7 %; orders are whole numbers, so intervals are wider than asked for.
        assert 0.92 <= covered <= 0.995


@pytest.mark.slow
def test_interval_of_the_sum_covers() -> None:
    """150 crowds of 800 members, refitted each: the 95 % interval of their spend covers in 90–99 % (3 sd: ±5.3 %)."""
    covered = 0
    for seed in range(150):
        members, _, spent = lived(800, 1000 + seed, 26)
        assert members.mean is not None
        model = bgnbd.fit(members.x, members.t_x, members.age)
        spend = gamma_gamma.fit(members.x, members.mean)
        found = total(model, spend, members, horizon=26, draws=120, seed=seed)
        covered += found.ci_low <= spent.sum() <= found.ci_high
    assert 0.90 <= covered / 150 <= 0.99


def test_sum_of_a_large_crowd_is_simulated_on_a_part() -> None:
    members, _, _ = lived(12_000, 3, 26)
    assert members.mean is not None
    model = bgnbd.fit(members.x, members.t_x, members.age)
    spend = gamma_gamma.fit(members.x, members.mean)
    found = total(model, spend, members, horizon=26, draws=100)
    values = expected_value(model, spend, members, horizon=26).value
    assert values is not None
    assert found.estimate == pytest.approx(values.sum())
    assert found.ci_low < found.estimate < found.ci_high
    small = members.part(np.arange(3000))
    alone = total(model, spend, small, horizon=26, draws=100)
    # Relative to the sum, chance shrinks with the crowd and the parameters' part stays.
    assert (found.ci_high - found.ci_low) / found.estimate < (alone.ci_high - alone.ci_low) / alone.estimate
    assert total(model, spend, small, horizon=26, draws=100) == alone


def test_discount_is_the_integral_over_time() -> None:
    """Money in 3,650 thin slices of time, each at its own factor, is the oracle."""
    members = Members(np.array([3.0]), np.array([300.0]), np.array([330.0]), np.array([25.0]))
    model = BgNbd(0.8, 42.0, 0.9, 3.0)
    rate = np.log(1.1) / 365
    times = np.linspace(0, 730, 3651)
    orders = np.diff(model.expected_purchases(times, 3.0, 300.0, 330.0), prepend=0.0)
    middle = np.r_[0, (times[1:] + times[:-1]) / 2]
    expected = float(orders @ np.exp(-rate * middle)) * float(SPEND.expected_value(3.0, 25.0)) * 0.4
    found = expected_value(model, SPEND, members, horizon=730, discount=rate, margin=0.4)
    assert found.value is not None
    assert found.value[0] == pytest.approx(expected, rel=1e-6)


def test_money_needs_means() -> None:
    with pytest.raises(ValueError, match="mean order value"):
        expected_value(MODEL, SPEND, Members(np.ones(1), np.ones(1), np.ones(1) * 2), horizon=9)
