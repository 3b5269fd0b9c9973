"""How a unit is hashed: ``sha256(salt + ":" + unit)`` read as hex digits, 13 at a time.

The first 13 digits (52 bits) choose the variant; digits 14 to 26 pass the traffic gate. Holdouts and layer slots have
salts of their own, because one set of bits used for two questions correlates the answers. Digits are compared as
*text* against 13-digit bounds, which is the same in every SQL engine. The whole rule with test vectors is
docs/hash-spec.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction

DIGITS = 13
SPACE = 1 << (4 * DIGITS)  # 2**52: exact in a double, safe in JavaScript
MAX_UNIT_BYTES = 256


class UnitError(ValueError):
    """A unit id that cannot be hashed; the message says why."""


def check_unit(unit: object) -> str:
    """Return ``unit`` when it is a usable unit id: text of 1 to 256 UTF-8 bytes without NUL or lone surrogates.

    Raises:
        UnitError: saying what is wrong, never repeating the id (it may be personal).

    >>> check_unit("member-42")
    'member-42'
    >>> check_unit("")
    Traceback (most recent call last):
    allocation.hashing.UnitError: unit id is empty; give 1 to 256 bytes of text
    """
    if not isinstance(unit, str):
        raise UnitError(f"unit id must be text, not {type(unit).__name__}; quote it")
    if not unit:
        raise UnitError("unit id is empty; give 1 to 256 bytes of text")
    if "\x00" in unit:
        raise UnitError("unit id contains a NUL character; remove it")
    try:
        size = len(unit.encode())
    except UnicodeEncodeError:
        raise UnitError("unit id contains a lone surrogate; send valid Unicode") from None
    if size > MAX_UNIT_BYTES:
        raise UnitError(f"unit id has {size} bytes in UTF-8; at most {MAX_UNIT_BYTES} are allowed")
    return unit


def digest(salt: str, unit: str) -> str:
    """Return the 64 hex digits of ``sha256(utf8(salt + ":" + unit))``.

    >>> digest("s", "u")[:13]
    'b5aa2620005f8'
    """
    return hashlib.sha256(f"{salt}:{unit}".encode()).hexdigest()


def u(salt: str, unit: str) -> float:
    """Return the unit's place in [0, 1): the first 52 bits of the digest over 2**52. For display and bandit draws.

    >>> 0 <= u("s", "u") < 1
    True
    """
    return int(digest(salt, unit)[:DIGITS], 16) / SPACE


def bound(share: Fraction) -> int:
    """Return the exact upper bound of ``[0, share)`` in [0, 2**52], rounded up.

    >>> bound(Fraction(1, 2)) == 2**51, bound(Fraction(1)) == 2**52
    (True, True)
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share {share} is outside 0 to 1")
    return -((-share.numerator * SPACE) // share.denominator)


def bounds(weights: Sequence[int]) -> tuple[int, ...]:
    """Return the upper bound of each weight's half-open range; the last one with weight is 2**52.

    Args:
        weights: integer parts, none negative, at least one positive. Ten parts of 1 fill the space exactly, which ten
            floating-point weights of .1 do not.

    >>> bounds([1, 1]) == (2**51, 2**52)
    True
    >>> bounds([1, 0, 0]) == (2**52,) * 3
    True
    """
    total = sum(weights)
    if total <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("weights must be whole numbers of at least 0, one of them positive")
    uppers = []
    running = 0
    for weight in weights:
        running += weight
        uppers.append(bound(Fraction(running, total)))
    return tuple(uppers)


def hex_bound(value: int) -> str:
    """Return a bound below 2**52 as the 13-digit text that digests are compared with.

    2**52 itself has no 13-digit text: a range that ends there needs no upper comparison.

    >>> hex_bound(2**51)
    '8000000000000'
    """
    if not 0 <= value < SPACE:
        raise ValueError(f"bound {value} has no {DIGITS}-digit text")
    return f"{value:0{DIGITS}x}"
