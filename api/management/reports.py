"""``/v1/experiments/KEY/report``: the stored report, computed anew when asked for or grown old."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from apiflask import APIBlueprint
from flask import Response, request

from api import logs
from api.errors import Problem, unavailable
from api.services import Services
from experiments.heads import UnknownKeyError
from experiments.records import ExperimentRecord
from experiments.report.document import Report
from experiments.states import LAUNCHED

OLD_AFTER_S = 300.0
"""A running experiment's report is computed anew in the background when it is read after so long."""
LIVE = frozenset({"running", "paused"})
WAIT_S = 120.0

_log = logs.get("reports")


class Reports:
    """Loads and computes reports; one computation at a time, so that analysing leaves room for deciding."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="equipoise-report")
        self._guard = threading.Lock()
        self._under_way: set[str] = set()
        self._computed_at: dict[str, float] = {}

    def latest(self, key: str) -> Report | None:
        """Return the stored report; one that has grown old is computed anew in the background."""
        from experiments.report import archive

        report = archive.latest(self.services.store, key)
        if time.monotonic() - self._computed_at.get(key, float("-inf")) > OLD_AFTER_S:
            self._refresh_behind(key)
        return report

    def compute(self, key: str) -> Report:
        """Compute and keep a report now, or wait for the one under way.

        Raises:
            Problem: 503 when others take too long.
        """
        try:
            return self._pool.submit(self._compute, key).result(WAIT_S)
        except TimeoutError:
            raise unavailable(
                "the report takes long; it will be there later", code="report_slow", retry_after_s=30
            ) from None

    def _compute(self, key: str) -> Report:
        from experiments.report import archive, build

        began = time.perf_counter()
        store = self.services.store
        report = build.build_report(store, key, self.services.now_us())
        archive.save(store, report, now=self.services.now_us())
        self._computed_at[key] = time.monotonic()
        _log.info("report_computed", experiment=key, ms=round((time.perf_counter() - began) * 1000))
        return report

    def _refresh_behind(self, key: str) -> None:
        with self._guard:
            if key in self._under_way:
                return
            self._under_way.add(key)
        self._pool.submit(self._refresh, key)

    def _refresh(self, key: str) -> None:
        try:
            if self.services.repository().experiment(key).state in LIVE:
                self._compute(key)
            else:
                self._computed_at[key] = time.monotonic()
        except UnknownKeyError:
            pass
        except Exception as error:  # noqa: BLE001 - the stored report stays; the next reader tries again
            _log.error("report_failed", experiment=key, error=type(error).__name__, exc_info=True)
            self._computed_at[key] = time.monotonic() - OLD_AFTER_S + 30
        finally:
            with self._guard:
                self._under_way.discard(key)


def create_blueprint(services: Services, reports: Reports) -> APIBlueprint:
    """Return the route."""
    blueprint = APIBlueprint("reports", __name__, url_prefix="/v1", tag="Reports")

    @blueprint.get("/experiments/<key>/report")
    @blueprint.doc(responses={200: "The report document, or its scorecard as CSV"})
    def get_report(key: str) -> Response:
        """Return the latest report: ``format=json|csv``; ``refresh=1`` computes it anew from what has arrived."""
        form = request.args.get("format", "json")
        if form not in {"json", "csv"}:
            raise Problem(400, "format is json or csv", code="bad_parameter")
        refresh = request.args.get("refresh", "0")
        if refresh not in {"0", "1"}:
            raise Problem(400, "refresh is 0 or 1", code="bad_parameter")
        record = _launched(services, key)
        report = None if refresh == "1" else reports.latest(record.key)
        if report is None:
            report = reports.compute(record.key)
        return _render(report, form)

    return blueprint


def _launched(services: Services, key: str) -> ExperimentRecord:
    try:
        record = services.repository().experiment(key)
    except UnknownKeyError as error:
        raise Problem(404, str(error), code="unknown_experiment") from None
    if record.state not in LAUNCHED:
        raise Problem(
            409, f"the experiment is in {record.state}: there is nothing to report before it runs", code="not_launched"
        )
    return record


def _render(report: Report, form: str) -> Response:
    tag = f'"{report.content_hash[:32]}-{form}"'
    if form == "csv":
        from experiments.report.render_csv import render_csv

        response = Response(render_csv(report), content_type="text/csv; charset=utf-8")
        name = f"{report.plan.experiment or 'report'}.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    else:
        from experiments.report.render_json import render_json

        response = Response(render_json(report), content_type="application/json")
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response
