"""Effects of variants against control: means, proportions, counts, ratios, totals, relative ones, non-inferiority."""

from stats.effects.counts import dispersion, exact_rate_ratio, rate_ratio
from stats.effects.means import difference_of_means, difference_of_ratios
from stats.effects.non_inferiority import (
    NonInferiority,
    equivalence,
    non_inferiority,
    non_inferiority_of_proportions,
    read_guardrail,
)
from stats.effects.proportion_intervals import agresti_caffo, newcombe, wilson
from stats.effects.proportions import difference_of_proportions, proportions, ratio_of_proportions
from stats.effects.relative import relative
from stats.effects.result import Effect, EffectValue
from stats.effects.totals import profit_per_unit, total

__all__ = [
    "Effect",
    "EffectValue",
    "NonInferiority",
    "agresti_caffo",
    "difference_of_means",
    "difference_of_proportions",
    "difference_of_ratios",
    "dispersion",
    "equivalence",
    "exact_rate_ratio",
    "newcombe",
    "non_inferiority",
    "non_inferiority_of_proportions",
    "profit_per_unit",
    "proportions",
    "rate_ratio",
    "ratio_of_proportions",
    "read_guardrail",
    "relative",
    "total",
    "wilson",
]
