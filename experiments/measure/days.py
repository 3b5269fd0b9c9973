"""Days of the project's time zone, as whole numbers since 1970-01-01, in an expression that every engine computes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

DAY_US = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def offset_us(at_us: int, time_zone: str) -> int:
    """Return how far local clocks are ahead of UTC at a moment, in microseconds.

    >>> offset_us(0, "Asia/Shanghai") // 3_600_000_000
    8
    """
    local = (EPOCH + timedelta(microseconds=at_us)).astimezone(ZoneInfo(time_zone))
    delta = local.utcoffset() or timedelta()
    return delta // timedelta(microseconds=1)


def changes(time_zone: str, first_us: int, last_us: int) -> list[tuple[int, int]]:
    """Return (from when, offset) for every offset in a span of time, in order; a few entries where clocks change.

    >>> [o // 3_600_000_000 for _, o in changes("Europe/Berlin", 1_735_689_600_000_000, 1_767_225_600_000_000)]
    [1, 2, 1]
    """
    found = [(first_us, offset_us(first_us, time_zone))]
    at = first_us
    while at < last_us:
        after = min(at + DAY_US, last_us)
        if offset_us(after, time_zone) != found[-1][1]:
            low, high = at, after
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_us(middle, time_zone) == found[-1][1] else (low, middle)
            found.append((high, offset_us(high, time_zone)))
        at = after
    return found


def local_day(moment: Any, time_zone: str, first_us: int | None, last_us: int | None) -> Any:
    """Return the local day of an Ibis column of microseconds; the span holds all its values."""
    import ibis

    if first_us is None or last_us is None:
        return ibis.literal(0, type="int64")
    offsets = changes(time_zone, first_us, last_us)
    shift: Any = ibis.literal(offsets[0][1], type="int64")
    if len(offsets) > 1:
        later = [(moment >= since, ibis.literal(offset, type="int64")) for since, offset in reversed(offsets[1:])]
        shift = ibis.cases(*later, else_=shift)
    return ((moment + shift) // DAY_US).cast("int64")


def day_text(day: int) -> str:
    """Return a day number as ISO date.

    >>> day_text(20_000)
    '2024-10-04'
    """
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def moment_text(at_us: int) -> str:
    """Return a moment as ISO 8601 UTC text, to the second.

    >>> moment_text(1_700_000_000_000_000)
    '2023-11-14T22:13:20Z'
    """
    return (EPOCH + timedelta(microseconds=at_us)).replace(microsecond=0).isoformat().replace("+00:00", "Z")
