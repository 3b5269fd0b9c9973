"""Interaction tests: statsmodels' regression with its own Wald test is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from stats.interactions import equal_effects, two_experiments
from stats.random_effects import pool
from stats.samples import Sample


def test_equal_effects_is_cochrans_q() -> None:
    y, errors = [0.1, 0.4, -0.3, 0.2], [0.1, 0.2, 0.15, 0.3]
    found, pooled = equal_effects(y, errors).value(), pool(y, errors, predict=False)
    assert found.statistic == pytest.approx(float(pooled.q), rel=1e-12)
    assert found.p_value == pytest.approx(float(pooled.heterogeneity_p), rel=1e-12)
    assert found.df == 3


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 4)])
def test_regression_on_rows_agrees(shape: tuple[int, int]) -> None:
    """Weighted least squares on the cells' means, full model against the additive one: the same Wald statistic."""
    rng = np.random.default_rng(9)
    n = rng.integers(50, 400, shape)
    means, variances = rng.normal(10, 0.3, shape), rng.uniform(1, 4, shape)
    first, second = (part.ravel() for part in np.indices(shape))
    design = np.column_stack(
        [np.ones(first.size)]
        + [(first == i).astype(float) for i in range(1, shape[0])]
        + [(second == j).astype(float) for j in range(1, shape[1])]
    )
    fit = sm.WLS(means.ravel(), design, weights=(n / variances).ravel()).fit()
    statistic = float(((n / variances).ravel() * fit.resid**2).sum())
    found = two_experiments(Sample.of(n, means, variances)).value()
    assert found.statistic == pytest.approx(statistic, rel=1e-9)
    assert found.df == (shape[0] - 1) * (shape[1] - 1)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-2, 2), st.sampled_from([100.0, 1e-4]))
def test_two_by_two_is_the_difference_of_differences(a: float, b: float, both: float, unit: float) -> None:
    n = np.array([[100, 200], [300, 50]])
    means = np.array([[1.0, 1 + a], [1 + b, 1 + a + b + both]])
    cells = Sample.of(n, means, 2.0)
    found = two_experiments(cells).value()
    error = np.sqrt((2.0 / n).sum())
    assert found.statistic == pytest.approx((both / error) ** 2, rel=1e-6, abs=1e-9)
    scaled = two_experiments(Sample.of(n, unit * means, 2.0 * unit**2)).value()
    assert scaled.p_value == pytest.approx(found.p_value, rel=1e-6)
    turned = two_experiments(Sample.of(n.T, means.T, 2.0)).value()
    assert turned.statistic == pytest.approx(found.statistic, rel=1e-6, abs=1e-9)
    # Seen from either experiment: do its two effects differ?
    effects = means[1] - means[0]
    errors = np.sqrt((2.0 / n).sum(axis=0))
    assert equal_effects(effects, errors).value().statistic == pytest.approx(found.statistic, rel=1e-6, abs=1e-9)


def test_cells_without_units_or_variation_say_so() -> None:
    n = np.array([[[100, 100], [100, 0]], [[100, 100], [100, 1]], [[100, 100], [100, 100]]])
    found = two_experiments(Sample.of(n, 1.0, 2.0))
    assert [found.value(i).why_code for i in range(3)] == ["no_units", "too_few_units", None]
    assert found.value(0).p_value is None
    assert found.value(2).p_value == pytest.approx(1)
    flat = two_experiments(Sample.of([[9, 9], [9, 9]], 1.0, [[1, 1], [1, 0]]))
    assert flat.value().why_code == "zero_variance"
    with pytest.raises(ValueError, match="two variants"):
        two_experiments(Sample.of([5, 5], [1.0, 2.0], 1.0))


def test_missing_segments() -> None:
    found = equal_effects([[0.1, np.nan, 0.3], [0.1, np.nan, 0.2]], [[0.1, 0.1, 0.1], [0.1, 0.1, 0.0]])
    assert found.df.tolist() == [1, 0]
    assert found.value(0).statistic == pytest.approx(0.2**2 / 0.02)
    assert (found.value(1).why_code, found.value(1).statistic) == ("too_few_groups", None)
