"""What a report's design adds to it: metrics that are not judged from moments, and the sections of declared analyses.

``Design`` knows which of a metric's estimators the declared analysis asks for, and which sections it adds; each section
is built in the file of its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from experiments.definitions import Experiment
from experiments.measure.clusters import MAX_CLUSTERS, Clustering, clustering, sums_by_cluster
from experiments.measure.days import DAY_US
from experiments.measure.economics import ECONOMICS, Beside
from experiments.measure.experiment import MeasuredExperiment
from experiments.measure.halves import halves_by_day
from experiments.measure.order_statistics import quantiles_of
from experiments.measure.overlaps import overlaps
from experiments.measure.parts import MeasuredMetric
from experiments.measure.places import PlacePeriods, place_periods
from experiments.measure.population import PopulationPlan
from experiments.measure.reached import cells_with_reached
from experiments.measure.survival import EventTimes, event_times
from experiments.measure.waves import Waves, measure_waves
from experiments.report.audience import Names
from experiments.report.clusters import broken_design_warning, measure_clusters, split_warning, too_many_warning
from experiments.report.document import (
    Check,
    Factorial,
    Interaction,
    MetricResult,
    Plan,
    PooledWaves,
    Reached,
    SurvivalCurve,
    Text,
)
from experiments.report.economics import economics_of
from experiments.report.economics_document import Economics
from experiments.report.factorial import factorial_of
from experiments.report.inference import AlwaysValid, Inference
from experiments.report.looks import Looks, latest
from experiments.report.measured import Measured, MetricSpec
from experiments.report.novelty import novelty_check
from experiments.report.overlaps import interactions_of
from experiments.report.quantiles import measure_quantile
from experiments.report.reached import reached_of
from experiments.report.strata import measure_stratified, too_many_strata_warning
from experiments.report.survival import measure_survival, survival_curves
from experiments.report.switchback import measure_switchback, too_many_places_warning
from experiments.report.waves import pooled_waves, shared_members_warning, waves_warning
from stats.moments import Moments
from stats.samples import Target

DEPENDENT: Text = {
    "en": "Units hang together: effects over time, by group, by wave, by factor and on those reached are left out, for "
    "their errors would be those of independent units.",
    "zh-CN": "单元之间相互关联：随时间、分组、批次、因素以及对触达者的效果均不展示，因为其误差只适用于相互独立的单元。",
}


@dataclass(frozen=True)
class Design:
    """One measured experiment and the analysis that was declared for it."""

    measured: MeasuredExperiment
    definition: Experiment
    population: PopulationPlan
    names: Names = Names()  # noqa: RUF009 - frozen

    @property
    def by_cluster(self) -> bool:
        """Whether errors are those of whole clusters."""
        found = self.clusters
        return self.definition.analysis.randomised_by_cluster and found is not None and found.clusters <= MAX_CLUSTERS

    @property
    def dependent(self) -> bool:
        """Whether units hang together, so that errors of single units would be too small."""
        return self.by_cluster or self.definition.analysis.switchback

    @property
    def simple(self) -> list[MeasuredMetric]:
        """The primary metrics that can be looked at by day, by group and by wave from moments of single units."""
        return [] if self.dependent else self.measured.simple

    @cached_property
    def clusters(self) -> Clustering | None:
        """How the units lie in clusters, where the experiment names an attribute for them."""
        attribute = self.definition.analysis.cluster
        return None if attribute is None else clustering(self.measured, attribute)

    @cached_property
    def times(self) -> dict[str, dict[str, EventTimes]]:
        """Times to an event, by metric and variant."""
        wanted = [m for m in self.measured.metrics if m.spec.kind == "time_to_event"]
        return {m.spec.name: event_times(self.measured, m) for m in wanted}

    @cached_property
    def places(self) -> PlacePeriods | None:
        """The units of a switchback, one row each; ``None`` for other designs, and where they are too many."""
        if not self.definition.analysis.switchback:
            return None
        columns = dict.fromkeys(c for m in self.measured.metrics if not m.needs_rows for c in m.spec.columns)
        return place_periods(self.measured, tuple(columns))

    @cached_property
    def waves(self) -> Waves | None:
        """The waves of the experiment, where they are pooled."""
        if not self.definition.analysis.pool_occasions:
            return None
        metrics = self.simple
        return measure_waves(self.measured, self.population, metrics) if metrics else None

    def estimates(self, inference: Inference, looks: Looks | None = None) -> dict[str, Measured]:
        """Return the metrics that are not estimated from the moments of all units: by name.

        Where looks count (group sequential), a metric whose past looks cannot be computed again from sums by day
        (quantiles, times to an event, clusters) is judged by an always-valid band instead, narrowest at the plan.

        Args:
            inference: of the report.
            looks: group sequential: which ones.
        """
        unlooked = inference
        if inference.kind == "group_sequential":
            planned = looks.planned if looks is not None else max(1, self.definition.planned_units or 1)
            unlooked = AlwaysValid(max(1.0, planned * 2 / len(self.measured.variants)))
        found: dict[str, Measured] = {}
        for metric in self.measured.metrics:
            if metric.needs_rows or self.by_cluster or self.places is not None:
                found[metric.spec.name] = self._from_rows(metric, unlooked)
            elif self.measured.strata:
                found[metric.spec.name] = self._stratified(metric.spec, inference, looks)
        return found

    def _from_rows(self, metric: MeasuredMetric, inference: Inference) -> Measured:
        spec, variants = metric.spec, self.measured.variants
        if spec.kind == "quantile":
            return measure_quantile(spec, quantiles_of(self.measured, metric), variants, inference)
        if spec.kind == "time_to_event":
            return measure_survival(spec, self.times[spec.name], variants, inference)
        if self.places is not None:
            return measure_switchback(spec, self.measured.cells.totals[spec.name], self.places, inference)
        sums = sums_by_cluster(self.measured, self.definition.analysis.cluster or "", spec.columns)
        return measure_clusters(spec, sums, len(variants), inference, covariates=self._covariates(spec))

    def _stratified(self, spec: MetricSpec, inference: Inference, looks: Looks | None) -> Measured:
        moments, covariates = self.measured.cells.groups[spec.name], self._covariates(spec)
        if looks is None:
            return measure_stratified(spec, moments.sum(axis=2), inference, covariates=covariates)
        history = looks.history(moments)
        return measure_stratified(spec, latest(history), inference, history, covariates=covariates)

    def _covariates(self, spec: MetricSpec) -> tuple[Target, ...]:
        return () if self.definition.analysis.adjustment == "none" else spec.covariates

    @property
    def _simple_specs(self) -> list[MetricSpec]:
        return [m.spec for m in self.simple]

    def sections(self, estimates: Sequence[Measured], alpha: float) -> dict[str, Any]:
        """Return the report's sections that the design adds, by their names in the document."""
        return {
            "survival": self.survival(alpha),
            "reached": self.reached(alpha),
            "overlaps": self.overlaps(),
            "pooled": self.pooled(alpha),
            "factorial": self.factorial(estimates, alpha),
        }

    def survival(self, alpha: float) -> list[SurvivalCurve]:
        """Return the curves of times to an event."""
        specs: Mapping[str, MetricSpec] = {m.spec.name: m.spec for m in self.measured.metrics}
        return [
            curve
            for name, times in self.times.items()
            for curve in survival_curves(specs[name], times, self.measured.variants, alpha)
        ]

    def reached(self, alpha: float) -> list[Reached]:
        """Return the effects on those reached, of the primary metrics."""
        event = self.definition.analysis.reached
        specs = [m.spec for m in self.measured.metrics if m.spec.role == "primary"]
        if event is None or self.dependent or not self.measured.units.counts:
            return []
        return reached_of(specs, cells_with_reached(self.measured, event, self.definition.key, specs), alpha)

    def overlaps(self) -> list[Interaction]:
        """Return whether effects depend on other experiments' variants, of the primary metrics."""
        if not self._simple_specs or not self.measured.units.counts:
            return []
        found = overlaps(self.measured, self.definition.key, self._simple_specs)
        return interactions_of(self._simple_specs, found, self.names)

    def factorial(self, estimates: Sequence[Measured], alpha: float) -> list[Factorial]:
        """Return main effects and interactions of the primary metrics, where factors were declared."""
        factors, variants = self.definition.analysis.factors, self.measured.variants
        if not factors or self.dependent or not self.measured.units.counts:
            return []
        primary = [metric for metric in estimates if metric.spec.role == "primary"]
        return factorial_of(primary, factors, variants, alpha)

    def pooled(self, alpha: float) -> list[PooledWaves]:
        """Return the waves of the primary metrics, pooled."""
        return [] if self.waves is None else pooled_waves(self._simple_specs, self.waves, alpha)

    @property
    def beside(self) -> Beside:
        """What is measured beside the metrics."""
        return Beside.of(self.measured.metrics)

    @cached_property
    def beside_moments(self) -> dict[str, Moments]:
        """The moments of that, by variant."""
        return self.beside.moments(self.measured) if self.measured.units.counts else {}

    def economics(self, results: Sequence[MetricResult], plan: Plan, looks: Looks | None = None) -> Economics | None:
        """Return whether the offers paid for themselves, where a profit is measured.

        Args:
            results: the scorecard.
            plan: names and offers.
            looks: group sequential: the units are those of the last one, as in the scorecard.
        """
        profit = self.beside.profit
        if profit is None:
            return None
        result = next(r for r in results if r.name == profit.spec.name)
        moments = self.beside_moments
        if looks is not None and moments and not self.dependent:
            moments = moments | {ECONOMICS: latest(looks.history(self.beside.money_by_day(self.measured)))}
        adjusted = self.definition.analysis.adjustment != "none"
        return economics_of(
            self.beside.columns,
            moments,
            result,
            plan,
            days=self.beside.days_after,
            dependent=self.dependent,
            adjusted=adjusted,
        )

    def novelty(self, plan: Plan) -> list[Check]:
        """Return whether effects change with the days since entry, where that can be told."""
        if self.dependent:
            return []
        by_day = halves_by_day(self.beside, self.measured) if self._enter_over_weeks(plan) else None
        found = novelty_check(self.beside, self.beside_moments, self.measured.variants, plan, by_day)
        return [] if found is None else [found]

    def _enter_over_weeks(self, plan: Plan) -> bool:
        first, last = self.measured.units.first_us, self.measured.units.last_us
        return plan.enrolment == "rolling" and first is not None and last is not None and last - first >= 7 * DAY_US

    def warnings(self) -> list[Text]:
        """Say what the design does not bear."""
        analysis, found = self.definition.analysis, self.clusters
        said: list[Text | None] = []
        if analysis.cluster is not None and found is not None:
            if not analysis.randomised_by_cluster:
                said.append(split_warning(analysis.cluster, found))
            else:
                said.append(broken_design_warning(analysis.cluster, found))
                if not self.by_cluster:
                    said.append(too_many_warning(analysis.cluster, found))
        if self.measured.too_many_strata is not None:
            said.append(too_many_strata_warning(self.measured.too_many_strata, analysis.strata))
        if self.dependent:
            said.append(DEPENDENT)
        if analysis.switchback and self.places is None:
            said.append(too_many_places_warning())
        if self.waves is not None:
            said += [waves_warning(self.waves), shared_members_warning(self.waves)]
        return [text for text in said if text is not None]
