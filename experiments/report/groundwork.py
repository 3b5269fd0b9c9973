"""What lies under the figures of a report: balance before the test, what earlier phases left, and the moments."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from experiments.keeping.records import ExperimentRecord
from experiments.measure.experiment import MeasuredExperiment
from experiments.report.document import Check, Text
from experiments.report.quality import balance_check
from stats.effects.means import difference_of_means
from stats.moments import Moments
from stats.multiplicity import holm
from stats.samples import means


def balance_of(measured: MeasuredExperiment) -> Check | None:
    """Compare the covariates, which lie before the test, between variants and control."""
    labels, differences, p_values = [], [], []
    for spec in measured.specs:
        for covariate in spec.covariates:
            column = covariate if isinstance(covariate, str) else covariate[0]
            sample = means(measured.cells.totals[spec.name], column)
            effect = difference_of_means(sample[0], sample[1:], df=np.inf)
            spread = np.sqrt(sample.variance[0])
            for j, variant in enumerate(measured.variants[1:]):
                if spread > 0 and effect.why[j] == 0:
                    labels.append(f"{spec.name} {variant}")
                    differences.append(float(effect.estimate[j] / spread))
                    p_values.append(float(effect.p_value[j]))
    adjusted = holm(p_values).tolist()
    return balance_check({k: (d, p) for k, d, p in zip(labels, differences, adjusted, strict=True)})


def carry_over(record: ExperimentRecord, phase: int) -> Text | None:
    """Return the warning of a phase that drew everyone anew: what they had before may carry over."""
    found = next((p for p in record.phases if p.number == phase), None)
    if found is None or found.carry != "reassign":
        return None
    return {
        "en": "Members were drawn anew when this phase opened: what they had before may carry over.",
        "zh-CN": "本阶段开始时会员被重新分组：之前的体验可能有残留影响。",
    }


def inputs_of(measured: MeasuredExperiment, beside: Mapping[str, Moments]) -> list[dict[str, object]]:
    """Return the inputs: totals by variant, with the winsorising thresholds; then those of what lies beside."""
    groups = [(spec.name, spec.columns, measured.cells.totals[spec.name]) for spec in measured.specs]
    groups += [(f"beside:{name}", moments.columns, moments) for name, moments in beside.items()]
    return [
        {
            "group": name,
            "variants": list(measured.variants),
            "winsorised_above": {c: measured.scans[c].upper for c in columns if measured.scans[c].upper is not None},
            **moments.to_dict(),
        }
        for name, columns, moments in groups
    ]
