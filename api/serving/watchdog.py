"""Who hangs: a process that neither ends nor turns its event loop keeps its share of new connections waiting."""

from __future__ import annotations

from collections.abc import Sequence

HUNG_AFTER_S = 30.0
"""How long an event loop may stand still. Ours turn ten times a second, also under load."""
TICK_COUNTS_S = 2.0
"""What one look of the supervisor counts for at most, however long ago the one before was."""


class Watchdog:
    """Adds up how long each event loop has stood still, in time in which the supervisor itself was running.

    A machine that was suspended, or a host whose processes were all frozen for a while, wakes up with everybody's last
    sign of life long ago: the supervisor did not look either, so that counts for next to nothing.

    >>> dog = Watchdog(limit_s=3)
    >>> [dog.hung([7.0, 5.0 + tick], now=tick) for tick in range(5)]  # the second loop turns
    [[], [], [], [], [0]]
    >>> dog.hung([7.0, 10.0], now=1000)  # it has been told once; and all have slept
    []
    """

    def __init__(self, limit_s: float | None = None) -> None:
        """Make it.

        Args:
            limit_s: how long an event loop may stand still; ``HUNG_AFTER_S`` by default.
        """
        self._limit_s = HUNG_AFTER_S if limit_s is None else limit_s
        self._looked_at: float | None = None
        self._seen: list[float] = []
        self._still_s: list[float] = []

    def hung(self, turns: Sequence[float], now: float) -> list[int]:
        """Return which processes have stood still for longer than they may; each is told once in that time.

        Args:
            turns: how often each event loop has turned; 0 is one that has not begun, or is not there.
            now: seconds of the monotonic clock.
        """
        counts_s = 0.0 if self._looked_at is None else min(now - self._looked_at, TICK_COUNTS_S)
        self._looked_at = now
        if len(self._seen) != len(turns):
            self._seen, self._still_s = [0.0] * len(turns), [0.0] * len(turns)
        found = []
        for slot, turned in enumerate(turns):
            if turned == 0 or turned != self._seen[slot]:
                self._seen[slot], self._still_s[slot] = turned, 0.0
                continue
            self._still_s[slot] += counts_s
            if self._still_s[slot] > self._limit_s:
                self._still_s[slot] = 0.0
                found.append(slot)
        return found
