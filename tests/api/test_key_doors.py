"""Behind the front: which scope each address needs, keys over REST, the pages of keys, sessions, foreign forms."""

from __future__ import annotations

import html
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.security.sessions import COOKIE, SECRET_FILE, Sessions
from experiments.keeping import audit
from experiments.security import key_text, keys
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade

OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """SQLite alone: what a database has to do with keys, tests/experiments/test_keys.py asks of both."""
    opened = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def settings(store: Store, tmp_path: Path) -> Settings:
    return Settings(tmp_path / "data", store.url)


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings=settings)
    yield app.test_client()
    app.extensions["equipoise"].store.close()


def key(store: Store, name: str, *scopes: str, **more: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {keys.create(store, name, scopes, actor='test', **more).text}"}


def sign_in(client: FlaskClient, headers: dict[str, str], then: str = "/keys") -> Any:
    text = headers["Authorization"].removeprefix("Bearer ")
    return client.post("/sign-in", data={"key": text, "next": then}, headers=OURS)


# ------------------------------------------------------------------ which scope an address needs


def test_every_address_is_closed_from_the_first_key_on(client: FlaskClient, store: Store) -> None:
    assert client.get("/v1/experiments").status_code == 200
    key(store, "shop", "decide", "ingest")
    unguarded = []
    for rule in client.application.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "x", re.sub(r"<int:[^>]+>", "1", rule.rule))
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            reply = client.open(path, method=method, headers=OURS)
            turned_away = reply.status_code == 401 or (
                reply.status_code == 303 and reply.headers["Location"].startswith("/sign-in")
            )
            if not turned_away:
                unguarded.append((method, rule.rule))
    assert sorted(unguarded) == [
        ("GET", "/assets/<path:filename>"),
        ("GET", "/docs/api"),
        ("GET", "/sign-in"),
        ("GET", "/static/<path:filename>"),
        ("GET", "/v1/openapi.json"),
        ("HEAD", "/assets/<path:filename>"),
        ("HEAD", "/docs/api"),
        ("HEAD", "/sign-in"),
        ("HEAD", "/static/<path:filename>"),
        ("HEAD", "/v1/openapi.json"),
        ("POST", "/sign-in"),  # answers what was typed
    ]


def test_reading_takes_report_and_changing_takes_manage(client: FlaskClient, store: Store) -> None:
    reader, manager, shop = (
        key(store, name, scope) for name, scope in [("r", "report"), ("m", "manage"), ("d", "decide")]
    )
    project = {"kind": "project", "name": "Shop", "currency": "EUR", "time_zone": "UTC"}
    assert client.get("/v1/experiments", headers=reader).status_code == 200
    assert client.get("/v1/experiments", headers=manager).status_code == 200
    assert client.get("/v1/experiments", headers=shop).status_code == 403
    refused = client.post("/v1/definitions", json=project, headers=reader)
    assert (refused.status_code, refused.json["type"]) == (403, "urn:equipoise:problem:scope_missing")
    assert client.post("/v1/definitions", json=project, headers=manager).status_code == 200
    assert audit.rows(store)[-1].actor == "key:m"
    assert client.get("/v1/keys", headers=reader).status_code == 403
    assert client.post("/v1/experiments/x/explain", json={"unit": "u"}, headers=reader).status_code in {404, 503}


def test_keys_in_addresses_and_cookies_are_not_taken(client: FlaskClient, store: Store) -> None:
    text = key(store, "m", "manage")["Authorization"].removeprefix("Bearer ")
    assert client.get(f"/v1/experiments?api_key={text}&key={text}&access_token={text}").status_code == 401
    client.set_cookie(COOKIE, text)
    assert client.get("/v1/experiments").status_code == 401


def test_closed_from_the_start_where_the_operator_says_so(store: Store, tmp_path: Path) -> None:
    app = create_app(settings=Settings(tmp_path / "data", store.url, auth_required=True))
    assert app.test_client().get("/v1/experiments").status_code == 401
    app.extensions["equipoise"].store.close()


