"""One serving process: the front on uvicorn, on the socket that all serving processes of a host share."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from types import FrameType

from api.serving.board import SERVING, Board, UpkeepLink
from experiments.settings import Settings

GRACE_S = 5
"""How long requests under way may take to end when the process stops."""
KEEP_ALIVE_S = 75
"""Longer than the minute that load balancers keep their side: the one who may send must be the one who hangs up."""
BACKLOG = 1024


def run(
    settings: Settings,
    listening: socket.socket,
    board: Board,
    slot: int,
    *,
    supervisor: int,
    log_level: str,
    measured: bool = True,
) -> int:
    """Serve until SIGTERM, or until the supervisor is gone; return the exit code.

    Args:
        settings: of the deployment.
        listening: where requests arrive.
        board: of this host.
        slot: which of its serving processes this is.
        supervisor: its process id.
        log_level: of our log.
        measured: whether anybody collects what is counted.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    import uvicorn

    from api import logs
    from api.asgi import create_asgi
    from api.front.protocol import Protocol
    from api.node.metrics import figure_file

    class Server(uvicorn.Server):
        """uvicorn's server, which says on the board when it answers, and ends with the supervisor."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                board.set_serving(slot, SERVING)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            # Everything is drained. What is left are threads, such as one that imports Flask still: nobody waits.
            sys.stderr.flush()
            os._exit(0)

        async def on_tick(self, counter: int) -> bool:
            board.turn(slot)
            if os.getppid() != supervisor:
                self.should_exit = True
            return await super().on_tick(counter)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the base's signature
            # A terminal sends SIGINT to every process; the supervisor decides what it means and sends SIGTERM.
            if sig == signal.SIGTERM:
                self.should_exit = True

    logs.configure(log_level, process=f"serving-{slot + 1}")
    figures = figure_file(settings.data_dir, str(supervisor), slot) if measured else None
    config = uvicorn.Config(
        create_asgi(settings, UpkeepLink(board, slot), figures),
        access_log=False,
        log_config=None,
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
        loop="uvloop",
        http=Protocol,
        ws="none",
        proxy_headers=False,  # the front looks at them for pages
    )
    while not board.prepared:
        if os.getppid() != supervisor:
            return 0
        time.sleep(0.01)
    server = Server(config)
    server.run(sockets=[listening])
    return 0 if server.started else 3
