"""Metrics for Prometheus: what all processes of a host have counted, asked for at one address.

Asked for at any moment, it waits for nothing: what is known of the database and of reports was read before.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from api.node.metrics import BUCKETS_S, Figures, figures_of
from api.serving.board import SERVING, Board

if TYPE_CHECKING:
    from api.serving.upkeep import Upkeep
    from api.serving.upkeep_process import Jobs

NEWS_S = 10.0
"""Gauges of a serving process that has written nothing for so long are left out."""


def serve_metrics(listening: socket.socket, metrics: HostMetrics) -> None:
    """Answer at a socket that listens already, on a thread of its own, until the process ends."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    server = _Server(listening.getsockname()[:2], _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.server_name, server.server_port = "metrics", listening.getsockname()[1]
    server.setup_environ()
    server.set_app(make_wsgi_app(registry))
    threading.Thread(target=server.serve_forever, name="equipoise-metrics", daemon=True).start()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Write nothing: Prometheus asks four times a minute."""


class HostMetrics(Collector):
    """Everything that one host tells of itself."""

    def __init__(self, data_dir: Path, board: Board, upkeep: Upkeep, jobs: Jobs, run_name: str) -> None:
        self._data_dir = data_dir
        self._board = board
        self._upkeep = upkeep
        self._jobs = jobs
        self._run_name = run_name

    def collect(self) -> Iterable[Metric]:
        """Return all metrics, added up over the serving processes."""
        figures = figures_of(self._data_dir, self._run_name, self._board.serving)
        yield _one("equipoise_build_info", "The program's version.", 1, version=importlib.metadata.version("equipoise"))
        yield from _requests(figures)
        yield _assignments(figures)
        yield self._events(figures)
        yield from self._serving(figures)
        yield from self._log()
        yield from self._database()
        yield from self._upkeep.findings.metrics()
        yield from self._work()

    def _events(self, figures: list[Figures]) -> Metric:
        family = CounterMetricFamily(
            "equipoise_events", "Events by what became of them at the door, or in quarantine.", labels=["result"]
        )
        totals: Counter[str] = Counter()
        for one in figures:
            totals.update(one.counts)
        for result in ("accepted", "duplicate", "rejected"):
            family.add_metric([result], totals[f"events_{result}"])
        family.add_metric(["quarantined"], self._upkeep.quarantined)
        return family

    def _serving(self, figures: list[Figures]) -> Iterable[Metric]:
        now = time.time()
        fresh = [one for one in figures if now - one.at < NEWS_S]
        ages = [one.snapshot_age_s for one in fresh if one.snapshot_age_s is not None]
        states = self._board.serving_states()
        yield _one("equipoise_serving_processes", "Serving processes that answer.", states.count(SERVING))
        yield CounterMetricFamily(
            "equipoise_process_restarts", "Processes of this host that died and were replaced.", self._board.restarts
        )
        if ages:
            yield _one(
                "equipoise_snapshot_age_seconds", "Since the snapshot in use took effect; the oldest.", max(ages)
            )
        yield _one(
            "equipoise_spool_queued_rows",
            "Rows that wait for the disk before they are acknowledged.",
            sum(one.spool_queued_rows for one in fresh),
        )
        yield _one(
            "equipoise_published_file_refused",
            "1 while a published file is damaged and the one before is in use.",
            int(any(one.file_refused for one in fresh)),
        )

    def _log(self) -> Iterable[Metric]:
        loader = self._upkeep.loader
        if loader is None:
            return
        if loader.loaded_through is not None:
            yield _one(
                "equipoise_ingest_lag_seconds",
                "All that was acknowledged so long ago is in the database.",
                max(0.0, time.time() - loader.loaded_through / 1e6),
            )
        with contextlib.suppress(Exception):  # a spool that goes away meanwhile
            yield _one(
                "equipoise_ingest_waiting_rows",
                "Acknowledged rows that are on this host's disk and not in the database yet.",
                loader.waiting_rows(),
            )

    def _work(self) -> Iterable[Metric]:
        figures = self._jobs.figures
        if figures is None:
            return
        yield _one("equipoise_jobs_leading", "1 where this host does the deployment's jobs.", int(figures.leading))
        jobs = CounterMetricFamily("equipoise_jobs", "Jobs done here, and attempts that failed.", labels=["result"])
        jobs.add_metric(["done"], figures.done)
        jobs.add_metric(["failed"], figures.failed)
        yield jobs
        attempts = CounterMetricFamily(
            "equipoise_webhook_attempts", "Webhook messages that arrived, and attempts that failed.", labels=["result"]
        )
        attempts.add_metric(["delivered"], figures.delivered)
        attempts.add_metric(["failed"], figures.undelivered)
        yield attempts

    def _database(self) -> Iterable[Metric]:
        state = self._upkeep.database_state
        yield _one("equipoise_database_up", "1 when the database answers.", int(state.word() == "ok"))
        yield _one(
            "equipoise_stale",
            "1 while answers are marked stale: definitions may have changed unseen.",
            int(state.away()),
        )
        yield _one(
            "equipoise_upkeep_failing",
            "Kinds of upkeep work that fail though the database answers: a file cannot be written.",
            len(self._upkeep.failing),
        )


def _one(name: str, text: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _requests(figures: list[Figures]) -> Iterable[Metric]:
    added: dict[tuple[str, str, int], list[float]] = {}
    for one in figures:
        for route, method, status, timing in one.requests:
            known = added.setdefault((route, method, status), [0.0] * len(timing))
            added[route, method, status] = [a + b for a, b in zip(known, timing, strict=False)]
    family = HistogramMetricFamily(
        "equipoise_request_duration_seconds",
        "Answers by address, method and status, with the time they took.",
        labels=["route", "method", "status"],
    )
    for (route, method, status), (seconds, *counts) in sorted(added.items()):
        cumulative, total = [], 0.0
        for bound, count in zip((*BUCKETS_S, float("inf")), counts, strict=False):
            total += count
            cumulative.append(("+Inf" if bound == float("inf") else repr(bound), total))
        family.add_metric([route, method, str(status)], cumulative, seconds)
    yield family


def _assignments(figures: list[Figures]) -> Metric:
    added: Counter[tuple[str, str, str]] = Counter()
    for one in figures:
        for experiment, variant, reason, number in one.assignments:
            added[experiment, variant or "", reason] += number
    family = CounterMetricFamily(
        "equipoise_assignments",
        "Answers by experiment, variant (none is empty) and reason; a fallback is control, on a failure of ours.",
        labels=["experiment", "variant", "reason", "fallback"],
    )
    for (experiment, variant, reason), number in sorted(added.items()):
        family.add_metric([experiment, variant, reason, "true" if reason == "fallback" else "false"], number)
    return family
