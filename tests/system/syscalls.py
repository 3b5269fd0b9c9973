"""What a process asked of the kernel, in order: the evidence that an acknowledgement followed the disk's.

``strace -f`` writes a line when a call begins, or two (``<unfinished ...>``, ``resumed``) when calls of other threads
come between. The line number is the clock: a call that has one line began and ended before the next line.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

RECEIVE = ("recvfrom", "read")
SEND = ("sendto", "sendmsg", "write", "writev")
"""How event loops receive and send: asyncio's own calls, and those of uvloop."""
CALLS = ",".join(("openat", "pwrite64", "fdatasync", "fsync", *RECEIVE, *SEND))
_BEGIN = re.compile(r"^(\d+) +(\w+)\((.*)$", re.DOTALL)
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_RESULT = re.compile(r"\) += (-?\d+)(?: .*)?$")
_DESCRIPTOR = re.compile(r"^(\d+)<([^>]*)>")


@dataclass
class Call:
    """One system call: its first and last line, what it was called with, what it returned."""

    name: str
    arguments: str
    began: int
    ended: int
    result: int

    @property
    def descriptor(self) -> str:
        """The descriptor's number and what it stands for, such as ``7</data/spool/x.spool-wal>``."""
        found = _DESCRIPTOR.match(self.arguments)
        return found.group(0) if found else ""

    @property
    def path(self) -> str:
        """The file or socket that the first argument stands for."""
        found = _DESCRIPTOR.match(self.arguments)
        return found.group(2) if found else ""


@cache
def _usable() -> str | None:
    if shutil.which("strace") is None:
        return "strace is not installed: `make test` installs it as root on Debian, otherwise apt-get install strace"
    tried = subprocess.run(["strace", "-D", "-f", "-y", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.decode(errors='replace')}"


def strace(log: Path) -> list[str]:
    """Return the command that runs another one under trace; skip the test where that cannot be done.

    The traced program keeps the process id (``-D``), so signals reach it.
    """
    problem = _usable()
    if problem:
        pytest.skip(problem)
    return ["strace", "-D", "-f", "-y", "-s", "100000", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(log)]


def calls(log: Path, timeout_s: float = 20) -> list[Call]:
    """Return all finished calls in the order in which they began; waits for the tracer to have written the end."""
    deadline = time.monotonic() + timeout_s
    while not re.search(r"\+\+\+ (exited|killed) .*\+\+\+\n?\Z", log.read_text(errors="replace")[-200:]):
        assert time.monotonic() < deadline, f"{log} has no end"
        time.sleep(0.05)
    return sorted(_parse(log.read_text(errors="replace").splitlines()), key=lambda call: call.began)


def _parse(lines: list[str]) -> Iterator[Call]:
    open_calls: dict[str, Call] = {}
    for number, line in enumerate(lines):
        resumed = _RESUMED.match(line)
        if resumed:
            call = open_calls.pop(resumed.group(1), None)
            if call is None:
                continue
            # What a call receives (recvfrom) is shown only when it returns.
            call.arguments += resumed.group(3)
        else:
            begun = _BEGIN.match(line)
            if begun is None:
                continue
            call = Call(begun.group(2), begun.group(3), number, number, 0)
            if line.endswith("<unfinished ...>"):
                call.arguments = call.arguments.removesuffix("<unfinished ...>")
                open_calls[begun.group(1)] = call
                continue
        result = _RESULT.search(call.arguments)
        if result is None:
            continue
        call.ended, call.result = number, int(result.group(1))
        yield call


def unsynced(trace: list[Call], acknowledged: dict[str, Call]) -> dict[str, str]:
    """Return each acknowledged id whose rows were not on disk when it was acknowledged, and what was missing.

    A row is on disk when the spool's write-ahead log was written with it, and an fdatasync (or fsync) of the same file
    that began afterwards has returned.

    Args:
        trace: all calls.
        acknowledged: id → the call that told the caller.
    """
    writes = [call for call in trace if call.name == "pwrite64" and call.path.endswith(".spool-wal")]
    syncs = [call for call in trace if call.name in ("fdatasync", "fsync") and call.result == 0]
    missing: dict[str, str] = {}
    for identity, told in acknowledged.items():
        written = next((call for call in writes if identity in call.arguments and call.result > 0), None)
        if written is None or written.ended > told.began:
            missing[identity] = "acknowledged before it was written"
        elif not any(
            sync.path == written.path and sync.began > written.ended and sync.ended < told.began for sync in syncs
        ):
            missing[identity] = "acknowledged with no fdatasync between its rows and the answer"
    return missing
