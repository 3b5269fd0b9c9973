"""The split that was intended, as a person writes it: ``A=1,B=2``, ``A=50%,B=50%``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from experiments.errors import InputError, unknown_name

_WEIGHT = re.compile(r"(\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:/(\d{1,15})|\s*%)?")


def split_weights(text: str | None, variants: Sequence[str]) -> dict[str, Fraction]:
    """Return each variant's weight, in the order of ``variants``; all equal without a text.

    Names may hold commas and equals signs: a name that is known is taken whole.

    Args:
        text: ``VARIANT=WEIGHT`` separated by commas; weights are numbers, fractions or percentages.
        variants: the names.

    Raises:
        InputError: when a variant is unknown, has no weight or two, or a weight is not one.

    >>> {name: str(weight) for name, weight in split_weights("a=1, b,c = 1/2", ["a", "b,c"]).items()}
    {'a': '1', 'b,c': '1/2'}
    """
    if text is None:
        return dict.fromkeys(variants, Fraction(1))
    weights: dict[str, Fraction] = {}
    for name, weight in _parts(text, variants):
        if name in weights:
            raise InputError(f"--split {text!r}: variant {name!r} has two weights")
        weights[name] = _weight(name, weight)
    absent = [v for v in variants if v not in weights]
    if absent:
        raise InputError(f"--split {text!r} has no weight for {', '.join(map(repr, absent))}: name every variant")
    if sum(w > 0 for w in weights.values()) < 2:
        raise InputError(f"--split {text!r}: at least two variants need a weight above 0")
    return {v: weights[v] for v in variants}


def _parts(text: str, variants: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = text
    longest_first = sorted(variants, key=len, reverse=True)
    while rest.strip(" ,") or not text.strip():
        for name in longest_first:
            found = re.match(rf"\s*{re.escape(name)}\s*=([^,=]*)(?:,|$)", rest)
            if found:
                break
        else:
            part = rest.split(",")[0]
            name, equals, _ = part.rpartition("=")
            if not equals or not name.strip():
                raise InputError(f'--split {text!r}: {part.strip()!r} is not VARIANT=WEIGHT; write "A=1,B=2"')
            raise unknown_name("variant", name.strip(), variants, "to split to (--split)")
        yield name, found[1].strip()
        rest = rest[found.end() :]


def _weight(name: str, text: str) -> Fraction:
    if text.startswith("-"):
        raise InputError(f"--split: weight {text} of {name!r} is negative; weights are 0 or more")
    found = _WEIGHT.fullmatch(text)
    if found is None or (found[2] is not None and int(found[2]) == 0):
        raise InputError(f'--split: weight {text!r} of {name!r} is not a number; write "A=1,B=2"')
    return Fraction(found[1]) / Fraction(found[2] or 1)
