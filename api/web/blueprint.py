"""The pages as a Flask blueprint: ``/``, ``/experiments``, ``/experiments/KEY``.

It knows no database: the application injects the functions that list experiments and load reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.web.list_csv import experiments_csv
from api.web.pages import Page, render_experiments, render_missing, render_plan, render_report
from api.web.recommendation_view import Standing
from api.web.standing import YEAR_SECONDS, asked_language, page_of, remember_choices
from api.web.views import Account, ExperimentListRow, Site
from experiments.report.document import Plan, Report, Text

ASSETS = "/assets"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)


def create_blueprint(
    list_experiments: Callable[[], Sequence[ExperimentListRow]],
    load_report: Callable[[str], Report | None],
    *,
    load_plan: Callable[[str], Plan | None] | None = None,
    load_cautions: Callable[[str], Sequence[Text]] | None = None,
    load_standing: Callable[[str], Standing | None] | None = None,
    site: Site | Callable[[], Site] | None = None,
    account: Callable[[], Account] | None = None,
    refused: Callable[[], int] | None = None,
    export_url: Callable[[str, str], str] | None = None,
    name: str = "web",
) -> Blueprint:
    """Make the blueprint; register it at the root: ``app.register_blueprint(create_blueprint(...))``.

    Args:
        list_experiments: returns every experiment's row (`views.list_row` builds one from a report).
        load_report: returns an experiment's latest stored report, None when there is none.
        load_plan: returns the plan of an experiment that has no report yet (a draft); None when unknown.
        load_cautions: returns what should be thought over before such an experiment starts.
        load_standing: returns where the recommendation from an experiment stands; None where there can be none.
        site: project, environment, time zone and whether the data are simulated; a function where that can change.
        account: who looks at a page.
        refused: returns how many rows of the last seven days could not be taken.
        export_url: ``(key, "json" | "csv") → URL`` of a report's export; by default the REST address.
        name: the blueprint's name, for `url_for`.

    Returns:
        A blueprint with pages, and its static files under ``/assets``.
    """
    blueprint = Blueprint(name, __name__, static_folder="static", static_url_path=ASSETS)

    def page() -> Page:
        current = site() if callable(site) else (site or Site())
        return page_of(current, account() if account else Account(), name=name, export_url=export_url)

    @blueprint.get("/")
    def home() -> BaseResponse:
        return redirect(url_for(f"{name}.experiments"), code=302)

    @blueprint.get("/experiments")
    def experiments() -> Response:
        html = render_experiments(
            list_experiments(),
            asked_language(),
            page=page(),
            status=request.args.get("status", "all"),
            search=request.args.get("q", "")[:200],
            refused=refused() if refused else 0,
        )
        return make_response(html)

    @blueprint.get("/experiments.csv")
    def experiments_as_csv() -> Response:
        status, search = request.args.get("status", "all"), request.args.get("q", "")[:200]
        text = experiments_csv(list_experiments(), asked_language(), status=status, search=search)
        # Spreadsheets take UTF-8 for what it is only after a byte-order mark.
        answer = make_response(text.encode("utf-8-sig"))
        answer.headers["Content-Type"] = "text/csv; charset=utf-8"
        answer.headers["Content-Disposition"] = "attachment; filename=experiments.csv"
        answer.headers["Cache-Control"] = "private, no-cache"
        answer.vary.update(["Accept-Language", "Cookie"])
        return answer

    @blueprint.get("/experiments/<key>")
    def experiment(key: str) -> Response:
        report = load_report(key)
        if report is not None:
            where = load_standing(key) if load_standing else None
            return make_response(render_report(report, asked_language(), page=page(), key=key, standing=where))
        plan = load_plan(key) if load_plan else None
        if plan is not None:
            cautions = load_cautions(key) if load_cautions else ()
            return make_response(render_plan(plan, asked_language(), page=page(), key=key, cautions=cautions))
        return make_response(render_missing(key, asked_language(), page=page()), 404)

    @blueprint.after_request
    def headers(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        if request.endpoint == f"{name}.static" and "v" in request.args:
            # The address carries the file's content hash, so it never changes under it.
            response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
        if response.mimetype == "text/html":
            response.headers["Cache-Control"] = "private, no-cache"
            remember_choices(response)
        return response

    return blueprint
