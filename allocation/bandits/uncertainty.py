"""How far a variant's linear predictor may be off: the standard deviation ‖Lᵀ row‖ = √(rowᵀ Σ row), Σ = L Lᵀ.

A design row has few columns that are not zero, at most one of each block. So a member's variance is a sum over pairs of
those, of Σ, which is kept where it is small enough; else it is made from the triangle's rows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from allocation.bandits.encoding import Encoded, Encoder

Floats = NDArray[np.float64]

_KEPT = 1 << 22  # numbers of Σ that are kept: 32 MB
_CELLS = 1 << 20


class Uncertainty:
    """The standard deviations of K linear predictors.

    Args:
        packed: (K, P(P+1)/2), the lower triangles L by rows.

    >>> code = Uncertainty(np.array([[2.0, 1.0, 0.5]], np.float32))  # L = [[2, 0], [1, .5]]
    >>> code.of_one([0, 1], [1.0, -2.0]).tolist()  # ‖Lᵀ(1, −2)‖ = ‖(0, −1)‖
    [1.0]
    """

    def __init__(self, packed: NDArray[np.float32]) -> None:
        self._packed = packed
        self._count = len(packed)
        self._size = (math.isqrt(8 * packed.shape[1] + 1) - 1) // 2
        self._covariance: Floats | None = None  # (P·P, K)
        if self._size * self._size * self._count <= _KEPT:
            self._covariance = np.empty((self._size * self._size, self._count))
            for k in range(self._count):
                triangle = self._triangle(k)
                self._covariance[:, k] = (triangle @ triangle.T).ravel()

    def of_one(self, columns: list[int], values: list[float]) -> Floats:
        """Return one member's deviations, shape (K,), from the columns of its design row that may be non-zero."""
        at, value = np.array(columns), np.array(values)
        if self._covariance is not None:
            pairs = self._covariance.take((at[:, None] * self._size + at).ravel(), axis=0)
            variance = np.add.reduce(pairs * (value[:, None] * value).reshape(-1, 1), axis=0)
            return _root(variance)
        projected = np.zeros((self._count, self._size))
        for column, weight in zip(columns, values, strict=True):
            start = column * (column + 1) // 2
            projected[:, : column + 1] += weight * self._packed[:, start : start + column + 1].astype(np.float64)
        return _root(np.add.reduce(projected * projected, axis=1))

    def of_many(self, encoder: Encoder, encoded: Encoded) -> Floats:
        """Return many members' deviations, shape (n, K)."""
        blocks = 1 + len(encoder.layout.blocks)
        # Gathering one number costs about as much as multiplying eight in a matrix product.
        if self._covariance is not None and 8 * blocks * blocks < self._size * self._size:
            return self._by_pairs(encoder, encoded, self._covariance)
        return self._by_product(encoder, encoded)

    def _by_pairs(self, encoder: Encoder, encoded: Encoded, covariance: Floats) -> Floats:
        n = len(encoded.numeric)
        entries = [(np.zeros(n, np.intp), np.ones(n))]
        for block in encoder.layout.blocks:
            column, value = block.entries(encoded)
            entries.append((np.broadcast_to(np.asarray(column), n), np.ones(n) if value is None else value))
        variance = np.zeros((n, self._count))
        for i, (column, value) in enumerate(entries):
            start = column * self._size
            for j, (other, factor) in enumerate(entries[: i + 1]):
                product = value * factor * (1.0 if i == j else 2.0)
                variance += covariance.take(start + other, axis=0) * product[:, None]
        return _root(variance)

    def _by_product(self, encoder: Encoder, encoded: Encoded) -> Floats:
        found = np.empty((len(encoded.numeric), self._count))
        step = max(_CELLS // self._size, 1)
        for start in range(0, len(found), step):
            rows = slice(start, start + step)
            design = encoder.design(encoded.take(rows))
            for k in range(self._count):
                found[rows, k] = np.linalg.norm(design @ self._triangle(k), axis=1)
        return found

    def _triangle(self, k: int) -> Floats:
        triangle = np.zeros((self._size, self._size))
        triangle[np.tril_indices(self._size)] = self._packed[k]
        return triangle


def _root(variance: Floats) -> Floats:
    """Return the root of sums that rounding may have left a little below zero."""
    root: Floats = np.sqrt(np.maximum(variance, 0.0))
    return root
