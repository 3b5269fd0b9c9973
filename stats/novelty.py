"""Novelty: does the effect fade (or grow) as the days since a unit's first contact go by?

What is new draws attention for a while; the long-run effect is then smaller than the window's mean shows, and a test
that reads it too early promises too much. Each unit's second half of its window is compared with its own first half,
and that difference with control's: whatever the calendar does to everybody cancels, and so does what the unit is like.

What the calendar does to the *effect* does not cancel: an offer whose appeal wears off fades within windows too, for
members old and new. The two are told apart by when units entered: at the same age, later entrants are later in the
calendar. Effects of both halves by week of entry are therefore put as

    effect = a + b·[second half] + c·(weeks since the first entry, in the middle of that half)

where b is what a unit's own days do, the calendar held, and c what a week of the calendar does, those days held. (Age,
calendar and cohort are tied to each other, so a third trend, of members who came later being others, cannot be told
from c.)

Reference: Sadeghi, Gupta, Gramatovici, Lu, Ai & Zhang (2022), Novelty and primacy: a long-term estimator for online
experiments, Technometrics 64(4) (arXiv:2102.12893): its difference-in-differences estimator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray
from stats.distributions import normal_upper
from stats.effects.means import difference_of_means
from stats.effects.result import Effect
from stats.moments import Moments
from stats.multiplicity import holm
from stats.samples import combination


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """Per unit, every variant but control.

    Attributes:
        first: effect in the first half of the window.
        second: effect in the second half.
        change: second − first, by the units' own differences.
        p_adjusted: of the change, over the variants (Holm); NaN where there is none.
    """

    first: Effect
    second: Effect
    change: Effect
    p_adjusted: FloatArray


def novelty(moments: Moments, first: str, second: str, *, control: int = 0, alpha: float = 0.05) -> Novelty:
    """Compare the effect in the second half of the units' windows with that in the first.

    Args:
        moments: of both columns, first axis variants; only units whose whole window is over.
        first: column of the first half.
        second: column of the second half, as many days.
        control: position of control.
        alpha: of the intervals.

    Raises:
        KeyError: a column is not there.

    >>> rows = [[1.0, 1.0], [3.0, 3.0]] * 50 + [[3.0, 1.0], [5.0, 4.0]] * 50
    >>> found = novelty(Moments.from_rows(["early", "late"], rows, cell=[0] * 100 + [1] * 100), "early", "late")
    >>> found.first.estimate, found.second.estimate, found.change.estimate, bool(found.p_adjusted[0] < 0.001)
    (array([2.]), array([0.5]), array([-1.5]), True)
    """
    others = [i for i in range(moments.shape[0]) if i != control]

    def effect(weights: dict[str, float]) -> Effect:
        sample = combination(moments, weights)
        return difference_of_means(sample[control], sample[others], alpha)

    change = effect({second: 1.0, first: -1.0})
    return Novelty(effect({first: 1.0}), effect({second: 1.0}), change, holm(change.p_value))


MOST_CONDITION = 1e12
FEWEST = 30
"""Units of each variant that a week of entry needs: its means are then near enough to normal."""


@dataclass(frozen=True, slots=True, eq=False)
class ByEntry:
    """Effects by week of entry, of every variant but control (v), and what changes them.

    Attributes:
        weeks: (w,) weeks of entry that hold enough units of every variant.
        units: (w,) of all variants.
        first: (v, w) effect in the first half of the window.
        second: (v, w) effect in the second half.
        age: (v,) what the second half adds, the calendar held; NaN with fewer than two weeks.
        age_error: (v,) standard error.
        age_p: (v,) two-sided, adjusted over the variants (Holm).
        calendar: (v,) what a week of the calendar adds, days since entry held.
        calendar_error: (v,) standard error.
        calendar_p: (v,) as ``age_p``.
    """

    weeks: FloatArray
    units: npt.NDArray[np.int64]
    first: FloatArray
    second: FloatArray
    age: FloatArray
    age_error: FloatArray
    age_p: FloatArray
    calendar: FloatArray
    calendar_error: FloatArray
    calendar_p: FloatArray


def by_entry(
    moments: Moments, first: str, second: str, weeks: npt.ArrayLike, half_weeks: float, *, control: int = 0
) -> ByEntry:
    """Tell an effect that changes with a unit's own days from one that changes with the calendar.

    Weighted least squares on the effects by week of entry, with weights of the variants' covariances pooled over the
    weeks (a week's own would go with its mean where outcomes are skewed) and errors of the weeks' own.

    Args:
        moments: of both columns, variants × weeks of entry; only units whose whole window is over.
        first: column of the first half.
        second: column of the second half, as many days.
        weeks: (w,) when units entered, in weeks.
        half_weeks: length of half the window, in weeks.
        control: position of control.

    Raises:
        KeyError: a column is not there.

    >>> rng = np.random.default_rng(1)
    >>> arm, week = rng.integers(0, 2, 8000), rng.integers(0, 4, 8000)
    >>> late = np.array([[0.5 * w, 0.5 * w + 0.5] for w in week])  # the calendar takes 0.5 of the effect a week
    >>> rows = rng.normal(size=(8000, 2)) + arm[:, None] * (3.0 - late)
    >>> sides = [Moments.from_rows(["a", "b"], rows[arm == i], cell=week[arm == i]) for i in (0, 1)]
    >>> found = by_entry(Moments.stack(sides), "a", "b", range(4), half_weeks=1.0)
    >>> found.calendar.round(1), bool(found.calendar_p[0] < 0.001), bool(found.age_p[0] > 0.05)
    (array([-0.5]), True, True)
    """
    table = moments.select([first, second])
    others = [i for i in range(table.shape[0]) if i != control]
    enough = (table.n >= FEWEST).all(axis=0)
    table, when = table[:, enough], np.asarray(weeks, dtype=np.float64)[enough]
    means, n = table.mean, table.n.astype(np.float64)
    effects = means[others] - means[control]
    own = table.covariance() / n[..., None, None]
    freedom = np.maximum((n - 1).sum(axis=1), 1.0)
    pooled = (table.m2.sum(axis=1) / freedom[:, None, None])[:, None] / n[..., None, None]
    ones, halves = np.ones_like(when), (np.zeros_like(when), np.ones_like(when))
    # (w, 2, 3): what the effects of both halves are made of.
    design = np.stack([np.stack([ones, half, when + half * half_weeks], axis=-1) for half in halves], axis=1)
    slopes, errors = np.full((2, len(others), 2), np.nan)
    if len(when) >= 2:
        for j, i in enumerate(others):
            fitted = _fit(design, effects[j], pooled[i] + pooled[control], own[i] + own[control])
            if fitted is not None:
                slopes[j], errors[j] = fitted
    p_values = 2 * normal_upper(np.abs(slopes / errors))
    return ByEntry(
        weeks=when,
        units=table.n.sum(axis=0),
        first=effects[..., 0],
        second=effects[..., 1],
        age=slopes[:, 0],
        age_error=errors[:, 0],
        age_p=holm(p_values[:, 0]),
        calendar=slopes[:, 1],
        calendar_error=errors[:, 1],
        calendar_p=holm(p_values[:, 1]),
    )


def _fit(
    design: FloatArray, effects: FloatArray, weighing: FloatArray, errors: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Return the last two coefficients and their standard errors; ``None`` where they cannot be told apart."""
    if not (np.linalg.det(weighing) > 0).all():
        return None
    weights = np.linalg.inv(weighing)
    turned = np.swapaxes(design, 1, 2) @ weights
    information = (turned @ design).sum(axis=0)
    if np.linalg.cond(information) > MOST_CONDITION:
        return None
    bread = np.linalg.inv(information)
    found = bread @ (turned @ effects[..., None]).sum(axis=0)[:, 0]
    spread = bread @ (turned @ errors @ np.swapaxes(turned, 1, 2)).sum(axis=0) @ bread
    return found[1:], np.sqrt(np.diag(spread))[1:]
