"""Phases in the store: opened at launch and at each changed split, carried between environments by export and apply."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from allocation.audience import parse
from experiments.definitions import Experiment, Problem, Segment
from experiments.definitions.base import instant_us
from experiments.definitions.experiment import PhaseRecord
from experiments.definitions.project import PROJECT_KEY
from experiments.keeping.records import ExperimentRecord, Phase, Pinned
from experiments.lifecycle.states import opens_phase
from experiments.store.definition_tables import experiment_phases

Note = tuple[str, dict[str, Any], str]
"""Audit action, its detail, and a sentence for the person who caused it."""


def read(connection: Connection, experiment: str) -> tuple[Phase, ...]:
    """Return the phases of an experiment, oldest first."""
    query = _ORDERED.where(experiment_phases.c.experiment == experiment)
    return tuple(_phase(row) for row in connection.execute(query))


def read_all(connection: Connection) -> dict[str, tuple[Phase, ...]]:
    """Return the phases of every experiment that has some, oldest first."""
    found: dict[str, list[Phase]] = {}
    for row in connection.execute(_ORDERED):
        found.setdefault(row.experiment, []).append(_phase(row))
    return {key: tuple(phases) for key, phases in found.items()}


_ORDERED = sa.select(experiment_phases).order_by(experiment_phases.c.experiment, experiment_phases.c.phase)


def _phase(row: Row[Any]) -> Phase:
    return Phase(
        number=row.phase,
        salt=row.salt,
        carry=row.carry,
        traffic=row.traffic,
        weights=json.loads(row.weights),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
    )


def _insert(connection: Connection, experiment: str, phase: Phase) -> None:
    connection.execute(
        sa.insert(experiment_phases).values(
            experiment=experiment,
            phase=phase.number,
            salt=phase.salt,
            carry=phase.carry,
            traffic=phase.traffic,
            weights=json.dumps(phase.weights, ensure_ascii=False, separators=(",", ":")),
            opened_at=phase.opened_at,
            closed_at=phase.closed_at,
        )
    )


def _update(connection: Connection, experiment: str, number: int, **values: object) -> None:
    connection.execute(
        sa.update(experiment_phases)
        .where(experiment_phases.c.experiment == experiment, experiment_phases.c.phase == number)
        .values(**values)
    )


def first(definition: Experiment, salt: str, at: int) -> Phase:
    """Return the phase that a launch opens."""
    return Phase(1, salt, "start", definition.traffic, definition.split(), at)


def follow(connection: Connection, record: ExperimentRecord, new: Experiment, at: int) -> list[Note]:
    """Bring the phases in line with a definition that runs from now on; open one where its split needs it."""
    last = record.phase
    if last is None:
        phase = first(new, record.salt, at)
        _insert(connection, new.key, phase)
        return [("phase_opened", _shown(phase), "phase 1 opened")]
    if opens_phase(dict(last.weights), last.traffic, new):
        reassign = new.on_split_change == "reassign"
        phase = Phase(
            number=last.number + 1,
            salt=secrets.token_hex(8) if reassign else last.salt,
            carry=new.on_split_change,
            traffic=new.traffic,
            weights=new.split(),
            opened_at=at,
        )
        _update(connection, new.key, last.number, closed_at=at)
        _insert(connection, new.key, phase)
        what = (
            "everybody is assigned anew; effects of the earlier assignment may carry over"
            if reassign
            else "enrolled members keep their variant, newcomers get the new split"
        )
        return [("phase_opened", _shown(phase), f"phase {phase.number} opened: {what}")]
    notes: list[Note] = []
    changes: dict[str, object] = {}
    if Fraction(new.traffic) > Fraction(last.traffic):
        changes["traffic"] = new.traffic
        detail = {"phase": last.number, "before": last.traffic, "after": new.traffic}
        notes.append(("traffic_raised", detail, f"traffic raised from {last.traffic} to {new.traffic}; nobody moved"))
    if list(new.split()) != list(last.weights):
        changes["weights"] = json.dumps(new.split(), ensure_ascii=False, separators=(",", ":"))
    if last.closed_at is not None:
        changes["closed_at"] = None
    if changes:
        _update(connection, new.key, last.number, **changes)
    return notes


def close(connection: Connection, record: ExperimentRecord, at: int) -> None:
    """Close the last phase, because the experiment ended."""
    if record.phase is not None:
        _update(connection, record.key, record.phase.number, closed_at=at)


def _shown(phase: Phase) -> dict[str, Any]:
    return {
        "phase": phase.number,
        "salt": phase.salt,
        "carry": phase.carry,
        "traffic": phase.traffic,
        "weights": dict(phase.weights),
    }


# phases that travel in documents ----------------------------------------------------------------------------------


def from_document(made: PhaseRecord) -> Phase:
    """Return a phase that an export wrote."""
    closed = None if made.closed_at is None else instant_us(made.closed_at)
    return Phase(made.phase, made.salt, made.carry, made.traffic, made.weights, instant_us(made.opened_at), closed)


def to_document(phase: Phase) -> dict[str, Any]:
    """Return a phase as an export writes it."""
    result: dict[str, Any] = {
        "phase": phase.number,
        "salt": phase.salt,
        "carry": phase.carry,
        "traffic": phase.traffic,
        "weights": dict(phase.weights),
        "opened_at": _instant(phase.opened_at),
    }
    if phase.closed_at is not None:
        result["closed_at"] = _instant(phase.closed_at)
    return result


def _instant(at: int) -> str:
    moment = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
    return moment.isoformat().replace("+00:00", "Z")


def insert_made(connection: Connection, definition: Experiment) -> None:
    """Write the phases that a document carries."""
    for made in definition.made.phases if definition.made else ():
        _insert(connection, definition.key, from_document(made))


def made_problems(definition: Experiment) -> Iterator[Problem]:
    """Yield what is wrong with the phases of a document."""
    if definition.made is None:
        return
    order = list(definition.split())
    for index, made in enumerate(definition.made.phases):
        at = f"/made/phases/{index}"
        if made.phase != index + 1:
            yield Problem(f"must be phase {index + 1}; leave phases as equipoise export wrote them", f"{at}/phase")
        if (made.carry == "start") != (index == 0):
            yield Problem("only phase 1 has carry: start, and it must", f"{at}/carry")
        if list(made.weights) != [key for key in order if key in made.weights]:
            advice = "add what is missing at the end, with weight 0 where it is not wanted any more"
            yield Problem(f"names variants that the experiment lacks, or in another order; {advice}", f"{at}/weights")
        if not any(made.weights.values()):
            yield Problem("has no weight above 0; leave phases as equipoise export wrote them", f"{at}/weights")


def prefix_problems(definition: Experiment, record: ExperimentRecord) -> Iterator[Problem]:
    """Yield a problem when a document's phases are not the ones that happened here."""
    if definition.made is None or not definition.made.phases:
        return
    yield from made_problems(definition)
    if not record.phases:
        return
    theirs = [(made.salt, made.carry) for made in definition.made.phases]
    ours = [(phase.salt, phase.carry) for phase in record.phases]
    if theirs != ours[: len(theirs)]:
        advice = "remove made, or apply to a database that does not know the experiment"
        yield Problem(f"are not the phases this experiment had here; {advice}", "/made/phases")


