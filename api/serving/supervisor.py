"""The supervisor: the light process that starts the others, replaces those that die, and ends them in order.

It imports nothing heavy, has no threads and opens no database, so that forking is safe at any time, and fast.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import click

from api.cli import UserError
from api.serving.board import CLOSED, NOT_SERVING, SERVING, Board
from api.serving.listening import address_of, exposed_at
from api.serving.watchdog import Watchdog
from experiments.settings import Settings

LIVED_S = 5.0
"""Who lived so long is replaced at once; who died sooner, after a growing while."""
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SERVING_ENDS_S = 7.0
"""After so long serving processes that have not ended are killed; what they acknowledged is on disk."""
UPKEEP_ENDS_S = 8.5
"""The same for upkeep, which loads what they left."""
TICK_S = 0.5

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Plan:
    """What a host runs."""

    settings: Settings
    listening: Sequence[socket.socket]
    """One for each serving process."""
    jobs: bool
    """Whether upkeep takes part in the jobs that one process of the deployment does."""
    metrics: socket.socket | None
    log_level: str
    metrics_warning: str | None = None


@dataclass
class Child:
    """One process below the supervisor."""

    name: str
    slot: int | None
    """Among the serving processes; ``None`` is upkeep."""
    pid: int | None = None
    started_at: float = 0.0
    deaths: int = 0
    """In a row, each sooner than ``LIVED_S`` after its start."""
    restart_at: float | None = field(default=None)


class Supervisor:
    """Runs a `Plan` until SIGTERM or SIGINT."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.board = Board(len(plan.listening))
        self.upkeep = Child("upkeep", None)
        self.serving = [Child(f"serving-{slot + 1}", slot) for slot in range(len(plan.listening))]
        self._pid = os.getpid()
        self._stop_asked = 0
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        self._announced = False
        self._watchdog = Watchdog()

    def run(self) -> None:
        """Start everything, keep it running, and end it in order.

        Raises:
            UserError: when it cannot be started; the message says why.
        """
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._ask_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        told, tell = os.pipe()
        self._start(self.upkeep, lambda: self._upkeep(tell))
        os.close(tell)
        for child in self.serving:
            self._start(child)
        try:
            self._prepare(told)
            while not self._stop_asked:
                self._wait(TICK_S if self._announced else 0.02)
                self._kill_the_hung()
                self._replace_the_dead()
                self._announce()
        finally:
            self._end()

    # ------------------------------------------------------------- starting

    def _prepare(self, told: int) -> None:
        """Wait for upkeep to have prepared the database, and say what it says."""
        with open(told, encoding="utf-8") as lines:
            for line in lines:
                kind, text = json.loads(line)
                if kind == "error":
                    raise UserError(text)
                if kind == "prepared":
                    self.board.prepared = True
                    return
                click.echo(text if kind == "told" else f"equipoise: {text}", err=kind != "told")
        if not self._stop_asked:
            raise UserError("the database could not be prepared; the log above says why")

    def _announce(self) -> None:
        if not self._announced and SERVING in self.board.serving_states():
            self._announced = True
            if self.plan.metrics_warning:
                _log_line("warning", "metrics_off", detail=self.plan.metrics_warning, level_asked=self.plan.log_level)
            data = self.plan.settings.data_dir
            click.echo(f"Equipoise listens on {address_of(self.plan.listening[0])}  (data in {data}; Ctrl-C stops it)")

    def _start(self, child: Child, work: Callable[[], int] | None = None) -> None:
        child.restart_at = None
        child.started_at = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, (*_SIGNALS, signal.SIGCHLD))
        pid = os.fork()
        if pid == 0:
            os._exit(self._in_child(work or (lambda: self._work(child))))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_SIGNALS, signal.SIGCHLD))
        child.pid = pid

    def _in_child(self, work: Callable[[], int]) -> int:
        try:
            signal.set_wakeup_fd(-1)
            os.close(self._wake_read)
            os.close(self._wake_write)
            # SIGTERM stays blocked until this process knows what to do about it: it waits, and is not lost.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGCHLD))
            code = work()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException as error:  # noqa: BLE001 - told in the log; the supervisor replaces this process
            _log_line("error", "process_failed", error=type(error).__name__, exc_info=error)
            code = 1
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        return code

    def _work(self, child: Child) -> int:
        plan = self.plan
        if child.slot is not None:
            from api.serving import serving_process

            _close(one for one in (*plan.listening, plan.metrics) if one is not plan.listening[child.slot])
            return serving_process.run(
                plan.settings,
                plan.listening[child.slot],
                self.board,
                child.slot,
                supervisor=self._pid,
                log_level=plan.log_level,
                measured=plan.metrics is not None,
            )
        from api import logs
        from api.serving import upkeep_process

        _close(plan.listening)
        logs.configure(plan.log_level, process="upkeep")
        return upkeep_process.run(
            plan.settings,
            self.board,
            started_by=self._pid,
            jobs=plan.jobs,
            metrics=plan.metrics,
            run_name=str(self._pid),
        )

    def _upkeep(self, tell: int) -> int:
        """Run in the first upkeep process: prepare the database, then work."""
        from api.serving.preparing import prepare

        with open(tell, "w", encoding="utf-8") as to_supervisor:

            def say(kind: str, text: str) -> None:
                to_supervisor.write(json.dumps([kind, text]) + "\n")
                to_supervisor.flush()

            try:
                prepare(
                    self.plan.settings,
                    lambda text: say("told", text),
                    lambda text: say("warning", text),
                    exposed_at=exposed_at(self.plan.listening[0]),
                )
            except UserError as error:
                say("error", error.message)
                return 0
            say("prepared", "")
        return self._work(self.upkeep)

    # ------------------------------------------------------------- running

    def _children(self) -> Iterator[Child]:
        yield from self.serving
        yield self.upkeep

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(InterruptedError):
            if select.select([self._wake_read], [], [], seconds)[0]:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)

    def _reap(self) -> list[tuple[Child, int]]:
        """Return who has ended, and how: an exit code, or a signal's number below zero."""
        ended = []
        for child in self._children():
            if child.pid is None:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                child.pid = None
                if child.slot is not None:
                    self.board.set_serving(child.slot, CLOSED)
                    self.board.forget_turns(child.slot)
                ended.append((child, os.waitstatus_to_exitcode(status)))
        return ended

    def _kill_the_hung(self) -> None:
        for slot in self._watchdog.hung(self.board.turns(), time.monotonic()):
            child = self.serving[slot]
            _log_line("error", "process_hung", process_name=child.name, level_asked=self.plan.log_level)
            _send(child, signal.SIGKILL)

    def _replace_the_dead(self) -> None:
        now = time.monotonic()
        for child, code in self._reap():
            if not self._announced and child.slot is not None:
                raise UserError("the service could not start; the log above says why")
            lived_s = now - child.started_at
            child.deaths = 0 if lived_s >= LIVED_S else child.deaths + 1
            wait_s = BACK_OFF_S[min(child.deaths, len(BACK_OFF_S)) - 1] if child.deaths else 0.0
            child.restart_at = now + wait_s
            _log_line(
                "warning",
                "process_died",
                process_name=child.name,
                exit_code=code,
                lived_s=round(lived_s, 1),
                replaced_in_s=wait_s,
                level_asked=self.plan.log_level,
            )
        for child in self._children():
            if child.restart_at is not None and now >= child.restart_at:
                self.board.restarts += 1
                if child.slot is not None:
                    self.board.set_serving(child.slot, NOT_SERVING)
                self._start(child)

    # ------------------------------------------------------------- ending

    def _ask_to_stop(self, *_: object) -> None:
        self._stop_asked += 1

    def _end(self) -> None:
        """End the serving processes, then upkeep, which loads what they left; kill who takes too long."""
        began = time.monotonic()
        _close(self.plan.listening)
        for child in self._children():
            child.restart_at = None
            _send(child, signal.SIGTERM)
        killed: set[str] = set()
        while any(child.pid is not None for child in self._children()):
            self._wait(0.05)
            self._reap()
            took = time.monotonic() - began
            for child in self._children():
                limit = UPKEEP_ENDS_S if child.slot is None else SERVING_ENDS_S
                late = took > limit or self._stop_asked > 1
                if late and child.pid is not None and child.name not in killed:
                    killed.add(child.name)
                    _send(child, signal.SIGKILL)
                    _log_line("warning", "process_killed", process_name=child.name, level_asked=self.plan.log_level)


def _close(sockets: Iterable[socket.socket | None]) -> None:
    for one in sockets:
        if one is not None:
            one.close()


def _send(child: Child, number: int) -> None:
    if child.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)


def _log_line(level: str, event: str, *, level_asked: str = "info", **fields: object) -> None:
    """Write a line of our log; what that needs is imported only when there is something to say."""
    from api import logs

    logs.configure(level_asked, process="supervisor")
    write = getattr(logs.get("supervisor"), level)
    write(event, **fields)
