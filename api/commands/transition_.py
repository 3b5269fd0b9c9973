"""``equipoise transition``: move an experiment to another state, and publish."""

from __future__ import annotations

from typing import Any

import click

from api.cli import UserError


@click.command()
@click.argument("key", metavar="EXPERIMENT")
@click.argument("state")
@click.option("--reason", help="Why; needed for decided.")
@click.option("--actor", default="cli", show_default=True, envvar="EQUIPOISE_ACTOR", help="Who does it, for the audit.")
@click.pass_obj
def command(obj: dict[str, Any], key: str, state: str, reason: str | None, actor: str) -> None:
    """Move EXPERIMENT to STATE: draft, review, testing, running, paused, ended or decided.

    Only the next states are allowed: draft → review → testing → running ⇄ paused → ended → decided.
    """
    from api.commands.opening import opened
    from experiments.dominated import possible
    from experiments.errors import InputError
    from experiments.keeping.repository import Repository
    from experiments.lifecycle.states import MOVES
    from experiments.log.spool_file import SpoolError
    from experiments.publishing.publish import move

    try:
        with opened(obj) as (store, settings):
            record = move(store, settings, key, state, actor, reason)
            catalogue = Repository(store).catalogue()
            standing = None if catalogue.project is None else record.standing(catalogue.project)
            cautions = possible(record.definition, catalogue, standing) if state in {"review", "running"} else []
    except (InputError, SpoolError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{settings.snapshot_dir}: cannot publish the snapshot: {error.strerror}") from error
    following = MOVES[record.state]
    then = f"; next: {' or '.join(following)}" if following else ""
    click.echo(f"{key} is {record.state}{then}")
    for said in dict.fromkeys(caution.said["en"] for caution in cautions):
        click.echo(f"Note: {said}")
