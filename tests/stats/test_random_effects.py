"""Pooled waves: statsmodels is the oracle for τ², Q, weights and the HKSJ error; draws for the next wave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy import stats as sps
from statsmodels.stats.meta_analysis import combine_effects

from stats.random_effects import pool

WAVES = st.lists(st.tuples(st.floats(-3, 3), st.floats(0.05, 2)), min_size=2, max_size=8)


@pytest.mark.parametrize(("method", "theirs"), [("paule_mandel", "iterated"), ("dersimonian_laird", "chi2")])
def test_statsmodels_agrees(method: str, theirs: str) -> None:
    rng = np.random.default_rng(5)
    for k in (2, 3, 6, 12):
        errors = rng.uniform(0.05, 0.3, k)
        effects = 0.1 + 0.15 * rng.standard_normal(k) + errors * rng.standard_normal(k)
        expected = combine_effects(effects, errors**2, method_re=theirs, atol=1e-9, maxiter=200)
        found = pool(effects, errors, method=method, floor=False, predict=False)  # type: ignore[arg-type]
        tau2 = max(expected.tau2, 0.0)
        assert float(found.tau) ** 2 == pytest.approx(tau2, rel=1e-6, abs=1e-9)
        assert float(found.q) == pytest.approx(expected.q, rel=1e-9)
        assert float(found.heterogeneity_p) == pytest.approx(sps.chi2.sf(expected.q, k - 1), rel=1e-9)
        if expected.tau2 > 0:
            assert float(found.estimate) == pytest.approx(expected.mean_effect_re, rel=1e-6)
            assert found.weights == pytest.approx(expected.weights_rel_re, rel=1e-5)
            assert float(found.std_error) == pytest.approx(expected.sd_eff_w_re_hksj, rel=1e-6)
            half = sps.t.ppf(0.975, k - 1) * expected.sd_eff_w_re_hksj
            assert float(found.ci_high - found.estimate) == pytest.approx(half, rel=1e-6)


def test_paule_mandel_solves_its_equation() -> None:
    """At τ² the weighted squares are waves − 1."""
    y, errors = np.array([0.1, 0.5, -0.2, 0.4]), np.array([0.1, 0.2, 0.1, 0.05])
    tau2 = float(pool(y, errors).tau) ** 2
    w = 1 / (errors**2 + tau2)
    assert (w * (y - (w * y).sum() / w.sum()) ** 2).sum() == pytest.approx(3, rel=1e-9)


def test_the_next_wave_against_draws() -> None:
    """The mixture drawn 400,000 times: τ² by generalised Q, the wave's own deviation, Student's error of the mean."""
    y, errors = np.array([0.1, 0.5, -0.2, 0.4, 0.2]), np.array([0.1, 0.2, 0.1, 0.05, 0.3])
    rng = np.random.default_rng(6)
    grid = np.concatenate([[0.0], np.geomspace(1e-6, 1e3, 20_000)])
    w = 1 / (errors**2 + grid[:, None])
    centre = (w * y).sum(axis=1) / w.sum(axis=1)
    q = (w * (y - centre[:, None]) ** 2).sum(axis=1)
    drawn = rng.chisquare(4, 400_000)
    tau2 = np.interp(-drawn, -q, grid)
    w = 1 / (errors**2 + tau2[:, None])
    centre = (w * y).sum(axis=1) / w.sum(axis=1)
    residual = np.maximum((w * (y - centre[:, None]) ** 2).sum(axis=1) / 4, 1)
    following = centre + np.sqrt(tau2) * rng.standard_normal(400_000)
    following += np.sqrt(residual / w.sum(axis=1)) * rng.standard_t(4, 400_000)
    found = pool(y, errors).value()
    assert (following < found.prediction_low).mean() == pytest.approx(0.025, abs=0.0015)
    assert (following > found.prediction_high).mean() == pytest.approx(0.025, abs=0.0015)


@given(WAVES, st.sampled_from([100.0, 1e-4]), st.floats(-5, 5))
@settings(deadline=None, max_examples=15)
def test_units_origin_sign_and_order(waves: list[tuple[float, float]], unit: float, origin: float) -> None:
    y, errors = np.array(waves).T
    one = pool(y, errors)
    scaled, moved = pool(y * unit, errors * unit), pool(y + origin, errors)
    flipped, shuffled = pool(-y, errors), pool(y[::-1], errors[::-1])
    for name in ("estimate", "ci_low", "ci_high", "tau", "prediction_low", "prediction_high"):
        value = float(getattr(one, name))
        assert float(getattr(scaled, name)) == pytest.approx(unit * value, rel=1e-6, abs=1e-6 * unit, nan_ok=True)
        assert float(getattr(shuffled, name)) == pytest.approx(value, rel=1e-6, abs=1e-7, nan_ok=True)
        at = 0 if name == "tau" else origin
        assert float(getattr(moved, name)) == pytest.approx(value + at, rel=1e-6, abs=1e-6, nan_ok=True)
    assert float(flipped.ci_low) == pytest.approx(-float(one.ci_high), rel=1e-6, abs=1e-7)
    assert (float(one.p_value) <= 0.05) == (float(one.ci_low) > 0 or float(one.ci_high) < 0) or (
        float(one.p_value) == pytest.approx(0.05, rel=1e-6)
    )
    assert one.weights.sum() == pytest.approx(1)


def test_grids_missing_waves_and_too_few() -> None:
    y = np.array([[0.1, 0.3, np.nan, 0.2], [0.1, np.nan, np.nan, np.nan]])
    found = pool(y, np.full((2, 4), 0.1))
    alone = pool([0.1, 0.3, 0.2], [0.1] * 3)
    assert float(found.estimate[0]) == pytest.approx(float(alone.estimate))
    assert float(found.prediction_high[0]) == pytest.approx(float(alone.prediction_high))
    assert found.weights[0, 2] == 0
    assert found.waves.tolist() == [3, 1]
    value = found.value(1)
    assert (value.why_code, value.estimate, value.waves) == ("too_few_groups", None, 1)
    two = pool([0.1, 0.3], [0.1, 0.1]).value()
    assert two.prediction_low is None
    assert two.ci_low is not None
    assert pool([0.1, 0.2], [0.0, 0.1]).value().why_code == "too_few_groups"
    across = pool(y.T, np.full((4, 2), 0.1), axis=0)
    assert float(across.estimate[0]) == pytest.approx(float(found.estimate[0]))
    with pytest.raises(ValueError, match="method"):
        pool([1, 2], [1, 1], method="x")  # type: ignore[arg-type]


def test_waves_that_agree_too_well_do_not_narrow_the_interval() -> None:
    agreed = pool([0.1, 0.1, 0.1], [0.05, 0.05, 0.05]).value()
    assert agreed.tau == 0
    assert agreed.std_error == pytest.approx(0.05 / np.sqrt(3))
    assert agreed.ci_high - agreed.estimate == pytest.approx(special.stdtrit(2, 0.975) * 0.05 / np.sqrt(3))
    bare = pool([0.1, 0.1, 0.1], [0.05, 0.05, 0.05], floor=False).value()
    assert bare.std_error == pytest.approx(0, abs=1e-12)
    assert bare.p_value is None or bare.p_value >= 0
