"""``equipoise export-data``: decisions, events and report results as Parquet, as the nightly export writes them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from api.cli import UserError


@click.command(name="export-data")
@click.option("--from", "first", metavar="DAY", help="First UTC day, such as 2026-03-01; default: of all.")
@click.option("--to", "last", metavar="DAY", help="Last UTC day; default: yesterday, the last one that is over.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder; default: where the nightly goes."
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Choice(["decisions", "events", "reports"]),
    help="What to export; repeat for more; default decisions and reports.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(
    obj: dict[str, Any], first: str | None, last: str | None, out: Path | None, tables: tuple[str, ...], output: str
) -> None:
    """Write the days that changed since they were written last, one Parquet file for each table and UTC day.

    What is written and what its columns mean is in docs/exports.md.
    """
    from api.commands.opening import opened
    from api.commands.printing import print_document
    from experiments.errors import InputError
    from experiments.exports.exporting import EPOCH, YESTERDAY, export, export_dir
    from experiments.exports.handler import default_tables

    from_day = EPOCH if first is None else _day("--from", first)
    to_day = datetime.now(UTC).date() - YESTERDAY if last is None else _day("--to", last)
    if to_day < from_day:
        raise UserError(f"--to {to_day} is before --from {from_day}")
    try:
        with opened(obj) as (store, settings):
            done = export(store, out or export_dir(settings), tables or default_tables(), from_day, to_day)
    except InputError as error:
        raise UserError(str(error)) from error
    if output == "json":
        document = {"folder": str(done.folder), "files": done.files, "rows": done.rows}
        print_document(json.dumps(document, ensure_ascii=False) + "\n")
        return
    if not done.files:
        click.echo(f"Nothing to write: {done.folder} has what there is of these days", err=True)
        return
    files = "1 file" if done.files == 1 else f"{done.files:,} files"
    click.echo(f"Wrote {files} with {done.rows:,} rows to {done.folder}", err=True)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} {text!r} is not a day; write it as 2026-03-01") from None
