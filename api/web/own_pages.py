"""Pages that are made for who looks at them: kept by no cache, and what goes wrong on them is told as a page."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Response, make_response, request

from api.errors import Problem
from api.web.language import Language, language
from api.web.numbers import Numbers
from api.web.pages import Page, render
from api.web.standing import asked_language, page_of, remember_choices
from api.web.views import Account, Site


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


def own_pages(name: str, site: Callable[[], Site], account: Callable[[], Account]) -> Blueprint:
    """Return a blueprint for such pages.

    Args:
        name: of the blueprint.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = Blueprint(name, __name__)

    @blueprint.errorhandler(Problem)
    def refuse(problem: Problem) -> Response:
        return render_refusal(standing(site, account), problem)

    @blueprint.after_request
    def headers(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        remember_choices(response)
        return response

    return blueprint


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
        detail=problem_text(problem, language),
        back=here.page.experiments_url,
        standalone=False,
        section="",
    )
    answer = make_response(page, problem.status)
    answer.headers.update(problem.headers)
    return answer


def problem_text(problem: Problem, language: Language) -> str:
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
