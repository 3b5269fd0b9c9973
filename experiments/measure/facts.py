"""What a unit table is made from: the events of the units, each as a time after its unit's entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.measure.parts import ORDER_FAMILY, Part, order_events
from experiments.measure.properties import Properties, names_needed
from experiments.measure.redemption import Costs
from experiments.sources.duck import fetch
from experiments.sources.log import LogTables

PRICING = ("own_offer", "standing_ppm")


@dataclass(frozen=True)
class Census:
    """How many events of each needed name there are, and how many speak of an object."""

    events: dict[str, int]
    objects: dict[str, int]
    several_sources: frozenset[str]
    """Names that more than one source reports."""
    last_us: int | None
    """Latest event of any needed name."""


@dataclass(frozen=True)
class Facts:
    """What the unit table is made from."""

    log: LogTables
    units: Any
    """Ibis table with u, unit, variant, t0, contacts; own_offer where variants give each unit its own, standing_ppm
    where units have a discount anyway."""
    parts: tuple[Part, ...]
    costs: Costs
    unit_type: str
    now_us: int

    @property
    def has_own_offers(self) -> bool:
        """Whether there are variants that give each unit its own offer."""
        return "own_offer" in self.units.columns

    @property
    def pricing(self) -> tuple[str, ...]:
        """Columns of ``units`` that say what a unit's redemptions cost."""
        return tuple(name for name in PRICING if name in self.units.columns)


def take_census(facts: Facts) -> Census:
    """Count the needed events by name, in one scan."""
    e = relevant(facts).filter(lambda t: t.name.isin(names_needed(facts.parts)))
    counted = e.group_by("name").aggregate(
        n=e.count(), objects=e.object_id.count(), last=e["at"].max(), several=e.source.min() != e.source.max()
    )
    rows = fetch(counted)
    return Census(
        events={r["name"]: int(r["n"]) for r in rows},
        objects={r["name"]: int(r["objects"]) for r in rows},
        several_sources=frozenset(r["name"] for r in rows if r["several"]),
        last_us=max((int(r["last"]) for r in rows), default=None),
    )


def relevant(facts: Facts) -> Any:
    """Return the events of the unit type up to now."""
    e = facts.log.events
    return e.filter(e.unit_type == facts.unit_type, e["at"] <= facts.now_us)


def order_names(facts: Facts) -> tuple[str, ...]:
    """Return the names of all events that belong to orders; none where no metric asks for an order."""
    stating = order_events(facts.parts)
    if not any(p.event in stating for p in facts.parts):
        return ()
    return tuple(dict.fromkeys((*ORDER_FAMILY, *stating)))


def rows_of(facts: Facts, events: Any, properties: Properties) -> Any:
    """Return events of the units: u, variant, dt (µs after entry), name, object, and what the parts read."""
    e = properties.extract(facts.log, events)
    own = facts.pricing
    joined = e.join(facts.units.select("u", "unit", "variant", "t0", *own), "unit")
    return joined.select(
        "u",
        "variant",
        *own,
        "name",
        "object_id",
        "value_minor",
        "source",
        "event_id",
        *properties.columns(),
        dt=joined["at"] - joined.t0,
    )
