"""Additive statistics: whole = pieces, and the same as mabwiser keeps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.bandits.encoding import Encoded, Encoder, FeatureCode
from allocation.bandits.learning.cells import cells, design, fingerprint
from allocation.bandits.learning.statistics import LinearStatistics

ARRAYS = ("gram", "moment", "squares", "weight")


def rows(n: int = 400, p: int = 5, variants: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, p)), rng.integers(0, variants, n), rng.normal(size=n), rng.uniform(0, 2, n)


def same(one: LinearStatistics, other: LinearStatistics) -> None:
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-11, atol=1e-11)


@given(st.lists(st.integers(0, 400), max_size=4))
def test_pieces_add_up_to_the_whole_and_can_be_taken_out(cuts: list[int]) -> None:
    x, variant, y, w = rows()
    ends = [0, *sorted(cuts), 400]
    pieces = [LinearStatistics.from_rows(x[a:b], variant[a:b], y[a:b], 3, w[a:b]) for a, b in pairwise(ends)]
    whole = sum(pieces, LinearStatistics.empty(3, 5))
    same(whole, LinearStatistics.from_rows(x, variant, y, 3, w))
    same(whole - pieces[0], LinearStatistics.from_rows(x[ends[1] :], variant[ends[1] :], y[ends[1] :], 3, w[ends[1] :]))


def test_discounting_step_by_step_is_weighting_by_age() -> None:
    x, variant, y, _ = rows()
    age = np.repeat(np.arange(4.0), 100)  # oldest last
    days = [LinearStatistics.from_rows(x[age == d], variant[age == d], y[age == d], 3) for d in (3.0, 2.0, 1.0, 0.0)]
    kept = days[0]
    for day in days[1:]:
        kept = kept.discounted(0.8) + day
    same(kept, LinearStatistics.from_rows(x, variant, y, 3, 0.8**age))


def test_they_are_what_mabwiser_keeps() -> None:
    # mabwiser 2.7.4, LinUCB: A = λI + X'X, Xty = X'y, beta = A⁻¹ Xty per arm; λ = 1.
    from mabwiser.mab import MAB, LearningPolicy

    x, variant, y, _ = rows()
    mab = MAB([0, 1, 2], LearningPolicy.LinUCB(alpha=1.0, l2_lambda=1.0))
    mab.fit(variant.tolist(), y.tolist(), x)
    ours = LinearStatistics.from_rows(x, variant, y, 3)
    for k in range(3):
        model = mab._imp.arm_to_model[k]
        np.testing.assert_allclose(model.A, np.eye(5) + ours.gram[k], rtol=1e-11)
        np.testing.assert_allclose(model.Xty, ours.moment[k], rtol=1e-10)
        np.testing.assert_allclose(model.beta, np.linalg.solve(np.eye(5) + ours.gram[k], ours.moment[k]), rtol=1e-9)


def test_bad_rows_are_refused() -> None:
    x, variant, y, _ = rows()
    with pytest.raises(ValueError, match="index below 2"):
        LinearStatistics.from_rows(x, variant, y, 2)
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="not a finite number"):
        LinearStatistics.from_rows(x, variant, y, 3)
    with pytest.raises(ValueError, match="factor"):
        LinearStatistics.empty(1, 1).discounted(1.5)


STAGES = Encoder(
    (FeatureCode("age", "numeric"), FeatureCode("store", "categorical", levels=tuple(f"s{i}" for i in range(60)))),
    pairs=((0, 1),),
)


def members(n: int = 500) -> Encoded:
    rng = np.random.default_rng(4)
    age = np.where(rng.random(n) < 0.1, np.nan, rng.integers(-2, 3, n).astype(float))
    return Encoded(age[:, None], rng.integers(0, 62, (n, 1)).astype(np.int32))


def test_the_sparse_design_is_the_dense_one() -> None:
    encoded = members()
    matrix = design(STAGES, encoded)
    assert not isinstance(matrix, np.ndarray)
    np.testing.assert_array_equal(matrix.toarray(), STAGES.design(encoded))


def test_cells_add_up_to_the_rows_and_do_not_depend_on_their_order() -> None:
    encoded = members()
    rng = np.random.default_rng(5)
    variant, y, w = rng.integers(0, 3, 500), rng.normal(size=500), rng.choice([0.0, 0.5, 1.0], 500)
    made = cells(STAGES, encoded, 3, variant, y, w)
    assert made.start[-1] < (w > 0).sum()  # some rows are alike
    same(LinearStatistics.from_cells(made), LinearStatistics.from_rows(STAGES.design(encoded), variant, y, 3, w))
    shuffled = rng.permutation(500)
    again = cells(STAGES, encoded.take(shuffled), 3, variant[shuffled], y[shuffled], w[shuffled])
    for name in ("start", "weight", "total", "squares"):
        np.testing.assert_array_equal(getattr(made, name), getattr(again, name))
    assert (made.design != again.design).nnz == 0


def test_fingerprints_take_equal_numbers_for_equal() -> None:
    got = fingerprint([np.array([0.0, -0.0, np.nan, -np.nan, 1.0])])
    assert got[0] == got[1]
    assert got[2] == got[3]
    assert len(set(got.tolist())) == 3
    many = fingerprint([np.repeat(np.arange(300), 300), np.tile(np.arange(300), 300)])
    assert len(set(many.tolist())) == 90_000
