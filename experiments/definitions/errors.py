"""What is wrong with a definition: where it stands, what it is, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from experiments.errors import InputError


@dataclass(frozen=True)
class Problem:
    """One wrong place.

    >>> str(Problem("weight must be a whole number; write weight: 1", "/variants/0/weight", "winback.yaml", 2, 14))
    'winback.yaml, document 2, line 14, /variants/0/weight: weight must be a whole number; write weight: 1'
    """

    message: str
    """What is wrong and what to do, one line."""
    pointer: str = ""
    """JSON pointer (RFC 6901) within the document; empty means the whole document."""
    file: str | None = None
    document: int | None = None
    """Number of the document in its file; 1 is the first."""
    line: int | None = None
    key: str | None = None
    """Kind and key of the definition, where known, such as ``experiment winback``."""

    def __str__(self) -> str:
        where = [self.file] if self.file else []
        if self.document is not None:
            where.append(f"document {self.document}")
        if self.line is not None:
            where.append(f"line {self.line}")
        if not where and self.key:
            where.append(self.key)
        if self.pointer:
            where.append(self.pointer)
        return f"{', '.join(where)}: {self.message}" if where else self.message

    def within(self, prefix: str) -> Problem:
        """Return the same problem with ``prefix`` put before its pointer."""
        return replace(self, pointer=prefix + self.pointer)


class DefinitionError(InputError):
    """One or more problems in what somebody wrote; ``problems`` has them all, the message one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def pointer(path: Sequence[str | int]) -> str:
    """Return the JSON pointer of a path.

    >>> pointer(["variants", 0, "a/b"])
    '/variants/0/a~1b'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return advice that names the nearest known word, or all of them when none is near.

    >>> nearest("weigth", ["weight", "offer"])
    'did you mean "weight"?'
    >>> nearest("zzz", ["weight", "offer"])
    'known: offer, weight'
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known: " + ", ".join(names) if names else "none is defined yet"
