"""How a date is read: ISO 8601 text to microseconds since 1970-01-01 UTC, one definition for every engine.

A bare date is its midnight UTC; a date and time without an offset is UTC; ``Z`` and ``±HH:MM`` up to 15:59 are offsets
(PostgreSQL knows no larger one). Seconds may have 1 to 6 decimal places. Nothing else is a date: no week dates, no
compact forms, no 24:00, no leap second.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

DAY_US = 86_400_000_000

# The same expression is used inside SQL, so it keeps to what POSIX, RE2 and Python share: no named groups.
DATE_PATTERN = (
    r"(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])?)?"
)

_IS_DATE = re.compile(DATE_PATTERN, re.ASCII).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@lru_cache(maxsize=1 << 16)  # members share dates, and reading one costs ten times a look-up
def to_us(text: str) -> int | None:
    """Return the microseconds since 1970-01-01 UTC of an ISO date or date and time, ``None`` when it is neither.

    >>> to_us("1970-01-02"), to_us("1970-01-02T08:00+08:00"), to_us("1970-01-02 00:00:00.5Z")
    (86400000000, 86400000000, 86400500000)
    >>> to_us("2026-02-30") is None and to_us("20260203") is None
    True
    """
    if _IS_DATE(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # 30 February, year 0
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def from_us(value: int) -> str:
    """Return the UTC date and time of ``value`` as ISO text, for messages and comments in SQL.

    >>> from_us(86_400_000_000)
    '1970-01-02T00:00:00Z'
    """
    return (_EPOCH + timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")
