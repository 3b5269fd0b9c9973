"""An estimate of the statistics as the document has it."""

from __future__ import annotations

from experiments.programme.document import Figure
from stats.arrays import number
from stats.economics.figures import Figure as Estimated
from stats.why import Why


def figure(found: Estimated) -> Figure:
    """Return the estimate of the only variant."""
    why = Why(int(found.why[0]))
    ends = (number(found.estimate[0]), number(found.ci_low[0]), number(found.ci_high[0]))
    return Figure(estimate=ends[0], ci_low=ends[1], ci_high=ends[2], why=why.text)


def scaled(found: Figure, factor: float) -> Figure:
    """Return an estimate in another measure.

    >>> scaled(Figure(estimate=2.0, ci_low=None, ci_high=4.0), 0.5)
    Figure(estimate=1.0, ci_low=None, ci_high=2.0, why=None)
    """
    values = (found.estimate, found.ci_low, found.ci_high)
    estimate, low, high = (None if value is None else value * factor for value in values)
    return Figure(estimate=estimate, ci_low=low, ci_high=high, why=found.why)
