"""Reading definitions from the store, and the optimistic lock that every change of one goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from experiments.definitions import Definition, Experiment
from experiments.definitions.catalogue import Name
from experiments.definitions.errors import nearest
from experiments.definitions.loader import KINDS
from experiments.errors import InputError
from experiments.keeping import contents
from experiments.keeping.records import ExperimentRecord, Phase, Pinned
from experiments.lifecycle import phases
from experiments.store.definition_tables import definition_heads, definition_revisions, experiment_states


class UnknownKeyError(InputError):
    """Nothing is defined under this key; the message names the nearest one."""


class StaleVersionError(InputError):
    """Somebody else changed the definition after it was read; read it again and repeat."""


@dataclass(frozen=True)
class Head:
    """The current revision of a definition."""

    definition: Definition
    revision: int
    version_id: int
    salt: str | None
    created_at: int
    updated_at: int


HEAD = sa.select(definition_heads, definition_revisions.c.content).join(
    definition_revisions,
    sa.and_(
        definition_revisions.c.kind == definition_heads.c.kind,
        definition_revisions.c.key == definition_heads.c.key,
        definition_revisions.c.revision == definition_heads.c.revision,
    ),
)


def read_head(row: Row[Any]) -> Head:
    """Return a row of :data:`HEAD` as a head."""
    definition = contents.load(row.kind, row.content)
    return Head(definition, row.revision, row.version_id, row.salt, row.created_at, row.updated_at)


def read_heads(connection: Connection, kind: str | None = None) -> dict[Name, Head]:
    """Return the current revision of everything of a kind, or of all kinds, in the order of kinds and keys."""
    query = HEAD if kind is None else HEAD.where(definition_heads.c.kind == kind)
    found = {(row.kind, row.key): read_head(row) for row in connection.execute(query)}
    order = list(KINDS)
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1])))


def read_revision(connection: Connection, kind: str, key: str, revision: int) -> Definition:
    """Return one revision.

    Raises:
        UnknownKeyError: when there is none.
    """
    where = (
        definition_revisions.c.kind == kind,
        definition_revisions.c.key == key,
        definition_revisions.c.revision == revision,
    )
    text = connection.execute(sa.select(definition_revisions.c.content).where(*where)).scalar()
    if text is None:
        raise UnknownKeyError(f"{kind} {key} has no revision {revision}")
    return contents.load(kind, text)


def read_experiment(connection: Connection, key: str) -> ExperimentRecord:
    """Return one experiment.

    Raises:
        UnknownKeyError: naming the nearest key.
    """
    where = (definition_heads.c.kind == "experiment", definition_heads.c.key == key)
    row = connection.execute(HEAD.where(*where)).first()
    if row is None:
        raise unknown(connection, "experiment", key)
    state = connection.execute(sa.select(experiment_states).where(experiment_states.c.experiment == key)).one()
    return _record(read_head(row), state, phases.read(connection, key))


def read_experiments(connection: Connection, heads: Mapping[Name, Head] | None = None) -> dict[str, ExperimentRecord]:
    """Return all experiments by key, in a fixed number of queries.

    Args:
        connection: within a transaction, so that what is read belongs together.
        heads: when they were read already in this transaction.
    """
    known = read_heads(connection, "experiment") if heads is None else heads
    states = {row.experiment: row for row in connection.execute(sa.select(experiment_states))}
    periods = phases.read_all(connection)
    return {
        key: _record(head, states[key], periods.get(key, ()))
        for (kind, key), head in known.items()
        if kind == "experiment"
    }


def _record(head: Head, state: Row[Any], periods: tuple[Phase, ...]) -> ExperimentRecord:
    assert isinstance(head.definition, Experiment)  # noqa: S101 - the kind decides the model
    return ExperimentRecord(
        definition=head.definition,
        revision=head.revision,
        version_id=head.version_id,
        state=state.state,
        salt=head.salt or "",
        phases=periods,
        pinned=Pinned.from_json(state.pinned) if state.pinned else None,
        created_at=head.created_at,
        updated_at=head.updated_at,
        started_at=state.started_at,
        paused_at=state.paused_at,
        ended_at=state.ended_at,
        decided_at=state.decided_at,
    )


def unknown(connection: Connection, kind: str, key: str) -> UnknownKeyError:
    """Return the error for a key that is not there."""
    if kind == "project":
        return UnknownKeyError("no project is defined yet; apply a document with kind: project")
    known = connection.execute(sa.select(definition_heads.c.key).where(definition_heads.c.kind == kind)).scalars()
    shown = key if len(key) <= 64 else key[:61] + "…"
    return UnknownKeyError(f'{kind.replace("_", " ")} "{shown}" is not defined; {nearest(key, known)}')


def grow_version(connection: Connection, kind: str, key: str, version_id: int, at: int, **values: Any) -> int:
    """Raise ``version_id`` of a definition that was read at it, changing its head; return the new one.

    Raises:
        StaleVersionError: when somebody else was faster.
    """
    changed = connection.execute(
        sa.update(definition_heads)
        .where(
            definition_heads.c.kind == kind,
            definition_heads.c.key == key,
            definition_heads.c.version_id == version_id,
        )
        .values(version_id=version_id + 1, updated_at=at, **values)
    )
    if changed.rowcount != 1:
        raise StaleVersionError(f"{kind} {key} was changed meanwhile; read it again and repeat")
    return version_id + 1
