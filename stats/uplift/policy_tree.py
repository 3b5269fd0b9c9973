"""A short rule for who gets what: the tree of at most two questions that is worth most.

All trees over candidate thresholds (quantiles of each column) are compared, none is grown greedily: the sums of scores
in the cells of each pair of columns say what every tree would be worth.

Reference:
    Athey & Wager (2021), Policy learning with observational data, Econometrica 89(1), eq. 5.
    Zhou, Athey & Wager (2023), Offline multi-action policy learning, Operations Research 71(1), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stats.uplift.trial import FloatArray, IntArray

THRESHOLDS = 15
"""Candidates a column, at its quantiles."""


@dataclass(frozen=True, slots=True)
class Split:
    """A question: at most the threshold goes left; more, or unknown, goes right.

    Attributes:
        column: index in the features.
        name: of the column.
        threshold: in the column's unit.
        left: where the answer is yes.
        right: where it is no, or unknown.
    """

    column: int
    name: str
    threshold: float
    left: Split | Leaf
    right: Split | Leaf


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where questions end.

    Attributes:
        arm: that everybody here gets.
        rows: units of the data that it was fitted to.
        gain: of the arm against control here, a unit, by the same scores (so it is flattered).
    """

    arm: int
    rows: int
    gain: float


@dataclass(frozen=True, slots=True)
class Condition:
    """One answer on the way to a leaf.

    Attributes:
        column: index in the features.
        name: of the column.
        at_most: whether it is "at most the threshold"; otherwise it is "more, or unknown".
        threshold: in the column's unit.
    """

    column: int
    name: str
    at_most: bool
    threshold: float


@dataclass(frozen=True, slots=True)
class Tree:
    """A policy of at most two questions."""

    root: Split | Leaf

    def choice(self, features: FloatArray) -> IntArray:
        """Return the arm of each unit, (n,), for features (n, d)."""
        out = np.zeros(len(features), dtype=np.intp)
        _descend(self.root, features, np.arange(len(features)), out)
        return out

    @property
    def splits(self) -> tuple[Split, ...]:
        """All questions, the first one first."""
        return tuple(node for node in _nodes(self.root) if isinstance(node, Split))

    @property
    def leaves(self) -> tuple[tuple[tuple[Condition, ...], Leaf], ...]:
        """Every leaf with the answers that lead there."""
        return tuple(_paths(self.root, ()))


