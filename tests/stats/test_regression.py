"""Lin's interacted regression: statsmodels' OLS is the oracle, the reference file's two cases, and simulation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.adjustment import cuped_means
from stats.effects import difference_of_means, relative
from stats.moments import Moments
from stats.regression import interacted_means, interacted_ratios, interacted_rows


def simulate(seed: int, n: int, arms: int = 2, covariates: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Slopes differ between variants, and so do sizes and variances."""
    rng = np.random.default_rng(seed)
    arm = np.sort(rng.integers(0, arms + 1, n) % arms)
    before = rng.gamma(2.0, 2.0, (n, covariates))
    after = (1 + 0.5 * arm) * before.sum(axis=1) + arm + rng.normal(0, 1.0 + arm, n)
    return arm, np.column_stack([after, before])


def fit(arm: np.ndarray, rows: np.ndarray, kind: str) -> Any:
    """OLS on dummies of the variants, centred covariates, and their products."""
    centred = rows[:, 1:] - rows[:, 1:].mean(axis=0)
    dummies = [(arm == k).astype(float) for k in range(1, arm.max() + 1)]
    crossed = [d[:, None] * centred for d in dummies]
    design = np.column_stack([np.ones(len(arm)), *dummies, centred, *crossed])
    return sm.OLS(rows[:, 0], design).fit(cov_type=kind)


@pytest.mark.shared
def test_reference_two_covariates(cases: dict[str, Any], moments: Moments, rows: dict[str, np.ndarray]) -> None:
    expected = cases["regression_adjustment_two_covariates"]["expected"]
    names = ["revenue_cov", "covariate_2"]
    sample = interacted_means(moments, "revenue", names, population=False, small_sample=False).sample
    effect = difference_of_means(sample[0], sample[1]).value()
    assert effect.estimate == pytest.approx(expected["ate_interacted"], rel=1e-9)
    assert effect.std_error == pytest.approx(expected["se_from_arm_residuals"], rel=1e-9)
    x = np.column_stack([rows[name] for name in names])
    robust = interacted_rows(rows["revenue"], x, rows["variant"], population=False).sample
    assert difference_of_means(robust[0], robust[1]).value().std_error == pytest.approx(expected["se_hc2"], rel=1e-9)


@pytest.mark.shared
def test_reference_one_covariate(cases: dict[str, Any], moments: Moments, rows: dict[str, np.ndarray]) -> None:
    expected = cases["cuped_mean"]["expected"]
    sample = interacted_means(moments, "revenue", ["revenue_cov"]).sample
    effect = difference_of_means(sample[0], sample[1]).value()
    assert effect.estimate == pytest.approx(expected["lin_interacted_effect"], rel=1e-9)
    robust = interacted_rows(rows["revenue"], rows["revenue_cov"], rows["variant"], population=False).sample
    assert difference_of_means(robust[0], robust[1]).value().std_error == pytest.approx(
        expected["lin_interacted_se_hc2"], rel=1e-9
    )


@pytest.mark.parametrize("errors", ["HC2", "HC3"])
def test_statsmodels_agrees_for_three_variants(errors: str) -> None:
    arm, rows = simulate(1, 150, arms=3)
    theirs = fit(arm, rows, errors)
    ours = interacted_rows(rows[:, 0], rows[:, 1:], arm, population=False, errors=errors)  # type: ignore[arg-type]
    effect = difference_of_means(ours.sample[0], ours.sample[1:])
    assert effect.estimate == pytest.approx(theirs.params[1:3], rel=1e-9)
    assert effect.std_error == pytest.approx(theirs.bse[1:3], rel=1e-9)


def test_moments_give_the_classical_error_of_each_variants_regression() -> None:
    """Oracle: statsmodels' OLS in each variant alone, its non-robust error of the fit at the common mean."""
    arm, rows = simulate(2, 90)
    sample = interacted_means(Moments.from_rows(["y", "a", "b"], rows, cell=arm), "y", ["a", "b"], population=False)
    middle = rows[:, 1:].mean(axis=0)
    for k in (0, 1):
        own = arm == k
        alone = sm.OLS(rows[own, 0], sm.add_constant(rows[own, 1:] - middle)).fit()
        assert sample.sample.mean[k] == pytest.approx(alone.params[0], rel=1e-9)
        assert sample.sample.variance[k] / own.sum() == pytest.approx(alone.bse[0] ** 2, rel=1e-9)
        assert sample.theta[k] == pytest.approx(alone.params[1:], rel=1e-9)


