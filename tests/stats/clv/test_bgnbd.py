"""BG/NBD: the published example, CDNOW, lifetimes, the model's definition as an integral, and simulation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from stats.clv import bgnbd
from stats.clv.bgnbd import BgNbd
from stats.clv.summary import summary
from tests.stats.clv.conftest import CALIBRATED, END

PUBLISHED = BgNbd(0.243, 4.414, 0.793, 2.426)
"""Fader, Hardie, Lee (2005), table 2."""


@pytest.mark.shared
def test_reference_cases(reference: dict[str, Any]) -> None:
    model = BgNbd(**reference["input"]["params_bgnbd"])
    assert len(reference["cases"]) == 4
    for case in reference["cases"]:
        x, t_x, age = case["x"], case["t_x"], case["T"]
        assert float(model.expected_purchases(case["t"], x, t_x, age)) == pytest.approx(
            case["expected_purchases"], abs=1e-9
        )
        assert float(model.probability_alive(x, t_x, age)) == pytest.approx(case["p_alive"], abs=1e-9)


def test_published_parameters_of_cdnow(cdnow: np.ndarray) -> None:
    """Fader, Hardie, Lee (2005), table 2: .243, 4.414, .793, 2.426 and log likelihood −9582.4."""
    found = bgnbd.fit(cdnow[:, 0], cdnow[:, 1], cdnow[:, 2])
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), abs=1e-3)
    assert found.log_likelihood == pytest.approx(-9582.4, abs=0.05)
    assert found.converged
    errors = found.std_errors()
    # Finite differences of the published likelihood, in R's BTYD vignette and here: the orders of magnitude agree.
    assert errors["r"] == pytest.approx(0.0126, rel=0.02)
    assert float(found.expected_purchases(39, 2, 30.43, 38.86)) == pytest.approx(1.226, abs=1e-3)


@pytest.mark.slow
def test_lifetimes_agrees(cdnow: np.ndarray) -> None:
    from lifetimes import BetaGeoFitter

    x, t_x, age = cdnow[:, 0], cdnow[:, 1], cdnow[:, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = BetaGeoFitter().fit(x, t_x, age)
        ours = bgnbd.fit(x, t_x, age)
        assert [ours.r, ours.alpha, ours.a, ours.b] == pytest.approx(
            [theirs.params_[name] for name in ("r", "alpha", "a", "b")], rel=2e-4
        )
        same = BgNbd(*(float(theirs.params_[name]) for name in ("r", "alpha", "a", "b")))
        expected = theirs.conditional_expected_number_of_purchases_up_to_time(39, x, t_x, age)
        assert same.expected_purchases(39, x, t_x, age) == pytest.approx(np.asarray(expected), rel=1e-9)
        assert same.probability_alive(x, t_x, age) == pytest.approx(
            np.asarray(theirs.conditional_probability_alive(x, t_x, age)), rel=1e-9
        )


@settings(max_examples=40, deadline=None)
@given(
    r=st.floats(0.1, 5) | st.sampled_from([0.5, 1.0]),
    alpha=st.floats(0.5, 60),
    a=st.floats(0.1, 4) | st.sampled_from([0.5, 1.0, 1 + 1e-6, 1.5, 2.0]),
    b=st.floats(0.3, 6) | st.just(0.5),
    x=st.integers(0, 300),
    age=st.floats(1, 400),
    part=st.floats(0.01, 1),
    t=st.floats(0.1, 400),
)
def test_expected_orders_are_the_integral_that_defines_them(
    r: float, alpha: float, a: float, b: float, x: int, age: float, part: float, t: float
) -> None:
    """E[Y(t)] = P(alive)·E[(1 − e^(−λpt))/p] over gamma λ and beta p of somebody active."""
    t_x = age * part if x else 0.0
    model = BgNbd(r, alpha, a, b)
    u = np.arange(-300.0, 60.0, 2e-3)
    # Trapezoid in the logit of p, where the density falls exponentially on both sides: exact but for rounding.
    density = np.exp(-a * np.logaddexp(0, -u) - (b + x) * np.logaddexp(0, u) - special.betaln(a, b + x))
    p = special.expit(u)
    orders = -np.expm1(-(r + x) * np.log1p(p * t / (alpha + age))) / p
    expected = float(density @ orders) * 2e-3 * float(model.probability_alive(x, t_x, age))
    assert float(model.expected_purchases(t, x, t_x, age)) == pytest.approx(expected, rel=1e-6)


def test_slope_is_the_derivative() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 6, 50).astype(float)
    age = rng.uniform(5, 20, 50)
    t_x = np.where(x > 0, age * rng.uniform(0.1, 1, 50), 0)
    slope = bgnbd._slope(np.column_stack([x, t_x, age]), np.ones(50))
    at = np.log([0.5, 3.0, 0.7, 2.0])
    for place in range(4):
        step = np.zeros(4)
        step[place] = 1e-6
        assert (slope(at + step)[0] - slope(at - step)[0]) / 2e-6 == pytest.approx(slope(at)[1][place], rel=1e-6)


def simulated(n: int, seed: int, model: BgNbd, weeks: float = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members who live by the model, looked at after at most ``weeks``."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(weeks / 4, weeks, n)
    rate, leave = rng.gamma(model.r, 1 / model.alpha, n), rng.beta(model.a, model.b, n)
    x, t_x, now, here = np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n, dtype=bool)
    while here.any():
        now[here] += rng.exponential(1 / rate[here])
        here &= now <= age
        x[here] += 1
        t_x[here] = now[here]
        here &= rng.random(n) > leave
    return x, t_x, age


def test_parameters_are_found_again() -> None:
    """Members by the model: every parameter within 4 of its standard errors (false alarm < 3 in 10,000), order free."""
    true = BgNbd(0.8, 6.0, 0.9, 3.0)
    x, t_x, age = simulated(6000, 8, true)
    found = bgnbd.fit(x, t_x, age)
    for name, error in found.std_errors().items():
        assert error is not None
        assert abs(getattr(found, name) - getattr(true, name)) < 4 * error
    shuffled = np.random.default_rng(1).permutation(len(x))
    again = bgnbd.fit(x[shuffled], t_x[shuffled], age[shuffled])
    assert (again.r, again.alpha, again.a, again.b) == (found.r, found.alpha, found.a, found.b)
    days = bgnbd.fit(x, 7 * t_x, 7 * age)
    assert (days.r, days.alpha, days.a, days.b) == pytest.approx((found.r, 7 * found.alpha, found.a, found.b), rel=1e-6)


def test_many_rows_start_on_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginning on a part and ending on all gives what beginning on all gives."""
    x, t_x, age = simulated(3000, 9, PUBLISHED)
    whole = bgnbd.fit(x, t_x, age)
    monkeypatch.setattr(bgnbd, "FEW", 300)
    part = bgnbd.fit(x, t_x, age)
    assert (part.r, part.alpha, part.a, part.b) == pytest.approx((whole.r, whole.alpha, whole.a, whole.b), rel=1e-5)


