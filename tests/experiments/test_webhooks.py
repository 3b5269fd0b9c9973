"""Webhooks: signed as the standard says, sent on schedule, never to an address inside, told of what really changed."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from experiments.errors import InputError
from experiments.keeping import audit
from experiments.keeping.heads import StaleVersionError
from experiments.store import Store
from experiments.store.webhook_tables import webhook_deliveries, webhooks
from experiments.webhooks import addresses, hooks, sending
from experiments.webhooks.addresses import RefusedError
from experiments.webhooks.delivering import RETRY_S, Deliverer, clean
from experiments.webhooks.events import announce

SECOND = 1_000_000
HOUR = 3_600 * SECOND


@dataclass
class Receiver:
    """A real HTTP server that keeps what it gets and answers as it is told."""

    port: int
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler], None] | None = None
    status: int = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if receiver.answer is not None:
                receiver.answer(self)
                return
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@dataclass
class Clock:
    """The database's clock as the test sets it; it begins at the real time, which receivers check."""

    now: int = field(default_factory=lambda: time.time_ns() // 1000)

    def __call__(self, _connection: object = None) -> int:
        return self.now


@contextlib.contextmanager
def delivering(store: Store, clock: Clock, **options: Any) -> Iterator[Deliverer]:
    deliverer = Deliverer(store, now=clock, **{"allow_private": True, **options})
    try:
        yield deliverer
    finally:
        deliverer.close()


def tell(store: Store, event: str = "experiment.transitioned", **options: Any) -> list[str]:
    with store.begin() as connection:
        return announce(connection, event, {"experiment": "winback"}, **options)


def states(store: Store) -> list[tuple[str, int, int | None]]:
    c = webhook_deliveries.c
    with store.read() as connection:
        query = sa.select(c.state, c.attempts, c.next_at).order_by(c.created_at, c.id)
        return [tuple(row) for row in connection.execute(query)]


# signing and arriving -------------------------------------------------------------------------------------------------


def test_a_message_arrives_and_the_standards_library_accepts_it(store: Store, receiver: Receiver) -> None:
    _, secret = hooks.create(store, receiver.url, actor="ann", allow_private=True)
    clock = Clock()
    ids = tell(store, now=clock.now)
    with delivering(store, clock) as deliverer:
        assert deliverer.tick() == 1
        deliverer.wait()
        assert deliverer.tick() == 0
    [(headers, body)] = receiver.got
    assert headers["webhook-id"] == ids[0]
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    told = Verifier(secret).verify(body, dict(headers))
    assert told["type"] == "experiment.transitioned"
    assert told["data"] == {"experiment": "winback"}
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body + b" ", dict(headers))
    assert states(store) == [("delivered", 1, None)]


def test_while_a_secret_is_changed_both_sign(store: Store, receiver: Receiver) -> None:
    hook, old = hooks.create(store, receiver.url, actor="ann", allow_private=True)
    _, new = hooks.rotate(store, hook.id, actor="ann", overlap_s=3600)
    clock = Clock()
    with delivering(store, clock) as deliverer:
        tell(store, now=clock.now)
        deliverer.tick()
        deliverer.wait()
        clock.now += 2 * HOUR
        tell(store, now=clock.now)
        deliverer.tick()
        deliverer.wait()
    (first, body), (second, _) = receiver.got
    for secret in (old, new):
        assert Verifier(secret).verify(body, dict(first))
    assert len(first["webhook-signature"].split()) == 2
    assert len(second["webhook-signature"].split()) == 1


