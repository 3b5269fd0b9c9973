"""What is left after all that fits has been chosen still buys a little: one member's change after another."""

from __future__ import annotations

import numpy as np

from stats.targeting.kept import Limits
from stats.targeting.options import IntArray, Options

_CHANGES = 100
"""Most changes: each leaves less, and beyond these what is left is no longer worth the search."""


def improve(options: Options, limits: Limits, chosen: IntArray) -> None:
    """Change one member's choice after another, each time the change that adds most and keeps the limits.

    Args:
        options: what may be chosen.
        limits: what must be kept, and is.
        chosen: (n,), which is altered.
    """
    rows = np.arange(options.members)
    here = options.value[rows, chosen]
    left = np.iinfo(np.int64).max
    if limits.units is not None:
        left = limits.units - int(options.units[rows, chosen].sum())
    extra = options.units - options.units[rows, chosen][:, None]
    stock = np.concatenate([[np.inf], limits.stock]) - np.bincount(chosen, minlength=options.offers + 1)
    member, option = np.nonzero((options.value > here[:, None]) & (extra <= left) & (stock > 0))
    order = np.argsort(options.tie[member], kind="stable")
    member, option = member[order], option[order]
    spare = limits.reached(chosen) - limits.least
    for _ in range(_CHANGES):
        added = options.value[member, option] - options.value[member, chosen[member]]
        costs = options.units[member, option] - options.units[member, chosen[member]]
        fits = (added > 0) & (costs <= left) & (stock[option] > 0)
        for members, counted, over in zip(limits.members, limits.counted, spare, strict=True):
            if over <= 0:
                fits &= ~members[member] | ~counted[chosen[member]] | counted[option]
        if not fits.any():
            return
        best = int(np.argmax(np.where(fits, added, -np.inf)))
        who, before, after = int(member[best]), int(chosen[member[best]]), int(option[best])
        chosen[who] = after
        left -= int(costs[best])
        stock[before] += 1
        stock[after] -= 1
        for at, (members, counted) in enumerate(zip(limits.members, limits.counted, strict=True)):
            spare[at] += members[who] * (int(counted[after]) - int(counted[before]))
        # What does not fit now will not fit later, but for a floor or a stock that got room again: not worth a search.
        member, option = member[fits], option[fits]