# what a launch freezes --------------------------------------------------------------------------------------------


def attributes_used(definition: Experiment, segment: Segment | None) -> set[str]:
    """Return the attributes that an experiment reads: of audience and eligibility, and those frozen at decision."""
    names = set(definition.frozen)
    eligible = definition.allocation.rules().values() if definition.allocation else ()
    for rule in (definition.audience, segment.rule if segment else None, *eligible):
        if rule is not None:
            names |= set(parse(rule).attributes)
    return names


def pin_new_metrics(pinned: Pinned, new: Experiment, heads: Mapping[tuple[str, str], Any]) -> Pinned:
    """Freeze the current revision of offers and metrics that a running experiment has newly named."""
    metrics = {
        key: pinned.metrics.get(key) or heads["metric", key].revision
        for key in new.metrics.keys()  # noqa: SIM118 - a method of the plan, not of a dictionary
    }
    named = [variant.offer for variant in new.variants if variant.offer]
    own = [key for kind, key in heads if kind == "offer"] if new.by_member else []
    offers = {key: pinned.offers.get(key) or heads["offer", key].revision for key in (*named, *own)}
    standing = pinned.standing
    if not pinned.offers and new.gives_offers:
        # No decision before froze what its member has anyway, and none gave an offer.
        standing = heads["project", PROJECT_KEY].definition.standing
    return replace(pinned, metrics={**pinned.metrics, **metrics}, offers=offers, standing=standing)
