"""Applying documents: what changes, what it may not change, and everything written in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from experiments.definitions import Definition, DefinitionError, Experiment, Holdout, Layer, Problem, Project, Segment
from experiments.definitions.catalogue import Catalogue, Name, check
from experiments.definitions.loader import Loaded
from experiments.dominated import possible
from experiments.keeping import audit, contents
from experiments.keeping.heads import (
    Head,
    StaleVersionError,
    grow_version,
    read_experiment,
    read_experiments,
    read_heads,
)
from experiments.keeping.records import ExperimentRecord
from experiments.lifecycle import phases
from experiments.lifecycle.states import ACTIVE, LAUNCHED, keeps_approval, refused_changes
from experiments.store.definition_tables import definition_heads, definition_revisions, experiment_states


@dataclass(frozen=True)
class Change:
    """What applying one document did."""

    kind: str
    key: str
    action: Literal["created", "revised", "unchanged"]
    revision: int
    version_id: int
    notes: tuple[str, ...] = ()
    """What followed from it: a phase opened, the experiment went back to draft …"""


def new_salt() -> str:
    """Return 16 random hex digits."""
    return secrets.token_hex(8)


class Application:
    """One application of documents, within one transaction that holds the lock."""

    def __init__(self, connection: Connection, actor: str, at: int, expected: Mapping[Name, int]) -> None:
        self.connection = connection
        self.actor = actor
        self.at = at
        self.expected = expected
        self.heads = read_heads(connection)
        self.records = read_experiments(connection, self.heads)

    def run(self, loaded: Sequence[Loaded | Definition]) -> list[Change]:
        """Check everything, then write it."""
        items = [(item, None) if not isinstance(item, Loaded) else (item.definition, item) for item in loaded]
        self._check_versions([definition for definition, _ in items])
        catalogue = self._check_contents(items)
        changes = [self._write(definition) for definition, _ in items]
        return [self._with_dominated(change, catalogue) for change in changes]

    def _with_dominated(self, change: Change, catalogue: Catalogue) -> Change:
        """Note the offers that give some members of an experiment nothing which these do not have anyway."""
        definition, project = catalogue.get(Experiment, change.kind, change.key), catalogue.project
        if change.action == "unchanged" or definition is None or project is None or project.standing is None:
            return change
        standing = read_experiment(self.connection, change.key).standing(project)
        found = dict.fromkeys(each.said["en"] for each in possible(definition, catalogue, standing))
        return replace(change, notes=(*change.notes, *found))

    def _check_versions(self, definitions: Sequence[Definition]) -> None:
        for definition in definitions:
            name = (definition.kind, definition.key)
            if name not in self.expected:
                continue
            head = self.heads.get(name)
            there = head.version_id if head else 0
            if there != self.expected[name]:
                label = f"{definition.kind} {definition.key}"
                if head is None:
                    raise StaleVersionError(f"{label} does not exist (any more); read it again and repeat")
                read = self.expected[name]
                what = "exists already" if read == 0 else f"was changed meanwhile (you read version {read})"
                raise StaleVersionError(f"{label} {what}, it is at version {there}; read it again and repeat")

    def _check_contents(self, items: Sequence[tuple[Definition, Loaded | None]]) -> Catalogue:
        """Refuse what does not fit; return what there will be afterwards."""
        after = {name: head.definition for name, head in self.heads.items()}
        sources: dict[Name, Loaded] = {}
        for definition, source in items:
            after[definition.kind, definition.key] = definition
            if source is not None:
                sources[definition.kind, definition.key] = source
        catalogue = Catalogue(after)
        applied: set[Name] = {(definition.kind, definition.key) for definition, _ in items}
        found: list[tuple[Name, Problem]] = []
        for definition, _ in items:
            found += [((definition.kind, definition.key), problem) for problem in self._check_change(definition)]
        found += check(catalogue, [*applied, *self._affected(applied)])
        if not found:
            return catalogue
        problems = []
        for name, problem in found:
            source = sources.get(name)
            if source is not None:
                problems.append(source.source.problem(problem.message, problem.pointer))
            else:
                label = " ".join(name) if name[0] != "project" else "project"
                problems.append(Problem(problem.message, problem.pointer, key=label))
        raise DefinitionError(problems)

    def _affected(self, applied: set[Name]) -> list[Name]:
        """Return what a change of the project or of a segment could break; experiments that are over cannot break."""
        if not any(kind in {"project", "segment"} for kind, _ in applied):
            return []
        over = {("experiment", key) for key, record in self.records.items() if record.state in {"ended", "decided"}}
        found = [name for name in self.heads if name[0] in {"experiment", "segment", "offer", "stage_rule"}]
        return [name for name in found if name not in applied and name not in over]

    def _check_change(self, definition: Definition) -> list[Problem]:
        head = self.heads.get((definition.kind, definition.key))
        made = getattr(definition, "made", None)
        if head is None:
            return list(phases.made_problems(definition)) if isinstance(definition, Experiment) else []
        problems = []
        if made is not None and made.salt != head.salt:
            advice = "remove made, or apply to a database that does not know it"
            problems.append(
                Problem(f"is another salt than it has here, and salts never change; {advice}", "/made/salt")
            )
        if isinstance(definition, Experiment):
            record = self.records[definition.key]
            problems += phases.prefix_problems(definition, record)
            problems += refused_changes(record.state, record.definition, definition, has_phases=bool(record.phases))
        elif isinstance(definition, Project | Layer | Holdout):
            problems += self._check_used(definition, head.definition)
        return problems

    def _check_used(self, new: Project | Layer | Holdout, old: Definition) -> list[Problem]:
        """Refuse changes that would move members of active experiments."""
        active = [record for record in self.records.values() if record.state in ACTIVE]
        if isinstance(new, Holdout) and isinstance(old, Holdout):
            users = [r.key for r in active if r.pinned and new.key in r.pinned.holdouts]
            if users and (new.share, new.scope, new.unit_type) != (old.share, old.scope, old.unit_type):
                advice = f"members of {users[0]} would move; define a new holdout instead"
                return [Problem(f"cannot change while a running experiment uses it: {advice}", "/share")]
        if isinstance(new, Layer) and isinstance(old, Layer) and new.unit_type != old.unit_type:
            users = [r.key for r in active if r.definition.layer and r.definition.layer.key == new.key]
            if users:
                return [Problem(f"cannot change while {users[0]} uses the layer", "/unit_type")]
        if isinstance(new, Project) and isinstance(old, Project):
            used: set[str] = set()
            for record in active:
                used |= phases.attributes_used(record.definition, self._segment(record))
                used |= {record.pinned.standing.attribute} if record.pinned and record.pinned.standing else set()
            changed = [name for name in sorted(used) if _place(old, name) not in (None, _place(new, name))]
            advice = "cannot change while a running experiment uses it; declare a new one"
            return [Problem(advice, f"/attributes/{name}") for name in changed]
        return []

    def _segment(self, record: ExperimentRecord) -> Segment | None:
        key = record.definition.segment
        head = self.heads.get(("segment", key)) if key else None
        return head.definition if head and isinstance(head.definition, Segment) else None

    def _write(self, definition: Definition) -> Change:
        head = self.heads.get((definition.kind, definition.key))
        text = contents.dump(definition)
        if head is None:
            return self._create(definition, text)
        made = getattr(definition, "made", None)
        if contents.content_hash(contents.dump(head.definition)) == contents.content_hash(text):
            adopted = self._adopt(definition) if isinstance(definition, Experiment) and made else ()
            kind, key = definition.kind, definition.key
            return Change(kind, key, "unchanged", head.revision, head.version_id + bool(adopted), adopted)
        return self._revise(definition, head, text)

    def _create(self, definition: Definition, text: str) -> Change:
        made = getattr(definition, "made", None)
        salted = definition.kind in {"experiment", "layer", "holdout"}
        salt = (made.salt if made else new_salt()) if salted else None
        self._insert_revision(definition, 1, text)
        self.connection.execute(
            sa.insert(definition_heads).values(
                kind=definition.kind,
                key=definition.key,
                revision=1,
                version_id=1,
                salt=salt,
                created_at=self.at,
                updated_at=self.at,
            )
        )
        notes: tuple[str, ...] = ()
        if isinstance(definition, Experiment):
            self.connection.execute(sa.insert(experiment_states).values(experiment=definition.key, state="draft"))
            if definition.made and definition.made.phases:
                phases.insert_made(self.connection, definition)
                notes = (f"{len(definition.made.phases)} phases carried over",)
        self._audit("created", definition, {"revision": 1, "content": contents.content_hash(text)})
        return Change(definition.kind, definition.key, "created", 1, 1, notes)

    def _adopt(self, definition: Experiment) -> tuple[str, ...]:
        """Take phases from a document for an experiment that has none yet."""
        record = read_experiment(self.connection, definition.key)
        if record.phases or not definition.made or not definition.made.phases:
            return ()
        phases.insert_made(self.connection, definition)
        grow_version(self.connection, "experiment", definition.key, record.version_id, self.at)
        self._audit("phases_carried_over", definition, {"phases": len(definition.made.phases)})
        return (f"{len(definition.made.phases)} phases carried over",)

    def _revise(self, definition: Definition, head: Head, text: str) -> Change:
        revision = head.revision + 1
        self._insert_revision(definition, revision, text)
        version_id = grow_version(
            self.connection, definition.kind, definition.key, head.version_id, self.at, revision=revision
        )
        detail = {"revision": revision, "changes": contents.difference(head.definition, definition)}
        self._audit("revised", definition, detail)
        notes: tuple[str, ...] = ()
        if isinstance(definition, Experiment) and isinstance(head.definition, Experiment):
            notes = self._after_edit(head.definition, definition)
        return Change(definition.kind, definition.key, "revised", revision, version_id, notes)

    def _after_edit(self, old: Experiment, new: Experiment) -> tuple[str, ...]:
        record = read_experiment(self.connection, new.key)
        if record.state in {"review", "testing"} and not keeps_approval(old, new):
            self.connection.execute(
                sa.update(experiment_states).where(experiment_states.c.experiment == new.key).values(state="draft")
            )
            detail = {"from": record.state, "to": "draft"}
            self._audit("transition", new, detail, "the design was edited")
            return ("back to draft: the design was edited",)
        if record.state not in LAUNCHED:
            return ()
        notes = phases.follow(self.connection, record, new, self.at)
        for action, detail, _ in notes:
            self._audit(action, new, detail)
        if record.pinned is not None:
            pinned = phases.pin_new_metrics(record.pinned, new, self.heads)
            self.connection.execute(
                sa.update(experiment_states)
                .where(experiment_states.c.experiment == new.key)
                .values(pinned=pinned.to_json())
            )
        return tuple(note for _, _, note in notes)

    def _insert_revision(self, definition: Definition, revision: int, text: str) -> None:
        self.connection.execute(
            sa.insert(definition_revisions).values(
                kind=definition.kind,
                key=definition.key,
                revision=revision,
                content=text,
                content_hash=contents.content_hash(text),
                created_at=self.at,
                created_by=self.actor,
            )
        )

    def _audit(self, action: str, definition: Definition, detail: Mapping[str, Any], reason: str | None = None) -> None:
        audit.append(
            self.connection,
            at=self.at,
            actor=self.actor,
            action=action,
            kind=definition.kind,
            key=definition.key,
            detail=detail,
            reason=reason,
        )


def _place(project: Project, name: str) -> tuple[str, str] | None:
    """Return what deciding depends on in an attribute: its type, and where its value comes from."""
    attribute = project.attributes.get(name)
    return None if attribute is None else (attribute.type, attribute.kept)
