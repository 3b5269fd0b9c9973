"""`equipoise serve`: the whole service on one host, in a few processes."""

from __future__ import annotations

import click

from api.commands.options import running_options
from experiments.settings import Settings

MAX_WORKERS = 64


@click.command(help="Start the service: decisions, events, management API and pages.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65_535), help="Port; 0 takes a free one."
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, MAX_WORKERS),
    envvar="EQUIPOISE_WORKERS",
    help="Serving processes; one for each processor core that is free for answering.",
)
@click.option(
    "--no-worker",
    is_flag=True,
    help="Leave the deployment's jobs (reports, exports, webhooks, lists) to other hosts or equipoise worker.",
)
@running_options("What is written on standard error; debug has a line for every page view.")
@click.pass_context
def command(
    ctx: click.Context, host: str, port: int, workers: int, no_worker: bool, metrics: str | None, log_level: str
) -> None:
    """Create or upgrade the database where it can be reached, then serve until SIGTERM."""
    from api.serving.listening import listen_for, listen_for_metrics
    from api.serving.supervisor import Plan, Supervisor

    settings = Settings.from_env(data=ctx.obj["data"], database=ctx.obj["database"])
    listening = listen_for(workers, host, port)
    for_metrics, warning = listen_for_metrics(metrics or None)
    Supervisor(Plan(settings, listening, not no_worker, for_metrics, log_level, warning)).run()
