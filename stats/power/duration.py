"""How long: whole weeks until enough units have entered, and then the wait until the last one's outcome counts.

Whole weeks, because members of a Saturday are not those of a Tuesday (Kohavi, Tang, Xu 2020, chapter 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stats.arrays import number

WEEK_DAYS = 7
MOST_WEEKS = 10_000


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a test runs.

    Attributes:
        weeks: of entering, whole.
        units: that will have entered by then.
        waiting_days: from the last entry until its outcome window is over.
    """

    weeks: int
    units: float
    waiting_days: float

    @property
    def days(self) -> int:
        """From launch to the last outcome, in whole days."""
        return math.ceil(self.weeks * WEEK_DAYS + self.waiting_days)


def units_by_week(per_week: float | Sequence[float], weeks: int) -> float:
    """Return how many units have entered after some whole weeks; the last figure given goes on for ever.

    >>> units_by_week([20_000, 12_000, 8_000], 5)
    56000.0
    """
    figures = _figures(per_week)
    listed = figures[:weeks]
    return float(sum(listed) + figures[-1] * (weeks - len(listed)))


def duration(units: float, per_week: float | Sequence[float], window_days: float = 0.0) -> Duration | None:
    """Return the whole weeks until ``units`` have entered.

    Args:
        units: of the whole test.
        per_week: new units a week; several figures where they decline, because the same members come back.
        window_days: of the metric.

    Returns:
        ``None`` where they never come (or not within 10,000 weeks).

    Raises:
        ValueError: a week has fewer than 0 units.

    >>> plan = duration(62_468, 20_000, window_days=14)
    >>> plan.weeks, plan.days
    (4, 42)
    """
    figures = _figures(per_week)
    wanted = number(units)
    if wanted is None:
        return None
    entered = 0.0
    for week, figure in enumerate(figures, start=1):
        entered += figure
        if entered >= wanted:
            return Duration(week, entered, window_days)
    if figures[-1] <= 0:
        return None
    more = (wanted - entered) / figures[-1]
    if not more <= MOST_WEEKS:  # it may be infinite, where next to nobody comes
        return None
    more = math.ceil(more)
    weeks = len(figures) + more
    return Duration(weeks, entered + more * figures[-1], window_days) if weeks <= MOST_WEEKS else None


def _figures(per_week: float | Sequence[float]) -> list[float]:
    figures = [float(per_week)] if isinstance(per_week, int | float) else [float(figure) for figure in per_week]
    if not figures or any(not figure >= 0 for figure in figures):
        raise ValueError("units a week must be 0 or more")
    return figures
