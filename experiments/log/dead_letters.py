"""What the log could not take as it came: kept with the reason, never dropped in silence."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

DeadLetterKind = Literal["decision", "event", "member", "alias"]

DEAD_LETTER_REASONS: dict[str, str] = {
    "invalid": "The row does not have the fields or types that it needs; the detail names them.",
    "unreadable": "The row cannot be read as text or JSON at all.",
    "conflicting_duplicate": "An event of the same source, day and id is stored already, with other content.",
    "personal_id": "The unit id looks like an e-mail address or a telephone number; kept without it.",
    "generic_id": "An id that stands for many people (null, guest, 0) cannot be linked to one.",
    "group_too_large": "The link would make more than 50 ids one unit; they count each for itself.",
    "unknown_variant": "The experiment has no such variant.",
    "unknown_currency": "The amount is not in the project's currency.",
    "storage_refused": "The database refuses the row (a NUL character, a number beyond 64 bits).",
}
"""The published enumeration of ``DeadLetter.reason``: code → what it means. Codes are only ever added."""


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """One refused row, as it came. Its natural key is ``id``."""

    id: str
    kind: DeadLetterKind
    reason: str
    """One of ``DEAD_LETTER_REASONS``."""
    detail: str
    """What is wrong with it, for a person; repeats no member id."""
    source: str
    payload: str
    """The row as it came: JSON where that is possible."""
    received_at: int


def dead_letter(
    kind: DeadLetterKind, reason: str, detail: str, payload: str, *, source: str, received_at: int, key: str = ""
) -> DeadLetter:
    """Make a dead letter whose id follows from its content, so that a repeat is kept once.

    Args:
        kind: what the row was meant to be.
        reason: one of ``DEAD_LETTER_REASONS``.
        detail: one line for a person.
        payload: the row as it came.
        source: where it came from.
        received_at: microsecond of its arrival; not part of the id.
        key: tells rows of equal content apart, such as a file's row number.

    >>> letter = dead_letter("event", "invalid", "no unit", "{}", source="cdp", received_at=0)
    >>> letter.id == dead_letter("event", "invalid", "no unit", "{}", source="cdp", received_at=9).id
    True
    """
    text = msgspec.json.encode([kind, reason, source, payload, key])
    identity = hashlib.sha256(text).hexdigest()[:32]
    return DeadLetter(identity, kind, reason, detail, source, payload, received_at)
