"""Shrunken segments: a brute-force posterior on a grid of (τ, μ) is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from stats.random_effects import pool
from stats.shrinkage import PRIOR_ERRORS, shrink

SEGMENTS = st.lists(st.tuples(st.floats(-3, 3), st.floats(0.05, 2)), min_size=2, max_size=8)


def brute_force(y: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return posterior mean and sd of each θ over a fine grid of τ, μ integrated on a grid too."""
    typical = np.sqrt(y.size / (1 / errors**2).sum())
    tau = np.geomspace(1e-4, 3e3, 1200) * typical
    mu = np.linspace(-150, 150, 12_001)
    log_prior = -np.log1p((tau / (PRIOR_ERRORS * typical)) ** 2) + np.log(tau)
    weight = np.empty(tau.size)
    mean, square = np.zeros((tau.size, y.size)), np.zeros((tau.size, y.size))
    for i, t in enumerate(tau):
        spread = np.sqrt(errors**2 + t**2)
        logs = sps.norm.logpdf(y[:, None], mu, spread[:, None]).sum(axis=0)
        top = logs.max()
        density = np.exp(logs - top)
        weight[i] = np.exp(top + log_prior[i]) * density.sum()
        at = density / density.sum()
        kept = t**2 / (t**2 + errors**2)
        theta = kept[:, None] * y[:, None] + (1 - kept[:, None]) * mu
        mean[i] = theta @ at
        square[i] = (theta**2) @ at + kept * errors**2
    share = weight / weight.sum()
    centre = share @ mean
    return centre, np.sqrt(share @ square - centre**2)


@pytest.mark.parametrize(
    ("y", "errors"), [([0.2, 0.9, -0.3, 0.4, 2.0], [0.3, 0.2, 0.5, 0.2, 0.9]), ([0.5, 0.1, -0.2], [0.2, 0.4, 0.3])]
)
def test_brute_force_agrees(y: list[float], errors: list[float]) -> None:
    centre, sd = brute_force(np.array(y), np.array(errors))
    found = shrink(y, errors)
    assert found.estimate == pytest.approx(centre, abs=2e-4)
    assert found.std_error == pytest.approx(sd, rel=2e-3)
    assert float(found.tau) == pytest.approx(float(pool(y, errors).tau), rel=1e-9)


def test_ends_are_quantiles_of_the_mixture() -> None:
    """Draws of θ given the posterior of τ and μ: by Gibbs sampling of the same model, 200,000 steps."""
    y, errors = np.array([0.2, 0.9, -0.3, 0.4]), np.array([0.3, 0.2, 0.5, 0.2])
    found = shrink(y, errors)
    rng = np.random.default_rng(2)
    typical = np.sqrt(4 / (1 / errors**2).sum())
    grid = np.geomspace(1e-3, 300, 1500) * typical
    w = 1 / (errors**2 + grid[:, None] ** 2)
    mu = (w * y).sum(axis=1) / w.sum(axis=1)
    logs = 0.5 * np.log(w).sum(axis=1) - 0.5 * np.log(w.sum(axis=1)) - 0.5 * (w * (y - mu[:, None]) ** 2).sum(axis=1)
    logs += np.log(grid) - np.log1p((grid / (PRIOR_ERRORS * typical)) ** 2)
    chance = np.exp(logs - logs.max())
    at = rng.choice(grid.size, 200_000, p=chance / chance.sum())
    centre = mu[at] + rng.standard_normal(200_000) / np.sqrt(w[at].sum(axis=1))
    kept = grid[at, None] ** 2 / (grid[at, None] ** 2 + errors**2)
    theta = kept * y + (1 - kept) * centre[:, None] + np.sqrt(kept) * errors * rng.standard_normal((200_000, 4))
    assert (theta < found.ci_low).mean(axis=0) == pytest.approx(np.full(4, 0.025), abs=0.002)
    assert (theta > found.ci_high).mean(axis=0) == pytest.approx(np.full(4, 0.025), abs=0.002)


@given(SEGMENTS, st.sampled_from([100.0, 1e-4]), st.floats(-5, 5))
@settings(deadline=None, max_examples=15)
def test_units_origin_and_order(segments: list[tuple[float, float]], unit: float, origin: float) -> None:
    y, errors = np.array(segments).T
    one, scaled, moved = shrink(y, errors), shrink(y * unit, errors * unit), shrink(y + origin, errors)
    backwards = shrink(y[::-1], errors[::-1])
    for name in ("estimate", "ci_low", "ci_high", "std_error"):
        value = getattr(one, name)
        assert getattr(scaled, name) == pytest.approx(unit * value, rel=1e-6, abs=1e-7 * unit)
        shift = 0 if name == "std_error" else origin
        assert getattr(moved, name) == pytest.approx(value + shift, rel=1e-6, abs=1e-6)
        assert getattr(backwards, name)[::-1] == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert (one.ci_low < one.estimate).all()
    assert (one.estimate < one.ci_high).all()
    # What is pulled, is pulled inwards: never past the outermost segment.
    assert (one.estimate >= y.min() - 1e-9).all()
    assert (one.estimate <= y.max() + 1e-9).all()


def test_the_noisier_the_further() -> None:
    found = shrink([1.0, 1.0, -1.0, -1.0], [0.1, 1.0, 0.1, 1.0])
    assert 0 < found.estimate[1] < found.estimate[0] < 1.0
    equal = shrink(np.full(6, 0.3), np.full(6, 0.1))
    assert equal.estimate == pytest.approx(0.3)
    assert float(equal.tau) == 0
    apart = shrink([0.0, 1000.0], [1.0, 1.0])
    assert apart.estimate == pytest.approx([0.0, 1000.0], abs=0.2)


def test_missing_segments_and_grids() -> None:
    y = np.array([[0.1, np.nan, 0.3, 0.2], [0.1, np.nan, np.nan, np.nan]])
    found = shrink(y, np.full((2, 4), 0.1))
    assert found.estimate[0, [0, 2, 3]] == pytest.approx(shrink([0.1, 0.3, 0.2], [0.1] * 3).estimate)
    assert (found.value(0, 1).why_code, found.value(0, 1).estimate) == ("no_estimate", None)
    assert (found.value(1, 0).why_code, found.value(1, 0).ci_low) == ("too_few_groups", None)
    assert found.value(0, 0).why is None
    turned = shrink(y.T, np.full((4, 2), 0.1), axis=0)
    assert turned.estimate[:, 0] == pytest.approx(found.estimate[0], nan_ok=True)
    assert shrink([0.1, 0.2], [0.0, 0.1]).value(1).why_code == "too_few_groups"
    with pytest.raises(ValueError, match="alpha"):
        shrink([1, 2], [1, 1], alpha=0)
