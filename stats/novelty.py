"""Novelty: does the effect fade (or grow) as the days since a unit's first contact go by?

What is new draws attention for a while; the long-run effect is then smaller than the window's mean shows, and a test
that reads it too early promises too much. Each unit's second half of its window is compared with its own first half,
and that difference with control's: whatever the calendar does to everybody cancels, and so does what the unit is like.

Reference: Sadeghi, Gupta, Gramatovici, Lu, Ai & Zhang (2022), Novelty and primacy: a long-term estimator for online
experiments, Technometrics 64(4) (arXiv:2102.12893): its difference-in-differences estimator.
"""

from __future__ import annotations

from dataclasses import dataclass

from stats.arrays import FloatArray
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
