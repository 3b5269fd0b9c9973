"""Fault 22: receivers of webhooks that are down, slow, or point inside; what is taken in does not notice.

The schedule over hours is in tests/experiments/test_webhooks.py, with the clock set by the test.
"""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from experiments.store import open_store
from experiments.store.migrate import upgrade
from experiments.webhooks import hooks
from tests.experiments.test_webhooks import receiving
from tests.system.serving import Server, serving

EVENT = {"name": "Store Visited", "unit": "m-1", "at": "2026-03-03T08:00:00+08:00"}


def send_events(server: Server, seconds: float) -> list[float]:
    """Send batches of ten events for some seconds; return how long each took."""
    took, number, until = [], 0, time.monotonic() + seconds
    while time.monotonic() < until:
        batch = [{**EVENT, "event_id": f"e-{number}-{n}"} for n in range(10)]
        began = time.monotonic()
        reply = server.send("POST", "/v1/events", {"events": batch, "source": "shop"})
        took.append(time.monotonic() - began)
        assert reply.status == 200, reply.body
        assert reply.json()["accepted"] == 10
        number += 1
        time.sleep(0.02)
    return took


@pytest.mark.slow
def test_receivers_that_are_down_slow_or_inside_do_not_hold_up_ingestion(store_url: str, tmp_path: Path) -> None:
    store = open_store(store_url)
    upgrade(store)
    with receiving() as good, receiving() as slow, receiving() as sly, receiving() as down:

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(307)
            handler.send_header("Location", f"http://127.0.0.1:{good.port}/inside")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        slow.answer = lambda _: time.sleep(9)
        sly.answer = redirect
        down.status = 503
        ids = {
            name: hooks.create(store, receiver.url, actor="ann", allow_private=True)[0].id
            for name, receiver in (("good", good), ("slow", slow), ("sly", sly), ("down", down))
        }
        for hook in ids.values():
            for _ in range(5):
                hooks.ping(store, hook)
        with serving(tmp_path, database=store_url, env={"EQUIPOISE_WEBHOOK_ALLOW_PRIVATE": "1"}) as server:
            took = send_events(server, 12)
            deadline = time.monotonic() + 30
            while len(good.got) < 5 and time.monotonic() < deadline:
                time.sleep(0.2)
            assert server.stop() == 0
        assert len(good.got) == 5, "others held it up"
        assert len({headers["webhook-id"] for headers, _ in good.got}) == 5
        assert all(message.state == "delivered" for message in hooks.messages(store, ids["good"]))
        assert 1 <= len(slow.got) <= 4
        redirected = hooks.messages(store, ids["sly"])
        assert {m.last_error for m in redirected if m.attempts} == {"answered 307: redirects are not followed"}
        assert {m.last_error for m in hooks.messages(store, ids["down"]) if m.attempts} == {"answered 503"}
        assert sorted(took)[int(0.95 * len(took))] < 1.0
    store.close()


@pytest.mark.slow
def test_an_address_inside_is_refused_by_the_service(tmp_path: Path) -> None:
    """Set while private addresses were allowed, or by a name that moved inside: refused when it is sent."""
    url = f"sqlite:///{tmp_path / 'equipoise.sqlite'}"
    store = open_store(url)
    upgrade(store)
    with receiving() as inside:
        hook, _ = hooks.create(store, inside.url, actor="ann", allow_private=True)
        message = hooks.ping(store, hook.id)
        with serving(tmp_path, env={"EQUIPOISE_WEBHOOK_ALLOW_PRIVATE": "0"}) as server:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                [message] = hooks.messages(store, hook.id)
                if message.last_error is not None:
                    break
                time.sleep(0.2)
            server.stop()
        assert (message.last_error or "").startswith("127.0.0.1 is not an address that webhooks may reach; ")
        assert inside.got == []
    store.close()
