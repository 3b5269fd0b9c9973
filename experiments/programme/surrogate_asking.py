"""What is asked of the surrogate index, and whether the definitions bear it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from experiments.definitions import Metric
from experiments.errors import InputError, unknown_name
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository

SUITED = ("proportion", "count", "sum", "profit")
"""Types of metrics that a unit has one number of."""


@dataclass(frozen=True)
class SurrogateOptions:
    """What is asked.

    Attributes:
        experiment: whose effect is foretold.
        long: key of the metric whose effect is foretold.
        early: keys of the metrics it is foretold from; empty: every one that suits.
        early_days: of the early outcomes, after a unit's first decision.
        long_days: of the long one.
        alpha: 1 − confidence.
    """

    experiment: str
    long: str
    early: tuple[str, ...] = ()
    early_days: int = 14
    long_days: int = 90
    alpha: float = 0.05


def suited_metrics(repository: Repository) -> dict[str, Metric]:
    """Return the metrics that a unit has one number of from its first decision on, by key."""
    found = [head.definition for head in repository.heads().values()]
    suited = [m for m in found if isinstance(m, Metric) and m.type in SUITED and not m.window.start_days]
    return {metric.key: metric for metric in sorted(suited, key=lambda metric: metric.key)}


def check_asked(options: SurrogateOptions, metrics: Iterable[str], record: ExperimentRecord) -> None:
    """Check what can be known before anything is computed.

    Args:
        options: what is asked.
        metrics: keys of those that suit.
        record: the experiment whose effect is foretold.

    Raises:
        InputError: for days in the wrong order, a metric that does not suit, or an experiment that bears no index.
    """
    if options.early_days >= options.long_days:
        raise InputError(f"--early-days {options.early_days} must be below --long-days {options.long_days}")
    known = sorted(metrics)
    for key in (options.long, *options.early):
        if key not in known:
            raise unknown_name("metric", key, known, "that a unit has one number of")
    if why := unsuited(record):
        raise InputError(why)


def unsuited(record: ExperimentRecord) -> str | None:
    """Return why no effect of an experiment can be foretold, ``None`` where one can."""
    if record.definition.allocation is not None:
        return f"{record.key} learns as it goes: its variants cannot be compared by plain means"
    if record.pinned is None:
        return f"{record.key} has not run yet: there are no early outcomes to read"
    return None
