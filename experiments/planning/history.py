"""A baseline from the project's own log: the metric measured on past members, in a past window, as reports measure it.

An experiment that has run is measured on its own control group. Before that:
one send: everybody whom it would reach now, as if it had been sent one window ago. Rolling enrolment: whoever did
anything in four past weeks, from their first event on; these weeks also say how many new units come. In both the
window is over, so that every outcome is known, and the covariate lies before it: CUPED's gain is measured too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.definitions import Metric, Offer, Project
from experiments.definitions.money import exponent
from experiments.errors import InputError, unknown_name
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.measure.cells import ColumnGroup, compute_cells
from experiments.measure.days import DAY_US, day_text
from experiments.measure.experiment import measure_experiment, unit_table
from experiments.measure.facts import Facts, take_census
from experiments.measure.parts import PLACED, MeasuredMetric, Part, parts_of
from experiments.measure.properties import names_needed
from experiments.measure.redemption import Costs
from experiments.measure.scan import scan_columns
from experiments.planning.document import Baseline, Kind
from experiments.preview import would_enrol
from experiments.preview_members import stored
from experiments.report.audience import Names
from experiments.report.document import Text
from experiments.report.inputs import Declared, phase_of, population_plan
from experiments.sources.duck import fetch, fetch_one
from experiments.sources.log import LogTables, open_log
from experiments.store import Store
from stats.adjustment import cuped_means, cuped_ratios
from stats.arrays import number
from stats.moments import Moments
from stats.samples import Sample, means, ratios

WEEKS = 4
FEWEST_OWN = 100
"""Members of an experiment's own control from which on they are the baseline."""
WEEK_US = 7 * DAY_US
ALL = "all"
LISTED = "equipoise_planning_members"
NO_PLAN = ("quantile", "time_to_event")


@dataclass(frozen=True)
class Planned:
    """An experiment of the project, as far as planning needs it."""

    record: ExperimentRecord
    metric: Metric
    metrics: dict[str, Metric]
    offers: dict[str, Offer]
    project: Project
    names: Names
    members: list[str] | None
    """Stored members that it would enrol now; ``None`` where none are stored or the request decides."""

    @property
    def currency(self) -> str:
        """The experiment's currency."""
        return self.record.pinned.currency if self.record.pinned else self.project.currency


def planned_experiment(store: Store, key: str, now_us: int, metric: str | None = None) -> Planned:
    """Read an experiment and whom it would reach.

    Args:
        store: definitions and members.
        key: the experiment.
        now_us: microseconds since 1970 UTC.
        metric: one of its metrics; by default its first decision metric.

    Raises:
        UnknownKeyError: there is no such experiment.
        InputError: it has no such metric, or one that cannot be planned for.
    """
    repository = Repository(store)
    record, project = repository.experiment(key), repository.project()
    metrics = repository.experiment_metrics(record)
    name = metric or record.definition.metrics.primary[0]
    if name not in metrics:
        raise unknown_name("metric", name, sorted(metrics), f"in the experiment {key}")
    if metrics[name].type in NO_PLAN:
        raise InputError(f"{name} is a {metrics[name].type} metric, which cannot be planned for: give --metric another")
    members = list(would_enrol(repository, key, stored(store, record.definition.unit_type), now_us))
    return Planned(
        record,
        metrics[name],
        metrics,
        repository.experiment_offers(record),
        project,
        Names.of(repository.catalogue()),
        members or None,
    )


def purchases(planned: Planned) -> Planned:
    """Return the same plan for the share of units that order within the metric's window: what an offer must raise."""
    profit = next((m for m in planned.metrics.values() if m.type == "profit"), None)
    metric = Metric(
        kind="metric",
        key="purchase",
        name={"en": "Purchase rate", "zh-CN": "购买率"},
        type="proportion",
        event=profit.event if profit is not None else PLACED[0],
        window=planned.metric.window,
        covariate=planned.metric.covariate,
    )
    return replace(planned, metric=metric)


def baseline_from_log(store: Store, planned: Planned, now_us: int) -> Baseline:
    """Measure the metric of a planned experiment on the past.

    Raises:
        InputError: the log has nothing to measure, or cannot be read.
    """
    # DuckDB brings an SQLite of its own, and closing its descriptor drops the locks of ours (see Store.close).
    store.close()
    with open_log(store.url) as log:
        return measure_baseline(log, planned, now_us)