def test_other_sites_cannot_change_an_open_service(client: FlaskClient) -> None:
    made = {"name": "a", "scopes": ["manage"]}
    assert client.post("/v1/keys", json=made, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/v1/keys", data="{}", content_type="text/plain").status_code == 415
    for origin in (
        "http://evil.example",
        "null",
        "http://localhost:81",
    ):  # all that browsers say to plain http
        assert client.post("/v1/keys", json=made, headers={"Origin": origin}).status_code == 403
    assert client.post("/v1/keys", json=made, headers={"Origin": "http://localhost"}).status_code == 201


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example:8000", 421), ("localhost.evil.example", 421), ("1.2.3.4.evil.example", 421), ("127.0.0.1.", 200),
        ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("equipoise:8000", 200), ("equipoise.svc.cluster.local", 200),
        ("offers.shop.example", 200), ("OFFERS.shop.example:443", 200),
    ],
)  # fmt: skip
def test_an_open_service_is_not_found_under_a_strangers_name(
    store: Store, tmp_path: Path, host: str, status: int
) -> None:
    """DNS rebinding: the page of a stranger's name, which leads here since, could make the first key."""
    app = create_app(settings=Settings(tmp_path / "data", store.url, public_url="https://offers.shop.example/x"))
    client = app.test_client()
    for address in ("/v1/experiments", "/experiments"):
        assert client.get(address, headers={"Host": host}).status_code == status
    held = key(store, "m", "manage")
    assert client.get("/v1/experiments", headers={"Host": host, **held}).status_code == 200
    app.extensions["equipoise"].store.close()


# ------------------------------------------------------------------ REST


