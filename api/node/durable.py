"""Waiting for the log: a request is answered when the commit that holds its rows is done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from api import logs
from api.errors import unavailable
from experiments.log.spool_file import SpoolError

if TYPE_CHECKING:
    from experiments.log.spool import LogRow

_log = logs.get("node")


class LogWriter(Protocol):
    """Takes rows of the log: the spool, or the database itself."""

    def append_async(self, rows: Sequence[LogRow]) -> asyncio.Future[None]:
        """Return what is resolved when the rows are durable.

        Raises:
            SpoolFullError: when too much waits already.
            SpoolError: when nothing is taken any more.
        """


async def on_disk(durable: asyncio.Future[None]) -> None:
    """Wait until what was appended is durable.

    Raises:
        Problem: 503 when it could not be written; it is not kept then.
    """
    try:
        await durable
    except SpoolError as error:
        _log.error("spool_failed", error=type(error).__name__)
        raise unavailable("the log cannot be written now; come again in a second", code="log_unavailable") from None
