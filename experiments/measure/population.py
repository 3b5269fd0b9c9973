"""Who counts: one row per unit of one phase, and how many were left out, by reason.

A unit counts once, in the phase of its first decision (or exposure). Left out and counted: units on the allow-list or
the exclusion list, units seen in two variants within the phase, and those whose first decision lies in another phase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from experiments.definitions.standing import Standing
from experiments.log.rows import SKEW_US
from experiments.measure.days import local_day
from experiments.measure.sends import starts
from experiments.sources.duck import fetch, fetch_one
from experiments.sources.log import LogTables

MANY_UNITS = 500
"""More excluded units than this are joined as a table instead of written into the query."""

KEPT = "kept"
MILLISECOND_US = 1_000


@dataclass(frozen=True)
class PopulationPlan:
    """Which units of the log are analysed."""

    experiment: str
    unit_type: str
    phase: int
    kind: Literal["assigned", "exposed"]
    exposure_events: tuple[str, ...]
    excluded: Sequence[str]
    """Units of the exclusion and allow lists as they stand now; logged overrides are left out by themselves."""
    frozen: tuple[str, ...]
    """Attributes frozen at decision."""
    time_zone: str
    now_us: int
    """Nothing later than this is read."""
    send_event: str | None = None
    """Event from which an assigned unit's windows start; ``None``: they start at the decision."""
    control: str | None = None
    """The variant that nothing need be sent to."""
    own_offers: Mapping[str, str] = field(default_factory=dict)
    """Variant → attribute of ``frozen`` that holds the key of each unit's own offer."""
    standing: Standing | None = None
    """What units have off every order anyway; its attribute is among ``frozen``."""


@dataclass(frozen=True)
class Units:
    """The units that are analysed."""

    table: Any
    """Ibis table: u (row number), unit, variant, t0 (µs, when the window begins), contacts, day, level_0 …; own_offer,
    the key of the unit's own offer, where variants give each unit its own; and standing_ppm, the millionths of a price
    that the unit has off anyway, where units have such a discount."""
    levels: dict[str, str]
    """Attribute → column of ``table``."""
    assigned: int
    exposed: int | None
    """``None`` where no exposure was ever reported."""
    left_out: dict[str, int]
    counts: dict[str, int]
    """Analysed units by variant."""
    first_us: int | None
    last_us: int | None
    """When the windows of the first and the last analysed unit start."""
    unsent: int | None = None
    """Units of other variants than control whose send was due and never reported; ``None`` where nobody asks."""

    @property
    def contaminated(self) -> int:
        """Units seen in two variants."""
        return self.left_out.get("contaminated", 0)


def select_units(log: LogTables, plan: PopulationPlan) -> Units:
    """Find the units, and count who is left out."""
    import ibis

    seen = log.keep(_seen(log, plan), "equipoise_seen")
    columns = {f"level_{i}": name for i, name in enumerate(plan.frozen)}
    kept = seen.filter(seen.status == KEPT)
    exposed_at = _first_exposures(log, plan, kept)
    entered = kept.left_join(exposed_at, "unit").drop("unit_right") if exposed_at is not None else None
    if entered is not None:
        entered = log.keep(entered, "equipoise_entered")
    rows = entered if entered is not None else kept.mutate(exposed_at=ibis.null("int64"))
    unsent = None
    if plan.kind == "exposed":
        rows = rows.filter(rows.exposed_at.notnull())
        rows = rows.mutate(t0=rows.exposed_at)
    elif plan.send_event is not None:
        rows = rows.left_join(starts(log, plan, kept), "unit").drop("unit_right")
        rows = rows.mutate(t0=ibis.coalesce(rows.sent_at, rows.scheduled_at))
        missing = rows.sent_at.isnull() & (rows.variant != plan.control) & (rows.scheduled_at <= plan.now_us)
        unsent = int(fetch_one(missing.sum()) or 0)
    else:
        rows = rows.mutate(t0=rows.entered_at)
    span = fetch(rows.aggregate(first=rows.t0.min(), last=rows.t0.max()))[0]
    day = local_day(rows.t0, plan.time_zone, span["first"], span["last"])
    own = {"own_offer": _own_offer(rows, plan)} if plan.own_offers else {}
    if plan.standing is not None:
        own["standing_ppm"] = standing_ppm(rows[f"level_{plan.frozen.index(plan.standing.attribute)}"], plan.standing)
    rows = rows.select("unit", "variant", "t0", "contacts", *columns, day=day, **own)
    table = log.keep(rows.mutate(u=ibis.row_number().over(order_by="unit").cast("int32")), "equipoise_population")
    status = {r["status"]: r["n"] for r in fetch(seen.group_by("status").aggregate(n=seen.count()))}
    contaminated = status.get("contaminated", 0)
    assigned = status.get(KEPT, 0) + contaminated
    left_out = {k: int(n) for k, n in sorted(status.items()) if k != KEPT}
    exposed = None
    if entered is not None:
        exposed = int(fetch_one(entered.exposed_at.count()))
    if plan.kind == "exposed":
        left_out["not_exposed"] = status.get(KEPT, 0) - (exposed or 0)
    counts = {r["variant"]: int(r["n"]) for r in fetch(table.group_by("variant").aggregate(n=table.count()))}
    return Units(
        table=table,
        levels={name: column for column, name in columns.items()},
        assigned=int(assigned),
        exposed=exposed,
        left_out={k: n for k, n in left_out.items() if n},
        counts=dict(sorted(counts.items())),
        first_us=span["first"],
        last_us=span["last"],
        unsent=unsent,
    )


