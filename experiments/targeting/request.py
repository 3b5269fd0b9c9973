"""What is asked for with a list and a budget, and the identity that follows from it: asking twice is asking once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import msgspec

from experiments.errors import InputError
from experiments.jobs.asked import Asked
from experiments.list_files import Format
from experiments.targeting.document import Basis

KIND = "target"
"""The kind of such jobs."""
LIST, RESULT = "list", "result"
"""Roles of a job's files: the members that came in, the audience that goes out."""
LARGEST = 1e12
"""Of a budget, in major units."""
MOST_FLOORS = 50
MOST_PIECES = 10**9
LEAST_EXPLORE = 0.05
"""Share that is drawn at random where any is: with less nothing can be learned from it."""


class FloorAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """At least ``least`` members of a group get an offer."""

    attribute: str
    level: str
    least: int
    offer: str | None = None
    """Key of an arm or of its offer; ``None``: any."""


class TargetRequest(Asked, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A list, a budget and limits. What is left at its default is no part of the identity, so fields can be added."""

    experiment: str
    recommendation: int
    """Number of the recommendation."""
    sha256: str | None = None
    """Of the list's bytes; ``None``: the stored members in the experiment's audience, as of ``at``."""
    at: int | None = None
    """As of when members are described, microseconds since 1970 UTC."""
    budget: float | None = None
    """Major units; ``None``: as much as pays."""
    basis: Basis = "liability"
    stock: dict[str, int] = msgspec.field(default_factory=dict)
    """Arm or offer → pieces."""
    floors: tuple[FloorAsked, ...] = ()
    explore: float = 0.0
    format: Format = "csv"
    unit_column: str | None = None
    encoding: str | None = None

    @property
    def job_id(self) -> str:
        """The job's id: 32 hex digits that follow from everything here."""
        text = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(b"equipoise-target:" + text).hexdigest()[:32]

    @property
    def file_name(self) -> str:
        """What the audience file is called."""
        return f"{self.experiment}-audience-{self.job_id[:8]}.{self.format}"


class Limits(msgspec.Struct, frozen=True):
    """What bounds a choice, however it is asked for."""

    budget: float | None = None
    basis: Basis = "liability"
    stock: dict[str, int] = {}
    floors: tuple[FloorAsked, ...] = ()
    explore: float = 0.0


def limits(
    *,
    budget: float | None = None,
    basis: str = "liability",
    stock: Mapping[str, int] | None = None,
    floors: Sequence[FloorAsked] = (),
    explore: float = 0.0,
) -> Limits:
    """Return limits that make sense by themselves.

    Raises:
        InputError: naming the one that does not.

    >>> limits(budget=5000.0, stock={"a": 1000}).stock
    {'a': 1000}
    """
    if budget is not None and not 0 <= budget <= LARGEST:
        raise InputError(f"budget: is {budget:g}; give an amount from 0 to {LARGEST:.0e}, or none")
    if basis not in ("liability", "expected"):
        raise InputError(f"budget_basis: is {basis[:20]!r}; write liability or expected")
    for key, pieces in (stock or {}).items():
        if not 0 <= pieces <= MOST_PIECES:
            raise InputError(f"stock: {pieces} pieces of {key[:64]!r}; give a number from 0 to {MOST_PIECES}")
    if len(floors) > MOST_FLOORS:
        raise InputError(f"floors: {len(floors)}; at most {MOST_FLOORS}")
    for floor in floors:
        if not 0 <= floor.least <= MOST_PIECES:
            raise InputError(f"floors: at least {floor.least} members; give a number from 0 to {MOST_PIECES}")
    if explore and not LEAST_EXPLORE <= explore <= 1:
        raise InputError(f"explore: is {explore:g}; give 0, or a share from {LEAST_EXPLORE} to 1")
    return Limits(budget, "expected" if basis == "expected" else "liability", dict(stock or {}), tuple(floors), explore)


def read_stock(text: str, option: str = "--stock") -> tuple[str, int]:
    """Read ``a=1000``.

    Args:
        text: what was written.
        option: what it was written for.

    Raises:
        InputError: it is something else.

    >>> read_stock("a=1000")
    ('a', 1000)
    """
    key, equals, pieces = text.rpartition("=")
    if not equals or not key.strip() or not pieces.strip().isdecimal():
        raise InputError(f"{option} {text[:80]!r}: write the offer and its pieces, such as a=1000")
    return key.strip(), int(pieces)


def read_floor(text: str, option: str = "--floor") -> FloorAsked:
    """Read ``tier=gold:100``, or ``tier=gold:100:a`` for one offer.

    Args:
        text: what was written.
        option: what it was written for.

    Raises:
        InputError: it is something else.

    >>> read_floor("tier=gold:100"), read_floor("tier=gold:100:a").offer
    (FloorAsked(attribute='tier', level='gold', least=100, offer=None), 'a')
    """
    attribute, equals, rest = text.partition("=")
    parts = rest.split(":")
    if equals and attribute.strip() and len(parts) in (2, 3) and parts[0].strip() and parts[1].strip().isdecimal():
        offer = parts[2].strip() if len(parts) == 3 else None
        if offer != "":
            return FloorAsked(attribute.strip(), parts[0].strip(), int(parts[1]), offer)
    raise InputError(f'{option} {text[:80]!r}: write a group and how many of it: "tier=gold:100", or "tier=gold:100:a"')


def read_amount(text: str, option: str) -> float:
    """Read an amount of money such as ``5000`` or ``5,000.50``.

    Raises:
        InputError: it is none.
    """
    try:
        amount = float(text.replace(",", "").replace("¥", "").strip())
    except ValueError:
        amount = math.nan
    if not 0 <= amount <= LARGEST:
        raise InputError(f"{option} {text[:40]!r}: give an amount of 0 or more, such as 5000")
    return amount
