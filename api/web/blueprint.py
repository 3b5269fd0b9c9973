"""The pages as a Flask blueprint: ``/``, ``/experiments``, ``/experiments/KEY``.

It knows no database: the application injects the functions that list experiments and load reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.web.language import LANGUAGES, choose_language
from api.web.list_csv import experiments_csv
from api.web.pages import THEMES, Page, render_experiments, render_missing, render_plan, render_report
from api.web.views import ExperimentListRow, Site
from experiments.report.document import Plan, Report

ASSETS = "/assets"
YEAR_SECONDS = 365 * 86_400
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)


def create_blueprint(
    list_experiments: Callable[[], Sequence[ExperimentListRow]],
    load_report: Callable[[str], Report | None],
    *,
    load_plan: Callable[[str], Plan | None] | None = None,
    site: Site | Callable[[], Site] | None = None,
    export_url: Callable[[str, str], str] | None = None,
    name: str = "web",
) -> Blueprint:
    """Make the blueprint; register it at the root: ``app.register_blueprint(create_blueprint(...))``.

    Args:
        list_experiments: returns every experiment's row (`views.list_row` builds one from a report).
        load_report: returns an experiment's latest stored report, None when there is none.
        load_plan: returns the plan of an experiment that has no report yet (a draft); None when unknown.
        site: project, environment, time zone and whether the data are simulated; a function where that can change.
        export_url: ``(key, "json" | "csv") → URL`` of a report's export; by default the REST address.
        name: the blueprint's name, for `url_for`.

    Returns:
        A blueprint with pages, and its static files under ``/assets``.
    """
    blueprint = Blueprint(name, __name__, static_folder="static", static_url_path=ASSETS)
    address = export_url or (lambda key, form: f"/v1/experiments/{key}/report?format={form}")

    def page() -> Page:
        current = site() if callable(site) else (site or Site())
        theme = request.args.get("theme") or request.cookies.get("theme") or "auto"
        return Page(
            site=current,
            theme=theme if theme in THEMES else "auto",
            path=request.path,
            query={k: v for k, v in request.args.items() if k not in {"lang", "theme"}},
            asset=lambda file: url_for(f"{name}.static", filename=file),
            experiments_url=url_for(f"{name}.experiments"),
            experiments_csv_url=url_for(f"{name}.experiments_as_csv"),
            experiment_url=lambda key: url_for(f"{name}.experiment", key=key),
            export_url=address,
        )

    def language() -> str:
        return choose_language(
            request.args.get("lang"), request.cookies.get("lang"), request.headers.get("Accept-Language")
        )

    @blueprint.get("/")
    def home() -> BaseResponse:
        return redirect(url_for(f"{name}.experiments"), code=302)

    @blueprint.get("/experiments")
    def experiments() -> Response:
        html = render_experiments(
            list_experiments(),
            language(),
            page=page(),
            status=request.args.get("status", "all"),
            search=request.args.get("q", "")[:200],
        )
        return make_response(html)

    @blueprint.get("/experiments.csv")
    def experiments_as_csv() -> Response:
        status, search = request.args.get("status", "all"), request.args.get("q", "")[:200]
        text = experiments_csv(list_experiments(), language(), status=status, search=search)
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
            return make_response(render_report(report, language(), page=page(), key=key))
        plan = load_plan(key) if load_plan else None
        if plan is not None:
            return make_response(render_plan(plan, language(), page=page(), key=key))
        return make_response(render_missing(key, language(), page=page()), 404)

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
            response.vary.update(["Accept-Language", "Cookie"])
            _remember(response, "lang", LANGUAGES)
            _remember(response, "theme", THEMES)
        return response

    return blueprint


def _remember(response: Response, name: str, allowed: Sequence[str]) -> None:
    """Keep a choice made in the address as a cookie, so that it works without a script."""
    value = request.args.get(name)
    if value is not None and value in allowed:
        response.set_cookie(
            name, value, max_age=YEAR_SECONDS, samesite="Lax", httponly=True, secure=request.is_secure, path="/"
        )
