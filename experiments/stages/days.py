"""Whole days of the project's time zone in the engine's SQL: a day is one of the calendar, also where clocks change."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta

from experiments.measure.days import DAY_US, EPOCH, changes, offset_us

FIRST_US = 946_684_800_000_000
"""2000-01-01: earlier times are taken with the offset of that day."""
AHEAD_US = 366 * DAY_US
"""Clock changes are looked up to the end of a span of so many days, once for all moments in it."""


@dataclass(frozen=True)
class Days:
    """The days up to a moment.

    >>> days = Days.until(1_772_496_000_000_000, "Asia/Shanghai")   # 2026-03-03 08:00 there
    >>> days.today, days.monday_us
    (20515, 1772380800000000)
    """

    as_of_us: int
    time_zone: str
    offsets: tuple[tuple[int, int], ...]

    @classmethod
    def until(cls, as_of_us: int, time_zone: str) -> Days:
        """Return the days up to ``as_of_us``, microseconds since 1970 UTC."""
        spans = (max(as_of_us, FIRST_US) + 2 * DAY_US - FIRST_US) // AHEAD_US + 1
        return cls(as_of_us, time_zone, _offsets(time_zone, FIRST_US + spans * AHEAD_US))

    @property
    def today(self) -> int:
        """The day as of which is counted, days since 1970-01-01."""
        return (self.as_of_us + offset_us(self.as_of_us, self.time_zone)) // DAY_US

    @property
    def monday_us(self) -> int:
        """The first microsecond of the week."""
        return self.start_of(self.today - (self.today + 3) % 7)

    def start_of(self, day: int) -> int:
        """Return the first microsecond of a day."""
        from zoneinfo import ZoneInfo

        date = (EPOCH + timedelta(days=day)).date()
        midnight = datetime(date.year, date.month, date.day, tzinfo=ZoneInfo(self.time_zone))
        return (midnight - EPOCH) // timedelta(microseconds=1)

    def sql(self, moment: str) -> str:
        """Return SQL for the day of a moment, an expression of microseconds; NULL stays NULL."""
        shift = str(self.offsets[0][1])
        if len(self.offsets) > 1:
            later = " ".join(f"WHEN {moment} >= {at} THEN {offset}" for at, offset in reversed(self.offsets[1:]))
            shift = f"CASE {later} ELSE {self.offsets[0][1]} END"
        local = f"({moment} + {shift})"
        # Division cuts towards zero; days before 1970 count down.
        return f"({local} // {DAY_US} - CASE WHEN {local} % {DAY_US} < 0 THEN 1 ELSE 0 END)"


@functools.lru_cache(maxsize=16)
def _offsets(time_zone: str, last_us: int) -> tuple[tuple[int, int], ...]:
    return tuple(changes(time_zone, FIRST_US, last_us))
