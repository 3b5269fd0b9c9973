"""Numbers and times as people read them in sentences and in the terminal: "−" (U+2212) for minus, 万 in Chinese."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from experiments.report.document import Unit

SYMBOLS = {"CNY": "¥", "JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "HKD": "HK$", "INR": "₹", "KRW": "₩"}
MINUS = "−"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def plain(value: float, decimals: int) -> str:
    """Return a number with thousands separators and a real minus sign.

    >>> plain(-1234.5, 1)
    '−1,234.5'
    """
    text = f"{abs(value):,.{decimals}f}"
    negative = value < 0 and text.strip("0.,") != ""
    return (MINUS if negative else "") + text


def signed(value: float, decimals: int) -> str:
    """Return a change with its sign; what rounds to zero has none.

    >>> signed(0.5, 1), signed(-0.04, 1)
    ('+0.5', '0.0')
    """
    text = plain(value, decimals)
    return text if text.startswith(MINUS) or text.strip("0.,") == "" else "+" + text


def significant(value: float, digits: int = 4) -> int:
    """Return how many decimals show ``digits`` significant digits of a value, 0 to 6."""
    if value == 0:
        return 2
    size = len(str(int(abs(value)))) if abs(value) >= 1 else -_leading_zeros(abs(value))
    return max(0, min(6, digits - size))


def _leading_zeros(value: float) -> int:
    zeros = 0
    while value < 0.1 and zeros < 6:
        value *= 10
        zeros += 1
    return zeros


def share_decimals(value: float) -> int:
    """Return the decimals of a percentage: two below 10 %, so that rare outcomes show."""
    return 2 if abs(value) < 0.1 else 1


def amount(value: float | None, unit: Unit, currency: str | None = None, *, like: float | None = None) -> str:
    """Return a variant's value, with as many decimals as ``like`` (control's, so that a column reads alike).

    >>> amount(0.18276, "share"), amount(4.26, "money", "CNY"), amount(None, "number")
    ('18.3%', '¥4.26', '–')
    """
    if value is None:
        return "–"
    if unit == "share":
        return plain(100 * value, share_decimals(value if like is None else like)) + "%"
    if unit == "money":
        return money(value, currency)
    return plain(value, significant(value if like is None else like))


def money(value: float, currency: str | None, *, sign: bool = False, lang: str = "en") -> str:
    """Return an amount in major units; whole ones from 10,000 on, in 万 from 100,000 on in Chinese, in M in English.

    >>> money(-0.35, "CNY"), money(18811.2, "CNY", sign=True), money(461_000, "CNY", lang="zh-CN")
    ('−¥0.35', '+¥18,811', '¥46.1万')
    """
    size, suffix = _large(value, lang)
    decimals = (1 if abs(value) >= 10 * size else 2) if suffix else (0 if abs(value) >= 10_000 else 2)
    text = (signed if sign else plain)(value / size, decimals) + suffix
    symbol = SYMBOLS.get(currency or "", f"{currency} " if currency else "")
    if text[0] in "+" + MINUS:
        return text[0] + symbol + text[1:]
    return symbol + text


def whole_money(value: float, currency: str | None, lang: str = "en") -> str:
    """Return a total without a sign, without decimals unless it is large: nobody needs the cents of ten thousand.

    >>> whole_money(6279.5, "CNY"), whole_money(-1_840_000, "CNY")
    ('¥6,280', '¥1.84M')
    """
    if _large(value, lang)[1]:
        return money(abs(value), currency, lang=lang)
    return money(round(abs(value)), currency, lang=lang).removesuffix(".00")


def _large(value: float, lang: str) -> tuple[float, str]:
    """Return the unit in which a large amount is written, and its sign."""
    steps = ((1e8, 1e8, "亿"), (1e5, 1e4, "万")) if lang.startswith("zh") else ((1e9, 1e9, "B"), (1e6, 1e6, "M"))
    return next(((size, suffix) for start, size, suffix in steps if abs(value) >= start), (1.0, ""))


def change(
    value: float | None, unit: Unit, currency: str | None = None, *, like: float | None = None, lang: str = "en"
) -> str:
    """Return an absolute effect: percentage points for shares, money with its sign.

    Args:
        value: the effect.
        unit: of the metric.
        currency: ISO 4217 code, for money.
        like: a figure whose decimals are used, so that an interval shows as many as its estimate.
        lang: of the sentence around it.
    """
    if value is None:
        return "–"
    if unit == "share":
        return signed(100 * value, share_decimals(like if like is not None else value)) + points(lang)
    if unit == "money":
        return money(value, currency, sign=True, lang=lang)
    return signed(value, significant(like if like is not None else value, 3))


def points(lang: str) -> str:
    """Return the unit of a difference between shares."""
    return " 个百分点" if lang.startswith("zh") else " pp"


def relative(value: float | None) -> str:
    """Return a relative effect.

    >>> relative(0.0903), relative(-0.05), relative(None)
    ('+9.0%', '−5.0%', '–')
    """
    return "–" if value is None else signed(100 * value, 1 if abs(value) < 10 else 0) + "%"


def percent(value: float | None) -> str:
    """Return a return on what was spent, in whole per cent.

    >>> percent(0.9038), percent(-0.4808), percent(None)
    ('+90%', '−48%', '–')
    """
    return "–" if value is None else signed(100 * value, 0) + "%"


def p_value(value: float | None) -> str:
    """Return a p-value; small ones as a bound.

    >>> p_value(0.0001), p_value(0.0412), p_value(0.51), p_value(0.999)
    ('<0.001', '0.041', '0.51', '>0.99')
    """
    if value is None:
        return "–"
    if value < 0.001:
        return "<0.001"
    if value > 0.99:
        return ">0.99"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def chance(value: float | None) -> str:
    """Return a probability as a percentage; never 0 nor 100.

    >>> chance(0.9731), chance(0.99999), chance(None)
    ('97.3%', '>99.9%', '–')
    """
    if value is None:
        return "–"
    if value > 0.999:
        return ">99.9%"
    return "<0.1%" if value < 0.001 else f"{100 * value:.1f}%"


def loss(value: float | None, unit: Unit, currency: str | None = None, *, lang: str = "en") -> str:
    """Return an expected loss: what is lost in the metric's unit, without a sign; a bound where it rounds to nothing.

    >>> loss(0.0821, "money", "CNY"), loss(0.0004, "money", "CNY"), loss(0.00001, "share")
    ('¥0.08', '<¥0.01', '<0.01 pp')
    """
    if value is None:
        return "–"
    least = {"money": 0.01, "share": 0.0001}.get(unit, 0.01)
    if value < least / 2:
        return "<" + change(least, unit, currency, lang=lang).lstrip("+")
    return change(value, unit, currency, lang=lang).lstrip("+")


def moment(at: str, time_zone: str, lang: str = "en") -> str:
    """Return a time in the project's zone, which is named, to the minute.

    >>> moment("2026-11-21T21:53:49Z", "Asia/Shanghai"), moment("2026-11-21T21:53:49Z", "UTC", "zh-CN")
    ('22 Nov 2026 05:53 CST', '2026年11月21日 21:53 UTC')
    """
    found = datetime.fromisoformat(at)
    local = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(ZoneInfo(time_zone))
    zone = local.tzname() or time_zone
    zone = zone if any(c.isalpha() for c in zone) else f"UTC{zone}"
    if lang.startswith("zh"):
        return f"{local.year}年{local.month}月{local.day}日 {local:%H:%M} {zone}"
    return f"{local.day} {MONTHS[local.month - 1]} {local.year} {local:%H:%M} {zone}"
