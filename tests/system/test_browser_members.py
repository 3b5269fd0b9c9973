"""The page of members in a real browser: no barrier, nothing wider than the screen, in both languages and themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from api.app import create_app
from experiments.keeping.exporting import to_yaml
from experiments.settings import Settings
from experiments.stages.computing import compute
from experiments.stages.presets import preset
from experiments.store import open_store
from experiments.store.migrate import upgrade
from tests.experiments.stages.shop import at, define, ordered, record
from tests.system.in_process import served
from tests.system.test_browser_pages import WIDTHS, Watched, barriers
from tests.system.test_browser_pages import browser as browser

pytestmark = pytest.mark.browser
NOW = at("2026-05-20T12:00")
SEGMENT = """
---
kind: segment
key: asleep
name: {en: Asleep, zh-CN: 沉睡会员}
rule: {attribute: stage, op: eq, value: dormant}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the application over HTTP, with the stages of a shop of eight weeks."""
    folder: Path = tmp_path_factory.mktemp("members")
    settings = Settings(folder / "data", f"sqlite:///{folder / 'equipoise.sqlite'}")
    store = open_store(settings.database_url)
    upgrade(store)
    define(store, to_yaml(preset("potential-new-active-loyal-churn")) + SEGMENT)
    rng = np.random.default_rng(5)
    orders = []
    for member in range(300):
        times = NOW - rng.integers(0, 250, rng.integers(1, 9)) * 86_400_000_000
        orders += [ordered(f"m{member:03d}", int(time), int(rng.integers(20, 400)) * 100) for time in set(times)]
    record(store, orders)
    compute(store, "lifecycle", NOW, weeks=8)
    app = create_app(settings=settings)
    with served(app) as address:
        yield address
    store.close()
    app.extensions["equipoise"].store.close()


@pytest.mark.parametrize(("lang", "theme"), [("en", "light"), ("zh-CN", "dark")])
def test_page(browser: Browser, site: str, lang: str, theme: str) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        watched = Watched(context)
        page = watched.page
        page.goto(f"{site}/members?lang={lang}&theme={theme}")
        assert page.locator("nav a[aria-current=page]").first.get_attribute("href") == "/members"
        for details in page.query_selector_all("details"):
            details.evaluate("e => e.open = true")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        page.set_viewport_size({"width": 1280, "height": 900})
        assert barriers(page) == []
        page.click(".tabs.inner a:nth-child(2)")
        page.wait_for_url("**week=2026-05-11**")
        assert page.locator(".tabs.inner a[aria-current=page]").count() == 1
        assert watched.away(site) == []
        assert watched.complaints == []
