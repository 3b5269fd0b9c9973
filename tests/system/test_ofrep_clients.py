"""OpenFeature providers as they are, against a running service: variants, exposures, changes, and its failures."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.openfeature import PROVIDERS, ROOT, application, bundled, program
from tests.system.serving import Server, run, serving
from tests.system.test_browser_pages import CHROMIUM
from tests.system.test_browser_pages import FLAGS as CHROMIUM_FLAGS

DEFINITIONS = """
kind: project
name: Harbour Retail
currency: CNY
attributes: {city: {type: string, kept: request}}
---
kind: offer
key: coupon-20-100
name: {en: "20 off 100"}
type: spend_x_save_y
face_value: "20.00"
minimum_spend: "100.00"
contact_cost: {app: "0.05"}
---
kind: metric
key: repurchase-14d
name: {en: Repurchase}
type: proportion
event: Order Completed
window: {days: 14}
---
kind: experiment
key: welcome
name: {en: Welcome}
variants: [{key: control}, {key: a, offer: coupon-20-100, channel: app}]
metrics: {primary: [repurchase-14d]}
overrides: {tester-7: a}
---
kind: experiment
key: oslo
name: {en: Oslo}
audience: {attribute: city, op: eq, value: Oslo}
variants: [{key: control}, {key: a, offer: coupon-20-100, channel: app}]
metrics: {primary: [repurchase-14d]}
"""
UNITS = [f"m-{n}" for n in range(8)]
FLAG = "/ofrep/v1/evaluate/flags/welcome"


def address(server: Server) -> str:
    return f"http://{server.host}:{server.port}"


def decided(server: Server, unit: str, key: str = "welcome", **attributes: str) -> dict[str, Any]:
    reply = server.send("POST", "/v1/decide", {"experiment": key, "unit": unit, "attributes": attributes})
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json()
    return answer


def move(server: Server, key: str, *states: str) -> None:
    for state in states:
        reply = server.send("POST", f"/v1/experiments/{key}/transitions", {"to": state})
        assert reply.status == 200, reply.body


def until(true: Any, what: str, wait_s: float = 40, seen: Any = None) -> None:
    deadline = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: {seen}"
        time.sleep(0.1)


def prepare(server: Server) -> None:
    reply = server.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"})
    assert reply.status == 200, reply.body
    for key in ("welcome", "oslo"):
        move(server, key, "review", "testing", "running")
    asked = {"context": {"targetingKey": "tester-7", "city": "Oslo"}}

    def there() -> bool:
        replies = [server.send("POST", f"/ofrep/v1/evaluate/flags/{key}", asked) for key in ("welcome", "oslo")]
        return all(r.status == 200 and r.json()["reason"] != "DISABLED" for r in replies)

    until(there, "the launch was not published")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ofrep") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Server]:
    with serving(data, arguments=["--workers", "2"]) as started:
        prepare(started)
        yield started


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_gets_what_the_service_decides(provider: str, server: Server) -> None:
    units = UNITS[:1] if provider == "web" else UNITS
    got = application(provider, address(server), "welcome", units, times=2)
    for unit, answer in zip(units, got["answers"], strict=True):
        own = decided(server, unit)
        assert (answer["variant"], answer["value"]) == (own["variant"], own["offer"] or {})
        assert (answer["reason"], answer["error"]) == ("SPLIT", None)
        assert answer["metadata"]["decisionId"] == own["decision_id"]
        assert answer["metadata"]["enrolled"] is True
    exposures = [r for r in got["reported"] if r["event"] == "Experiment Viewed"]
    assert [r["userId"] for r in exposures] == units, "once for each member, however often it is shown"
    assert exposures[0]["properties"] == {
        "decision_id": got["answers"][0]["metadata"]["decisionId"],
        "experiment": "welcome",
        "variant": got["answers"][0]["variant"],
    }
    (tester, *_) = application(provider, address(server), "welcome", ["tester-7"])["answers"]
    assert (tester["variant"], tester["reason"]) == ("a", "TARGETING_MATCH")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_who_is_not_enrolled_is_shown_control_and_not_counted(provider: str, server: Server) -> None:
    got = application(provider, address(server), "oslo", ["m-1"], context={"city": "Rome"})
    (answer,) = got["answers"]
    assert (answer["variant"], answer["value"], answer["error"]) == ("control", {}, None)
    assert answer["metadata"]["enrolled"] is False
    assert answer["metadata"]["reason"] == "not_in_audience"
    assert got["reported"] == []


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_unknown_flag_is_the_code_default(provider: str, server: Server) -> None:
    got = application(provider, address(server), "nothing-here", ["m-1"])
    (answer,) = got["answers"]
    assert (answer["value"], answer["error"]) == ({"code": "default"}, "FLAG_NOT_FOUND")
    assert got["reported"] == []


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["python", "node"])
def test_no_targeting_key_is_said_to_be_missing(provider: str, server: Server) -> None:
    (answer,) = application(provider, address(server), "welcome", [""])["answers"]
    assert (answer["value"], answer["error"]) == ({"code": "default"}, "TARGETING_KEY_MISSING")


def test_the_web_provider_asks_anew_when_attributes_change(server: Server) -> None:
    """It sends the ETag of its first answer then: the second must be told apart from it."""
    got = application("web", address(server), "oslo", ["m-9"], context={"city": "Rome"}, then={"city": "Oslo"})
    before, after = got["answers"]
    assert (before["metadata"]["reason"], after["metadata"]["reason"]) == ("not_in_audience", "assigned")


@pytest.mark.parametrize("provider", ["python", pytest.param("node", marks=pytest.mark.slow)])
def test_exposures_and_outcomes_reach_the_report(provider: str, server: Server) -> None:
    units = [f"{provider}-{n}" for n in range(20)]
    got = application(provider, address(server), "welcome", units, report=address(server), convert=True, times=2)
    assert len(got["reported"]) == 40
    report: dict[str, Any] = {}

    def counted() -> bool:
        reply = server.send("POST", "/v1/experiments/welcome/report/refresh", timeout=60)
        report.update(reply.json() if reply.status == 200 else {})
        return bool(report) and (report["population"]["exposed"] or 0) >= 20

    until(counted, "the exposures did not arrive", 120, report.get("population"))
    assert report["population"]["assigned"] >= 20


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_guide_s_examples_run(language: str, server: Server, data: Path, tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "openfeature.md").read_text("utf-8")
    text = guide.split(f"```{language}\n", 1)[1].split("\n```", 1)[0]
    text = text.replace("http://localhost:8080", address(server)).replace('"shipping"', '"welcome"')
    text = text.replace("member-1", f"guide-{language}").replace("EUR", "CNY").replace("eqp_live_…", "any")
    done = program(language, text, tmp_path)
    assert done.returncode == 0, done.stderr

    def there() -> bool:
        with contextlib.closing(sqlite3.connect(f"file:{data / 'equipoise.sqlite'}?mode=ro", uri=True)) as connection:
            query = "SELECT name FROM events WHERE unit = ? ORDER BY name"
            found = connection.execute(query, (f"guide-{language}",)).fetchall()
        return [name for (name,) in found] == ["Experiment Viewed", "Order Completed"]

    until(there, "the exposure and the order did not arrive")


# ---- the service fails: the application goes on with its own default, and nobody counts as exposed


class Failing(http.server.BaseHTTPRequestHandler):
    """Answers everything with one status."""

    status = 500
    retry_after: str | None = None

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        if self.retry_after:
            self.send_header("Retry-After", self.retry_after)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"errorCode":"GENERAL","errorDetails":"it failed"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def failing(status: int) -> Iterator[str]:
    retry = "2" if status in {429, 503} else None
    handler = type("Failing", (Failing,), {"status": status, "retry_after": retry})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as stub:
        thread = threading.Thread(target=stub.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{stub.server_port}"
        stub.shutdown()


def assert_default(provider: str, base_url: str, **ask: Any) -> None:
    got = application(provider, base_url, "welcome", ["m-1"], times=2, **ask)
    assert [answer["value"] for answer in got["answers"]] == [{"code": "default"}]
    assert got["answers"][0]["error"] is not None
    assert got["reported"] == []


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [500, *(pytest.param(status, marks=pytest.mark.slow) for status in (429, 503))])
def test_a_failing_service_means_the_code_default(provider: str, status: int) -> None:
    with failing(status) as base_url:
        assert_default(provider, base_url)


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_nobody_there_means_the_code_default(provider: str) -> None:
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        assert_default(provider, f"http://127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.slow
def test_a_frozen_service_and_one_that_cannot_log_mean_the_code_default(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        prepare(server)
        before = decided(server, "m-1")
        serving_processes = server.children()
        for process in serving_processes:
            os.kill(process, signal.SIGSTOP)
        try:
            for provider in PROVIDERS:
                assert_default(provider, address(server), timeout_s=1.5)
        finally:
            for process in serving_processes:
                os.kill(process, signal.SIGCONT)
        until(lambda: server.send("GET", "/readyz").status == 200, "it did not come back")
        for provider in PROVIDERS:
            (answer,) = application(provider, address(server), "welcome", ["m-1"])["answers"]
            assert answer["variant"] == before["variant"]


@pytest.mark.slow
def test_a_key_is_needed_once_there_is_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        prepare(server)
        made = run("--data", str(data), "keys", "create", "app", "--scope", "decide")
        key = next(word for word in made.stdout.split() if word.startswith("eqp_"))
        asked = {"context": {"targetingKey": "m-1"}}
        until(lambda: server.send("POST", FLAG, asked).status == 401, "the key was not published", 40)
        refused = server.send("POST", FLAG, asked)
        assert refused.headers["content-type"] == "application/json"
        assert refused.json()["errorCode"] == "GENERAL"
        for provider in PROVIDERS:
            assert_default(provider, address(server))
            (answer,) = application(provider, address(server), "welcome", ["m-1"], key=key)["answers"]
            assert answer["error"] is None
            assert answer["variant"] in {"control", "a"}


# ---- the stream


def stream(server: Server, query: str = "", **headers: str) -> socket.socket:
    connection = socket.create_connection((server.host, server.port), timeout=10)
    lines = [f"GET /ofrep/v1/stream{query} HTTP/1.1", f"Host: {server.host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    return connection


def heard(connection: socket.socket, words: bytes, wait_s: float = 10) -> bytes:
    got = b""
    deadline = time.monotonic() + wait_s
    connection.settimeout(0.5)
    while words not in got and time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            piece = connection.recv(65_536)
            if not piece:
                break
            got += piece
    return got


def test_a_stream_says_that_something_changed_and_what_was_missed(server: Server) -> None:
    version = decided(server, "m-1")["snapshot"]
    with contextlib.closing(stream(server, f"?since={version}")) as current:
        got = heard(current, b"id: " + version.encode())
        assert b"200 OK" in got
        assert b"content-type: text/event-stream" in got
        assert b"refetchEvaluation" not in got
        for missed in (stream(server, "?since=older"), stream(server, "", Last_Event_ID="older")):
            with contextlib.closing(missed):
                got = heard(missed, b"refetchEvaluation")
                assert f'data: {{"type":"refetchEvaluation","etag":"{version}"}}'.encode() in got
        move(server, "oslo", "paused")
        got = heard(current, b"refetchEvaluation", 20)
        assert b"refetchEvaluation" in got
        assert version.encode() not in got.split(b"data:")[1]
        move(server, "oslo", "running")


@pytest.mark.slow
def test_open_streams_do_not_keep_a_process_from_stopping(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        prepare(server)
        streams = [stream(server) for _ in range(5)]
        for one in streams:
            assert b"200 OK" in heard(one, b"retry:")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 4.5
        for one in streams:
            one.close()
        assert server.log_lines("request_failed") == []


@pytest.mark.browser
@pytest.mark.slow
def test_a_page_of_another_origin_sees_a_change_without_asking(tmp_path: Path) -> None:
    """The web provider in Chromium: bulk, CORS, ETag, and the stream through the browser's own EventSource."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium, or set CHROMIUM")
    from playwright.sync_api import sync_playwright

    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "app.js").write_text(bundled("openfeature_web.mjs", tmp_path), encoding="utf-8")
    (pages / "index.html").write_text('<!doctype html><title>Shop</title><script type="module" src="app.js"></script>')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(pages))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as shop:
        threading.Thread(target=shop.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{shop.server_port}"
        env = {"EQUIPOISE_CORS_ORIGINS": origin}
        with serving(tmp_path / "data", env=env) as server, sync_playwright() as playwright:
            prepare(server)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
            page = browser.new_page()
            page.goto(origin + "/index.html")
            page.wait_for_function("typeof globalThis.run === 'function'")
            ask = {"base_url": address(server), "flag": "welcome", "units": ["m-1"]}
            seen = page.evaluate("ask => globalThis.run(ask)", ask)
            own = decided(server, "m-1")
            assert (seen["error"], seen["answers"][0]["variant"]) == (None, own["variant"])
            assert seen["answers"][0]["metadata"]["decisionId"] == own["decision_id"]
            assert [r["event"] for r in seen["reported"]] == ["Experiment Viewed"]
            move(server, "welcome", "ended")
            page.wait_for_function("globalThis.seen.changes > 0", timeout=20_000)
            last = page.evaluate("globalThis.seen.answers.at(-1)")
            assert (last["value"], last["error"]) == ({"code": "default"}, "FLAG_NOT_FOUND")
            # Another page, whose origin nobody named, learns nothing.
            shop_by_name = f"http://localhost:{shop.server_port}/index.html"
            page.goto(shop_by_name)
            page.wait_for_function("typeof globalThis.run === 'function'")
            seen = page.evaluate("ask => globalThis.run(ask)", ask)
            assert seen["error"] is not None
            assert seen["answers"][0]["value"] == {"code": "default"}
            browser.close()
            shop.shutdown()
            log = json.dumps(server.errors)
            assert "m-1" not in log
