"""Post-stratification: the reference file, row-by-row closed forms, statsmodels and simulation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from stats.adjustment import cuped_means
from stats.effects import difference_of_means, relative
from stats.moments import Moments
from stats.samples import means, ratios
from stats.strata import post_stratified, post_stratify


def grid(names: list[str], rows: np.ndarray, arm: np.ndarray, stratum: np.ndarray, shape: tuple[int, int]) -> Moments:
    flat = Moments.from_rows(names, rows, cell=arm * shape[1] + stratum, n_cells=shape[0] * shape[1])
    k = len(names)
    return Moments(
        flat.columns, flat.n.reshape(shape), flat.pivot, flat.mean.reshape(*shape, k), flat.m2.reshape(*shape, k, k)
    )


def simulate(seed: int, n: int = 900, arms: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    stratum, arm = rng.choice(3, n, p=[0.5, 0.3, 0.2]), rng.integers(0, arms, n)
    x = rng.gamma(2, 1, n) + stratum
    y = 3.0 * stratum + x + arm * (0.5 + 0.5 * stratum) + rng.normal(0, 1, n)
    return arm, stratum, np.column_stack([y, x])


@pytest.mark.shared
def test_reference(cases: dict[str, Any]) -> None:
    expected, strata = cases["post_stratified"]["expected"], cases["post_stratified"]["inputs"]["strata"].values()
    n = np.array([[round(s["n_total"] * share) for s in strata] for share in (0.5, 0.5)])
    mean = np.array([[s[f"mean_{arm}"] for s in strata] for arm in "ct"])
    variance = np.array([[s[f"var_{arm}"] for s in strata] for arm in "ct"])
    moments = Moments(("y",), n, np.zeros(1), mean[..., None], (variance * (n - 1))[..., None, None])
    sample = post_stratified(moments, "y", strata_axis=1, variants_axis=0, population=False)
    effect = difference_of_means(sample[0], sample[1], df=np.inf).value()
    assert effect.estimate == pytest.approx(expected["effect"], rel=1e-9)
    assert effect.std_error == pytest.approx(expected["se"], rel=1e-9)
    assert effect.p_value == pytest.approx(expected["p"], rel=1e-9)


def test_the_estimate_is_the_fully_interacted_regression_on_strata() -> None:
    """Oracle: statsmodels OLS on variant × centred stratum dummies with HC2 errors; these are the strata's own."""
    arm, stratum, rows = simulate(1)
    dummies = np.column_stack([stratum == s for s in (1, 2)]).astype(float)
    dummies -= dummies.mean(axis=0)
    design = np.column_stack([np.ones(len(arm)), arm, dummies, arm[:, None] * dummies])
    theirs = sm.OLS(rows[:, 0], design).fit(cov_type="HC2")
    sample = post_stratified(grid(["y", "x"], rows, arm, stratum, (2, 3)), "y", 1, 0, population=False)
    effect = difference_of_means(sample[0], sample[1]).value()
    assert effect.estimate == pytest.approx(theirs.params[1], rel=1e-9)
    assert effect.std_error == pytest.approx(theirs.bse[1], rel=1e-9)


def test_the_population_adds_what_unequal_effects_and_random_shares_add() -> None:
    """Oracle: Σ w(τₛ − τ)²/N for the difference, Σ w(μₛ − μ)²/N for control's own mean, written out."""
    arm, stratum, rows = simulate(2)
    moments = grid(["y", "x"], rows, arm, stratum, (2, 3))
    whole, units = (post_stratified(moments, "y", 1, 0, population=p) for p in (True, False))
    share = np.bincount(stratum) / len(stratum)
    effects, base = moments.mean[1, :, 0] - moments.mean[0, :, 0], moments.mean[0, :, 0]
    added = share @ (effects - share @ effects) ** 2 / len(arm)
    first, second = (difference_of_means(s[0], s[1]).value().std_error ** 2 for s in (whole, units))
    assert first - second == pytest.approx(added, rel=1e-6)
    common = share @ (base - share @ base) ** 2 / len(arm)
    assert whole.variance_of_mean[0] - units.variance_of_mean[0] == pytest.approx(common, rel=1e-6)
    crossed = share @ ((effects - share @ effects) * base) / len(arm)
    assert whole.shift_cov[1] == pytest.approx(crossed, rel=1e-9)


def test_ratios_are_weighted_sums_over_weighted_sums() -> None:
    rng = np.random.default_rng(3)
    arm, stratum, _ = simulate(3)
    visits = rng.poisson(3 + stratum, len(arm)) + 1.0
    orders = rng.binomial(visits.astype(int), 0.1 + 0.2 * stratum).astype(float)
    moments = grid(["orders", "visits"], np.column_stack([orders, visits]), arm, stratum, (2, 3))
    sample = post_stratified(moments, ("orders", "visits"), 1, 0, population=False)
    share = np.bincount(stratum) / len(stratum)
    for k in (0, 1):
        tops, bottoms = moments.mean[k, :, 0] @ share, moments.mean[k, :, 1] @ share
        assert sample.mean[k] == pytest.approx(tops / bottoms, rel=1e-12)
        parts = [
            ((orders - tops / bottoms * visits)[(arm == k) & (stratum == s)] / bottoms).var(ddof=1) / moments.n[k, s]
            for s in range(3)
        ]
        assert sample.variance[k] / sample.n[k] == pytest.approx(share**2 @ parts, rel=1e-9)


