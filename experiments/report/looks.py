"""When a group-sequential test is looked at: at the end of each day whose units' outcome windows are all over.

The data of a look are the units that entered by that day; so figures change once a day, and a report is a function of
the data and the day, without a stored history of looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from stats.moments import Moments
from stats.sequential.monitoring import LEAST_INCREMENT


@dataclass(frozen=True)
class Looks:
    """The looks so far, and what they rest on.

    Attributes:
        days: local days (since 1970-01-01) at whose ends the looks are.
        first_day: on which the first unit entered.
        units: matured units of the whole test at each look.
        planned: units planned.
        past_plan: more units than planned have matured and no alpha was kept for them: the last look is the first that
            reached the plan.
        places: of the looks among the days that somebody entered on.
    """

    days: tuple[int, ...]
    first_day: int
    units: npt.NDArray[np.int64]
    planned: int
    past_plan: bool
    places: tuple[int, ...]

    @property
    def information(self) -> npt.NDArray[np.float64]:
        """Share of the plan at each look; may pass 1."""
        return np.asarray(self.units / self.planned, dtype=np.float64)

    @property
    def complete(self) -> bool:
        """Whether the planned sample has matured."""
        return bool(self.units.size and self.units[-1] >= self.planned)

    @property
    def matured(self) -> int:
        """Units in the analysis."""
        return int(self.units[-1]) if self.units.size else 0

    def history(self, moments: Moments) -> Moments:
        """Return the moments as they stood at each look.

        Args:
            moments: by day of entry on the last axis, over all days that somebody entered on.
        """
        place = moments.n.ndim - 1
        whole = (slice(None),) * place
        return moments.cumulative(place)[(*whole, list(self.places))]


@dataclass(frozen=True)
class DeclaredLooks(Looks):
    """Looks of which only their share of the plan is known, and the data of the last one.

    Attributes:
        shares: of the planned sample, at each look.
    """

    shares: tuple[float, ...] = ()

    @property
    def information(self) -> npt.NDArray[np.float64]:
        """Share of the plan at each look, as declared."""
        return np.array(self.shares, dtype=np.float64)

    @property
    def complete(self) -> bool:
        """Whether the last look is that of the whole plan."""
        return self.shares[-1] >= 1

    def history(self, moments: Moments) -> Moments:
        """Return nothing for earlier looks, and the moments for the last one.

        Args:
            moments: of all units, with an axis of one day at the end.
        """
        last = moments.sum(axis=moments.n.ndim - 1)
        empty = replace(last, n=np.zeros_like(last.n), mean=np.zeros_like(last.mean), m2=np.zeros_like(last.m2))
        return Moments.stack([*[empty] * (len(self.shares) - 1), last], axis=last.n.ndim)


def looks_at(
    units_by_day: npt.NDArray[np.int64],
    days: Sequence[int],
    *,
    planned: int,
    window_us: int,
    now_us: int,
    time_zone: str,
    ended_us: int | None = None,
    reserve: float = 0.0,
) -> Looks:
    """Find the looks.

    Args:
        units_by_day: how many entered on each day.
        days: local days since 1970-01-01, ascending, those that somebody entered on.
        planned: units of the plan.
        window_us: how long the longest outcome window is.
        now_us: the present.
        time_zone: which defines days.
        ended_us: when nobody could enter any more.
        reserve: share of alpha kept for looks past the plan; without one they do not count.

    >>> later = 9 * 86_400_000_000
    >>> found = looks_at(np.array([40, 40, 40]), [0, 1, 2], planned=80, window_us=0, now_us=later, time_zone="UTC")
    >>> found.days, found.information.tolist(), found.past_plan
    ((0, 1), [0.5, 1.0], True)
    """
    ends = {day: day_end_us(day, time_zone) for day in days}
    if ended_us is not None:
        ends = {day: min(end, ended_us) for day, end in ends.items()}
    over = [day for day in days if ends[day] + window_us <= now_us]
    units = np.cumsum(units_by_day[: len(over)])
    kept: list[int] = []
    for place, entered in enumerate(units):
        before = units[kept[-1]] if kept else 0
        reached = entered >= planned and before < planned
        if not reserve and before >= planned:
            break
        # A look that adds next to nothing is none of its own; its units count with the next.
        if reached or entered - before >= max(1.0, LEAST_INCREMENT * planned):
            kept.append(place)
    return Looks(
        days=tuple(over[place] for place in kept),
        first_day=days[0] if days else 0,
        units=units[kept],
        planned=planned,
        past_plan=bool((units >= planned).sum() > 1),
        places=tuple(kept),
    )


def day_end_us(day: int, time_zone: str) -> int:
    """Return when a local day ends, microseconds UTC.

    >>> day_end_us(0, "Asia/Shanghai") // 3_600_000_000
    16
    """
    local = datetime(1970, 1, 1, tzinfo=ZoneInfo(time_zone)) + timedelta(days=day + 1)
    return (local.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def latest(history: Moments) -> Moments:
    """Return the moments of the last look, empty cells where there was none yet."""
    shape = history.n.shape[:-1]
    if history.n.shape[-1]:
        return history[(*(slice(None),) * len(shape), -1)]
    k = len(history.columns)
    mean, m2 = np.zeros((*shape, k)), np.zeros((*shape, k, k))
    return Moments(history.columns, np.zeros(shape, dtype=np.int64), history.pivot, mean, m2)
