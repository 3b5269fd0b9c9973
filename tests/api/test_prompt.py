"""Answers on the spot: in order, whole, counted, and the usual way wherever the spot is not fit for it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from api.asgi import Front, create_asgi
from api.front.protocol import MAX_PROMPT, Protocol
from api.hot.begun import Begun
from experiments.log.spool_file import SpoolError
from experiments.publishing import members
from experiments.settings import Settings
from tests.api.edge import publish
from tests.api.test_exchange import ask, connect, read_until


class Echo:
    """Says by which way a body came; its routes are the paths themselves."""

    def __init__(self) -> None:
        self.given_to: list[tuple[str, float]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        answer = b"usual:" + body + b";"
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})

    def promptly(self, scope: Any) -> str | None:
        return None if scope["path"] == "/usual" else scope["path"]

    def begin(self, route: str, _scope: Any, body: bytes) -> Begun | None:
        if route == "/refused":
            return None
        if route == "/now":
            return Begun(b"now:" + body + b";", None)
        loop = asyncio.get_running_loop()
        wait: asyncio.Future[None] = loop.create_future()
        if route == "/fails":
            loop.call_later(0.05, wait.set_exception, SpoolError("no disk"))
        else:
            loop.call_later(0.1, wait.set_result, None)
        return Begun(b"later:" + body + b";", wait)

    def given(self, route: str, _scope: Any, seconds: float) -> None:
        self.given_to.append((route, seconds))


def serve(application: Any, lifespan: Any = "off") -> Iterator[int]:
    config = uvicorn.Config(
        application, port=0, log_config=None, lifespan=lifespan, ws="none", http=Protocol, access_log=False,
        proxy_headers=False, timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def port(echo: Echo) -> Iterator[int]:
    yield from serve(echo)


def test_answers_come_by_the_way_that_fits_in_the_order_of_the_questions(port: int, echo: Echo) -> None:
    ways = [b"/now", b"/later", b"/now", b"/usual", b"/now", b"/fails", b"/refused", b"/later", b"/now"]
    with connect(port) as connection:
        connection.sendall(b"".join(ask(way.decode(), b"%d" % n) for n, way in enumerate(ways)))
        data = read_until(connection, b":8;")
    # Of requests that are sent without a wait, those behind one that is under way take the usual way.
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in data.split(b";")[:-1]] == [
        b"now:0",
        b"later:1",
        *(b"usual:%d" % n for n in range(2, 9)),
    ]
    assert [route for route, _ in echo.given_to] == ["/now", "/later"]
    assert echo.given_to[0][1] < 0.09 <= echo.given_to[1][1] < 5  # a timer may be a millisecond early


@pytest.mark.parametrize(
    ("path", "way"), [("/now", b"now"), ("/later", b"later"), ("/fails", b"usual"), ("/refused", b"usual")]
)
def test_a_connection_is_asked_again_and_again(port: int, path: str, way: bytes) -> None:
    with connect(port) as connection:
        for text in (b"one", b"", b"three"):
            connection.sendall(ask(path, text))
            head, _, body = read_until(connection, b";").partition(b"\r\n\r\n")
            assert body == way + b":" + text + b";"
            assert b"\r\ndate: " in head
            assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"


def test_a_body_that_comes_later_than_its_head_takes_the_usual_way(port: int) -> None:
    with connect(port) as connection:
        request = ask("/now", b"piecemeal")
        connection.sendall(request[:-4])
        time.sleep(0.1)
        connection.sendall(request[-4:])
        assert read_until(connection, b";").endswith(b"\r\n\r\nusual:piecemeal;")


@pytest.mark.parametrize("more", [b"connection: close\r\n", b"expect: 100-continue\r\n"])
def test_what_the_caller_wants_of_the_connection_takes_the_usual_way(port: int, more: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/now", b"x", more=more))
        assert read_until(connection, b";").endswith(b"usual:x;")


def test_one_that_sends_very_many_lets_others_go_first(port: int, echo: Echo) -> None:
    with connect(port) as connection:
        connection.sendall(b"".join(ask("/now", b"%d" % n) for n in range(100)))
        data = read_until(connection, b":99;")
    said = [answer.rpartition(b"\r\n\r\n")[2].partition(b":") for answer in data.split(b";")[:-1]]
    assert [int(number) for _, _, number in said] == list(range(100))
    assert 1 <= len(echo.given_to) < 100
    assert [way for way, _, _ in said][:MAX_PROMPT] == [b"now"] * MAX_PROMPT


def test_a_caller_that_hangs_up_while_its_answer_waits_harms_nobody(port: int, echo: Echo) -> None:
    for path in ("/later", "/fails"):
        with connect(port) as connection:
            connection.sendall(ask(path, b"x"))
            time.sleep(0.02)
    time.sleep(0.2)
    with connect(port) as connection:
        connection.sendall(ask("/now", b"still there"))
        assert read_until(connection, b";").endswith(b"now:still there;")
    assert echo.given_to[-1][0] == "/now"


def test_an_answer_that_waits_when_the_server_stops_is_given() -> None:
    serving = serve(Echo())
    connection = connect(next(serving))
    got: list[bytes] = []
    with connection:
        connection.sendall(ask("/later", b"x"))
        time.sleep(0.03)
        reader = threading.Thread(target=lambda: got.append(b"".join(iter(lambda: connection.recv(65_536), b""))))
        reader.start()
        assert next(serving, None) is None  # stops
        reader.join(10)
    assert got[0].endswith(b"later:x;")


def test_a_broken_request_after_a_good_one_gets_its_400(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/now", b"x") + b"\x00 nonsense\r\n\r\n")
        data = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"now:x;" in data
    assert data.count(b"HTTP/1.1 400 ") == 1


@pytest.fixture
def front(tmp_path: Path) -> Iterator[tuple[Front, int]]:
    (tmp_path / "not-a-database").mkdir()
    settings = Settings(tmp_path, f"sqlite:///{tmp_path / 'not-a-database'}")
    publish(settings)
    members.write(settings.snapshot_dir, 10**18, [], [])
    made = create_asgi(settings)
    serving = serve(made, "on")
    port = next(serving)
    deadline = time.monotonic() + 20
    while not made.node.stale and time.monotonic() < deadline:  # so that all answers of a test say it
        time.sleep(0.02)
    yield made, port
    assert next(serving, None) is None


def question(connection: socket.socket, method: str, path: str, body: bytes, more: bytes) -> tuple[bytes, bytes]:
    connection.sendall(ask(path, body, method, more))
    head, _, rest = connection.recv(65_536).partition(b"\r\n\r\n")
    lines = sorted(line for line in head.split(b"\r\n") if not line.startswith((b"date", b"connection")))
    return b"\r\n".join(lines), rest


QUESTIONS = [
    ("POST", "/v1/decide", b'{"experiment":"winback","unit":"m-1"}', True),
    ("POST", "/v1/decide", b'{"experiment":"winback","unit":"m-1","occasion":"s-1"}', True),
    ("POST", "/v1/decide", b'{"experiment":"winback","unit":"m-4","send_at":"2030-01-01T00:00:00Z"}', True),
    ("POST", "/v1/decide", '{"experiment":"oslo","unit":"梅","attributes":{"city":"Oslo"}}'.encode(), True),
    ("POST", "/v1/decide", b'{"experiment":"oslo","unit":"m-1","attributes":{"city":"Rome"}}', True),
    ("POST", "/v1/decide", b'{"experiment":"oslo","unit":"m-1"}', True),
    ("POST", "/v1/decide", b'{"experiment":"held","unit":"m-1"}', True),
    ("POST", "/v1/decide", b'{"experiment":"tested","unit":"m-tester"}', True),
    ("POST", "/v1/decide", b'{"experiment":"plain","unit":"m-1"}', True),
    ("GET", "/v1/decide?experiment=winback&unit=m-2", b"", True),
    ("GET", "/v1/decide?experiment=winback", b"", False),
    ("POST", "/v1/decide", b'{"experiment":"none","unit":"m-1"}', False),
    ("POST", "/v1/decide", b'{"experiment":"winback","unit":"li.lei@example.com"}', False),
    ("POST", "/v1/decide", b"not json", False),
    ("PUT", "/v1/decide", b"{}", False),
    ("POST", "/ofrep/v1/evaluate/flags/winback", b'{"context":{"targetingKey":"m-3"}}', True),
    ("POST", "/ofrep/v1/evaluate/flags/ended", b'{"context":{"targetingKey":"m-3"}}', True),
    ("POST", "/ofrep/v1/evaluate/flags/plain", b'{"context":{"targetingKey":"m-3"}}', True),
    ("POST", "/ofrep/v1/evaluate/flags/none", b'{"context":{"targetingKey":"m-3"}}', False),
    ("POST", "/ofrep/v1/evaluate/flags/winback", b"{}", False),
]  # fmt: skip


def test_both_ways_say_the_same(front: tuple[Front, int], monkeypatch: pytest.MonkeyPatch) -> None:
    application, port = front
    taken: list[bool] = []
    begin = application.begin

    def noted(*args: Any) -> Begun | None:
        begun = begin(*args)
        taken.append(begun is not None)
        return begun

    monkeypatch.setattr(application, "begin", noted)
    with connect(port) as connection:
        for method, path, body, prompt in QUESTIONS:
            taken.clear()
            given = sum(sum(timing[1:]) for *_, timing in application.node.metrics.figures().requests)
            on_the_spot = question(connection, method, path, body, b"x-request-id: a\r\n")
            assert (True in taken) is prompt, path
            with connect(port) as other:
                usual = question(other, method, path, body, b"x-request-id: a\r\nconnection: close\r\n")
            assert len(taken) <= 1
            assert on_the_spot == usual
            after = sum(sum(timing[1:]) for *_, timing in application.node.metrics.figures().requests)
            assert after == given + 2


@pytest.mark.parametrize(
    ("path", "body", "status", "counted"),
    [
        ("/v1/decide", b'{"experiment":"winback","unit":"m-1"}', b"200", [("winback", "control", "fallback", 1)]),
        ("/v1/decide", b'{"experiment":"winback","unit":"m-1","on_failure":"error"}', b"503", []),
        ("/ofrep/v1/evaluate/flags/winback", b'{"context":{"targetingKey":"m-1"}}', b"503", []),
    ],
)
def test_what_the_log_cannot_take_is_answered_as_a_failure_and_not_counted_as_an_assignment(
    front: tuple[Front, int], path: str, body: bytes, status: bytes, counted: list[Any]
) -> None:
    application, port = front
    spool = application.node._spool
    assert spool is not None
    spool._max_queued_rows = 0
    with connect(port) as connection:
        head, _ = question(connection, "POST", path, body, b"")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert [one for one in application.node.metrics.figures().assignments if one[3]] == counted
