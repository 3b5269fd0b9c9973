"""The document of a rule's stages: how many members are where, who moved in each week, and the grid of scores."""

from __future__ import annotations

from itertools import pairwise

from experiments.definitions import StageRule
from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.measure.days import DAY_US, moment_text
from experiments.stages import runs
from experiments.stages.document import NONE, Run, StageCount, StagesDocument, Week
from experiments.store import Store

WEEKS = 8
WEEK_US = 7 * DAY_US


def rules_of(repository: Repository) -> list[str]:
    """Return the keys of the stage rules that are computed here."""
    found = repository.catalogue().definitions.values()
    return sorted(rule.key for rule in found if isinstance(rule, StageRule) and rule.computed is not None)


def computed_rule(repository: Repository, key: str) -> tuple[StageRule, int]:
    """Return a stage rule that is computed here, and its revision.

    Raises:
        InputError: when there is none of this key, or another system states its stages.
    """
    heads = {head.definition.key: head for (kind, _), head in repository.heads().items() if kind == "stage_rule"}
    if key not in heads:
        there = ", ".join(sorted(heads)) or "none"
        raise InputError(f"no stage rule {key!r} is defined; there are: {there}")
    rule = heads[key].definition
    if not isinstance(rule, StageRule) or rule.computed is None:
        raise InputError(f"stage rule {key} is not computed here: add computed: {{}} to it")
    return rule, heads[key].revision


def stages_document(store: Store, key: str, *, weeks: int = WEEKS) -> StagesDocument:
    """Return how the stages of a rule stand, as they were computed last.

    Args:
        store: definitions and runs.
        key: of the stage rule.
        weeks: how many of them, the present one included.

    Raises:
        InputError: when there is no such rule.
    """
    repository = Repository(store)
    heads = repository.heads()
    head = heads.get(("stage_rule", key))
    if head is None or not isinstance(head.definition, StageRule):
        there = ", ".join(sorted(k for kind, k in heads if kind == "stage_rule")) or "none"
        raise InputError(f"no stage rule {key!r} is defined; there are: {there}")
    rule, project = head.definition, repository.project()
    with store.read() as connection:
        last = runs.latest(connection, key)
        # One week more, whose revision says whether the rule changed within the first that is shown.
        kept = [] if last is None else runs.since(connection, key, last.at - (weeks + 1) * WEEK_US)
    shown = _weeks(kept)[:weeks]
    return StagesDocument(
        rule=key,
        name=dict(rule.name or {}),
        attribute=rule.attribute,
        computed=rule.computed is not None,
        revision=head.revision,
        as_of=None if last is None else moment_text(last.at),
        time_zone=project.time_zone,
        currency=project.currency,
        units=0 if last is None else last.units,
        stages=_counts(rule, last),
        weeks=shown,
        grid=[] if last is None else last.detail.grid,
        groups=0 if last is None else last.detail.groups,
        last_order=None if last is None else last.detail.last_order,
        notes=[] if last is None else last.detail.notes,
    )


def _weeks(kept: list[Run]) -> list[Week]:
    """Return the last run of each week, the latest week first."""
    by_week: dict[str, Run] = {}
    for run in kept:
        by_week.setdefault(run.detail.week, run)
    found = list(by_week.values())
    changed = [later.revision != earlier.revision for later, earlier in pairwise(found)]
    return [
        Week(
            week=run.detail.week,
            as_of=moment_text(run.at),
            units=run.units,
            counts=run.counts,
            moves=run.detail.moves,
            rule_changed=moved,
        )
        for run, moved in zip(found, [*changed, *([False] if found else [])], strict=True)
    ]


def _counts(rule: StageRule, last: Run | None) -> list[StageCount]:
    """Return the stages in the order of the rule; of another revision those that it lacks, and those in none, last."""
    counts = {} if last is None else last.counts
    names = {stage.stage: dict(stage.name or {}) for stage in rule.stages}
    listed: list[str] = [*names, *sorted(stage for stage in counts if stage not in names and stage != NONE)]
    listed += [NONE] if NONE in counts else []
    total = sum(counts.values())
    moves = None if last is None else last.detail.moves
    found = []
    for name in listed:
        stage = name or None
        entered = left = None
        if moves is not None:
            entered = sum(move.units for move in moves if move.after == stage != move.before)
            left = sum(move.units for move in moves if move.before == stage != move.after)
        units = counts.get(name, 0)
        share = units / total if total else None
        found.append(
            StageCount(stage=stage, name=names.get(name, {}), units=units, share=share, entered=entered, left=left)
        )
    return found
