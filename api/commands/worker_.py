"""`equipoise worker`: upkeep and the deployment's jobs, without answering anybody."""

from __future__ import annotations

import os
import sys

import click

from api.commands.options import running_options
from experiments.settings import Settings


@click.command(help="Do the deployment's jobs (reports, exports, webhooks, lists) without serving.")
@running_options("What is written on standard error.")
@click.pass_context
def command(ctx: click.Context, metrics: str | None, log_level: str) -> None:
    """Create or upgrade the database, then work until SIGTERM; of many workers one has the lease, the others wait."""
    from api import logs
    from api.serving import upkeep_process
    from api.serving.board import Board
    from api.serving.listening import listen_for_metrics
    from api.serving.preparing import prepare

    settings = Settings.from_env(data=ctx.obj["data"], database=ctx.obj["database"])
    for_metrics, warning = listen_for_metrics(metrics or None)
    logs.configure(log_level, process="worker")
    prepare(settings, click.echo, lambda text: click.echo(f"equipoise: {text}", err=True))
    if warning:
        logs.get("worker").warning("metrics_off", detail=warning)
    click.echo(f"Equipoise works  (data in {settings.data_dir}; Ctrl-C stops it)")
    code = upkeep_process.run(
        settings, Board(), started_by=None, jobs=True, metrics=for_metrics, run_name=f"{os.getpid()}"
    )
    sys.stdout.flush()
    sys.stderr.flush()
    # As the children of `serve` end: a job that did not end in time is not waited for, the next holder does it again.
    os._exit(code)
