"""The report of an experiment: what was declared, what the log says, what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np

from experiments.definitions import Experiment
from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.measure.days import DAY_US, moment_text
from experiments.measure.economics import Beside
from experiments.measure.experiment import MeasuredExperiment, measure_experiment, member_day_cells
from experiments.measure.redemption import Costs
from experiments.report.audience import Names, audience_text
from experiments.report.breakdowns import adjust_interactions, breakdown_of
from experiments.report.content import sealed
from experiments.report.curves import Estimates, by_experiment_day, by_look, by_member_day
from experiments.report.document import (
    Breakdown,
    Check,
    Curve,
    MetricResult,
    Outlook,
    Plan,
    Population,
    Report,
    SequentialTest,
    Srm,
    Text,
    Verdict,
)
from experiments.report.estimates import scorecard
from experiments.report.groundwork import balance_of, carry_over, inputs_of
from experiments.report.history import prior_of
from experiments.report.inference import DEFAULT_N_STAR, AlwaysValid, GroupSequential, Inference, chosen
from experiments.report.inputs import Declared, measured_metrics, phase_of, population_plan, variant_order
from experiments.report.looks import Looks, latest, looks_at
from experiments.report.measured import Measured, MetricSpec, measure_metric
from experiments.report.method_words import MONEY, log_methods, section_methods
from experiments.report.outlook import outlook_of
from experiments.report.plan import inference_of, plan_of, spending_of
from experiments.report.quality import (
    completeness_check,
    contaminated_check,
    sample_check,
    sequential_srm_check,
    split_check,
    split_over_time,
    srm_check,
)
from experiments.report.sections import Design
from experiments.report.sequential import little_hope, sequential_tests, with_stopped
from experiments.report.software import software
from experiments.report.standing import beyond_standing, dominated_in
from experiments.report.verdict import decide_report
from experiments.report.whys import FIRST_WEEK, NO_LOOK
from experiments.report.words import early_warnings, log_warnings, unreadable_reason
from experiments.sources.duck import fetch_one
from experiments.sources.log import LogTables, open_log
from experiments.store import Store
from stats.decision import Progress

WEEK_DAYS = 7
MAX_LEVELS = 50
ENDED = frozenset({"ended", "decided"})
"""States in which nobody enters any more."""


def build_report(store: Store, key: str, now: int, *, phase: int | None = None) -> Report:
    """Compute the report of an experiment from the service's own log.

    Args:
        store: definitions and log.
        key: the experiment.
        now: microseconds since 1970 UTC; nothing later is read.
        phase: which phase; by default the latest.

    Raises:
        UnknownKeyError: when there is no such experiment.
        InputError: when the database cannot be read.
    """
    repository = Repository(store)
    declared = declared_of(repository, key)
    record = declared.record
    if record.definition.allocation is not None:
        from experiments.report.bandit.build import build_bandit_report

        if phase is not None and phase != phase_of(record, None)[0]:
            raise InputError(f"{key} learns over all its phases: its report has none of phase {phase}; leave it out")
        return build_bandit_report(store, repository, declared, now)
    # DuckDB brings an SQLite of its own, and closing its descriptor drops the locks of ours (see Store.close).
    store.close()
    with open_log(store.url) as log:
        return report_of(log, declared, now, phase=phase)


def declared_of(repository: Repository, key: str) -> Declared:
    """Return everything about an experiment that its report needs from the definitions.

    Raises:
        UnknownKeyError: when there is no such experiment.
    """
    record = repository.experiment(key)
    catalogue = repository.catalogue()
    return Declared(
        record,
        repository.project(),
        repository.experiment_metrics(record),
        repository.experiment_offers(record),
        audience_text(record.definition, catalogue, repository.experiment_segment(record)),
        Names.of(catalogue),
        prior_of(repository.store, record.definition),
    )


def report_of(log: LogTables, declared: Declared, now: int, *, phase: int | None = None) -> Report:
    """Compute a report from a log in any Ibis connection.

    Raises:
        ValueError: for an experiment whose policy learns: its split moves, so neither a split check nor a comparison of
            plain means would be right. `experiments.report.bandit` reports it.
    """
    if declared.record.definition.allocation is not None:
        raise ValueError(f"the split of {declared.record.key} moves with what is learned: it has no scorecard")
    number, split = phase_of(declared.record, phase)
    variants = variant_order(declared.record, split)
    metrics = measured_metrics(declared)
    costs = Costs.of(declared.record.definition, declared.currency, declared.offers)
    population = population_plan(log, declared, number, now)
    definition = declared.record.definition
    strata, beside = definition.analysis.strata, Beside.of(metrics).metrics
    measured = measure_experiment(log, population, metrics, costs, variants, strata=strata, beside=beside)
    design = Design(measured, definition, population, declared.names)
    return _Builder(declared, number, split, population.kind, measured, now, design).build()


@dataclass(frozen=True)
class _Builder:
    """One phase of one experiment, measured; every method makes one part of the document."""

    declared: Declared
    phase: int
    split: Mapping[str, int]
    population: Literal["assigned", "exposed"]
    measured: MeasuredExperiment
    now: int
    design: Design

    def build(self) -> Report:
        """Return the document; each section is a line below."""
        plan, srm = self.plan, self.srm()
        data_time = None if self.measured.census.last_us is None else moment_text(self.measured.census.last_us)
        checks = self.checks(srm, data_time)
        results = self.results(srm)
        breakdowns, too_many = self.breakdowns(plan.alpha)
        sections = self.design.sections(self.estimates, plan.alpha)
        economics = beyond_standing(self.design.economics(results, plan, self.looks), self.declared)
        report = Report(
            plan=plan,
            srm=srm,
            contaminated=self.measured.units.contaminated,
            duplicates=0,
            population=self.counted(),
            checks=checks,
            metrics=results,
            verdict=self.verdict(results, checks, srm),
            curves=self.curves(),
            breakdowns=breakdowns,
            sequential=self.sequential,
            outlook=self.outlook(results),
            economics=economics,
            **sections,
            warnings=self.warnings(too_many),
            methods=[
                *log_methods(results, plan),
                *([] if economics is None else [MONEY]),
                *section_methods({**sections, "breakdowns": breakdowns}, plan),
            ],
            data_time=data_time,
            software=software(),
            moments=inputs_of(self.measured, self.design.beside_moments),
        )
        return sealed(report)

    @property
    def definition(self) -> Experiment:
        """The experiment as declared."""
        return self.declared.record.definition

    @cached_property
    def plan(self) -> Plan:
        """What was declared, as people read it."""
        past = self.looks is not None and self.looks.past_plan
        prior = self.declared.prior if inference_of(self.definition) == "bayesian" else None
        return plan_of(self.declared, self.phase, self.split, self.measured.variants, past_plan=past, prior=prior)

    @cached_property
    def looks(self) -> Looks | None:
        """When a group-sequential test was looked at; ``None`` for other kinds of inference."""
        definition, cells = self.definition, self.measured.cells
        if inference_of(definition) != "group_sequential" or not definition.planned_units:
            return None
        return looks_at(
            cells.units.reshape(-1, cells.units.shape[-1]).sum(axis=0),
            cells.days if cells.units.sum() else (),
            planned=definition.planned_units,
            window_us=max((m.window_us for m in self.measured.metrics), default=0),
            now_us=self.now,
            time_zone=self.declared.time_zone,
            ended_us=self.declared.record.ended_at if self.declared.record.state in ENDED else None,
            reserve=definition.analysis.reserve,
        )

    @cached_property
    def inference(self) -> Inference:
        """How everything in this report is judged."""
        definition = self.definition
        return chosen(
            inference_of(definition),
            None if self.looks is None else self.looks.information,
            spending=spending_of(definition),
            reserve=definition.analysis.reserve,
            relative_sd=self.declared.prior.relative_sd,
            planned=definition.planned_units,
            variants=len(self.measured.variants),
        )

    @cached_property
    def estimates(self) -> list[Measured]:
        """Every metric in every variant."""
        special = self.design.estimates(self.inference, self.looks)
        return [special.get(spec.name) or self.estimate(spec) for spec in self.measured.specs]

    def estimate(self, spec: MetricSpec) -> Measured:
        """Measure one metric, at every look where these count."""
        cells, adjustment = self.measured.cells, self.definition.analysis.adjustment
        history = None if self.looks is None else self.looks.history(cells.by_day(spec.name))
        now = cells.totals[spec.name] if history is None else latest(history)
        return measure_metric(spec, now, 0, inference=self.inference, looks=history, adjustment=adjustment)

    def results(self, srm: Srm) -> list[MetricResult]:
        """Return the scorecard."""
        analysis, plan = self.definition.analysis, self.plan
        results = scorecard(
            self.estimates,
            self.measured.variants,
            plan.alpha,
            unreadable=self.unreadable(srm),
            multiplicity=analysis.multiplicity,
        )
        if self.looks is None:
            return results
        return with_stopped(results, self.estimates, self.measured.variants, self.looks, plan.alpha)

    @cached_property
    def sequential(self) -> list[SequentialTest]:
        """The looks of a group-sequential test."""
        if self.looks is None:
            return []
        futility = self.definition.analysis.futility
        return sequential_tests(self.estimates, self.measured.variants, self.looks, self.plan.alpha, futility)

    def verdict(self, results: list[MetricResult], checks: list[Check], srm: Srm) -> Verdict | None:
        """Return what to do, ``None`` before anybody is in."""
        if not np.sum(self.measured.cells.units):
            return None
        bound = self.definition.no_effect_within
        return decide_report(
            self.plan,
            results,
            checks,
            self.progress(),
            {"srm": {"p_value": srm.p_value}, "srm_sequential": {"p_value": srm.sequential_p_value}},
            no_effect_within=float(Fraction(bound)) if bound else None,
        )

    def counted(self) -> Population:
        """Return who is in the report."""
        units, linked = self.measured.units, self.measured.linked
        return Population(
            kind=self.population,
            assigned=units.assigned,
            exposed=units.exposed,
            analysed=int(np.sum(self.measured.cells.units)),
            left_out=units.left_out,
            immature=self.measured.immature,
            unsent=units.unsent,
            linked=linked.ids,
            linked_units=linked.units,
            linked_conflicts=linked.conflicts,
        )

    def warnings(self, too_many: list[str]) -> list[Text]:
        """Return what the reader must know beside the figures."""
        units, linked = self.measured.units, self.measured.linked
        found = log_warnings(
            units.left_out,
            self.measured.immature,
            too_many,
            carry_over(self.declared.record, self.phase),
            units.unsent or 0,
            (linked.ids, linked.units, linked.conflicts),
            looks=self.looks,
        )
        nothing = [each.said for each in dominated_in(self.declared, self.measured)]
        return [*early_warnings(self.plan, self.progress(), self.looks), *found, *nothing, *self.design.warnings()]

    def srm(self) -> Srm:
        counts = {v: self.measured.units.counts.get(v, 0) for v in self.measured.variants}
        weights = {v: float(self.split.get(v, 0)) for v in self.measured.variants}
        found = split_check(counts, weights)
        if self.definition.enrolment == "once":
            return found
        units = self.measured.cells.units
        by_day = units.reshape(len(counts), -1, units.shape[-1]).sum(axis=1).T
        return split_over_time(found, by_day, list(weights.values()))

    def days(self) -> int | None:
        """Return the whole days since the first unit entered (from the launch, if that was the same day) to the end.

        So a test of exactly 28 days, whose first member came a minute after midnight, has run for 28.
        """
        first, record = self.measured.units.first_us, self.declared.record
        ended, started = record.ended_at, record.started_at
        if first is None:
            return None
        if started is not None and started <= first < started + DAY_US:
            first = started
        return max(0, (min(self.now, ended) if ended else self.now) - first) // DAY_US

    def unreadable(self, srm: Srm) -> str | None:
        """Return why no effect may be read: a broken split, a first week that is not over, or no look yet."""
        why = unreadable_reason(srm)
        days = self.days()
        if why is None and self.plan.enrolment == "rolling" and days is not None and days < WEEK_DAYS:
            return FIRST_WEEK if self.plan.inference != "fixed" else None
        if why is None and self.looks is not None and not self.looks.days and np.sum(self.measured.cells.units):
            return NO_LOOK
        return why

    def progress(self) -> Progress:
        """Return how far the test is: by matured units where it is looked at as they mature."""
        plan, matured = self.plan, self.measured.matured_at_us
        to_mature = None if matured is None else max(0, math.ceil((matured - self.now) / DAY_US))
        entered = int(np.sum(self.measured.cells.units))
        return Progress(
            enrolment=plan.enrolment,
            inference=plan.inference,
            units=entered if self.looks is None else self.looks.matured,
            planned_units=plan.planned_units,
            days=self.days(),
            planned_days=plan.planned_days,
            immature=self.measured.immature,
            days_to_mature=to_mature,
            ended=self.declared.record.state in ENDED,
            futile=little_hope(self.sequential, self.definition.metrics.primary[0]),
        )

    def outlook(self, results: list[MetricResult]) -> list[Outlook]:
        """Return what the test can still show, while it runs."""
        if self.declared.record.state in ENDED or not self.measured.units.counts:
            return []
        bound = self.definition.no_effect_within
        return outlook_of(results, self.plan, self.progress(), target=float(Fraction(bound)) if bound else None)

    def checks(self, srm: Srm, data_time: str | None) -> list[Check]:
        """Return the health strip."""
        units, balance = self.measured.units, balance_of(self.measured)
        analysed = int(np.sum(self.measured.cells.units))
        return [
            srm_check(srm),
            *([] if srm.sequential_p_value is None else [sequential_srm_check(srm)]),
            sample_check(analysed, self.definition.planned_units, None if self.looks is None else self.looks.matured),
            contaminated_check(units.contaminated, 0, analysed),
            *([balance] if balance else []),
            completeness_check(analysed, self.measured.immature, data_time, self.declared.time_zone),
            *self.design.novelty(self.plan),
        ]

    def curves(self) -> list[Curve]:
        """Return the primary metrics' effects over time."""
        primary = self.design.simple
        alpha, cells = self.plan.alpha, self.measured.cells
        if not self.measured.units.counts:
            return []
        how: Estimates = {"adjustment": self.definition.analysis.adjustment, "stratified": bool(self.measured.strata)}
        if self.plan.enrolment == "once":
            by_day = zip(primary, member_day_cells(self.measured, primary, self.now), strict=True)
            return [c for m, days in by_day for c in by_member_day(m.spec, days, alpha, self.inference, **how)]
        if self.looks is not None and isinstance(self.inference, GroupSequential):
            return [c for m in primary for c in by_look(m.spec, cells, alpha, self.looks, self.inference, **how)]
        inference = AlwaysValid(DEFAULT_N_STAR) if self.inference.kind == "fixed" else self.inference
        return [c for m in primary for c in by_experiment_day(m.spec, cells, alpha, inference, **how)]

    def breakdowns(self, alpha: float) -> tuple[list[Breakdown], list[str]]:
        """Return the primary metrics within the levels of each frozen attribute, and the attributes with too many."""
        primary = [metric.spec for metric in self.design.simple]
        found, too_many = [], []
        for attribute in self.definition.breakdowns:
            if not self.measured.units.counts or attribute not in self.measured.units.levels:
                continue
            if fetch_one(self.measured.table[self.measured.units.levels[attribute]].nunique()) > MAX_LEVELS:
                too_many.append(attribute)
                continue
            cells = self.measured.cells_by(attribute, primary, by_day=self.looks is not None)
            found += [
                breakdown_of(
                    spec,
                    cells,
                    attribute,
                    alpha,
                    self.declared.names,
                    inference=self.inference,
                    looks=self.looks,
                    multiplicity=self.definition.analysis.multiplicity,
                    adjustment=self.definition.analysis.adjustment,
                )
                for spec in primary
            ]
        return adjust_interactions(found), too_many
