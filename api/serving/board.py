"""The board: a page of shared memory by which the processes of one host tell each other how they are.

Made by the supervisor before it forks. Every field is one aligned double, written whole by one process, so that a
reader never sees half a number and nobody waits for anybody: also not for an upkeep process that hangs in a frozen
database.
"""

from __future__ import annotations

import mmap
import time

from api.serving.database_state import DatabaseState

MAX_SERVING = 64
_SLOT_FIELDS = 3
_HEAD = 10
_FIELDS = _HEAD + _SLOT_FIELDS * MAX_SERVING

_SEEN, _CONTACTED, _FAILED, _ASKED, _CURRENT, _UNSEEN, _TABLES, _PUBLISHED, _PREPARED, _RESTARTS = range(_HEAD)

NOT_SERVING, SERVING, CLOSED = 0.0, 1.0, 2.0
"""States of a serving process: not there, answering, its spool closed for good."""


class Board:
    """Shared numbers of one host.

    >>> board = Board(serving=2)
    >>> board.database_state().word()
    'unknown'
    >>> board.nudge(1); board.nudges
    1.0
    """

    def __init__(self, serving: int = 0) -> None:
        """Make an empty board.

        Args:
            serving: how many serving processes there will be, at most ``MAX_SERVING``.
        """
        self.serving = serving
        self._fields = memoryview(mmap.mmap(-1, _FIELDS * 8)).cast("d")

    # ------------------------------------------------------------- written by the upkeep process

    def tell(self, state: DatabaseState, tables_current: bool | None) -> None:
        """Write down what is known of the database."""
        fields = self._fields
        fields[_CONTACTED] = state.contacted_at or 0.0
        fields[_FAILED] = state.failed_since or 0.0
        fields[_ASKED] = state.asked_at or 0.0
        fields[_CURRENT] = state.current_at or 0.0
        fields[_UNSEEN] = state.unseen_since or 0.0
        fields[_TABLES] = {None: 0.0, True: 1.0, False: 2.0}[tables_current]
        fields[_SEEN] = time.monotonic()

    def has_published(self) -> None:
        """Tell the serving processes to look at the published files."""
        self._fields[_PUBLISHED] += 1

    # ------------------------------------------------------------- read by everybody

    def database_state(self) -> DatabaseState:
        """Return what the upkeep process last said of the database."""
        fields = self._fields
        return DatabaseState(
            seen_at=fields[_SEEN] or None,
            contacted_at=fields[_CONTACTED] or None,
            failed_since=fields[_FAILED] or None,
            asked_at=fields[_ASKED] or None,
            current_at=fields[_CURRENT] or None,
            unseen_since=fields[_UNSEEN] or None,
        )

    @property
    def tables_current(self) -> bool | None:
        """Whether the database's tables are those of this program; ``None`` while nobody could look."""
        return {0.0: None, 1.0: True}.get(self._fields[_TABLES], False)

    @property
    def published(self) -> int:
        """How often a file has been published."""
        return int(self._fields[_PUBLISHED])

    @property
    def prepared(self) -> bool:
        """Whether the database has been migrated, or found to be away: answering may begin."""
        return bool(self._fields[_PREPARED])

    @prepared.setter
    def prepared(self, value: bool) -> None:
        self._fields[_PREPARED] = float(value)

    @property
    def restarts(self) -> int:
        """How often the supervisor has replaced a process that died."""
        return int(self._fields[_RESTARTS])

    @restarts.setter
    def restarts(self, value: int) -> None:
        self._fields[_RESTARTS] = float(value)

    # ------------------------------------------------------------- the serving processes

    def nudge(self, slot: int) -> None:
        """Ask the upkeep process, as the serving process ``slot``, to publish soon."""
        self._fields[_HEAD + _SLOT_FIELDS * slot] += 1

    @property
    def nudges(self) -> float:
        """How often all serving processes have asked for that."""
        return sum(self._fields[_HEAD + _SLOT_FIELDS * slot] for slot in range(self.serving))

    def set_serving(self, slot: int, state: float) -> None:
        """Say in which state a serving process is."""
        self._fields[_HEAD + _SLOT_FIELDS * slot + 1] = state

    def turn(self, slot: int) -> None:
        """Say, as the serving process ``slot``, that its event loop turns."""
        self._fields[_HEAD + _SLOT_FIELDS * slot + 2] += 1

    def forget_turns(self, slot: int) -> None:
        """Say that there is no such process: nobody expects a sign of life."""
        self._fields[_HEAD + _SLOT_FIELDS * slot + 2] = 0.0

    def turns(self) -> list[float]:
        """Return how often the event loop of each serving process has turned."""
        return [self._fields[_HEAD + _SLOT_FIELDS * slot + 2] for slot in range(self.serving)]

    def serving_states(self) -> list[float]:
        """Return the states of the serving processes."""
        return [self._fields[_HEAD + _SLOT_FIELDS * slot + 1] for slot in range(self.serving)]


class UpkeepLink:
    """The upkeep process as a serving process sees it: by the board alone."""

    def __init__(self, board: Board, slot: int) -> None:
        self._board = board
        self._slot = slot

    @property
    def database_state(self) -> DatabaseState:
        """What is known of the database."""
        return self._board.database_state()

    @property
    def tables_current(self) -> bool | None:
        """Whether the database's tables are those of this program; ``None`` while nobody could look."""
        return self._board.tables_current

    @property
    def published(self) -> int:
        """A number that grows whenever a file has been published."""
        return self._board.published

    def definitions_changed(self) -> None:
        """Have the upkeep process publish soon."""
        self._board.nudge(self._slot)

    def start(self) -> None:
        """Nothing to do: it runs already."""

    def stop(self) -> None:
        """Say that the spool of this process is closed: the upkeep process loads it before it ends."""
        self._board.set_serving(self._slot, CLOSED)
