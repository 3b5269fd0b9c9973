"""Moments: merging equals one pass, sums lose nothing, missing values are never counted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stats.effects import difference_of_means
from stats.moments import Moments, merge
from stats.samples import means

VALUES = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@st.composite
def tables(draw: st.DrawFn, least: int = 1) -> np.ndarray:
    n = draw(st.integers(least, 40))
    return draw(hnp.arrays(np.float64, (n, 3), elements=VALUES))


def close(first: Moments, second: Moments, rows: np.ndarray) -> None:
    scale = 1 + np.abs(rows).max(initial=0.0)
    assert np.array_equal(first.n, second.n)
    np.testing.assert_allclose(first.mean, second.mean, rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(first.m2, second.m2, rtol=1e-9, atol=1e-11 * scale**2 * len(rows))


@given(tables(), st.integers(0, 40))
def test_merging_parts_equals_the_whole(rows: np.ndarray, cut: int) -> None:
    names = ("a", "b", "c")
    first, second = Moments.from_rows(names, rows[:cut]), Moments.from_rows(names, rows[cut:])
    close(first + second, Moments.from_rows(names, rows), rows)


@given(tables(), st.integers(0, 40))
def test_merging_does_not_depend_on_the_order(rows: np.ndarray, cut: int) -> None:
    names = ("a", "b", "c")
    first, second = Moments.from_rows(names, rows[:cut]), Moments.from_rows(names, rows[cut:])
    one, other = merge(first, second), merge(second, first)
    assert np.array_equal(one.mean, other.mean)
    assert np.array_equal(one.m2, other.m2)


@given(tables(), st.data())
def test_summing_a_grid_equals_the_whole(rows: np.ndarray, data: st.DataObject) -> None:
    names = ("a", "b", "c")
    cells = np.array(data.draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows))))
    grid = Moments.from_rows(names, rows, cell=cells, n_cells=6)
    square = Moments(names, grid.n.reshape(2, 3), grid.pivot, grid.mean.reshape(2, 3, 3), grid.m2.reshape(2, 3, 3, 3))
    whole = Moments.from_rows(names, rows)
    close(grid.sum(), whole, rows)
    close(square.sum((0, 1)), whole, rows)
    close(square.sum(0).sum(), whole, rows)
    close(square.cumulative(1)[:, -1].sum(), whole, rows)


@given(tables())
def test_an_empty_part_changes_nothing_at_all(rows: np.ndarray) -> None:
    whole = Moments.from_rows(("a", "b", "c"), rows)
    empty = Moments.from_rows(("a", "b", "c"), np.empty((0, 3)))
    both = whole + empty
    assert np.array_equal(both.mean, whole.mean)
    assert np.array_equal(both.m2, whole.m2)


@given(tables(least=2))
def test_numpy_agrees(rows: np.ndarray) -> None:
    moments = Moments.from_rows(("a", "b", "c"), rows)
    scale = 1 + np.abs(rows).max()
    np.testing.assert_allclose(moments.covariance(), np.cov(rows.T), rtol=1e-9, atol=1e-11 * scale**2)


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**9)), min_size=1, max_size=30))
def test_integer_sums_are_worked_with_exactly(pairs: list[tuple[int, int]]) -> None:
    """Python's own fractions are the oracle."""
    from fractions import Fraction

    n = len(pairs)
    s1 = np.array([sum(p[i] for p in pairs) for i in range(2)], dtype=object)
    s2 = np.array([[sum(p[i] * p[j] for p in pairs) for j in range(2)] for i in range(2)], dtype=object)
    moments = Moments.from_shifted_sums(("x", "y"), n, [0.0, 0.0], s1, s2)
    exact = [[float(Fraction(s2[i, j]) - Fraction(s1[i]) * s1[j] / n) for j in range(2)] for i in range(2)]
    np.testing.assert_allclose(moments.m2, exact, rtol=1e-12)


@pytest.mark.parametrize("ratio", [1.0, 1e4, 1e6, 1e8])
def test_shifted_sums_keep_the_variance_where_raw_sums_lose_it(ratio: float) -> None:
    rng = np.random.default_rng(7)
    noise = rng.standard_normal(200_000)
    values = ratio + noise
    exact = np.var(values - ratio, ddof=1)
    shift = values.min()
    shifted = values - shift
    moments = Moments.from_shifted_sums(["x"], len(values), [shift], [shifted.sum()], [[(shifted**2).sum()]])
    assert moments.covariance()[0, 0] == pytest.approx(exact, rel=1e-12)
    raw = Moments.from_shifted_sums(["x"], len(values), [0.0], [values.sum()], [[(values**2).sum()]])
    if ratio >= 1e8:
        assert raw.covariance()[0, 0] == 0.0  # only rounding was left, so it claims no variation


