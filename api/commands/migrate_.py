"""``equipoise migrate``: create or upgrade the database."""

from __future__ import annotations

from typing import Any

import click

from api.cli import UserError


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when migrations are pending.")
@click.pass_obj
def command(obj: dict[str, Any], check: bool) -> None:
    """Create the database, or bring it to the tables this version knows.

    Safe to run at every start, and when several processes start at once: one migrates, the others wait.
    """
    from experiments.settings import Settings
    from experiments.store import StoreError, open_store
    from experiments.store.migrate import pending, upgrade

    settings = Settings.from_env(data=obj["data"], database=obj["database"])
    try:
        store = open_store(settings.database_url)
        if check:
            missing = pending(store)
            click.echo(f"{len(missing)} pending: {', '.join(missing)}" if missing else "The database is current.")
            raise SystemExit(1 if missing else 0)
        applied = upgrade(store)
    except StoreError as error:
        raise UserError(str(error)) from error
    click.echo(f"Applied {', '.join(applied)}." if applied else "The database is current.")
