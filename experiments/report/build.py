"""The report of an experiment: what was declared, what the log says, what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from experiments.keeping.repository import Repository
from experiments.measure.days import DAY_US, moment_text
from experiments.measure.experiment import MeasuredExperiment, measure_experiment, member_day_cells
from experiments.measure.redemption import Costs
from experiments.report.audience import Names, audience_text
from experiments.report.breakdowns import breakdown_of
from experiments.report.content import sealed
from experiments.report.curves import by_experiment_day, by_member_day
from experiments.report.document import (
    Breakdown,
    Check,
    Curve,
    Plan,
    Population,
    Report,
    Srm,
    Text,
    VariantInfo,
)
from experiments.report.estimates import Measured, measure_metric, scorecard
from experiments.report.inputs import Declared, measured_metrics, phase_of, population_plan, variant_order
from experiments.report.quality import (
    balance_check,
    completeness_check,
    contaminated_check,
    sample_check,
    split_check,
    srm_check,
)
from experiments.report.software import software
from experiments.report.verdict import decide_report
from experiments.report.whys import FIRST_WEEK
from experiments.report.words import log_methods, log_warnings, unreadable_reason
from experiments.sources.duck import fetch_one
from experiments.sources.log import LogTables, open_log
from experiments.store import Store
from stats.decision import Progress
from stats.effects.means import difference_of_means
from stats.multiplicity import holm
from stats.samples import means

DEFAULT_N_STAR = 5000.0
"""Units of control and variant at which the always-valid band is narrowest where no sample was planned."""
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
    record = repository.experiment(key)
    catalogue = repository.catalogue()
    declared = Declared(
        record,
        repository.project(),
        repository.experiment_metrics(record),
        repository.experiment_offers(record),
        audience_text(record.definition, catalogue, repository.experiment_segment(record)),
        Names.of(catalogue),
    )
    # DuckDB brings an SQLite of its own, and closing its descriptor drops the locks of ours (see Store.close).
    store.close()
    with open_log(store.url) as log:
        return report_of(log, declared, now, phase=phase)


def report_of(log: LogTables, declared: Declared, now: int, *, phase: int | None = None) -> Report:
    """Compute a report from a log in any Ibis connection."""
    number, split = phase_of(declared.record, phase)
    variants = variant_order(declared.record, split)
    metrics = measured_metrics(declared)
    costs = Costs(
        declared.currency,
        declared.offers,
        {v.key: (v.offer, v.channel) for v in declared.record.definition.variants},
    )
    population = population_plan(log, declared, number, now)
    measured = measure_experiment(log, population, metrics, costs, variants)
    return _Builder(declared, number, split, population.kind, measured, now).build()


@dataclass(frozen=True)
class _Builder:
    """One phase of one experiment, measured; every method makes one part of the document."""

    declared: Declared
    phase: int
    split: Mapping[str, int]
    population: Literal["assigned", "exposed"]
    measured: MeasuredExperiment
    now: int

    def build(self) -> Report:
        plan, srm = self.plan(), self.srm()
        units = self.measured.units
        estimates = self.estimates()
        readable = self.unreadable(srm)
        results = scorecard(estimates, self.measured.variants, plan.alpha, unreadable=readable)
        progress = self.progress(plan)
        data_time = None if self.measured.census.last_us is None else moment_text(self.measured.census.last_us)
        balance = self.balance()
        checks = self.checks(srm, balance, data_time)
        numbers: dict[str, dict[str, Any]] = {"srm": {"p_value": srm.p_value}}
        bound = self.declared.record.definition.no_effect_within
        verdict = None
        if progress.units:
            verdict = decide_report(
                plan, results, checks, progress, numbers, no_effect_within=float(Fraction(bound)) if bound else None
            )
        breakdowns, too_many = self.breakdowns(plan.alpha)
        report = Report(
            plan=plan,
            srm=srm,
            contaminated=units.contaminated,
            duplicates=0,
            population=Population(
                kind=self.population,
                assigned=units.assigned,
                exposed=units.exposed,
                analysed=progress.units,
                left_out=units.left_out,
                immature=self.measured.immature,
                unsent=units.unsent,
                linked=self.measured.linked.ids,
                linked_units=self.measured.linked.units,
                linked_conflicts=self.measured.linked.conflicts,
            ),
            checks=checks,
            metrics=results,
            verdict=verdict,
            curves=self.curves(plan),
            breakdowns=breakdowns,
            warnings=log_warnings(
                units.left_out,
                self.measured.immature,
                too_many,
                self.carry(),
                units.unsent or 0,
                (self.measured.linked.ids, self.measured.linked.units, self.measured.linked.conflicts),
            ),
            methods=log_methods(results, plan),
            data_time=data_time,
            software=software(),
            moments=self.moments(),
        )
        return sealed(report)

    def plan(self) -> Plan:
        record = self.declared.record
        definition = record.definition
        total = sum(self.split.values()) or 1
        shown = [v for v in definition.variants if v.key in self.measured.variants]
        return Plan(
            title=dict(definition.name),
            hypothesis=dict(definition.hypothesis or {}),
            experiment=definition.key,
            revision=record.revision,
            phase=self.phase,
            state=record.state,
            owner=definition.owner,
            audience=self.declared.audience,
            unit_type=definition.unit_type,
            enrolment=definition.enrolment,
            inference=self.inference,
            alpha=definition.alpha,
            control=definition.control,
            variants=[
                VariantInfo(
                    key=v.key,
                    name=dict(v.name or {"en": v.key, "zh-CN": v.key}),
                    weight=self.split.get(v.key, 0) / total,
                    offer=v.offer,
                    offer_name=dict(self.declared.offers[v.offer].name) if v.offer in self.declared.offers else {},
                    is_control=v.key == definition.control,
                )
                for v in shown
            ],
            currency=self.declared.currency,
            time_zone=self.declared.time_zone,
            started_at=None if record.started_at is None else moment_text(record.started_at),
            ended_at=None if record.ended_at is None else moment_text(record.ended_at),
            planned_units=definition.planned_units,
            planned_days=definition.planned_days,
        )

    @property
    def inference(self) -> Literal["fixed", "always_valid"]:
        return "always_valid" if self.declared.record.definition.enrolment == "rolling" else "fixed"

    def srm(self) -> Srm:
        counts = {v: self.measured.units.counts.get(v, 0) for v in self.measured.variants}
        return split_check(counts, {v: float(self.split.get(v, 0)) for v in self.measured.variants})

    def n_star(self) -> float | None:
        """Return at how many units of one comparison the band is narrowest: its share of the planned ones.

        ``None`` where inference is not always-valid.
        """
        if self.inference != "always_valid":
            return None
        planned = self.declared.record.definition.planned_units
        if not planned:
            return DEFAULT_N_STAR
        return max(1.0, planned * 2 / len(self.measured.variants))

    def estimates(self) -> list[Measured]:
        totals = self.measured.cells.totals
        return [measure_metric(s, totals[s.name], 0, n_star=self.n_star()) for s in self.measured.specs]

    def days(self) -> int | None:
        """Return the whole days since the first unit entered, to the end of the experiment or to now.

        Where that was on the day of the launch they count from the launch: a test of exactly 28 days, whose first
        member came a minute after midnight, has run for 28.
        """
        first, ended, started = (
            self.measured.units.first_us,
            self.declared.record.ended_at,
            self.declared.record.started_at,
        )
        if first is None:
            return None
        if started is not None and started <= first < started + DAY_US:
            first = started
        return max(0, (min(self.now, ended) if ended else self.now) - first) // DAY_US

    def unreadable(self, srm: Srm) -> str | None:
        """Return why no effect may be read: a broken split, or a first week that is not over."""
        why = unreadable_reason(srm)
        days = self.days()
        if why is None and self.inference == "always_valid" and days is not None and days < WEEK_DAYS:
            return FIRST_WEEK
        return why

    def progress(self, plan: Plan) -> Progress:
        matured = self.measured.matured_at_us
        to_mature = None if matured is None else max(0, math.ceil((matured - self.now) / DAY_US))
        return Progress(
            enrolment=plan.enrolment,
            inference=self.inference,
            units=int(np.sum(self.measured.cells.units)),
            planned_units=plan.planned_units,
            days=self.days(),
            planned_days=plan.planned_days,
            immature=self.measured.immature,
            days_to_mature=to_mature,
            ended=self.declared.record.state in ENDED,
        )

    def checks(self, srm: Srm, balance: Check | None, data_time: str | None) -> list[Check]:
        units = self.measured.units
        analysed = int(np.sum(self.measured.cells.units))
        return [
            srm_check(srm),
            sample_check(analysed, self.declared.record.definition.planned_units),
            contaminated_check(units.contaminated, 0, analysed),
            *([balance] if balance else []),
            completeness_check(analysed, self.measured.immature, data_time, self.declared.time_zone),
        ]

    def balance(self) -> Check | None:
        """Compare the covariates, which lie before the test, between variants and control."""
        labels, differences, p_values = [], [], []
        for spec in self.measured.specs:
            for covariate in spec.covariates:
                column = covariate if isinstance(covariate, str) else covariate[0]
                sample = means(self.measured.cells.totals[spec.name], column)
                effect = difference_of_means(sample[0], sample[1:], df=np.inf)
                spread = np.sqrt(sample.variance[0])
                for j, variant in enumerate(self.measured.variants[1:]):
                    if spread > 0 and effect.why[j] == 0:
                        labels.append(f"{spec.name} {variant}")
                        differences.append(float(effect.estimate[j] / spread))
                        p_values.append(float(effect.p_value[j]))
        adjusted = holm(p_values).tolist()
        return balance_check({k: (d, p) for k, d, p in zip(labels, differences, adjusted, strict=True)})

    def curves(self, plan: Plan) -> list[Curve]:
        primary = [metric for metric in self.measured.metrics if metric.spec.role == "primary"]
        if not self.measured.units.counts:
            return []
        curves: list[Curve] = []
        if plan.enrolment == "rolling":
            n_star = self.n_star() or DEFAULT_N_STAR
            for metric in primary:
                curves += by_experiment_day(metric.spec, self.measured.cells, plan.alpha, n_star)
        else:
            for metric, cells in zip(primary, member_day_cells(self.measured, primary, self.now), strict=True):
                curves += by_member_day(metric.spec, cells, plan.alpha)
        return curves

    def breakdowns(self, alpha: float) -> tuple[list[Breakdown], list[str]]:
        """Return the primary metrics within the levels of each frozen attribute, and the attributes with too many."""
        primary = [s for s in self.measured.specs if s.role == "primary"]
        found, too_many = [], []
        for attribute in self.declared.record.definition.breakdowns:
            column = self.measured.units.levels[attribute]
            if not self.measured.units.counts:
                continue
            if fetch_one(self.measured.table[column].nunique()) > MAX_LEVELS:
                too_many.append(attribute)
                continue
            cells = self.measured.cells_by(attribute, primary)
            names = self.declared.names
            found += [breakdown_of(spec, cells, attribute, alpha, names, n_star=self.n_star()) for spec in primary]
        return found, too_many

    def carry(self) -> Text | None:
        """Return the warning of a phase that drew everyone anew: what they had before may carry over."""
        found = next((p for p in self.declared.record.phases if p.number == self.phase), None)
        if found is None or found.carry != "reassign":
            return None
        return {
            "en": "Members were drawn anew when this phase opened: what they had before may carry over.",
            "zh-CN": "本阶段开始时会员被重新分组：之前的体验可能有残留影响。",
        }

    def moments(self) -> list[dict[str, object]]:
        """Return the inputs: totals by variant, with the winsorising thresholds."""
        return [
            {
                "group": spec.name,
                "variants": list(self.measured.variants),
                "winsorised_above": {
                    c: self.measured.scans[c].upper for c in spec.columns if self.measured.scans[c].upper is not None
                },
                **self.measured.cells.totals[spec.name].to_dict(),
            }
            for spec in self.measured.specs
        ]
