"""Pages of a list: ``?limit&cursor`` in, ``{items, next_cursor}`` out. A cursor names the last item that was given.

Lists are read by key, not by position: what is added or removed meanwhile neither repeats an item nor hides one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import BaseModel, Field

from api.errors import Problem

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
MAX_CURSOR = 1_000

T = TypeVar("T")


class PageQuery(BaseModel, extra="forbid"):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Items at most on this page.")] = DEFAULT_LIMIT
    cursor: Annotated[str | None, Field(max_length=MAX_CURSOR, description="``next_cursor`` of the page before.")] = (
        None
    )


@dataclass(frozen=True)
class Page:
    """What a list is asked for."""

    limit: int
    after: tuple[Any, ...] | None
    """Sort key of the last item of the page before; ``None`` on the first."""

    def document(
        self, found: Sequence[T], item: Callable[[T], object], place: Callable[[T], Sequence[object]]
    ) -> dict[str, object]:
        """Return a page of what was found, of which one more than ``limit`` was asked for.

        Args:
            found: at most ``limit + 1`` rows in the order of the list.
            item: how a row is shown.
            place: a row's sort key.
        """
        rows = found[: self.limit]
        more = len(found) > self.limit
        return {"items": [item(row) for row in rows], "next_cursor": to_cursor(place(rows[-1])) if more else None}


def page(query: PageQuery, *kinds: type) -> Page:
    """Return what was asked for.

    Args:
        query: the checked parameters.
        kinds: the types of a sort key's parts, ``str`` or ``int``.

    Raises:
        Problem: 400 for a cursor that is none of this list.
    """
    return Page(query.limit, None if query.cursor is None else from_cursor(query.cursor, *kinds))


def to_cursor(place: Sequence[object]) -> str:
    """Return a sort key as opaque text that a URL carries unescaped.

    >>> from_cursor(to_cursor([7, "a"]), int, str)
    (7, 'a')
    """
    return base64.urlsafe_b64encode(msgspec.json.encode(list(place))).decode().rstrip("=")


def from_cursor(text: str, *kinds: type) -> tuple[Any, ...]:
    """Return the sort key that a cursor carries.

    Raises:
        Problem: 400 for text that :func:`to_cursor` did not write for this list.
    """
    try:
        value = msgspec.json.decode(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (binascii.Error, msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        value = None
    fits = isinstance(value, list) and [type(part) for part in value] == list(kinds)
    if not fits or any(_unusable(part) for part in value):
        raise Problem(400, "cursor is not one that this list returned; begin again without it", code="bad_parameter")
    return tuple(value)


def _unusable(part: object) -> bool:
    """Return whether a database would stumble over it."""
    return "\x00" in part if isinstance(part, str) else isinstance(part, int) and abs(part) >= 2**63
