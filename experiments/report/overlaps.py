"""Experiments that share units with this one: does its effect depend on what the other one gave them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.measure.overlaps import Overlap
from experiments.report.audience import Names
from experiments.report.document import Interaction
from experiments.report.estimates import MetricSpec, measure_metric
from stats.arrays import number
from stats.interactions import equal_effects
from stats.multiplicity import holm


def interactions_of(
    specs: Sequence[MetricSpec],
    overlaps: Sequence[Overlap],
    names: Names = Names(),  # noqa: B008 - frozen
) -> list[Interaction]:
    """Test, for each metric and variant, whether the effect is the same whatever the other experiment's variant.

    Args:
        specs: the metrics, all from moments.
        overlaps: the other experiments, with this one's moments within each of their variants.
        names: what the other experiments are called.
    """
    found = []
    for overlap in overlaps:
        for spec in specs:
            measured = measure_metric(spec, overlap.cells.by_stratum(spec.name), 0)
            effect = measured.effect(0.05)
            error = np.where(effect.why == 0, effect.std_error, np.nan)
            for j, variant in enumerate(overlap.cells.variants[1:]):
                test = equal_effects(effect.estimate[j], error[j]).value()
                found.append((overlap, spec.name, variant, test))
    adjusted = holm([np.nan if test.p_value is None else test.p_value for *_, test in found])
    return [
        Interaction(
            kind="experiment",
            subject=overlap.experiment,
            label=names.experiment(overlap.experiment),
            metric=metric,
            variant=variant,
            statistic=test.statistic,
            df=test.df,
            p_value=test.p_value,
            p_value_adjusted=number(p_value),
            units=overlap.units,
            why=test.why,
        )
        for (overlap, metric, variant, test), p_value in zip(found, adjusted, strict=True)
    ]
