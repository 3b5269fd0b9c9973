"""How an API key reads: ``eqp_ENVIRONMENT_SELECTOR_SECRET``. No database, no other room."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from typing import NamedTuple

ENVIRONMENT = re.compile(r"[a-z0-9]{1,16}\Z", re.ASCII)
SELECTOR = re.compile(r"[a-z0-9]{12}\Z", re.ASCII)
_KEY = re.compile(r"eqp_([a-z0-9]{1,16})_([a-z0-9]{12})_([A-Za-z0-9]{43})\Z", re.ASCII)
_LOWER = string.ascii_lowercase + string.digits
_MIXED = string.ascii_letters + string.digits


class KeyText(NamedTuple):
    """The parts of a key."""

    environment: str
    selector: str
    """Finds the key; not secret."""
    secret: str
    """43 letters and digits, 256 bits."""


def read(text: str) -> KeyText | None:
    """Return the parts of a key, ``None`` for text that is none.

    >>> read("eqp_live_0123456789ab_" + "s" * 43).selector
    '0123456789ab'
    >>> read("Bearer eqp_live") is None
    True
    """
    match = _KEY.match(text)
    return None if match is None else KeyText(match[1], match[2], match[3])


def write(parts: KeyText) -> str:
    """Return the text of a key."""
    return f"eqp_{parts.environment}_{parts.selector}_{parts.secret}"


def draw(environment: str) -> KeyText:
    """Return a new key from the system's random source."""
    return KeyText(
        environment,
        "".join(secrets.choice(_LOWER) for _ in range(12)),
        "".join(secrets.choice(_MIXED) for _ in range(43)),
    )


def verifier(secret: str) -> str:
    """Return what is kept of a secret: the hex digits of its SHA-256.

    A slow hash or a pepper would add nothing: there are no 2^256 guesses, and whoever checks while the database is away
    must be able to do so with the published snapshot alone.

    >>> verifier("abc")[:8]
    'ba7816bf'
    """
    return hashlib.sha256(secret.encode()).hexdigest()
