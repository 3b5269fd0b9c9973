"""Counting rows again, with weights, in the clusters and leaves that mabwiser found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from allocation.bandits.mabwiser.state import Clusters, Counts, Floats, Ints, Tree, Trees, parts_of


def recounted(
    learned: Counts | Clusters | Trees, variant: Ints, earned: Floats, weight: Floats, designs: Iterable[Floats]
) -> Counts | Clusters | Trees:
    """Return the same learner with the counts of other rows.

    Args:
        learned: gives the learner, its parameters, and the clusters or leaves.
        variant: index of each row's arm, shape (n,).
        earned: its reward, shape (n,).
        weight: what it counts, shape (n,).
        designs: the rows' contexts, in pieces that follow each other, shape (…, d); of counts not asked for.

    >>> counted = recounted(Counts("random", {}, np.zeros(2), np.zeros(2)), np.array([1, 1]), np.array([1.0, 0.0]),
    ...                     np.array([0.5, 1.0]), [])
    >>> counted.count.tolist(), counted.total.tolist()
    ([0.0, 1.5], [0.0, 0.5])
    """
    if isinstance(learned, Counts):
        (count,), (total,) = _sums(np.zeros_like(variant), variant, earned, weight, (1, len(learned.count)))
        return replace(learned, count=count, total=total)
    if isinstance(learned, Trees):
        return _trees(learned, variant, earned, weight, designs)
    cells = [nearest(design, learned.centroids) for design in designs]
    arms = len(parts_of(learned)[0].count)  # type: ignore[union-attr]  # a table's learners are counts
    place = np.concatenate([*cells, np.empty(0, np.intp)])
    counts, totals = _sums(place, variant, earned, weight, (len(learned.learners), arms))
    return replace(
        learned,
        learners=tuple(
            Counts(part.learner, part.parameters, count, total)
            for part, count, total in zip(learned.learners, counts, totals, strict=True)
        ),
    )


def nearest(design: Floats, centroids: Floats) -> Ints:
    """Return the index of the nearest centroid of each row, shape (n,).

    >>> nearest(np.array([[0.0], [9.0]]), np.array([[1.0], [10.0]])).tolist()
    [0, 1]
    """
    distance = np.column_stack([((design - centre) ** 2).sum(axis=1) for centre in centroids])
    place: Ints = distance.argmin(axis=1).astype(np.intp)
    return place


def leaves(tree: Tree, design: Floats) -> Ints:
    """Return the leaf that each row falls into, shape (n,). Values are compared as 32-bit floats, as in scikit-learn.

    >>> stump = Tree(*(np.array(a) for a in ([1, -1, -1], [2, -1, -1], [0, 0, 0])), np.array([0.5, 0, 0]),
    ...              np.zeros(3), np.zeros(3))
    >>> leaves(stump, np.array([[0.0], [1.0]])).tolist()
    [1, 2]
    """
    single = design.astype(np.float32).astype(np.float64)
    node = np.zeros(len(design), np.intp)
    while (inner := np.flatnonzero(tree.left[node] >= 0)).size:
        at = node[inner]
        left = single[inner, tree.feature[at]] <= tree.threshold[at]
        node[inner] = np.where(left, tree.left[at], tree.right[at])
    return node


def _trees(learned: Trees, variant: Ints, earned: Floats, weight: Floats, designs: Iterable[Floats]) -> Trees:
    place = np.zeros(len(variant), np.intp)
    start = 0
    for design in designs:
        rows = slice(start, start + len(design))
        for k, tree in enumerate(learned.trees):
            mine = np.flatnonzero(variant[rows] == k)
            place[start + mine] = leaves(tree, design[mine])
        start += len(design)
    trees = []
    for k, tree in enumerate(learned.trees):
        mine = variant == k
        count = _sum(place[mine], weight[mine], len(tree.left))
        total = _sum(place[mine], (weight * earned)[mine], len(tree.left))
        trees.append(replace(tree, count=count, total=total))
    return replace(learned, trees=tuple(trees))


def _sums(place: Ints, variant: Ints, earned: Floats, weight: Floats, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return Σ weight and Σ weight · reward of each place and arm."""
    index, size = place * shape[1] + variant, shape[0] * shape[1]
    return _sum(index, weight, size).reshape(shape), _sum(index, weight * earned, size).reshape(shape)


def _sum(index: Ints, values: Floats, size: int) -> Floats:
    return np.bincount(index, values, size).astype(np.float64)
