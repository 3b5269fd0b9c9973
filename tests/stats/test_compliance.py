"""Effects on those reached: two-stage least squares row by row, statsmodels' IV2SLS, inversion by hand, simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.sandbox.regression.gmm import IV2SLS

from stats.compliance import effect_on_reached
from stats.effects import difference_of_means
from stats.moments import Moments
from stats.samples import means


def simulate(seed: int, n: int = 800, arms: int = 2, reach: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """The reached are the eager, who spend more anyhow; the effect on those reached is 2."""
    rng = np.random.default_rng(seed)
    arm, eager = rng.integers(0, arms, n), rng.normal(0, 1, n)
    got = ((arm > 0) & (eager > -np.sqrt(2) * (2 * reach - 1))).astype(float)
    before = rng.normal(0, 1, n)
    spend = 5 + eager + 1.5 * before + 2 * got * arm + rng.gamma(1, 1, n)
    return arm, np.column_stack([spend, got, before])


COLUMNS = ["spend", "got", "before"]


def test_two_stage_least_squares_with_unequal_variances() -> None:
    """Oracle: statsmodels' IV2SLS for the estimate; its residuals' HC2 sandwich (here Welch's) written out."""
    arm, rows = simulate(1)
    moments = Moments.from_rows(COLUMNS, rows, cell=arm)
    effect = effect_on_reached(moments, "spend", "got")[0].value()
    ones = np.ones(len(arm))
    theirs = IV2SLS(rows[:, 0], np.column_stack([ones, rows[:, 1]]), np.column_stack([ones, arm])).fit()
    assert effect.estimate == pytest.approx(theirs.params[1], rel=1e-9)
    rest = rows[:, 0] - effect.estimate * rows[:, 1]
    gap = rows[arm == 1, 1].mean() - rows[arm == 0, 1].mean()
    squared = sum(rest[arm == k].var(ddof=1) / (arm == k).sum() for k in (0, 1)) / gap**2
    assert effect.std_error == pytest.approx(squared**0.5, rel=1e-9)
    # Its own error takes one variance for both; near it, not equal.
    assert effect.std_error == pytest.approx(theirs.bse[1], rel=0.05)


def test_everyone_reached_is_the_plain_comparison() -> None:
    arm, rows = simulate(2)
    rows[:, 1] = arm
    moments = Moments.from_rows(COLUMNS, rows, cell=arm)
    plain = means(moments, "spend")
    for interval in ("delta", "anderson_rubin"):
        ours = effect_on_reached(moments, "spend", "got", interval=interval)[0].value()  # type: ignore[arg-type]
        theirs = difference_of_means(plain[0], plain[1]).value()
        for name in ("estimate", "std_error", "df", "ci_low", "ci_high", "p_value"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-9)


def test_the_anderson_rubin_interval_holds_what_is_not_rejected() -> None:
    """Its ends are where comparing spend − end · reached is just rejected; p is the comparison's as randomised."""
    arm, rows = simulate(3, n=400, reach=0.3)
    moments = Moments.from_rows(COLUMNS, rows, cell=arm)
    effect = effect_on_reached(moments, "spend", "got", interval="anderson_rubin")[0].value()
    plain = means(moments, "spend")
    assert effect.p_value == pytest.approx(difference_of_means(plain[0], plain[1]).value().p_value, rel=1e-9)
    for end in (effect.ci_low, effect.ci_high):
        rest = means(Moments.from_rows(["r"], (rows[:, 0] - end * rows[:, 1])[:, None], cell=arm), "r")
        # The df of the interval are those at no effect; elsewhere Welch's differ in the fourth digit.
        assert difference_of_means(rest[0], rest[1], df=effect.df).value().p_value == pytest.approx(0.05, rel=1e-6)


def test_covariates_make_the_interval_narrower_and_agree_with_least_squares() -> None:
    arm, rows = simulate(4, n=4000)
    moments = Moments.from_rows(COLUMNS, rows, cell=arm)
    raw = effect_on_reached(moments, "spend", "got")[0].value()
    adjusted = effect_on_reached(moments, "spend", "got", covariates=["before"])[0].value()
    ones = np.ones(len(arm))
    theirs = IV2SLS(
        rows[:, 0], np.column_stack([ones, rows[:, 1], rows[:, 2]]), np.column_stack([ones, arm, rows[:, 2]])
    ).fit()
    assert adjusted.estimate == pytest.approx(theirs.params[1], rel=1e-9)
    assert adjusted.std_error == pytest.approx(theirs.bse[1], rel=0.05)
    assert adjusted.std_error < 0.85 * raw.std_error


def test_variants_keep_their_order_wherever_control_and_their_axis_are() -> None:
    arm, rows = simulate(5, arms=3)
    day = np.arange(len(arm)) % 2
    flat = Moments.from_rows(COLUMNS, rows, cell=day * 3 + (arm + 1) % 3, n_cells=6)  # control is the second
    grid = Moments(
        flat.columns, flat.n.reshape(2, 3), flat.pivot, flat.mean.reshape(2, 3, 3), flat.m2.reshape(2, 3, 3, 3)
    )
    effect = effect_on_reached(grid, "spend", "got", control=1, variants_axis=1)
    assert effect.shape == (2, 2)
    for place, original in ((0, 2), (1, 1)):
        own = (day == 1) & np.isin(arm, [0, original])
        alone = effect_on_reached(
            Moments.from_rows(COLUMNS, rows[own], cell=(arm[own] == original).astype(int)), "spend", "got"
        )
        assert effect.estimate[1, place] == pytest.approx(alone.estimate[0], rel=1e-9)
        assert effect.p_value[1, place] == pytest.approx(alone.p_value[0], rel=1e-9)


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_the_unit_does_not_matter_and_p_agrees_with_the_interval(seed: int, scale: float) -> None:
    arm, rows = simulate(seed, n=200)
    for interval in ("delta", "anderson_rubin"):
        one, other = (
            effect_on_reached(
                Moments.from_rows(COLUMNS, rows * [factor, 1, 1], cell=arm, n_cells=2),
                "spend",
                "got",
                interval=interval,  # type: ignore[arg-type]
            )[0].value()
            for factor in (1.0, scale)
        )
        assert other.estimate == pytest.approx(one.estimate * scale, rel=1e-6)
        assert other.ci_high == pytest.approx(one.ci_high * scale, rel=1e-6)
        assert (one.ci_low > 0 or one.ci_high < 0) == (one.p_value < 0.05)


def test_too_few_reached_is_said() -> None:
    arm, rows = simulate(6, n=300)
    nobody, few = rows.copy(), rows.copy()
    nobody[:, 1] = 0
    few[:, 1] = np.arange(300) == np.flatnonzero(arm == 1)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for table in (nobody, few):
            value = effect_on_reached(Moments.from_rows(COLUMNS, table, cell=arm), "spend", "got")[0].value()
            assert value.why_code == "reached_near_zero"
            assert value.estimate is None


def test_empty_flat_and_tiny_variants_say_why() -> None:
    rows = np.array([[1.0, 0], [2, 0], [3, 1], [2, 1], [5, 1]])
    moments = Moments.from_rows(["y", "r"], rows, cell=[0, 0, 1, 1, 2], n_cells=4)
    flat = Moments.from_rows(["y", "r"], [[1.0, 0], [1, 0], [3, 1], [3, 1]], cell=[0, 0, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes = [value.why_code for value in effect_on_reached(moments, "y", "r").values()]
        nothing = effect_on_reached(flat, "y", "r")[0].value()
        levels = effect_on_reached(moments, "y", "r", alpha=np.array([[0.05], [0.1]]))
    assert codes == [None, "too_few_units", "no_units"]
    assert (nothing.why_code, nothing.p_value) == ("zero_variance", None)
    assert levels.ci_low.shape == (2, 3)


@pytest.mark.slow
def test_coverage_where_a_third_is_reached() -> None:
    """3,000 tests of 600 skewed units, a third of the sends arriving: both intervals .95 ± 3 s.e. (.012)."""
    rng = np.random.default_rng(7)
    hits, runs = {"delta": 0, "anderson_rubin": 0}, 3000
    for _ in range(runs):
        arm, rows = simulate(int(rng.integers(2**31)), n=600, reach=0.35)
        moments = Moments.from_rows(COLUMNS, rows, cell=arm, n_cells=2)
        for interval in hits:
            value = effect_on_reached(moments, "spend", "got", interval=interval)[0].value()  # type: ignore[arg-type]
            hits[interval] += value.ci_low <= 2 <= value.ci_high
    for count in hits.values():
        assert count / runs == pytest.approx(0.95, abs=0.012)


def test_outcomes_that_covariates_explain_wholly_leave_nothing_to_test_with() -> None:
    """Who was reached still varies, so the plain interval has a width; the comparison as randomised has none."""
    rng = np.random.default_rng(3)
    before, took, arm = rng.normal(size=200), rng.random(200) < 0.7, np.repeat([0, 1], 100)
    rows = np.column_stack([before + 0.3 * arm, took & (arm == 1), before])
    moments = Moments.from_rows(["spend", "reached", "before"], rows, cell=arm)
    found = effect_on_reached(moments, "spend", "reached", covariates=["before"], interval="anderson_rubin")[0].value()
    assert (found.why_code, found.p_value, found.ci_low) == ("zero_variance", None, None)
