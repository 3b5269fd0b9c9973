"""What bad input raises: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class InputError(ValueError):
    r"""A file, option or definition that cannot be used as given; the message is one line for its author.

    >>> print(InputError("no column 'a\nb'"))
    no column 'a b'
    """

    def __init__(self, message: str) -> None:
        """Keep the message to one line, whatever names of columns and values it repeats."""
        super().__init__("".join(c if c.isprintable() else " " for c in message))


def unknown_name(what: str, name: str, known: Sequence[str], where: str, *, limit: int = 12) -> InputError:
    """Say that ``name`` is not among ``known``, nearest names first.

    >>> print(unknown_name("column", "vist", ["visit", "spend"], "in a.csv"))
    no column 'vist' in a.csv: did you mean 'visit'? There are: visit, spend
    >>> print(unknown_name("key", "till", ["shop-app"], "that works"))
    no key 'till' that works; there are: shop-app
    """
    lowered = {k.casefold(): k for k in known}
    near = [lowered[m] for m in difflib.get_close_matches(name.casefold(), list(lowered), n=3, cutoff=0.6)]
    listed = ", ".join(map(_clipped, known[:limit])) + (f", … ({len(known)} in all)" if len(known) > limit else "")
    if not near:
        return InputError(f"no {what} {_clipped(name)!r} {where}; there are: {listed}")
    hint = " or ".join(repr(_clipped(k)) for k in near)
    return InputError(f"no {what} {_clipped(name)!r} {where}: did you mean {hint}? There are: {listed}")


def _clipped(name: str, width: int = 60) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
