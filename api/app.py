"""The Flask application behind the front: management and report API, and the pages. Errors are problem+json."""

from __future__ import annotations

import importlib.metadata
import time
from typing import Any, cast

import sqlalchemy as sa
from apiflask import APIFlask
from flask import Response, current_app, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from api import logs
from api.errors import CONTENT_TYPE, Problem, request_id_from, unavailable
from api.management import (
    audiences,
    audit,
    dead_letters,
    definitions,
    experiments,
    explanations,
    idempotency,
    jobs,
    keys,
    openapi,
    policies,
    programme,
    recommendations,
    reports,
    stages,
    surrogates,
    webhooks,
)
from api.node.state import Node
from api.security import guard
from api.security.door import Caller
from api.services import Services
from api.web import (
    api_page,
    audience_pages,
    key_pages,
    member_pages,
    policy_pages,
    programme_pages,
    recommendation_pages,
    session_pages,
)
from api.web.astray import Astray
from api.web.blueprint import create_blueprint as create_pages
from api.web.listing import Listing
from experiments.errors import InputError
from experiments.settings import Settings
from experiments.store import StoreError, failure

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_log = logs.get("management")


def create_app(node: Node | None = None, settings: Settings | None = None) -> APIFlask:
    """Make the application.

    Args:
        node: the running node whose snapshots follow what is changed here; ``None`` works on the store alone.
        settings: needed without a node; by default from the environment.
    """
    chosen = node.settings if node is not None else settings or Settings.from_env()
    services = Services(chosen, node)
    app = APIFlask(
        "api",
        title="Equipoise",
        version=importlib.metadata.version("equipoise"),
        spec_path="/v1/openapi.json",
        docs_path=None,
        json_errors=False,
    )
    app.config["SYNC_LOCAL_SPEC"] = False
    openapi.install(app)
    app.extensions["equipoise"] = services
    app.before_request(_begin)
    guard.install(app, services)
    app.after_request(_finish)
    idempotency.install(app, services)
    report_service = reports.Reports(services)
    if node is not None:
        node.at_end(report_service.close)
    app.register_blueprint(experiments.create_blueprint(services))
    app.register_blueprint(definitions.create_blueprint(services, experiments.shower(services)))
    app.register_blueprint(reports.create_blueprint(services, report_service))
    app.register_blueprint(explanations.create_blueprint(services))
    app.register_blueprint(keys.create_blueprint(services))
    app.register_blueprint(dead_letters.create_blueprint(services))
    app.register_blueprint(audit.create_blueprint(services))
    app.register_blueprint(jobs.create_blueprint(services))
    app.register_blueprint(policies.create_blueprint(services))
    app.register_blueprint(recommendations.create_blueprint(services))
    app.register_blueprint(audiences.create_blueprint(services))
    app.register_blueprint(webhooks.create_blueprint(services))
    app.register_blueprint(stages.create_blueprint(services))
    app.register_blueprint(programme.create_blueprint(services))
    app.register_blueprint(surrogates.create_blueprint(services))
    listing = Listing(services, report_service)
    account = key_pages.account_of(services)
    for pages in (
        create_pages(
            listing.rows,
            listing.report,
            load_plan=listing.plan,
            load_cautions=listing.cautions,
            load_standing=lambda key: recommendation_pages.standing_of(
                services, key, may_change=bool(account().keys_url)
            ),
            site=listing.site,
            account=account,
            refused=listing.refused,
        ),
        key_pages.create_blueprint(services, listing.site, account),
        policy_pages.create_blueprint(services, report_service, listing.site, account),
        recommendation_pages.create_blueprint(services, listing.site, account),
        audience_pages.create_blueprint(services, listing.site, account),
        session_pages.create_blueprint(services, listing.site, account),
        member_pages.create_blueprint(services, listing.site, account),
        programme_pages.create_blueprint(services, listing.site, account),
        api_page.create_blueprint(lambda: cast("dict[str, Any]", app.spec), listing.site, account),
    ):
        pages.enable_openapi = False  # type: ignore[attr-defined]
        app.register_blueprint(pages)
    _register_errors(app, Astray(listing.site, account))
    return app


def _begin() -> None:
    g.began = time.perf_counter()
    g.request_id = request_id_from(request.headers.get("X-Request-Id"))


def _finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith("/v1/"):
        response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Request-Id"] = g.request_id
    rule = request.url_rule.rule if request.url_rule is not None else "unknown"
    took_s = time.perf_counter() - g.began
    method = request.method if request.method in _METHODS else "other"
    node: Node | None = current_app.extensions["equipoise"].node
    if node is not None:
        node.metrics.observe_in_thread(rule, method, response.status_code, took_s)
    caller: Caller | None = g.get("caller")
    who = {"key": caller.name} if caller is not None and caller.selector is not None else {}
    trace = {**logs.trace_of(None, request.headers.get("traceparent")), "request_id": g.request_id}
    # Looking at pages is no event. What changes something, or fails on our side, is.
    changes = request.method not in {"GET", "HEAD", "OPTIONS"}
    write = _log.warning if response.status_code >= 500 else _log.info if changes else _log.debug
    write(
        "request",
        method=method,
        route=rule,
        status=response.status_code,
        ms=round(took_s * 1000, 1),
        **who,
        **trace,
    )
    return response


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _register_errors(app: APIFlask, astray: Astray) -> None:
    app.register_error_handler(Problem, _answer)
    app.register_error_handler(HTTPException, lambda error: astray.answer(error) or _from_werkzeug(error))
    app.register_error_handler(InputError, lambda error: _answer(Problem(422, str(error), code="invalid")))
    app.register_error_handler(RecursionError, lambda _: _answer(_too_deep()))
    app.register_error_handler(StoreError, _from_store)
    app.register_error_handler(sa.exc.DBAPIError, _from_store)
    app.register_error_handler(sa.exc.TimeoutError, _from_store)
    app.register_error_handler(Exception, _unexpected)


def _answer(problem: Problem) -> Response:
    response = Response(problem.body(g.get("request_id")), problem.status, content_type=CONTENT_TYPE)
    response.headers.update(problem.headers)
    return response


def _too_deep() -> Problem:
    return Problem(400, "the body is nested too deeply; send a flat document", code="malformed_json")


def _from_werkzeug(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None or status < 400:
        return Response.force_type(error.get_response())  # type: ignore[return-value]
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        kept = "; what was defined is never deleted" if request.method == "DELETE" else ""
        problem = Problem(405, f"this address takes {allowed} only{kept}", headers={"Allow": allowed})
    elif status == 404:
        slash = "; none ends with a slash" if request.path.endswith("/") else ""
        problem = Problem(404, f"there is nothing at this address{slash}; /v1/openapi.json lists what there is")
    else:
        problem = Problem(status, (error.description or error.name).replace("\n", " "))
    return _answer(problem)


def _from_store(error: Exception) -> Response:
    _log.error("store_failed", error=type(error).__name__, detail=failure(error), request_id=g.get("request_id"))
    return _answer(unavailable("the database does not answer just now; come again in a second", code="store_away"))


def _unexpected(error: Exception) -> Response:
    _log.error("request_failed", error=type(error).__name__, request_id=g.get("request_id"), exc_info=True)
    detail = "something failed on our side; quote the request id to the operator"
    return _answer(Problem(500, detail, code="internal_failure"))