def fit(
    scores: FloatArray,
    features: FloatArray,
    names: Sequence[str],
    *,
    depth: int = 2,
    least: int | None = None,
    thresholds: int = THRESHOLDS,
) -> Tree:
    """Return the tree whose arms have the greatest mean score.

    Args:
        scores: (n, K + 1), doubly robust, in money.
        features: (n, d), NaN is missing.
        names: of the columns.
        depth: 0, 1 or 2 questions one after the other.
        least: rows that each leaf must have; ``None``: 1 % of them, and no fewer than 20.
        thresholds: candidates a column.

    Raises:
        ValueError: no rows, a depth above 2, or as many names as there are no columns.

    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]] * 10)
    >>> scores = np.hstack([np.zeros_like(x), np.where(x > 1, 1.0, -1.0)])
    >>> tree = fit(scores, x, ["visits"], depth=1)
    >>> tree.splits[0].name, tree.splits[0].threshold, tree.choice(np.array([[1.0], [2.0], [np.nan]])).tolist()
    ('visits', 1.5, [0, 1, 1])
    """
    if not len(scores):
        raise ValueError("there are no rows to learn from")
    if depth not in (0, 1, 2):
        raise ValueError(f"a tree has at most 2 questions one after the other, not {depth}")
    if features.shape[1] != len(names):
        raise ValueError(f"there are {features.shape[1]} columns and {len(names)} names")
    least = max(20, len(scores) // 100) if least is None else least
    cells = _Cells(scores, features, least, thresholds)
    if depth == 0 or not cells.cuts:
        return Tree(_leaf(scores, np.ones(len(scores), dtype=bool)))
    single = Tree(_grown(cells, features, names, cells.best_single(np.ones(len(scores), dtype=bool)), None))
    if depth == 1:
        return single
    first, sides = cells.best_pair()
    double = Tree(_grown(cells, features, names, first, sides))
    rows = np.arange(len(scores))
    one, two = (float(scores[rows, tree.choice(features)].sum()) for tree in (single, double))
    # Two questions that say no more than one are not asked.
    return double if two > one + 1e-9 * (1 + abs(one)) else single


_Cut = tuple[int, int]
"""Column and which of its thresholds."""


class _Cells:
    """Sums of scores over cells of one or two columns' bins; bins are numbered, unknown is in the last one."""

    def __init__(self, scores: FloatArray, features: FloatArray, least: int, thresholds: int) -> None:
        self.scores, self.least = scores, least
        self.weights = [np.ones(len(scores)), *scores.T]
        self.cuts: dict[int, FloatArray] = {}
        self.codes: dict[int, IntArray] = {}
        for column in range(features.shape[1]):
            found = _candidates(features[:, column], thresholds)
            if found.size:
                self.cuts[column] = found
                self.codes[column] = np.where(
                    np.isnan(features[:, column]),
                    found.size,
                    np.searchsorted(found, features[:, column], side="left"),
                ).astype(np.intp)

    def best_single(self, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> _Cut | None:
        """Return the best single question of some rows, ``None`` where none gains anything."""
        best, found = float(self.scores[inside].sum(axis=0).max()), None
        for column, cuts in self.cuts.items():
            code = self.codes[column][inside]
            sums: FloatArray = np.stack(
                [np.bincount(code, one[inside], cuts.size + 1) for one in self.weights], axis=-1
            )
            value = self._two_leaves(np.cumsum(sums, axis=0)[:-1], sums.sum(axis=0))
            place = int(value.argmax())
            if value[place] > best + 1e-9 * (1 + abs(best)):
                best, found = float(value[place]), (column, place)
        return found

    def best_pair(self) -> tuple[_Cut | None, tuple[_Cut | None, _Cut | None] | None]:
        """Return the best first question, and the best second one on each of its sides."""
        none = float(self.scores.sum(axis=0).max())
        values: dict[int, list[FloatArray]] = {}
        second: dict[int, list[list[_Cut | None]]] = {}
        for column, cuts in self.cuts.items():
            single = np.stack([np.bincount(self.codes[column], one, cuts.size + 1) for one in self.weights], axis=-1)
            low = np.cumsum(single, axis=0)[:-1]
            sides = (low, single.sum(axis=0) - low)
            values[column] = [np.where(one[:, 0] >= self.least, one[:, 1:].max(axis=1), -np.inf) for one in sides]
            second[column] = [[None] * cuts.size, [None] * cuts.size]
        columns = list(self.cuts)
        for place, one in enumerate(columns):
            for other in columns[place:]:
                grid = self._grid(one, other)
                self._improve(values[one], second[one], grid, other)
                if one != other:
                    self._improve(values[other], second[other], grid.swapaxes(0, 1), one)
        best, found = none + 1e-9 * (1 + abs(none)), None
        for column, (left, right) in values.items():
            total = left + right
            place = int(total.argmax())
            if total[place] > best:
                best, found = float(total[place]), (column, place)
        if found is None:
            return None, None
        column, place = found
        return found, (second[column][0][place], second[column][1][place])

    def _grid(self, one: int, other: int) -> FloatArray:
        """Return counts and sums of scores in the cells of two columns, (bins, bins, K + 2)."""
        shape = (self.cuts[one].size + 1, self.cuts[other].size + 1)
        cell = self.codes[one] * shape[1] + self.codes[other]
        sums = [np.bincount(cell, weight, shape[0] * shape[1]).reshape(shape) for weight in self.weights]
        return np.stack(sums, axis=-1)

    def _improve(self, values: list[FloatArray], second: list[list[_Cut | None]], grid: FloatArray, other: int) -> None:
        """See whether a question about ``other`` is a better second one, for each first threshold and side."""
        low = np.cumsum(grid, axis=0)[:-1]
        for side, cells in enumerate((low, grid.sum(axis=0) - low)):
            value = self._two_leaves(np.cumsum(cells, axis=1)[:, :-1], cells.sum(axis=1)[:, None])
            place = value.argmax(axis=1)
            best = value[np.arange(len(place)), place]
            beyond = 1e-9 * (1 + np.where(np.isfinite(best), np.abs(best), 0.0))
            for first in np.flatnonzero(best > values[side] + beyond):
                values[side][first] = best[first]
                second[side][first] = (other, int(place[first]))

    def _two_leaves(self, low: FloatArray, total: FloatArray) -> FloatArray:
        """Return the value of two leaves for each threshold, −∞ where one of them has too few rows."""
        high = total - low
        enough = (low[..., 0] >= self.least) & (high[..., 0] >= self.least)
        return np.where(enough, low[..., 1:].max(axis=-1) + high[..., 1:].max(axis=-1), -np.inf)


def _candidates(values: FloatArray, most: int) -> FloatArray:
    """Return thresholds between distinct values, at about equal shares of the rows."""
    known = np.sort(values[~np.isnan(values)])
    if known.size < 2:
        return np.empty(0)
    distinct = np.unique(known)
    if len(distinct) > most + 1:
        at = (np.arange(1, most + 1) * known.size) // (most + 1)
        below = np.unique(np.searchsorted(distinct, known[at]))
        below = below[below < len(distinct) - 1]
    else:
        below = np.arange(len(distinct) - 1)
    return np.asarray((distinct[below] + distinct[below + 1]) / 2)


def _grown(
    cells: _Cells,
    features: FloatArray,
    names: Sequence[str],
    first: _Cut | None,
    sides: tuple[_Cut | None, _Cut | None] | None,
) -> Split | Leaf:
    """Return the nodes of the questions found; one whose sides get the same arm is not asked."""
    everyone = np.ones(len(features), dtype=bool)

    def node(cut: _Cut | None, inside: np.ndarray[tuple[int], np.dtype[np.bool_]], depth: int) -> Split | Leaf:
        if cut is None:
            return _leaf(cells.scores, inside)
        column, threshold = cut[0], float(cells.cuts[cut[0]][cut[1]])
        yes = inside & (features[:, column] <= threshold)
        no = inside & ~yes
        below = sides if sides is not None and depth == 0 else (None, None)
        left, right = node(below[0], yes, depth + 1), node(below[1], no, depth + 1)
        if isinstance(left, Leaf) and isinstance(right, Leaf) and left.arm == right.arm:
            return _leaf(cells.scores, inside)
        return Split(column, names[column], threshold, left, right)

    return node(first, everyone, 0)


def _leaf(scores: FloatArray, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Leaf:
    own = scores[inside]
    sums = own.sum(axis=0)
    arm = int(sums.argmax())
    return Leaf(arm, len(own), float((sums[arm] - sums[0]) / max(len(own), 1)))


def _descend(node: Split | Leaf, features: FloatArray, rows: IntArray, out: IntArray) -> None:
    if isinstance(node, Leaf):
        out[rows] = node.arm
        return
    yes = features[rows, node.column] <= node.threshold
    _descend(node.left, features, rows[yes], out)
    _descend(node.right, features, rows[~yes], out)


def _nodes(node: Split | Leaf) -> Iterator[Split | Leaf]:
    yield node
    if isinstance(node, Split):
        yield from _nodes(node.left)
        yield from _nodes(node.right)


def _paths(node: Split | Leaf, path: tuple[Condition, ...]) -> Iterator[tuple[tuple[Condition, ...], Leaf]]:
    if isinstance(node, Leaf):
        yield path, node
        return
    for at_most, child in ((True, node.left), (False, node.right)):
        yield from _paths(child, (*path, Condition(node.column, node.name, at_most, node.threshold)))
