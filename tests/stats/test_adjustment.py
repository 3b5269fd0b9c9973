"""CUPED: ANCOVA is the oracle for means, ANCOVA on linearised contributions for ratios."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.adjustment import cuped_means, cuped_ratios, variance_reduction
from stats.effects import difference_of_means
from stats.moments import Moments


def simulate(seed: int, n: int, arms: int, covariates: int, imbalance: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, arms, n)
    before = rng.gamma(2.0, 2.0, (n, covariates)) + imbalance * arm[:, None]
    after = before @ np.linspace(1.0, -0.5, covariates) + 0.5 * arm + rng.normal(0, 2, n)
    return arm, np.column_stack([after, before])


@pytest.mark.parametrize(("arms", "covariates"), [(2, 1), (2, 3), (4, 2)])
def test_theta_and_effects_are_those_of_ancova(arms: int, covariates: int) -> None:
    """Oracle: statsmodels OLS of the metric on the variants' dummies and the covariates."""
    arm, rows = simulate(1, 500, arms, covariates, imbalance=0.4)
    names = ["y", *(f"x{i}" for i in range(covariates))]
    adjusted = cuped_means(Moments.from_rows(names, rows, cell=arm), "y", names[1:])
    design = np.column_stack([arm == k for k in range(arms)] + [rows[:, 1:]]).astype(float)
    fit = sm.OLS(rows[:, 0], design).fit()
    assert adjusted.theta == pytest.approx(fit.params[arms:], rel=1e-9)
    effect = difference_of_means(adjusted.sample[0], adjusted.sample[1:])
    assert effect.estimate == pytest.approx(fit.params[1:arms] - fit.params[0], rel=1e-9)
    residual = fit.resid
    for k in range(arms):
        assert adjusted.sample.variance[k] == pytest.approx(residual[arm == k].var(ddof=1), rel=1e-9)


