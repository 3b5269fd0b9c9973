"""Which column of a file means what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from experiments.errors import InputError, unknown_name
from experiments.sources.file import FileTable

WideKind = Literal["flag", "value", "count", "number"]
WIDE_KINDS: tuple[WideKind, ...] = ("flag", "value", "count", "number")

DECISION_FIELDS = ("unit", "variant", "at", "occasion", "propensity")
EVENT_FIELDS = (
    "unit", "at", "name", "event_id", "object_id", "value", "currency", "decision_id", "experiment",
)  # fmt: skip
MEMBER_FIELDS = ("unit", "at", "opted_out")


@dataclass(frozen=True)
class WideEvent:
    """One column of a file with a row for each unit, and the events that its cells stand for."""

    name: str
    """Name of the event."""
    column: str
    kind: WideKind = "flag"
    """``flag``: 1 or true is one event, 0, false or empty none. ``value``: an amount of money in major units; 0 or
    empty is no event. ``count``: that many events. ``number``: the number becomes the event's property of the column's
    name; empty is no event."""

    @classmethod
    def parse(cls, text: str) -> WideEvent:
        """Read ``NAME=COLUMN`` or ``NAME=COLUMN:KIND``.

        Raises:
            InputError: when it is neither.

        >>> WideEvent.parse("spend=spend:value")
        WideEvent(name='spend', column='spend', kind='value')
        """
        name, equals, column = text.partition("=")
        kind: WideKind = "flag"
        head, colon, tail = column.rpartition(":")
        for known in WIDE_KINDS:
            if colon and tail == known:
                column, kind = head, known
        if not equals or not name or not column:
            raise InputError(
                f"--event {text}: write NAME=COLUMN or NAME=COLUMN:KIND, where KIND is one of {', '.join(WIDE_KINDS)}"
            )
        return cls(name, column, kind)


@dataclass(frozen=True)
class Origin:
    """What every kind of file shares: where units and times stand."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Field → column. A field that is not named here is taken from the column of its own name, if there is one."""
    unit_type: str | None = None
    """By default the experiment's, else ``member``."""
    unit_row_number: bool = False
    """The unit is the row's number as text ("1" is the first row below the header): for files without ids."""
    at_constant: str | None = None
    """One time for all rows, ISO 8601."""
    time_zone: str | None = None
    """IANA name, for times without an offset; by default the project's."""
    source: str | None = None
    """Name of the source; by default the file's name without its ending, after ``import:``."""


@dataclass(frozen=True)
class DecisionMapping(Origin):
    """A file with one row for each assignment."""

    experiment: str = ""
    phase: int | None = None
    """By default the experiment's latest."""
    variants: Mapping[str, str] = field(default_factory=dict)
    """Value in the file → variant of the definition, where they differ."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Attribute → column, frozen at decision; by default every one that the experiment freezes and that is a column."""


@dataclass(frozen=True)
class EventMapping(Origin):
    """A file with one row for each event, or (``wide``) one row for each unit."""

    name: str | None = None
    """One name for all events of a long file without such a column."""
    wide: Sequence[WideEvent] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    """Property → column."""
    experiment: str | None = None
    """Ties the events to one experiment; rarely needed."""


@dataclass(frozen=True)
class MemberMapping(Origin):
    """A file with one row for each unit and its attributes."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    """Attribute → column; by default every stored attribute of the project that is a column."""


def resolve(origin: Origin, fields: Sequence[str], file: FileTable) -> dict[str, str]:
    """Return field → column (of the engine) for the fields that the file has.

    Raises:
        InputError: naming an unknown field, a column that is not there or there twice, or options that contradict
            each other.

    >>> file = FileTable("a.csv", None, None, ("id", "at"), is_text=True, header=("id", "at"))
    >>> resolve(Origin({"unit": "id"}), ("unit", "at", "value"), file)
    {'unit': 'id', 'at': 'at'}
    """
    for name, column in origin.columns.items():
        if name not in fields:
            raise unknown_name("field", name, fields, "for --map here")
        file.require(column)
    if origin.unit_row_number and "unit" in origin.columns:
        raise InputError("--unit-row-number and --map unit=… exclude each other: keep one")
    if origin.at_constant is not None and "at" in origin.columns:
        raise InputError("--at-constant and --at exclude each other: keep one")
    found = {}
    for name in fields:
        column = origin.columns.get(name, name)
        if column in file.header:
            found[name] = file.require(column)
    if origin.unit_row_number:
        found.pop("unit", None)
    elif "unit" not in found:
        raise InputError(
            f"{file.path}: which column is the unit? Add --map unit=COLUMN, or --unit-row-number when the file has no "
            f"ids. There are: {', '.join(file.header)}"
        )
    if origin.at_constant is not None:
        found.pop("at", None)
    return found


def require_at(found: Mapping[str, str], origin: Origin, file: FileTable) -> None:
    """Refuse a file of which no option says when its rows happened.

    Raises:
        InputError: saying which options there are.
    """
    if origin.at_constant is None and "at" not in found:
        raise InputError(
            f"{file.path}: when did this happen? Add --at COLUMN, or --at-constant 2026-03-03T08:00:00+08:00 for all "
            f"rows. There are: {', '.join(file.header)}"
        )
