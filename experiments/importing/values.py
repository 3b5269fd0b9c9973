"""Cells of a file as times, amounts and attribute values: exact, or refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from experiments.definitions import money
from experiments.errors import InputError

TRUE = frozenset({"1", "true", "t", "yes", "y", "1.0", "是"})
FALSE = frozenset({"", "0", "false", "f", "no", "n", "0.0", "否"})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_UNIX = {10: 1_000_000, 13: 1_000, 16: 1}
_LOOSE = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?")
_TRAILING_ZEROS = re.compile(r"(\.\d*?)0+$")


class CellError(ValueError):
    """A cell that cannot be used; the message is for the person who made the file, and repeats no unit id."""


def time_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        InputError: when there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"--time-zone {name}: no such zone; write Asia/Shanghai, Europe/Berlin, UTC …") from None


def time_reader(zone: ZoneInfo) -> Callable[[str], int]:
    """Return a function from text to microseconds since 1970 UTC.

    It reads ISO 8601 (with or without offset, ``T`` or a space), ``2026/3/3 08:00``, and Unix times of 10 (seconds), 13
    (milliseconds) or 16 digits (microseconds). Times without an offset are local times of ``zone``.

    >>> read = time_reader(ZoneInfo("Asia/Shanghai"))
    >>> read("2026-03-03 08:00:00") == read("2026-03-03T00:00:00Z") == read("1772496000") == read("2026/3/3 8:00")
    True
    """

    @lru_cache(maxsize=4096)
    def read(text: str) -> int:
        stripped = text.strip()
        if not stripped:
            raise CellError("the time is empty")
        if stripped.isascii() and stripped.isdigit() and len(stripped) in _UNIX:
            return int(stripped) * _UNIX[len(stripped)]
        try:
            moment = datetime.fromisoformat(stripped)
        except ValueError:
            loose = _LOOSE.fullmatch(stripped)
            if loose is None:
                raise CellError(f"{_shown(stripped)} is not a time; write it like 2026-03-03T08:00:00+08:00") from None
            try:
                moment = datetime(*(int(part or 0) for part in loose.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 - local
            except ValueError as error:
                raise CellError(f"{_shown(stripped)} is not a time: {error}") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        delta = moment - _EPOCH
        if moment < _EARLIEST:
            raise CellError(f"{_shown(stripped)} lies before the year 2000; check the column")
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    return read


def amount_reader(currency: str) -> Callable[[str], int]:
    """Return a function from decimal text in major units to whole minor units of ``currency``.

    >>> read = amount_reader("CNY")
    >>> read("29.99"), read("499"), read("-3.5"), read("10.000"), read("0.0")
    (2999, 49900, -350, 1000, 0)
    """

    @lru_cache(maxsize=65_536)
    def read(text: str) -> int:
        plain = text.strip()
        if "." in plain:
            # 10.000 is 10: superfluous zeros are no lost decimals.
            plain = _TRAILING_ZEROS.sub(r"\1", plain).removesuffix(".")
        try:
            return money.to_minor(plain, currency)
        except money.MoneyError:
            raise CellError(
                f'{_shown(text)} is not an amount in {currency}; write digits and a point, such as "199.00", '
                f"with at most {money.exponent(currency)} decimals"
            ) from None

    return read


def flag(text: str) -> bool:
    """Return whether a cell says yes; an empty cell says no.

    >>> flag("1"), flag("true"), flag(""), flag("0.0")
    (True, True, False, False)
    """
    word = text.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise CellError(f"{_shown(text)} is neither yes nor no; write 1 or 0")


def count(text: str) -> int:
    """Return a whole number of at least 0; an empty cell is 0.

    >>> count("3"), count("2.0"), count("")
    (3, 2, 0)
    """
    plain = text.strip().removesuffix(".0")
    if not plain:
        return 0
    if not (plain.isascii() and plain.isdigit()) or len(plain) > 4:
        raise CellError(f"{_shown(text)} is not a count; write a whole number from 0 to 9999")
    return int(plain)


def number(text: str) -> int | float:
    """Return a finite number.

    >>> number("3"), number("2.50")
    (3, 2.5)
    >>> number("1_000")
    Traceback (most recent call last):
    experiments.importing.values.CellError: '1_000' is not a number
    """
    plain = text if text.isascii() and "_" not in text else ""  # Python would read 1_000 and １２
    try:
        value = float(plain)
    except ValueError:
        raise CellError(f"{_shown(text)} is not a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise CellError(f"{_shown(text)} is not a finite number")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def attribute(text: str, kind: str) -> Any:
    """Return a cell as a value of an attribute type; an empty cell is None: not known.

    Lists are separated by ``|`` or ``;``.

    >>> attribute("gold", "string"), attribute("3", "number"), attribute("a|b", "list"), attribute("", "boolean")
    ('gold', 3, ['a', 'b'], None)
    """
    if not text:
        return None
    if kind == "number":
        return number(text)
    if kind == "boolean":
        return flag(text)
    if kind == "list":
        return [part.strip() for part in re.split(r"[|;]", text) if part.strip()]
    if kind == "date":
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise CellError(f"{_shown(text)} is not a date; write it like 2026-03-03") from None
    if "\x00" in text:
        raise CellError("the text contains a NUL character; remove it")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "…")
