"""What an event is: the checks that every address makes before a row goes into the log, whatever shape it came in."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

import msgspec

from allocation.hashing import UnitError, check_unit
from allocation.plan import ProjectPlan
from api.hot import moments
from experiments.log.dead_letters import DeadLetter, DeadLetterKind, dead_letter
from experiments.personal import personal_id, withheld

MAX_ITEM_BYTES = 32_768
"""Of one event as sent, and of what a dead letter keeps of it."""
MAX_VALUE_MINOR = 2**53 - 1
_encoder = msgspec.json.Encoder(order="sorted")


class BadEventError(ValueError):
    """An event that cannot be kept; has a code of ``DEAD_LETTER_REASONS`` and a message without personal data."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Rejected(msgspec.Struct, frozen=True):
    """One event of a batch that became a dead letter."""

    index: int
    code: str
    detail: str
    raw: bytes = b""
    """The event as sent, for the dead letter; never part of an answer."""
    message_id: str | None = None
    kind: DeadLetterKind = "event"
    key: str = ""
    """Tells items apart whose payload is not kept."""

    def letter(self, source: str, received_at: int) -> DeadLetter:
        """Return the dead letter that is kept of it."""
        payload = self.raw[:MAX_ITEM_BYTES].decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        return dead_letter(
            self.kind, self.code, self.detail, payload, source=source, received_at=received_at, key=self.key
        )


def without_personal(raw: bytes | msgspec.Raw) -> bytes:
    """Return an item as it may be kept when it holds personal ids: without them."""
    try:
        return _encoder.encode(withheld(msgspec.json.decode(raw)))
    except (msgspec.DecodeError, RecursionError, ValueError, AttributeError):
        return b""


def unit_id(unit: str, pointer: str, project: ProjectPlan | None) -> str:
    """Return a unit id that may be kept.

    Raises:
        BadEventError: when it cannot be, or is personal.
    """
    try:
        check_unit(unit)
    except UnitError as error:
        raise BadEventError("invalid", str(error)) from None
    if project is None or not project.allow_personal_ids:
        refused = personal_id(unit)
        if refused is not None:
            raise BadEventError("personal_id", f"{pointer}: {refused}")
    return unit


def check_text(text: str | None, pointer: str, limit: int, *, required: bool = True) -> None:
    """Refuse text that cannot be kept.

    Raises:
        BadEventError: when it is empty though required, too long, or has a NUL character.
    """
    if not text:
        if text is not None and required:
            raise BadEventError("invalid", f"{pointer}: is empty")
    elif len(text) > limit:
        raise BadEventError("invalid", f"{pointer}: has {len(text):,} characters; at most {limit} are allowed")
    elif "\x00" in text:
        raise BadEventError("invalid", f"{pointer}: contains a NUL character; remove it")


def canonical(properties: Mapping[str, Any], pointer: str = "/properties") -> str:
    """Return an object as canonical JSON text: equal content, equal text.

    Raises:
        BadEventError: when it cannot be kept.
    """
    if not properties:
        return "{}"
    try:
        text = _encoder.encode(properties).decode()
    except (RecursionError, ValueError):
        raise BadEventError("invalid", f"{pointer}: nested too deeply; send a flat object") from None
    if "\\u0000" in text and _has_nul(properties):
        raise BadEventError("invalid", f"{pointer}: contains a NUL character; remove it")
    return text


def _has_nul(value: Any) -> bool:
    """Return whether there is a NUL anywhere; its escape in the text may be a backslash and letters."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(_has_nul(inner) for inner in value)


def microseconds(text: str, pointer: str = "/at") -> int:
    """Return an ISO 8601 time with its zone as microseconds since 1970 UTC.

    Raises:
        BadEventError: when it is none, has no zone, or lies before 2000.

    >>> microseconds("2026-03-03T08:00:00Z")
    1772524800000000
    """
    try:
        return moments.microseconds(text)
    except ValueError as error:
        raise BadEventError("invalid", f"{pointer}: {error}") from None


def amount_minor(
    value: str | float | None,
    currency: str | None,
    project: ProjectPlan | None,
    *,
    rounding: bool = False,
    places: tuple[str, str] = ("/value", "/currency"),
) -> int | None:
    """Return an amount in minor units of the project's currency.

    Args:
        value: decimal in major units.
        currency: what the caller says it is in; ``None``: the project's.
        project: whose currency counts; ``None`` while none is defined.
        rounding: whether more decimal places than the currency has are rounded (half to even) or refused.
        places: JSON pointers of value and currency, for messages.

    Raises:
        BadEventError: when it is no amount, or one of another currency.

    >>> amount_minor("19.90", None, ProjectPlan("CNY")), amount_minor(30.299999999999997, "CNY", ProjectPlan("CNY"), rounding=True)
    (1990, 3030)
    """  # noqa: E501
    minor = (
        None if value is None else _minor(value, 2 if project is None else project.minor_digits, rounding, places[0])
    )
    if project is None and (minor is not None or currency is not None):
        raise BadEventError(
            "unknown_currency", f"{places[0]}: the project has no currency yet; apply a project definition first"
        )
    if project is not None and currency is not None and currency != project.currency:
        raise BadEventError(
            "unknown_currency",
            f"{places[1]}: this project counts in {project.currency} and no rate is declared; convert it first",
        )
    return minor


def _minor(value: str | float, minor_digits: int, rounding: bool, pointer: str) -> int:
    try:
        amount = Decimal(value if isinstance(value, str) else repr(value))
        if not amount.is_finite() or amount.adjusted() > 18:
            raise BadEventError("invalid", f"{pointer}: is not a finite amount")
        scaled = amount.scaleb(minor_digits)
    except InvalidOperation:
        raise BadEventError("invalid", f'{pointer}: is not a decimal number; write it like "199.00"') from None
    whole = scaled.to_integral_value(ROUND_HALF_EVEN)
    if scaled != whole and not rounding:
        raise BadEventError("invalid", f"{pointer}: has more than {minor_digits} decimal places")
    minor = int(whole)
    if abs(minor) > MAX_VALUE_MINOR:
        raise BadEventError("invalid", f"{pointer}: is too large to be an amount of money")
    return minor
