"""Noticing unit ids that are a person's e-mail address or telephone number, and leaving them out of what is kept.

Operators are told to send pseudonymous ids. These two are refused unless the project says ``allow_personal_ids``,
because they would stand in the log for ever. Light: the serving process asks it for every request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

WITHHELD = "(withheld)"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]{2,}")
# E.164 with its plus sign, or a Chinese mobile number with or without 86. Other digits are too often plain ids.
_PHONE = re.compile(r"\+[1-9][0-9 ().-]{7,20}|(?:86[ -]?)?1[3-9][0-9]{9}")
PATTERNS = (_EMAIL.pattern, _PHONE.pattern)
"""The same for engines that match the whole text (RE2 reads them alike)."""


def personal_id(unit: str) -> str | None:
    """Return why a unit id is refused, or None; the id itself is not repeated.

    >>> personal_id("li.lei@example.com")
    'unit id looks like an e-mail address; send a pseudonymous id, or set allow_personal_ids in the project'
    >>> personal_id("13800138000"), personal_id("+49 30 901820")  # doctest: +ELLIPSIS
    ('unit id looks like a telephone number; ...', 'unit id looks like a telephone number; ...')
    >>> personal_id("m-13800138000"), personal_id("1234567890"), personal_id("team@work")
    (None, None, None)
    """
    what = None
    if "@" in unit and _EMAIL.fullmatch(unit):
        what = "an e-mail address"
    elif unit[:1] in "+18" and _PHONE.fullmatch(unit):
        what = "a telephone number"
    if what is None:
        return None
    return f"unit id looks like {what}; send a pseudonymous id, or set allow_personal_ids in the project"


def withheld(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a refused row without the ids that look like an address or a number: it is kept as a dead letter.

    >>> withheld({"unit": "li.lei@example.com", "event_id": "e-1", "value": 5})
    {'unit': '(withheld)', 'event_id': 'e-1', 'value': 5}
    """
    return {
        name: WITHHELD if isinstance(value, str) and value and personal_id(value) else value
        for name, value in row.items()
    }
