"""Looking early: bands valid at every look, and group-sequential tests of a planned sample."""

from stats.sequential.boundaries import bounds
from stats.sequential.mixture import Band, mixture_band, rho2, tau2
from stats.sequential.monitoring import Monitored, MonitoredValue, monitor
from stats.sequential.p_values import sequential_p
from stats.sequential.spending import Spending

__all__ = [
    "Band",
    "Monitored",
    "MonitoredValue",
    "Spending",
    "bounds",
    "mixture_band",
    "monitor",
    "rho2",
    "sequential_p",
    "tau2",
]
