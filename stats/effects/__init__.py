"""Effects of variants against control: means, proportions, ratios, relative effects, non-inferiority."""

from stats.effects.means import difference_of_means, difference_of_ratios
from stats.effects.non_inferiority import (
    NonInferiority,
    equivalence,
    non_inferiority,
    non_inferiority_of_proportions,
    read_guardrail,
)
from stats.effects.proportions import difference_of_proportions, proportions, ratio_of_proportions
from stats.effects.relative import relative
from stats.effects.result import Effect, EffectValue

__all__ = [
    "Effect",
    "EffectValue",
    "NonInferiority",
    "difference_of_means",
    "difference_of_proportions",
    "difference_of_ratios",
    "equivalence",
    "non_inferiority",
    "non_inferiority_of_proportions",
    "proportions",
    "ratio_of_proportions",
    "read_guardrail",
    "relative",
]
