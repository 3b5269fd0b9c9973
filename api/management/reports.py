"""``/v1/experiments/KEY/report``: the stored report, computed anew when asked for or grown old."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response, request

from api import logs
from api.errors import Problem, unavailable
from api.management.computing import ReportFailedError, ReportTimeoutError, ReportWorker
from api.services import Services
from experiments.keeping.heads import UnknownKeyError
from experiments.keeping.records import ExperimentRecord
from experiments.lifecycle.states import LAUNCHED
from experiments.report import archive
from experiments.report.document import Report
from experiments.store.report_tables import reports as reports_table

OLD_AFTER_US = 300_000_000
"""A running experiment's report is computed anew in the background when it is read after so long."""
LIVE = frozenset({"running", "paused"})
WAIT_S = 120.0

_log = logs.get("reports")


class Reports:
    """Loads reports and has them computed, one at a time, so that analysing leaves room for deciding."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._worker = ReportWorker(services.settings)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="equipoise-report")
        self._guard = threading.Lock()
        self._under_way: set[str] = set()
        self._checked_at_us: dict[str, int] = {}
        self._parsed: dict[str, tuple[int, Report]] = {}

    def latest(self, key: str) -> Report | None:
        """Return the stored report; one that has grown old is computed anew in the background."""
        found = self._stored(key)
        known_at_us = max(self._checked_at_us.get(key, 0), found[1] if found else 0)
        if self.services.now_us() - known_at_us > OLD_AFTER_US:
            self._refresh_behind(key)
        return found[0] if found else None

    def compute(self, key: str) -> Report:
        """Compute and keep a report now, or wait for the one under way.

        Raises:
            Problem: 409 when there is nothing to compute it from, 503 when it takes too long or fails.
        """
        try:
            self._compute(key)
        except ReportTimeoutError:
            raise unavailable("the report takes long; come again", code="report_slow", retry_after_s=30) from None
        except ReportFailedError as error:
            if error.for_people:
                raise Problem(409, str(error), code="report_not_possible") from None
            _log.error("report_failed", experiment=key, error=str(error))
            raise unavailable("the report could not be computed; the log says why", code="report_failed") from None
        found = self._stored(key)
        if found is None:
            raise unavailable("the report could not be kept; come again", code="report_failed")
        return found[0]

    def close(self) -> None:
        """End the process that computes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._worker.stop()

    def _stored(self, key: str) -> tuple[Report, int] | None:
        """Return the newest kept report, parsed once for each number, and when it was computed."""
        c = reports_table.c
        query = sa.select(c.number, c.computed_at).where(c.experiment == key).order_by(c.number.desc()).limit(1)
        with self.services.store.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        known = self._parsed.get(key)
        if known is None or known[0] != row.number:
            report = archive.load(self.services.store, key, row.number)
            if report is None:
                return None
            known = self._parsed[key] = (row.number, report)
        return known[1], row.computed_at

    def _compute(self, key: str) -> None:
        began_us = self.services.now_us()
        self._worker.compute(key, began_us, timeout_s=WAIT_S)
        now_us = self._checked_at_us[key] = self.services.now_us()
        _log.info("report_computed", experiment=key, ms=(now_us - began_us) // 1000)

    def _refresh_behind(self, key: str) -> None:
        with self._guard:
            if key in self._under_way:
                return
            self._under_way.add(key)
        self._pool.submit(self._refresh, key)

    def _refresh(self, key: str) -> None:
        # Whatever happens, not again for a while: the stored report stays.
        self._checked_at_us[key] = self.services.now_us()
        try:
            if self.services.repository().experiment(key).state in LIVE:
                self._compute(key)
        except UnknownKeyError:
            pass
        except ReportFailedError as error:
            _log.warning("report_failed", experiment=key, error=str(error))
        except Exception as error:  # noqa: BLE001 - nobody waits for this one
            _log.error("report_failed", experiment=key, error=type(error).__name__, exc_info=True)
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
