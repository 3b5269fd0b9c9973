"""``/v1/experiments/KEY/report``: the stored report, computed anew when asked for; those before it."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import msgspec
import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, Field

from api import logs
from api.errors import Problem, unavailable
from api.management.describing import Description, describe, query
from api.management.documents import respond
from api.management.experiments import experiment_record
from api.management.paging import PageQuery, page
from api.management.times import iso
from api.services import Services
from experiments.keeping.records import ExperimentRecord
from experiments.lifecycle.states import LAUNCHED
from experiments.report import archive
from experiments.report.document import Breakdown, Report
from experiments.report.worker import ReportFailedError, ReportTimeoutError, ReportWorker
from experiments.store.report_tables import reports as reports_table

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
        self._parsed: dict[str, tuple[int, Report]] = {}

    def latest(self, key: str) -> Report | None:
        """Return the stored report; `experiments.jobs.refreshing` keeps those of live experiments fresh."""
        return self._stored(key)

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
        return found

    def compute_behind(self, key: str) -> None:
        """Have a report computed and kept; whoever asks for it next finds it."""
        with self._guard:
            if key in self._under_way:
                return
            self._under_way.add(key)
        self._pool.submit(self._refresh, key)

    def close(self) -> None:
        """End the process that computes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._worker.stop()

    def _stored(self, key: str) -> Report | None:
        """Return the newest kept report, parsed once for each number."""
        query = sa.select(sa.func.max(reports_table.c.number)).where(reports_table.c.experiment == key)
        with self.services.store.read() as connection:
            number = connection.scalar(query)
        if number is None:
            return None
        known = self._parsed.get(key)
        if known is None or known[0] != number:
            report = archive.load(self.services.store, key, number)
            if report is None:
                return None
            known = self._parsed[key] = (number, report)
        return known[1]

    def _compute(self, key: str) -> None:
        began_us = self.services.now_us()
        self._worker.compute(key, began_us, timeout_s=WAIT_S)
        _log.info("report_computed", experiment=key, ms=(self.services.now_us() - began_us) // 1000)

    def _refresh(self, key: str) -> None:
        try:
            self._compute(key)
        except ReportFailedError as error:
            _log.warning("report_failed", experiment=key, error=str(error))
        except Exception as error:  # noqa: BLE001 - nobody waits for this one
            _log.error("report_failed", experiment=key, error=type(error).__name__, exc_info=True)
        finally:
            with self._guard:
                self._under_way.discard(key)


class ReportQuery(BaseModel, extra="forbid"):
    """Which part of a report, and how it is written."""

    format: Literal["json", "csv", "csv-details"] = "json"
    """``csv`` is the scorecard, ``csv-details`` everything else, one row a figure."""
    dimension: Annotated[str | None, Field(max_length=64)] = None
    """An attribute: the effects within its levels, for each metric."""


class LatestQuery(ReportQuery):
    """Which report."""

    refresh: Literal["0", "1"] = "0"
    """``1`` computes it anew from what has arrived, and waits for it."""


class RefreshQuery(BaseModel, extra="forbid"):
    """Whether to wait."""

    wait: Literal["0", "1"] = "1"
    """``1`` answers with the new report, ``0`` at once."""


class ReportSummary(BaseModel):
    """One report that was kept."""

    number: int
    phase: int
    computed_at: str
    content_hash: str
    reading: str | None
    """roll_out | stop_harm | stop_no_effect | keep_running | do_not_read; ``null`` without a plan."""
    report: str
    """Address of the report itself."""


class ReportPage(BaseModel):
    """Reports, the newest first."""

    items: list[ReportSummary]
    next_cursor: str | None


class BreakdownsOut(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a report about one dimension."""

    experiment: str | None
    phase: int | None
    content_hash: str
    """Of the whole report."""
    data_time: str | None
    dimension: str
    readable: bool
    """Whether a quality check forbids reading effects."""
    breakdowns: list[Breakdown]


class UnderWayOut(BaseModel):
    """The report is being computed."""

    status: Literal["computing"]
    report: str
    """Where it will be found."""


_REPORT = Report | BreakdownsOut
_DOCUMENT: dict[str, object] = {"application/json": _REPORT, "text/csv": {"type": "string"}}


def create_blueprint(services: Services, reports: Reports) -> APIBlueprint:
    """Return the routes."""
    blueprint = APIBlueprint("reports", __name__, url_prefix="/v1", tag="Reports")

    @blueprint.get("/experiments/<key>/report")
    @describe(
        Description(
            {200: _DOCUMENT},
            query=LatestQuery,
            etag=True,
            problems={409: "It does not run yet, or there is nothing to compute it from", 404: "Not defined"},
        )
    )
    def get_report(key: str) -> Response:
        """Return the latest report; one that has grown old is computed anew in the background."""
        asked = query(LatestQuery)
        record = _launched(services, key)
        report = None if asked.refresh == "1" else reports.latest(record.key)
        if report is None:
            report = reports.compute(record.key)
        return _render(report, asked)

    @blueprint.post("/experiments/<key>/report/refresh")
    @describe(
        Description(
            {200: _DOCUMENT, 202: UnderWayOut},
            query=RefreshQuery,
            etag=True,
            need="report",
            problems={409: "It does not run yet, or there is nothing to compute it from", 404: "Not defined"},
            headers={202: {"Location": "Where the report will be found"}},
        )
    )
    def refresh_report(key: str) -> Response:
        """Compute the report anew from what has arrived, and answer with it; ``?wait=0`` answers at once."""
        asked = query(RefreshQuery)
        record = _launched(services, key)
        if asked.wait == "1":
            return _render(reports.compute(record.key), ReportQuery())
        reports.compute_behind(record.key)
        address = f"/v1/experiments/{record.key}/report"
        return respond({"status": "computing", "report": address}, 202, {"Location": address})

    @blueprint.get("/experiments/<key>/reports")
    @describe(Description({200: ReportPage}, query=PageQuery, problems={404: "Not defined"}))
    def list_reports(key: str) -> Response:
        """List the reports that were kept, the newest first; one that said the same as the last was not kept twice."""
        asked = page(query(PageQuery), int)
        record = experiment_record(services, key)
        before = asked.after[0] if asked.after else None
        found = archive.page(services.store, record.key, before, asked.limit + 1)
        return respond(asked.document(found, lambda kept: _summary(record.key, kept), lambda kept: [kept.number]))

    @blueprint.get("/experiments/<key>/reports/<int:number>")
    @describe(Description({200: _DOCUMENT}, query=ReportQuery, etag=True, problems={404: "No such report was kept"}))
    def get_report_by_number(key: str, number: int) -> Response:
        """Return one report as it was kept: it never changes."""
        asked = query(ReportQuery)
        record = experiment_record(services, key)
        report = archive.load(services.store, record.key, number) if number < 2**63 else None
        if report is None:
            raise Problem(404, f"no report {number} was kept; see /v1/experiments/{key}/reports", code="unknown_report")
        return _render(report, asked)

    return blueprint


def _summary(key: str, kept: archive.Kept) -> dict[str, object]:
    return {
        "number": kept.number,
        "phase": kept.phase,
        "computed_at": iso(kept.computed_at),
        "content_hash": kept.content_hash,
        "reading": kept.reading,
        "report": f"/v1/experiments/{key}/reports/{kept.number}",
    }


def _launched(services: Services, key: str) -> ExperimentRecord:
    record = experiment_record(services, key)
    if record.state not in LAUNCHED:
        raise Problem(
            409, f"the experiment is in {record.state}: there is nothing to report before it runs", code="not_launched"
        )
    return record


def _render(report: Report, asked: ReportQuery) -> Response:
    tag = report.content_hash[:32]
    if asked.dimension is not None:
        response = _within(report, asked.dimension, asked.format)
        tag += "-" + hashlib.sha256(asked.dimension.encode()).hexdigest()[:8]
    elif asked.format != "json":
        from experiments.report.render_csv import render_csv
        from experiments.report.render_rows import render_rows_csv

        scorecard = asked.format == "csv"
        written = render_csv(report) if scorecard else render_rows_csv(report)
        response = Response(written, content_type="text/csv; charset=utf-8")
        name = f"{report.plan.experiment or 'report'}{'' if scorecard else '-details'}.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    else:
        from experiments.report.render_json import render_json

        response = Response(render_json(report), content_type="application/json")
    response.headers["ETag"] = f'"{tag}-{asked.format}"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response


def _within(report: Report, dimension: str, form: str) -> Response:
    """Answer with the breakdowns by one attribute, as the report has them."""
    if form != "json":
        raise Problem(400, "format is json where a dimension is asked for", code="bad_parameter")
    found = [breakdown for breakdown in report.breakdowns if breakdown.attribute == dimension]
    if not found:
        known = list(dict.fromkeys(breakdown.attribute for breakdown in report.breakdowns))
        advice = f"there are: {', '.join(known)}" if known else "the experiment declares no breakdowns"
        raise Problem(404, f"the report has no such dimension; {advice}", code="unknown_dimension")
    return respond(
        {
            "experiment": report.plan.experiment,
            "phase": report.plan.phase,
            "content_hash": report.content_hash,
            "data_time": report.data_time,
            "dimension": dimension,
            "readable": all(c.readable for metric in report.metrics for c in metric.comparisons),
            "breakdowns": found,
        }
    )
