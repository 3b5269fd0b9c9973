"""Rows as a model needs them: encoded, in an order of their own, and added up where they are alike.

The order is that of a fingerprint of each row's content, so that the same set of rows gives the same sums to the last
bit, however it arrived. Rows of one variant with equal values are one cell with three sums: few, where all features are
categorical.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from allocation.bandits.encoding import Encoded, Encoder

FloatArray = npt.NDArray[np.float64]

SPARSE_BELOW = 0.2
"""Share of the design's entries that are not zero below which it is kept sparse."""
SPARSE_COLUMNS = 48
"""A design with fewer columns is kept dense all the same."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums over rows that are alike, by variant.

    Attributes:
        start: cells ``start[k]`` to ``start[k + 1]`` are variant k's, shape (K + 1,).
        design: the cells' design matrix, (n, P), as an array or as scipy's CSR matrix.
        weight: Σ w over a cell's rows, shape (n,).
        total: Σ w·y, shape (n,).
        squares: Σ w·y², shape (n,).
    """

    start: npt.NDArray[np.intp]
    design: Any
    weight: FloatArray
    total: FloatArray
    squares: FloatArray

    @property
    def variants(self) -> int:
        """How many variants."""
        return len(self.start) - 1

    @property
    def columns(self) -> int:
        """How many columns the design has."""
        return int(self.design.shape[1])

    def parts(self) -> list[tuple[Any, slice]]:
        """Return each variant's design and where its cells are."""
        places = [slice(int(a), int(b)) for a, b in zip(self.start[:-1], self.start[1:], strict=True)]
        return [(self.design[place], place) for place in places]


def cells(
    encoder: Encoder,
    encoded: Encoded,
    variants: int,
    variant: npt.NDArray[np.intp],
    outcome: FloatArray,
    weight: FloatArray,
) -> Cells:
    """Return the cells of some rows.

    Args:
        encoder: gives the design.
        encoded: the rows' values, of n members.
        variants: how many variants there are, with rows or without.
        variant: index of each row's variant, shape (n,).
        outcome: y, shape (n,).
        weight: w, what each row counts, shape (n,); rows that count nothing are left out.

    >>> got = cells(Encoder(), Encoded(np.empty((3, 0)), np.empty((3, 0), np.int32)), 2, np.array([1, 0, 1]),
    ...             np.array([1.0, 0.0, 0.0]), np.ones(3))
    >>> got.start.tolist(), got.weight.tolist(), got.total.tolist()
    ([0, 1, 2], [1.0, 2.0], [0.0, 1.0])
    """
    alike = fingerprint([variant, *encoded.numeric.T, *encoded.levels.T])
    order = np.lexsort((fingerprint([outcome, weight]), alike, variant))
    order = order[weight[order] > 0]
    sorted_alike, sorted_variant = alike[order], variant[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (sorted_alike[1:] != sorted_alike[:-1]) | (sorted_variant[1:] != sorted_variant[:-1])
    places = np.flatnonzero(first)
    w, y = weight[order], outcome[order]
    sums = [np.add.reduceat(values, places) if len(places) else np.empty(0) for values in (w, w * y, w * y * y)]
    start = np.searchsorted(sorted_variant[places], np.arange(variants + 1)).astype(np.intp)
    return Cells(start, design(encoder, encoded.take(order[places])), *sums)


def fingerprint(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint64]:
    """Return 64 bits of each row's content: equal rows have equal ones, others differ but for 1 pair in 10¹⁹.

    >>> got = fingerprint([np.array([1.0, 2.0, 1.0]), np.array([5, 5, 5])])
    >>> bool(got[0] == got[2]), bool(got[0] == got[1])
    (True, False)
    """
    state = np.full(len(columns[0]), 0x9E3779B97F4A7C15, np.uint64)
    for column in columns:
        # −0.0 and 0.0 are the same number, and so are all NaN.
        plain = np.where(np.isnan(column), np.nan, column + 0.0) if column.dtype.kind == "f" else column
        bits = np.ascontiguousarray(plain, np.float64 if column.dtype.kind == "f" else np.int64).view(np.uint64)
        # The finaliser of splitmix64 (Steele, Lea, Flood 2014), chained over the columns.
        state = (state ^ bits) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def design(encoder: Encoder, encoded: Encoded) -> Any:
    """Return the design matrix: an array, or a sparse CSR matrix of scipy where most of it is zero."""
    blocks = encoder.layout.blocks
    columns = len(encoder.columns)
    if columns < SPARSE_COLUMNS or (len(blocks) + 1) / columns > SPARSE_BELOW:
        return encoder.design(encoded)
    from scipy.sparse import csr_matrix  # here: what serves policies does without scipy

    n = len(encoded.numeric)
    index = np.zeros((n, len(blocks) + 1), np.int32)
    value = np.ones((n, len(blocks) + 1))
    for place, block in enumerate(blocks, start=1):
        index[:, place], entries = block.entries(encoded)
        if entries is not None:
            value[:, place] = entries
    pointer = np.arange(n + 1, dtype=np.int64) * (len(blocks) + 1)
    matrix = csr_matrix((value.ravel(), index.ravel(), pointer), shape=(n, columns))
    matrix.eliminate_zeros()
    return matrix


def gram(matrix: Any, weight: FloatArray) -> FloatArray:
    """Return X'WX, shape (P, P).

    >>> gram(np.array([[1.0, 2.0]]), np.array([4.0])).tolist()
    [[4.0, 8.0], [8.0, 16.0]]
    """
    if isinstance(matrix, np.ndarray):
        # (√w X)'(√w X): one half of the product is enough for BLAS, and the result is symmetric to the last bit.
        scaled = matrix * np.sqrt(weight)[:, None]
        product: FloatArray = scaled.T @ scaled
        return product
    scaled = matrix.multiply(np.sqrt(weight)[:, None]).tocsr()
    sparse: FloatArray = (scaled.T @ scaled).toarray()
    return sparse
