"""The normal mixture band: closed forms of three names, invariances, and validity at all looks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.sequential import mixture_band, rho2, tau2

EFFECT, ERROR = st.floats(-5, 5), st.floats(1e-3, 2)


@given(EFFECT, ERROR, st.floats(1e-4, 10), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_band_excludes_zero_exactly_where_p_rejects(
    effect: float, error: float, spread: float, alpha: float
) -> None:
    band = mixture_band(effect, error, alpha, tau2=spread)
    if abs(float(band.p_value) / alpha - 1) > 1e-9:
        assert (float(band.ci_low) > 0 or float(band.ci_high) < 0) == (float(band.p_value) < alpha)


@given(EFFECT, ERROR, st.floats(1e-3, 1e3))
def test_units_do_not_matter(effect: float, error: float, scale: float) -> None:
    one = mixture_band(effect, error, n=1000, n_star=2000)
    other = mixture_band(effect * scale, error * scale, n=1000, n_star=2000)
    assert float(other.p_value) == pytest.approx(float(one.p_value), rel=1e-9)
    assert float(other.ci_low) == pytest.approx(float(one.ci_low) * scale, rel=1e-9, abs=1e-9 * scale)


@given(EFFECT, ERROR, st.integers(2, 10**6), st.integers(100, 10**6))
def test_rho_and_tau_are_one_mixture(effect: float, error: float, n: int, n_star: int) -> None:
    by_n = mixture_band(effect, error, n=n, n_star=n_star)
    by_tau = mixture_band(effect, error, tau2=tau2(error, n, n_star))
    assert float(by_n.ci_high) == pytest.approx(float(by_tau.ci_high), rel=1e-9)
    assert float(by_n.p_value) == pytest.approx(float(by_tau.p_value), rel=1e-9)


def test_the_published_asymptotic_sequence() -> None:
    """Waudby-Smith et al. (2103.06476) eq. 9: √((N ρ² + 1)/(N² ρ²) · ln((N ρ² + 1)/α²)) in standard deviations."""
    n, r = np.array([100.0, 5000.0, 200_000.0]), float(rho2(5000))
    closed = np.sqrt((n * r + 1) / (n**2 * r) * np.log((n * r + 1) / 0.05**2))
    band = mixture_band(np.zeros(3), 1 / np.sqrt(n), n=n, n_star=5000)
    assert band.ci_high == pytest.approx(closed, rel=1e-12)


def test_it_is_narrowest_near_the_planned_number() -> None:
    """In units of the fixed interval's width at the same n; the choice of ρ is near optimal, not exactly."""
    n = np.geomspace(100, 10**6, 400)
    band = mixture_band(np.zeros(400), 1 / np.sqrt(n), n=n, n_star=5000)
    best = n[np.argmin(band.ci_high * np.sqrt(n))]
    assert 4000 < best < 6500


def test_no_error_no_band_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        band = mixture_band([0.1, np.nan, 0.2], [0.0, 0.1, np.nan], tau2=0.01)
        huge = mixture_band(1e6, 1e-3, tau2=0.01)
    assert np.isnan(band.ci_low).all()
    assert np.isnan(band.p_value).all()
    assert float(huge.p_value) == 0.0


@pytest.mark.parametrize(
    ("keywords", "message"), [({}, "give tau2"), ({"tau2": 0.0}, "positive"), ({"n": 5, "n_star": -1}, "positive")]
)
def test_wrong_input_is_named(keywords: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixture_band(0.1, 0.1, **keywords)


def test_false_alarms_at_any_of_a_hundred_looks_stay_below_alpha() -> None:
    """20,000 A/A tests, 10,000 a side, 100 looks, N* = 10,000 a side: .05 is a bound, about .015 is expected.

    The shared study found .015 (s.e. .0015); a fixed test peeked at 100 times gives .37. Seed fixed; ± 4 s.e.
    """
    rng = np.random.default_rng(83)
    runs, looks = 20_000, 100
    n = np.arange(1, looks + 1) * 200.0  # units of both sides
    ever, peeked = 0, 0
    for _ in range(10):
        path = np.cumsum(rng.standard_normal((runs // 10, looks)), axis=1) * np.sqrt(200.0)
        estimate, error = 2 * path / n, 2 / np.sqrt(n)
        band = mixture_band(estimate, np.broadcast_to(error, estimate.shape), n=n, n_star=20_000)
        ever += int((band.p_value <= 0.05).any(axis=1).sum())
        peeked += int((np.abs(estimate / error) > 1.96).any(axis=1).sum())
    assert ever / runs <= 0.05
    assert ever / runs == pytest.approx(0.015, abs=0.006)
    assert peeked / runs > 0.3