def measure_baseline(log: LogTables, planned: Planned, now_us: int) -> Baseline:
    """Measure a baseline in any Ibis connection that has the log."""
    definition = planned.record.definition
    measured = parts_of(planned.metric, "m0", "primary", exponent(planned.currency))
    own = _own_control(log, planned, measured, now_us)
    if own is not None:
        return own
    end = now_us - measured.window_us
    once = definition.enrolment == "once"
    units, counts = _sent(log, planned, end) if once else _entering(log, planned, measured.parts, end)
    moments = _moments(log, planned, units, measured, now_us)
    if int(moments.n[0]) < 2:
        what = "members are stored" if once and planned.members is None else "units did anything"
        raise InputError(
            f"the log has no past to measure {planned.metric.key} on (fewer than two {what}): "
            "give --baseline, or --mean and --sd"
        )
    source = _source(planned, once, end, int(moments.n[0]), counts)
    per_week = [] if once else [float(count) for count in counts]
    return _baseline(planned, measured, moments, source, per_week)


def _own_control(log: LogTables, planned: Planned, measured: MeasuredMetric, now_us: int) -> Baseline | None:
    """Return the baseline of the experiment's own control group, of those whose windows are over.

    It is the best there is: an audience that is chosen by what it did (the dormant) has another past than future.
    """
    declared = Declared(planned.record, planned.project, planned.metrics, planned.offers, {}, planned.names)
    number_ = phase_of(planned.record, None)[0]
    population = population_plan(log, declared, number_, now_us)
    control = planned.record.definition.control
    d = log.decisions
    if not fetch_one(d.filter(d.experiment == planned.record.definition.key, d.variant == control).count()):
        return None
    costs = Costs(planned.currency, {}, {control: (None, None)})
    found = measure_experiment(log, population, [measured], costs, [control])
    # A day counts when even its last moment, in whatever time zone, lies a window back.
    over = [i for i, day in enumerate(found.cells.days) if (day + 2) * DAY_US + measured.window_us <= now_us]
    cells = found.cells.groups[measured.spec.name][:, :, over]
    moments = cells.sum(axis=(1, 2))
    if int(moments.n[0]) < FEWEST_OWN:
        return None
    n = int(moments.n[0])
    source: Text = {
        "en": f"{n:,} members of its own control group whose outcomes are known",
        "zh-CN": f"本实验对照组中观察窗口已结束的 {n:,} 名会员",
    }
    days = max(len(over), 1)
    shares = planned.record.definition.split()
    every = n * sum(shares.values()) / shares[control]
    rolling = planned.record.definition.enrolment == "rolling"
    return _baseline(planned, measured, moments, source, [round(7 * every / days)] if rolling else [])


def _baseline(
    planned: Planned, measured: MeasuredMetric, moments: Moments, source: Text, per_week: list[float]
) -> Baseline:
    raw, adjusted = _samples(moments, measured)
    mean, variance = float(raw.mean[0]), float(raw.variance[0])
    if not variance > 0:
        raise InputError(
            f"{planned.metric.key} was {mean:g} for every one of {source['en']}: it cannot be planned with; where the "
            "audience is chosen by this very outcome, give --baseline, or --mean and --sd, of an earlier test"
        )
    left = number(adjusted.variance[0])
    reduction = 0.0 if left is None or not variance > 0 else max(0.0, 1 - left / variance)
    is_share = planned.metric.type in ("proportion", "retention")
    kind: Kind = "proportion" if is_share else ("ratio" if measured.spec.denominator else "mean")
    return Baseline(
        name=dict(measured.spec.label),
        kind=kind,
        unit=measured.spec.unit,
        mean=mean,
        sd=float(np.sqrt(variance)),
        units=int(moments.n[0]),
        reduction=reduction,
        source=source,
        window_days=float(planned.metric.window.days),
        per_week=per_week,
        list_units=len(planned.members)
        if planned.record.definition.enrolment == "once" and planned.members is not None
        else None,
    )


