"""Times as every management answer writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@overload
def iso(at_us: int) -> str: ...
@overload
def iso(at_us: None) -> None: ...
@overload
def iso(at_us: int | None) -> str | None: ...


def iso(at_us: int | None) -> str | None:
    """Return microseconds since 1970 UTC as ISO 8601 text with milliseconds.

    >>> iso(1_772_524_800_123_456)
    '2026-03-03T08:00:00.123Z'
    """
    if at_us is None:
        return None
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
