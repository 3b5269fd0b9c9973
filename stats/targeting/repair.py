"""From shares of choices to whole ones: round, then put right with an integer programme over those nearest to a tie."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from stats.targeting.columns import Limits, Relaxed
from stats.targeting.options import IntArray, Options

_GOLDEN = 0.6180339887498949
_CORE = 300  # members whom the integer programme decides on, to begin with
_LARGEST_CORE = 30_000
_NODES = 2000


class Unrepairable(Exception):  # noqa: N818 - it is caught and said in the caller's words
    """No whole choice that keeps the limits was found."""


def rounded(options: Options, found: Relaxed) -> IntArray:
    """Return a whole choice whose totals are near those of the shares, (n,).

    In a cell that is shared by several patterns, members on whom these differ are dealt out evenly over the shares, in
    the order of `tie`; the multiples of the golden ratio are spread evenly over every run of them (Weyl 1916).
    """
    chosen = np.zeros(options.members, dtype=np.int64)
    order = np.argsort(found.cell, kind="stable")
    ends = np.searchsorted(found.cell[order], np.arange(int(found.cell.max()) + 2))
    of_cell: dict[int, list[tuple[int, float]]] = {}
    for cell, pattern, share in found.shares:
        of_cell.setdefault(cell, []).append((pattern, share))
    for cell, (begin, end) in enumerate(pairwise(ends.tolist())):
        rows, used = order[begin:end], of_cell[cell]
        choices = np.stack([found.patterns[pattern][rows] for pattern, _ in used])
        if len(used) == 1:
            chosen[rows] = choices[0]
            continue
        shares = np.cumsum([share for _, share in used])
        # Members of whom the patterns say the same stand together, each run in the order of `tie`.
        alike = np.lexsort(choices)
        at = np.searchsorted(shares / shares[-1], ((np.arange(len(rows)) + 0.5) * _GOLDEN) % 1.0, side="right")
        chosen[rows[alike]] = choices[np.minimum(at, len(used) - 1), alike]
    return chosen


def whole(options: Options, limits: Limits, found: Relaxed, chosen: IntArray) -> IntArray:
    """Return a choice that keeps all limits, by deciding again on the members who are nearest to indifferent.

    Raises:
        Unrepairable: there is none among those that were looked at.
    """
    size = _CORE
    while True:
        core = _core(found, limits, chosen, size)
        repaired = _decide_again(options, limits, chosen, core)
        if repaired is not None:
            return repaired
        if len(core) == options.members or size >= _LARGEST_CORE:
            raise Unrepairable
        size *= 10


def _core(found: Relaxed, limits: Limits, chosen: IntArray, size: int) -> IntArray:
    """Return the members nearest to indifferent, some of each kind, so that every limit can be served."""
    n, wide = found.reduced.shape
    if n <= size:
        return np.arange(n)
    rows = np.arange(n)
    others = found.reduced.copy()
    mine = others[rows, chosen]
    others[rows, chosen] = -np.inf
    second = others.argmax(axis=1)
    margin = mine - others[rows, second]
    kind = chosen * wide + second
    for members in limits.members:
        kind = kind * 2 + members
    order = np.lexsort((rows, np.abs(margin), kind))
    _, begin, count = np.unique(kind[order], return_index=True, return_counts=True)
    place = np.arange(n) - np.repeat(begin, count)
    return np.sort(order[place < max(size // len(begin), 3)])


def _decide_again(options: Options, limits: Limits, chosen: IntArray, core: IntArray) -> IntArray | None:
    """Return the choice with the core's part of it at its best within the limits; ``None`` where nothing keeps them."""
    from scipy import optimize, sparse

    wide = options.offers + 1
    fixed = np.ones(options.members, dtype=bool)
    fixed[core] = False
    rows = np.arange(options.members)[fixed]
    counts = np.bincount(chosen[fixed], minlength=wide)[1:]
    possible = np.isfinite(options.value[core]).ravel()
    value = np.where(possible, options.value[core].ravel(), 0.0)
    above, upper = [], []
    if limits.units is not None:
        spent = int(options.units[rows, chosen[rows]].sum())
        above.append(options.units[core].ravel() / options.scale)
        upper.append((limits.units - spent) / options.scale)
    for offer in np.flatnonzero(np.isfinite(limits.stock)):
        above.append(np.tile(np.arange(wide) == offer + 1, len(core)).astype(np.float64))
        upper.append(float(limits.stock[offer] - counts[offer]))
    for members, counted, least in zip(limits.members, limits.counted, limits.least, strict=True):
        reached = int(counted[chosen[fixed & members]].sum())
        above.append(-(members[core][:, None] * counted[None]).ravel().astype(np.float64))
        upper.append(float(reached - least))
    one_each = sparse.kron(sparse.eye(len(core)), np.ones((1, wide)), format="csr")
    # The solver keeps its limits up to a millionth; where that shows in whole units, it is asked for that much less.
    for less in (0.0, 2e-6):
        limit = np.array(upper)
        if limits.units is not None:
            limit[0] -= less * max(abs(limit[0]), 1.0)
        result = optimize.milp(
            -value,
            constraints=[
                optimize.LinearConstraint(sparse.csr_matrix(np.array(above)), -np.inf, limit),
                optimize.LinearConstraint(one_each, 1, 1),
            ],
            integrality=np.ones(len(value)),
            bounds=optimize.Bounds(0, possible.astype(np.float64)),
            options={"mip_rel_gap": 1e-6, "node_limit": _NODES},
        )
        if result.x is None:
            return None
        decided = chosen.copy()
        decided[core] = result.x.reshape(len(core), wide).argmax(axis=1)
        if limits.kept(options, decided):
            return decided
    return None