def test_a_leaked_secret_signs_no_more(store: Store, receiver: Receiver) -> None:
    hook, old = hooks.create(store, receiver.url, actor="ann", allow_private=True)
    _, new = hooks.rotate(store, hook.id, actor="ann", overlap_s=0)
    tell(store)
    with delivering(store, Clock(time.time_ns() // 1000 + SECOND)) as deliverer:
        deliverer.tick()
        deliverer.wait()
    headers, body = receiver.got[0]
    assert Verifier(new).verify(body, dict(headers))
    with pytest.raises(WebhookVerificationError):
        Verifier(old).verify(body, dict(headers))


# the schedule ---------------------------------------------------------------------------------------------------------


def test_a_receiver_that_is_down_is_tried_on_schedule_then_disabled(store: Store, receiver: Receiver) -> None:
    receiver.status = 503
    hook, _ = hooks.create(store, receiver.url, actor="ann", allow_private=True)
    clock = Clock()
    tell(store, now=clock.now)
    later = tell(store, now=clock.now + 48 * HOUR)
    with delivering(store, clock) as deliverer:
        for attempt, wait_s in enumerate(RETRY_S):
            clock.now += wait_s * SECOND - SECOND if wait_s else 0
            if wait_s:
                assert deliverer.tick() == 0, f"attempt {attempt + 1} came early"
                clock.now += SECOND
            assert deliverer.tick() == 1
            deliverer.wait()
            assert len(receiver.got) == attempt + 1
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    found = hooks.get(store, hook.id)
    assert not found.active
    assert found.disabled_reason == "8 attempts failed: answered 503"
    assert tell(store) == []
    # What waited for it is not lost: it is delivered again when the receiver works.
    receiver.status = 200
    with pytest.raises(InputError, match="paused"):
        hooks.redeliver(store, hook.id, later[0])
    assert hooks.update(store, hook.id, actor="ann", active=True).disabled_reason is None
    assert hooks.redeliver(store, hook.id, later[0]).state == "pending"
    with delivering(store, Clock(time.time_ns() // 1000 + SECOND)) as deliverer:
        deliverer.tick()
        deliverer.wait()
    assert {m.id: m.state for m in hooks.messages(store, hook.id)}[later[0]] == "delivered"


def test_a_receiver_down_for_an_hour_gets_everything_once(store: Store, receiver: Receiver) -> None:
    hooks.create(store, receiver.url, actor="ann", allow_private=True)
    clock = Clock()
    began = clock.now
    ids = [tell(store, now=clock.now)[0] for _ in range(3)]
    receiver.status = 500
    with delivering(store, clock) as deliverer:
        while clock.now < began + 4 * HOUR:
            receiver.status = 500 if clock.now < began + HOUR else 204
            while deliverer.tick():
                deliverer.wait()
            clock.now += 60 * SECOND
    arrived = [headers["webhook-id"] for headers, _ in receiver.got[-3:]]
    assert sorted(arrived) == sorted(ids)
    assert states(store) == [("delivered", 5, None)] * 3


def test_a_sender_that_died_is_replaced_after_a_minute(store: Store, receiver: Receiver) -> None:
    hooks.create(store, receiver.url, actor="ann", allow_private=True)
    clock = Clock()
    tell(store, now=clock.now)
    with delivering(store, clock) as deliverer:
        assert len(deliverer._take(8, set())) == 1  # and dies before it sends
        assert deliverer.tick() == 0
        clock.now += 61 * SECOND
        assert deliverer.tick() == 1
        deliverer.wait()
    assert states(store) == [("delivered", 2, None)]


def test_a_slow_receiver_holds_up_no_other(store: Store, receiver: Receiver) -> None:
    release = threading.Event()
    with receiving() as slow:
        slow.answer = lambda _: release.wait(20) and None
        for url in (slow.url, receiver.url):
            hooks.create(store, url, actor="ann", allow_private=True)
        clock = Clock()
        for _ in range(5):
            tell(store, now=clock.now)
        with delivering(store, clock, total_s=5) as deliverer:
            began = time.monotonic()
            while len(receiver.got) < 5 and time.monotonic() - began < 4:
                deliverer.tick()
                time.sleep(0.02)
            assert len(receiver.got) == 5
            assert len(slow.got) == 1
            release.set()
            deliverer.wait()


def test_a_receiver_that_is_gone_is_disabled_at_once(store: Store, receiver: Receiver) -> None:
    receiver.status = 410
    hook, _ = hooks.create(store, receiver.url, actor="ann", allow_private=True)
    clock = Clock()
    tell(store, now=clock.now)
    with delivering(store, clock) as deliverer:
        deliverer.tick()
        deliverer.wait()
    assert hooks.get(store, hook.id).disabled_reason == "the receiver asks for no more messages: answered 410"


# where it may go ------------------------------------------------------------------------------------------------------

INSIDE = [
    "127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "fec0::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_refused(address: str) -> None:
    assert addresses.forbidden(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(RefusedError, match="is not an address that webhooks may reach"):
        addresses.parsed(f"https://{host}/x")


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_addresses_outside_are_not(address: str) -> None:
    assert not addresses.forbidden(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["169.254.169.254", "224.0.0.1", "0.0.0.0", "fe80::1"])
def test_link_local_addresses_are_refused_in_own_networks_too(address: str) -> None:
    assert addresses.forbidden(ipaddress.ip_address(address), allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "", "https://", "https:///x", "ftp://a.example/", "https://u:p@a.example/", "https://a.example/#f",
        "https://a.example:0/", "https://a.example:99999/", "https://[::1", "http://localhost/", "http://127.1/",
        "http://0x7f000001/", "http://2130706433/", "https://a.example/ x", "https://ä.example/",
        "https://a/" + "x" * 2000, "http://a.example/\r\nX: y",
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_are_refused(store: Store, url: str) -> None:
    with pytest.raises(InputError):
        hooks.create(store, url, actor="ann")
    assert hooks.listed(store) == []


def test_a_name_that_resolves_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One good address beside a bad one does not help."""
    answers = [(socket.AF_INET, 1, 6, "", ("93.184.215.14", 80)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    answer = sending.send("http://rebind.example/", b"{}", {})
    assert answer.refused
    assert answer.error == (
        "127.0.0.1 is not an address that webhooks may reach; for receivers in your own network "
        "set EQUIPOISE_WEBHOOK_ALLOW_PRIVATE=1"
    )


def test_the_connection_goes_to_the_address_that_was_looked_at(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means something else when asked again changes nothing: it is asked once."""
    asked: list[str] = []

    def rebinding(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        there = "127.0.0.1" if len(asked) == 1 else "127.0.0.99"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (there, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    answer = sending.send(f"http://rebind.example:{receiver.port}/", b"{}", {}, allow_private=True)
    assert answer.delivered
    assert asked == ["rebind.example"]
    assert receiver.got[0][0]["host"] == f"rebind.example:{receiver.port}"


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"http://127.0.0.1:{receiver.port}/secret")
        handler.end_headers()

    receiver.answer = redirect
    answer = sending.send(receiver.url, b"{}", {}, allow_private=True)
    assert (answer.status, answer.error) == (302, "answered 302: redirects are not followed")
    assert len(receiver.got) == 1


def test_an_answer_without_end_is_cut_off(receiver: Receiver) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-A: ")
            for _ in range(200):
                handler.wfile.write(b"a")
                time.sleep(0.05)

    receiver.answer = drip
    began = time.monotonic()
    answer = sending.send(receiver.url, b"{}", {}, allow_private=True, total_s=1)
    assert answer.error == "no answer within 1 s"
    assert time.monotonic() - began < 3


def test_a_closed_port_is_a_failure_in_words() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert sending.send(f"http://127.0.0.1:{port}/", b"", {}, allow_private=True).error == (
        "no connection: Connection refused"
    )


def test_an_untrusted_certificate_is_a_failure(tmp_path: Any) -> None:
    import ssl
    import subprocess

    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
            "-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example"]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True)
    with receiving() as receiver:
        raw = socket.create_server(("127.0.0.1", 0))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)

        def serve() -> None:
            for _ in range(2):
                accepted, _place = raw.accept()
                with contextlib.suppress(OSError), context.wrap_socket(accepted, server_side=True) as sock:
                    sock.recv(65536)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        url = f"https://127.0.0.1:{raw.getsockname()[1]}/"
        answer = sending.send(url, b"{}", {}, allow_private=True)
        assert answer.error == "TLS failed: CERTIFICATE_VERIFY_FAILED"
        # Trusted, the certificate is held against the name of the address, whatever was connected to.
        trusted = ssl.create_default_context(cafile=str(cert))
        wrong_name = sending.send(url, b"{}", {}, allow_private=True, context=trusted)
        assert wrong_name.error == "TLS failed: CERTIFICATE_VERIFY_FAILED"
        raw.close()
        assert receiver.got == []


# keeping --------------------------------------------------------------------------------------------------------------


def test_only_wanted_events_are_told(store: Store, receiver: Receiver) -> None:
    hook, _ = hooks.create(store, receiver.url, ["key.created"], actor="ann", allow_private=True)
    assert tell(store) == []
    assert len(tell(store, "key.created")) == 1
    with pytest.raises(InputError, match=r"no event 'key.creatd' that webhooks tell of: did you mean 'key.created'"):
        hooks.update(store, hook.id, actor="ann", events=["key.creatd"])
    with pytest.raises(ValueError, match="no event"):
        tell(store, "something.else")


def test_what_is_told_once_is_told_once(store: Store, receiver: Receiver) -> None:
    hooks.create(store, receiver.url, actor="ann", allow_private=True)
    for _ in range(3):
        tell(store, "key.expiring", once="abc:2026-03-03")
    assert len(states(store)) == 1


def test_an_event_of_a_change_that_failed_is_not_told(store: Store, receiver: Receiver) -> None:
    hooks.create(store, receiver.url, actor="ann", allow_private=True)
    with contextlib.suppress(ZeroDivisionError), store.begin() as connection:
        announce(connection, "key.created", {})
        _ = 1 / 0
    assert states(store) == []


def test_changes_are_audited_without_secrets_or_paths(store: Store, receiver: Receiver) -> None:
    hook, secret = hooks.create(store, receiver.url, actor="ann", allow_private=True)
    _, second = hooks.rotate(store, hook.id, actor="ben")
    hooks.update(store, hook.id, actor="ben", active=False)
    hooks.update(store, hook.id, actor="ben", active=False)  # changes nothing
    hooks.delete(store, hook.id, actor="ann")
    trail = audit.rows(store, "webhook", hook.id)
    assert [(row.action, row.actor) for row in trail] == [
        ("created", "ann"), ("secret_rotated", "ben"), ("revised", "ben"), ("deleted", "ann"),
    ]  # fmt: skip
    assert audit.broken_at(store) is None
    assert not any(text in row.detail for row in trail for text in (secret, second, "/hook", "x=1"))
    with pytest.raises(hooks.UnknownWebhookError):
        hooks.get(store, hook.id)


def test_a_change_of_what_changed_meanwhile_is_refused(store: Store, receiver: Receiver) -> None:
    hook, _ = hooks.create(store, receiver.url, actor="ann", allow_private=True)
    hooks.update(store, hook.id, actor="ann", events=["key.created"], version_id=hook.version_id)
    for change in (hooks.update, hooks.rotate, hooks.delete):
        with pytest.raises(StaleVersionError, match="you read version 1"):
            change(store, hook.id, actor="ben", version_id=hook.version_id)


def test_a_ping_goes_to_one_webhook_whatever_it_wants(store: Store, receiver: Receiver) -> None:
    hook, _ = hooks.create(store, receiver.url, ["key.created"], actor="ann", allow_private=True)
    hooks.create(store, receiver.url, actor="ann", allow_private=True)
    message = hooks.ping(store, hook.id)
    assert (message.type, message.state) == ("webhook.ping", "pending")
    assert json.loads(message.payload)["data"] == {"webhook": hook.id}
    assert [m.id for m in hooks.messages(store, hook.id)] == [message.id]
    assert len(states(store)) == 1


def test_a_hundred_webhooks_are_enough(store: Store) -> None:
    with store.begin() as connection:
        row = {"url": "https://a.example/", "events": "[]", "secrets": "[]", "active": True, "created_at": 1,
               "created_by": "ann", "updated_at": 1, "version_id": 1}  # fmt: skip
        connection.execute(webhooks.insert(), [row | {"id": f"wh_{n}"} for n in range(100)])
    with pytest.raises(InputError, match="100 webhooks already"):
        hooks.create(store, "https://b.example/", actor="ann")


def test_old_messages_are_removed_and_waiting_ones_kept(store: Store, receiver: Receiver) -> None:
    hooks.create(store, receiver.url, actor="ann", allow_private=True)
    tell(store, now=1)
    tell(store, now=2)
    with store.begin() as connection:
        oldest = sa.select(sa.func.min(webhook_deliveries.c.created_at)).scalar_subquery()
        connection.execute(
            sa.update(webhook_deliveries).where(webhook_deliveries.c.created_at == oldest).values(state="delivered")
        )
    assert clean(store, 10) == 1
    assert [state for state, _, _ in states(store)] == ["pending"]
