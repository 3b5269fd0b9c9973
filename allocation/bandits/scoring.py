"""A policy at work: scores and probabilities of one member, and of many at once.

One member takes the few columns that are not zero; sums run in the columns' order, so that every host gets the same
bits. Many members are done as arrays, in chunks, and agree with that to the twelfth decimal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from allocation.bandits import probabilities as single
from allocation.bandits.encoding import Encoded, Value
from allocation.bandits.probabilities import TIE
from allocation.bandits.uncertainty import Uncertainty

if TYPE_CHECKING:
    from allocation.bandits.policy import Policy

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)

_CHUNK = 1 << 14
_CELLS = 1 << 17  # numbers of a working array: 1 MB, which stays near the processor
_DEEP = 700.0  # below −this, exp(−η) is beyond what a double holds
_KEPT = 4096  # kinds of members whose shares of samples are kept


class Scorer:
    """What serving makes of a policy once: its arrays turned round and divided by the scale."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.count = len(policy.variants)
        zeros = np.zeros(self.count)
        self._contact = zeros if policy.contact is None else policy.contact / policy.scale
        self._contacts: list[float] = self._contact.tolist()
        self._means: Floats | None = None
        self._trees: list[list[Any]] = []
        if policy.cells == "trees":
            nodes = ("tree_roots", "tree_column", "tree_threshold", "tree_left", "tree_right", "tree_cell")
            self._trees = [held(getattr(policy, name)).tolist() for name in nodes]
        self._counted: dict[tuple[bytes, tuple[int, ...]], list[float]] = {}
        if policy.kind == "contextual" and policy.coef is not None:
            self._weights = np.ascontiguousarray(policy.coef.T)  # (P, K)
            self._taken: tuple[list[int], Floats] = [0], self._weights[:1]
            self._amounts = None
            if policy.model == "logistic" and policy.worth is not None:
                self._worth = policy.worth / policy.scale
            elif policy.model == "hurdle" and policy.amount is not None:
                self._worth = policy.amount / policy.scale
                if policy.amount.ndim == 2:
                    self._amounts = np.ascontiguousarray(self._worth.T)
            constant = policy.model != "linear" and self._amounts is None
            self._worths: list[float] = self._worth.tolist() if constant else []
            if policy.rule in {"thompson", "linucb"}:
                self._uncertainty = Uncertainty(held(policy.spread))

    def scores(self, x: Sequence[Value]) -> list[float]:
        """Return one member's scores, length K."""
        if self.policy.kind == "uniform":
            return [0.0] * self.count
        if self.policy.kind == "table":
            return [float(score) for score in self._cell_scores(self._cell(x))]
        columns, values = self.policy.encoder.sparse(x)
        known, taken = self._taken
        if columns != known:
            # Members of whom everything is known have the same columns wherever features are numeric.
            taken = self._weights.take(columns, axis=0)
            self._taken = columns, taken
        return self._profits(np.add.reduce(taken * np.array(values)[:, None], axis=0), columns, values)

    def probabilities(self, x: Sequence[Value], eligible: Sequence[int]) -> list[float]:
        """Return one member's probabilities over the eligible variants."""
        return self.scores_and_probabilities(x, eligible)[1]

    def scores_and_probabilities(self, x: Sequence[Value], eligible: Sequence[int]) -> tuple[list[float], list[float]]:
        """Return both, for the price of one: a decision needs the second, an explanation both."""
        policy = self.policy
        if policy.rule in {"thompson", "linucb"} and policy.kind == "contextual":
            return self._uncertain(x, eligible)
        scores = self.scores(x)
        if len(eligible) < 2 or policy.kind == "uniform":
            return scores, [1.0 / len(eligible)] * len(eligible)
        if policy.rule == "samples":
            return scores, self._share_of_samples(self._cell(x), eligible)
        of = scores if len(eligible) == self.count else [scores[k] for k in eligible]
        if policy.rule == "igw":
            return scores, single.igw(of, self._gamma(len(eligible)))
        if policy.rule == "softmax":
            return scores, single.softmax(of, policy.optimism)
        return scores, single.greedy(of) if policy.rule == "greedy" else single.proportional(of)

    def scores_batch(self, encoded: Encoded) -> Floats:
        """Return many members' scores, shape (n, K)."""
        scores = np.empty((len(encoded.numeric), self.count))
        for rows in _chunks(len(scores), _CHUNK):
            scores[rows] = self._chunk_scores(encoded.take(rows))
        return scores

    def probabilities_batch(self, encoded: Encoded, eligible: Mask | None = None) -> Floats:
        """Return many members' probabilities, shape (n, K)."""
        n = len(encoded.numeric)
        if eligible is not None and eligible.shape != (n, self.count):
            raise ValueError(f"eligible has shape {eligible.shape}; it must be ({n}, {self.count})")
        found = np.empty((n, self.count))
        for rows in _chunks(n, _CHUNK):
            part = encoded.take(rows)
            mask = np.ones((len(part.numeric), self.count), bool) if eligible is None else eligible[rows]
            found[rows] = self._chunk_probabilities(part, mask)
        return found

    def _gamma(self, count: Any) -> Any:
        return self.policy.sharpness * (self.policy.effective_rows * count) ** 0.5

    # One member

    def _profits(self, eta: Floats, columns: list[int], values: list[float]) -> list[float]:
        model, contacts = self.policy.model, self._contacts
        if model == "linear":
            scale = self.policy.scale
            return [value / scale - contact for value, contact in zip(eta.tolist(), contacts, strict=True)]
        worths = self._worths if self._amounts is None else _sums(self._amounts, columns, values).tolist()
        exp = math.exp
        return [
            worth / (1.0 + exp(-value)) - contact if value > -_DEEP else _sigmoid(value) * worth - contact
            for value, worth, contact in zip(eta.tolist(), worths, contacts, strict=True)
        ]

    def _uncertain(self, x: Sequence[Value], eligible: Sequence[int]) -> tuple[list[float], list[float]]:
        policy = self.policy
        columns, values = policy.encoder.sparse(x)
        eta = _sums(self._weights, columns, values)
        wide = policy.optimism * self._uncertainty.of_one(columns, values)
        scores = self._profits(eta, columns, values)
        if policy.rule == "linucb":
            hopeful = self._profits(eta + wide, columns, values)
            return scores, single.greedy([hopeful[k] for k in eligible])
        worth = None if self._amounts is None else _sums(self._amounts, columns, values)
        drawn = self._profit_array(eta + wide * held(policy.normals), worth)
        return scores, _wins(drawn[:, list(eligible)]).tolist()

    def _cell(self, x: Sequence[Value]) -> NDArray[np.intp]:
        """Return one member's cell, shape (1,), or that of each variant's own tree, shape (K,)."""
        if self.policy.cells == "none":
            return np.zeros(1, np.intp)
        row = np.zeros(len(self.policy.encoder.columns))
        columns, values = self.policy.encoder.sparse(x)
        row[columns] = values
        if self.policy.cells == "centroids":
            return np.array([((row - held(self.policy.centroids)) ** 2).sum(axis=1).argmin()], np.intp)
        return np.array(self._leaves(row.astype(np.float32).tolist()), np.intp)

    def _leaves(self, row: list[float]) -> list[int]:
        """Return the cell of each tree's leaf; for one member, plain lists are faster than arrays."""
        roots, column, threshold, left, right, cell = self._trees
        found = []
        for node in roots:
            while (at := column[node]) >= 0:
                node = left[node] if row[at] <= threshold[node] else right[node]
            found.append(cell[node])
        return found

    def _cell_scores(self, cell: NDArray[np.intp]) -> Floats:
        table = self._preferences()
        if len(cell) == 1:
            shared: Floats = table[cell[0]] / self.policy.scale - self._contact
            return shared
        ranks = np.arange(self.count) if table.shape[1] > 1 else 0
        own: Floats = table[cell, ranks] / self.policy.scale - self._contact
        return own

    def _share_of_samples(self, cell: NDArray[np.intp], eligible: Sequence[int]) -> list[float]:
        """Return the share of a cell's frozen samples in which each eligible variant is best; counted once for each."""
        key = (cell.tobytes(), tuple(eligible))
        shares = self._counted.get(key)
        if shares is None:
            shares = _wins(self._cell_samples(cell)[:, list(eligible)]).tolist()
            if len(self._counted) < _KEPT:
                self._counted[key] = shares
        return list(shares)

    def _cell_samples(self, cell: NDArray[np.intp]) -> Floats:
        samples = held(self.policy.samples)
        if len(cell) == 1:
            shared: Floats = samples[cell[0]] / self.policy.scale - self._contact
            return shared
        ranks = np.arange(self.count) if samples.shape[2] > 1 else np.zeros(self.count, np.intp)
        own: Floats = samples[cell, :, ranks].T / self.policy.scale - self._contact
        return own

    def _preferences(self) -> Floats:
        if self._means is None:
            self._means = held(self.policy.samples).mean(axis=1) if self.policy.table is None else self.policy.table
        return self._means

    # Many members

    def _chunk_scores(self, encoded: Encoded) -> Floats:
        n = len(encoded.numeric)
        if self.policy.kind == "uniform":
            return np.zeros((n, self.count))
        if self.policy.kind == "table":
            table, cells = self._preferences(), self._chunk_cells(encoded)
            ranks = np.arange(self.count) if table.shape[1] > 1 else 0
            scores: Floats = table[cells, ranks] / self.policy.scale - self._contact
            return scores
        worth = None if self._amounts is None else self._products(encoded, self._amounts)
        return self._profit_array(self._products(encoded, self._weights), worth)

    def _products(self, encoded: Encoded, weights: Floats) -> Floats:
        """Return design · weights, shape (n, K), without building the columns of levels."""
        narrow, places = [np.ones(len(encoded.numeric))], [0]
        total = np.zeros((len(encoded.numeric), weights.shape[1]))
        for block in self.policy.encoder.layout.blocks:
            place, value = block.entries(encoded)
            if isinstance(place, int):  # one column, with a value
                places.append(place)
                narrow.append(np.ones(len(total)) if value is None else value)
            else:
                part = weights.take(place, axis=0)
                total += part if value is None else part * value[:, None]
        return total + np.column_stack(narrow) @ weights[places]

    def _profit_array(self, eta: Floats, worth: Floats | None) -> Floats:
        """Return scores of linear predictors whose last axis is K."""
        if self.policy.model == "linear":
            return eta / self.policy.scale - self._contact
        small = np.exp(-np.abs(eta))
        chance = np.where(eta >= 0, 1.0, small) / (1.0 + small)
        return chance * (self._worth if worth is None else worth) - self._contact

    def _chunk_probabilities(self, encoded: Encoded, mask: Mask) -> Floats:
        policy = self.policy
        if policy.kind == "uniform":
            return _even(mask)
        if policy.rule == "samples" or (policy.rule == "thompson" and policy.kind == "contextual"):
            return self._chunk_wins(encoded, mask)
        if policy.rule == "linucb":
            wide = policy.optimism * self._uncertainty.of_many(policy.encoder, encoded)
            eta = self._products(encoded, self._weights) + wide
            worth = None if self._amounts is None else self._products(encoded, self._amounts)
            scores = self._profit_array(eta, worth)
        else:
            scores = self._chunk_scores(encoded)
        if policy.rule == "proportional":
            weights = np.where(mask, np.maximum(scores, 0.0), 0.0)
            total = weights.sum(axis=1, keepdims=True)
            return np.where(total > 0, weights / np.where(total > 0, total, 1.0), _even(mask))
        masked = np.where(mask, scores, -np.inf)
        top = masked.max(axis=1, keepdims=True)
        gap = np.where(mask, np.where(np.isfinite(top), top, 0.0) - scores, np.inf)
        if policy.rule == "igw":
            return _igw(gap, mask, self._gamma)
        if policy.rule == "softmax" and policy.optimism > 0:
            weights = np.exp(-gap / policy.optimism)
        else:
            weights = (gap <= TIE).astype(np.float64)
        total = weights.sum(axis=1, keepdims=True)
        return weights / np.where(total > 0, total, 1.0)

    def _chunk_wins(self, encoded: Encoded, mask: Mask) -> Floats:
        """Return the share of samples in which each eligible variant is best."""
        policy = self.policy
        found = np.empty(mask.shape)
        if policy.kind == "table":
            samples, cells = held(policy.samples), self._chunk_cells(encoded)
            # Members of the same cell who may get the same are alike: there are few kinds, and each is counted once.
            kinds, place = np.unique(np.column_stack([cells, mask]), axis=0, return_inverse=True)
            cells, mask = kinds[:, : cells.shape[1]], kinds[:, cells.shape[1] :].astype(bool)
            ranks = np.arange(self.count) if samples.shape[2] > 1 else 0
            counted = np.empty(mask.shape)
            for rows in _chunks(len(mask), _CELLS // (samples.shape[1] * self.count)):
                drawn = samples.transpose(0, 2, 1)[cells[rows], ranks].transpose(0, 2, 1)
                counted[rows] = _wins(drawn / policy.scale - self._contact, mask[rows])
            return counted[place.ravel()]
        normals = held(policy.normals)
        eta = self._products(encoded, self._weights)
        wide = policy.optimism * self._uncertainty.of_many(policy.encoder, encoded)
        worth = None if self._amounts is None else self._products(encoded, self._amounts)
        for rows in _chunks(len(mask), _CELLS // normals.size):
            # Variants lie outermost in memory: what is compared is then a handful of long arrays, not many short ones.
            drawn = eta[rows].T[:, :, None] + wide[rows].T[:, :, None] * normals.T[:, None, :]
            drawn = np.moveaxis(drawn, 0, -1)
            found[rows] = _wins(self._profit_array(drawn, None if worth is None else worth[rows, None]), mask[rows])
        return found

    def _chunk_cells(self, encoded: Encoded) -> NDArray[np.intp]:
        """Return each member's cell, shape (n, 1), or (n, K) where each variant has cells of its own."""
        if self.policy.cells == "none":
            return np.zeros((len(encoded.numeric), 1), np.intp)
        return self._cells(self.policy.encoder.design(encoded))

    def _cells(self, design: Floats) -> NDArray[np.intp]:
        policy = self.policy
        if policy.cells == "centroids":
            distance = np.column_stack([((design - centre) ** 2).sum(axis=1) for centre in held(policy.centroids)])
            nearest: NDArray[np.intp] = distance.argmin(axis=1)[:, None]
            return nearest
        column, threshold = held(policy.tree_column), held(policy.tree_threshold)
        left, right = held(policy.tree_left), held(policy.tree_right)
        design = design.astype(np.float32).astype(np.float64)
        node = np.repeat(held(policy.tree_roots)[None, :], len(design), axis=0)
        members = np.arange(len(design))[:, None]
        while (inner := column[node] >= 0).any():
            goes_left = design[members, column[node]] <= threshold[node]
            node = np.where(inner, np.where(goes_left, left[node], right[node]), node)
        return held(policy.tree_cell)[node].astype(np.intp)


def held(array: NDArray[Number] | None) -> NDArray[Number]:
    """Return an array that a policy of this kind has, as `allocation.bandits.policy` checks.

    Raises:
        ValueError: it has not.
    """
    if array is None:
        raise ValueError("the policy has not what its rule needs; make it by Policy(…), which checks it")
    return array


def _sums(weights: Floats, columns: list[int], values: list[float]) -> Floats:
    """Return Σ value · weights[column], added in the columns' order whatever the processor."""
    total: Floats = np.add.reduce(weights.take(columns, axis=0) * np.array(values)[:, None], axis=0)
    return total


def _sigmoid(eta: float) -> float:
    if eta >= 0:
        return 1.0 / (1.0 + math.exp(-eta))
    small = math.exp(eta)
    return small / (1.0 + small)


def _wins(drawn: Floats, mask: Mask | None = None) -> Floats:
    """Return how often each of the last axis is the best along the axis before it; equals share."""
    if mask is not None and mask.all():
        mask = None
    if mask is not None:
        drawn = np.where(mask[..., None, :], drawn, -np.inf)
    best = drawn >= drawn.max(axis=-1, keepdims=True) - TIE
    if mask is not None:
        best &= mask[..., None, :]
    counts: Floats = np.count_nonzero(best, axis=-2) / best.shape[-2]
    rows = best.size // (best.shape[-1] * best.shape[-2]) if mask is None else np.count_nonzero(mask.any(axis=-1))
    if np.count_nonzero(best) == rows * best.shape[-2]:  # no equals: each draw has one best
        return counts
    shares: Floats = (best / np.maximum(best.sum(axis=-1, keepdims=True), 1)).mean(axis=-2)
    return shares


def _even(mask: Mask) -> Floats:
    shares: Floats = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return shares


def _igw(gap: Floats, mask: Mask, gamma: Callable[[Floats], Floats]) -> Floats:
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1).astype(np.float64)
    best = gap <= TIE  # nobody's gap is so small who is not eligible
    others = mask & ~best
    weights = np.where(others, 1.0 / (count + gamma(count) * np.where(others, gap, 0.0)), 0.0)
    rest = (1.0 - weights.sum(axis=1, keepdims=True)) / np.maximum(best.sum(axis=1, keepdims=True), 1)
    return np.where(best, rest, weights)


def _chunks(n: int, size: int) -> Iterator[slice]:
    size = max(size, 1)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
