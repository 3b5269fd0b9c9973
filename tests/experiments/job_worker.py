"""A worker process for the tests: ``python -m tests.experiments.job_worker DATA URL LEASE_S``.

Jobs of kind ``steps`` write a line into a file at their begin and their end, and take ``steps`` times a tenth of a
second. It prints ``leads`` and ``waits`` as the lease comes and goes, logs to standard error (two threads that print to
one file can mix their lines), and ends with its standard input.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from experiments.errors import InputError
from experiments.jobs.handlers import HANDLERS, Progress
from experiments.jobs.queue import Job
from experiments.jobs.runner import Pace, start
from experiments.settings import Settings
from experiments.store import Store

HANDLERS["steps"] = "tests.experiments.job_worker:steps"


def steps(store: Store, settings: Settings, job: Job, progress: Progress, stop: threading.Event) -> Mapping[str, Any]:
    def say(what: str) -> None:
        with Path(job.params["file"]).open("a") as file:
            file.write(f"{what} {job.id} {job.attempts} {os.getppid()}\n")

    say("begin")
    match job.params.get("trouble"):
        case "refused":
            raise InputError("no column 'member'")
        case "once" if job.attempts == 1:
            raise RuntimeError("unit m-1 is wrong")
        case "dies" if job.attempts == 1:
            os._exit(9)
    count = job.params["steps"]
    for done in range(count):
        time.sleep(0.1)
        progress(done + 1, count)
    say("end")
    return {"steps": count}


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    data, url, lease_s = sys.argv[1:]
    pace = Pace(poll_s=0.1, round_s=3600, first_s=3600, lease_s=float(lease_s))
    runner = start(Settings(Path(data), url), pace=pace)
    threading.Thread(target=lambda: (sys.stdin.read(), runner.stop(), os._exit(0)), daemon=True).start()
    led = None
    while True:
        leads = runner.figures.leading
        if leads != led:
            sys.stdout.write(f"{'leads' if leads else 'waits'} {time.time():.3f}\n")
            sys.stdout.flush()
        led = leads
        time.sleep(0.05)


if __name__ == "__main__":
    main()
