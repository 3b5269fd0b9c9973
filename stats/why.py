"""Why a number is not defined: one code per cause, so that arrays can carry it and people can read it."""

from __future__ import annotations

from enum import IntEnum


class Why(IntEnum):
    """A cause; 0 means that every number is there. Arrays hold the value, people read ``text``.

    >>> Why.ZERO_VARIANCE.code, Why.ZERO_VARIANCE.text
    ('zero_variance', 'no variation: every unit of both variants has the same value within its variant')
    """

    DEFINED = 0
    NO_UNITS = 1
    TOO_FEW_UNITS = 2
    ZERO_VARIANCE = 3
    NO_OUTCOMES = 4
    ALL_OUTCOMES = 5
    ZERO_DENOMINATOR = 6
    BASELINE_NEAR_ZERO = 7
    BASELINE_NEGATIVE = 8
    TOO_FEW_EXPECTED = 9
    NO_WEIGHT = 10
    UNPLANNED_UNITS = 11

    @property
    def code(self) -> str:
        """The stable name that translations and JSON use."""
        return self.name.lower()

    @property
    def text(self) -> str | None:
        """One English line, or ``None`` when nothing is missing."""
        return _TEXT[self]


_TEXT: dict[Why, str | None] = {
    Why.DEFINED: None,
    Why.NO_UNITS: "no units in at least one of the variants",
    Why.TOO_FEW_UNITS: "too few units: 2 needed in each variant",
    Why.ZERO_VARIANCE: "no variation: every unit of both variants has the same value within its variant",
    Why.NO_OUTCOMES: "no outcomes in either variant yet",
    Why.ALL_OUTCOMES: "every unit of both variants has the outcome: no variation",
    Why.ZERO_DENOMINATOR: "the denominator of the ratio sums to zero in at least one of the variants",
    Why.BASELINE_NEAR_ZERO: "relative change is not defined: control's mean cannot be told from zero",
    Why.BASELINE_NEGATIVE: "relative change is not defined: control's mean is negative",
    Why.TOO_FEW_EXPECTED: "too few units: 5 expected in each variant needed",
    Why.NO_WEIGHT: "fewer than two variants have a weight: nothing to compare",
    Why.UNPLANNED_UNITS: "units in a variant whose weight is zero",
}
