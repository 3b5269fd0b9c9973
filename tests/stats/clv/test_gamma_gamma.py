"""Gamma–gamma: reference cases, CDNOW, the lifetimes package, and the model's own numbers found again."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from stats.clv import gamma_gamma
from stats.clv.gamma_gamma import GammaGamma


@pytest.mark.shared
def test_reference_cases(reference: dict[str, Any]) -> None:
    model = GammaGamma(**reference["input"]["params_gamma_gamma"])
    assert len(reference["gamma_gamma"]) == 4
    for case in reference["gamma_gamma"]:
        found = float(model.expected_value(case["x"], case["mean"]))
        assert found == pytest.approx(case["expected_value"], abs=1e-9)


def test_published_parameters_of_cdnow(cdnow: np.ndarray) -> None:
    """Fader, Hardie (2013), The gamma-gamma model: p 6.25, q 3.74, γ 15.44; the mean of the crowd is 35.2."""
    found = gamma_gamma.fit(cdnow[:, 0], cdnow[:, 3])
    assert found.units == 946
    assert (found.p, found.q, found.gamma) == pytest.approx((6.25, 3.74, 15.44), abs=0.01)
    assert float(found.expected_value(0, 0)) == pytest.approx(35.2, abs=0.1)
    assert found.correlation == pytest.approx(np.corrcoef(cdnow[cdnow[:, 0] > 0][:, [0, 3]].T)[0, 1])


@pytest.mark.slow
def test_lifetimes_agrees(cdnow: np.ndarray) -> None:
    from lifetimes import GammaGammaFitter

    again = cdnow[cdnow[:, 0] > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GammaGammaFitter().fit(again[:, 0], again[:, 3])
    ours = gamma_gamma.fit(again[:, 0], again[:, 3])
    assert [ours.p, ours.q, ours.gamma] == pytest.approx([theirs.params_[n] for n in ("p", "q", "v")], rel=1e-4)
    expected = theirs.conditional_expected_average_profit(again[:, 0], again[:, 3])
    assert ours.expected_value(again[:, 0], again[:, 3]) == pytest.approx(np.asarray(expected), rel=1e-4)


def test_parameters_are_found_again_in_any_currency() -> None:
    """Orders drawn by the model: within 4 standard errors (false alarm < 2 in 10,000), and money scales γ only."""
    rng = np.random.default_rng(4)
    x = rng.integers(1, 8, 5000).astype(float)
    scale = rng.gamma(3.5, 1 / 20.0, 5000)
    mean = rng.gamma(5.0 * x) / scale / x
    found = gamma_gamma.fit(x, mean)
    errors = found.std_errors()
    for name, true in (("p", 5.0), ("q", 3.5), ("gamma", 20.0)):
        error = errors[name]
        assert error is not None
        assert abs(getattr(found, name) - true) < 4 * error
    fen = gamma_gamma.fit(x, 100 * mean)
    assert (fen.p, fen.q, fen.gamma) == pytest.approx((found.p, found.q, 100 * found.gamma), rel=1e-6)
    assert fen.log_likelihood == pytest.approx(found.log_likelihood - 5000 * np.log(100), rel=1e-9)


def test_worthless_orders_are_left_out_and_one_price_is_refused() -> None:
    x, mean = [1, 2, 3, 1, 2], [10.0, 20.0, 15.0, 0.0, np.nan]
    assert gamma_gamma.fit(x, mean).units == 3
    with pytest.raises(ValueError, match="different, positive"):
        gamma_gamma.fit([1, 1, 1], [9.0, 9.0, 9.0])
    with pytest.raises(ValueError, match="at least 3"):
        gamma_gamma.fit([0, 0, 1], [1.0, 2.0, 3.0])