@pytest.mark.parametrize("ratio", [1e6, 1e8])
def test_effects_far_from_zero_are_those_near_zero(ratio: float) -> None:
    rng = np.random.default_rng(8)
    rows = np.round(rng.standard_normal((4000, 1)), 3)
    arm = np.arange(4000) % 2
    near = means(Moments.from_rows(["x"], rows, cell=arm), "x")
    parts = [Moments.from_rows(["x"], rows[i::8] + ratio, cell=arm[i::8], n_cells=2) for i in range(8)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    far = means(total, "x")
    one, other = difference_of_means(near[0], near[1]).value(), difference_of_means(far[0], far[1]).value()
    # 1e-7 is what remains of a mean of 1e8 in a double, over the standard error of .03.
    assert other.p_value == pytest.approx(one.p_value, rel=1e-6)
    assert other.std_error == pytest.approx(one.std_error, rel=1e-8)


@pytest.mark.parametrize("value", [0.1, 3.7, 1e8 + 0.1, -2.3])
@pytest.mark.parametrize("pivot", [None, [0.0], [-55.5]])
def test_a_constant_has_no_variance_whatever_the_pivot(value: float, pivot: Any) -> None:
    rows = np.full((1001, 1), value)
    assert means(Moments.from_rows(["x"], rows, pivot=pivot), "x").variance == 0
    shift = np.zeros(1) if pivot is None else np.asarray(pivot)
    shifted = rows - shift
    sums = Moments.from_shifted_sums(["x"], 1001, shift, shifted.sum(axis=0), shifted.T @ shifted)
    assert means(sums, "x").variance == 0
    merged = Moments.from_rows(["x"], rows[:3], pivot=pivot) + Moments.from_rows(["x"], rows[3:], pivot=pivot)
    assert means(merged, "x").variance == 0


def test_missing_values_are_in_neither_n_nor_mean() -> None:
    """A peer's bug: n = count(*) beside means that skip NULL made intervals too narrow by √2 at half NULL."""
    rng = np.random.default_rng(1)
    value = rng.standard_normal((400, 1)) * 2 + 1
    value[::2] = np.nan
    arm = rng.integers(0, 2, 400)
    with_holes = Moments.from_rows(["x"], value, cell=arm)
    without = Moments.from_rows(["x"], value[1::2], cell=arm[1::2])
    assert with_holes.n.sum() == 200
    sample, reference = means(with_holes, "x"), means(without, "x")
    one = difference_of_means(sample[0], sample[1]).value()
    other = difference_of_means(reference[0], reference[1]).value()
    assert one == other
    too_narrow = Moments(("x",), np.bincount(arm), with_holes.pivot, with_holes.mean, with_holes.m2 * 2)
    narrow = means(too_narrow, "x")
    wrong = difference_of_means(narrow[0], narrow[1]).value()
    assert (one.ci_high - one.ci_low) / (wrong.ci_high - wrong.ci_low) == pytest.approx(2**0.5, rel=0.02)


def test_missing_can_mean_zero_where_it_is_declared() -> None:
    moments = Moments.from_rows(["orders"], [[1.0], [np.nan], [None]], missing="zero")
    assert moments.n == 3
    assert moments.mean[0] == pytest.approx(1 / 3)


@given(tables())
@settings(max_examples=30)
def test_json_carries_every_bit(rows: np.ndarray) -> None:
    grid = Moments.from_rows(("a", "b", "c"), rows, cell=np.arange(len(rows)) % 2, n_cells=2)
    back = Moments.from_dict(json.loads(json.dumps(grid.to_dict())))
    assert back.columns == grid.columns
    for name in ("n", "pivot", "mean", "m2"):
        assert np.array_equal(getattr(back, name), getattr(grid, name))


def test_select_reorders_and_names_what_is_missing() -> None:
    moments = Moments.from_rows(("a", "b", "c"), [[1.0, 2.0, 3.0], [2.0, 4.0, 7.0]])
    chosen = moments.select(["c", "a"])
    assert chosen.columns == ("c", "a")
    assert chosen.m2.tolist() == [[8.0, 2.0], [2.0, 0.5]]
    with pytest.raises(KeyError, match="no column 'd'; there are a, b, c"):
        moments.select(["d"])


def test_stack_index_and_sum_of_nothing() -> None:
    one = Moments.from_rows(["x"], [[1.0], [2.0]])
    grid = Moments.stack([one, one, one])
    assert grid[1:].shape == (2,)
    assert grid[1].mean.tolist() == [1.5]
    assert grid[:0].sum(0).n == 0
    with pytest.raises(ValueError, match="nothing to stack"):
        Moments.stack([])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Moments.from_rows(["x"], [[np.inf]]), "rows hold infinity"),
        (lambda: Moments.from_rows(["x", "x"], [[1.0, 2.0]]), "named and different"),
        (lambda: Moments.from_rows(["x"], [[1.0]], cell=[3], n_cells=2), "0 to 1"),
        (lambda: Moments.from_rows(["x"], [[1.0]], cell=[0, 1]), "one integer a row"),
        (lambda: Moments.from_shifted_sums(["x"], 2, [0.0], [1.0, 2.0], [[1.0]]), "do not fit"),
        (lambda: Moments.from_shifted_sums(["x"], -2, [0.0], [1.0], [[1.0]]), "negative"),
        (lambda: Moments.from_rows(["x"], [[1.0]]) + Moments.from_rows(["y"], [[1.0]]), "different columns"),
        (lambda: Moments.from_dict({"format": 9}), "format 9"),
        (lambda: Moments.from_dict({"format": 1, "columns": ["x"]}), "lack 'n'"),
    ],
)
def test_wrong_input_is_named(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
