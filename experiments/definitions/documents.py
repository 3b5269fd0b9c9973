"""A document as plain values, before anything is known about what it defines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.definitions.errors import Problem

MAX_DEPTH = 60
"""Levels of nesting that any document may have."""


@dataclass(frozen=True)
class RawDocument:
    """One document as plain values, and where each of them stands."""

    value: Any
    file: str | None
    number: int
    """1 is the first of its file."""
    lines: dict[str, int] = field(default_factory=dict)
    """JSON pointer → line, where the format tells."""

    def problem(self, message: str, at: str = "") -> Problem:
        """Return a problem at a pointer of this document, with the line of it or of its nearest parent."""
        place = at
        while place and place not in self.lines:
            place = place.rpartition("/")[0]
        key = None
        if isinstance(self.value, dict) and isinstance(self.value.get("kind"), str):
            name = self.value.get("key")
            key = f"{self.value['kind']} {name}" if isinstance(name, str) else self.value["kind"]
        number = self.number if self.file else None
        return Problem(message, at, self.file, number, self.lines.get(place), key)


def check_text(text: str) -> str | None:
    r"""Return why a text cannot be kept (NUL, lone surrogate), ``None`` when it can.

    >>> check_text("a\x00b")
    'contains a NUL character; remove it'
    """
    if "\x00" in text:
        return "contains a NUL character; remove it"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "contains a lone surrogate, which is no character; write valid Unicode"
    return None