def test_the_ratio_is_ancova_of_linearised_contributions() -> None:
    """Oracle: contributions computed row by row, each in its own variant, then ordinary least squares."""
    rng = np.random.default_rng(2)
    n = 600
    arm = rng.integers(0, 2, n)
    visits_before, visits = rng.poisson(4, n) + 1.0, rng.poisson(5, n) + 1.0
    taste = rng.beta(2, 4, n)
    orders_before = rng.binomial(visits_before.astype(int), taste).astype(float)
    orders = rng.binomial(visits.astype(int), np.clip(taste + 0.03 * arm, 0, 1)).astype(float)
    rows = np.column_stack([orders, visits, orders_before, visits_before])
    names = ["orders", "visits", "orders_before", "visits_before"]
    adjusted = cuped_ratios(
        Moments.from_rows(names, rows, cell=arm), "orders", "visits", [("orders_before", "visits_before")]
    )

    def contributions(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        out = np.empty(n)
        for k in (0, 1):
            own = arm == k
            share = top[own].sum() / bottom[own].sum()
            out[own] = (top[own] - share * bottom[own]) / bottom[own].mean()
        return out

    y, x = contributions(orders, visits), contributions(orders_before, visits_before)
    design = np.column_stack([arm == 0, arm == 1, x]).astype(float)
    fit = sm.OLS(y, design).fit()
    assert adjusted.theta[0] == pytest.approx(fit.params[2], rel=1e-9)
    gap = [orders_before[arm == k].sum() / visits_before[arm == k].sum() for k in (0, 1)]
    middle = orders_before.sum() / visits_before.sum()
    for k in (0, 1):
        share = orders[arm == k].sum() / visits[arm == k].sum()
        assert adjusted.sample.mean[k] == pytest.approx(share - fit.params[2] * (gap[k] - middle), rel=1e-9)
        assert adjusted.sample.variance[k] == pytest.approx(fit.resid[arm == k].var(ddof=1), rel=1e-9)
    effect = difference_of_means(adjusted.sample[0], adjusted.sample[1])
    raw = difference_of_means(adjusted.raw[0], adjusted.raw[1])
    assert float(variance_reduction(effect, raw)) > 0.1


def test_an_imbalance_bends_a_peers_effect_and_not_ours() -> None:
    """A peer's bug: θ over the variants thrown together. Truth 2.0; its 1.88 is reproduced, ours is ANCOVA's."""
    rng = np.random.default_rng(4)
    n = 40_000
    arm = np.repeat([0, 1], n // 2)
    before = rng.normal(0, 1, n) + 0.5 * arm
    after = -1.0 * before + 2.0 * arm + rng.normal(0, 1, n)
    moments = Moments.from_rows(["after", "before"], np.column_stack([after, before]), cell=arm)
    ours = cuped_means(moments, "after", ["before"])
    effect = difference_of_means(ours.sample[0], ours.sample[1]).value()
    assert effect.estimate == pytest.approx(2.0, abs=3 * effect.std_error)
    ancova = sm.OLS(after, np.column_stack([np.ones(n), arm, before])).fit().params[1]
    assert effect.estimate == pytest.approx(ancova, rel=1e-9)
    covariance = np.cov(after, before)
    theirs = cuped_means(moments, "after", ["before"], theta=[covariance[0, 1] / covariance[1, 1]])
    bent = difference_of_means(theirs.sample[0], theirs.sample[1]).value()
    assert abs(bent.estimate - 2.0) > 8 * effect.std_error


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=40, deadline=None)
def test_units_of_the_covariate_do_not_matter(seed: int, scale: float, shift: float) -> None:
    arm, rows = simulate(seed, 60, 2, 2)
    names = ["y", "x0", "x1"]
    base = cuped_means(Moments.from_rows(names, rows, cell=arm, n_cells=2), "y", names[1:])
    rows[:, 1] = rows[:, 1] * scale + shift
    moved = cuped_means(Moments.from_rows(names, rows, cell=arm, n_cells=2), "y", names[1:])
    assert moved.sample.mean == pytest.approx(base.sample.mean, rel=1e-6)
    assert moved.sample.variance == pytest.approx(base.sample.variance, rel=1e-6)
    assert moved.theta[0] * scale == pytest.approx(base.theta[0], rel=1e-5)


def test_swapping_the_variants_turns_the_effect_round() -> None:
    arm, rows = simulate(6, 300, 2, 1)
    one = cuped_means(Moments.from_rows(["y", "x"], rows, cell=arm), "y", ["x"]).sample
    other = cuped_means(Moments.from_rows(["y", "x"], rows, cell=1 - arm), "y", ["x"]).sample
    there, back = difference_of_means(one[0], one[1]).value(), difference_of_means(other[0], other[1]).value()
    assert back.estimate == pytest.approx(-there.estimate, rel=1e-9)
    assert back.p_value == pytest.approx(there.p_value, rel=1e-9)


def test_useless_covariates_do_no_harm_and_warn_of_nothing() -> None:
    arm, rows = simulate(7, 400, 2, 1)
    rows = np.column_stack([rows, np.full(400, 3.7), 2 * rows[:, 1] + 1])
    moments = Moments.from_rows(["y", "x", "constant", "twin"], rows, cell=arm)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = cuped_means(moments, "y", ["x"])
        together = cuped_means(moments, "y", ["x", "constant", "twin"])
        nothing = cuped_means(moments, "y", ["constant"])
        none = cuped_means(moments, "y", [])
    assert together.theta[1] == 0
    assert together.sample.mean == pytest.approx(alone.sample.mean, rel=1e-9)
    assert together.sample.variance == pytest.approx(alone.sample.variance, rel=1e-9)
    assert nothing.sample.mean.tolist() == nothing.raw.mean.tolist()
    assert none.sample.mean.tolist() == nothing.raw.mean.tolist()


def test_a_perfect_covariate_leaves_no_variation_to_judge_by() -> None:
    arm, rows = simulate(8, 100, 2, 1)
    rows[:, 0] = 2 * rows[:, 1] + 5
    adjusted = cuped_means(Moments.from_rows(["y", "x"], rows, cell=arm), "y", ["x"])
    effect = difference_of_means(adjusted.sample[0], adjusted.sample[1]).value()
    assert effect.why_code == "zero_variance"
    assert effect.p_value is None


def test_empty_and_tiny_variants_say_why_and_spare_the_others() -> None:
    arm, rows = simulate(9, 300, 2, 1)
    arm[0] = 2
    moments = Moments.from_rows(["y", "x"], rows, cell=arm, n_cells=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adjusted = cuped_means(moments, "y", ["x"])
        effect = difference_of_means(adjusted.sample[0], adjusted.sample[1:])
    assert [value.why_code for value in effect.values()] == [None, "too_few_units", "no_units"]
    two = cuped_means(moments[:2], "y", ["x"])
    assert adjusted.theta == pytest.approx(two.theta, rel=1e-9)


def test_a_ratio_covariate_without_denominator_adjusts_nothing() -> None:
    rows = np.array([[1, 2, 0, 0], [2, 3, 0, 0], [1, 2, 1, 2], [3, 4, 2, 3]], dtype=float)
    moments = Moments.from_rows(["a", "b", "c", "d"], rows, cell=[0, 0, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adjusted = cuped_ratios(moments, "a", "b", [("c", "d")])
    assert adjusted.theta.tolist() == [0.0]
    assert adjusted.sample.mean.tolist() == adjusted.raw.mean.tolist()


def test_a_grid_of_segments_gives_what_single_calls_give() -> None:
    arm, rows = simulate(10, 900, 3, 2)
    segment = np.random.default_rng(1).integers(0, 4, 900)
    flat = Moments.from_rows(["y", "x0", "x1"], rows, cell=arm * 4 + segment, n_cells=12)
    grid = Moments(
        flat.columns, flat.n.reshape(3, 4), flat.pivot, flat.mean.reshape(3, 4, 3), flat.m2.reshape(3, 4, 3, 3)
    )
    together = cuped_means(grid, "y", ["x0", "x1"])
    turned = cuped_means(
        Moments(grid.columns, grid.n.T, grid.pivot, grid.mean.swapaxes(0, 1), grid.m2.swapaxes(0, 1)),
        "y",
        ["x0", "x1"],
        variants_axis=1,
    )
    assert together.theta.shape == (4, 2)
    for place in range(4):
        alone = cuped_means(grid[:, place], "y", ["x0", "x1"])
        np.testing.assert_allclose(together.theta[place], alone.theta, rtol=1e-12)
        np.testing.assert_allclose(together.sample.mean[:, place], alone.sample.mean, rtol=1e-12)
        np.testing.assert_allclose(together.sample.shift_cov[:, place], alone.sample.shift_cov, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(turned.sample.mean[place], alone.sample.mean, rtol=1e-12)


def test_small_samples_errors_are_ancovas_where_variances_are_equal() -> None:
    """Oracle: statsmodels' classical ANCOVA error, on rows whose residuals have one variance in both variants.

    Equal residual variances are made by reflecting: the second variant's units are the first's, covariates moved.
    """
    rng = np.random.default_rng(21)
    x = rng.normal(0, 1, (12, 2))
    y = x @ [1.0, -0.5] + rng.normal(0, 1, 12)
    rows = np.vstack([np.column_stack([y, x]), np.column_stack([y + 2, x + np.array([0.7, -0.3])])])
    arm = np.repeat([0, 1], 12)
    theirs = sm.OLS(rows[:, 0], np.column_stack([arm == 0, arm == 1, rows[:, 1:]]).astype(float)).fit()
    contrast = theirs.t_test([-1, 1, 0, 0])
    moments = Moments.from_rows(["y", "a", "b"], rows, cell=arm)
    for control in (0, 1):
        sample = cuped_means(moments, "y", ["a", "b"], small_sample=True, control=control).sample
        effect = difference_of_means(sample[control], sample[1 - control]).value()
        assert abs(effect.estimate) == pytest.approx(float(contrast.effect[0]), rel=1e-9)
        assert effect.std_error == pytest.approx(float(contrast.sd[0, 0]), rel=1e-9)
    base = theirs.params[0] + theirs.params[2:] @ rows[:, 1:].mean(axis=0)
    assert sample.mean[0] == pytest.approx(base, rel=1e-9)
    plain = cuped_means(moments, "y", ["a", "b"]).sample
    assert difference_of_means(plain[0], plain[1]).value().std_error < 0.95 * float(contrast.sd[0, 0])


def test_a_given_theta_costs_nothing_and_a_grid_is_done_at_once() -> None:
    arm, rows = simulate(22, 60, 3, 2)
    day = np.arange(60) % 2
    flat = Moments.from_rows(["y", "x0", "x1"], rows, cell=day * 3 + arm, n_cells=6)
    grid = Moments(
        flat.columns, flat.n.reshape(2, 3), flat.pivot, flat.mean.reshape(2, 3, 3), flat.m2.reshape(2, 3, 3, 3)
    )
    together = cuped_means(grid, "y", ["x0", "x1"], variants_axis=1, small_sample=True, control=1).sample
    for place in (0, 1):
        alone = cuped_means(grid[place], "y", ["x0", "x1"], small_sample=True, control=1).sample
        for name in ("variance", "shift_cov", "shift_var"):
            np.testing.assert_allclose(getattr(together, name)[place], getattr(alone, name), rtol=1e-9)
    given_theta = [cuped_means(grid[0], "y", ["x0"], theta=[0.5], small_sample=small).sample for small in (True, False)]
    assert given_theta[0].variance.tolist() == given_theta[1].variance.tolist()


@pytest.mark.slow
def test_false_alarms_come_at_the_stated_rate() -> None:
    """3,000 A/A tests, 200 skewed members, covariate of correlation about .8: .05 ± 3 s.e. (.012); seed fixed."""
    rng = np.random.default_rng(12)
    runs, n = 3000, 200
    alarms = []
    for _ in range(runs):
        taste = rng.gamma(2, 1, n)
        rows = np.column_stack([taste * rng.gamma(5, 1, n), taste * rng.gamma(5, 1, n)])
        sample = cuped_means(Moments.from_rows(["y", "x"], rows, cell=np.arange(n) % 2), "y", ["x"]).sample
        alarms.append(float(difference_of_means(sample[0], sample[1]).p_value) <= 0.05)
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.012)
