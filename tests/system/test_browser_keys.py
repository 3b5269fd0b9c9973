"""The pages of keys in a real browser: making the first key, signing in, by keyboard, without a script, no barrier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from api.app import create_app
from experiments.security import keys
from experiments.settings import Settings
from experiments.store import open_store
from experiments.store.migrate import upgrade
from tests.system.in_process import served
from tests.system.test_browser_pages import Watched, barriers
from tests.system.test_browser_pages import browser as browser

pytestmark = pytest.mark.browser


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Serve the application over HTTP on a free port; keys are checked with the store as it is."""
    settings = Settings(tmp_path / "data", f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    store = open_store(settings.database_url)
    upgrade(store)
    store.close()
    app = create_app(settings=settings)
    with served(app) as address:
        yield address
    app.extensions["equipoise"].store.close()


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("zh-CN", "dark")])
def test_from_the_first_key_to_signing_in_again(browser: Browser, site: str, language: str, scheme: str) -> None:
    with browser.new_context(locale=language, color_scheme=scheme) as context:  # type: ignore[arg-type]
        watched = Watched(context)
        page = watched.page
        found = {}

        def looked_at(name: str) -> None:
            found[name] = barriers(page)
            for width in (1440, 390):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} at {width}"

        page.goto(f"{site}/keys")
        looked_at("open")
        page.fill("#name", "admin")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key")
        looked_at("made")
        key = page.input_value("#key")
        page.click("[data-copy]")
        page.wait_for_function("document.querySelector('[data-copy-said]').textContent !== ''")
        page.goto(f"{site}/keys")
        looked_at("list")
        page.click("a[href$='/rotate']")
        looked_at("rotate")
        page.goto(f"{site}/keys")
        page.click("a[href$='/revoke']")
        looked_at("revoke")
        page.click("form[action='/sign-out'] button")
        page.wait_for_url("**/sign-in")
        looked_at("sign in")
        assert page.evaluate("document.activeElement.id") == "key"
        page.keyboard.type(key)
        page.keyboard.press("Enter")
        page.wait_for_url("**/experiments")
        looked_at("experiments")
        assert [name for name, met in found.items() if met] == [], found
        assert watched.away(site) == []
        assert watched.complaints == []


def test_without_a_script(browser: Browser, site: str, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    admin = keys.create(store, "admin", ["manage"], actor="test")
    shop = keys.create(store, "shop", ["decide"], actor="test")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{site}/keys")
        page.fill("#key", admin.text)
        page.click("main button")
        page.wait_for_url("**/keys")
        page.click(f"a[href='/keys/{shop.key.selector}/revoke']")
        assert next(key for key in keys.all_keys(store) if key.name == "shop").revoked_at is None
        page.click("main button")
        page.wait_for_url("**/keys")
    assert next(key for key in keys.all_keys(store) if key.name == "shop").revoked_at is not None
    store.close()
