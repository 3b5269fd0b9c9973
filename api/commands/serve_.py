"""`equipoise serve`: the whole service in one process."""

from __future__ import annotations

import signal
import socket
import sys

import click

from api.cli import UserError
from experiments.settings import Settings

SHUTDOWN_S = 8
KEEP_ALIVE_S = 75
"""Longer than the minute that load balancers keep their side: the one who may send must be the one who hangs up."""
BACKLOG = 1024


@click.command(help="Start the service: decisions, events, management API and pages.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65_535), help="Port; 0 takes a free one."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    envvar="EQUIPOISE_LOG_LEVEL",
    help="What is written on standard error; debug has a line for every page view.",
)
@click.pass_context
def command(ctx: click.Context, host: str, port: int, log_level: str) -> None:
    """Create or upgrade the database where it can be reached, then serve until SIGTERM."""
    settings = Settings.from_env(data=ctx.obj["data"], database=ctx.obj["database"])
    listening = _listen(host, port)
    _prepare(settings)
    _run(settings, listening, log_level)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"--host {host}: not an address of this machine ({error})") from None
    listening = socket.socket(family, kind, proto)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == 98:
            raise UserError(f"port {port} is taken on {host}; stop what listens there or choose --port") from None
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port") from None
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _prepare(settings: Settings) -> None:
    """Migrate. A database that is away stops nobody who has a snapshot to decide from."""
    from experiments.log.spool_file import SpoolError, prepare_folder
    from experiments.store import StoreError, open_store
    from experiments.store.migrate import upgrade

    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        prepare_folder(settings.spool_dir)
        store = open_store(settings.database_url)
        try:
            for migration in upgrade(store):
                click.echo(f"Database: applied {migration}")
        finally:
            store.close()
    except SpoolError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"cannot use the data folder {settings.data_dir}: {error.strerror}") from None
    except StoreError as error:
        if any(settings.snapshot_dir.glob("snapshot-*")):
            click.echo(f"equipoise: {error}; deciding from the last published snapshot until it is back", err=True)
        else:
            raise UserError(f"{error}; there is no published snapshot to decide from either") from None


def _run(settings: Settings, listening: socket.socket, log_level: str) -> None:
    import uvicorn

    from api import logs
    from api.asgi import create_asgi
    from api.protocol import Protocol

    class Server(uvicorn.Server):
        """uvicorn's server, which says where it is once it answers: the last line before it is used."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                click.echo(
                    f"Equipoise listens on {_address(listening)}  (data in {settings.data_dir}; Ctrl-C stops it)"
                )

    logs.configure(log_level)
    config = uvicorn.Config(
        create_asgi(settings),
        access_log=False,
        log_config=None,
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        loop="uvloop",
        http=Protocol,
        ws="none",
    )
    server = Server(config)
    # uvicorn stops gracefully and then raises the signal once more: by then that is a normal end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    server.run(sockets=[listening])
    if not server.started:
        raise UserError("the service could not start; the log above says why")
