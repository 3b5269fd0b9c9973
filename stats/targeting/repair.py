"""From shares of choices to whole ones: round, then decide again on those who are nearest to a tie."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stats.targeting.columns import Relaxed
from stats.targeting.improving import improve
from stats.targeting.kept import Limits
from stats.targeting.options import FloatArray, IntArray, Options

_GOLDEN = 0.6180339887498949
_CORE = 250  # members who are decided on again, to begin with
_LARGEST_CORE = 30_000
_NODES = 500
_WAYS = 5_000
_EXACT = 30  # so few members are decided on exactly
_BRANCHES = 12  # looked at otherwise
_CLOSE = 1e-7  # of the whole value


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
        repaired = _decide_again(options, limits, chosen, core, _CLOSE * abs(found.bound))
        if repaired is not None:
            improve(options, limits, repaired)
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
    some = order[place < max(size // len(begin), 1)]
    # Where kinds are many, those nearest to a tie: a programme over all kinds would take long.
    return np.sort(some[np.argsort(np.abs(margin[some]), kind="stable")][: 3 * size])


def _decide_again(options: Options, limits: Limits, chosen: IntArray, core: IntArray, close: float) -> IntArray | None:
    """Return the choice with the core's part of it near its best within the limits; ``None`` where nothing keeps them.

    A basic solution of the programme over the core splits no more members than there are limits. All ways of making
    these whole are tried, here and in some branches (deepest first), in all of them where members are few. (HiGHS's own
    integer solver prints to standard output.)

    Args:
        options: what may be chosen.
        limits: what must be kept.
        chosen: (n,), what everybody else keeps.
        core: whom to decide on again.
        close: how much less than the best is near enough.
    """
    programme = _Core(options, limits, chosen, core)
    best, best_value = None, -np.inf
    # (which options are open, budget left): the last one first.
    open_nodes = [(programme.possible, programme.budget)]
    for node in range(_NODES):
        # What is then still missing is found sooner by looking at everybody's changes.
        enough = best is not None and node >= _BRANCHES and options.members > _EXACT
        if enough or not open_nodes:
            break
        allowed, budget = open_nodes.pop()
        solved = programme.relaxed(allowed, budget)
        if solved is None or solved[0] <= best_value + close:
            continue
        shares = solved[1]
        split = np.flatnonzero(shares.max(axis=1) <= 1 - 1e-6)
        found = _made_whole(options, limits, chosen, core, shares, split)
        if found is not None:
            value = float(options.value[core, found[core]].sum())
            if value > best_value:
                best, best_value = found, value
        if not len(split):
            if found is None and budget is not None:
                # Within the solver's tolerance of the budget, not within the budget: once more, with a little less.
                open_nodes.append((allowed, budget - 1e-6 * 10 ** min(node, 6)))
            continue
        member = int(split[shares[split].max(axis=1).argmin()])
        option = int(shares[member].argmax())
        without, only = allowed.copy(), allowed.copy()
        without[member, option] = False
        only[member] = False
        only[member, option] = True
        open_nodes += [(without, budget), (only, budget)]
    return best


def _made_whole(
    options: Options, limits: Limits, chosen: IntArray, core: IntArray, shares: FloatArray, split: IntArray
) -> IntArray | None:
    """Return the best choice that keeps the limits and gives only the split members of the core something else."""
    whole_choice = chosen.copy()
    whole_choice[core] = shares.argmax(axis=1)
    if not len(split):
        return whole_choice if limits.kept(options, whole_choice) else None
    members = core[split]
    ways = [np.flatnonzero(np.isfinite(options.value[member])) for member in members]
    if math.prod(map(len, ways)) > _WAYS:
        ways = [np.flatnonzero(shares[at] > 1e-6) for at in split]
    if math.prod(map(len, ways)) > _WAYS:
        return None
    tried = np.stack([part.ravel() for part in np.meshgrid(*ways, indexing="ij")], axis=1)
    whole_choice[members] = 0
    units = options.units[members, tried].sum(axis=1) + int(options.units[np.arange(len(chosen)), whole_choice].sum())
    kept = np.ones(len(tried), dtype=bool) if limits.units is None else units <= limits.units
    given = np.bincount(whole_choice, minlength=options.offers + 1)
    for offer in np.flatnonzero(np.isfinite(limits.stock)):
        kept &= given[offer + 1] + (tried == offer + 1).sum(axis=1) <= limits.stock[offer]
    for about, counted, least, there in zip(
        limits.members, limits.counted, limits.least, limits.reached(whole_choice), strict=True
    ):
        kept &= there + (counted[tried] & about[members]).sum(axis=1) >= least
    if not kept.any():
        return None
    value = np.where(kept, options.value[members, tried].sum(axis=1), -np.inf)
    whole_choice[members] = tried[int(value.argmax())]
    return whole_choice


class _Core:
    """The programme over some members, the others' choice being fixed."""

    def __init__(self, options: Options, limits: Limits, chosen: IntArray, core: IntArray) -> None:
        from scipy import sparse

        wide = options.offers + 1
        fixed = np.ones(options.members, dtype=bool)
        fixed[core] = False
        rows = np.flatnonzero(fixed)
        counts = np.bincount(chosen[fixed], minlength=wide)[1:]
        self.possible = np.isfinite(options.value[core])
        self._value = np.where(self.possible, options.value[core], 0.0).ravel()
        self.budget = None
        above, self._upper = [], []
        if limits.units is not None:
            self.budget = (limits.units - int(options.units[rows, chosen[rows]].sum())) / options.scale
            above.append(options.units[core].ravel() / options.scale)
        for offer in np.flatnonzero(np.isfinite(limits.stock)):
            above.append(np.tile(np.arange(wide) == offer + 1, len(core)).astype(np.float64))
            self._upper.append(float(limits.stock[offer] - counts[offer]))
        for members, counted, least in zip(limits.members, limits.counted, limits.least, strict=True):
            reached = int(counted[chosen[fixed & members]].sum())
            above.append(-(members[core][:, None] * counted[None]).ravel().astype(np.float64))
            self._upper.append(float(reached - least))
        self._above = sparse.csr_matrix(np.array(above))
        self._one_each = sparse.kron(sparse.eye(len(core)), np.ones((1, wide)), format="csr")

    def relaxed(self, allowed: npt.NDArray[np.bool_], budget: float | None) -> tuple[float, FloatArray] | None:
        """Return the best value and shares (members, options) with some options closed, or ``None``."""
        from scipy import optimize

        found = optimize.linprog(
            -self._value,
            A_ub=self._above,
            b_ub=np.array(([] if budget is None else [budget]) + self._upper),
            A_eq=self._one_each,
            b_eq=np.ones(len(allowed)),
            bounds=np.column_stack([np.zeros(allowed.size), allowed.ravel()]),
            method="highs-ds",  # ends in a corner, where few are split
        )
        return None if found.x is None else (float(-found.fun), found.x.reshape(allowed.shape))
