"""Signals arrive while the main thread holds locks, and nothing waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

HOLDER = """
import signal, sys, threading, time
from experiments.signals import on_signals

lock = threading.Lock()
told = threading.Event()

def tell():
    with lock:  # on the main thread this would wait for itself
        told.set()

on_signals((signal.SIGTERM,), tell)
with lock:
    print("holds", flush=True)
    time.sleep(0.5)
sys.exit(0 if told.wait(20) else 1)
"""


def test_what_a_signal_calls_may_take_a_lock_that_the_main_thread_holds() -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()


def test_each_signal_is_told_and_others_keep_their_handlers() -> None:
    script = """
import os, signal, time
from experiments.signals import on_signals
told = []
on_signals((signal.SIGTERM, signal.SIGINT), lambda: told.append(1))
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    os.kill(os.getpid(), number)
    time.sleep(0.3)
print(len(told), len(seen))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "2 1\n", ended.stderr
