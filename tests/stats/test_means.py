"""Welch's comparison: parity with scipy, symmetries, and an honest answer at every edge."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from stats.effects import Effect, difference_of_means, rate_ratio, relative
from stats.moments import Moments
from stats.samples import Sample, means, stack

SUMMARY = st.tuples(st.integers(2, 10**6), st.floats(-1e3, 1e3), st.floats(1e-3, 1e4))


def sample(n: float, mean: float, variance: float) -> Sample:
    return Sample.of(n, mean, variance)


@given(SUMMARY, SUMMARY)
def test_scipy_agrees(control: tuple[int, float, float], variant: tuple[int, float, float]) -> None:
    effect = difference_of_means(sample(*control), sample(*variant)).value()
    theirs = scipy.stats.ttest_ind_from_stats(
        variant[1], variant[2] ** 0.5, variant[0], control[1], control[2] ** 0.5, control[0], equal_var=False
    )
    assert effect.p_value == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-300)


def test_scipy_interval_agrees_on_rows() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.gamma(2, 3, 500), rng.gamma(2.2, 3, 400)
    rows = np.concatenate([a, b])[:, None]
    cells = means(Moments.from_rows(["x"], rows, cell=np.repeat([0, 1], [500, 400])), "x")
    effect = difference_of_means(cells[0], cells[1], 0.1).value()
    theirs = scipy.stats.ttest_ind(b, a, equal_var=False)
    interval = theirs.confidence_interval(0.9)
    assert effect.p_value == pytest.approx(theirs.pvalue, rel=1e-10)
    assert effect.df == pytest.approx(theirs.df, rel=1e-10)
    assert (effect.ci_low, effect.ci_high) == pytest.approx((interval.low, interval.high), rel=1e-10)


@given(SUMMARY, SUMMARY)
def test_swapping_the_variants_turns_the_effect_round(
    control: tuple[int, float, float], variant: tuple[int, float, float]
) -> None:
    there = difference_of_means(sample(*control), sample(*variant)).value()
    back = difference_of_means(sample(*variant), sample(*control)).value()
    assert back.estimate == -there.estimate
    assert back.p_value == there.p_value
    assert (back.ci_low, back.ci_high) == (-there.ci_high, -there.ci_low)


@given(SUMMARY, SUMMARY, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_units_and_origin_do_not_matter(
    control: tuple[int, float, float], variant: tuple[int, float, float], scale: float, shift: float
) -> None:
    base = difference_of_means(sample(*control), sample(*variant)).value()
    moved = difference_of_means(
        *(sample(n, scale * mean + shift, scale**2 * variance) for n, mean, variance in (control, variant))
    ).value()
    # What a double keeps of a mean near 1e6, in standard errors.
    slack = 1e-9 * (1 + scale * 1e3 + abs(shift)) / (scale * base.std_error)
    t, moved_t = base.estimate / base.std_error, moved.estimate / moved.std_error
    assert moved_t == pytest.approx(t, rel=1e-9, abs=slack)


@given(SUMMARY, SUMMARY, st.floats(0.001, 0.5))
def test_interval_and_p_agree_about_zero(
    control: tuple[int, float, float], variant: tuple[int, float, float], alpha: float
) -> None:
    effect = difference_of_means(sample(*control), sample(*variant), alpha).value()
    excludes = effect.ci_low > 0 or effect.ci_high < 0
    if abs(effect.p_value - alpha) > 1e-9:
        assert excludes == (effect.p_value < alpha)


@pytest.mark.parametrize(
    ("control", "variant", "why", "has_estimate"),
    [
        (([], [1.0, 2.0]), None, "no_units", False),
        (([1.0], [1.0, 2.0]), None, "too_few_units", True),
        (([0.0] * 9, [0.0] * 9), None, "zero_variance", True),
        (([0.1] * 9, [0.3] * 7), None, "zero_variance", True),
        (([0.1, 0.1, 0.1], [0.1, 0.1]), None, "zero_variance", True),
    ],
)
def test_edges_say_why_and_warn_of_nothing(
    control: tuple[list[float], list[float]], variant: None, why: str, has_estimate: bool
) -> None:
    a, b = control
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = np.array([*a, *b])[:, None]
        moments = Moments.from_rows(["x"], rows, cell=np.repeat([0, 1], [len(a), len(b)]), n_cells=2)
        cells = means(moments, "x")
        for effect in (difference_of_means(cells[0], cells[1]).value(), relative(cells[0], cells[1]).value()):
            assert effect.why_code == why
            assert effect.why
            assert effect.p_value is None
            assert effect.ci_low is None
            assert effect.ci_high is None
        assert (difference_of_means(cells[0], cells[1]).value().estimate is not None) == has_estimate


def test_one_varying_variant_is_enough_as_in_scipy() -> None:
    a, b = np.zeros(50), np.array([0.0] * 45 + [1.0] * 5)
    cells = means(Moments.from_rows(["x"], np.concatenate([a, b])[:, None], cell=np.repeat([0, 1], 50)), "x")
    effect = difference_of_means(cells[0], cells[1]).value()
    assert effect.p_value == pytest.approx(scipy.stats.ttest_ind(b, a, equal_var=False).pvalue, rel=1e-9)


def test_a_grid_gives_cell_by_cell_what_single_calls_give() -> None:
    rng = np.random.default_rng(5)
    n, mean, variance = rng.integers(0, 50, (2, 4, 3, 5)), rng.normal(5, 1, (2, 4, 3, 5)), rng.random((2, 4, 3, 5))
    grid = Sample.of(n, np.where(n > 0, mean, np.nan), np.where(n > 1, variance, np.nan))
    effect = difference_of_means(grid[:, :1], grid[:, 1:])
    assert effect.shape == (2, 3, 3, 5)
    for index in np.ndindex(effect.shape):
        m, v, s, d = index
        alone = difference_of_means(grid[m, 0, s, d], grid[m, v + 1, s, d]).value()
        assert effect.value(*index) == alone
    assert isinstance(effect[0], Effect)
    assert len(list(effect.values())) == 90


def test_metrics_of_one_test_stack() -> None:
    one, two = Sample.of([10, 10], [1.0, 2.0], [1.0, 1.0]), Sample.of([10, 12], [3.0, 2.0], [1.0, 2.0])
    both = stack([one, two])
    effect = difference_of_means(both[:, 0], both[:, 1])
    assert effect.estimate.tolist() == [1.0, -1.0]


def test_false_alarms_and_coverage_come_at_the_stated_rate() -> None:
    """20,000 A/A pairs of skewed amounts (30 % payers): false alarms .05 ± 3 s.e. (.0046).

    The chance of a false alarm of this test is .3 %; the seed is fixed.
    """
    rng = np.random.default_rng(2024)
    runs, n = 20_000, 400
    effects = []
    for _ in range(20):
        paying = rng.random((runs // 20, 2, n)) < 0.3
        values = np.where(paying, rng.gamma(4, 10, (runs // 20, 2, n)), 0.0)
        both = Sample.of(n, values.mean(axis=-1), values.var(axis=-1, ddof=1))
        effects.append(difference_of_means(both[:, 0], both[:, 1]))
    p = np.concatenate([effect.p_value for effect in effects])
    covered = np.concatenate([(effect.ci_low <= 0) & (effect.ci_high >= 0) for effect in effects])
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.0046)
    assert covered.mean() == pytest.approx(0.95, abs=0.0046)


def test_an_array_of_alphas_gives_every_part_its_shape() -> None:
    """Each cell is that of a single call, whichever axes the alphas add."""
    control, variant = Sample.of([90, 1], [5.0, 2.0], [4.0, 0.0]), Sample.of([80, 7], [5.5, 2.2], [5.0, 0.1])
    alphas = np.array([[0.1], [0.05], [0.01]])
    for function in (difference_of_means, relative, rate_ratio):
        grid = function(control, variant, alphas)
        assert {getattr(grid, name).shape for name in grid.__slots__} == {(3, 2)}
        for index in np.ndindex(grid.shape):
            single = function(control[index[1]], variant[index[1]], alphas[index[0], 0])
            assert grid.value(*index) == single.value()


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ((10, np.nan, 1.0), "no_estimate"),
        ((10, np.inf, 1.0), "no_estimate"),
        ((10, 1.0, np.nan), "no_variance"),
        ((10, 1.0, np.inf), "no_variance"),
        ((10, 1.0, -1.0), "no_variance"),
        ((np.nan, 1.0, 1.0), "no_units"),
        ((-3, 1.0, 1.0), "no_units"),
    ],
)
def test_summary_figures_that_are_none_are_said_to_be(figures: tuple[float, float, float], why: str) -> None:
    for function in (difference_of_means, relative, rate_ratio):
        value = function(Sample.of(10, 1.0, 1.0), Sample.of(*figures)).value()
        assert (value.why_code, value.ci_low, value.p_value) == (why, None, None)
