"""The effect on those whom the offer reached (CACE), beside the effect on all who were meant to get it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.measure.cells import Cells
from experiments.measure.reached import REACHED
from experiments.report.document import Estimate, Reached
from experiments.report.estimates import MetricSpec
from experiments.report.whys import NOT_FOR_THIS_KIND
from stats.arrays import number
from stats.compliance import effect_on_reached
from stats.effects.result import EffectValue
from stats.samples import means

NOTHING = Estimate(estimate=None, ci_low=None, ci_high=None, ci_low_adjusted=None, ci_high_adjusted=None)


def reached_of(specs: Sequence[MetricSpec], cells: Cells, alpha: float, *, reached: str = REACHED) -> list[Reached]:
    """Return, for each metric and variant, the share that was reached and the effect per unit reached.

    Args:
        specs: the metrics; for ratios, quantiles and times to an event there is a reason in place of an effect.
        cells: of each metric's columns with the column ``reached``, by variant, control first.
        alpha: of the intervals; exploratory, so not adjusted.
        reached: column of 1 where the offer reached the unit.
    """
    return [row for spec in specs for row in _rows(spec, cells, alpha, reached)]


def _rows(spec: MetricSpec, cells: Cells, alpha: float, reached: str) -> list[Reached]:
    moments = cells.totals[spec.name]
    shares = means(moments, reached).mean
    defined = spec.denominator is None and spec.kind not in ("quantile", "time_to_event")
    found: Sequence[EffectValue | None] = [None] * (len(cells.variants) - 1)
    if defined:
        covariates = [c for c in spec.covariates if isinstance(c, str)]
        effect = effect_on_reached(moments, spec.value, reached, 0, alpha, covariates=covariates)
        found = list(effect.values())
    return [
        Reached(
            metric=spec.name,
            variant=variant,
            reached=number(shares[place]),
            reached_control=number(shares[0]),
            effect=NOTHING if value is None else plain_estimate(value),
            why=NOT_FOR_THIS_KIND if value is None else value.why,
        )
        for place, (variant, value) in enumerate(zip(cells.variants[1:], found, strict=True), start=1)
    ]


def plain_estimate(value: EffectValue) -> Estimate:
    """Return an effect without an adjusted interval; one that cannot be computed has its reason."""
    hidden = value.ci_low is None or value.ci_high is None or not np.isfinite([value.ci_low, value.ci_high]).all()
    return Estimate(
        estimate=value.estimate,
        ci_low=None if hidden else value.ci_low,
        ci_high=None if hidden else value.ci_high,
        ci_low_adjusted=None,
        ci_high_adjusted=None,
        why=value.why,
    )
