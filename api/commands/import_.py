"""``equipoise import decisions|events|members FILE``: what another tool recorded, into the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from api.cli import UserError

if TYPE_CHECKING:
    from experiments.importing import ImportResult
    from experiments.store import Store

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def command() -> None:
    """Import decisions or events that another tool recorded, or attributes of members.

    FILE is CSV (plain or gzip; UTF-8 or GB18030, found out) or Parquet. A field is taken from the column of its name,
    or from the one that --map says. Importing a file again adds nothing; an interrupted import goes on where it
    stopped. Rows that cannot be used are kept as dead letters with their reasons.
    """


def _shared(function: F) -> F:
    """Add the options that all three kinds of file have."""
    options: list[Callable[[Any], Any]] = [
        click.argument("file", type=click.Path(path_type=Path, readable=False)),
        click.option("--map", "columns", multiple=True, metavar="FIELD=COLUMN", help="Which column a field is."),
        click.option("--unit-type", metavar="NAME", help="Type of the units (default: the experiment's, or member)."),
        click.option("--at", "at_column", metavar="COLUMN", help="Column of the time; the same as --map at=COLUMN."),
        click.option("--at-constant", metavar="TIME", help="One time for all rows, such as 2026-03-03T08:00:00+08:00."),
        click.option("--time-zone", metavar="ZONE", help="For times without an offset (default: the project's)."),
        click.option("--source", metavar="NAME", help="Name of the source (default: import:FILE, without its ending)."),
        click.option("--encoding", metavar="NAME", help="Encoding of a CSV (default: found out)."),
        click.pass_obj,
    ]
    decorated: Any = function
    for option in reversed(options):
        decorated = option(decorated)
    return cast("F", decorated)


@command.command()
@_shared
@click.option("--experiment", required=True, metavar="KEY", help="Experiment that the decisions belong to.")
@click.option("--phase", type=int, metavar="N", help="Phase that they belong to (default: the latest).")
@click.option("--unit-row-number", is_flag=True, help="The unit is the row's number: for files without ids.")
@click.option("--variant", "variants", multiple=True, metavar="VALUE=VARIANT", help="Where names differ.")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=COLUMN", help="Attribute frozen for reports.")
def decisions(obj: dict[str, Any], file: Path, **options: Any) -> None:
    """Import assignments: one row for each, with unit, variant and time.

    Fields for --map: unit, variant, at, occasion, propensity.

    \b
    equipoise import decisions send.csv --experiment winback --map unit=member_id --map variant=group --at sent_at
    """  # noqa: D301 - click's mark for verbatim text is the character itself
    from experiments.importing import DecisionMapping, import_decisions

    def work(store: Store, progress: Callable[[int, int], None]) -> ImportResult:
        mapping = DecisionMapping(
            **_origin(options),
            experiment=options["experiment"],
            phase=options["phase"],
            variants=_pairs(options["variants"], "--variant", "VALUE=VARIANT"),
            attributes=_pairs(options["attributes"], "--attribute", "NAME=COLUMN"),
        )
        return import_decisions(store, file, mapping, encoding=options["encoding"], progress=progress)

    _run(obj, file, work)


@command.command()
@_shared
@click.option("--name", metavar="NAME", help="Name of all events of a file without such a column.")
@click.option(
    "--event",
    "wide",
    multiple=True,
    metavar="NAME=COLUMN[:KIND]",
    help="For a file with one row for each unit: what a column stands for. KIND: flag (default), value, count, number.",
)
@click.option("--value-column", metavar="COLUMN", help="Column of the amount; the same as --map value=COLUMN.")
@click.option("--property", "properties", multiple=True, metavar="NAME=COLUMN", help="Property of the events.")
@click.option("--experiment", metavar="KEY", help="Tie the events to one experiment; rarely needed.")
@click.option("--unit-row-number", is_flag=True, help="The unit is the row's number: for files without ids.")
def events(obj: dict[str, Any], file: Path, **options: Any) -> None:
    """Import outcomes: one row for each event, or with --event one row for each unit.

    Fields for --map: unit, at, name, event_id, object_id, value, currency, decision_id, experiment. Amounts are
    decimals in major units (29.99).

    \b
    equipoise import events orders.csv --name "Order Completed" --map unit=member_id --map object_id=order_no
        --value-column paid --at paid_at
    equipoise import events outcomes.csv --map unit=id --at-constant 2026-03-10 --event visit=visit
        --event spend=spend:value
    """  # noqa: D301 - see above
    from experiments.importing import EventMapping, WideEvent, import_events

    def work(store: Store, progress: Callable[[int, int], None]) -> ImportResult:
        origin = _origin(options)
        if options["value_column"]:
            origin["columns"]["value"] = options["value_column"]
        mapping = EventMapping(
            **origin,
            name=options["name"],
            wide=tuple(WideEvent.parse(text) for text in options["wide"]),
            properties=_pairs(options["properties"], "--property", "NAME=COLUMN"),
            experiment=options["experiment"],
        )
        return import_events(store, file, mapping, encoding=options["encoding"], progress=progress)

    _run(obj, file, work)


@command.command()
@_shared
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=COLUMN", help="Stored attribute.")
def members(obj: dict[str, Any], file: Path, **options: Any) -> None:
    """Import stored attributes of members: one row for each; what is not in the file stays as it is.

    Fields for --map: unit, at (since when it holds), opted_out. By default every stored attribute of the project that
    is a column is taken.

    \b
    equipoise import members crm.csv --map unit=member_id --attribute tier=vip_level
    """  # noqa: D301 - see above
    from experiments.importing import MemberMapping, import_members

    def work(store: Store, progress: Callable[[int, int], None]) -> ImportResult:
        mapping = MemberMapping(
            **_origin(options), attributes=_pairs(options["attributes"], "--attribute", "NAME=COLUMN")
        )
        return import_members(store, file, mapping, encoding=options["encoding"], progress=progress)

    _run(obj, file, work)


def _origin(options: dict[str, Any]) -> dict[str, Any]:
    columns = _pairs(options["columns"], "--map", "FIELD=COLUMN")
    if options["at_column"]:
        columns["at"] = options["at_column"]
    return {
        "columns": columns,
        "unit_type": options["unit_type"],
        "unit_row_number": options.get("unit_row_number", False),
        "at_constant": options["at_constant"],
        "time_zone": options["time_zone"],
        "source": options["source"],
    }


def _pairs(texts: tuple[str, ...], option: str, shape: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        left, equals, right = text.partition("=")
        if not equals or not left or not right:
            raise UserError(f"{option} {text}: write {shape}")
        pairs[left] = right
    return pairs


def _run(obj: dict[str, Any], file: Path, work: Callable[[Store, Callable[[int, int], None]], ImportResult]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from api.commands.opening import opened
    from experiments.errors import InputError

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    try:
        with opened(obj) as (store, _settings), bar:
            task = bar.add_task(file.name, total=None)
            result = work(store, lambda done, total: bar.update(task, completed=done, total=total))
    except InputError as error:
        raise UserError(str(error)) from error
    click.echo(_summary(file, result))
    for problem in result.problems:
        click.echo(f"  row {problem.row}: {problem.message}", err=True)
    if result.rejected > len(result.problems) and not result.already_done:
        click.echo(f"  … {result.rejected - len(result.problems):,} more; all are in the table dead_letters", err=True)


def _summary(file: Path, result: ImportResult) -> str:
    what = {"decisions": "decisions", "events": "events", "members": "members changed"}[result.kind]
    parts = [f"{result.rows:,} rows", f"{result.accepted:,} {what}"]
    if result.duplicates:
        parts.append(f"{result.duplicates:,} already there")
    if result.conflicts:
        parts.append(f"{result.conflicts:,} in conflict with another variant")
    if result.rejected:
        parts.append(f"{result.rejected:,} refused (kept as dead letters)")
    if result.resumed_at:
        parts.append(f"went on after row {result.resumed_at:,}")
    ending = " (imported before; nothing was done)" if result.already_done else ""
    return f"{file.name}: {', '.join(parts)}{ending}"
