"""What is asked of the programme's return, and whether there is what it names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from experiments.definitions import Holdout, Metric
from experiments.errors import InputError, unknown_name
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository


@dataclass(frozen=True)
class ProgrammeOptions:
    """What is asked.

    Attributes:
        holdout: key; ``None``: every one.
        metric: key of a profit metric; ``None``: the only one there is.
        days: after a member's first decision; ``None``: until now.
        fixed_cost: of the programme over the period (staff, platform), in major units.
        difference: profit a member that a holdout is to be sized for; ``None``: the estimated one.
        alpha: 1 − confidence.
    """

    holdout: str | None = None
    metric: str | None = None
    days: int | None = None
    fixed_cost: float = 0.0
    difference: float | None = None
    alpha: float = 0.05


def check_names(repository: Repository, options: ProgrammeOptions) -> None:
    """Check what a question names before anything is computed.

    Raises:
        InputError: for an unknown holdout or metric, or when the metric must be named.
    """
    repository.project()
    metric_of(repository, options.metric)
    holdouts_of(repository, options.holdout)


def metric_of(repository: Repository, key: str | None) -> Metric:
    """Return the profit metric that counts.

    Raises:
        InputError: when it is not there, or must be named.
    """
    known = [head.definition for (kind, _), head in repository.heads().items() if kind == "metric"]
    profits = {m.key: m for m in known if isinstance(m, Metric) and m.type == "profit"}
    if key is None:
        if len(profits) != 1:
            listed = ", ".join(sorted(profits)) or "none; define one (type: profit)"
            raise InputError(f"name the profit metric to count by: there are {listed}")
        return next(iter(profits.values()))
    if key not in profits:
        raise unknown_name("profit metric", key, sorted(profits), "in this project")
    return profits[key]


def usual_metric(repository: Repository) -> str | None:
    """Return the profit metric that most experiments under a holdout measure; ``None`` where there is none.

    Of several the first by key: each counts all orders of its own window, and ``days`` takes that window's place.
    """
    heads = repository.heads()
    profits = [
        h.definition.key for h in heads.values() if isinstance(h.definition, Metric) and h.definition.type == "profit"
    ]
    used = Counter(
        key
        for record in repository.experiments()
        if record.pinned is not None and record.pinned.holdouts
        for key in _measured(record)
    )
    return min(sorted(profits), key=lambda key: -used[key], default=None)


def _measured(record: ExperimentRecord) -> tuple[str, ...]:
    return record.definition.metrics.keys()


def holdouts_of(repository: Repository, key: str | None) -> list[Holdout]:
    """Return the holdouts that are asked for, by key.

    Raises:
        InputError: when there is no such one.
    """
    heads = repository.heads()
    known = {head.definition.key: head.definition for head in heads.values() if isinstance(head.definition, Holdout)}
    if key is not None and key not in known:
        raise unknown_name("holdout", key, sorted(known), "in this project")
    return [known[name] for name in sorted(known) if key in (None, name)]
