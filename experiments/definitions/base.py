"""What every definition is made of: keys, language maps, shares, instants; unknown keys are refused by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from allocation.hashing import UnitError, check_unit
from experiments.definitions import money
from experiments.definitions.errors import nearest

KEY = r"^[a-z0-9][a-z0-9_-]{0,63}$"
VARIANT_KEY = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$"
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
_HAN = re.compile(r"[\u3400-\u9fff]")
_PERCENT = re.compile(r"(-?[0-9]{1,6}(?:\.[0-9]{1,10})?) ?%")
_SHARE = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,18})?")


def refuse(title: str, problems: Sequence[tuple[tuple[str | int, ...], str]]) -> NoReturn:
    """Raise a ``ValidationError`` that points at the given places, from inside a validator."""
    raise ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(type=PydanticCustomError("refused", "{why}", {"why": why}), loc=loc, input=None)
            for loc, why in problems
        ],
    )


class Model(BaseModel):
    """A part of a definition: immutable, and an unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest_key(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            details: list[InitErrorDetails] = []
            for item in error.errors(include_url=False):
                loc = item["loc"]
                kind: str | PydanticCustomError = item["type"]
                if kind == "extra_forbidden" and len(loc) == 1:
                    known = [field.alias or name for name, field in cls.model_fields.items()]
                    advice = nearest(str(loc[0]), known)
                    kind = PydanticCustomError("refused", "{why}", {"why": f"unknown key; {advice}"})
                elif not _STANDARD.match(str(kind)):
                    kind = PydanticCustomError("refused", "{why}", {"why": item["msg"]})
                details.append(InitErrorDetails(type=kind, loc=loc, input=item["input"], ctx=item.get("ctx", {})))
            raise ValidationError.from_exception_data(cls.__name__, details) from None


# Error types that pydantic can build again from their name and context.
_STANDARD = re.compile(
    r"missing|extra_forbidden|.*_type|.*_parsing|literal_error|string_.*|greater_than.*|less_than.*|too_.*|finite_number"
    r"|int_from_float|value_error|union_tag_.*"
)


def language_map(value: object) -> dict[str, str]:
    """Return a language map; plain text is taken as Chinese when it has Han characters, else as English.

    >>> language_map("Coupon"), language_map("满100减20")
    ({'en': 'Coupon'}, {'zh-CN': '满100减20'})
    """
    if isinstance(value, str):
        value = {"zh-CN" if _HAN.search(value) else "en": value}
    if not isinstance(value, dict):
        raise ValueError('must be text or a language map such as {en: "…", zh-CN: "…"}')  # noqa: TRY004 - for pydantic
    result: dict[str, str] = {}
    for language, text in value.items():
        if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
            raise ValueError(f'"{language}" is not a language tag; write en, zh-CN, de …')
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"the {language} text is empty or not text; write it in quotes")
        if len(text) > 2000:
            raise ValueError(f"the {language} text has {len(text)} characters; at most 2000 are allowed")
        result[language] = text
    if not result:
        raise ValueError('is an empty language map; write {en: "…", zh-CN: "…"}')
    return result


def _share_text(value: object) -> str:
    """Return exact decimal text of a share, given as ``"0.35"``, ``0.35`` or ``"35%"``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError('must be a share such as "0.35" or "35%"')  # noqa: TRY004 - for pydantic
    text = value.strip() if isinstance(value, str) else format(Decimal(repr(value)), "f")
    percent = _PERCENT.fullmatch(text)
    if percent:
        number = Decimal(percent.group(1)) / 100
    elif _SHARE.fullmatch(text):
        number = Decimal(text)
    else:
        raise ValueError('must be a share such as "0.35" or "35%"')
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _share(value: object) -> str:
    text = _share_text(value)
    if not 0 <= Fraction(text) <= 1:
        raise ValueError(f'{text} is outside 0 to 1; write a share such as "0.35" or "35%"')
    return text


def _positive_share(value: object) -> str:
    text = _share_text(value)
    if Fraction(text) <= 0:
        raise ValueError('must be above 0, such as "2%" or "0.02"')
    return text


def _instant(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a time; write 2026-03-03T00:00:00+08:00") from None
    if not isinstance(value, datetime):
        raise ValueError("must be a time such as 2026-03-03T00:00:00+08:00")  # noqa: TRY004 - pydantic wants ValueError
    if value.tzinfo is None:
        raise ValueError("has no time zone; write an offset as in 2026-03-03T00:00:00+08:00, or Z for UTC")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range; write a time such as 2026-03-03T00:00:00+08:00") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        shown = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
        raise ValueError(f'must be text; write it in quotes: "{shown}"')  # noqa: TRY004
    return value


def _no_edge_spaces(value: str) -> str:
    if value != value.strip():
        raise ValueError("begins or ends with a space; remove it")
    return value


def unit_list(value: Any) -> Any:
    """Check that every item of a list is a usable unit id; other values are left to pydantic."""
    if isinstance(value, list | tuple):
        for unit in value:
            try:
                check_unit(unit)
            except UnitError as error:
                raise ValueError(str(error)) from None
    return value


Key = Annotated[str, BeforeValidator(_text), Field(pattern=KEY)]
"""What a definition is called in files, URLs and logs.

Narrow, because not every client encodes a key that it puts into a URL (OFREP's providers do not), and because two keys
that differ only in case are one file on some disks.
"""
VariantKey = Annotated[str, BeforeValidator(_text), AfterValidator(_no_edge_spaces), Field(pattern=VARIANT_KEY)]
"""Like a key, with spaces allowed, so that variants of an imported file keep their names."""
Name = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=200)]
"""Text that must match something outside, such as an event name or a property."""
Text = Annotated[dict[str, str], BeforeValidator(language_map, json_schema_input_type=str | dict[str, str])]
"""A language map; see :func:`language_map`."""
Share = Annotated[str, BeforeValidator(_share, json_schema_input_type=str | float)]
"""A share from 0 to 1 as exact decimal text."""
Margin = Annotated[str, BeforeValidator(_positive_share, json_schema_input_type=str | float)]
"""A relative size above 0 as exact decimal text: ``"30%"`` becomes ``"0.3"``."""
Amount = Annotated[str, BeforeValidator(money.amount, json_schema_input_type=str | float)]
"""Money in major units of the project currency, as decimal text."""
Count = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(lambda at: at.astimezone(UTC).isoformat().replace("+00:00", "Z"), return_type=str),
]
"""A moment with its offset; kept in UTC."""
Salt = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[0-9a-f]{16}$")]
"""16 random hex digits, made by the service."""


class MadeSalt(Model):
    """What the service made for a layer or holdout; written by ``equipoise export``, never by hand."""

    salt: Salt


def instant_us(at: datetime) -> int:
    """Return a moment as microseconds since 1970-01-01 UTC, exactly.

    >>> instant_us(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
