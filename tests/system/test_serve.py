"""The service as one real process: decide, log, reply; slow and rude clients; stopping under load."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.front.protocol import HEAD_S
from tests.system.serving import Server, command, run, serving

DEFINITIONS = """
kind: project
name: Harbour Retail
currency: CNY
time_zone: Asia/Shanghai
attributes: {cart_minor: {type: number, kept: request}}
---
kind: offer
key: coupon-20-100
name: {en: "¥20 off ¥100", zh-CN: 满100减20}
type: spend_x_save_y
face_value: "20.00"
minimum_spend: "100.00"
contact_cost: {sms: "0.05"}
---
kind: metric
key: repurchase-14d
name: {en: Repurchase, zh-CN: 复购率}
type: proportion
event: Order Completed
window: {days: 14}
---
kind: experiment
key: basket
name: {en: Basket coupon, zh-CN: 购物车优惠券}
audience: {attribute: cart_minor, op: gte, value: 5000}
variants: [{key: control}, {key: a, offer: coupon-20-100, channel: sms}]
control: control
metrics: {primary: [repurchase-14d]}
overrides: {tester-7: a}
"""
CART = {"cart_minor": 9_900}


def launch(server: Server, key: str = "basket") -> None:
    """Move an experiment to running and wait until the node decides it so."""
    for state in ("review", "testing", "running"):
        reply = server.send("POST", f"/v1/experiments/{key}/transitions", {"to": state})
        assert reply.status == 200, reply.body
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        reply = server.send("POST", "/v1/decide", {"experiment": key, "unit": "probe"})
        if reply.status == 200 and reply.json()["reason"] not in {"not_running", "testing"}:
            return
        time.sleep(0.1)
    raise AssertionError("the launch was not published")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("serve")) as started:
        reply = started.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"})
        assert reply.status == 200, reply.body
        launch(started)
        yield started


def ask(server: Server, unit: str, **more: Any) -> dict[str, Any]:
    reply = server.send("POST", "/v1/decide", {"experiment": "basket", "unit": unit, "attributes": CART, **more})
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json()
    return answer


def rows(data: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{data / 'equipoise.sqlite'}?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()


def test_a_decision_is_flat_and_repeats(server: Server) -> None:
    first = ask(server, "m-1")
    assert first["enrolled"] is True
    assert first["reason"] == "assigned"
    assert first["variant"] in {"control", "a"}
    assert len(first["decision_id"]) == 32
    assert first["stale"] is False
    assert ask(server, "m-1") == first
    other = ask(server, "m-1", occasion="send-2")
    assert other["variant"] == first["variant"]
    assert other["decision_id"] != first["decision_id"]


def test_the_offer_comes_with_the_variant_and_never_its_cost(server: Server) -> None:
    answer = ask(server, "tester-7")
    assert (answer["variant"], answer["reason"]) == ("a", "override")
    assert answer["offer"]["face_value"] == "20.00"
    assert "contact_cost" not in json.dumps(answer)


def test_outside_the_audience_there_is_no_variant(server: Server) -> None:
    reply = server.send("POST", "/v1/decide", {"experiment": "basket", "unit": "m-2", "attributes": {"cart_minor": 1}})
    assert (reply.json()["variant"], reply.json()["reason"]) == (None, "not_in_audience")
    missing = server.send("POST", "/v1/decide", {"experiment": "basket", "unit": "m-2"}).json()
    assert (missing["reason"], missing["missing_attribute"]) == ("missing_attribute", "cart_minor")


def test_explain_agrees_with_decide(server: Server) -> None:
    body = {"unit": "m-9", "attributes": CART}
    explained = server.send("POST", "/v1/experiments/basket/explain", body).json()
    assert explained["variant"] == ask(server, "m-9")["variant"]
    assert explained["steps"][-1]["name"] == "variant"
    asked = server.send("GET", "/v1/experiments/basket/explain?unit=m-9&attributes=%7B%22cart_minor%22%3A9900%7D")
    assert asked.json()["variant"] == explained["variant"]


def test_what_is_acknowledged_reaches_the_store(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"})
        launch(server)
        variants = {f"m-{n}": ask(server, f"m-{n}")["variant"] for n in range(20)}
        good = {
            "name": "Order Completed",
            "event_id": "e-1",
            "unit": "m-1",
            "at": "2026-03-03T08:00:00+08:00",
            "value": "99.50",
        }
        reply = server.send(
            "POST", "/v1/events", {"events": [good, {"unit": "m-2"}, {**good, "event_id": "e-2"}], "source": "shop"}
        )
        assert reply.json()["accepted"] == 2
        assert [(r["index"], r["reason"]) for r in reply.json()["rejected"]] == [(1, "invalid")]
        again = server.send("POST", "/v1/events", {"events": [good], "source": "shop"})
        assert again.json() == {"accepted": 1, "rejected": [], "duplicates": 1}
        assert server.stop() == 0
    assert dict(rows(tmp_path, "SELECT unit, variant FROM decisions")) == variants
    assert rows(tmp_path, "SELECT event_id, value_minor FROM events ORDER BY 1") == [("e-1", 9950), ("e-2", 9950)]
    assert rows(tmp_path, "SELECT reason, payload FROM dead_letters") == [("invalid", '{"unit": "m-2"}')]
    assert not list((tmp_path / "spool").glob("*.spool"))


def test_health_says_what_it_decides_with(server: Server) -> None:
    assert server.send("GET", "/livez").json() == {"status": "alive"}
    ready = server.send("GET", "/readyz")
    assert ready.status == 200
    assert ready.json()["database"] == "ok"
    assert server.send("GET", "/version").json()["name"] == "equipoise"
    assert server.send("HEAD", "/livez").body == b""


def test_pages_come_in_two_languages(server: Server) -> None:
    assert server.send("GET", "/").status == 302
    page = server.send("GET", "/experiments?lang=zh-CN")
    assert page.status == 200
    assert "购物车优惠券" in page.body.decode()


def half_sent(server: Server, text: bytes) -> socket.socket:
    opened = socket.create_connection((server.host, server.port), timeout=10)
    opened.sendall(text)
    return opened


def until_closed(opened: socket.socket) -> bytes:
    opened.settimeout(20)
    answer = b""
    while piece := opened.recv(4096):
        answer += piece
    return answer


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/events", "/readyz", "/v1/experiments"])
def test_options_says_which_methods_an_address_takes(server: Server, path: str) -> None:
    reply = server.send("OPTIONS", path)
    assert reply.status in {200, 204}
    expected = {"/v1/decide": {"GET", "POST"}, "/v1/events": {"POST"}}.get(path, {"GET", "HEAD"})
    assert set(reply.headers["allow"].split(", ")) == {*expected, "OPTIONS"}
    assert reply.body == b""


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version", "/v1/experiments", "/experiments"])
def test_head_is_get_without_its_body(server: Server, path: str) -> None:
    got, head = server.send("GET", path), server.send("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("media", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
def test_the_hot_paths_read_json_whatever_it_is_called(server: Server, media: str | None) -> None:
    """Campaign tools and `curl -d` name the body as they please."""
    headers = {} if media is None else {"Content-Type": media}
    body = json.dumps({"experiment": "basket", "unit": "m-1", "attributes": CART}).encode()
    with contextlib.closing(server.connect()) as connection:
        connection.request("POST", "/v1/decide", body=body, headers=headers)
        assert connection.getresponse().status == 200


def test_slow_clients_stop_nobody(server: Server) -> None:
    """200 half-sent headers and 200 half-sent bodies: healthy requests go on, hot path and Flask behind it."""
    slow = [half_sent(server, b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Le") for _ in range(200)]
    for path in (b"/v1/decide", b"/v1/events", b"/v1/definitions", b"/v1/experiments/basket/transitions"):
        head = (
            b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        slow += [half_sent(server, head) for _ in range(50)]
    try:
        took = []
        for number in range(40):
            began = time.perf_counter()
            ask(server, f"healthy-{number}")
            assert server.send("GET", "/v1/experiments").status == 200
            took.append(time.perf_counter() - began)
        assert sorted(took)[int(0.95 * len(took))] < 1.0
    finally:
        for opened in slow:
            opened.close()


@pytest.mark.parametrize("line", [b"X-Long: " + b"y" * 4_000_000, b"X-Many: y\r\n" * 100_000])
def test_a_head_without_end_is_refused(server: Server, line: bytes) -> None:
    with half_sent(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n") as opened:
        try:
            for at in range(0, len(line), 50_000):
                opened.sendall(line[at : at + 50_000])
        except OSError:
            pass  # the server has hung up, as it should
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # what was on its way when it hung up
            answer = until_closed(opened)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431"), answer[:200]


@pytest.mark.slow
def test_a_head_that_never_ends_is_closed(server: Server) -> None:
    with half_sent(server, b"GET /livez HTTP/1.1\r\nHost: x\r\nX-S") as opened:
        opened.settimeout(3 * HEAD_S)
        assert opened.recv(4096) == b""


@pytest.mark.slow
def test_a_body_that_never_ends_is_closed(server: Server) -> None:
    with half_sent(server, b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{") as opened:
        answer = until_closed(opened)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"problem+json" in answer


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/events", "/v1/definitions", "/v1/experiments/basket/transitions"])
@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_are_refused_early(server: Server, path: str, chunked: bool) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
    head += b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 10000000\r\n\r\n"
    piece = b"x" * 62_500  # 160 of them are the declared length
    began = time.perf_counter()
    with half_sent(server, head) as opened:
        try:
            for _ in range(160):
                opened.sendall(b"f424\r\n" + piece + b"\r\n" if chunked else piece)
        except OSError:
            pass  # the server has hung up, as it should
        opened.settimeout(5)
        try:
            answer = opened.recv(4096)
        except ConnectionResetError:
            answer = b""
    assert time.perf_counter() - began < 3
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")


def test_a_declared_large_body_gets_its_413(server: Server) -> None:
    with half_sent(server, b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n") as opened:
        answer = until_closed(opened)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in answer


def test_stopping_under_load_loses_nothing(tmp_path: Path) -> None:
    """SIGTERM under load: every request that got a reply got a 200, every acknowledged id is in the store, once."""
    acknowledged: list[str] = []
    wrong: list[int] = []
    stop = threading.Event()

    def hammer(server: Server, worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            name = f"w{worker}-{number}"
            body = {"events": [{"name": "Visit", "event_id": name, "unit": name, "at": "2026-03-03T08:00:00Z"}]}
            try:
                reply = server.send("POST", "/v1/events", body, timeout=10)
            except (OSError, ValueError):
                return  # not accepted any more
            except Exception:  # noqa: BLE001 - http.client's own for a connection closed before the reply
                return
            (acknowledged.append(name) if reply.status == 200 else wrong.append(reply.status))

    with serving(tmp_path) as server, concurrent.futures.ThreadPoolExecutor(6) as pool:
        for worker in range(6):
            pool.submit(hammer, server, worker)
        time.sleep(1.5)
        began = time.monotonic()
        code = server.stop()
        took = time.monotonic() - began
        stop.set()
    assert code == 0
    assert took < 10
    assert not wrong
    assert len(acknowledged) > 100
    stored = [row[0] for row in rows(tmp_path, "SELECT event_id FROM events")]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("--data", str(tmp_path), "serve", "--port", str(port))
    assert ended.returncode == 2
    assert ended.stderr == f"equipoise: port {port} is taken on 127.0.0.1; stop what listens there or choose --port\n"


def test_an_unreachable_database_without_a_snapshot_is_named(tmp_path: Path) -> None:
    ended = run("--data", str(tmp_path), "--database", "postgresql://nobody@127.0.0.1:1/none", "serve", "--port", "0")
    assert ended.returncode == 2
    assert "no published snapshot" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_spool_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where a folder should be")
    ended = run("--data", str(tmp_path), "serve", "--port", "0")
    assert ended.returncode == 2
    assert ended.stderr == f"equipoise: cannot create the spool folder {tmp_path / 'spool'}: File exists\n"


def test_of_twenty_writers_one_wins(server: Server) -> None:
    got = server.send("GET", "/v1/experiments/basket")
    definition, version = got.json()["definition"], got.headers["etag"]

    def write(number: int) -> int:
        changed = {**definition, "owner": f"writer {number}"}
        return server.send("PUT", "/v1/experiments/basket", changed, {"If-Match": version}).status

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(write, range(20)))
    assert statuses == [200] + [412] * 19


def test_no_log_line_has_a_member_id(tmp_path: Path) -> None:
    secret = "member-4711-secret"
    with serving(tmp_path) as server:
        server.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"})
        launch(server)
        replies = [
            server.send("POST", "/v1/decide", {"experiment": "basket", "unit": secret, "attributes": CART}),
            server.send("POST", "/v1/decide", {"experiment": "none", "unit": secret}),
            server.send("POST", "/v1/decide", {"experiment": "basket", "unit": secret, "occasion": "?"}),
            server.send("POST", "/v1/events", {"events": [{"unit": secret}], "source": "shop"}),
            server.send("GET", f"/v1/experiments/basket/explain?unit={secret}&attributes=%7B"),
            server.send("GET", f"/v1/nothing/{secret}"),
            server.send("POST", "/v1/definitions", {"kind": secret}),
        ]
        server.stop()
        time.sleep(0.3)
        assert secret not in "".join(server.errors)
        assert all(json.loads(line)["event"] for line in server.errors)
        assert secret not in "".join(server.lines)
    assert all(secret not in reply.body.decode() for reply in replies[:-1])


def test_looking_at_pages_writes_no_lines_and_ctrl_c_ends_cleanly(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for path in ("/experiments", "/static/app.css", "/v1/experiments", "/nothing", "/livez"):
            server.send("GET", path)
        assert (
            server.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"}).status
            == 200
        )
        assert server.stop(signal.SIGINT) == 0
        time.sleep(0.2)  # the reader of stderr
        events = [json.loads(line) for line in server.errors]
        requests = [(event["method"], event["route"]) for event in events if event["event"] == "request"]
        assert requests == [("POST", "/v1/definitions")]
        assert "listens on" in server.lines[-1], "where it is stands last"
        assert events[-1]["event"] == "stopped"
        assert "Traceback" not in "".join(server.errors)


@pytest.mark.slow
def test_the_log_level_can_be_chosen(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--log-level", "debug"]) as server:
        server.send("GET", "/experiments")
        assert server.stop() == 0
        time.sleep(0.2)
        assert any(json.loads(line).get("route") == "/experiments" for line in server.errors)
    with serving(tmp_path, arguments=["--log-level", "error"]) as server:
        assert server.stop() == 0
        time.sleep(0.2)
        assert server.errors == []


def test_a_terminal_gets_lines_to_look_at(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command("--data", str(tmp_path), "serve", "--port", "0"), stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"listens on" not in shown:
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert b'{"' not in shown
    assert b"node: stopped" in shown


def test_the_front_starts_without_analysis_packages() -> None:
    code = (
        "import sys, api.asgi\n"
        "heavy = {'pandas', 'scipy', 'mabwiser', 'ibis', 'sqlalchemy', 'duckdb', 'pyarrow', 'flask', 'pydantic'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    ended = subprocess.run([command()[0], "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
