"""The steps by which money turns into value: each member's best choices from the cheapest to the most valuable.

Among a member's choices only those on the upper hull of value over cost can be best at some price of money. Going along
the hull, each step buys value at a lower rate than the one before; the steps of all members, sorted by that rate, solve
the linear relaxation of the multiple-choice knapsack exactly (Zemel 1980; Kellerer, Pferschy & Pisinger 2004, ch. 11).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.targeting.options import FloatArray, IntArray, Options


@dataclass(frozen=True, eq=False)
class Hulls:
    """Where everybody starts, and all steps from there, the best first."""

    start: IntArray
    """(n,), the cheapest option of each member, the most valuable where several cost the same."""
    member: IntArray
    """(s,), whose step it is."""
    option: IntArray
    """(s,), the option it leads to."""
    before: IntArray
    """(s,), the option it leads from."""
    value: FloatArray
    """(s,), what it adds; positive."""
    units: IntArray
    """(s,), what it costs; positive."""
    rate: FloatArray
    """(s,), value for one unit of money; falling."""


def hulls(options: Options) -> Hulls:
    """Return everybody's steps, by falling rate; among equal rates a member's first step first, then by `tie`.

    >>> from stats.targeting.options import options
    >>> found = hulls(options([[3.0, 5.0, 6.0], [4.0, 4.5, 7.0]], [[1.0, 2.0, 4.0]] * 2))
    >>> found.member.tolist(), found.option.tolist(), found.rate.tolist()
    ([1, 0, 0, 1, 0], [1, 1, 2, 3, 3], [4.0, 3.0, 2.0, 1.0, 0.5])
    """
    value, units = options.value, options.units
    everybody = np.arange(options.members)
    # Where an offer is barred, −inf loses against "none", which costs the same.
    cheapest = units == units.min(axis=1, keepdims=True)
    start = np.where(cheapest, value, -np.inf).argmax(axis=1)
    found: list[tuple[IntArray, IntArray, IntArray, FloatArray]] = []
    active = everybody[np.argsort(options.tie, kind="stable")]
    at = start[active]
    ceiling = np.full(len(active), np.inf)
    while len(active):
        here_value, here_units = value[active, at], units[active, at]
        gained = value[active] - here_value[:, None]
        spent = (units[active] - here_units[:, None]).astype(np.float64)
        up = (gained > 0) & (spent > 0)
        rate = np.where(up, gained, -np.inf) / np.where(up, spent, 1.0)
        best = rate.max(axis=1)
        # Of several on one line the nearest comes first: shorter steps leave less of the budget unspent.
        to = np.where(rate == best[:, None], spent, np.inf).argmin(axis=1)
        goes = np.isfinite(best)
        # Rounding must not let a later step of a member overtake an earlier one.
        active, before, at, ceiling = active[goes], at[goes], to[goes], np.minimum(best, ceiling)[goes]
        found.append((active, at, before, ceiling))
    member, option, before, rate = (np.concatenate(part) for part in zip(*found, strict=True)) if found else _no_steps()
    order = np.argsort(-rate, kind="stable")
    member, option, before = member[order], option[order], before[order]
    return Hulls(
        start,
        member,
        option,
        before,
        value[member, option] - value[member, before],
        units[member, option] - units[member, before],
        rate[order] * options.scale,
    )


def _no_steps() -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Return the steps of nobody."""
    none = np.empty(0, dtype=np.int64)
    return none, none, none, np.empty(0)
