"""What one serving process counts for its operator: plain numbers in memory, left in a file now and then.

Counting is on the way of every answer, so it costs a dictionary look-up and an addition. The upkeep process adds up the
files of all serving processes when it is asked (`api.serving.exposition`). No label is a member id.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from pathlib import Path

import msgspec

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram; there is one more for what took longer."""
MAX_ROUTES = 2_000
"""Route, method and status together: ours are some hundred, this is an end all the same."""
FOLDER = "run"


Assigned = tuple[str, str | None, str]
"""Experiment ("" is one that is not published), variant, reason."""


class Figures(msgspec.Struct):
    """What a serving process has counted since its host started, and how it is just now."""

    at: float = 0.0
    """Seconds since 1970: the gauges of a process that has said nothing for long are no news."""
    requests: list[tuple[str, str, int, list[float]]] = []
    """Route template, method, status → seconds in all, then the count of each bucket."""
    assignments: list[tuple[str, str | None, str, int]] = []
    """Experiment, variant, reason → answers."""
    counts: dict[str, int] = {}
    """Events by what became of them."""
    snapshot_age_s: float | None = None
    spool_queued_rows: int = 0
    file_refused: bool = False
    """Whether a published file was damaged and is not in use."""


class Metrics:
    """The counters of one process.

    >>> metrics = Metrics()
    >>> metrics.observe("/v1/decide", "POST", 200, 0.002)
    >>> metrics.figures().requests[0][:3]
    ('/v1/decide', 'POST', 200)
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.assigned: Counter[Assigned] = Counter()
        self._requests: dict[tuple[str, str, int], list[float]] = {}
        self._slow_guard = threading.Lock()

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer; to be called by one thread alone.

        Args:
            route: the address's template, never what a caller wrote.
            method: of HTTP.
            status: of HTTP.
            seconds: from the request's head to the answer's end.
        """
        key = (route, method, status)
        timing = self._requests.get(key)
        if timing is None:
            if len(self._requests) >= MAX_ROUTES:
                return
            timing = self._requests[key] = [0.0] * (len(BUCKETS_S) + 2)
        timing[0] += seconds
        timing[1 + bisect_left(BUCKETS_S, seconds)] += 1

    def observe_in_thread(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer that a thread gave; of routes that ``observe`` never sees."""
        with self._slow_guard:
            self.observe(route, method, status, seconds)

    def figures(self) -> Figures:
        """Return a copy of what was counted."""
        return Figures(
            at=time.time(),
            requests=[(*key, list(timing)) for key, timing in list(self._requests.items())],
            assignments=[(*key, number) for key, number in list(self.assigned.items())],
            counts=dict(self.counts),
        )

    def totals(self) -> dict[str, int]:
        """Return the counts for the log: answers by reason, events by what became of them."""
        totals = Counter(self.counts)
        for (_, _, reason), number in self.assigned.items():
            totals[reason] += number
        return dict(totals)

    def resume(self, figures: Figures) -> None:
        """Go on counting where a process that died in this place stopped: counters never go down."""
        for route, method, status, timing in figures.requests:
            if len(timing) == len(BUCKETS_S) + 2:
                self._requests[route, method, status] = list(timing)
        for experiment, variant, reason, number in figures.assignments:
            self.assigned[experiment, variant, reason] += number
        self.counts.update(figures.counts)


class FigureFile:
    """Where one serving process leaves its figures; not forced to disk, for they are about this run alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Figures | None:
        """Return what is there; ``None`` when there is nothing, or nothing that can be read."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._path.read_bytes(), type=Figures)
        return None

    def write(self, figures: Figures) -> None:
        """Replace it."""
        temporary = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.write_bytes(msgspec.json.encode(figures))
            temporary.replace(self._path)


def figure_file(data_dir: Path, run_name: str, slot: int) -> FigureFile:
    """Return the file of a serving process.

    Args:
        data_dir: of the host.
        run_name: of the supervisor, by which several on one data folder are told apart.
        slot: which of its serving processes.
    """
    return FigureFile(data_dir / FOLDER / f"figures-{run_name}-{slot}.json")


def figures_of(data_dir: Path, run_name: str, serving: int) -> list[Figures]:
    """Return the figures of all serving processes of one supervisor."""
    found = (figure_file(data_dir, run_name, slot).read() for slot in range(serving))
    return [figures for figures in found if figures is not None]


def sweep(data_dir: Path) -> None:
    """Make the folder, and remove the figures of supervisors that are gone."""
    folder = data_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("figures-*"):
        owner = path.name.split("-")[1]
        if not owner.isdecimal() or not _alive(int(owner)):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
