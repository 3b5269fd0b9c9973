"""``equipoise sql EXPERIMENT``: the assignment as SQL, for a list that lies in a warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from api.cli import UserError

if TYPE_CHECKING:
    from allocation.compiled import CompiledExperiment, CompiledSnapshot

DIALECTS = ("duckdb", "postgres", "spark", "bigquery", "snowflake", "clickhouse", "mysql")


@click.command(name="sql")
@click.argument("experiment")
@click.option("--dialect", type=click.Choice(DIALECTS), required=True, help="Engine that will run it.")
@click.option("--table", default="members", show_default=True, metavar="NAME", help="Table of members.")
@click.option("--unit-column", default="unit", show_default=True, metavar="COL", help="Its column of unit ids (text).")
@click.option("--opted-out", metavar="COL", help="Boolean column: opted out of personalisation.")
@click.option("--enrolments", metavar="TABLE", help="Table (unit, phase, variant) of members enrolled already.")
@click.option("--at", metavar="TIME", help="Time of the decision, ISO 8601; now by default.")
@click.option("--snapshot", "snapshot_file", type=click.Path(), metavar="FILE", help="Another snapshot file.")
@click.pass_context
def command(
    ctx: click.Context,
    experiment: str,
    dialect: str,
    table: str,
    unit_column: str,
    opted_out: str | None,
    enrolments: str | None,
    at: str | None,
    snapshot_file: str | None,
) -> None:
    r"""Print the assignment of EXPERIMENT as one SELECT: columns unit, variant, reason.

    \b
    Example:
      equipoise sql dormant-winback --dialect bigquery --table crm.members --unit-column member_id
    """
    from allocation.audience import RuleError
    from allocation.audience.dates import from_us
    from allocation.compiled import PlanError
    from allocation.sql import DialectError, assignment_sql, caveats

    now = moment(at)
    compiled, _ = published(ctx.obj, experiment, snapshot_file, now)
    try:
        query = assignment_sql(
            compiled.plan,
            dialect,
            table=table,
            unit_column=unit_column,
            now=now,
            excluded=tuple(sorted(compiled.excluded)),
            opted_out=opted_out,
            enrolments=enrolments,
        )
    except (DialectError, PlanError, RuleError) as error:
        raise UserError(f"{experiment}: {error}") from None
    click.echo(f"-- {experiment}, revision {compiled.revision}, phase {compiled.phase.number}, as of {from_us(now)}")
    for line in caveats(compiled.plan, opted_out=opted_out is not None, enrolments=enrolments is not None):
        click.echo(f"-- {line}")
    click.echo(query + ";")


def moment(at: str | None) -> int:
    """Return ``--at`` in microseconds since 1970-01-01 UTC; the clock's time without it."""
    import time

    from allocation.audience.dates import to_us

    if at is None:
        return time.time_ns() // 1000
    found = to_us(at)
    if found is None:
        raise UserError(f"--at {at}: not a date; write 2026-03-03 or 2026-03-03T09:00:00+08:00")
    return found


def published(
    where: dict[str, str | None], experiment: str, snapshot_file: str | None, now: int
) -> tuple[CompiledExperiment, CompiledSnapshot]:
    """Return an experiment of the published snapshot, or of another snapshot file."""
    from pathlib import Path

    from allocation.compiled import compile_snapshot
    from allocation.snapshot import SnapshotError
    from experiments.assignments.assign import find_experiment
    from experiments.errors import InputError
    from experiments.publishing import snapshot_file as files
    from experiments.publishing.policy_files import PolicyFiles
    from experiments.settings import Settings

    settings = Settings.from_env(data=where["data"], database=where["database"])
    try:
        if snapshot_file is None:
            compiled = files.SnapshotFile(settings.snapshot_dir).load(now)
        else:
            compiled = compile_snapshot(files.read(Path(snapshot_file)), PolicyFiles(Path(snapshot_file).parent).find)
        return find_experiment(compiled, experiment), compiled
    except (SnapshotError, files.SnapshotMissingError, InputError) as error:
        where_given = "" if snapshot_file is None or snapshot_file in str(error) else f"--snapshot {snapshot_file}: "
        raise UserError(f"{where_given}{error}") from None
