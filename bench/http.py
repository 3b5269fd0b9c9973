"""Decisions over HTTP, beside the same answer as a Flask route and a constant answer: ``python -m bench.http``.

One core answers, the other asks (wrk, 32 connections, every request about a new member) and does what goes on beside
answering: loading the spool into the database, publishing. Each server is asked in turns for a few seconds, round after
round; the table shows medians, and medians of the ratios of each round. Ratios are of the CPU time that the answering
processes spend on a request, which hardly depends on who else uses the machine; ratios of requests a second stand
beside them.

The baseline is `bench.http_flask` on granian, the fastest WSGI server (one thread without a log, 32 where each waits
for the disk); the limit is `bench.http_constant`; the peer is Unleash
(`bench.http_unleash`). Needs wrk (Debian: apt-get install wrk) and locks/bench.txt.
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
from typing import Any

from bench.http_load import SERVER_CORE, Load, MissingToolError, Question, check_tools, cpu_s, family, load
from bench.http_shop import (
    Ours,
    batch_question,
    decide_question,
    free_port,
    key_of,
    ofrep_question,
    ours,
    process,
    send,
    set_up,
    wait_until,
)
from bench.http_unleash import CLIENT_QUESTION, FRONTEND_QUESTION, unleash

ROUNDS = 5
SECONDS = 3
FLASK = "Flask on granian"
CONSTANT = "a constant answer on our server"
UNLEASH = "Unleash, frontend API: the same question"
UNLEASH_CLIENT = "Unleash, client API: the definitions"
NOT_WAITED_FOR = "decide, logged but not waited for (ack = none, with a key)"
MEMBERS = 1_000


Comparisons = tuple[tuple[str, float | None], ...]
"""Label of another row, and how many of ours must go into the CPU time of one of its requests at least (``None``: that
is only told)."""


@dataclass(frozen=True)
class Row:
    """One server and question, and what it is held against."""

    label: str
    port: int
    pids: list[int]
    question: Question
    against: Comparisons = ()
    most_us: float | None = None
    """CPU time of a member that it may take at most."""
    members: int = 1
    connections: int = 32


Running = tuple[int, list[int]]
"""Port and processes of a server."""


def rows_of(
    service: Ours,
    keyed: tuple[Ours, str],
    flask: Running,
    flask_waiting: Running,
    constants: dict[str, tuple[int, Running]],
    peer: Running | None,
) -> list[Row]:
    """Return the rows of the table.

    Args:
        service: ours, open to everybody.
        keyed: ours again, with a key whose answers wait for nothing.
        flask: the baseline with one thread.
        flask_waiting: the same with threads that wait for the disk.
        constants: size, port and processes of the constant answers.
        peer: Unleash, where it is there.
    """
    alone = (service.port, service.serving)
    flask_counted, flask_logged = f"{FLASK}, not logged", f"{FLASK}, durable"
    limit, limit_logged = (f"{CONSTANT}, {constants[key][0]} bytes" for key in ("counted", "logged"))
    counted, logged = decide_question("counted"), decide_question("logged")
    goals: Comparisons = ((flask_counted, 3.5), (limit, 0.6))
    goal: Comparisons = ((flask_logged, 1.8),)
    peers: list[Row] = []
    by_peer: Comparisons = ()
    if peer is not None:
        peers = [Row(UNLEASH, *peer, FRONTEND_QUESTION), Row(UNLEASH_CLIENT, *peer, CLIENT_QUESTION)]
        by_peer = ((UNLEASH, None),)
    return [
        Row(flask_counted, *flask, counted),
        Row(limit, *constants["counted"][1], counted),
        Row("decide, not logged", *alone, counted, goals),
        Row("OFREP, not logged", *alone, ofrep_question("counted"), goals + by_peer),
        Row(flask_logged, *flask_waiting, logged),
        Row(limit_logged, *constants["logged"][1], logged),
        Row("decide, durable", *alone, logged, goal),
        Row("OFREP, durable", *alone, ofrep_question("logged"), goal + by_peer),
        Row(
            NOT_WAITED_FOR,
            keyed[0].port,
            keyed[0].serving,
            decide_question("logged", Authorization=f"Bearer {keyed[1]}"),
            ((flask_logged, None),),
        ),
        *peers,
        *(
            Row(
                f"batch of 1,000, {log}{given}",
                *alone,
                batch_question(f"{key}{suffix}", MEMBERS, rule=bool(given)),
                most_us=most_us,
                members=MEMBERS,
                connections=2,
            )
            for given, suffix in (("", "-all"), (", with a rule", ""))
            for log, key, most_us in (("not logged", "counted", 2.0), ("durable", "logged", 10.0))
        ),
    ]


def check_answers(rows: list[Row]) -> None:
    """See that the baseline says what ours says, field by field."""
    said: dict[str, list[tuple[str, Any]]] = {}
    for row in rows:
        if row.question.path == "/v1/decide" and row.label != NOT_WAITED_FOR and CONSTANT not in row.label:
            body = f"{row.question.head}-the-same{row.question.tail}".encode()
            status, document = send(row.port, row.question.path, body)
            if status != 200:
                raise AssertionError(f"{row.label} answers {status}: {document}")
            said.setdefault(row.question.head, []).append((row.label, document))
    for answers in said.values():
        for label, document in answers[1:]:
            if document != answers[0][1]:
                raise AssertionError(f"{label} says {document}, {answers[0][0]} says {answers[0][1]}")


@contextlib.contextmanager
def flask(data: Path, threads: int) -> Iterator[Running]:
    """Run the baseline; give its port and processes."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "granian"), "--interface", "wsgi", "--http", "1", "--no-ws"]
    command += ["--workers", "1", "--blocking-threads", str(threads), "--port", str(port), "--log-level", "error"]
    with process([*command, "bench.http_flask:app"], SERVER_CORE, BENCH_DATA=str(data)) as started:
        wait_until(lambda: send(port, "/there")[0] == 404)
        yield port, family(started.pid)


