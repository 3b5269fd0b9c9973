"""How answers leave the server: in one piece, in order, with the head that was meant."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from api.front import protocol
from api.front.protocol import Protocol

BIG = 300_000
VAST = 64_000_000
"""More than the kernel takes for a caller that does not read."""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer in the manner that the path names."""
    path = scope["path"]
    body = (await receive())["body"]
    start: dict[str, Any] = {"type": "http.response.start", "status": 200}
    if path == "/whole":
        await send({**start, "headers": [(b"X-Kind", b"whole"), (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
    elif path == "/slow":
        await asyncio.sleep(0.2)
        await send({**start, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"slow"})
    elif path == "/parts":
        await send({**start, "headers": []})
        for part in (b"one", b"HTTP/1.1 200 OK\r\n\r\n", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    elif path == "/close":
        await send({**start, "headers": [(b"content-length", b"3"), (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"bye"})
    elif path == "/big":
        await send({**start, "headers": [(b"content-length", b"%d" % BIG)]})
        await send({"type": "http.response.body", "body": b"x" * BIG})
    elif path == "/vast":
        await send({**start, "headers": [(b"content-length", b"%d" % VAST)]})
        await send({"type": "http.response.body", "body": b"x" * VAST})
    elif path == "/short":
        await send({**start, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"short"})
    elif path == "/fails":
        await send({**start, "headers": [(b"content-length", b"9")]})
        raise RuntimeError("after the head was given")
    elif path == "/injects":
        await send({**start, "headers": [(b"content-length", b"0"), (b"x-a", b"b\r\nset-cookie: c")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(
        application, port=0, log_config=None, lifespan="off", ws="none", http=Protocol, timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def ask(path: str, body: bytes = b"", method: str = "POST", more: bytes = b"") -> bytes:
    return b"%b %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n%b\r\n%b" % (
        method.encode(),
        path.encode(),
        len(body),
        more,
        body,
    )


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        piece = connection.recv(65_536)
        assert piece, f"closed after {data[-200:]!r}"
        data += piece
    return data


def test_a_whole_answer_comes_in_one_piece_again_and_again(port: int) -> None:
    with connect(port) as connection:
        for text in (b"first", b"second", b"first"):
            connection.sendall(ask("/whole", text))
            piece = connection.recv(65_536)
            head, _, body = piece.partition(b"\r\n\r\n")
            assert body == text
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nx-kind: whole\r\ncontent-length: %d" % len(text) in head
            assert b"\r\ndate: " in head
            assert head.count(b"content-length") == 1


def test_pipelined_requests_are_answered_in_their_order(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/slow") + ask("/whole", b"second") + ask("/whole", b"third"))
        data = read_until(connection, b"third")
    assert data.index(b"slow") < data.index(b"second") < data.index(b"third")
    assert data.count(b"HTTP/1.1 200 OK") == 3


def test_an_answer_in_parts_is_chunked_and_a_part_that_looks_like_a_head_is_not_held(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/parts"))
        data = read_until(connection, b"0\r\n\r\n")
        connection.sendall(ask("/whole", b"again"))
        assert connection.recv(65_536).endswith(b"\r\n\r\nagain")
    assert b"transfer-encoding: chunked" in data
    assert b"3\r\none\r\n13\r\nHTTP/1.1 200 OK\r\n\r\n\r\n3\r\ntwo\r\n" in data


def test_head_has_no_body_and_the_connection_goes_on(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/slow", method="HEAD"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
        connection.sendall(ask("/whole", b"next"))
        assert connection.recv(65_536).endswith(b"next")


@pytest.mark.parametrize("more", [b"connection: close\r\n", b""])
def test_the_connection_closes_when_either_side_says_so(port: int, more: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/whole" if more else "/close", b"bye", more=more))
        data = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert data.endswith(b"\r\n\r\nbye")
    assert data.lower().count(b"connection: close") == 1


def test_a_body_larger_than_the_sockets_buffer_arrives(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/big"))
        time.sleep(0.2)
        data = b""
        while len(data.partition(b"\r\n\r\n")[2]) < BIG:
            data += connection.recv(65_536)
    assert data.endswith(b"xxx")


def test_a_caller_that_waits_to_be_told_to_go_on_is_told(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"POST /whole HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"ok")
        assert connection.recv(65_536).endswith(b"\r\n\r\nok")


def test_a_body_that_comes_in_pieces_is_put_together(port: int) -> None:
    with connect(port) as connection:
        request = ask("/whole", b"piecemeal")
        connection.sendall(request[:-9])
        time.sleep(0.05)
        connection.sendall(request[-9:])
        # This application takes the first piece only: what matters is that none of it is answered twice.
        assert connection.recv(65_536).count(b"HTTP/1.1") == 1


def test_a_failure_before_anything_was_sent_is_a_plain_500(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/fails"))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 500 ")


def test_a_header_with_a_line_break_is_never_sent(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/injects"))
        data = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"set-cookie" not in data


def test_an_answer_shorter_than_it_says_ends_the_connection(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(ask("/short"))
        data = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert data.endswith(b"short")


@pytest.mark.parametrize("more", [b"", b"connection: close\r\n"])
def test_an_answer_that_nobody_takes_is_not_kept(port: int, monkeypatch: pytest.MonkeyPatch, more: bytes) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    monkeypatch.setattr(protocol, "UNREAD_S", 1.0)
    with connect(port) as idle, connect(port) as slow:
        for caller in (idle, slow):
            caller.sendall(ask("/vast", more=more))
        taken = 0
        for _ in range(25):
            time.sleep(0.1)
            taken += len(slow.recv(1_000_000))  # slowly, but it takes what there is
        while taken < VAST and (part := slow.recv(10_000_000)):
            taken += len(part)
        assert taken >= VAST
        left = 0
        with contextlib.suppress(ConnectionResetError):
            while part := idle.recv(10_000_000):
                left += len(part)
        assert left < VAST
