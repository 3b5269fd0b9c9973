"""Mergeable sufficient statistics: counts, means and centred cross-products of a group of columns, per cell.

A cell is one place of a grid (variant × segment × day …). Cells add exactly, so days, strata and shards merge to what
one pass over all rows would have given. Sums are taken of values *minus a pivot* (any value of the column, its minimum
by choice): raw sums of squares lose 4 % of the variance at mean/sd = 10⁶ and all of it at 10⁸; shifted ones lose none.

References:
    Chan, Golub, LeVeque (1979), Updating formulae and a pairwise algorithm for computing sample variances.
    Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance, The American Statistician 37(3)
    (shifted data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from stats.arrays import EPSILON, FloatArray, IntArray, as_float, divide

FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sufficient statistics of ``k`` columns over complete rows, for every cell of a grid.

    Attributes:
        columns: names of the k columns.
        n: complete rows, shape (cells…).
        pivot: what values were shifted by before summing, shape (k,). It improves accuracy and changes no result.
        mean: means in the columns' own units, shape (cells…, k); the pivot where n is 0.
        m2: centred cross-products Σ(x−x̄)(y−ȳ), shape (cells…, k, k).

    >>> rows = [[1.0, 0.0], [3.0, 1.0], [5.0, 1.0]]
    >>> first, rest = Moments.from_rows(("spend", "visit"), rows[:1]), Moments.from_rows(("spend", "visit"), rows[1:])
    >>> both = first + rest
    >>> int(both.n), both.mean.round(6), both.covariance().round(6)
    (3, array([3.      , 0.666667]), array([[4.      , 1.      ],
           [1.      , 0.333333]]))
    """

    columns: tuple[str, ...]
    n: IntArray
    pivot: FloatArray
    mean: FloatArray
    m2: FloatArray

    def __post_init__(self) -> None:
        k = len(self.columns)
        if k == 0 or len(set(self.columns)) != k:
            raise ValueError(f"columns must be named and different, not {self.columns}")
        cells = self.n.shape
        for name, array, shape in (
            ("pivot", self.pivot, (k,)),
            ("mean", self.mean, (*cells, k)),
            ("m2", self.m2, (*cells, k, k)),
        ):
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}; {shape} is needed for {k} columns and cells {cells}")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.m2).all() and np.isfinite(self.pivot).all()):
            raise ValueError("moments hold NaN or infinity; leave incomplete rows out before summing")
        if (self.n < 0).any():
            raise ValueError("n is negative")

    @classmethod
    def from_shifted_sums(
        cls,
        columns: Sequence[str],
        n: npt.ArrayLike,
        pivot: npt.ArrayLike,
        s1: npt.ArrayLike,
        s2: npt.ArrayLike,
    ) -> Self:
        """Build from sums that a database made.

        Args:
            columns: names of the k columns.
            n: complete rows, shape (cells…).
            pivot: what each column was shifted by, shape (k,).
            s1: Σ(x−pivot), shape (cells…, k).
            s2: Σ(x−pivot_x)(y−pivot_y), shape (cells…, k, k). Python or numpy integers, in an integer or object array,
                are worked with exactly.

        Raises:
            ValueError: a shape does not fit, or a sum is NaN or infinite.

        >>> Moments.from_shifted_sums(["x"], 4, [10], [6], [[14]]).covariance()
        array([[1.66666667]])
        """
        count = np.asarray(n, dtype=np.int64)
        shift = as_float(pivot)
        first, second = np.asarray(s1), np.asarray(s2)
        names = tuple(columns)
        k = len(names)
        if first.shape != (*count.shape, k) or second.shape != (*count.shape, k, k) or shift.shape != (k,):
            raise ValueError(
                f"sums of shapes {first.shape} and {second.shape} and pivot {shift.shape} do not fit "
                f"{k} columns and cells {count.shape}"
            )
        mean = np.where(count[..., None] > 0, shift + _zero_filled(divide(as_float(first), count[..., None])), shift)
        return cls(names, count, shift, mean, _centre(count, first, second))

    @classmethod
    def from_rows(
        cls,
        columns: Sequence[str],
        rows: npt.ArrayLike,
        *,
        cell: npt.ArrayLike | None = None,
        n_cells: int | None = None,
        pivot: npt.ArrayLike | None = None,
        missing: Literal["drop", "zero"] = "drop",
    ) -> Self:
        """Build from rows in memory (tests, small files); large data are summed where they lie.

        Args:
            columns: names of the k columns.
            rows: values, shape (rows, k); NaN or ``None`` is a missing value.
            cell: the cell of each row, integers from 0, shape (rows,). Without it there is one cell and ``n`` is 0-d.
            n_cells: number of cells, where the last ones may be empty.
            pivot: shape (k,); the column minimum by default.
            missing: ``"drop"`` leaves a row with any missing value out of the means *and* of ``n`` ("not measured");
                ``"zero"`` counts it as 0 ("no event").

        Raises:
            ValueError: a value is infinite, a shape does not fit, or a cell is out of range.

        >>> Moments.from_rows(["x"], [[1.0], [3.0], [np.nan]]).n.item()
        2
        >>> Moments.from_rows(["x"], [[1.0], [3.0], [5.0]], cell=[0, 1, 1]).mean.tolist()
        [[1.0], [4.0]]
        """
        names = tuple(columns)
        values = as_float(rows).reshape(-1, len(names))
        codes = np.zeros(len(values), dtype=np.int64) if cell is None else np.asarray(cell, dtype=np.int64)
        if codes.shape != (len(values),):
            raise ValueError(f"cell has shape {codes.shape}; one integer a row is needed: ({len(values)},)")
        if np.isinf(values).any():
            raise ValueError("rows hold infinity; leave such rows out or give them a value")
        if missing == "zero":
            values = np.where(np.isnan(values), 0.0, values)
        complete = ~np.isnan(values).any(axis=1)
        values, codes = values[complete], codes[complete]
        size = 1 if cell is None else (int(codes.max(initial=-1)) + 1 if n_cells is None else n_cells)
        if codes.size and (codes.min() < 0 or codes.max() >= size):
            raise ValueError(f"cell codes must lie in 0 to {size - 1}")
        if pivot is None:
            shift = values.min(axis=0) if len(values) else np.zeros(len(names))
        else:
            shift = as_float(pivot)
        count = np.bincount(codes, minlength=size).astype(np.int64)
        shifted = values - shift
        mean = np.empty((size, len(names)))
        m2 = np.empty((size, len(names), len(names)))
        for index in range(size):
            part = shifted[codes == index] if cell is not None else shifted
            centre = part.mean(axis=0) if len(part) else np.zeros(len(names))
            centred = part - centre
            centred[:, np.abs(centred).max(axis=0, initial=0.0) <= 4 * EPSILON * np.abs(centre)] = 0.0
            mean[index] = shift + centre
            m2[index] = centred.T @ centred
        if cell is None:
            return cls(names, count[0, ...], shift, mean[0], m2[0])
        return cls(names, count, shift, mean, m2)

    @classmethod
    def stack(cls, parts: Sequence[Moments], axis: int = 0) -> Self:
        """Put grids of equal shape and columns side by side along a new axis.

        >>> a = Moments.from_rows(["x"], [[1.0], [2.0]])
        >>> Moments.stack([a, a]).n
        array([2, 2])
        """
        if not parts:
            raise ValueError("nothing to stack")
        _check_columns(parts)
        cells = parts[0].n.ndim + 1
        place = axis % cells
        return cls(
            parts[0].columns,
            np.stack([part.n for part in parts], axis=place),
            np.min([part.pivot for part in parts], axis=0),
            np.stack([part.mean for part in parts], axis=place),
            np.stack([part.m2 for part in parts], axis=place),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid of cells."""
        return self.n.shape

    def __getitem__(self, index: Any) -> Moments:
        """Return part of the grid; the index speaks of cells only.

        >>> Moments.from_rows(["x"], [[1.0], [3.0]], cell=[0, 1])[1].mean
        array([3.])
        """
        return Moments(
            self.columns,
            np.asarray(self.n[index]),
            self.pivot,
            self.mean[(*_as_tuple(index), ..., slice(None))],
            self.m2[(*_as_tuple(index), ..., slice(None), slice(None))],
        )

    def select(self, columns: Sequence[str]) -> Moments:
        """Return the moments of some of the columns, in the order given.

        Raises:
            KeyError: naming the column that is not there.
        """
        places = [self.place(column) for column in columns]
        return Moments(
            tuple(columns),
            self.n,
            self.pivot[places],
            self.mean[..., places],
            self.m2[..., places, :][..., places],
        )

    def place(self, column: str) -> int:
        """Return the position of a column.

        Raises:
            KeyError: naming the columns that are there.
        """
        try:
            return self.columns.index(column)
        except ValueError:
            raise KeyError(f"no column {column!r}; there are {', '.join(self.columns)}") from None

    def covariance(self) -> FloatArray:
        """Return the sample covariance matrices, shape (cells…, k, k); NaN where n < 2."""
        return divide(self.m2, np.maximum(self.n - 1, 0)[..., None, None])

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the rows of both (disjoint rows, same columns), cell by cell with broadcasting.

        The result is the same whichever comes first.

        Raises:
            ValueError: the columns differ.

        Source: Chan, Golub, LeVeque (1979), pairwise formula, for cross-products.
        """
        _check_columns([self, other])
        shape = np.broadcast_shapes(self.shape, other.shape)
        k = len(self.columns)
        both = (
            np.stack([np.broadcast_to(part.n, shape) for part in (self, other)]),
            np.stack([np.broadcast_to(part.mean, (*shape, k)) for part in (self, other)]),
            np.stack([np.broadcast_to(part.m2, (*shape, k, k)) for part in (self, other)]),
        )
        return _pool(self.columns, np.minimum(self.pivot, other.pivot), *both)

    def __add__(self, other: Moments) -> Moments:
        return self.merge(other)

    def sum(self, axis: int | tuple[int, ...] | None = None) -> Moments:
        """Return the moments over all cells, or over the given axes of the grid.

        >>> grid = Moments.from_rows(["x"], [[1.0], [2.0], [6.0]], cell=[0, 0, 1])
        >>> total = grid.sum()
        >>> total.n.item(), total.mean.item(), total.m2.item()
        (3, 3.0, 14.0)
        """
        cells = self.n.ndim
        if axis is None:
            axes = tuple(range(cells))
        else:
            axes = tuple(place % cells for place in ((axis,) if isinstance(axis, int) else axis))
        kept = [place for place in range(cells) if place not in axes]
        order = (*axes, *kept)
        k = len(self.columns)
        rest = tuple(self.shape[place] for place in kept)
        return _pool(
            self.columns,
            self.pivot,
            self.n.transpose(order).reshape(-1, *rest),
            self.mean.transpose(*order, cells).reshape(-1, *rest, k),
            self.m2.transpose(*order, cells, cells + 1).reshape(-1, *rest, k, k),
        )

    def cumulative(self, axis: int) -> Moments:
        """Return running totals along one axis of the grid: the moments as they stood after each day.

        >>> days = Moments.from_rows(["x"], [[1.0], [2.0], [6.0]], cell=[0, 0, 1])
        >>> days.cumulative(0).n, days.cumulative(0).mean.ravel()
        (array([2, 3]), array([1.5, 3. ]))
        """
        place = axis % self.n.ndim
        before: tuple[slice, ...] = (slice(None),) * place
        running: list[Moments] = []
        for index in range(self.shape[place]):
            here = self[(*before, index)]
            running.append(running[-1] + here if running else here)
        if not running:
            return self
        return Moments.stack(running, axis=place)

    def to_dict(self) -> dict[str, object]:
        """Return plain lists that JSON can carry; ``from_dict`` reads them back to the last bit."""
        return {
            "format": FORMAT,
            "columns": list(self.columns),
            "n": self.n.tolist(),
            "pivot": self.pivot.tolist(),
            "mean": self.mean.tolist(),
            "m2": self.m2.tolist(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote.

        Raises:
            ValueError: the format is unknown, a part is missing, or a shape does not fit.
        """
        if document.get("format") != FORMAT:
            raise ValueError(f"moments of format {document.get('format')!r}; this version reads format {FORMAT}")
        try:
            columns = tuple(str(column) for column in document["columns"])
            n = np.asarray(document["n"], dtype=np.int64)
            k = len(columns)
            return cls(
                columns,
                n,
                as_float(document["pivot"]),
                as_float(document["mean"]).reshape(*n.shape, k),
                as_float(document["m2"]).reshape(*n.shape, k, k),
            )
        except KeyError as missing:
            raise ValueError(f"moments lack {missing}") from None


def merge(first: Moments, second: Moments) -> Moments:
    """Return the moments of the rows of both; the same as ``first + second``."""
    return first.merge(second)


def _pool(columns: tuple[str, ...], pivot: FloatArray, n: IntArray, mean: FloatArray, m2: FloatArray) -> Moments:
    """Merge along the first axis: within-part cross-products plus those of the parts' means."""
    if n.shape[0] == 0:
        n, mean, m2 = (np.zeros((1, *array.shape[1:]), dtype=array.dtype) for array in (n, mean, m2))
    total = n.sum(axis=0)
    weight = n[..., None].astype(np.float64)
    above_pivot = _zero_filled(divide((weight * (mean - pivot)).sum(axis=0), total[..., None]))
    # One part with all the rows keeps its mean to the last bit.
    whole = (n == total) & (total > 0)
    centre = np.where(whole.any(axis=0)[..., None], _pick(whole, mean), pivot + above_pivot)
    apart = np.where(weight > 0, mean - centre, 0.0)
    # Means that differ by less than their own rounding do not differ: merged constants stay constant.
    apart = np.where(np.abs(apart) <= 8 * EPSILON * (np.abs(mean) + np.abs(pivot)), 0.0, apart)
    between = np.einsum("c...i,c...j->...ij", weight * apart, apart)
    return Moments(columns, np.asarray(total), pivot, np.asarray(centre), np.asarray(m2.sum(axis=0) + between))


def _pick(whole: npt.NDArray[np.bool_], mean: FloatArray) -> FloatArray:
    """Return the mean of the part that holds every row of its cell."""
    return np.asarray(np.take_along_axis(mean, whole.argmax(axis=0)[None, ..., None], axis=0)[0])


def _centre(n: IntArray, s1: npt.NDArray[Any], s2: npt.NDArray[Any]) -> FloatArray:
    """Return Σ(x−x̄)(y−ȳ) from shifted sums; exactly where they are integers, else 0 where only rounding is left."""
    if all(array.dtype.kind in "iuO" for array in (s1, s2)):
        exact_n = n.astype(object)[..., None, None]
        first, second = s1.astype(object), s2.astype(object)
        top = exact_n * second - first[..., :, None] * first[..., None, :]
        centred = divide(as_float(top), n[..., None, None])
        exact = np.frompyfunc(lambda value: isinstance(value, int), 1, 1)(top).astype(bool)
    else:
        first, second = as_float(s1), as_float(s2)
        product = divide(first[..., :, None] * first[..., None, :], n[..., None, None])
        centred = second - product
        exact = np.zeros(centred.shape, dtype=bool)
    centred = _zero_filled(centred)
    diagonal = np.arange(s1.shape[-1])
    spread = centred[..., diagonal, diagonal]
    noise = 8 * EPSILON * np.sqrt(np.maximum(n, 1))[..., None] * np.abs(as_float(second)[..., diagonal, diagonal])
    constant = (spread <= noise) & ~exact[..., diagonal, diagonal] | (spread <= 0)
    keep = ~(constant[..., :, None] | constant[..., None, :])
    return np.where(keep, centred, 0.0)


def _zero_filled(values: FloatArray) -> FloatArray:
    return np.where(np.isnan(values), 0.0, values)


def _as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _check_columns(parts: Sequence[Moments]) -> None:
    for part in parts:
        if part.columns != parts[0].columns:
            raise ValueError(f"moments of different columns do not merge: {parts[0].columns} and {part.columns}")
