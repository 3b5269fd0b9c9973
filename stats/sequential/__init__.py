"""Looking early: bands valid at every look, and group-sequential tests of a planned sample."""

from stats.sequential.after_stopping import Stopped, StoppedValue, after_stopping
from stats.sequential.boundaries import bounds
from stats.sequential.crossing import Crossing, crossing
from stats.sequential.futility import Futility, futility_bounds
from stats.sequential.group_sequential import (
    Design,
    design,
    drift_for_power,
    end_width,
    expected_information,
    power,
)
from stats.sequential.mixture import Band, mixture_band, rho2, tau2
from stats.sequential.monitoring import Monitored, MonitoredValue, monitor
from stats.sequential.p_values import sequential_p
from stats.sequential.peeking import peeking_risk, peeking_warning
from stats.sequential.spending import Spending

__all__ = [
    "Band",
    "Crossing",
    "Design",
    "Futility",
    "Monitored",
    "MonitoredValue",
    "Spending",
    "Stopped",
    "StoppedValue",
    "after_stopping",
    "bounds",
    "crossing",
    "design",
    "drift_for_power",
    "end_width",
    "expected_information",
    "futility_bounds",
    "mixture_band",
    "monitor",
    "peeking_risk",
    "peeking_warning",
    "power",
    "rho2",
    "sequential_p",
    "tau2",
]
