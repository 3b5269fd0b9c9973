"""Which decisions of an experiment count, and when their windows begin: a table of the engine, one row a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.learning.declared import Declared
from experiments.measure.linked import MANY_IDS, resolve
from experiments.measure.population import PopulationPlan, frozen_levels, standing_ppm
from experiments.sources.log import LogTables

KEPT = "kept"


@dataclass(frozen=True)
class Decided:
    """The decisions of an experiment."""

    log: LogTables
    """With every id replaced by the one that stands for its unit."""
    table: Any
    """Ibis table: d (0, 1, 2 … by time), u (number of the unit), variant, at, t0 (when its window begins), status,
    what was logged, and standing_ppm where members have a discount anyway (see `experiments.measure.population`)."""
    units: Any
    """Ibis table for `experiments.measure.facts.Facts`: u, unit, an empty variant, and t0 = 0, so that times after
    the entry are times."""


def decided(log: LogTables, declared: Declared, until: int) -> Decided:
    """Find the decisions of an experiment.

    Args:
        log: where the rows lie.
        declared: the experiment.
        until: microseconds since 1970 UTC; nothing later is read.
    """
    import ibis

    definition = declared.record.definition
    log, plan, _ = resolve(log, _population(declared, until))
    d = log.decisions
    mine = d.filter(d.experiment == plan.experiment, d.unit_type == plan.unit_type, d["at"] <= until)
    overridden = mine.filter(mine.kind == "override").select("unit").distinct()
    rows = mine.filter(mine.kind == "enrolled")
    conflicting = log.conflicts.filter(log.conflicts.experiment == plan.experiment).select("decision_id").distinct()
    status = ibis.cases(
        (_among(log, rows.unit, plan.excluded), "excluded"),
        (rows.unit.isin(overridden.unit), "override"),
        (rows.decision_id.isin(conflicting.decision_id), "conflicting"),
        (rows.propensity.isnull() | (rows.propensity <= 0), "no_propensity"),
        (~rows.variant.isin(list(declared.variants)), "not_drawn"),
        else_=KEPT,
    )
    names = ("decision_id", "unit", "variant", "propensity", "frozen", "policy", "phase", "at")
    begins = rows["at"]
    if definition.windows_start == "send":
        rows, begins = _sent(log, rows, definition.send_event, until)
    rows = rows.select(*names, status=status, t0=begins)
    frozen = None if declared.standing is None else frozen_levels(log, rows, (declared.standing.attribute,))
    if frozen is not None and declared.standing is not None:
        rows = frozen.mutate(standing_ppm=standing_ppm(frozen.level_0, declared.standing)).drop("level_0")
    kept = log.keep(rows, "equipoise_decided_rows")
    units = kept.select("unit").distinct()
    units = units.select(
        "unit",
        u=ibis.row_number().over(order_by=units.unit).cast("int32"),
        variant=ibis.literal(""),
        t0=ibis.literal(0, type="int64"),
    )
    units = log.keep(units, "equipoise_decided_units")
    joined = kept.join(units.select("u", linked="unit"), kept.unit == units.unit).drop("linked")
    joined = joined.mutate(d=ibis.row_number().over(order_by=[joined["at"], joined.decision_id])).drop("unit")
    return Decided(log, log.keep(joined, "equipoise_decided", whole=("d",)), units)


def _population(declared: Declared, until: int) -> PopulationPlan:
    definition = declared.record.definition
    phase = declared.record.phase
    return PopulationPlan(
        experiment=definition.key,
        unit_type=definition.unit_type,
        phase=1 if phase is None else phase.number,
        kind="assigned",
        exposure_events=(),
        excluded=declared.excluded,
        frozen=(),
        time_zone="UTC",
        now_us=until,
    )


def _among(log: LogTables, unit: Any, listed: Any) -> Any:
    import ibis

    if not listed:
        return ibis.literal(False)
    if len(listed) <= MANY_IDS:
        return unit.isin(list(listed))
    return unit.isin(log.listed(listed, "equipoise_not_learned").unit)


def _sent(log: LogTables, rows: Any, send_event: str, until: int) -> tuple[Any, Any]:
    """Return the rows and when their windows begin: at the send that names the decision, else when it was scheduled.

    A send that names no decision says nothing of which of a unit's decisions it follows.
    """
    import ibis

    e = log.events
    sends = e.filter(e.name == send_event, e["at"] <= until, e.decision_id.notnull())
    sends = sends.group_by("decision_id").aggregate(sent_at=sends["at"].min())
    joined = rows.left_join(sends, "decision_id").drop("decision_id_right")
    return joined, ibis.greatest(ibis.coalesce(joined.sent_at, joined.send_at, joined["at"]), joined["at"])
