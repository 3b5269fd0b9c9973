"""Post-stratified metrics: every variant weighted to the same mix of the strata that were declared before launch."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report.document import Text
from experiments.report.inference import Inference
from experiments.report.measured import Measured, MetricSpec
from stats.moments import Moments
from stats.samples import Target
from stats.strata import post_stratified, post_stratify


def measure_stratified(
    spec: MetricSpec,
    moments: Moments,
    inference: Inference,
    looks: Moments | None = None,
    *,
    covariates: Sequence[Target] = (),
) -> Measured:
    """Return a metric as the scorecard compares it, post-stratified, with CUPED inside the strata.

    Args:
        spec: the metric.
        moments: of its columns; variants (control first) × strata.
        inference: how it is judged.
        looks: group sequential: variants × strata × looks; ``moments`` are those of the last.
        covariates: of the metric, where they adjust.
    """
    target: Target = spec.value if spec.denominator is None else (spec.value, spec.denominator)
    found = post_stratify(moments, target, 1, 0, covariates=covariates)
    history = None
    if looks is not None:
        empty = not looks.n.size
        history = (
            found.sample[..., None][..., :0] if empty else post_stratified(looks, target, 1, 0, covariates=covariates)
        )
    method = "post_stratified_cuped" if covariates else "post_stratified"
    return Measured(spec, found.sample, found.raw, 0, method, inference, history)


def too_many_strata_warning(strata: int, attributes: tuple[str, ...]) -> Text:
    """Say that the declared strata are too many to use."""
    names = ", ".join(attributes)
    return {
        "en": f"The strata ({names}) have {strata:,} combinations, too many to use: effects are not stratified.",
        "zh-CN": f"分层（{names}）共有 {strata:,} 种组合，过多而无法分层：效果未做分层。",
    }
