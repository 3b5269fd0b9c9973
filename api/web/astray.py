"""What a browser gets for an address that there is none of: the page that was meant, or a page that says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import sqlalchemy as sa
from flask import current_app, make_response, redirect, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.wrappers import Response

from api.web.own_pages import standing
from api.web.pages import render
from api.web.standing import remember_choices
from api.web.views import Account, Site
from experiments.store import StoreError

_JSON = ("application/problem+json", "application/json")


@dataclass(frozen=True)
class Astray:
    """Answers people who lost their way; programs get problem documents."""

    site: Callable[[], Site]
    """The deployment that the pages belong to."""
    account: Callable[[], Account]
    """Who looks at them."""

    def answer(self, error: HTTPException) -> Response | None:
        """Return a page, the way to one, or None where a problem document is right."""
        if not isinstance(error, NotFound | MethodNotAllowed) or request.path.startswith("/v1/"):
            return None
        if (
            request.method not in {"GET", "HEAD"}
            or request.accept_mimetypes.best_match((*_JSON, "text/html")) != "text/html"
        ):
            return None
        meant = _without_slash()
        return redirect(meant, code=308) if meant is not None else self._nothing_here(error.code or 404)

    def _nothing_here(self, status: int) -> Response | None:
        try:
            here = standing(self.site, self.account)
        except (StoreError, sa.exc.DBAPIError, sa.exc.TimeoutError):
            return None
        language = here.language
        _ = language.gettext
        page = render(
            "refused.html",
            language.tag,
            here.page,
            title=_("Not found"),
            detail=_("There is nothing at this address."),
            back=here.page.experiments_url,
            standalone=False,
            section="",
        )
        answer = make_response(page, status)
        answer.headers["Cache-Control"] = "no-store"
        remember_choices(answer)
        return answer


def _without_slash() -> str | None:
    """Return the address of the page that was meant, where only a slash at the end is too many."""
    bare = request.path.rstrip("/")
    adapter = current_app.create_url_adapter(request)
    if not bare or bare == request.path or adapter is None:
        return None
    try:
        adapter.match(bare, method="GET")
    except HTTPException:
        return None
    query = request.query_string.decode("ascii", "replace")
    return quote(bare) + (f"?{query}" if query else "")
