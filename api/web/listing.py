"""What the pages show, from the definitions and the stored reports; nothing is counted or computed here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from api.management.reports import Reports
from api.services import Services
from api.web.list_view import MOST_REFUSED
from api.web.views import ExperimentListRow, Site, list_row
from experiments.definitions import Project
from experiments.dominated import possible
from experiments.keeping.heads import UnknownKeyError
from experiments.keeping.records import ExperimentRecord
from experiments.lifecycle.states import LAUNCHED
from experiments.log import reviewing
from experiments.report.audience import audience_text
from experiments.report.document import Plan, Report, Text, VariantInfo

DAY_US = 86_400_000_000
NEXT_STEPS: Mapping[str, Text] = {
    "draft": {"en": "Finish the design and send it to review", "zh-CN": "完成设计并提交评审"},
    "review": {"en": "Waiting for review", "zh-CN": "等待评审"},
    "testing": {"en": "Being tested with the allow-list", "zh-CN": "白名单测试中"},
}


class Listing:
    """The three callables that the pages are given, and the site they belong to."""

    def __init__(self, services: Services, reports: Reports) -> None:
        self.services = services
        self.reports = reports

    def site(self) -> Site:
        """Return project, zone, and whether the data are simulated."""
        project = self._project()
        if project is None:
            return Site()
        return Site(project=project.name, time_zone=project.time_zone, simulated=is_simulated(project))

    def rows(self) -> list[ExperimentListRow]:
        """Return every experiment, the most recently changed first."""
        repository = self.services.repository()
        project = self._project()
        simulated = project is not None and is_simulated(project)
        catalogue = repository.catalogue()
        return [
            self._row(
                record,
                audience_text(record.definition, catalogue, repository.experiment_segment(record)),
                simulated=simulated,
            )
            for record in repository.experiments()
        ]

    def refused(self) -> int:
        """Return how many rows of the last seven days could not be taken, ``MOST_REFUSED`` at most."""
        since = self.services.now_us() - 7 * DAY_US
        return reviewing.count_since(self.services.store, since, most=MOST_REFUSED)

    def report(self, key: str) -> Report | None:
        """Return the latest stored report."""
        return self.reports.latest(key)

    def cautions(self, key: str) -> list[Text]:
        """Return which offers of an experiment give some members nothing that these do not have anyway."""
        catalogue = self.services.repository().catalogue()
        record = self.services.repository().experiment(key)
        standing = None if catalogue.project is None else record.standing(catalogue.project)
        return [each.said for each in possible(record.definition, catalogue, standing)]

    def plan(self, key: str) -> Plan | None:
        """Return the plan of an experiment without a report; ``None`` when there is no such experiment."""
        repository = self.services.repository()
        try:
            record = repository.experiment(key)
        except UnknownKeyError:
            return None
        project = self._project()
        return plan_of(
            record,
            audience_text(record.definition, repository.catalogue(), repository.experiment_segment(record)),
            currency=project.currency if project else None,
            time_zone=project.time_zone if project else "UTC",
        )

    def _row(self, record: ExperimentRecord, audience: Text, *, simulated: bool) -> ExperimentListRow:
        definition = record.definition
        report = self.reports.latest(record.key) if record.state in LAUNCHED else None
        day = None
        if record.started_at is not None:
            until = record.ended_at or self.services.now_us()
            day = max(1, (until - record.started_at) // DAY_US + 1)
        return list_row(
            key=record.key,
            title=definition.name,
            state=record.state,
            report=report,
            audience=audience,
            variants=len(definition.variants),
            owner=definition.owner,
            day=day,
            planned_days=definition.planned_days,
            planned_units=definition.planned_units,
            next_step=NEXT_STEPS.get(record.state),
            simulated=simulated,
        )

    def _project(self) -> Project | None:
        try:
            return self.services.repository().project()
        except UnknownKeyError:
            return None


def is_simulated(project: Project) -> bool:
    """Return whether the project's name says that its data are simulated, as the demo's does."""
    return any("simulated" in text.lower() or "模拟" in text for text in project.name.values())


def plan_of(record: ExperimentRecord, audience: Text, *, currency: str | None, time_zone: str) -> Plan:
    """Return what a draft has planned, in the form that reports carry."""
    definition = record.definition
    total = sum(variant.weight for variant in definition.variants) or 1
    return Plan(
        title=definition.name,
        hypothesis=definition.hypothesis or {},
        experiment=record.key,
        revision=record.revision,
        state=record.state,
        owner=definition.owner,
        audience=audience,
        unit_type=definition.unit_type,
        enrolment=definition.enrolment,
        alpha=definition.alpha,
        control=definition.control,
        variants=[
            VariantInfo(
                key=variant.key,
                name=variant.name or {"en": variant.key},
                weight=variant.weight / total,
                offer=variant.offer,
                is_control=variant.key == definition.control,
            )
            for variant in definition.variants
        ],
        currency=currency,
        time_zone=time_zone,
        started_at=None
        if record.started_at is None
        else datetime.fromtimestamp(record.started_at / 1_000_000, UTC).isoformat(),
        planned_units=definition.planned_units,
        planned_days=definition.planned_days,
    )
