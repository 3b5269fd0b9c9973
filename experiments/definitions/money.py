"""Money: decimal text at every edge, whole minor units inside, by the ISO 4217 exponent of the currency."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")

# ISO 4217 (list one, 2024): every active currency has two decimals but these.
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS = "CLF UYW"
_ACTIVE = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
    IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
    SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYI UYU UYW
    UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_ACTIVE.split())
_EXPONENTS = {
    **dict.fromkeys(_NO_DECIMALS.split(), 0),
    **dict.fromkeys(_THREE_DECIMALS.split(), 3),
    **dict.fromkeys(_FOUR_DECIMALS.split(), 4),
}


class MoneyError(ValueError):
    """An amount that cannot be read; the message says why."""


def exponent(currency: str) -> int:
    """Return how many decimals the currency's minor unit has.

    >>> exponent("CNY"), exponent("JPY"), exponent("KWD")
    (2, 0, 3)
    """
    if currency not in CURRENCIES:
        raise MoneyError(f'"{currency}" is not an ISO 4217 currency code; write three capital letters such as CNY')
    return _EXPONENTS.get(currency, 2)


def amount(value: object) -> str:
    """Return the canonical text of an amount in major units, as people write it.

    Raises:
        MoneyError: for floating-point numbers (their decimals are not exact), signs, exponents, separators.

    >>> amount("20.50"), amount(20), amount("0")
    ('20.50', '20', '0')
    >>> amount(20.5)
    Traceback (most recent call last):
    experiments.definitions.money.MoneyError: write the amount in quotes, as "20.5", so that no decimal is lost
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise MoneyError('an amount is decimal text such as "20.00"')
    if isinstance(value, float):
        raise MoneyError(f'write the amount in quotes, as "{value!r}", so that no decimal is lost')
    text = str(value)
    if not _DECIMAL.fullmatch(text):
        raise MoneyError('an amount is decimal text such as "20.00": digits and one point, at most 6 decimals')
    return text


def to_minor(text: str, currency: str) -> int:
    """Return an amount as whole minor units.

    Raises:
        MoneyError: when the amount has more decimals than the currency.

    >>> to_minor("20.00", "CNY"), to_minor("20", "JPY"), to_minor("1.234", "KWD")
    (2000, 20, 1234)
    >>> to_minor("0.055", "CNY")
    Traceback (most recent call last):
    experiments.definitions.money.MoneyError: "0.055" has more decimals than CNY, which has 2; round it
    """
    exact = to_minor_exact(text, currency)
    if exact.denominator != 1:
        places = exponent(currency)
        raise MoneyError(f'"{text}" has more decimals than {currency}, which has {places}; round it')
    return exact.numerator


def to_minor_exact(text: str, currency: str) -> Fraction:
    """Return an amount in minor units without rounding: one text message costs less than one fen.

    >>> to_minor_exact("0.045", "CNY")
    Fraction(9, 2)
    """
    return Fraction(amount(text)) * int(10 ** exponent(currency))


def from_minor(value_minor: int, currency: str) -> str:
    """Return minor units as decimal text in major units.

    >>> from_minor(2050, "CNY"), from_minor(-5, "CNY"), from_minor(20, "JPY")
    ('20.50', '-0.05', '20')
    """
    return str(Decimal(value_minor).scaleb(-exponent(currency)))
