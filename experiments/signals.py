"""Signals, told on a thread.

A Python signal handler runs on the main thread between any two steps of it, also while that thread holds a lock. An
event or a logger that the handler then uses waits for the same lock for ever.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable


def on_signals(numbers: Iterable[signal.Signals], do: Callable[[], object]) -> None:
    """Have ``do()`` called, on a thread of its own, each time one of these signals arrives.

    To be called on the main thread, once in a process (it takes the process's wake-up descriptor).

    Args:
        numbers: of the signals; their earlier handlers are replaced.
        do: may take locks.
    """
    wanted = frozenset(int(number) for number in numbers)
    read, write = os.pipe()
    os.set_blocking(write, False)
    threading.Thread(target=_listen, args=(read, wanted, do), name="equipoise-signals", daemon=True).start()
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in wanted:
        signal.signal(number, lambda *_: None)


def _listen(read: int, wanted: frozenset[int], do: Callable[[], object]) -> None:
    while arrived := os.read(read, 64):
        if wanted.intersection(arrived):
            do()