def test_the_life_of_a_key_over_rest(client: FlaskClient, store: Store) -> None:
    first = client.post("/v1/keys", json={"name": "shop", "scopes": ["decide"]})
    assert first.status_code == 422
    assert "manage" in first.json["errors"][0]["message"]
    made = client.post("/v1/keys", json={"name": "admin", "scopes": ["manage"]})
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert key_text.read(made.json["key"]).selector == made.json["selector"]  # type: ignore[union-attr]
    admin = {"X-API-Key": made.json["key"]}
    shop = client.post(
        "/v1/keys",
        json={
            "name": "shop",
            "scopes": ["ingest", "decide"],
            "ack": "store",
            "expires_at": "2099-01-01T00:00:00+08:00",
        },
        headers=admin,
    )
    assert shop.json["expires_at"] == "2098-12-31T16:00:00.000Z"
    assert shop.json["created_by"] == "key:admin"
    assert client.post("/v1/keys", json={"name": "shop", "scopes": ["decide"]}, headers=admin).status_code == 409
    new = client.post("/v1/keys/shop/rotate", headers=admin)
    assert (new.status_code, new.json["replaces"], new.json["ack"]) == (201, shop.json["selector"], "store")
    assert client.post("/v1/keys/shop/rotate", headers=admin).status_code == 409
    listed = client.get("/v1/keys", headers=admin)
    assert [item["state"] for item in listed.json["items"]] == ["live", "live", "ending"]
    assert "key" not in listed.json["items"][0]
    assert made.json["key"][-43:] not in listed.text
    gone = client.post(f"/v1/keys/{shop.json['selector']}/revoke", headers=admin)
    assert [item["state"] for item in gone.json["items"]] == ["revoked"]
    assert client.post("/v1/keys/nobody/revoke", headers=admin).status_code == 404
    page = client.get("/v1/keys?limit=1", headers=admin).json
    rest = client.get(f"/v1/keys?cursor={page['next_cursor']}", headers=admin).json
    assert [item["selector"] for item in [*page["items"], *rest["items"]]] == [
        item["selector"] for item in client.get("/v1/keys", headers=admin).json["items"]
    ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": ["manage"]}, "/name"),
        ({"name": "A", "scopes": ["manage"]}, "/name"),
        ({"name": "a", "scopes": []}, "/scopes"),
        ({"name": "a", "scopes": ["all"]}, "/scopes/0"),
        ({"name": "a", "scopes": ["manage"], "ack": 1}, "/ack"),
        ({"name": "a", "scopes": ["manage"], "expires_at": "tomorrow"}, "/expires_at"),
        ({"name": "a", "scopes": ["manage"], "expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        ({"name": "a", "scopes": ["manage"], "secret": "x"}, "/secret"),
        ([], ""),
    ],
)
def test_a_wrong_body_is_422_with_a_pointer(client: FlaskClient, store: Store, body: Any, pointer: str) -> None:
    reply = client.post("/v1/keys", json=body)
    assert (reply.status_code, reply.json["errors"][0]["pointer"]) == (422, pointer)
    assert keys.all_keys(store) == []


def test_an_answer_with_a_key_is_never_kept_for_a_repeat(client: FlaskClient, store: Store, settings: Settings) -> None:
    headers = {"Idempotency-Key": "k-1"}
    made = client.post("/v1/keys", json={"name": "admin", "scopes": ["manage"]}, headers=headers)
    secret = key_text.read(made.json["key"]).secret  # type: ignore[union-attr]
    again = client.post(
        "/v1/keys", json={"name": "admin", "scopes": ["manage"]}, headers={**headers, "X-API-Key": made.json["key"]}
    )
    assert secret not in again.text
    with store.read() as connection:
        from experiments.store.metadata import all_tables

        kept = [connection.execute(table.select()).all() for table in all_tables().sorted_tables]
    assert secret not in repr(kept)


# ------------------------------------------------------------------ pages and sessions


def test_the_first_key_of_the_page_closes_the_service_and_keeps_its_maker_in(client: FlaskClient, store: Store) -> None:
    assert "The service is open" in client.get("/keys").text
    refused = client.post("/keys", data={"name": "shop", "scope": "decide"}, headers=OURS)
    assert refused.status_code == 422
    assert "must be allowed to manage" in refused.text
    made = client.post("/keys", data={"name": "admin", "scope": ["manage", "decide"]}, headers=OURS)
    text = html.unescape(re.search(r'id="key"[^>]*value="([^"]+)"', made.text)[1])  # type: ignore[index]
    assert key_text.read(text) is not None
    assert made.headers["Cache-Control"] == "no-store"
    assert "http://localhost" in made.text  # the API host beside the key
    assert client.get("/keys").status_code == 200
    assert text not in client.get("/keys").text
    assert client.get("/experiments").status_code == 200
    client.delete_cookie(COOKIE)
    turned = client.get("/experiments?status=running")
    assert (turned.status_code, turned.headers["Location"]) == (303, "/sign-in?next=%2Fexperiments%3Fstatus%3Drunning")
    assert client.get("/experiments", headers={"HX-Request": "true"}).headers["HX-Redirect"] == "/sign-in"


def test_signing_in_and_out(client: FlaskClient, store: Store) -> None:
    manager, reader, shop = (
        key(store, name, scope) for name, scope in [("m", "manage"), ("r", "report"), ("d", "decide")]
    )
    assert client.get("/sign-in").status_code == 200
    assert client.post("/sign-in", data={"key": "nonsense"}, headers=OURS).status_code == 422
    assert client.post("/sign-in", data={}, headers=OURS).status_code == 422
    assert sign_in(client, shop).status_code == 403
    reply = sign_in(client, reader, "/experiments")
    assert (reply.status_code, reply.headers["Location"]) == (303, "/experiments")
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert client.get("/experiments").status_code == 200
    assert client.get("/v1/experiments").status_code == 200  # downloads of the pages
    assert client.post("/v1/definitions", json={}).status_code == 401  # never changes by a cookie
    refused = client.get("/keys")
    assert (refused.status_code, refused.mimetype) == (403, "text/html")
    assert client.post("/keys", data={"name": "x", "scope": "manage"}, headers=OURS).status_code == 403
    assert 'href="/keys"' not in client.get("/experiments").text
    out = client.post("/sign-out", headers=OURS)
    assert out.status_code == 303
    assert client.get("/experiments").status_code == 303
    assert sign_in(client, manager).headers["Location"] == "/keys"
    assert client.get("/keys").status_code == 200


def test_who_is_refused_or_astray_is_still_signed_in(client: FlaskClient, store: Store) -> None:
    seen = {"Accept": "text/html"}
    reader = key(store, "analyst", "report")
    nowhere = client.get("/nothing", headers=seen)
    assert (nowhere.status_code, "Sign out" in nowhere.text) == (404, False)
    sign_in(client, reader, "/experiments")
    refused = client.get("/keys", headers=seen)
    assert refused.status_code == 403
    assert "Sign in with one that may manage" in refused.text
    for page in (refused, client.get("/nothing", headers=seen), client.get("/docs/api")):
        assert "analyst" in page.text
        assert "Sign out" in page.text
        assert 'href="/keys"' not in page.text
    weak = sign_in(client, key(store, "shop", "decide"))
    assert weak.status_code == 403
    assert "may not look at the pages" in weak.text


@pytest.mark.parametrize(
    "there", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "", "/sign-in"]
)
def test_signing_in_leads_nowhere_else(client: FlaskClient, store: Store, there: str) -> None:
    assert sign_in(client, key(store, "m", "manage"), there).headers["Location"] == "/"


