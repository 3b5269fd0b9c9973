"""What is known of the database, by when it was asked and when it answered: nobody who reads this waits for it."""

from __future__ import annotations

import time
from typing import Protocol

import msgspec

AWAY_AFTER_S = 3.0
"""Answers are marked stale once the database has failed, or left a question open, for so long."""
SILENT_AFTER_S = 1.5
"""Nobody else is made to wait for the database once a question has been open for so long."""
HUNG_AFTER_S = 15.0
"""The same for work that neither ends nor fails, and for an upkeep process that says nothing any more."""


class DatabaseState(msgspec.Struct, frozen=True):
    """Seconds of the monotonic clock, which all processes of a host share; ``None`` is never, or not now.

    >>> well = DatabaseState(contacted_at=10, current_at=10)
    >>> well.word(now=11), well.current(now=11), well.away(now=11), well.away(now=40), well.current(now=40)
    ('ok', True, False, True, False)
    >>> hanging = DatabaseState(contacted_at=10, current_at=10, asked_at=11)
    >>> hanging.silent(now=12), hanging.silent(now=13), hanging.away(now=13), hanging.away(now=15)
    (False, True, False, True)
    """

    seen_at: float | None = None
    """When the upkeep process last said anything; ``None`` where there is no such process."""
    contacted_at: float | None = None
    """When work with the database last went well."""
    failed_since: float | None = None
    """Since when some work with it has failed each time."""
    asked_at: float | None = None
    """Since when a question, or every question since, is without answer."""
    current_at: float | None = None
    """When the definitions published on this host were last seen to be those of the database."""
    unseen_since: float | None = None
    """Since when every look at them has failed, or their publishing."""

    def silent(self, now: float | None = None) -> bool:
        """Whether the database does not answer just now."""
        return self.asked_at is not None and _now(now) - self.asked_at > SILENT_AFTER_S

    def away(self, now: float | None = None) -> bool:
        """Whether definitions may have changed unseen: it has been gone for longer than a moment."""
        at = _now(now)
        if self.unseen_since is not None and self.current_at is None:
            return True
        return (
            _older(self.unseen_since, at, AWAY_AFTER_S)
            or _older(self.asked_at, at, AWAY_AFTER_S)
            or _older(self.current_at, at, HUNG_AFTER_S)
            or _older(self.seen_at, at, HUNG_AFTER_S)
        )

    def current(self, now: float | None = None) -> bool:
        """Whether what is published on this host is what the database has, so that a key not known here is none.

        Whatever else fails, such as a file of member states that cannot be written, has nothing to do with that.
        """
        return self.current_at is not None and self.unseen_since is None and not self.silent(now) and not self.away(now)

    def word(self, now: float | None = None) -> str:
        """``ok``, ``degraded`` (failing or silent), or ``unknown`` before the first contact."""
        at = _now(now)
        if (
            self.failed_since is not None
            or self.silent(at)
            or _older(self.contacted_at, at, HUNG_AFTER_S)
            or _older(self.seen_at, at, HUNG_AFTER_S)
        ):
            return "degraded"
        return "unknown" if self.contacted_at is None else "ok"


def _now(now: float | None) -> float:
    return time.monotonic() if now is None else now


def _older(since: float | None, now: float, limit_s: float) -> bool:
    return since is not None and now - since > limit_s


class UpkeepView(Protocol):
    """What a serving process asks of whoever does the upkeep, in this process or in another."""

    @property
    def database_state(self) -> DatabaseState:
        """What is known of the database."""

    @property
    def tables_current(self) -> bool | None:
        """Whether the database's tables are those of this program; ``None`` while nobody could look."""

    @property
    def published(self) -> int:
        """A number that grows whenever a file has been published."""

    def definitions_changed(self) -> None:
        """Publish soon: somebody changed a definition or a state through this process."""

    def start(self) -> None:
        """The serving process has begun."""

    def stop(self) -> None:
        """The serving process has closed its spool."""
