"""A process of its own for heavy work: its packages, memory and mistakes stay out of the one that answers or schedules.

It runs at low priority and ends with its parent. The store's SQLite file must never be opened by another SQLite library
(DuckDB's scanner) in a process that has it open, see ``Store.close``: what analyses runs in such a child.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

NICENESS = 5


class Child:
    """One process that runs ``target(pipe, *arguments)``, and this end of its pipe."""

    def __init__(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        """Start it.

        Args:
            name: of the process.
            target: a function of a module; called with its end of the pipe first.
            arguments: what else it gets; they are pickled.
        """
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_begin, args=(target, theirs, *arguments), name=name, daemon=True)
        try:
            self._process.start()
        except BaseException:
            self.pipe.close()
            raise
        finally:
            theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def end(self, wait_s: float = 2.0) -> None:
        """End it: hang up, ask it to end, then make it."""
        with contextlib.suppress(OSError):
            self.pipe.close()
        self._process.terminate()
        self._process.join(wait_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(wait_s)


def _begin(target: Callable[..., None], pipe: Connection, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the parent too, who decides
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    target(pipe, *arguments)
