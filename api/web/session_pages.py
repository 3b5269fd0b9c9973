"""Signing in and out of the pages with an API key, and the page that says why somebody may not see another."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, current_app, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.errors import Problem
from api.security import guard
from api.security.door import Caller, Door, admitted, closed, refused
from api.security.sessions import COOKIE, LASTS_US, Sessions
from api.services import Services
from api.web.language import Language
from api.web.own_pages import Standing, own_pages, problem_text, standing
from api.web.pages import render
from api.web.views import Account, Site
from experiments.security import key_text

NAME = "session_pages"


def create_blueprint(services: Services, site: Callable[[], Site], account: Callable[[], Account]) -> Blueprint:
    """Return the pages.

    Args:
        services: the store's side of the node.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = own_pages(NAME, site, account)

    @blueprint.get(guard.SIGN_IN)
    def sign_in() -> BaseResponse:
        there = _local(request.args.get("next", ""))
        if not closed(guard.door(services)):
            return redirect(there, code=303)
        return _sign_in_page(standing(site, account), there)

    @blueprint.post(guard.SIGN_IN)
    def try_key() -> BaseResponse:
        there = _local(request.form.get("next", ""))
        door = guard.door(services)
        here = standing(site, account)
        try:
            caller = _holder(door, request.form.get("key", "")[:200])
        except Problem as problem:
            return _sign_in_page(here, there, _why_not_in(problem, here.language), problem.status)
        answer = redirect(there, code=303)
        keep_session(answer, caller.selector or "", door.now_us())
        return answer

    @blueprint.post("/sign-out")
    def sign_out() -> BaseResponse:
        answer = redirect(url_for(f"{NAME}.sign_in"), code=303)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="Lax", secure=request.is_secure)
        return answer

    return blueprint


def keep_session(answer: BaseResponse, selector: str, now: int) -> None:
    """Have the browser stay signed in with a key."""
    sessions: Sessions = current_app.extensions["equipoise_sessions"]
    cookie, _ = sessions.start(selector, now)
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=LASTS_US // 1_000_000,
        path="/",
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
    )


def _holder(door: Door, text: str) -> Caller:
    """Return whose key was pasted.

    Raises:
        Problem: when it is none that may look at the pages.
    """
    parts = key_text.read(text.strip())
    if parts is None:
        raise Problem(422, "this does not read like an API key", code="key_malformed")
    caller = door.keys.holder(parts)
    if caller is None:
        raise refused(door, parts)
    return admitted(door, caller, "report")


def _why_not_in(problem: Problem, language: Language) -> str:
    """Return why a key that was pasted does not sign in."""
    _ = language.gettext
    if problem.code == "scope_missing":
        return _("This key may not look at the pages. Paste one that may read reports or manage.")
    return problem_text(problem, language)


def _sign_in_page(here: Standing, there: str, wrong: str = "", status: int = 200) -> Response:
    page = render(
        "sign_in.html", here.language.tag, here.page, next=there, wrong=wrong, standalone=False, section="sign-in"
    )
    return make_response(page, status)


def _local(address: str) -> str:
    """Return where to go after signing in: an address of this service only.

    >>> _local("/experiments?status=running"), _local("//evil.example/x"), _local("https://evil.example")
    ('/experiments?status=running', '/', '/')
    """
    ours = address.startswith("/") and not address.startswith("//") and "\\" not in address and address.isprintable()
    return address if ours and not address.startswith(guard.SIGN_IN) else "/"