def test_the_chance_in_the_covariates_mean_is_that_of_the_joint_covariance() -> None:
    """Oracle: Var(d + δ·X̄) and Cov with control's estimate written out (Negi, Wooldridge 2021), any pair with control.

    The covariates' variance is that within variants over the number of units, as for CUPED.
    """
    arm, rows = simulate(3, 400, arms=3)
    moments = Moments.from_rows(["y", "a", "b"], rows, cell=arm)
    finite = interacted_means(moments, "y", ["a", "b"], control=1, population=False)
    whole = interacted_means(moments, "y", ["a", "b"], control=1)
    spread = moments.m2[:, 1:, 1:].sum(axis=0) / len(arm) ** 2
    for k in (0, 2):
        delta = whole.theta[k] - whole.theta[1]
        alone = difference_of_means(finite.sample[1], finite.sample[k]).value().std_error
        effect = difference_of_means(whole.sample[1], whole.sample[k]).value()
        assert effect.std_error**2 == pytest.approx(alone**2 + delta @ spread @ delta, rel=1e-9)
        own = finite.sample.variance[1] / finite.sample.n[1]
        base = own + whole.theta[1] @ spread @ whole.theta[1]
        assert whole.sample.variance_of_mean[1] == pytest.approx(base, rel=1e-9)
        share = effect.estimate / whole.sample.mean[1]
        crossed = delta @ spread @ whole.theta[1] - own
        slope = (effect.std_error**2 - 2 * share * crossed + share**2 * base) ** 0.5 / whole.sample.mean[1]
        lift = relative(whole.sample[1], whole.sample[k]).value()
        assert lift.std_error == pytest.approx(slope, rel=1e-9)


def test_ratios_are_regressions_of_linearised_contributions() -> None:
    rng = np.random.default_rng(4)
    n, arm = 300, np.arange(300) % 2
    visits, visits_before = rng.poisson(5, n) + 1.0, rng.poisson(4, n) + 1.0
    taste = rng.beta(2, 4, n)
    orders, before = rng.binomial(visits.astype(int), taste), rng.binomial(visits_before.astype(int), taste)
    names = ["orders", "visits", "orders_before", "visits_before"]
    moments = Moments.from_rows(names, np.column_stack([orders, visits, before, visits_before]), cell=arm)
    adjusted = interacted_ratios(moments, "orders", "visits", [("orders_before", "visits_before")], population=False)
    middle = before.sum() / visits_before.sum()
    for k in (0, 1):
        own = arm == k
        y_share, x_share = orders[own].sum() / visits[own].sum(), before[own].sum() / visits_before[own].sum()
        y = (orders[own] - y_share * visits[own]) / visits[own].mean()
        x = (before[own] - x_share * visits_before[own]) / visits_before[own].mean()
        alone = sm.OLS(y, sm.add_constant(x + x_share - middle)).fit()
        assert adjusted.sample.mean[k] == pytest.approx(y_share + alone.params[0], rel=1e-9)
        assert adjusted.sample.variance[k] / own.sum() == pytest.approx(alone.bse[0] ** 2, rel=1e-9)


def test_equal_slopes_and_sizes_give_nearly_cuped() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, 20_000)
    rows, arm = np.column_stack([x + rng.normal(0, 1, 20_000), x]), np.arange(20_000) % 2
    moments = Moments.from_rows(["y", "x"], rows, cell=arm)
    one, other = (f(moments, "y", ["x"]).sample for f in (cuped_means, interacted_means))
    first, second = (difference_of_means(s[0], s[1]).value() for s in (one, other))
    assert second.estimate == pytest.approx(first.estimate, abs=0.01 * first.std_error)
    assert second.std_error == pytest.approx(first.std_error, rel=1e-3)


def test_unequal_slopes_and_sizes_are_where_it_gains() -> None:
    """Lin (2013): with 10 % in the variant and slopes of 0 and 3 one slope costs precision that own slopes do not."""
    rng = np.random.default_rng(6)
    arm = (np.arange(40_000) % 10 == 0).astype(int)
    x = rng.normal(0, 1, 40_000)
    rows = np.column_stack([3 * arm * x + rng.normal(0, 1, 40_000), x])
    moments = Moments.from_rows(["y", "x"], rows, cell=arm)
    errors = [
        difference_of_means(s[0], s[1]).value().std_error
        for s in (f(moments, "y", ["x"]).sample for f in (cuped_means, interacted_means))
    ]
    assert errors[1] < 0.6 * errors[0]


