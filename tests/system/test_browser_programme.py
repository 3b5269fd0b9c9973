"""The programme's page in a real browser: no barrier, nothing wider than the screen, in both languages and themes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from api.app import create_app
from experiments.settings import Settings
from tests.api.test_programme_page import OURS, do
from tests.api.test_programme_page import made as made
from tests.system.in_process import served
from tests.system.test_browser_pages import WIDTHS, Watched, barriers
from tests.system.test_browser_pages import browser as browser

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(made: Settings) -> Iterator[str]:
    """Serve the application over HTTP, with a return and an effect that jobs have computed."""
    app = create_app(settings=made)
    client = app.test_client()
    assert client.post("/programme/compute", data={"days": "28"}, headers=OURS).status_code == 303
    do(made, "programme")
    sent = {"experiment": "new", "long": "profit", "early_days": "5", "long_days": "14"}
    assert client.post("/programme/surrogate", data=sent, headers=OURS).status_code == 303
    do(made, "surrogate")
    with served(app) as address:
        yield address
    app.extensions["equipoise"].store.close()


@pytest.mark.parametrize(("lang", "theme"), [("en", "light"), ("zh-CN", "dark")])
def test_page(browser: Browser, site: str, lang: str, theme: str) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        watched = Watched(context)
        page = watched.page
        page.goto(f"{site}/programme?lang={lang}&theme={theme}")
        assert page.locator("nav a[aria-current=page]").first.get_attribute("href") == "/programme"
        assert page.locator("table.tbl").count() == 4
        for details in page.query_selector_all("details"):
            details.evaluate("e => e.open = true")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        page.set_viewport_size({"width": 1280, "height": 900})
        assert barriers(page) == []
        assert watched.away(site) == []
        assert watched.complaints == []
