"""Ids that stand for nobody in particular: what a program sends when it knows no id.

Linking one of them to a person would link every other person who ever had it, so they are refused as ends of a link.
Light: the serving process asks it.
"""

from __future__ import annotations

GENERIC_IDS = frozenset({
    "", "0", "-1", "00000000-0000-0000-0000-000000000000", "[object object]", "{}", "[]", "()", '""', "''", "<nil>",
    "anon", "anonym", "anonymous", "empty", "false", "guest", "guest_user", "id", "guid", "uuid", "n/a", "na", "nan",
    "nil", "none", "not set", "not_set", "null", "(null)", "(none)", "true", "undefined", "unknown", "unset", "user",
    "user_id", "userid", "visitor",
})  # fmt: skip
"""In lower case."""


def generic_id(unit: str) -> str | None:
    """Return why an id cannot be linked to another, or None; the id itself is not repeated.

    >>> generic_id("NaN") is None, generic_id(" guest ") is None, generic_id("m-1") is None
    (False, False, True)
    """
    if unit.strip().lower() not in GENERIC_IDS:
        return None
    return (
        "an id such as null, guest or 0 stands for many people and cannot be linked to one; send the alias without it"
    )
