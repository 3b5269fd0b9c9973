"""Counts of what came out of simulated experiments, and what they say of a method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from stats.arrays import number, root
from stats.distributions import normal_critical

Promise = Literal["level", "at_most", "none"]
"""What a method promises about its false alarms: alpha of them, at most alpha, or nothing."""
Reading = Literal["as_promised", "too_many", "too_few", "no_promise", "not_computed"]
TOLERANCE = 0.1
"""Of alpha: a method this near to it keeps its promise, however many simulations show the difference."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each thing happened, over simulations and comparisons; counts of disjoint simulations add.

    Attributes:
        tried: comparisons simulated without effect.
        computed: of these, those for which the method had an answer.
        alarms: of these, those called different.
        covered: of these, those whose interval held 0 (at every look, for methods with looks).
        effect_computed: comparisons simulated with the effect for which the method had an answer.
        detected: of these, those called different in the right direction.
        wrong_sign: in the wrong direction.
        effect_covered: whose interval held the true effect.
        relative_computed: with the effect, those with a relative interval.
        relative_covered: of these, those that held the true relative effect.
        looks_used: looks taken until the call or the end, with the effect.
    """

    tried: int = 0
    computed: int = 0
    alarms: int = 0
    covered: int = 0
    effect_computed: int = 0
    detected: int = 0
    wrong_sign: int = 0
    effect_covered: int = 0
    relative_computed: int = 0
    relative_covered: int = 0
    looks_used: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of both."""
        return Counts(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(Counts)))


Tally = dict[tuple[str, str], Counts]
"""(metric, method) → counts."""


def add(tallies: Iterable[Mapping[tuple[str, str], Counts]]) -> Tally:
    """Return the sum; the order does not matter.

    >>> add([{("spend", "welch"): Counts(tried=2)}, {("spend", "welch"): Counts(tried=3)}])[("spend", "welch")].tried
    5
    """
    total: Tally = {}
    for tally in tallies:
        for key, counts in tally.items():
            total[key] = total.get(key, Counts()) + counts
    return total


@dataclass(frozen=True, slots=True)
class Share:
    """A share of simulations with its 95 % binomial interval (Wilson); ``None`` where nothing was simulated."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int


def share(hits: int, n: int, *, comparisons: int = 1, level: float = 0.95) -> Share:
    """Return ``hits`` of ``n`` with Wilson's interval.

    Args:
        hits: what happened.
        n: out of how many.
        comparisons: how many of the n share a simulation: the interval counts simulations, which is on the safe side.
        level: of the interval.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.

    >>> found = share(104, 2000)
    >>> found.value, round(found.ci_low, 4), round(found.ci_high, 4)
    (0.052, 0.0431, 0.0626)
    """
    if n < 1:
        return Share(None, None, None, 0)
    value = hits / n
    runs = max(n / comparisons, 1.0)
    z = float(normal_critical((1 - level) / 2))
    centre = (value + z**2 / (2 * runs)) / (1 + z**2 / runs)
    half = z / (1 + z**2 / runs) * float(root(value * (1 - value) / runs + z**2 / (4 * runs**2)))
    return Share(value, max(0.0, centre - half), min(1.0, centre + half), n)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One method on one metric.

    Attributes:
        metric: its name; ``*`` where the method judges all of them together or none.
        method: its name.
        promise: what it promises about false alarms.
        reading: whether that was kept.
        simulations: with an answer.
        not_computed: share of simulations without an answer.
        false_alarms: share of experiments without effect that were called different.
        coverage: share of intervals that held the truth, without effect; at every look for methods with looks.
        power: share of experiments with the effect that were called different in its direction; ``None``: no effect.
        wrong_sign: share of these called in the other direction.
        effect_coverage: share of intervals that held the effect.
        relative_coverage: share of relative intervals that held the relative effect.
        relative_effect: the effect that was simulated.
        sample_used: mean share of the units until the call or the end, with the effect, for methods with looks.
    """

    metric: str
    method: str
    promise: Promise
    reading: Reading
    simulations: int
    not_computed: float
    false_alarms: Share
    coverage: Share
    power: Share
    wrong_sign: Share
    effect_coverage: Share
    relative_coverage: Share
    relative_effect: float | None = None
    sample_used: float | None = None


def read(counts: Counts, promise: Promise, alpha: float, *, comparisons: int = 1, rows: int = 1) -> Reading:
    """Return whether a method kept its promise.

    A departure counts when it is both larger than a tenth of alpha and beyond chance at 5 % *over all rows of the
    table* (Bonferroni), so that a table of sound methods is called sound.

    >>> read(Counts(tried=2000, computed=2000, alarms=104), "level", 0.05)
    'as_promised'
    >>> read(Counts(tried=2000, computed=2000, alarms=400), "none", 0.05)
    'too_many'
    """
    if not counts.computed:
        return "not_computed"
    found = share(counts.alarms, counts.computed, comparisons=comparisons, level=1 - 0.05 / rows)
    value, low, high = found.value or 0.0, found.ci_low or 0.0, 1.0 if found.ci_high is None else found.ci_high
    if low > alpha and value > alpha * (1 + TOLERANCE):
        return "too_many"
    if promise == "none":
        return "no_promise"
    if promise == "level" and high < alpha and value < alpha * (1 - TOLERANCE):
        return "too_few"
    return "as_promised"


def conclude(
    counts: Counts,
    metric: str,
    method: str,
    promise: Promise,
    *,
    alpha: float,
    comparisons: int,
    rows: int,
    looks: int,
    relative_effect: float | None,
    has_looks: bool,
    has_interval: bool = True,
) -> MethodResult:
    """Return what the counts of one method say."""

    def of(hits: int, n: int) -> Share:
        return share(hits, n, comparisons=comparisons)

    nothing = Share(None, None, None, 0)
    used = counts.looks_used / (counts.effect_computed * looks) if counts.effect_computed and has_looks else None
    return MethodResult(
        metric=metric,
        method=method,
        promise=promise,
        reading=read(counts, promise, alpha, comparisons=comparisons, rows=rows),
        simulations=counts.computed // comparisons,
        not_computed=1 - counts.computed / counts.tried if counts.tried else 1.0,
        false_alarms=of(counts.alarms, counts.computed),
        coverage=of(counts.covered, counts.computed) if has_interval else nothing,
        power=of(counts.detected, counts.effect_computed),
        wrong_sign=of(counts.wrong_sign, counts.effect_computed),
        effect_coverage=of(counts.effect_covered, counts.effect_computed) if has_interval else nothing,
        relative_coverage=of(counts.relative_covered, counts.relative_computed),
        relative_effect=relative_effect,
        sample_used=None if used is None else number(np.float64(used)),
    )
