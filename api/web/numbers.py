"""Numbers as people read them, in the page's language.

Rules: an effect has a sign, "+" or "−" (U+2212); shares of control 1 decimal; absolute differences of shares in
percentage points; money 2 decimals a member, whole units in totals; p never below "<0.001". ``None`` is a dash, and its
reason stands beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.numbers import NumberPattern, get_currency_precision, get_currency_symbol, parse_pattern

from api.web.language import Language
from experiments.report.document import Unit

MINUS = "\u2212"
MISSING = "–"
Form = Literal["relative", "absolute", "total"]
# A deployment has one project currency, so the short sign is unambiguous.
SHORT_SIGNS = {"CNY": "¥", "JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "HKD": "HK$", "TWD": "NT$", "KRW": "₩"}
WAN = 10_000.0
# From here zh money is written in 万, English in k and M.
LARGE_ZH = 100_000.0
LARGE_EN = 1_000_000.0


@cache
def _pattern(digits: int) -> NumberPattern:
    return parse_pattern("#,##0" + ("." + "0" * digits if digits else ""))


def _decimals(value: float, language: Language, digits: int) -> str:
    """Write a non-negative number with a fixed number of decimals and the language's separators."""
    exact = Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
    return str(_pattern(digits).apply(exact, language.locale))


def _is_zero(value: float, digits: int) -> bool:
    return round(abs(value), digits) == 0