def test_covariates_adjust_within_strata() -> None:
    """Oracle: statsmodels OLS with every variant × stratum its own intercept and one slope: nearly the same slope."""
    arm, stratum, rows = simulate(4, 6000)
    moments = grid(["y", "x"], rows, arm, stratum, (2, 3))
    both = post_stratified(moments, "y", 1, 0, covariates=["x"])
    cells = np.column_stack([(arm == a) & (stratum == s) for a in (0, 1) for s in range(3)]).astype(float)
    theirs = sm.OLS(rows[:, 0], np.column_stack([cells, rows[:, 1]])).fit()
    share = np.bincount(stratum) / len(stratum)
    weights = np.concatenate([-share, share, [0.0]])
    effect = difference_of_means(both[0], both[1]).value()
    assert effect.estimate == pytest.approx(weights @ theirs.params, abs=0.02 * effect.std_error)
    alone = post_stratified(moments, "y", 1, 0)
    cuped = cuped_means(moments.sum(1), "y", ["x"]).sample
    assert effect.std_error < difference_of_means(alone[0], alone[1]).value().std_error
    assert effect.std_error < difference_of_means(cuped[0], cuped[1]).value().std_error


def test_one_stratum_changes_nothing() -> None:
    arm, _, rows = simulate(5)
    moments = grid(["y", "x"], rows, arm, np.zeros_like(arm), (2, 1))
    done, raw = post_stratify(moments, "y", 1, 0), means(moments[:, 0], "y")
    for name in ("n", "mean", "variance"):
        assert getattr(done.sample, name) == pytest.approx(getattr(raw, name), rel=1e-9)
    assert done.shares.tolist() == [1.0]
    assert not done.merged.any()
    assert done.sample.shift_var == pytest.approx([0.0, 0.0], abs=1e-12)


def test_strata_without_enough_units_are_merged_and_named() -> None:
    arm, stratum, rows = simulate(6, 300)
    stratum[(stratum == 2) & (arm == 1)] = 1
    moments = grid(["y", "x"], rows, arm, stratum, (2, 4))
    done = post_stratify(moments, "y", 1, 0)
    assert done.merged.tolist() == [False, False, True, False]  # the fourth has nobody at all
    hand = post_stratify(grid(["y", "x"], rows, arm, np.where(stratum == 2, 0, stratum), (2, 2)), "y", 1, 0)
    assert done.sample.mean == pytest.approx(hand.sample.mean, rel=1e-9)
    assert done.sample.variance == pytest.approx(hand.sample.variance, rel=1e-9)
    assert done.shares[2] == done.shares[3] == 0


def test_variants_in_separate_strata_are_compared_as_they_are() -> None:
    arm, _, rows = simulate(7, 200)
    done = post_stratify(grid(["y", "x"], rows, arm, arm, (2, 2)), "y", 1, 0)
    assert done.merged.sum() == 1
    assert done.sample.mean == pytest.approx(done.raw.mean)


def test_empty_and_tiny_variants_say_why_and_spare_the_others() -> None:
    arm, stratum, rows = simulate(8, 300)
    arm[0] = 2
    moments = grid(["y", "x"], rows, arm, stratum, (4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample = post_stratified(moments, "y", 1, 0)
        codes = [value.why_code for value in difference_of_means(sample[0], sample[1:]).values()]
        nobody = post_stratified(grid(["y"], np.zeros((0, 1)), arm[:0], stratum[:0], (2, 2)), "y", 1, 0)
    assert codes == [None, "too_few_units", "no_units"]
    assert difference_of_means(nobody[0], nobody[1]).value().why_code == "no_units"
    flat = post_stratified(grid(["y"], stratum[:, None] * 1.0, arm, stratum, (4, 3)), "y", 1, 0)
    assert difference_of_means(flat[0], flat[1]).value().why_code == "zero_variance"


def test_axes_may_stand_anywhere_and_segments_are_done_at_once() -> None:
    rng = np.random.default_rng(9)
    arm, stratum, rows = simulate(9, 1200)
    segment = rng.integers(0, 2, 1200)
    stratum[(segment == 1) & (stratum == 2) & (arm == 0)] = 0  # merged in one segment only
    flat = Moments.from_rows(["y", "x"], rows, cell=(stratum * 2 + segment) * 2 + arm, n_cells=12)
    cube = Moments(
        flat.columns, flat.n.reshape(3, 2, 2), flat.pivot, flat.mean.reshape(3, 2, 2, 2), flat.m2.reshape(3, 2, 2, 2, 2)
    )
    together = post_stratify(cube, ("y", "x"), 0, -1)
    for place in (0, 1):
        own = segment == place
        alone = post_stratify(grid(["y", "x"], rows[own], arm[own], stratum[own], (2, 3)), ("y", "x"), 1, 0)
        np.testing.assert_allclose(together.sample.mean[place], alone.sample.mean, rtol=1e-9)
        np.testing.assert_allclose(together.sample.variance[place], alone.sample.variance, rtol=1e-9)
        np.testing.assert_allclose(together.raw.mean[place], ratios(cube[:, place].sum(0), "y", "x").mean)
        assert together.merged[place].tolist() == alone.merged.tolist()
    with pytest.raises(ValueError, match="same axis"):
        post_stratify(cube, "y", 0, 0)


def test_the_order_of_variants_and_strata_and_the_unit_do_not_matter() -> None:
    arm, stratum, rows = simulate(10)
    one = post_stratified(grid(["y", "x"], rows, arm, stratum, (2, 3)), "y", 1, 0)
    other = post_stratified(grid(["y", "x"], rows * 1e-4, 1 - arm, 2 - stratum, (2, 3)), "y", 1, 0)
    there, back = (difference_of_means(s[0], s[1]).value() for s in (one, other))
    assert back.estimate * 1e4 == pytest.approx(-there.estimate, rel=1e-9)
    assert back.std_error * 1e4 == pytest.approx(there.std_error, rel=1e-9)
    assert back.df == pytest.approx(there.df, rel=0.01)  # unequal effects count with the variant that is not control
    assert relative(one[0], one[1]).value().estimate > 0
