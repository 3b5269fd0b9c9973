"""What finished experiments say about how large effects are: the prior of a Bayesian report that asks for history."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from experiments.definitions import Experiment
from experiments.report import archive
from experiments.report.document import MetricResult, Report
from experiments.report.inputs import Prior
from experiments.store import Store
from stats.bayes import prior_from_history
from stats.bayes.prior import DEFAULT_RELATIVE_SD

FINISHED = frozenset({"ended", "decided"})


def prior_of(store: Store, definition: Experiment) -> Prior:
    """Return what is believed about an experiment's effects before its data.

    Args:
        store: with the kept reports of other experiments.
        definition: which may declare a prior, or ask to learn it from the first primary metric's past effects.
    """
    declared = definition.analysis.prior
    if declared is None:
        return Prior(DEFAULT_RELATIVE_SD)
    if declared.source == "declared" or definition.analysis.inference != "bayesian":
        return Prior(declared.relative_sd)
    metric = definition.metrics.primary[0]
    past = past_effects(archive.latest_of_others(store, definition.key), metric)
    found = prior_from_history([e for e, _ in past], [s for _, s in past], declared=declared.relative_sd)
    if found.learnt:
        return Prior(found.relative_sd, experiments=found.experiments)
    return Prior(declared.relative_sd, too_few=found.experiments)


def past_effects(reports: Iterable[Report], metric: str) -> list[tuple[float, float]]:
    """Return the relative effects on a metric in finished experiments, with their standard errors.

    They are taken from the variants' own means, so that reports of every kind of inference count alike: no interval
    that was widened for looking early, no estimate that a prior has shrunk already.

    Args:
        reports: the latest of each experiment.
        metric: its key.
    """
    found = []
    for report in reports:
        if report.plan.state in FINISHED and report.srm.status != "fail":
            found += [pair for result in report.metrics if result.name == metric for pair in _effects(result)]
    return found


def _effects(result: MetricResult) -> list[tuple[float, float]]:
    own = {v.variant: (v.mean, v.std_error) for v in result.variants}
    base, base_error = own[result.control]
    if not base or base < 0 or base_error is None:
        return []
    pairs = []
    for variant, (mean, error) in own.items():
        if variant != result.control and mean is not None and error is not None:
            ratio = mean / base
            pairs.append((ratio - 1, float(np.hypot(error, ratio * base_error)) / base))
    return pairs
