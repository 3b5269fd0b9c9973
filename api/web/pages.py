"""Renders pages: the experiment list, a report, a plan without a report yet, and a missing experiment.

Needs no application and no request, so the same functions serve the site, files written by the command line and tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from api.web.bandit_view import BanditView, build_bandit_view
from api.web.language import LANGUAGES, language
from api.web.list_view import build_list_view
from api.web.numbers import Numbers
from api.web.recommendation_view import Standing, build_recommendation
from api.web.report_view import ReportView, build_report_view, facts_of, title_of
from api.web.views import Account, ExperimentListRow, Site
from api.web.vocabulary import state_badge
from experiments.report.document import Plan, Report, Text

HERE = Path(__file__).parent
THEMES = ("auto", "light", "dark")
HTMX = "vendor/htmx.min.js"
FONT = "vendor/inter-latin-wght-normal.woff2"


@cache
def _version(file: str) -> str | None:
    """Return a short content hash of a static file, so that browsers fetch a changed one; None when it is absent."""
    path = HERE / "static" / file
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10] if path.is_file() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where a page stands: deployment, theme, and how addresses are made."""

    site: Site = field(default_factory=Site)
    account: Account = field(default_factory=Account)
    theme: str = "auto"
    """auto | light | dark"""
    path: str = "/experiments"
    query: Mapping[str, str] = field(default_factory=dict)
    asset: Callable[[str], str] = lambda file: f"/assets/{file}"
    experiments_url: str = "/experiments"
    experiments_csv_url: str = "/experiments.csv"
    members_url: str = "/members"
    programme_url: str = "/programme"
    refused_url: str = "/v1/dead-letters"
    """What could not be taken, and why."""
    api_url: str = ""
    """The page about the HTTP API, where there is one."""
    experiment_url: Callable[[str], str] = lambda key: f"/experiments/{quote(key, safe='')}"
    export_url: Callable[[str, str], str] = lambda key, form: (
        f"/v1/experiments/{quote(key, safe='')}/report?format={form}"
    )

    def here(self, **changes: str) -> str:
        """Return this page's address with other parameters."""
        return f"{self.path}?{urlencode({**self.query, **changes})}"

    def file(self, name: str) -> str | None:
        """Return a static file's versioned address, None when the file is not installed."""
        version = _version(name)
        return None if version is None else f"{self.asset(name)}?v={version}"


@cache
def _environment(lang: str) -> Environment:
    words = language(lang)
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        words.catalogue.gettext, words.catalogue.ngettext, newstyle=True
    )
    environment.globals["language"] = words
    environment.globals["languages"] = LANGUAGES
    environment.filters["said"] = _said(lang)
    return environment


def _said(lang: str) -> Callable[[Mapping[str, str] | None], Markup]:
    words = language(lang)

    def said(texts: Mapping[str, str] | None) -> Markup:
        """Write a language map; text in another language than the page's says which, for screen readers and fonts."""
        text, other = words.text(texts), words.said_in(texts)
        return Markup('<span lang="{}">{}</span>').format(other, text) if other else escape(text)

    return said


def render(template: str, lang: str, page: Page, **values: object) -> str:
    """Render a template as a whole page."""
    environment = _environment(language(lang).tag)
    rendered: str = environment.get_template(template).render(page=page, htmx=HTMX, font=FONT, **values)
    return rendered


def render_report(
    report: Report,
    lang: str,
    standalone: bool = False,
    *,
    page: Page | None = None,
    key: str | None = None,
    standing: Standing | None = None,
) -> str:
    """Render a report.

    Args:
        report: the stored document.
        lang: ``en`` or ``zh-CN``.
        standalone: True gives one self-contained file: style inside, no script, no request, nothing around the report.
        page: where the page stands; without one, addresses are the service's defaults.
        key: the experiment's key when the report itself does not carry it.
        standing: the recommendation of who should get which offer; ``None`` where there can be none.

    Returns:
        An HTML document.
    """
    page = page or Page(site=Site(time_zone=report.plan.time_zone))
    key = report.plan.experiment or key
    words = language(lang)
    numbers = Numbers(words, report.plan.currency, report.plan.time_zone)
    template, may_change = "report.html", False
    view: BanditView | ReportView
    if report.bandit is None:
        view = build_report_view(report, words, numbers, key=key)
    else:
        template, view = "bandit.html", build_bandit_view(report, report.bandit, words, numbers)
        may_change = bool(page.account.keys_url) and not standalone and key is not None
    found = standing.document if standing is not None else None
    who = build_recommendation(found, words, Numbers(words, found.currency or None)) if found is not None else None
    style = Markup((HERE / "static" / "app.css").read_text("utf-8")) if standalone else ""  # noqa: S704 - our own file
    return render(
        template,
        lang,
        page,
        view=view,
        key=key,
        plan=report.plan,
        standalone=standalone,
        style=style,
        section="",
        may_change=may_change,
        standing=standing,
        who=who,
    )


def render_plan(
    plan: Plan, lang: str, *, page: Page | None = None, key: str | None = None, cautions: Sequence[Text] = ()
) -> str:
    """Render an experiment that has no report yet: its plan, and what is missing.

    Args:
        plan: what has been declared so far.
        lang: ``en`` or ``zh-CN``.
        page: where the page stands.
        key: the experiment's key when the plan does not carry it.
        cautions: what should be thought over before it starts.
    """
    page = page or Page()
    words = language(lang)
    numbers = Numbers(words, plan.currency, plan.time_zone)
    return render(
        "plan.html",
        lang,
        page,
        title=title_of(plan, words, key),
        facts=facts_of(plan, words, numbers, key=key),
        badge=state_badge(plan.state, words),
        plan=plan,
        cautions=cautions,
        numbers=numbers,
        key=plan.experiment or key,
        standalone=False,
        section="",
    )


def render_experiments(
    rows: Sequence[ExperimentListRow],
    lang: str,
    *,
    page: Page | None = None,
    status: str = "all",
    search: str = "",
    refused: int = 0,
) -> str:
    """Render the experiment list.

    Args:
        rows: all experiments.
        lang: ``en`` or ``zh-CN``.
        page: where the page stands.
        status: all | running | ready | draft | decided.
        search: words to find in key, title, audience or owner.
        refused: rows of the last seven days that could not be taken.
    """
    page = page or Page()
    words = language(lang)
    numbers = Numbers(words, None, page.site.time_zone)
    view = build_list_view(rows, words, numbers, status=status, search=search, refused=refused)
    simulated = page.site.simulated or (bool(rows) and all(row.simulated for row in rows))
    return render(
        "experiments.html", lang, page, view=view, simulated=simulated, standalone=False, section="experiments"
    )


def render_missing(key: str, lang: str, *, page: Page | None = None) -> str:
    """Render the page that answers an unknown experiment key."""
    return render("missing.html", lang, page or Page(), key=key, standalone=False, section="")
