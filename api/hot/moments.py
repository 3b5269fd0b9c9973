"""Times as callers write them."""

from __future__ import annotations

from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST = datetime(2000, 1, 1, tzinfo=UTC)


def microseconds(text: str) -> int:
    """Return an ISO 8601 time with offset as microseconds since 1970-01-01 UTC.

    Raises:
        ValueError: saying what is wrong with it.

    >>> microseconds("2026-03-03T16:00:00+08:00")
    1772524800000000
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not an ISO 8601 time; write it like 2026-03-03T08:00:00+08:00") from None
    if moment.tzinfo is None:
        raise ValueError("has no time zone; add Z or an offset such as +08:00")
    if moment < _OLDEST:
        raise ValueError("lies before the year 2000; check the clock of the sender")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