def test_over_https_the_cookie_is_secure(client: FlaskClient, store: Store) -> None:
    text = key(store, "m", "manage")["Authorization"].removeprefix("Bearer ")
    reply = client.post("/sign-in", data={"key": text}, headers=OURS, base_url="https://eq.example")
    assert "Secure" in reply.headers["Set-Cookie"]


def test_a_session_ends_with_its_key(client: FlaskClient, store: Store) -> None:
    manager = key(store, "m", "manage")
    sign_in(client, manager)
    assert client.get("/keys").status_code == 200
    keys.revoke(store, "m", actor="test")
    assert client.get("/keys").status_code == 303
    assert client.get("/v1/experiments").status_code == 401


def test_a_cookie_that_was_made_up_or_changed_is_none(client: FlaskClient, store: Store, settings: Settings) -> None:
    manager = key(store, "m", "manage")
    sign_in(client, manager)
    real = client.get_cookie(COOKIE)
    assert real is not None
    selector = keys.all_keys(store)[0].selector
    for value in (
        real.value.swapcase(),
        "",
        "x" * 3000,
        f'["{selector}", 9e99]',
        "\x00..",
    ):
        client.set_cookie(COOKIE, value)
        assert client.get("/keys").status_code == 303
    sessions = Sessions(settings)
    cookie, ends = sessions.start(selector, 0)
    assert sessions.selector(cookie, ends - 1) == selector
    assert sessions.selector(cookie, ends) is None
    assert Sessions(Settings(settings.data_dir / "other", settings.database_url)).selector(cookie, 0) is None
    assert stat.S_IMODE((settings.data_dir / SECRET_FILE).stat().st_mode) == 0o600


def test_the_secret_of_sessions_may_come_from_outside(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_SECRET_KEY", "shared by all replicas")
    cookie, _ = Sessions(settings).start("abcdefabcdef", 0)
    elsewhere = Settings(settings.data_dir / "other", settings.database_url)
    assert Sessions(elsewhere).selector(cookie, 1) == "abcdefabcdef"
    assert not (settings.data_dir / SECRET_FILE).exists()


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost:81"}, False),
        ({}, False),
    ],
)
def test_forms_of_other_sites_are_refused(
    client: FlaskClient, store: Store, headers: dict[str, str], *, taken: bool
) -> None:
    reply = client.post("/keys", data={"name": "admin", "scope": "manage"}, headers=headers)
    assert reply.status_code == (200 if taken else 403)
    assert len(keys.all_keys(store)) == taken
    assert client.post("/sign-in", data={"key": "x"}, headers=headers).status_code == (422 if taken else 403)


def test_rotating_and_revoking_by_page(client: FlaskClient, store: Store) -> None:
    sign_in(client, key(store, "admin", "manage"))
    made = keys.create(store, "shop", ["decide"], actor="test")
    address = f"/keys/{made.key.selector}"
    assert "Both work until the old one ends" in client.get(f"{address}/rotate").text
    page = client.post(f"{address}/rotate", data={"grace": "168"}, headers=OURS)
    assert "works until" in page.text
    assert client.post(f"{address}/rotate", headers=OURS).status_code == 409
    assert "吊销" in client.get(f"{address}/revoke?lang=zh-CN").text
    assert keys.all_keys(store)[-1].works(keys.now_us())  # looking changes nothing
    for _ in range(2):
        assert client.post(f"{address}/revoke", headers=OURS).status_code == 303
    assert audit.rows(store)[-1].actor == "key:admin"
    for wrong in ("nobody000000", "x", "%00", "%F0%9F%8D%8A", "a" * 5000):
        assert client.get(f"/keys/{wrong}/revoke").status_code == 404


def test_what_was_typed_is_escaped_and_kept_in_the_form(client: FlaskClient) -> None:
    page = client.post("/keys", data={"name": '"><script>alert(1)</script>', "scope": "manage"}, headers=OURS)
    assert page.status_code == 422
    assert "<script>alert(1)" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