def _sent(log: LogTables, planned: Planned, at_us: int) -> tuple[Any, Sequence[int]]:
    """Return everybody whom a send would reach now, as if it had been sent at ``at_us``."""
    import ibis

    if planned.members is not None:
        units = log.listed(planned.members, LISTED)
    else:
        e = log.events
        known = e.filter(e.unit_type == planned.record.definition.unit_type, e["at"] < at_us)
        units = known.select("unit").distinct()
    return units.mutate(t0=ibis.literal(at_us, type="int64")), []


def _entering(log: LogTables, planned: Planned, parts: Sequence[Part], end_us: int) -> tuple[Any, Sequence[int]]:
    """Return who did anything in the weeks before ``end_us``, from their first event on, and how many a week did."""
    e = log.events
    start = end_us - WEEKS * WEEK_US
    seen = e.filter(e.unit_type == planned.record.definition.unit_type, e["at"] >= start, e["at"] < end_us)
    # A unit enters by a visit, and buys afterwards: an entry by the outcome itself would count everybody who has it.
    others = seen.filter(~seen.name.isin(names_needed(parts)))
    if fetch_one(others.count()):
        seen = others
    if planned.members is not None:
        seen = seen.semi_join(log.listed(planned.members, LISTED), "unit")
    units = log.keep(seen.group_by("unit").aggregate(t0=seen["at"].min()), "equipoise_planning_entering")
    week = ((units.t0 - start) // WEEK_US).cast("int64")
    rows = fetch(units.mutate(week=week).group_by("week").aggregate(n=lambda t: t.count()))
    found = {int(row["week"]): int(row["n"]) for row in rows}
    return units, [found.get(number_, 0) for number_ in range(WEEKS)]


def _moments(log: LogTables, planned: Planned, units: Any, measured: MeasuredMetric, now_us: int) -> Moments:
    import ibis

    rows = units.mutate(
        u=ibis.row_number().over(order_by="unit").cast("int32"),
        variant=ibis.literal(ALL),
        contacts=ibis.literal(0, type="int64"),
        day=ibis.literal(0, type="int64"),
    )
    table = log.keep(rows, "equipoise_planning_units")
    # Nobody has the offer yet: no costs.
    costs = Costs(planned.currency, {}, {ALL: (None, None)})
    facts = Facts(log, table, measured.parts, costs, planned.record.definition.unit_type, now_us)
    columns, minor = unit_table(facts, take_census(facts), [measured])
    whole = [part.column for part in measured.parts if not columns[part.column].type().is_floating()]
    columns = log.keep(columns, "equipoise_planning_columns", whole=whole)
    scans = scan_columns(
        columns, [part.column for part in measured.parts], winsorise=dict(measured.winsorise), minor=minor
    )
    group = ColumnGroup(measured.spec.name, measured.spec.columns)
    cells = compute_cells(columns, [group], scans, variant="variant", variants=(ALL,))
    return cells.totals[measured.spec.name]


def _samples(moments: Moments, measured: MeasuredMetric) -> tuple[Sample, Sample]:
    spec = measured.spec
    raw = ratios(moments, spec.value, spec.denominator) if spec.denominator else means(moments, spec.value)
    if not spec.covariates:
        return raw, raw
    if spec.denominator:
        return raw, cuped_ratios(moments, spec.value, spec.denominator, spec.covariates).sample
    return raw, cuped_means(moments, spec.value, spec.covariates).sample


def _source(planned: Planned, once: bool, end_us: int, units: int, counts: Sequence[int]) -> Text:
    days = f"{planned.metric.window.days:g}"
    last = day_text(end_us // DAY_US)
    if once:
        return {
            "en": f"the {units:,} members it would reach now, as if sent on {last} ({days} days of outcomes)",
            "zh-CN": f"目前会触达的 {units:,} 名会员，假设于 {last} 发送（{days} 天结果）",
        }
    weekly = " ".join(f"{count:,}" for count in counts)
    return {
        "en": f"{units:,} units that came in the {WEEKS} weeks before {last} (new ones a week: {weekly})",
        "zh-CN": f"{last} 之前 {WEEKS} 周到来的 {units:,} 个单元（每周新增：{weekly}）",
    }
