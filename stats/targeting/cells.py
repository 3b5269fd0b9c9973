"""Members with similar scores, put together: what a linear programme can hold when there are millions of them."""

from __future__ import annotations

import heapq

import numpy as np

from stats.targeting.options import FloatArray, IntArray

_LOOKED_AT = 2048  # rows of a cell from which its widest column and that column's middle are taken


def cells(columns: FloatArray, stratum: IntArray, most: int) -> IntArray:
    """Return the cell of each member, 0 … at most ``most`` − 1 (or as many as there are strata, if those are more).

    The largest cell is split at the middle of the column in which it is widest, until there are enough; cells whose
    rows are all the same stay whole. No cell spans two strata.

    Args:
        columns: (n, d), finite.
        stratum: (n,), whole numbers.
        most: how many cells.

    >>> cells(np.array([[0.0], [9.0], [0.1], [9.1]]), np.array([0, 0, 0, 0]), 2).tolist()
    [0, 1, 0, 1]
    """
    n = len(stratum)
    found = np.zeros(n, dtype=np.int64)
    scale = columns.std(axis=0) if n else np.ones(columns.shape[1])
    usable = np.flatnonzero(scale > 0)
    whole: list[IntArray] = []
    # The count breaks ties of size, so that rows are never compared.
    heap: list[tuple[int, int, IntArray]] = []
    _, number = np.unique(stratum, return_inverse=True)
    for at in range(int(number.max()) + 1 if n else 0):
        rows = np.flatnonzero(number == at)
        heap.append((-len(rows), at, rows))
    heapq.heapify(heap)
    pushed = len(heap)
    while heap and len(heap) + len(whole) < most:
        _, _, rows = heapq.heappop(heap)
        low = _lower_half(columns, rows, usable, scale)
        if low is None:
            whole.append(rows)
            continue
        for part in (rows[low], rows[~low]):
            heapq.heappush(heap, (-len(part), pushed, part))
            pushed += 1
    for at, rows in enumerate([*whole, *(rows for _, _, rows in sorted(heap, key=lambda one: one[:2]))]):
        found[rows] = at
    return found


def _lower_half(columns: FloatArray, rows: IntArray, usable: IntArray, scale: FloatArray) -> np.ndarray | None:
    """Return which rows are on the lower side of the widest column's middle; ``None`` where all are the same."""
    if len(rows) < 2 or not len(usable):
        return None
    some = columns[rows[:: max(len(rows) // _LOOKED_AT, 1)]][:, usable]
    widest = np.argsort(-(some.std(axis=0) / scale[usable]), kind="stable")
    for at in widest[:1]:
        values = columns[rows, usable[at]]
        middle = float(np.median(some[:, at]))
        for low in (values <= middle, values < middle):
            if low.any() and not low.all():
                return np.asarray(low)
    return None
