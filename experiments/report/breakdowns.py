"""Effects within the levels of one attribute: exploratory, adjusted over all of them together."""

from __future__ import annotations

import numpy as np

from experiments.measure.cells import Cells
from experiments.report.audience import Names
from experiments.report.document import Breakdown, BreakdownRow, Estimate
from experiments.report.estimates import MetricSpec, holm_family, measure_metric, missing
from stats.arrays import number
from stats.why import Why


def breakdown_of(
    spec: MetricSpec,
    cells: Cells,
    attribute: str,
    alpha: float,
    names: Names | None = None,
    *,
    n_star: float | None = None,
) -> Breakdown:
    """Return one metric's effects within each stratum of ``cells``; levels × variants are one Holm family.

    Args:
        spec: the metric.
        cells: by variant and stratum.
        attribute: whose levels the strata are.
        alpha: of the family.
        names: of attributes and levels.
        n_star: for always-valid inference, see ``Measured``, of the whole experiment; every level gets its share of it.
    """
    names = names or Names()
    moments = cells.by_stratum(spec.name)
    units = moments.n.sum(axis=0)
    shares = None if n_star is None else n_star * np.maximum(units, 1) / max(int(units.sum()), 1)
    measured = measure_metric(spec, moments, 0, n_star=shares)
    effect, change = measured.effect(alpha), measured.relative(alpha)
    family = holm_family([measured], alpha)
    rows = []
    for s, level in enumerate(cells.strata):
        for j, place in enumerate(measured.variants):
            rows.append(
                BreakdownRow(
                    level=level,
                    label=names.level(attribute, level),
                    variant=cells.variants[place],
                    n_control=int(measured.sample.n[0, s]),
                    n=int(measured.sample.n[place, s]),
                    effect=Estimate(
                        estimate=number(effect.estimate[j, s]),
                        ci_low=number(effect.ci_low[j, s]),
                        ci_high=number(effect.ci_high[j, s]),
                        ci_low_adjusted=number(family.effect_low[0, j, s]),
                        ci_high_adjusted=number(family.effect_high[0, j, s]),
                        why=Why(int(effect.why[j, s])).text,
                    ),
                    relative=Estimate(
                        estimate=number(change.estimate[j, s]),
                        ci_low=number(change.ci_low[j, s]),
                        ci_high=number(change.ci_high[j, s]),
                        ci_low_adjusted=number(family.relative_low[0, j, s]),
                        ci_high_adjusted=number(family.relative_high[0, j, s]),
                        why=missing(int(change.why[j, s]), family.relative_low[0, j, s], family.relative_high[0, j, s]),
                    ),
                    p_value=number(effect.p_value[j, s]),
                    p_value_adjusted=number(np.asarray(family.p_adjusted)[0, j, s]),
                    why=Why(int(effect.why[j, s])).text,
                )
            )
    return Breakdown(attribute=attribute, label=names.attribute(attribute), metric=spec.name, rows=rows)
