"""Units that are known by several ids: they count as one, under the id that stands for their group.

The log keeps every id as it was given. For measuring, the ids of a group are replaced by its root wherever the log is
read, so that a group is one unit, its first decision counts, and the outcomes of all its ids belong to it. Where nobody
was ever linked the log is read as it is: that costs one count of an empty table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.measure.population import PopulationPlan
from experiments.sources.duck import fetch, fetch_one
from experiments.sources.log import LogTables

MANY_IDS = 500
"""More excluded ids than this are joined as a table instead of written into the query."""


@dataclass(frozen=True)
class LinkedUnits:
    """What linking meant for one phase of an experiment."""

    ids: int = 0
    """Ids with a decision of the phase that share their unit with another such id."""
    units: int = 0
    """Units that these ids are."""
    conflicts: int = 0
    """Of these units, those whose ids were given different variants: left out as contaminated."""


def resolve(log: LogTables, plan: PopulationPlan) -> tuple[LogTables, PopulationPlan, LinkedUnits]:
    """Return the log and the plan with every id replaced by the one that stands for its group, and what was linked."""
    known = known_links(log, plan.unit_type)
    if known is None:
        return log, plan, LinkedUnits()
    found = _linked(log, known, plan)
    merged = replace(plan, excluded=[*plan.excluded, *_roots(log, known, plan.excluded)])
    return by_root(log, known, plan.unit_type), merged, found


def known_links(log: LogTables, unit_type: str) -> Any | None:
    """Return the ids that are one unit with others as a table (unit, root); ``None`` where there are none."""
    if log.identities is None:
        return None
    known = log.identities.filter(log.identities.unit_type == unit_type).select("unit", "root")
    return log.keep(known, "equipoise_identities") if fetch_one(known.count()) else None


def by_root(log: LogTables, known: Any, unit_type: str) -> LogTables:
    """Return the log with every id replaced by the one that stands for its group."""
    return replace(
        log,
        decisions=under_roots(log.decisions, known, unit_type),
        events=under_roots(log.events, known, unit_type),
        conflicts=under_roots(log.conflicts, known, unit_type),
    )


def under_roots(table: Any, known: Any, unit_type: str) -> Any:
    """Return a table of the log with every id replaced by the one that stands for its group."""
    import ibis

    renamed = known.rename(linked_unit="unit", linked_root="root")
    joined = table.left_join(renamed, (table.unit == renamed.linked_unit) & (table.unit_type == unit_type))
    unit = ibis.coalesce(joined.linked_root, joined.unit)
    return joined.mutate(unit=unit).drop("linked_unit", "linked_root")


def _roots(log: LogTables, known: Any, ids: Sequence[str]) -> list[str]:
    """Return what stands for the groups of some ids: who excludes one id of a member excludes the member."""
    if not ids:
        return []
    wanted = list(ids) if len(ids) <= MANY_IDS else log.listed(ids, "equipoise_ids").unit
    return [row["root"] for row in fetch(known.filter(known.unit.isin(wanted)).select("root").distinct())]


def _linked(log: LogTables, known: Any, plan: PopulationPlan) -> LinkedUnits:
    d = log.decisions
    d = d.filter(
        d.experiment == plan.experiment,
        d.unit_type == plan.unit_type,
        d.phase == plan.phase,
        d["at"] <= plan.now_us,
        d.kind == "enrolled",
    )
    by_id = d.group_by("unit").aggregate(first=d.variant.min(), last=d.variant.max())
    joined = by_id.join(known, "unit")
    groups = joined.group_by("root").aggregate(
        ids=joined.count(), first=joined["first"].min(), last=joined["last"].max()
    )
    groups = groups.filter(groups.ids > 1)
    row = fetch(
        groups.aggregate(
            ids=groups.ids.sum(), units=groups.count(), conflicts=(groups["first"] != groups["last"]).sum()
        )
    )[0]
    return LinkedUnits(int(row["ids"] or 0), int(row["units"] or 0), int(row["conflicts"] or 0))
