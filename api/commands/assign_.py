"""``equipoise assign EXPERIMENT FILE -o OUT``: a whole list of members at once, through DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError
from api.commands.sql_ import moment, published

if TYPE_CHECKING:
    from experiments.assignments.assign import AssignResult
    from experiments.assignments.assigning import Tally


@click.command(name="assign")
@click.argument("experiment")
@click.argument("file", type=click.Path(readable=False))
@click.option("-o", "--output", required=True, type=click.Path(readable=False), help="File to write: .parquet or .csv.")
@click.option("--unit-column", metavar="COL", help="Column of unit ids; by default unit, member_id, unit_id or id.")
@click.option("--occasion", default="", metavar="TEXT", help="What the decisions are for, such as a send's id.")
@click.option("--at", metavar="TIME", help="Time of the decisions, ISO 8601; now by default.")
@click.option("--enrolled-only", is_flag=True, help="Write only members who get a variant.")
@click.option("--encoding", metavar="NAME", help="Text encoding; by default UTF-8 or GB18030, whichever fits.")
@click.option("--snapshot", "snapshot_file", type=click.Path(), metavar="FILE", help="Another snapshot file.")
@click.option("--log", is_flag=True, help="Record the decisions too, as the service does with a list.")
@click.option("--send-at", metavar="TIME", help="When the messages will leave, ISO 8601 with zone; goes with --log.")
@click.option("--balance-on", metavar="ATTR,…", help="Split evenly within these strata; goes with --log.")
@click.pass_context
def command(
    ctx: click.Context,
    experiment: str,
    file: str,
    output: str,
    unit_column: str | None,
    occasion: str,
    at: str | None,
    enrolled_only: bool,
    encoding: str | None,
    snapshot_file: str | None,
    log: bool,
    send_at: str | None,
    balance_on: str | None,
) -> None:
    r"""Assign the members of FILE (CSV or Parquet) to the variants of EXPERIMENT.

    Attributes that the audience reads are columns of their own names. Without --log nothing is recorded: when the
    campaign is sent, do so with `equipoise import decisions OUT`. With --log everybody is decided now and recorded, and
    the same file again gives the same answers.

    \b
    Examples:
      equipoise assign dormant-winback members.csv -o assigned.parquet --occasion spring-sms
      equipoise assign dormant-winback members.csv -o assigned.csv --occasion spring-sms --log
    """
    from allocation.decision import OccasionError
    from experiments.assignments.assign import assign_file
    from experiments.errors import InputError
    from experiments.settings import Settings

    if log:
        unused = {"--at": at, "--enrolled-only": enrolled_only, "--snapshot": snapshot_file}
        given = {"occasion": occasion, "unit_column": unit_column, "encoding": encoding, "send_at": send_at}
        given["balance_on"] = balance_on
        _log(ctx.obj, experiment, file, output, unused, {name: text for name, text in given.items() if text})
        return
    if send_at is not None:
        raise UserError("--send-at goes with --log: it is recorded with the decisions")
    if balance_on is not None:
        raise UserError("--balance-on goes with --log: who is on the list decides, so what it decides must be recorded")
    now = moment(at)
    compiled, snapshot = published(ctx.obj, experiment, snapshot_file, now)
    settings = Settings.from_env(data=ctx.obj["data"], database=ctx.obj["database"])
    try:
        result = assign_file(
            file,
            output,
            compiled,
            now=now,
            unit_column=unit_column,
            occasion=occasion,
            encoding=encoding,
            state_dir=settings.snapshot_dir,
            enrolled_only=enrolled_only,
        )
    except OccasionError as error:
        raise UserError(f"--occasion: {error}") from None
    except (InputError, OSError) as error:
        raise UserError(str(error)) from None
    project = snapshot.source.project
    _show(result, personal_allowed=project is not None and project.allow_personal_ids)


def _log(
    where: dict[str, Any], experiment: str, file: str, output: str, unused: dict[str, Any], given: dict[str, str]
) -> None:
    from pathlib import Path

    from allocation.decision import OccasionError
    from api.commands.opening import opened
    from experiments.assignments.locally import assign_and_log
    from experiments.errors import InputError
    from experiments.publishing.snapshot_file import SnapshotMissingError

    for option in (name for name, value in unused.items() if value):
        raise UserError(f"{option} does not go with --log, which decides everybody on the list now")
    with opened(where) as (store, settings):
        try:
            request, tally = assign_and_log(store, settings, experiment, Path(file), Path(output), given)
        except OccasionError as error:
            raise UserError(f"--occasion: {error}") from None
        except (InputError, SnapshotMissingError) as error:
            raise UserError(str(error)) from None
    _show_logged(tally, output, request.source)


def _show_logged(tally: Tally, output: str, source: str) -> None:
    click.echo(f"{tally.rows:,} rows written to {output}; recorded as {source}")
    enrolled = sum(tally.variants.values())
    for variant, rows in tally.variants.items():
        share = f"  {rows / enrolled:.2%}" if enrolled else ""
        click.echo(f"  {variant:24}{rows:>12,}{share}")
    if tally.balance is not None:
        attributes, strata = ", ".join(tally.balance["attributes"]), tally.balance["strata"]
        click.echo(f"{tally.balance['units']:,} of them split evenly within {strata:,} strata of {attributes}")
    without = {"holdout": tally.held_out} if tally.held_out else {}
    without |= dict(tally.not_enrolled)
    if without:
        click.echo("Without a variant:")
        for reason, rows in sorted(without.items(), key=lambda item: -item[1]):
            click.echo(f"  {reason:24}{rows:>12,}")
    for problem, rows in tally.refused.items():
        click.echo(f"warning: {rows:,} unit ids are {problem}: not assigned", err=True)
    for name, rows in tally.unreadable.items():
        click.echo(f"warning: {rows:,} values of {name!r} cannot be read as its type: counted as missing", err=True)
    if tally.repeated:
        click.echo(f"note: {tally.repeated:,} rows repeat an earlier row's unit and get the same answer", err=True)
    if tally.answered_before:
        click.echo(f"note: {tally.answered_before:,} rows say what the log held already", err=True)


def _show(result: AssignResult, *, personal_allowed: bool) -> None:
    click.echo(f"{result.rows:,} rows written to {result.output}")
    enrolled = sum(result.variants.values())
    for variant, rows in result.variants.items():
        share = f"  {rows / enrolled:.2%}" if enrolled else ""
        click.echo(f"  {variant:24}{rows:>12,}{share}")
    if enrolled < result.rows:
        click.echo("Without a variant:")
        for reason, rows in sorted(result.reasons.items(), key=lambda item: -item[1]):
            if reason not in ("assigned", "kept", "override"):
                click.echo(f"  {reason:24}{rows:>12,}")
    for problem, rows in result.bad_units.items():
        click.echo(f"warning: {rows:,} unit ids are {problem}: not assigned (reason invalid_unit)", err=True)
    for name, rows in result.unreadable.items():
        click.echo(f"warning: {rows:,} values of {name!r} cannot be read as its type: counted as missing", err=True)
    if result.personal and not personal_allowed:
        click.echo(
            f"warning: {result.personal:,} unit ids look like an e-mail address or a telephone number: the log refuses "
            "them; send pseudonymous ids, or set allow_personal_ids in the project",
            err=True,
        )
    if result.repeated:
        click.echo(f"note: {result.repeated:,} rows repeat an earlier row's unit and get the same answer", err=True)
    for line in result.caveats:
        click.echo(f"note: {line}", err=True)
