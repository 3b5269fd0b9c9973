"""Sending one message: to the address that was looked at, without following redirects, with an end in any case."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import SplitResult

from experiments.webhooks.addresses import RefusedError, parsed, resolve

CONNECT_S = 3.0
TOTAL_S = 10.0


@dataclass(frozen=True)
class Answer:
    """What came of sending."""

    status: int | None
    """HTTP status; ``None`` without an answer."""
    error: str | None
    """Why it does not count as delivered; ``None`` where it does."""
    refused: bool = False
    """Whether the address may not be reached at all."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None

    @property
    def gone(self) -> bool:
        """Whether the receiver asks for no more messages."""
        return self.status == http.HTTPStatus.GONE


def send(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow_private: bool = False,
    total_s: float = TOTAL_S,
    context: ssl.SSLContext | None = None,
    opened: Callable[[socket.socket], None] = lambda _: None,
) -> Answer:
    """POST a message and return what came of it; never raises for what a receiver does.

    Nothing of the answer but its status is read.

    Args:
        url: of the receiver.
        body: JSON.
        headers: of the message.
        allow_private: whether private addresses may be reached.
        total_s: how long everything together may take.
        context: of TLS; by default one that checks certificates.
        opened: given the connection, which :func:`cut` may end.
    """
    deadline = time.monotonic() + total_s
    try:
        parts = parsed(url, allow_private=allow_private)
        connection = _connected(parts, deadline, allow_private, context or _tls())
    except RefusedError as error:
        return Answer(None, str(error), refused=True)
    except TimeoutError:
        return Answer(None, "no connection in time")
    except ssl.SSLError as error:
        return Answer(None, f"TLS failed: {error.reason or type(error).__name__}")
    except OSError as error:
        return Answer(None, f"no connection: {error.strerror or error}")
    # A receiver that sends a byte now and then would never run into the limit of a single read.
    sock = connection.sock
    late = threading.Event()
    opened(sock)
    watch = threading.Timer(max(deadline - time.monotonic(), 0.01), _cut_late, (sock, late))
    watch.daemon = True
    watch.start()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body=body, headers=dict(headers))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        slow = late.is_set() or isinstance(error, TimeoutError)
        return Answer(None, f"no answer within {total_s:.0f} s" if slow else f"no answer: {type(error).__name__}")
    finally:
        watch.cancel()
        connection.close()
    if late.is_set():
        return Answer(None, f"no answer within {total_s:.0f} s")
    if 200 <= status < 300:
        return Answer(status, None)
    if 300 <= status < 400:
        return Answer(status, f"answered {status}: redirects are not followed")
    return Answer(status, f"answered {status}")


def _connected(
    parts: SplitResult, deadline: float, allow_private: bool, context: ssl.SSLContext
) -> http.client.HTTPConnection:
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    addresses = resolve(host, port, allow_private=allow_private, wait_s=CONNECT_S)
    sock = _first_that_connects([(family, (str(address), port)) for family, address in addresses], deadline)
    try:
        sock.settimeout(max(deadline - time.monotonic(), 0.01))
        if secure:
            sock = context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    connection = http.client.HTTPConnection(host, port)  # writes the Host header; it never connects by itself
    connection.auto_open = 0
    if secure:
        connection.default_port = 443
    connection.sock = sock
    return connection


def _first_that_connects(places: list[tuple[socket.AddressFamily, tuple[str, int]]], deadline: float) -> socket.socket:
    failure: OSError = OSError("the name has no address")
    until = min(deadline, time.monotonic() + CONNECT_S)
    for family, place in places:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(max(until - time.monotonic(), 0.01))
        try:
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _cut_late(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    cut(sock)


def cut(sock: socket.socket) -> None:
    """End a connection, whoever reads from it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of the connection below TLS, whatever TLS is doing


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
