"""Computing the stages of a rule as of a moment, and keeping them: history, stored attributes, and the run itself.

What is computed twice as of the same moment comes to the same as once: stages are compared with those of before that
moment, rows are replaced, and statements of one moment are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from allocation.audience.dates import from_us
from experiments.definitions import Project, StageRule
from experiments.definitions.stage_facts import FACTS
from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.log.store_rows import replace
from experiments.log.traits import Statement, merge
from experiments.measure.days import moment_text
from experiments.sources.log import open_log
from experiments.stages import reading, runs
from experiments.stages.days import Days
from experiments.stages.document import Run
from experiments.stages.showing import computed_rule
from experiments.store import Store
from experiments.store.stage_tables import stage_history

BATCH = 2_000
SCHEMAS = {"sqlite": "log.main", "postgresql": "log.public"}
MOST_WEEKS = 104

Progress = Callable[[int, int | None], None]


def compute(
    store: Store, key: str, as_of_us: int, *, weeks: int = 0, progress: Progress = lambda _done, _total: None
) -> Run:
    """Compute the stages of a rule, and keep them.

    Args:
        store: definitions, log and members. Its connections are closed while the engine reads; see ``Store.close``.
        key: of the stage rule.
        as_of_us: microseconds since 1970 UTC: later events are not known.
        weeks: where nothing was computed yet, so many week ends before are computed first, so that moves can be shown
            at once. Stored attributes are then those of today.
        progress: told how many rows are written.

    Raises:
        InputError: when there is no such rule, it is not computed here, or a later moment was computed already.
    """
    repository = Repository(store)
    rule, revision = computed_rule(repository, key)
    project = repository.project()
    with store.read() as connection:
        last = runs.latest(connection, key)
    if last is not None and last.at > as_of_us:
        raise InputError(
            f"stage rule {key} was computed as of {moment_text(last.at)} already; name that time or a later one"
        )
    moments = [as_of_us]
    if last is None and weeks:
        days = Days.until(as_of_us, project.time_zone)
        monday = days.today - (days.today + 3) % 7
        moments = [*(days.start_of(monday - 7 * n) - 1 for n in range(min(weeks, MOST_WEEKS) - 1, -1, -1)), as_of_us]
    run = None
    for moment in moments:
        run = _compute(store, rule, revision, project, moment, progress, states=moment == as_of_us)
    assert run is not None  # noqa: S101 - there is a moment
    return run


def _compute(
    store: Store, rule: StageRule, revision: int, project: Project, at: int, progress: Progress, *, states: bool
) -> Run:
    """Compute as of one moment; ``states``: whether members' stored attributes are written too."""
    days = Days.until(at, project.time_zone)
    with store.read() as connection:
        known_before = runs.before(connection, rule.key, days.monday_us)
    # DuckDB brings an SQLite of its own, and closing its descriptor drops the locks of ours (see Store.close).
    store.close()
    schema = SCHEMAS[store.dialect]
    with open_log(store.url) as log:
        found = reading.read(log, rule, project, at, schema=schema, known_before=known_before)
    unit_type = rule.computed.unit_type if rule.computed else "member"
    total = found.changes.num_rows + (found.statements.num_rows if states else 0)
    done = 0
    for rows in _batches(found.changes):
        with store.begin() as connection:
            replace(
                connection,
                stage_history,
                [(rule.key, unit_type, row["unit"], at, row["stage"], revision) for row in rows],
            )
        done += len(rows)
        progress(done, total)
    for rows in _batches(found.statements) if states else ():
        with store.begin() as connection:
            merge(connection, [_statement(rule, unit_type, row, at) for row in rows])
        done += len(rows)
        progress(done, total)
    run = Run(
        rule=rule.key,
        at=at,
        revision=revision,
        units=found.units,
        changed=found.changes.num_rows,
        counts=found.counts,
        detail=found.detail,
    )
    with store.begin() as connection:
        runs.keep(connection, run)
    return run


def _batches(table: Any) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, table.num_rows, BATCH):
        yield table.slice(start, BATCH).to_pylist()


def _statement(rule: StageRule, unit_type: str, row: dict[str, Any], at: int) -> Statement:
    kept = rule.computed.keep if rule.computed else ()
    values = {name: _value(name, row[name]) for name in kept}
    return Statement(unit_type, row["unit"], at, {**values, rule.attribute: row["stage"]})


def _value(name: str, held: Any) -> Any:
    """Return a fact as attributes hold it: a date as ISO text, a whole number without decimals."""
    if held is None:
        return None
    if FACTS[name] == "date":
        return from_us(held)
    return int(held) if isinstance(held, float) and held.is_integer() else held
