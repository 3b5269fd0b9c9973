"""Moving an experiment from state to state: only allowed moves, with what each of them freezes, opens or closes."""

from __future__ import annotations

from fractions import Fraction

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.definitions import Experiment, Project, Segment
from experiments.definitions.analysis import Analysis
from experiments.definitions.catalogue import Catalogue, Name, check
from experiments.errors import InputError
from experiments.keeping import audit
from experiments.keeping.heads import (
    Head,
    StaleVersionError,
    grow_version,
    read_experiment,
    read_experiments,
    read_heads,
)
from experiments.keeping.records import ExperimentRecord, Pinned
from experiments.keeping.repository import now_us
from experiments.lifecycle import phases
from experiments.lifecycle.states import ACTIVE, MOVES, STATES, State
from experiments.store import Store
from experiments.store.definition_tables import experiment_states
from experiments.webhooks.events import announce

NEEDS_REASON = frozenset({"decided"})
"""States whose move must say why: a decision without its reason teaches nobody."""


class TransitionError(InputError):
    """A move that is not allowed; the message says which are."""


def transition(
    store: Store,
    key: str,
    to: str,
    actor: str,
    reason: str | None = None,
    now: int | None = None,
    version_id: int | None = None,
) -> ExperimentRecord:
    """Move an experiment to another state, with its audit row, in one transaction.

    The first move to ``running`` opens phase 1 and freezes currency, time zone, stickiness, holdouts, the discounts
    that members have anyway, and the revisions of offers, metrics and segment. Publishing is separate: see
    :mod:`experiments.publishing.publish`.

    Args:
        store: where it is kept.
        key: the experiment.
        to: the state to move to.
        actor: who moves it.
        reason: why; needed for ``decided``.
        now: microseconds since 1970 UTC; by default the clock's.
        version_id: the version that was read, when somebody decided on it.

    Raises:
        TransitionError: when the move is not allowed, with those that are.
        StaleVersionError: when the experiment is at another version.
        UnknownKeyError: when there is no such experiment.
    """
    at = now_us() if now is None else now
    with store.begin() as connection:
        audit.lock(connection)
        record = read_experiment(connection, key)
        if version_id is not None and version_id != record.version_id:
            raise StaleVersionError(
                f"experiment {key} was changed meanwhile (you read version {version_id}), "
                f"it is at version {record.version_id}; read it again and repeat"
            )
        state = _check_move(record, to, reason)
        heads = read_heads(connection)
        if state in ACTIVE:
            _check_ready(connection, record, heads)
        _move(connection, record, state, heads, at)
        grow_version(connection, "experiment", key, record.version_id, at)
        detail = {"from": record.state, "to": state, "revision": record.revision}
        audit.append(
            connection,
            at=at,
            actor=actor,
            action="transition",
            kind="experiment",
            key=key,
            detail=detail,
            reason=reason,
        )
        announce(connection, "experiment.transitioned", {"experiment": key, **detail, "actor": actor, "reason": reason})
        if state == "running":
            for action, opened, _ in phases.follow(connection, record, record.definition, at):
                audit.append(connection, at=at, actor=actor, action=action, kind="experiment", key=key, detail=opened)
        return read_experiment(connection, key)


def _check_move(record: ExperimentRecord, to: str, reason: str | None) -> State:
    if to not in STATES:
        raise TransitionError(f'"{to}" is not a state; use one of {", ".join(STATES)}')
    state: State = to
    allowed = MOVES[record.state]
    if state not in allowed:
        can = f"it can move to {' or '.join(allowed)}" if allowed else "that is its last state"
        raise TransitionError(f"experiment {record.key} is {record.state} and cannot move to {state}; {can}")
    if state in NEEDS_REASON and not (reason and reason.strip()):
        raise TransitionError(f"say what was decided and why: give a reason to move {record.key} to {state}")
    return state


def _check_ready(connection: Connection, record: ExperimentRecord, heads: dict[Name, Head]) -> None:
    catalogue = Catalogue({name: head.definition for name, head in heads.items()})
    problems = check(catalogue, [("experiment", record.key)])
    if problems:
        first = problems[0][1]
        raise TransitionError(f"experiment {record.key} is not ready: {first}")
    layer = record.definition.layer
    if layer is None:
        return
    for key, other in read_experiments(connection, heads).items():
        if key == record.key:
            continue
        place = other.definition.layer
        if other.state in ACTIVE and place is not None and place.key == layer.key and overlap(layer.slots, place.slots):
            free = ", ".join(f"[{low}, {high})" for low, high in place.slots)
            raise TransitionError(
                f"experiment {record.key} overlaps {key} in layer {layer.key}, which takes {free}; "
                "choose other slots, or end it first"
            )


def overlap(a: tuple[tuple[str, str], ...], b: tuple[tuple[str, str], ...]) -> bool:
    """Return whether two sets of half-open slots share anything.

    >>> overlap((("0", "0.5"),), (("0.5", "1"),)), overlap((("0", "0.5"),), (("0.4", "0.6"),))
    (False, True)
    """
    return any(
        max(Fraction(low), Fraction(other_low)) < min(Fraction(high), Fraction(other_high))
        for low, high in a
        for other_low, other_high in b
    )


def _move(connection: Connection, record: ExperimentRecord, to: State, heads: dict[Name, Head], at: int) -> None:
    values: dict[str, object] = {"state": to, "paused_at": at if to == "paused" else None}
    if to == "running" and record.started_at is None:
        values |= {"started_at": at, "pinned": pin(record.definition, heads).to_json()}
    elif to == "ended":
        values["ended_at"] = at
        phases.close(connection, record, at)
    elif to == "decided":
        values["decided_at"] = at
    connection.execute(
        sa.update(experiment_states).where(experiment_states.c.experiment == record.key).values(**values)
    )


def pin(definition: Experiment, heads: dict[Name, Head]) -> Pinned:
    """Return what a launch of this definition would freeze now."""
    catalogue = Catalogue({name: head.definition for name, head in heads.items()})
    project = catalogue.project
    assert project is not None  # noqa: S101 - checked before
    return Pinned(
        currency=project.currency,
        time_zone=project.time_zone,
        sticky=is_sticky(definition, project, catalogue.get(Segment, "segment", definition.segment or "")),
        holdouts=tuple(holdout.key for holdout in catalogue.holdouts_of(definition)),
        segment=heads["segment", definition.segment].revision if definition.segment else None,
        offers={key: heads["offer", key].revision for key in catalogue.offers_of(definition)},
        metrics={key: heads["metric", key].revision for key in definition.metrics.keys()},  # noqa: SIM118
        standing=project.standing if definition.gives_offers else None,
    )


def is_sticky(definition: Experiment, project: Project, segment: Segment | None) -> bool:
    """Return whether enrolled members keep their variant when the audience stops matching.

    As declared; by default so when the audience uses an attribute that an offer can change: a dormant member who buys
    must not lose the coupon. A policy that learns draws anew each time.
    """
    if definition.allocation is not None:
        return False
    if definition.sticky is not None:
        return definition.sticky == "enrolment"
    audience = definition.model_copy(update={"breakdowns": (), "analysis": Analysis()})
    used = phases.attributes_used(audience, segment)
    return any(project.attributes[name].changes_with_offer for name in used if name in project.attributes)
