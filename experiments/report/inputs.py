"""What the report of an experiment starts from: its definitions, and what they ask to be measured of whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from experiments.definitions import Experiment, Metric, Offer, Project
from experiments.definitions.money import exponent
from experiments.definitions.standing import Standing
from experiments.keeping.records import ExperimentRecord, Phase
from experiments.log.rows import BULK_SOURCE
from experiments.measure.parts import MeasuredMetric, parts_of
from experiments.measure.population import PopulationPlan
from experiments.report.audience import Names
from experiments.report.document import Text
from experiments.sources.duck import fetch_one
from experiments.sources.log import LogTables
from stats.bayes.prior import DEFAULT_RELATIVE_SD


@dataclass(frozen=True)
class Prior:
    """What is believed about relative effects, and where that comes from."""

    relative_sd: float
    experiments: int | None = None
    """Past comparisons that it was learnt from; ``None`` where it was declared."""
    too_few: int | None = None
    """Past comparisons there are, where they are too few to learn from."""


EXPOSURES = ("Experiment Viewed", "$exposure", "exposure")
"""Events that say that a unit met its variant; an experiment may name another one."""


@dataclass(frozen=True)
class Declared:
    """Everything about an experiment that the report needs from the definitions."""

    record: ExperimentRecord
    project: Project
    metrics: dict[str, Metric]
    offers: dict[str, Offer]
    audience: Text
    """Who it is for, in words."""
    names: Names
    """Of attributes and their levels."""
    prior: Prior = Prior(DEFAULT_RELATIVE_SD)
    """Bayesian inference: what is believed about effects before the test."""

    @property
    def currency(self) -> str:
        """The experiment's currency: frozen at launch."""
        return self.record.pinned.currency if self.record.pinned else self.project.currency

    @property
    def standing(self) -> Standing | None:
        """What members have off every order anyway: frozen at launch."""
        return self.record.standing(self.project)

    @property
    def time_zone(self) -> str:
        """The time zone that defines its days."""
        return self.record.pinned.time_zone if self.record.pinned else self.project.time_zone


def phase_of(record: ExperimentRecord, phase: int | None) -> tuple[int, Mapping[str, int]]:
    """Return the number and the weights of a phase, by default of the latest."""
    found: Phase | None = record.phase
    if phase is not None:
        found = next((p for p in record.phases if p.number == phase), None)
    if found is None:
        return phase or 1, record.definition.split()
    return found.number, found.weights


def variant_order(record: ExperimentRecord, split: Mapping[str, int]) -> list[str]:
    """Return the variants that somebody may have got, control first."""
    control = record.definition.control
    return [control, *(v.key for v in record.definition.variants if v.key != control and split.get(v.key, 0) > 0)]


def measured_metrics(declared: Declared) -> list[MeasuredMetric]:
    """Return what to measure for each metric of the plan, in its order."""
    plan = declared.record.definition.metrics
    places = exponent(declared.currency)
    listed: list[tuple[str, Literal["primary", "secondary", "guardrail"], float | None]] = [
        *((key, "primary", None) for key in plan.primary),
        *((key, "secondary", None) for key in plan.secondary),
        *((g.metric, "guardrail", float(Fraction(g.margin))) for g in plan.guardrails),
    ]
    return [
        parts_of(declared.metrics[key], f"m{i}", role, places, margin_relative=margin)
        for i, (key, role, margin) in enumerate(listed)
    ]


def population_plan(log: LogTables, declared: Declared, phase: int, now: int) -> PopulationPlan:
    """Return who counts."""
    definition, standing = declared.record.definition, declared.standing
    own = () if standing is None else (standing.attribute,)
    return PopulationPlan(
        experiment=definition.key,
        unit_type=definition.unit_type,
        phase=phase,
        kind=definition.population or _kind(log, definition, now),
        exposure_events=tuple(dict.fromkeys([definition.exposure_event, *EXPOSURES])),
        excluded=[*definition.exclude, *declared.project.exclude.get(definition.unit_type, ())],
        frozen=tuple(dict.fromkeys((*definition.frozen, *own))),
        time_zone=declared.time_zone,
        now_us=now,
        send_event=definition.send_event if definition.windows_start == "send" else None,
        control=definition.control,
        own_offers=definition.by_member,
        standing=standing,
    )


def _kind(log: LogTables, definition: Experiment, now: int) -> Literal["assigned", "exposed"]:
    """Return who counts where the definition does not say: the exposed where most decisions came in bulk.

    Not where any did: an app that evaluates everything also asks for the campaign that others got by e-mail.
    """
    if definition.windows_start == "send":
        return "assigned"
    d = log.decisions
    made = d.filter(d.experiment == definition.key, d["at"] <= now)
    in_bulk = fetch_one(made.filter(d.source == BULK_SOURCE).count())
    return "exposed" if in_bulk and 2 * in_bulk > fetch_one(made.count()) else "assigned"
