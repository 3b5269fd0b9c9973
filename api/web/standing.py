"""Where a page stands in a request: language, theme, addresses; and keeping what the reader chose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Response, current_app, request, url_for

from api.web.language import LANGUAGES, choose_language
from api.web.pages import THEMES, Page
from api.web.views import Account, Site

API_PAGE = "/docs/api"
YEAR_SECONDS = 365 * 86_400


def page_of(
    site: Site, account: Account, *, name: str = "web", export_url: Callable[[str, str], str] | None = None
) -> Page:
    """Return where the page that is asked for stands.

    Args:
        site: the deployment.
        account: who looks at it.
        name: of the blueprint of the experiments' pages, for `url_for`.
        export_url: ``(key, "json" | "csv") → URL`` of a report's export; by default the REST address.
    """
    theme = request.args.get("theme") or request.cookies.get("theme") or "auto"
    return Page(
        site=site,
        account=account,
        theme=theme if theme in THEMES else "auto",
        path=request.path,
        query={k: v for k, v in request.args.items() if k not in {"lang", "theme"}},
        asset=lambda file: url_for(f"{name}.static", filename=file),
        experiments_url=url_for(f"{name}.experiments"),
        api_url=API_PAGE if "api_pages" in current_app.blueprints else "",
        experiments_csv_url=url_for(f"{name}.experiments_as_csv"),
        experiment_url=lambda key: url_for(f"{name}.experiment", key=key),
        export_url=export_url or (lambda key, form: f"/v1/experiments/{key}/report?format={form}"),
    )


def asked_language() -> str:
    """Return the language that the request asks for."""
    return choose_language(
        request.args.get("lang"), request.cookies.get("lang"), request.headers.get("Accept-Language")
    )


def remember_choices(response: Response) -> None:
    """Keep the language and the theme that were chosen in the address."""
    response.vary.update(["Accept-Language", "Cookie"])
    _remember(response, "lang", LANGUAGES)
    _remember(response, "theme", THEMES)


def _remember(response: Response, name: str, allowed: Sequence[str]) -> None:
    """Keep a choice made in the address as a cookie, so that it works without a script."""
    value = request.args.get(name)
    if value is not None and value in allowed:
        response.set_cookie(
            name, value, max_age=YEAR_SECONDS, samesite="Lax", httponly=True, secure=request.is_secure, path="/"
        )