def test_nobody_leaves_is_said_to_be_unbounded() -> None:
    """Regular buyers until the last day: leaving cannot be learned, and no error is made up for it."""
    x = np.tile([9.0, 10.0, 11.0], 40)
    found = bgnbd.fit(x, np.full(120, 30.0), np.full(120, 30.0))
    assert not found.converged
    assert found.std_errors()["b"] is None
    assert np.isfinite(found.expected_purchases(30, x, 30, 30)).all()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (([], [], []), "at least one"),
        (([0, 0], [0, 0], [5, 5]), "nobody ordered on a second day"),
        (([1], [6], [5]), "recency ≤ age"),
        (([0], [2], [5]), "recency of 0"),
        (([np.nan], [2], [5]), "every member"),
        (([-1], [0], [5]), "0 ≤"),
    ],
)
def test_contradictions_are_refused(rows: tuple[list[float], ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bgnbd.fit(*rows)


def test_summary_of_orders_is_the_published_one(
    cdnow: np.ndarray, cdnow_orders: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """From raw orders: repeats, recency and age of the published table (weeks to two places)."""
    customer, day, dollars = cdnow_orders
    found = summary(customer, day, CALIBRATED, dollars)
    assert len(found.unit) == 2357
    assert found.frequency == pytest.approx(cdnow[:, 0])
    assert found.recency / 7 == pytest.approx(cdnow[:, 1], abs=0.006)
    assert found.age / 7 == pytest.approx(cdnow[:, 2], abs=0.006)
    both = found.frequency > 0
    assert np.mean(np.abs(found.monetary - cdnow[:, 3])[both] < 0.01) > 0.99


def test_holdout_of_cdnow(cdnow_orders: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """39 weeks learned, 39 weeks foretold: orders by past frequency (Fader, Hardie, Lee 2005, figure 3)."""
    customer, day, _ = cdnow_orders
    found = summary(customer, day, CALIBRATED)
    model = bgnbd.fit(found.frequency, found.recency, found.age)
    foretold = model.expected_purchases(END - CALIBRATED, found.frequency, found.recency, found.age)
    days = np.unique(np.column_stack([customer, day])[day > CALIBRATED], axis=0)
    real = np.bincount(days[:, 0], minlength=2357)
    group = np.minimum(found.frequency, 7)
    for repeats in range(8):
        of = group == repeats
        error = np.std(real[of], ddof=1) / np.sqrt(of.sum())
        # 4 standard errors: chance alone goes beyond in 5 of 10,000 sets of eight groups.
        assert abs(real[of].mean() - foretold[of].mean()) < 4 * error, repeats
    # Known to be low here: the 39 weeks ahead contain Christmas, the 39 learned from do not.
    assert foretold.sum() == pytest.approx(real.sum(), rel=0.15)
