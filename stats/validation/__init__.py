"""A/A tests and power on somebody's own units: which methods keep their promise on these data?"""

from stats.validation.engine import batches, method_names, plan, results, run, simulate
from stats.validation.sums import Prepared, prepare
from stats.validation.tally import Counts, MethodResult, Share, Tally, add, share
from stats.validation.units import Trial, UnitMetric, Units

__all__ = [
    "Counts",
    "MethodResult",
    "Prepared",
    "Share",
    "Tally",
    "Trial",
    "UnitMetric",
    "Units",
    "add",
    "batches",
    "method_names",
    "plan",
    "prepare",
    "results",
    "run",
    "share",
    "simulate",
]
