"""Planning: how many units, what can be seen with those there are, and with which power.

One vocabulary serves every kind of comparison. A ``Planned`` comparison (``Means``, ``Proportions``,
``NonInferiority``, …) says how the metric varies and how units are shared out; ``power``, ``sample_size`` and ``mde``
ask it. ``Clustered``, ``Waves`` and ``Looks`` wrap one. Arguments are arrays and broadcast; ``n`` is always the units
of *control*.
"""

from stats.power.assurance import assurance
from stats.power.break_even import break_even
from stats.power.clusters import Clustered, design_effect
from stats.power.crossing import Crossing
from stats.power.duration import Duration, duration, units_by_week
from stats.power.exact import ExactProportions
from stats.power.families import level, power_each
from stats.power.looks import Looks, always_valid_bounds
from stats.power.means import Means, quantile_sd, ratio_sd
from stats.power.non_inferiority import (
    Equivalence,
    NonInferiority,
    NonInferiorityOfProportions,
    smallest_margin,
)
from stats.power.planned import Planned, Statistic
from stats.power.proportions import Proportions
from stats.power.solving import mde, power, sample_size
from stats.power.waves import Waves

__all__ = [
    "Clustered",
    "Crossing",
    "Duration",
    "Equivalence",
    "ExactProportions",
    "Looks",
    "Means",
    "NonInferiority",
    "NonInferiorityOfProportions",
    "Planned",
    "Proportions",
    "Statistic",
    "Waves",
    "always_valid_bounds",
    "assurance",
    "break_even",
    "design_effect",
    "duration",
    "level",
    "mde",
    "power",
    "power_each",
    "quantile_sd",
    "ratio_sd",
    "sample_size",
    "smallest_margin",
    "units_by_week",
]
