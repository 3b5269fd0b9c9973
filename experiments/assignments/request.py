"""What is asked for with a list, and the identity that follows from it: asking twice is asking once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from allocation.decision import check_occasion
from experiments.errors import InputError
from experiments.jobs.asked import Asked
from experiments.list_files import Format, read_column, read_encoding, read_format

KIND = "assignments"
"""The kind of such jobs."""
LIST, PLAN, BALANCE, RESULT = "list", "plan", "balance", "result"
"""Roles of a job's files: what came in, what it is decided with, where strata are cut, what goes out."""

MAX_BALANCED = 5
"""Attributes that a list can be balanced on, as many as an experiment has strata."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ListRequest(Asked, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A list and what to do with it. What is left at its default is no part of the identity, so fields can be added.

    >>> a = ListRequest("winback", "00ff")
    >>> a.job_id == ListRequest("winback", "00ff").job_id, a.job_id == ListRequest("winback", "00ff", "june").job_id
    (True, False)
    """

    experiment: str
    sha256: str
    """Of the list's bytes, hex."""
    occasion: str = ""
    unit_column: str | None = None
    """``None``: the one likely column."""
    send_at: int | None = None
    """When the messages are scheduled to leave, for every variant; microseconds since 1970 UTC."""
    format: Format = "csv"
    encoding: str | None = None
    """Of a CSV; found out when ``None``."""
    balance_on: tuple[str, ...] = ()
    """Attributes within whose combinations the list is split evenly."""

    @property
    def job_id(self) -> str:
        """The job's id: 32 hex digits that follow from everything here."""
        text = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(b"equipoise-assignments:" + text).hexdigest()[:32]

    @property
    def source(self) -> str:
        """What the decisions have as their source in the log."""
        return f"list:{self.job_id}"

    @property
    def file_name(self) -> str:
        """What the answer is called."""
        return "-".join(filter(None, (self.experiment, self.occasion, self.job_id[:8]))) + f".{self.format}"


PARAMETERS = ("occasion", "unit_column", "send_at", "format", "encoding", "balance_on")
"""What can be said in the query of a request."""


def read_request(experiment: str, sha256: str, given: Mapping[str, str]) -> ListRequest:
    """Return the request that parameters ask for.

    Args:
        experiment: its key.
        sha256: of the list.
        given: `PARAMETERS` as text.

    Raises:
        OccasionError: for an unusable occasion.
        InputError: for any other unusable parameter, which it names.

    >>> read_request("w", "00", {"send_at": "2026-03-03T09:00:00+08:00"}).send_at
    1772499600000000
    """
    unknown = sorted(set(given) - set(PARAMETERS))
    if unknown:
        raise InputError(f"{unknown[0]}: is no parameter here; there are {', '.join(PARAMETERS)}")
    chosen = read_format(given.get("format") or "csv")
    column = read_column(given.get("unit_column"))
    return ListRequest(
        experiment=experiment,
        sha256=sha256,
        occasion=check_occasion(given.get("occasion", "")),
        unit_column=column,
        send_at=None if not given.get("send_at") else read_moment("send_at", given["send_at"]),
        format=chosen,
        encoding=read_encoding(given.get("encoding")),
        balance_on=_names(given.get("balance_on", "")),
    )


def _names(text: str) -> tuple[str, ...]:
    """Return names of attributes that are written with commas between, sorted: their order says nothing."""
    names = [name.strip(" ") for name in text.split(",")] if text else []
    if len(names) > MAX_BALANCED or not all(name.isprintable() and 0 < len(name) <= 128 for name in names):
        raise InputError(f"balance_on: write one to {MAX_BALANCED} names of attributes, with commas between")
    return tuple(sorted(set(names)))


def read_moment(name: str, text: str) -> int:
    """Return an ISO 8601 time with its zone in microseconds since 1970 UTC.

    Raises:
        InputError: naming the parameter.
    """
    try:
        # A plus sign that a caller did not write as %2B arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise InputError(f"{name}: is no ISO 8601 time; write it like 2026-03-03T09:00:00+08:00") from None
    if moment.tzinfo is None:
        raise InputError(f"{name}: has no time zone; add Z or an offset such as +08:00")
    if not EARLIEST <= moment < LATEST:
        raise InputError(f"{name}: does not lie between the years 2000 and 2100")
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