@contextlib.contextmanager
def constant(size: int) -> Iterator[tuple[int, Running]]:
    """Run the constant answer; give its size, port and processes."""
    port = free_port()
    with process([sys.executable, "-m", "bench.http_constant", str(port), str(size)], SERVER_CORE) as started:
        wait_until(lambda: send(port, "/")[0] == 200)
        yield size, (port, family(started.pid))


def answer_size(service: Ours, experiment: str) -> int:
    """Return how many bytes an answer of ours has."""
    question = decide_question(experiment)
    _, document = send(service.port, question.path, f"{question.head}-size{question.tail}".encode())
    return len(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())


def measure(rows: list[Row], rounds: int, seconds: int, rest: list[int]) -> tuple[dict[str, list[Load]], float]:
    """Ask all, round after round in a turning order; return the loads, and what a logged decision costs elsewhere."""
    loads: dict[str, list[Load]] = {row.label: [] for row in rows}
    for row in rows:
        load(row.port, row.question, 1, row.pids, row.connections)
    beside: list[float] = []
    for i in range(rounds):
        shift = i % len(rows)
        for row in rows[shift:] + rows[:shift]:
            before = cpu_s(rest)
            done = load(row.port, row.question, seconds, row.pids, row.connections)
            loads[row.label].append(done)
            if row.label == "decide, durable":
                settle(rest)
                beside.append((cpu_s(rest) - before) / done.requests * 1e6)
            elif "durable" in row.label or row.label == NOT_WAITED_FOR:
                settle(rest)
    return loads, statistics.median(beside)


def settle(rest: list[int], seconds: float = 60.0) -> None:
    """Wait until what was logged is in the database, so that the next row does not share a core with its loading."""
    deadline = time.monotonic() + seconds
    before = cpu_s(rest)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = cpu_s(rest)
        if now - before < 0.1:
            return
        before = now


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
    with tempfile.TemporaryDirectory(prefix="equipoise-bench-") as folder, contextlib.ExitStack() as stack:
        data = Path(folder) / "data"
        set_up(data)
        service = stack.enter_context(ours(data))
        constants = {key: stack.enter_context(constant(answer_size(service, key))) for key in ("counted", "logged")}
        peer = None
        try:
            peer = stack.enter_context(unleash())
        except MissingToolError as error:
            print(f"NOT MEASURED: Unleash ({error})")
        without_log, waiting = stack.enter_context(flask(data, 1)), stack.enter_context(flask(data, 32))
        set_up(Path(folder) / "keyed")
        other = stack.enter_context(ours(Path(folder) / "keyed"))
        keyed = (other, key_of(other, "none"))
        rows = rows_of(service, keyed, without_log, waiting, constants, peer)
        check_answers(rows)
        loads, beside = measure(rows, arguments.rounds, arguments.seconds, service.rest + other.rest)
    return report(rows, loads, beside)


_SAID = {True: " met", False: " MISSED", None: ""}


def report(rows: list[Row], loads: dict[str, list[Load]], beside: float) -> int:
    """Print the table and keep it; return 1 when a goal is missed."""
    print(f"{'':58}{'a second':>10}{'CPU µs':>9}{'p50 ms':>8}{'p99 ms':>8}   goal")
    kept, missed = [], 0
    for row in rows:
        done = loads[row.label]
        rate = statistics.median(one.requests_per_s for one in done) * row.members
        spent = statistics.median(one.us_per_request for one in done) / row.members
        p50, p99 = (statistics.median(getattr(one, name) for one in done) for name in ("p50_ms", "p99_ms"))
        goals: list[tuple[str, str, bool | None]] = []
        for other, least in row.against:
            pairs = list(zip(loads[other], done, strict=True))
            by_cpu = statistics.median(theirs.us_per_request / our.us_per_request for theirs, our in pairs)
            by_rate = statistics.median(our.requests_per_s / theirs.requests_per_s for theirs, our in pairs)
            text = f"{by_cpu:.2f} × {other.partition(',')[0]} (rate {by_rate:.2f})"
            goals.append((text, "", None) if least is None else (text, f" ≥ {least:g}", by_cpu >= least))
        if row.most_us is not None:
            goals.append(("µs a member", f" ≤ {row.most_us:g}", spent <= row.most_us))
        missed += sum(met is False for _, _, met in goals)
        told = "; ".join(text + goal + _SAID[met] for text, goal, met in goals)
        print(f"{row.label:58}{rate:10,.0f}{spent:9.1f}{p50:8.2f}{p99:8.2f}   {told}")
        kept.append({"row": row.label, "a_second": rate, "cpu_us": spent, "p50_ms": p50, "p99_ms": p99, "goals": goals})
    print(f"Beside answering, on the other core: {beside:.1f} µs of CPU for each logged decision (spool to database).")
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    document = {"bench": "http", "python": platform.python_version(), "rows": kept, "loading_us": beside}
    (out / "http.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
