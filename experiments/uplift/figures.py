"""How a figure a unit reads: money, or the outcome itself where nothing has a price."""

from __future__ import annotations

from experiments.report import figures
from experiments.uplift.document import Recommendation


def amount(value: float | None, currency: str | None, lang: str, *, binary: bool, sign: bool = False) -> str:
    """Return money a unit with enough decimals; without prices points of a share, or a number.

    >>> amount(0.0034, "CNY", "en", binary=True), amount(0.0712, None, "en", binary=True, sign=True)
    ('¥0.0034', '+7.12 pp')
    """
    if value is None:
        return "–"
    write = figures.signed if sign else figures.plain
    if currency is None:
        if binary:
            return write(100 * value, 2) + figures.points(lang)
        return write(value, figures.significant(value, 3))
    if value and abs(value) < 0.01:
        symbol = figures.money(0.0, currency).removesuffix("0.00")
        text = write(value, 4)
        return text[0] + symbol + text[1:] if text[0] in "+" + figures.MINUS else symbol + text
    return figures.money(value, currency, sign=sign, lang=lang)


def per_unit(document: Recommendation, value: float | None, lang: str, *, sign: bool = False) -> str:
    """Return a figure of a document."""
    binary = all(arm.mean is None or 0 <= arm.mean <= 1 for arm in document.arms)
    return amount(value, document.currency, lang, binary=binary, sign=sign)
