"""Offer economics: the reference cases, parity with plain bootstraps, coverage, and what cannot be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stats.economics.columns import Columns, weighted
from stats.economics.pull_forward import pulled_forward
from stats.economics.returns import Returns, offer_returns
from stats.moments import Moments
from stats.power import break_even
from stats.samples import combination

NAMES = ("profit", "redemption", "contact", "buyers", "redemptions", "orders", "value", "before")


def shop(seed: int, n: int = 4000, *, lift: float = 0.02, before: float = 0.0) -> tuple[np.ndarray[Any, Any], Any]:
    """Units of a shop where control buys at 6 %, and most buyers of the variant redeem ¥20 of their ¥60 margin."""
    rng = np.random.default_rng(seed)
    arm = np.repeat([0, 1], n)
    habit = rng.normal(size=2 * n)
    buys = (rng.random(2 * n) < 0.06 + lift * arm + 0.02 * before * np.tanh(habit)).astype(float)
    redeems = buys * arm * (rng.random(2 * n) < 0.8)
    value = buys * rng.gamma(20, 8, 2 * n)
    margin, redemption, contact = 0.375 * value, 20 * redeems, 0.1 * arm
    columns = [margin - redemption - contact, redemption, contact, buys, redeems, buys, value, habit]
    return np.column_stack(columns), arm


def found(rows: np.ndarray[Any, Any], arm: Any, **options: Any) -> Returns:
    """Returns of such rows."""
    return offer_returns(Moments.from_rows(NAMES, rows, cell=arm), **options)


@pytest.mark.shared
def test_the_reference_campaign(shared_dir: Path) -> None:
    """uplift_reference.json, ``iroi``: a campaign whose own books say +90 % and that lost half of what it cost."""
    case = json.loads((shared_dir / "reference" / "uplift_reference.json").read_text())["iroi"]
    given, expected = case["input"], case["output"]
    sizes = (given["n_control"], given["n_treated"])
    rows = []
    for arm, n in enumerate(sizes):
        buyers = given["buyers_treated" if arm else "buyers_control"]
        buys = (np.arange(n) < buyers).astype(float)
        redeems = (np.arange(n) < given["redemptions"] * arm).astype(float)
        redemption, contact = given["face_value"] * redeems, np.full(n, given["contact_cost"] * arm)
        profit = given["margin_per_order"] * buys - redemption - contact
        rows.append(np.column_stack([profit, redemption, contact, buys, redeems, buys, 100 * buys, buys]))
    one = found(np.concatenate(rows), np.repeat([0, 1], sizes), fixed_cost=given["fixed_cost"])
    assert {
        "incremental_buyers": one.extra_buyers.estimate[0],
        "incremental_margin": one.extra_margin.estimate[0],
        "cost": one.cost[0],
        "incremental_profit": one.profit.estimate[0],
        "iroi": one.roi.estimate[0],
        "naive_roi": one.naive_roi[0],
        "redeem_rate": one.redeemed[0],
        "subsidised_baseline_share": one.sure_buyers.estimate[0],
        "cost_per_incremental_buyer": one.cost_per_buyer.estimate[0],
    } == pytest.approx(expected, rel=1e-9)


@pytest.mark.shared
def test_the_break_even_of_the_reference(shared_dir: Path) -> None:
    """At equal margins the break-even of what was seen is the closed form of `stats.power.break_even`."""
    cases = json.loads((shared_dir / "reference" / "uplift_reference.json").read_text())["break_even_uplift"]["cases"]
    n = 10_000
    for case in cases:
        rows = []
        for arm in (0, 1):
            buys = (np.arange(n) < round(n * (case["p0"] + 0.01 * arm))).astype(float)
            redemption, contact = case["d"] * buys * arm, np.full(n, case["c"] * arm)
            profit = case["m"] * buys - redemption - contact
            rows.append(np.column_stack([profit, redemption, contact, buys, buys * arm, buys, buys, buys]))
        one = found(np.concatenate(rows), np.repeat([0, 1], n))
        assert one.break_even[0] == pytest.approx(case["tau_star"], rel=1e-9)
        assert break_even(case["m"], case["d"], case["p0"], case["c"]) == pytest.approx(case["tau_star"], rel=1e-9)


def test_at_the_break_even_uplift_the_offer_earns_nothing() -> None:
    """Also where the orders' margin falls under the discount: an uplift just at τ* leaves a profit of zero."""
    n, base, lower = 100_000, 0.03, 50.0
    rows = []
    for arm, share, margin in ((0, base, 60.0), (1, 0.05, lower)):
        buys = (np.arange(n) < round(n * share)).astype(float)
        redemption, contact = 18.0 * buys * arm, np.full(n, 0.1 * arm)
        profit = margin * buys - redemption - contact
        rows.append(np.column_stack([profit, redemption, contact, buys, buys, buys, buys, buys]))
    needed = found(np.concatenate(rows), np.repeat([0, 1], n)).break_even[0]
    assert (lower - 18.0) * (base + needed) - 0.1 == pytest.approx(60.0 * base, rel=1e-9)


