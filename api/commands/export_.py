"""``equipoise export``: write definitions as YAML that ``apply`` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from api.cli import UserError


@click.command()
@click.argument("keys", nargs=-1, metavar="[EXPERIMENT]...")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write; default stdout.")
@click.pass_obj
def command(obj: dict[str, Any], keys: tuple[str, ...], output: Path | None) -> None:
    """Write definitions as YAML, with salts and phases, so that another database assigns alike.

    Without EXPERIMENT everything is written; with it, those experiments and what they refer to.
    """
    from api.commands.opening import opened
    from experiments.errors import InputError
    from experiments.keeping.repository import Repository

    try:
        with opened(obj) as (store, _):
            text = Repository(store).export([("experiment", key) for key in keys] if keys else None)
    except InputError as error:
        raise UserError(str(error)) from error
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from error
    click.echo(f"Wrote {output}.", err=True)
