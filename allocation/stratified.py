"""Splitting a known list evenly within strata: by the same digests as ever, at bounds that fit who is on the list.

A hash splits a list of a thousand in about two halves, and each stratum of it in about two. Where the whole list is
known before anybody is told anything, it can be split exactly: within each stratum the members with the lowest digests
get the first variant, and so on, as many as its share asks for. Remainders are not dropped: cut by cut they are carried
from stratum to stratum (systematic sampling, Madow & Madow 1944), from a random start, so that every stratum is within
a unit or so of its shares, the whole list too, and every member's chance of a variant is exactly its share.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from allocation.hashing import DIGITS, SPACE, digest

PLACE_DIGITS = 16
"""Hex digits of a digest by which the members of a stratum are ordered: as many as 64 bits hold."""
_END = "g"  # text above every digest


def apportion(sizes: Sequence[int], weights: Sequence[int], salt: str) -> list[tuple[int, ...]]:
    """Return how many of each stratum get each variant.

    Args:
        sizes: of the strata, in a fixed order; similar ones best stand beside each other.
        weights: of the variants, whole numbers, not all 0.
        salt: what the random starts are drawn by.

    Returns:
        For each stratum as many numbers as there are variants, adding up to its size. Over all strata, a variant has
        its exact share of the total, where that is whole, else one rounded up or down.

    Raises:
        ValueError: no weight is above 0.

    >>> apportion([5, 5, 2], [1, 1], "s")
    [(2, 3), (3, 2), (1, 1)]
    """
    if not sum(weights) > 0 or min(weights) < 0:
        raise ValueError("weights must be whole numbers of at least 0, one of them positive")
    columns = _split(list(sizes), list(weights), salt, "")
    return [tuple(row) for row in zip(*columns, strict=True)]


def _split(sizes: list[int], weights: list[int], salt: str, path: str) -> list[list[int]]:
    """Return each variant's number in each stratum, by halving the variants: fewer cuts add up to less."""
    if len(weights) == 1:
        return [sizes]
    middle = len(weights) // 2
    left, total = sum(weights[:middle]), sum(weights)
    if total == 0:
        return [[0] * len(sizes) for _ in weights]
    # Systematic: what lies below S × left / total + u, rounded down, for the running size S and one u for all strata.
    start = int(digest(salt, f"balance:{path}")[:DIGITS], 16)
    cuts = [(running * left * SPACE + start * total) // (total * SPACE) for running in accumulate(sizes, initial=0)]
    first = [after - before for before, after in pairwise(cuts)]
    second = [size - part for size, part in zip(sizes, first, strict=True)]
    return _split(first, weights[:middle], salt, path + "0") + _split(second, weights[middle:], salt, path + "1")


def place(hex_digest: str) -> int:
    """Return a digest's place among those of its stratum, 0 … 2**64 − 1.

    >>> place("00000000000000ff" + "0" * 48)
    255
    """
    return int(hex_digest[:PLACE_DIGITS], 16)


def uppers(places: Mapping[str, Sequence[int]], weights: Sequence[int], salt: str) -> dict[str, tuple[str, ...]]:
    """Return where each stratum is cut.

    Args:
        places: stratum → the places of its members under ``salt``, ascending, each once.
        weights: of the variants.
        salt: of the phase.

    Returns:
        Stratum → upper bounds of all variants but the last, as text that digests are compared with.

    >>> cut = uppers({"gold": [1, 5, 9, 12]}, [1, 1], "s")
    >>> cut, [variant(cut["gold"], f"{at:016x}" + "0" * 48) for at in (1, 5, 9, 12)]
    ({'gold': ('0000000000000009',)}, [0, 0, 1, 1])
    """
    strata = sorted(places)
    counts = apportion([len(places[stratum]) for stratum in strata], weights, salt)
    found = {}
    for stratum, count in zip(strata, counts, strict=True):
        own = places[stratum]
        ends = list(accumulate(count))[:-1]
        found[stratum] = tuple(_bound(own, end) for end in ends)
    return found


def _bound(own: Sequence[int], end: int) -> str:
    """Return the text that the digests of the first ``end`` members lie below, and the others' do not."""
    if end == 0:
        return ""  # below every digest: a member who was not on the list falls into no empty part either
    return f"{own[end]:0{PLACE_DIGITS}x}" if end < len(own) else _END


def variant(stratum: Sequence[str], hex_digest: str) -> int:
    """Return the index of a member's variant: the first whose bound lies above the digest."""
    return bisect_right(stratum, hex_digest)
