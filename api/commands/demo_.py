"""`equipoise demo`: fill an empty deployment with a simulated shop."""

from __future__ import annotations

import time

import click

from api.cli import UserError
from experiments.settings import Settings


@click.command(
    help="Fill an empty deployment with a simulated shop: 20,000 members, eight weeks of orders and offers, one "
    "experiment ready to decide, one running, one with a broken split, one draft. Changes nothing in a filled one."
)
@click.option("--members", "count", default=20_000, show_default=True, type=click.IntRange(1_000, 200_000))
@click.pass_context
def command(ctx: click.Context, count: int) -> None:
    """Migrate, fill, publish, and compute the reports so that the first page view has them."""
    from experiments.demo.fill import STARTED, fill, is_filled
    from experiments.store import StoreError, open_store
    from experiments.store.migrate import upgrade

    settings = Settings.from_env(data=ctx.obj["data"], database=ctx.obj["database"])
    began = time.perf_counter()
    try:
        store = open_store(settings.database_url)
        upgrade(store)
    except StoreError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"cannot use {settings.data_dir}: {error.strerror}") from None
    try:
        if is_filled(store):
            click.echo("This deployment has definitions or decisions already; the demo changed nothing.")
            return
        now_us = time.time_ns() // 1000
        made = fill(store, settings, now_us, count=count, tell=lambda step: click.echo(f"Demo: {step} …"))
        from experiments.report import archive, build

        click.echo("Demo: reports …")
        for key in STARTED:
            archive.save(store, build.build_report(store, key, now_us), now=now_us)
    finally:
        store.close()
    click.echo(
        f"Simulated shop: {made.members:,} members, {made.decisions:,} decisions, {made.events:,} events, "
        f"{len(made.experiments)} experiments in {time.perf_counter() - began:.1f} s. All of it is invented."
    )