def _sign(value: float, digits: int, *, always: bool) -> str:
    if _is_zero(value, digits):
        return ""
    if value < 0:
        return MINUS
    return "+" if always else ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Formats numbers in one language, one currency and one time zone.

    Example:
        >>> from api.web.language import language
        >>> numbers = Numbers(language("en"), "CNY", "Asia/Shanghai")
        >>> numbers.change(-0.0834), numbers.effect(0.38, "money"), numbers.p_value(0.00001)
        ('−8.3%', '+¥0.38', '<0.001')
        >>> Numbers(language("zh-CN"), "CNY", "Asia/Shanghai").total(461_000.0, "money")
        '+¥46.1万'
    """

    language: Language
    currency: str | None = None
    time_zone: str = "UTC"

    def count(self, value: float | None) -> str:
        """Write a number of members, orders, days."""
        return MISSING if value is None else _sign(value, 0, always=False) + _decimals(abs(value), self.language, 0)

    def share(self, value: float | None, digits: int | None = None) -> str:
        """Write a share of 1 as a percentage: 0.0642 is "6.42%"."""
        if value is None:
            return MISSING
        digits = share_digits(value) if digits is None else digits
        percent = value * 100
        return f"{_sign(percent, digits, always=False)}{_decimals(abs(percent), self.language, digits)}%"

    def money(self, value: float | None, digits: int | None = None, *, signed: bool = False) -> str:
        """Write an amount in major units of the currency, without a sign for it where none is declared."""
        if value is None:
            return MISSING
        digits = self.money_digits() if digits is None else digits
        body = _decimals(abs(value), self.language, digits)
        return f"{_sign(value, digits, always=signed)}{self.currency_sign()}{body}"

    def money_digits(self) -> int:
        """Return the currency's decimals: 2 for CNY, 0 for JPY."""
        return int(get_currency_precision(self.currency)) if self.currency else 2

    def currency_sign(self) -> str:
        """Return the short sign of the project's currency, or the code with a space, or nothing."""
        if not self.currency:
            return ""
        sign = SHORT_SIGNS.get(self.currency) or get_currency_symbol(self.currency, locale=self.language.locale)
        return sign if len(sign) < 3 or not sign.isalpha() else sign + "\u00a0"

    def value(self, value: float | None, unit: Unit) -> str:
        """Write a variant's own mean."""
        if value is None:
            return MISSING
        if unit == "share":
            return self.share(value)
        if unit == "money":
            return self.money(value, self.money_digits() if abs(value) < WAN else 0)
        digits = significant_digits(value)
        written = _sign(value, digits, always=False) + _decimals(abs(value), self.language, digits)
        return self.language.gettext("%(number)s days", number=written) if unit == "days" else written

    def change(self, value: float | None, *, digits: int = 1) -> str:
        """Write an effect relative to control: 0.09 is "+9.0%"."""
        if value is None:
            return MISSING
        if abs(value) >= 10:
            digits = 0
        return f"{_sign(value * 100, digits, always=True)}{_decimals(abs(value * 100), self.language, digits)}%"

    def effect(self, value: float | None, unit: Unit, *, scale: float | None = None) -> str:
        """Write an absolute effect: percentage points, money or a plain number.

        Args:
            value: the effect.
            unit: the metric's unit.
            scale: the size that sets the number of decimals (control's mean, or the largest bound in a row), so that
                an estimate and its interval are written alike.
        """
        if value is None:
            return MISSING
        if unit == "share":
            digits = 1 if scale is None or abs(scale) >= 0.1 else (2 if abs(scale) >= 0.001 else 3)
            points = value * 100
            body = _decimals(abs(points), self.language, digits)
            return self.language.gettext("%(number)s pp", number=_sign(points, digits, always=True) + body)
        if unit == "money":
            whole = scale is not None and abs(scale) >= 1000
            return self.money(value, 0 if whole else None, signed=True)
        digits = significant_digits(scale if scale is not None else value)
        written = _sign(value, digits, always=True) + _decimals(abs(value), self.language, digits)
        return self.language.gettext("%(number)s days", number=written) if unit == "days" else written

    def tick(self, value: float, unit: Unit, step: float) -> str:
        """Write an axis label with just the decimals that the step between ticks needs."""
        if unit == "share":
            digits = step_digits(step * 100)
            body = _decimals(abs(value * 100), self.language, digits)
            return self.language.gettext("%(number)s pp", number=_sign(value * 100, digits, always=True) + body)
        digits = step_digits(step)
        sign = self.currency_sign() if unit == "money" else ""
        return f"{_sign(value, digits, always=True)}{sign}{_decimals(abs(value), self.language, digits)}"

    def total(self, value: float | None, unit: Unit) -> str:
        """Write an effect over all members of a variant, large money short ("¥1.84M", "¥46.1万")."""
        if value is None:
            return MISSING
        large = LARGE_ZH if self.language.tag == "zh-CN" else LARGE_EN
        if abs(value) < large:
            if unit == "money":
                return self.money(value, 0, signed=True)
            return _sign(value, 0, always=True) + _decimals(abs(value), self.language, 0)
        steps = ((1e8, "亿"), (WAN, "万")) if self.language.tag == "zh-CN" else ((1e9, "B"), (1e6, "M"))
        size, suffix = next(step for step in steps if abs(value) >= step[0])
        digits = 2 if abs(value) / size < 10 else 1
        sign = self.currency_sign() if unit == "money" else ""
        return f"{_sign(value, 0, always=True)}{sign}{_decimals(abs(value) / size, self.language, digits)}{suffix}"

    def range_in(
        self, low: float | None, high: float | None, form: Form, unit: Unit, *, scale: float | None = None
    ) -> str:
        """Write an interval in a form; "pp" and "days" stand once, after the upper bound."""
        first = None if low is None else self.by_form(low, form, unit, scale=scale)
        second = None if high is None else self.by_form(high, form, unit, scale=scale)
        if form == "absolute" and first is not None and second is not None:
            _ = self.language.gettext
            suffixes = {"share": _("%(number)s pp", number=""), "days": _("%(number)s days", number="")}
            first = first.removesuffix(suffixes.get(unit, ""))
        return self.interval(first, second)

    def by_form(self, value: float | None, form: Form, unit: Unit, *, scale: float | None = None) -> str:
        """Write an effect in the form that is switched on."""
        if form == "relative":
            return self.change(value)
        return self.total(value, unit) if form == "total" else self.effect(value, unit, scale=scale)

    def interval(self, low: str | None, high: str | None) -> str:
        """Join two written bounds into a phrase; a bound that does not exist is said in words."""
        _ = self.language.gettext
        if low is None and high is None:
            return MISSING
        if low is None:
            return _("up to %(high)s", high=high)
        if high is None:
            return _("%(low)s or more", low=low)
        return _("%(low)s to %(high)s", low=low, high=high)

    def p_value(self, value: float | None) -> str:
        """Write a p-value: three decimals below 0.1, two above, never 0 or 1."""
        if value is None:
            return MISSING
        if value < 0.001:
            return "<0.001"
        if value > 0.99:
            return ">0.99"
        return _decimals(value, self.language, 3 if value < 0.0995 else 2)

    def date(self, at: str | datetime | None) -> str:
        """Write a day in the project's time zone."""
        moment = self._moment(at)
        if moment is None:
            return MISSING
        pattern = "y年M月d日" if self.language.tag == "zh-CN" else "d MMM y"
        return format_datetime(moment, pattern, locale=self.language.locale)

    def time(self, at: str | datetime | None) -> str:
        """Write a moment in the project's time zone, which is named."""
        moment = self._moment(at)
        if moment is None:
            return MISSING
        chinese = self.language.tag == "zh-CN"
        pattern = "y年M月d日 HH:mm" if chinese else "d MMM y HH:mm"
        stamp = format_datetime(moment, pattern, locale=self.language.locale)
        zone = self.time_zone if self.time_zone == "UTC" else (moment.tzname() or self.time_zone)
        if not any(c.isalpha() for c in zone):
            zone = f"UTC{zone}"
        return f"{stamp} {zone}"

    def _moment(self, at: str | datetime | None) -> datetime | None:
        """Return the moment in the project's zone; a date alone is that day as it stands."""
        if not at:
            return None
        if isinstance(at, str):
            try:
                moment = datetime.fromisoformat(at)
            except ValueError:
                return None
            if len(at) <= 10:
                return moment.replace(tzinfo=ZoneInfo(self.time_zone))
        else:
            moment = at
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(ZoneInfo(self.time_zone))


def share_digits(value: float) -> int:
    """Return the decimals of a percentage: 1, or as many as a small one needs."""
    size = abs(value)
    if size >= 0.1 or size == 0:
        return 1
    return 2 if size >= 0.001 else 3


def step_digits(step: float) -> int:
    """Return the decimals that a step of a round axis needs.

    Example:
        >>> step_digits(0.25), step_digits(20.0)
        (2, 0)
    """
    return next((d for d in range(6) if abs(step * 10**d - round(step * 10**d)) < 1e-6 * max(1.0, step * 10**d)), 6)


def significant_digits(value: float) -> int:
    """Return decimals that keep three significant digits, at most four."""
    if value == 0 or not math.isfinite(value):
        return 0
    return min(4, max(0, 2 - math.floor(math.log10(abs(value)))))
