"""Several comparisons read together: adjusted p-values, and the intervals that belong to them.

``adjust`` is the one door for all methods; each has its own module.
"""

from stats.multiplicity.adjust import METHODS, Adjustment, Method, adjust
from stats.multiplicity.dunnett import (
    dunnett,
    dunnett_critical,
    dunnett_intervals,
    dunnett_step_down,
    loadings,
    product_loadings,
)
from stats.multiplicity.false_discovery import benjamini_hochberg, coverage_alpha
from stats.multiplicity.hochberg import hochberg
from stats.multiplicity.step_down import holm, holm_intervals, interval_alpha, shorten

__all__ = [
    "METHODS",
    "Adjustment",
    "Method",
    "adjust",
    "benjamini_hochberg",
    "coverage_alpha",
    "dunnett",
    "dunnett_critical",
    "dunnett_intervals",
    "dunnett_step_down",
    "hochberg",
    "holm",
    "holm_intervals",
    "interval_alpha",
    "loadings",
    "product_loadings",
    "shorten",
]
