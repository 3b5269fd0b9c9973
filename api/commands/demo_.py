"""`equipoise demo`: fill an empty deployment with a simulated shop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from api.cli import UserError
from experiments.settings import Settings

if TYPE_CHECKING:
    from experiments.store import Store


@click.command(
    help="Fill an empty deployment with a simulated shop: 20,000 members, eight weeks of orders and offers, "
    "experiments judged at a fixed end, in sequence, at any time and by chances, one with a broken split, one draft. "
    "Changes nothing in a filled one."
)
@click.option("--members", "count", default=20_000, show_default=True, type=click.IntRange(1_000, 200_000))
@click.pass_context
def command(ctx: click.Context, count: int) -> None:
    """Migrate, fill, publish, and compute the reports so that the first page view has them."""
    from experiments.demo.fill import fill, is_filled, is_unfinished
    from experiments.store import StoreError, open_store
    from experiments.store.migrate import upgrade

    settings = Settings.from_env(data=ctx.obj["data"], database=ctx.obj["database"])
    began = time.perf_counter()
    now_us = time.time_ns() // 1000
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        store = open_store(settings.database_url)
        upgrade(store)
    except StoreError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"cannot use the data folder {settings.data_dir}: {error.strerror}") from None
    try:
        if is_unfinished(store):
            raise UserError("a demo was interrupted here: remove its database and data folder, then run this again")
        if is_filled(store):
            _compute_reports(store, now_us)
            click.echo("This deployment has definitions or decisions already; the demo changed nothing.")
            return
        made = fill(store, settings, now_us, count=count, tell=lambda step: click.echo(f"Demo: {step} …"))
        click.echo("Demo: reports …")
        _compute_reports(store, now_us)
    finally:
        store.close()
    click.echo(
        f"Simulated shop: {made.members:,} members, {made.decisions:,} decisions, {made.events:,} events, "
        f"{len(made.experiments)} experiments in {time.perf_counter() - began:.1f} s. All of it is invented."
    )


def _compute_reports(store: Store, now_us: int) -> None:
    """Compute the reports of a demo that are missing: all of them at first, none later."""
    from experiments.demo.fill import made_here
    from experiments.report import archive

    for key in made_here(store):
        if archive.latest(store, key) is None:
            from experiments.report import build  # loads the analysis packages, which a second run does not need

            archive.save(store, build.build_report(store, key, now_us), now=now_us)
