"""``equipoise apply``: create or change definitions from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from api.cli import UserError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check the file and change nothing.")
@click.option("--actor", default="cli", show_default=True, envvar="EQUIPOISE_ACTOR", help="Who does it, for the audit.")
@click.pass_obj
def command(obj: dict[str, Any], file: Path, dry_run: bool, actor: str) -> None:
    """Create or change definitions from FILE (YAML or JSON, several documents).

    Applying a file twice changes nothing the second time. Nothing is changed when anything in it is wrong.
    """
    from api.commands.opening import opened
    from experiments.definitions.loader import load_file
    from experiments.errors import InputError
    from experiments.keeping.repository import Repository
    from experiments.log.spool_file import SpoolError
    from experiments.publishing.publish import publish

    try:
        documents = load_file(file)
        with opened(obj, create=True) as (store, settings):
            changes = Repository(store).apply(documents, actor, dry_run=dry_run)
            if not dry_run and any(change.action != "unchanged" or change.notes for change in changes):
                publish(store, settings)
    except (InputError, SpoolError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{settings.snapshot_dir}: cannot publish the snapshot: {error.strerror}") from error
    for change in changes:
        if change.action != "unchanged" or change.notes:
            name = change.kind if change.kind == "project" else f"{change.kind} {change.key}"
            click.echo(f"{change.action} {name} (revision {change.revision})")
            for note in change.notes:
                click.echo(f"  {note}")
    unchanged = sum(change.action == "unchanged" for change in changes)
    if unchanged:
        click.echo(f"{unchanged} unchanged")
    if dry_run:
        click.echo("Nothing was written (--dry-run).")
