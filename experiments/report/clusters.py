"""Clusters in the report: CR2 errors where whole clusters were given a variant, a warning where any was split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from experiments.measure.clusters import MAX_CLUSTERS, Clustering
from experiments.report.document import Reading, Text
from experiments.report.inference import Inference
from experiments.report.measured import Measured, MetricSpec
from stats import clusters as robust
from stats.arrays import FloatArray
from stats.clusters import Clustered, ClusterSums
from stats.effects.non_inferiority import non_inferiority
from stats.effects.result import Effect
from stats.samples import Sample, Target


@dataclass(frozen=True, kw_only=True)
class MeasuredClusters(Measured):
    """A metric whose clusters were given a variant each; ``sample`` counts units, with cluster-robust errors."""

    clustered: Clustered

    def effect(self, alpha: npt.ArrayLike) -> Effect:
        """Return variant − control with CR2 errors and Satterthwaite's degrees of freedom."""
        if not self.inference.exact:
            return super().effect(alpha)
        return robust.difference(self.clustered[self.control], self.clustered[self.variants], alpha)

    def relative(self, alpha: npt.ArrayLike) -> Effect:
        """Return the effects as shares of control's mean, from the same errors."""
        if not self.inference.exact:
            return super().relative(alpha)
        return robust.relative(self.clustered[self.control], self.clustered[self.variants], alpha)

    def guardrail(self, alpha: float) -> tuple[FloatArray, list[Reading]]:
        """Return, by variant, the p of "worse than the margin" and the reading, from the same errors."""
        margin = self.spec.margin_relative
        if not self.inference.exact or margin is None:
            return super().guardrail(alpha)
        control, others = self.clustered[self.control], self.clustered[self.variants]
        found = non_inferiority(
            control.sample,
            others.sample,
            margin,
            direction=self.spec.direction,
            relative=True,
            df=robust.difference(control, others).df,
        )
        return found.p_value, [found.value(j, alpha=alpha).reading for j in range(len(self.variants))]


def measure_clusters(
    spec: MetricSpec,
    sums: ClusterSums,
    variants: int,
    inference: Inference,
    *,
    covariates: Sequence[Target] = (),
) -> MeasuredClusters:
    """Return a metric as the scorecard compares it, with cluster-robust errors.

    Args:
        spec: the metric.
        sums: of its columns by cluster.
        variants: how many there are, control first.
        inference: how it is judged.
        covariates: of the metric, where they adjust.
    """
    target: Target = spec.value if spec.denominator is None else (spec.value, spec.denominator)
    clustered = robust.sample_of(sums, target, covariates, variants=variants)
    sample = _per_unit(clustered)
    raw = sample
    if covariates:
        raw = _per_unit(robust.sample_of(sums, target, variants=variants))
    return MeasuredClusters(spec, sample, raw, 0, "clusters_cr2", inference, clustered=clustered)


def _per_unit(clustered: Clustered) -> Sample:
    """Return the sample with units for n, and the variance that gives the same errors."""
    sample = clustered.sample
    share = np.where(sample.n > 0, clustered.units / np.where(sample.n > 0, sample.n, 1.0), 1.0)
    return replace(sample, n=clustered.units, variance=sample.variance * share)


def split_warning(attribute: str, found: Clustering) -> Text | None:
    """Say that units of one cluster were given different variants, and why it matters; ``None`` where none were."""
    if not found.mixed:
        return None
    n, units = f"{found.mixed:,}", f"{found.mixed_units:,}"
    return {
        "en": f"{n} clusters ({attribute}) have members in several variants, {units} members in all. If members of a "
        "cluster share the offer or talk about it, control gets part of it and the effect looks smaller than it is: "
        "give whole clusters one variant next time.",
        "zh-CN": f"有 {n} 个群组（{attribute}）的会员分属不同方案，共 {units} 名会员。"
        "同一群组的会员若共享优惠或相互告知，对照组也会受到影响，效果会被低估：下次请按整个群组分配方案。",
    }


def broken_design_warning(attribute: str, found: Clustering) -> Text | None:
    """Say that clusters which should have one variant have several; ``None`` where none have."""
    if not found.mixed:
        return None
    n, units = f"{found.mixed:,}", f"{found.mixed_units:,}"
    return {
        "en": f"Whole clusters ({attribute}) should have one variant, but {n} have several ({units} members): they "
        "count as one cluster in each, and errors may be too small.",
        "zh-CN": f"本应整个群组（{attribute}）使用同一方案，但有 {n} 个群组出现多个方案（{units} 名会员）："
        "它们在每个方案中各计为一个群组，误差可能偏小。",
    }


def too_many_warning(attribute: str, found: Clustering) -> Text:
    """Say that there are too many clusters for errors by cluster."""
    return {
        "en": f"{attribute} makes {found.clusters:,} clusters, more than {MAX_CLUSTERS:,}: errors are those of "
        "members, not of clusters.",
        "zh-CN": f"{attribute} 形成 {found.clusters:,} 个群组，超过 {MAX_CLUSTERS:,} 个：误差按会员而不是按群组计算。",
    }
