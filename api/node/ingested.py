"""What a node takes in: events, traits and links on their way into the log, and which of them it has seen lately."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from api.node.durable import on_disk
from api.node.recent import Bounded
from experiments.log.rows import DAY_US, EventRow

if TYPE_CHECKING:
    from api.node.answered import Ack, Append
    from experiments.log.rows import AliasRow, TraitsRow
    from experiments.log.spool import LogRow

RECENT_EVENTS = 100_000

SeenKey = tuple[str, int, str]
"""source, UTC day of the stated time, id"""


class Ingested:
    """Puts what came into the log, and remembers its ids for a while."""

    def __init__(self, append: Append, counts: Counter[str]) -> None:
        self._append = append
        self._counts = counts
        self._seen: Bounded[SeenKey, None] = Bounded(RECENT_EVENTS)

    async def log(self, rows: Sequence[LogRow], seen: Sequence[SeenKey], letters: Sequence[LogRow], ack: Ack) -> int:
        """Put rows and dead letters into the log in one commit; return how many ids this node has seen lately.

        Args:
            rows: what is kept.
            seen: its natural keys.
            letters: what is refused.
            ack: what the answer waits for.

        Raises:
            Problem: 503 when the log cannot take them now; nothing is kept then.
        """
        if rows or letters:
            await on_disk(self._append([*rows, *letters], ack))
        duplicates = 0
        for key in seen:
            if key in self._seen:
                duplicates += 1
            else:
                self._seen.put(key, None)
        self._counts["events_accepted"] += len(rows)
        self._counts["events_duplicate"] += duplicates
        self._counts["events_rejected"] += len(letters)
        return duplicates


def seen_key(row: EventRow | TraitsRow | AliasRow, message_id: str) -> SeenKey:
    """Return under what this node remembers a row."""
    return row.source, row.day if isinstance(row, EventRow) else row.at // DAY_US, message_id