def test_intervals_are_as_wide_as_a_bootstraps() -> None:
    """300 resamples of members within arms, against the closed form: ends within a fifth of the interval's width."""
    rows, arm = shop(3, 6000, lift=0.025)
    names = ("roi", "sure_buyers", "cost_per_buyer", "profit", "extra_margin", "value_per_order")
    rng = np.random.default_rng(8)
    n = len(rows) // 2
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(300):
        one = found(rows[np.concatenate([rng.integers(0, n, n), n + rng.integers(0, n, n)])], arm)
        for name in names:
            drawn[name].append(getattr(one, name).estimate[0])
    closed = found(rows, arm)
    for name in names:
        low, high = np.nanquantile(drawn[name], [0.025, 0.975])
        assert getattr(closed, name).ci_low[0] == pytest.approx(low, abs=0.2 * (high - low)), name
        assert getattr(closed, name).ci_high[0] == pytest.approx(high, abs=0.2 * (high - low)), name


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """2,000 campaigns of 2 × 3,000: 95 % intervals hold it 93.5 to 96.5 % of the time (3 errors)."""
    truth = {"extra_margin": 3000 * 60 * 0.04, "roi": 60 * 0.04 / (20 * 0.8 * 0.1 + 0.1) - 1}
    truth |= {"sure_buyers": 1 - 0.04 / (0.8 * 0.1)}
    held = dict.fromkeys(truth, 0)
    for seed in range(2000):
        one = found(*shop(seed, 3000, lift=0.04))
        for name, value in truth.items():
            figure = getattr(one, name)
            held[name] += bool(figure.ci_low[0] <= value <= figure.ci_high[0])
    assert all(0.935 <= count / 2000 <= 0.965 for count in held.values()), held


def test_profit_is_margin_less_cost_and_the_return_agrees_with_it() -> None:
    """Also adjusted by a covariate; the return's interval leaves out zero just where the profit's does."""
    for seed in range(40):
        rows, arm = shop(seed, 1500, before=2.0)
        one = found(rows, arm, columns=Columns(covariates=("before",)), z=1.6)
        assert one.extra_margin.estimate[0] - one.cost[0] == pytest.approx(one.profit.estimate[0], rel=1e-9)
        assert one.cost[0] == pytest.approx(rows[arm == 1][:, 1:3].sum())
        if one.roi.why[0] == 0:
            assert one.roi.estimate[0] == pytest.approx(one.profit.estimate[0] / one.cost[0], rel=1e-9)
            assert np.sign(one.roi.ci_low[0]) == np.sign(one.profit.ci_low[0])
            assert np.sign(one.roi.ci_high[0]) == np.sign(one.profit.ci_high[0])


def test_a_covariate_narrows_the_profit_and_leaves_the_cost_alone() -> None:
    rows, arm = shop(1, 20_000, before=2.0)
    plain, adjusted = found(rows, arm), found(rows, arm, columns=Columns(covariates=("before",)))
    widths = [f.profit.ci_high[0] - f.profit.ci_low[0] for f in (plain, adjusted)]
    assert widths[1] < widths[0]
    assert adjusted.cost[0] == plain.cost[0]
    assert adjusted.sure_buyers.estimate[0] == plain.sure_buyers.estimate[0]


def test_a_profit_that_was_estimated_elsewhere_is_taken() -> None:
    rows, arm = shop(2)
    one, plain = found(rows, arm, profit=[0.5]), found(rows, arm)
    assert one.profit.estimate[0] == pytest.approx(0.5 * 4000)
    assert one.extra_margin.estimate[0] == pytest.approx(0.5 * 4000 + one.cost[0])
    assert one.cost[0] == plain.cost[0]


def test_what_cannot_be_told_is_none_with_a_reason() -> None:
    """No cost, no redemptions, no orders, one unit: never a NaN without its reason."""
    nothing = np.zeros((200, len(NAMES)))
    one = found(nothing, np.repeat([0, 1], 100))
    assert one.roi.value(0) == (None, None, None, "what the offer costs more than control cannot be told from zero")
    assert one.sure_buyers.value(0)[3] == "too few redemptions to tell their share from zero"
    assert one.cost_per_buyer.value(0)[3] == "extra buyers cannot be told from none"
    assert one.value_per_order.value(0)[3] == "no orders in at least one of the variants"
    single = found(nothing[:101], np.repeat([0, 1], [100, 1]))
    assert single.profit.value(0) == (None, None, None, "too few units: 2 needed in each variant")


def test_pull_forward_is_found_where_purchases_only_move() -> None:
    """Every purchase that the offer adds to the window is one that is missing after it: all is given back."""
    rng = np.random.default_rng(4)
    n = 20_000
    late = rng.random(2 * n) < 0.10
    moved = late & (rng.random(2 * n) < 0.5) & (np.arange(2 * n) >= n)
    early = rng.random(2 * n) < 0.05
    rows = np.column_stack([60.0 * (early | moved), 60.0 * (late & ~moved)])
    one = pulled_forward(Moments.from_rows(["in", "after"], rows, cell=np.repeat([0, 1], n)), "in", "after")
    assert one.given_back.ci_low[0] < 1 < one.given_back.ci_high[0]
    assert one.net.ci_low[0] < 0 < one.net.ci_high[0]
    assert one.within.ci_low[0] > 0 > one.after.ci_high[0]


def test_weighted_sums_are_the_moments_of_the_sums() -> None:
    rows, arm = shop(5, 300)
    moments = Moments.from_rows(NAMES, rows, cell=arm)
    both = weighted(moments, {"margin": {"profit": 1.0, "redemption": 1.0, "contact": 1.0}})
    direct = Moments.from_rows(["margin"], rows[:, :3].sum(axis=1, keepdims=True), cell=arm)
    np.testing.assert_allclose(both.mean, direct.mean, rtol=1e-12)
    np.testing.assert_allclose(both.m2, direct.m2, rtol=1e-9)
    sample = combination(moments, {"profit": 1.0, "redemption": 1.0, "contact": 1.0})
    np.testing.assert_allclose(both.mean[..., 0], sample.mean, rtol=1e-12)
