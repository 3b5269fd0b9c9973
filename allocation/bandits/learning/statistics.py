"""Additive statistics of a linear model: what rows of each variant add up to, and no row needs to be kept for.

``A = Σ w·x·x'``, ``b = Σ w·x·y``, ``Σ w·y²`` and ``Σ w``: days and shards merge by addition, a day that is taken out is
subtracted, and forgetting multiplies. Made in one go or piece by piece, they are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from allocation.bandits.learning.cells import Cells, gram

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearStatistics:
    """Sums over the rows of K variants with P columns.

    Attributes:
        gram: Σ w·x·x', shape (K, P, P).
        moment: Σ w·x·y, shape (K, P).
        squares: Σ w·y², shape (K,).
        weight: Σ w, shape (K,).

    >>> x, y = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 1.0]]), np.array([1.0, 3.0, 2.0])
    >>> whole = LinearStatistics.from_rows(x, np.zeros(3, dtype=int), y, 1)
    >>> parts = [LinearStatistics.from_rows(x[i:i + 1], np.zeros(1, dtype=int), y[i:i + 1], 1) for i in range(3)]
    >>> merged = parts[0] + parts[1] + parts[2]
    >>> bool((merged.gram == whole.gram).all()), merged.moment.tolist(), merged.discounted(0.5).weight.tolist()
    (True, [[6.0, 8.0]], [1.5])
    """

    gram: FloatArray
    moment: FloatArray
    squares: FloatArray
    weight: FloatArray

    def __post_init__(self) -> None:
        count, size = self.moment.shape
        if self.gram.shape != (count, size, size) or self.squares.shape != (count,) or self.weight.shape != (count,):
            raise ValueError("statistics have shapes that do not fit together")

    @classmethod
    def empty(cls, variants: int, columns: int) -> Self:
        """Return the statistics of no rows."""
        shape = (variants, columns)
        return cls(np.zeros((*shape, columns)), np.zeros(shape), np.zeros(variants), np.zeros(variants))

    @classmethod
    def from_rows(
        cls,
        design: FloatArray,
        variant: npt.NDArray[np.intp],
        outcome: FloatArray,
        variants: int,
        weight: FloatArray | None = None,
    ) -> Self:
        """Return the statistics of some rows.

        Args:
            design: x, shape (n, P).
            variant: index of each row's variant, shape (n,).
            outcome: y, shape (n,).
            variants: K, how many variants there are, with rows or without.
            weight: what each row counts, shape (n,); 1 by default.

        Raises:
            ValueError: a value that is not a finite number, or a variant that does not exist.
        """
        made = cls.empty(variants, design.shape[1])
        if len(variant) and not 0 <= variant.min() <= variant.max() < variants:
            raise ValueError(f"variant must be an index below {variants}")
        weights = np.ones(len(outcome)) if weight is None else weight
        for k in range(variants):
            rows = np.flatnonzero(variant == k)
            x, y, w = design[rows], outcome[rows], weights[rows]
            weighted = x if weight is None else x * w[:, None]
            made.gram[k] = x.T @ weighted
            made.moment[k] = y @ weighted
            made.squares[k] = (w * y) @ y
            made.weight[k] = w.sum()
        if not (np.isfinite(made.gram).all() and np.isfinite(made.squares).all() and np.isfinite(made.weight).all()):
            raise ValueError("a row has a value that is not a finite number; leave it out")
        return made

    @classmethod
    def from_cells(cls, of: Cells) -> Self:
        """Return the statistics of cells."""
        made = cls.empty(of.variants, of.columns)
        for k, (design, place) in enumerate(of.parts()):
            made.gram[k] = gram(design, of.weight[place])
            made.moment[k] = design.T @ of.total[place]
            made.squares[k] = of.squares[place].sum()
            made.weight[k] = of.weight[place].sum()
        return made

    def __add__(self, other: Self) -> Self:
        """Return the statistics of both sets of rows."""
        return self._combined(other, 1.0)

    def __sub__(self, other: Self) -> Self:
        """Return the statistics without those rows."""
        return self._combined(other, -1.0)

    def discounted(self, factor: float) -> Self:
        """Return what is left when every row counts ``factor`` of what it did (0 to 1)."""
        if not 0 <= factor <= 1:
            raise ValueError(f"factor must be from 0 to 1, not {factor}")
        return type(self)(factor * self.gram, factor * self.moment, factor * self.squares, factor * self.weight)

    def _combined(self, other: Self, sign: float) -> Self:
        parts: list[Any] = [
            getattr(self, name) + sign * getattr(other, name) for name in ("gram", "moment", "squares", "weight")
        ]
        return type(self)(*parts)
