"""Who calls a management address, for the audit trail and for what is kept per caller."""

from __future__ import annotations

from flask import g

from api.security.door import ANYBODY, Caller


def caller() -> Caller:
    """Return who was let in at the door; anybody where nothing guards it."""
    found = g.get("caller")
    return found if isinstance(found, Caller) else ANYBODY


def actor() -> str:
    """Return the caller as the audit trail names it."""
    return caller().name
