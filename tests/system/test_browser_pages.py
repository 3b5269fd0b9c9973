"""Every page in a real browser: languages, themes, widths, no request but to the site, no error, no barrier.

Chromium comes from the system (Debian: ``apt-get install chromium``); without one these tests are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import axe_core_python
import msgspec
import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from api.web.blueprint import create_blueprint
from api.web.pages import FONT, HTMX, render_report
from api.web.views import Site
from tests.api import web_bandit, web_designs, web_reports
from tests.system.in_process import served

pytestmark = pytest.mark.browser

CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next((path for name in CANDIDATES if (path := shutil.which(name))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8")
PAGES = {
    "list": "/experiments",
    "list-empty-tab": "/experiments?status=decided&q=nothing",
    "report": "/experiments/dormant-winback",
    "report-broken-split": "/experiments/loyal-early-access",
    "report-nasty": "/experiments/nasty",
    "report-watched": "/experiments/watched",
    "report-bayesian": "/experiments/believed",
    "report-learned": "/experiments/winback",
    "report-no-data": "/experiments/no-data",
    "draft": "/experiments/second-order-nudge",
}
WIDTHS = (1440, 1280, 390)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Serve the blueprint over HTTP on a free port."""
    reports = {
        "dormant-winback": web_reports.REPORT,
        "loyal-early-access": web_reports.broken_split(),
        "nasty": web_reports.nasty(),
        "no-data": web_reports.empty(),
        "watched": web_designs.watched(),
        "believed": web_designs.believed(),
        "winback": web_bandit.learned(),
    }
    draft = msgspec.structs.replace(
        web_reports.PLAN, experiment="second-order-nudge", state="draft", planned_units=None, started_at=None
    )
    app = Flask("test", static_folder=None)
    app.register_blueprint(
        create_blueprint(
            web_reports.list_rows,
            reports.get,
            load_plan={"second-order-nudge": draft}.get,
            site=Site(
                project={"en": "Harbour Retail", "zh-CN": "港湾零售"},
                environment="demo",
                time_zone="Asia/Shanghai",
                simulated=True,
            ),
        )
    )
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium found: install one (Debian: apt-get install chromium) or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Watched:
    """A page with everything that it asked for and complained about."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type in {"error", "warning"} else None,
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def away(self, origin: str) -> list[str]:
        return [url for url in self.requests if not url.startswith((f"{origin}/", "data:"))]


def barriers(page: Page) -> list[str]:
    """Return axe-core's serious and critical findings."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:160]} ({v['nodes'][0]['failureSummary'][:200]})"
        for v in found["violations"]
        if v["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize(
    ("lang", "theme"),
    [
        ("en", "light"),
        ("zh-CN", "dark"),
        pytest.param("en", "dark", marks=pytest.mark.slow),
        pytest.param("zh-CN", "light", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", PAGES)
def test_page(browser: Browser, site: str, name: str, lang: str, theme: str) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        watched = Watched(context)
        page = watched.page
        path = PAGES[name]
        answer = page.goto(f"{site}{path}{'&' if '?' in path else '?'}lang={lang}&theme={theme}")
        assert answer is not None
        assert answer.status == 200
        assert page.evaluate("document.documentElement.lang") == lang
        for details in page.query_selector_all("details"):
            details.evaluate("e => e.open = true")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"the page is {wide} px wide at {width}"
        page.set_viewport_size({"width": 1280, "height": 900})
        assert barriers(page) == []
        assert watched.away(site) == []
        assert watched.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_automatic_theme_follows_the_system(browser: Browser, site: str, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{site}/experiments")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(246, 246, 244)", "dark": "rgb(14, 16, 19)"}[scheme]


def test_everything_works_without_a_script(browser: Browser, site: str) -> None:
    with browser.new_context(java_script_enabled=False, viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{site}/experiments/dormant-winback")
        change = page.locator("table.score tr.first td.num.b").first
        assert change.inner_text() == "+9.0%"
        page.locator("label.l-absolute").click()
        assert change.inner_text() == "+¥0.38"
        page.locator("label.l-total").click()
        assert change.inner_text() == "+¥18,782"
        page.get_by_role("link", name="Dark").click()
        page.get_by_role("link", name="简体中文").click()
        assert page.locator("h1").inner_text() == web_reports.PLAN.title["zh-CN"]
        assert page.locator("html").get_attribute("data-theme") == "dark"
        page.locator("#q").fill("free")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.locator("table.list tbody tr").count() == 1


def test_keyboard_reaches_search_forms_and_skip_link(browser: Browser, site: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{site}/experiments/dormant-winback")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "q"
        assert page.locator("#q").input_value() == ""
        page.locator("#f-relative").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#f-absolute").is_checked()
        page.reload()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"


def test_the_read_out_repeats_the_table(browser: Browser, site: str) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{site}/experiments/dormant-winback?lang=en")
        figure = page.locator("figure.ch").first
        figure.locator("rect.hit[data-row='27']").hover()
        said = figure.locator(".readout").inner_text()
        assert said.startswith("Day 28 (30 Mar 2026) · Members 47,600 · Change +¥0.")


def test_live_search_when_htmx_is_there(browser: Browser, site: str) -> None:
    static = Path(create_blueprint.__code__.co_filename).parent / "static"
    if not (static / HTMX).is_file():
        pytest.skip(f"{HTMX} is not installed: run make install")
    assert (static / FONT).is_file()
    with browser.new_context() as context:
        watched = Watched(context)
        page = watched.page
        page.goto(f"{site}/experiments?lang=en")
        page.locator("#q").press_sequentially("free")
        page.locator("table.list tbody tr").nth(1).wait_for(state="detached")
        assert page.locator("table.list tbody tr").count() == 1
        assert "q=free" in page.url
        assert watched.complaints == []


def test_print_is_light_and_without_controls(browser: Browser, site: str, tmp_path: Path) -> None:
    with browser.new_context(color_scheme="dark") as context:
        page = context.new_page()
        page.goto(f"{site}/experiments/dormant-winback?theme=dark")
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        for hidden in (".side", ".top", ".head .act", ".seg.forms"):
            assert not page.locator(hidden).first.is_visible()
        pdf = page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
        # Pages of a PDF are objects of this type; the fixture is one long report.
        assert 2 <= pdf.count(b"/Type /Page\n") <= 7


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
def test_a_standalone_file_asks_for_nothing(browser: Browser, tmp_path: Path, lang: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report(web_reports.REPORT, lang, standalone=True), "utf-8")
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        watched = Watched(context)
        page = watched.page
        page.goto(file.as_uri())
        assert watched.requests == [file.as_uri()]
        assert watched.complaints == []
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("label.l-absolute").click()
        assert page.locator("table.score tr.first td.num.b").first.inner_text() == "+¥0.38"