def _seen(log: LogTables, plan: PopulationPlan) -> Any:
    """Return one row per unit that has a decision in the phase: its variant, when it entered, and its status."""
    import ibis

    d = log.decisions
    d = d.filter(
        d.experiment == plan.experiment, d.unit_type == plan.unit_type, d["at"] <= plan.now_us, d.kind != "holdout"
    )
    frozen = frozen_levels(log, d, plan.frozen)
    levels = {f"level_{i}": frozen[f"level_{i}"] for i in range(len(plan.frozen))} if frozen is not None else {}
    d = frozen if frozen is not None else d
    drawn = ibis.ifelse(d.kind == "enrolled", d["at"], ibis.null("int64"))
    by_phase = d.group_by("unit", "phase").aggregate(
        entered_at=drawn.min(),
        variant=ibis.ifelse(d.kind == "enrolled", d.variant, ibis.null("string")).min(),
        other=ibis.ifelse(d.kind == "enrolled", d.variant, ibis.null("string")).max(),
        overridden=(d.kind == "override").any(),
        contacts=drawn.count(),
        # All decisions of a unit in a phase freeze the same values unless clocks ran apart: the least one is taken.
        **{name: column.min() for name, column in levels.items()},
    )
    here = by_phase.filter(by_phase.phase == plan.phase).drop("phase")
    earlier = by_phase.filter(by_phase.phase != plan.phase)
    firsts = earlier.group_by("unit").aggregate(
        other_at=earlier.entered_at.min(), overridden_elsewhere=earlier.overridden.any()
    )
    seen = here.left_join(firsts, "unit").drop("unit_right")
    c = log.conflicts
    c = c.filter(c.experiment == plan.experiment, c.unit_type == plan.unit_type, c.phase == plan.phase)
    seen = seen.left_join(c.select("unit").distinct().mutate(conflicting=True), "unit").drop("unit_right")
    status = ibis.cases(
        (_is_excluded(log, seen, plan), "excluded"),
        (seen.overridden | seen.overridden_elsewhere.fill_null(False), "override"),
        (seen.entered_at.isnull(), "override"),
        (seen.other_at.fill_null(plan.now_us + 1) < seen.entered_at, "other_phase"),
        ((seen.variant != seen.other) | seen.conflicting.fill_null(False), "contaminated"),
        else_=KEPT,
    )
    return seen.select("unit", "variant", "entered_at", "contacts", *levels, status=status)


def _own_offer(rows: Any, plan: PopulationPlan) -> Any:
    import ibis

    levels = {name: rows[f"level_{index}"] for index, name in enumerate(plan.frozen)}
    cases = [(rows.variant == variant, levels[attribute]) for variant, attribute in plan.own_offers.items()]
    return ibis.cases(*cases, else_=ibis.null("string"))


def standing_ppm(level: Any, standing: Standing) -> Any:
    """Return the millionths of a price that units of a level have off anyway."""
    import ibis

    cases = [(level == name, ibis.literal(ppm, "int64")) for name, ppm in standing.ppm.items()]
    return ibis.cases(*cases, else_=ibis.literal(0, "int64"))


def _is_excluded(log: LogTables, seen: Any, plan: PopulationPlan) -> Any:
    import ibis

    if not plan.excluded:
        return ibis.literal(False)
    if len(plan.excluded) <= MANY_UNITS:
        return seen.unit.isin(list(plan.excluded))
    return seen.unit.isin(log.listed(plan.excluded, "equipoise_excluded").unit)


def frozen_levels(log: LogTables, decisions: Any, names: Sequence[str]) -> Any | None:
    """Return decisions with columns level_0 …: what each froze of some attributes; ``None`` where none is named."""
    if not names:
        return None
    from allocation.audience import json_columns

    column = "frozen" if log.dialect == "duckdb" else "CAST(frozen AS JSONB)"
    read = json_columns(log.dialect, column)
    chosen = ", ".join(f"CAST({read(name, 'any')} AS TEXT) AS level_{i}" for i, name in enumerate(names))
    # Names and columns come from our own resolver, which quotes them.
    return decisions.alias("equipoise_frozen").sql(f"SELECT *, {chosen} FROM equipoise_frozen")  # noqa: S608


def exposures(log: LogTables, plan: PopulationPlan) -> Any:
    """Return the events that say that a unit met its variant."""
    e = log.events
    return e.filter(
        e.name.isin(plan.exposure_events),
        e.unit_type == plan.unit_type,
        e["at"] <= plan.now_us,
        e.experiment.isnull() | (e.experiment == plan.experiment),
    )


def _first_exposures(log: LogTables, plan: PopulationPlan, kept: Any) -> Any | None:
    """Return unit → first exposure at or after its decision, ``None`` when none was ever reported."""
    import ibis

    e = exposures(log, plan).select("unit", "at", "experiment")
    found = met_since(e.join(kept.select("unit", "entered_at"), "unit"))
    at = ibis.greatest(found["at"], found.entered_at).min()
    exposed = log.keep(found.group_by("unit").aggregate(exposed_at=at), "equipoise_exposed")
    return exposed if fetch_one(exposed.count()) else None


def met_since(found: Any) -> Any:
    """Return the exposures that followed ``entered_at``, by clocks that may differ.

    An app's clock goes a little behind ours, and cuts times to milliseconds. An exposure that names the experiment
    cannot come before the decision it shows, so it counts if it lies before it by no more than times are left
    uncorrected for (`SKEW_US`); one that names none may be of something else, and only the millisecond is forgiven.
    """
    import ibis

    slack = ibis.ifelse(found.experiment.notnull(), SKEW_US, found.entered_at % MILLISECOND_US)
    return found.filter(found["at"] >= found.entered_at - slack)
