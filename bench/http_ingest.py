"""Events taken in, from the request to the database, on SQLite and PostgreSQL: ``python -m bench.http_ingest``.

Segment batches of 500 new events, acknowledged when they are on disk. What counts is the CPU time of all of our
processes until every event is in the database: the one that answers, and the one that loads. PostgreSQL's own is shown
beside it. Needs wrk (Debian: apt-get install wrk).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bench.http_load import MissingToolError, check_tools, cpu_s, family, load
from bench.http_shop import Ours, events_question, ours, set_up
from experiments.settings import Settings
from experiments.store import open_store
from experiments.store.log_tables import events
from tests.postgres import PostgresMissingError, running_server

EVENTS = 500
CONNECTIONS = 4
ROUNDS = 3
SECONDS = 4
GOAL = 20_000
"""Events a second of CPU time."""
LOADED_S = 120.0


@dataclass(frozen=True)
class Place:
    """A deployment on one database."""

    name: str
    service: Ours
    url: str
    database_pid: int | None


@dataclass(frozen=True)
class Figures:
    """One round on one database."""

    serving_us: float
    loading_us: float
    database_us: float
    """CPU time of an event, of three sides."""
    accepted_per_s: float
    p99_ms: float

    @property
    def per_core(self) -> float:
        """Events in a second of our CPU time."""
        return 1e6 / (self.serving_us + self.loading_us)


@contextlib.contextmanager
def places(folder: Path) -> Iterator[list[Place]]:
    """Run a deployment on each database that there is."""
    with contextlib.ExitStack() as stack:
        found = []
        data = folder / "sqlite"
        set_up(data)
        service = stack.enter_context(ours(data))
        found.append(Place("SQLite", service, Settings.from_env(data=str(data)).database_url, None))
        try:
            server = stack.enter_context(running_server())
        except PostgresMissingError as error:
            print(f"NOT MEASURED on PostgreSQL: {error}")
        else:
            url, data = server.url(), folder / "postgres"
            set_up(data, url)
            service = stack.enter_context(ours(data, url))
            found.append(Place("PostgreSQL", service, url, server.process.pid))
        yield found


def stored(url: str) -> int:
    """Return how many events the database holds."""
    store = open_store(url)
    try:
        with store.read() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(events)) or 0)
    finally:
        store.close()


def one_round(place: Place, seconds: int) -> Figures:
    """Send for some seconds, and wait until all of it is in the database.

    Raises:
        AssertionError: when an acknowledged event does not arrive there.
    """
    service = place.service
    database = [] if place.database_pid is None else family(place.database_pid)
    before_count = stored(place.url)
    serving, rest, theirs = cpu_s(service.serving), cpu_s(service.rest), cpu_s(database)
    done = load(service.port, events_question(EVENTS), seconds, service.serving, CONNECTIONS)
    wanted = before_count + done.requests * EVENTS
    deadline = time.monotonic() + LOADED_S
    while (now := stored(place.url)) < wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"{place.name}: {now - before_count:,} of {wanted - before_count:,} events arrived")
        time.sleep(1)
    number = now - before_count  # with those of requests that were under way when the time was up
    return Figures(
        serving_us=(cpu_s(service.serving) - serving) / number * 1e6,
        loading_us=(cpu_s(service.rest) - rest) / number * 1e6,
        database_us=(cpu_s([pid for pid in database if Path(f"/proc/{pid}").exists()]) - theirs) / number * 1e6,
        accepted_per_s=done.requests_per_s * EVENTS,
        p99_ms=done.p99_ms,
    )


def main() -> int:
    """Measure, print the table, keep it as JSON, and say which goals are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    arguments = parser.parse_args()
    try:
        check_tools()
    except MissingToolError as error:
        print(f"NOT MEASURED: {error}")
        return 1
    with tempfile.TemporaryDirectory(prefix="equipoise-bench-") as folder, places(Path(folder)) as there:
        for place in there:
            load(place.service.port, events_question(EVENTS), 1, place.service.serving, CONNECTIONS)
        time.sleep(3)
        rounds = [{place.name: one_round(place, arguments.seconds) for place in there} for _ in range(arguments.rounds)]
    print(f"{'500-event batches, durable':28}{'events/s a core':>16}{'µs of it: serving':>19}{'loading':>9}", end="")
    print(f"{'database':>10}{'accepted/s':>12}{'p99 ms':>8}   goal")
    kept, missed = [], 0
    for place in there:
        figures = [one[place.name] for one in rounds]
        names = ("per_core", "serving_us", "loading_us", "database_us", "accepted_per_s", "p99_ms")
        row = {name: statistics.median(getattr(one, name) for one in figures) for name in names}
        met = row["per_core"] >= GOAL
        missed += not met
        print(
            f"{place.name:28}{row['per_core']:16,.0f}{row['serving_us']:19.1f}{row['loading_us']:9.1f}"
            f"{row['database_us']:10.1f}{row['accepted_per_s']:12,.0f}{row['p99_ms']:8.1f}"
            f"   ≥ {GOAL:,} {'met' if met else 'MISSED'}"
        )
        kept.append({"database": place.name, **row, "met": met})
    missed += len(there) < 2
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    document = {"bench": "http_ingest", "python": platform.python_version(), "rows": kept}
    (out / "http_ingest.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
