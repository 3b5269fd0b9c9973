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
    BEYOND_THE_DATA = 12
    TIED_QUANTILE = 13
    HORIZON_NOT_REACHED = 14
    TOO_FEW_FOR_COVARIATES = 20
    TOO_FEW_CLUSTERS = 21
    REACHED_NEAR_ZERO = 22
    NOT_SEPARABLE = 23
    TOO_FEW_ASSIGNMENTS = 24
    NO_ESTIMATE = 40
    NO_PRIOR = 41
    TOO_FEW_EXPERIMENTS = 42
    TOO_FEW_GROUPS = 43
    NO_VARIANCE = 60
    NO_OVERLAP = 61
    NO_RELATIVE = 62
    NO_DECISIONS = 80
    TOO_FEW_DECISIONS = 81
    SAME_SCORES = 82
    NO_SUPPORT = 83
    NEVER_ELIGIBLE = 84
    NEVER_DRAWN = 85
    COST_NEAR_ZERO = 100
    NO_EXTRA_BUYERS = 101
    NO_REDEMPTIONS = 102
    NO_ORDERS = 103
    NO_EARLY_GAIN = 104

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
    Why.TOO_FEW_FOR_COVARIATES: "too few units in at least one of the variants for so many covariates",
    Why.TOO_FEW_CLUSTERS: "too few clusters: 2 needed in each variant",
    Why.REACHED_NEAR_ZERO: "the variants' shares of reached units cannot be told apart",
    Why.NOT_SEPARABLE: "this design cannot tell the term from others",
    Why.TOO_FEW_ASSIGNMENTS: "too few units: chance could have assigned them in one way only",
    Why.BEYOND_THE_DATA: "too few units for this quantile: its interval would reach beyond the values seen",
    Why.TIED_QUANTILE: "so many units share the value at this quantile that no interval can be given",
    Why.HORIZON_NOT_REACHED: "no unit of at least one of the variants has been followed to the end of the period yet",
    Why.NO_ESTIMATE: "there is no estimate to start from",
    Why.NO_PRIOR: "no prior: relative effects have no scale where the mean is zero",
    Why.TOO_FEW_EXPERIMENTS: "too few past experiments to learn a prior from",
    Why.TOO_FEW_GROUPS: "too few estimates: 2 needed",
    Why.NO_VARIANCE: "no variance is given, and it cannot be told from the mean",
    Why.NO_OVERLAP: "every unit of one variant is above every unit of the other: no interval can be given",
    Why.NO_RELATIVE: "relative change is not defined for this kind of metric",
    Why.NO_DECISIONS: "no decisions to value",
    Why.TOO_FEW_DECISIONS: "too few decisions: 2 of different units needed",
    Why.SAME_SCORES: "no variation: every decision has the same score",
    Why.NO_SUPPORT: "the policy would have made none of the logged decisions",
    Why.NEVER_ELIGIBLE: "nobody was eligible for this variant",
    Why.NEVER_DRAWN: "this variant was never drawn",
    Why.COST_NEAR_ZERO: "what the offer costs more than control cannot be told from zero",
    Why.NO_EXTRA_BUYERS: "extra buyers cannot be told from none",
    Why.NO_REDEMPTIONS: "too few redemptions to tell their share from zero",
    Why.NO_ORDERS: "no orders in at least one of the variants",
    Why.NO_EARLY_GAIN: "what was gained within the window cannot be told from zero",
}
