"""Effects within the levels of one attribute: exploratory, adjusted over all of them together.

Beside each level's own effect stands the shrunken one, pulled towards that of all levels by as much as chance explains
their spread, and for each variant one test of whether the levels' effects differ at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from experiments.definitions.analysis import Adjustment
from experiments.measure.cells import Cells
from experiments.report.audience import Names
from experiments.report.document import Breakdown, BreakdownRow, Estimate, Interaction
from experiments.report.estimates import missing
from experiments.report.families import family_of
from experiments.report.inference import AlwaysValid, Inference
from experiments.report.looks import Looks, latest
from experiments.report.measured import FIXED, Measured, MetricSpec, measure_metric
from stats.arrays import number
from stats.interactions import equal_effects
from stats.multiplicity import Method, holm
from stats.shrinkage import Shrunken, shrink
from stats.why import Why


def breakdown_of(
    spec: MetricSpec,
    cells: Cells,
    attribute: str,
    alpha: float,
    names: Names | None = None,
    *,
    inference: Inference = FIXED,
    looks: Looks | None = None,
    multiplicity: Method = "holm",
    adjustment: Adjustment = "cuped",
) -> Breakdown:
    """Return one metric's effects within each stratum of ``cells``; levels × variants are one family.

    Args:
        spec: the metric.
        cells: by variant and stratum, and by day of entry where ``looks`` are given.
        attribute: whose levels the strata are.
        alpha: of the family.
        names: of attributes and levels.
        inference: of the whole experiment; every level gets its share of the sample it is made for.
        looks: group sequential: when the test was looked at. Levels are taken to fill as the whole test does.
        multiplicity: how the family is adjusted; Dunnett's method, which is one of variants alone, gives way to Holm's.
        adjustment: what covariates do.
    """
    names = names or Names()
    measured = _measured(spec, cells, inference, looks, adjustment)
    effect, change = measured.effect(alpha), measured.relative(alpha)
    family = family_of([measured], alpha, "holm" if multiplicity == "dunnett" else multiplicity)
    plain = measured.contrast()
    shrunken = shrink(plain.estimate, plain.std_error, axis=-1, alpha=alpha)
    rows = []
    for s, level in enumerate(cells.strata):
        for j, place in enumerate(measured.variants):
            rows.append(
                BreakdownRow(
                    level=level,
                    label=names.level(attribute, level),
                    variant=cells.variants[place],
                    n_control=int(measured.sample.n[measured.control, s]),
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
                    # A posterior is shrunk already.
                    shrunken=None if inference.kind == "bayesian" else _shrunken(shrunken, j, s),
                )
            )
    return Breakdown(
        attribute=attribute,
        label=names.attribute(attribute),
        metric=spec.name,
        rows=rows,
        interactions=[_interaction(measured, j, attribute, cells.variants) for j in range(len(measured.variants))],
        spread={cells.variants[p]: number(shrunken.tau[j]) for j, p in enumerate(measured.variants)},
    )


def _measured(
    spec: MetricSpec, cells: Cells, inference: Inference, looks: Looks | None, adjustment: Adjustment
) -> Measured:
    if looks is not None:
        history = looks.history(cells.groups[spec.name])
        return measure_metric(spec, latest(history), 0, inference=inference, looks=history, adjustment=adjustment)
    moments = cells.by_stratum(spec.name)
    if isinstance(inference, AlwaysValid):
        units = moments.n.sum(axis=0)
        shares = np.asarray(inference.n_star) * np.maximum(units, 1) / max(int(units.sum()), 1)
        inference = replace(inference, n_star=shares)
    return measure_metric(spec, moments, 0, inference=inference, adjustment=adjustment)


def _shrunken(found: Shrunken, j: int, s: int) -> Estimate:
    return Estimate(
        estimate=number(found.estimate[j, s]),
        ci_low=number(found.ci_low[j, s]),
        ci_high=number(found.ci_high[j, s]),
        ci_low_adjusted=None,
        ci_high_adjusted=None,
        why=Why(int(found.why[j, s])).text,
    )


def _interaction(measured: Measured, j: int, attribute: str, variants: Sequence[str]) -> Interaction:
    plain = measured.contrast()
    found = equal_effects(plain.estimate[j], plain.std_error[j]).value()
    # A Bayesian report has no p-values: there the spread of the levels' effects speaks for itself.
    bayesian = measured.inference.kind == "bayesian"
    return Interaction(
        kind="attribute",
        subject=attribute,
        metric=measured.spec.name,
        variant=variants[measured.variants[j]],
        statistic=found.statistic,
        df=found.df,
        p_value=None if bayesian else found.p_value,
        p_value_adjusted=None,
        why=found.why,
    )


def adjust_interactions(breakdowns: Sequence[Breakdown]) -> list[Breakdown]:
    """Return the breakdowns with their interaction tests adjusted over all of them (Holm)."""
    tests = [(b, i) for b, found in enumerate(breakdowns) for i in range(len(found.interactions))]
    if not tests:
        return list(breakdowns)
    adjusted = holm(np.array([breakdowns[b].interactions[i].p_value for b, i in tests], dtype=np.float64))
    new = [list(found.interactions) for found in breakdowns]
    for (b, i), p_value in zip(tests, adjusted, strict=True):
        new[b][i] = msgspec.structs.replace(new[b][i], p_value_adjusted=number(p_value))
    return [msgspec.structs.replace(b, interactions=i) for b, i in zip(breakdowns, new, strict=True)]
