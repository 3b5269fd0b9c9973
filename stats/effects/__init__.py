"""Effects of variants against control: means, proportions, ratios, relative effects, non-inferiority."""

from stats.effects.means import difference_of_means, difference_of_ratios
from stats.effects.relative import relative
from stats.effects.result import Effect, EffectValue

__all__ = ["Effect", "EffectValue", "difference_of_means", "difference_of_ratios", "relative"]
