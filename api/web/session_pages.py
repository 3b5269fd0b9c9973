"""Signing in and out of the pages with an API key, and the page that says why somebody may not see another."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Response, current_app, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.errors import Problem
from api.security import guard
from api.security.door import Caller, Door, admitted, closed, refused
from api.security.sessions import COOKIE, LASTS_US, Sessions
from api.services import Services
from api.web.language import Language, language
from api.web.numbers import Numbers
from api.web.pages import Page, render
from api.web.standing import asked_language, page_of, remember_choices
from api.web.views import Account, Site
from experiments.security import key_text

NAME = "session_pages"


@dataclass(frozen=True)
class Standing:
    """The page that is asked for, and how to write on it."""

    page: Page
    language: Language
    numbers: Numbers

    @property
    def host(self) -> str:
        """Where callers send requests to."""
        return (os.environ.get("EQUIPOISE_PUBLIC_URL") or request.host_url).rstrip("/")


def standing(site: Callable[[], Site], account: Callable[[], Account]) -> Standing:
    """Return where the page that is asked for stands."""
    here, words = site(), language(asked_language())
    return Standing(page_of(here, account()), words, Numbers(words, None, here.time_zone))


def create_blueprint(services: Services, site: Callable[[], Site], account: Callable[[], Account]) -> Blueprint:
    """Return the pages.

    Args:
        services: the store's side of the node.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = Blueprint(NAME, __name__)

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

    @blueprint.errorhandler(Problem)
    def refuse(problem: Problem) -> Response:
        return render_refusal(standing(site, account), problem)

    @blueprint.after_request
    def headers(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        remember_choices(response)
        return response

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


def render_refusal(here: Standing, problem: Problem) -> Response:
    """Return a problem as a page."""
    language = here.language
    _ = language.gettext
    title = _("Not allowed") if problem.status == 403 else _("This did not work")
    page = render(
        "refused.html",
        language.tag,
        here.page,
        title=title,
        detail=_why(problem, language),
        back=here.page.experiments_url,
        standalone=False,
        section="",
    )
    answer = make_response(page, problem.status)
    answer.headers.update(problem.headers)
    return answer


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
    return _why(problem, language)


def _why(problem: Problem, language: Language) -> str:
    """Return a problem of the door in the reader's language."""
    _ = language.gettext
    said = {
        "scope_missing": _("The key you signed in with may not do this. Sign in with one that may manage."),
        "cross_site": _("This form was not sent from a page of this service. Open the page and try again."),
        "key_malformed": _(
            "This does not read like an API key. A whole one begins with eqp_ and has 43 letters and digits at its end."
        ),
        "key_unknown": _("This key is not known, or was revoked. A new key works within a few seconds."),
        "key_unknown_yet": _("The database is away and this key is not known here. Try again in a moment."),
        "key_expired": _("This key has ended. Make a new one."),
    }
    return said.get(problem.code, problem.detail)


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