@given(st.integers(0, 10**6), st.floats(1e-4, 1e2), st.floats(-1e3, 1e3))
@settings(max_examples=30, deadline=None)
def test_units_and_origin_of_covariates_do_not_matter(seed: int, scale: float, shift: float) -> None:
    arm, rows = simulate(seed, 80)
    base = interacted_means(Moments.from_rows(["y", "a", "b"], rows, cell=arm, n_cells=2), "y", ["a", "b"]).sample
    rows[:, 1] = rows[:, 1] * scale + shift
    moved = interacted_means(Moments.from_rows(["y", "a", "b"], rows, cell=arm, n_cells=2), "y", ["a", "b"]).sample
    for name in ("mean", "variance", "shift_cov", "shift_var"):
        assert getattr(moved, name) == pytest.approx(getattr(base, name), rel=1e-5, abs=1e-12)


def test_swapping_the_variants_turns_the_effect_round() -> None:
    arm, rows = simulate(7, 200)
    one = interacted_means(Moments.from_rows(["y", "a", "b"], rows, cell=arm), "y", ["a", "b"]).sample
    other = interacted_means(Moments.from_rows(["y", "a", "b"], rows, cell=1 - arm), "y", ["a", "b"]).sample
    there, back = (difference_of_means(s[0], s[1]).value() for s in (one, other))
    assert back.estimate == pytest.approx(-there.estimate, rel=1e-9)
    assert back.std_error == pytest.approx(there.std_error, rel=1e-9)


def test_a_grid_gives_what_single_calls_give() -> None:
    rng = np.random.default_rng(8)
    arm, rows = simulate(8, 600)
    day = rng.integers(0, 3, 600)
    flat = Moments.from_rows(["y", "a", "b"], rows, cell=day * 2 + arm, n_cells=6)
    grid = Moments(
        flat.columns, flat.n.reshape(3, 2), flat.pivot, flat.mean.reshape(3, 2, 3), flat.m2.reshape(3, 2, 3, 3)
    )
    together = interacted_means(grid, "y", ["a", "b"], variants_axis=1)
    for place in range(3):
        alone = interacted_means(grid[place], "y", ["a", "b"])
        for name in ("mean", "variance", "shift_cov", "shift_var"):
            np.testing.assert_allclose(getattr(together.sample, name)[place], getattr(alone.sample, name), rtol=1e-9)


def test_what_cannot_be_computed_says_why_and_spares_the_others() -> None:
    arm, rows = simulate(9, 200)
    arm[:2], arm[2:5], arm[5] = 2, 3, 4
    moments = Moments.from_rows(["y", "a", "b"], rows, cell=arm, n_cells=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample = interacted_means(moments, "y", ["a", "b"]).sample
        by_rows = interacted_rows(rows[:, 0], rows[:, 1:], arm, variants=6).sample
        values = list(difference_of_means(sample[0], sample[1:]).values())
        codes = [value.why_code for value in difference_of_means(by_rows[0], by_rows[1:]).values()]
    assert [value.why_code for value in values] == [
        None,
        "too_few_for_covariates",
        "too_few_for_covariates",
        "too_few_units",
        "no_units",
    ]
    assert codes == [value.why_code for value in values]
    assert all(value.p_value is None for value in values[1:])


def test_perfect_constant_and_collinear_covariates() -> None:
    arm, rows = simulate(10, 100, covariates=1)
    perfect = np.column_stack([(2 + arm) * rows[:, 1], rows[:, 1]])
    done = interacted_means(Moments.from_rows(["y", "x"], perfect, cell=arm), "y", ["x"]).sample
    assert difference_of_means(done[0], done[1]).value().why_code == "zero_variance"
    more = np.column_stack([rows, np.full(100, 3.7), 2 * rows[:, 1] + 1])
    moments = Moments.from_rows(["y", "x", "constant", "twin"], more, cell=arm)
    alone, together = (interacted_means(moments, "y", c).sample for c in (["x"], ["x", "constant", "twin"]))
    assert together.mean == pytest.approx(alone.mean, rel=1e-9)
    assert together.variance == pytest.approx(alone.variance, rel=1e-9)
    assert interacted_means(moments, "y", []).sample.mean.tolist() == alone_raw(moments)


def alone_raw(moments: Moments) -> list[float]:
    raw: list[float] = moments.mean[:, 0].tolist()
    return raw
