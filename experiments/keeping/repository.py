"""Where definitions are kept: read them, apply documents to them, export them. Revisions are immutable.

Everything a call changes happens in one transaction with its audit rows: never a half-applied file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from experiments.definitions import Definition, Metric, Offer, Project, Segment
from experiments.definitions.catalogue import Catalogue, Name
from experiments.definitions.loader import Loaded
from experiments.definitions.project import PROJECT_KEY
from experiments.keeping import audit, contents
from experiments.keeping.applying import Application, Change
from experiments.keeping.heads import (
    HEAD,
    Head,
    StaleVersionError,
    UnknownKeyError,
    read_experiment,
    read_experiments,
    read_heads,
    read_revision,
    unknown,
)
from experiments.keeping.records import ExperimentRecord
from experiments.store import Store
from experiments.store.definition_tables import definition_heads

D = TypeVar("D")

__all__ = ["Change", "Head", "Repository", "StaleVersionError", "UnknownKeyError"]


def now_us() -> int:
    """Return the time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Repository:
    """Definitions in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # reading ------------------------------------------------------------------------------------------------------

    def heads(self) -> dict[Name, Head]:
        """Return the current revision of everything, by kind and key."""
        with self.store.read() as connection:
            return read_heads(connection)

    def catalogue(self) -> Catalogue:
        """Return the current definitions together."""
        return Catalogue({name: head.definition for name, head in self.heads().items()})

    def project(self) -> Project:
        """Return the project.

        Raises:
            UnknownKeyError: when none is defined yet.
        """
        return self._one(Project, "project", PROJECT_KEY)

    def offer(self, key: str, revision: int | None = None) -> Offer:
        """Return an offer, by default its current revision."""
        return self._one(Offer, "offer", key, revision)

    def metric(self, key: str, revision: int | None = None) -> Metric:
        """Return a metric, by default its current revision."""
        return self._one(Metric, "metric", key, revision)

    def experiment(self, key: str) -> ExperimentRecord:
        """Return an experiment with its state, phases and what its launch froze.

        Raises:
            UnknownKeyError: naming the nearest key.
        """
        with self.store.read() as connection:
            return read_experiment(connection, key)

    def experiments(self) -> list[ExperimentRecord]:
        """Return all experiments, the most recently changed first."""
        with self.store.read() as connection:
            records = read_experiments(connection)
        return sorted(records.values(), key=lambda record: (-record.updated_at, record.key))

    def experiment_metrics(self, record: ExperimentRecord) -> dict[str, Metric]:
        """Return the experiment's metrics by key, in the revisions that its launch froze."""
        pinned = record.pinned.metrics if record.pinned else {}
        return {key: self.metric(key, pinned.get(key)) for key in record.definition.metrics.keys()}  # noqa: SIM118

    def experiment_offers(self, record: ExperimentRecord) -> dict[str, Offer]:
        """Return the offers that the experiment's variants may give, by key, in the revisions that its launch froze."""
        pinned = record.pinned.offers if record.pinned else {}
        keys = [variant.offer for variant in record.definition.variants if variant.offer]
        if record.definition.by_member:
            keys += pinned if record.pinned else [key for kind, key in self.heads() if kind == "offer"]
        return {key: self.offer(key, pinned.get(key)) for key in dict.fromkeys(keys)}

    def experiment_segment(self, record: ExperimentRecord) -> Segment | None:
        """Return the segment an experiment uses, in the revision that its launch pinned; ``None`` without one."""
        key = record.definition.segment
        if key is None:
            return None
        return self._one(Segment, "segment", key, record.pinned.segment if record.pinned else None)

    def revision(self, kind: str, key: str, revision: int) -> Definition:
        """Return one revision of a definition.

        Raises:
            UnknownKeyError: when there is no such revision.
        """
        with self.store.read() as connection:
            return read_revision(connection, kind, key, revision)

    def _one(self, model: type[D], kind: str, key: str, revision: int | None = None) -> D:
        with self.store.read() as connection:
            if revision is None:
                row = connection.execute(HEAD.where(definition_heads.c.kind == kind, definition_heads.c.key == key))
                found = row.first()
                if found is None:
                    raise unknown(connection, kind, key)
                definition: Definition = contents.load(kind, found.content)
            else:
                definition = read_revision(connection, kind, key, revision)
        assert isinstance(definition, model)  # noqa: S101 - the kind decides the model
        return definition

    # writing ------------------------------------------------------------------------------------------------------

    def apply(
        self,
        documents: Iterable[Loaded | Definition],
        actor: str,
        *,
        now: int | None = None,
        expected: Mapping[Name, int] | None = None,
        dry_run: bool = False,
    ) -> list[Change]:
        """Create or change definitions; a document that says what is there already changes nothing.

        Args:
            documents: from :mod:`experiments.definitions.loader`, or models.
            actor: who does it, for the audit trail.
            now: microseconds since 1970 UTC; by default the clock's.
            dry_run: whether to roll everything back at the end.
            expected: (kind, key) → the ``version_id`` that was read; 0 when it must not exist yet.

        Raises:
            DefinitionError: with every problem; nothing is changed then.
            StaleVersionError: when a definition is at another version than expected.
        """
        loaded = list(documents)
        at = now_us() if now is None else now
        with self.store.begin() as connection:
            audit.lock(connection)
            changes = Application(connection, actor, at, expected or {}).run(loaded)
            if dry_run:
                connection.rollback()
            return changes

    def export(self, keys: Sequence[Name] | None = None) -> str:
        """Return definitions as YAML that :meth:`apply` takes, with salts and phases, so that assignments agree.

        Args:
            keys: kinds and keys; by default everything. What an exported experiment refers to is exported with it.
        """
        from experiments.keeping.exporting import export

        return export(self, keys)
