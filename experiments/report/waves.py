"""Repeated waves of one test: the effect in each, and pooled by random effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.measure.waves import MOST_WAVES, Waves
from experiments.report.document import Estimate, PooledWaves, Text, Wave
from experiments.report.estimates import MetricSpec, measure_metric
from experiments.report.reached import plain_estimate
from stats.arrays import number
from stats.random_effects import pool


def pooled_waves(specs: Sequence[MetricSpec], waves: Waves, alpha: float) -> list[PooledWaves]:
    """Return, for each metric and variant, the waves' effects and what they say together.

    Each wave is read at a fixed horizon, as a test of its own.

    Args:
        specs: the metrics, all from moments.
        waves: what was measured.
        alpha: of every interval.
    """
    return [row for spec in specs for row in _rows(spec, waves, alpha)]


def _rows(spec: MetricSpec, waves: Waves, alpha: float) -> list[PooledWaves]:
    cells = waves.cells
    place = {occasion: i for i, occasion in enumerate(cells.strata)}
    order = [place[o] for o in waves.occasions if o in place]
    moments = cells.by_stratum(spec.name)[:, order]
    measured = measure_metric(spec, moments, 0)
    effect = measured.effect(alpha)
    error = np.where(effect.why == 0, effect.std_error, np.nan)
    estimate = np.where(effect.why == 0, effect.estimate, np.nan)
    rows = []
    for j, variant in enumerate(cells.variants[1:]):
        found = pool(estimate[j], error[j], alpha=alpha)
        together = found.value()
        listed = [
            Wave(
                occasion=cells.strata[stratum],
                n=int(moments.n[0, k] + moments.n[j + 1, k]),
                effect=plain_estimate(effect.value(j, k)),
                weight=number(found.weights[k]) if effect.why[j, k] == 0 else None,
            )
            for k, stratum in enumerate(order)
        ]
        rows.append(
            PooledWaves(
                metric=spec.name,
                variant=variant,
                waves=listed,
                effect=Estimate(
                    estimate=together.estimate,
                    ci_low=together.ci_low,
                    ci_high=together.ci_high,
                    ci_low_adjusted=None,
                    ci_high_adjusted=None,
                    why=together.why,
                ),
                prediction_low=together.prediction_low,
                prediction_high=together.prediction_high,
                spread=together.tau,
                heterogeneity_p=together.heterogeneity_p,
                why=together.why,
            )
        )
    return rows


def waves_warning(waves: Waves) -> Text | None:
    """Say that only the latest waves are pooled; ``None`` where all are."""
    if not waves.left_out:
        return None
    return {
        "en": f"Only the latest {MOST_WAVES} waves are pooled; {waves.left_out:,} earlier ones are not.",
        "zh-CN": f"仅合并最近 {MOST_WAVES} 个批次；更早的 {waves.left_out:,} 个未计入。",
    }


def shared_members_warning(waves: Waves) -> Text | None:
    """Say that waves have members in common, which random effects know nothing of; ``None`` where they have none."""
    entries = int(waves.cells.units.sum())
    if waves.members is None or entries <= waves.members:
        return None
    shown, units = f"{entries:,}", f"{waves.members:,}"
    return {
        "en": f"Waves have members in common ({units} members count {shown} times): their effects hang together, but "
        "are pooled as if independent, so the pooled interval may be too narrow.",
        "zh-CN": f"各批次有相同的会员（{units} 名会员共计 {shown} 次）：各批次的效果相互关联，合并时却按相互独立处理，"
        "因此合并区间可能偏窄。",
    }
