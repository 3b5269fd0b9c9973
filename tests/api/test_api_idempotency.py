"""``Idempotency-Key``: the stored answer again, another request refused, nothing locked for ever; on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from experiments.keeping import audit, idempotency
from experiments.keeping.idempotency import LOCK_US, Asked, Claim, Kept, OtherRequestError, UnderWayError
from experiments.settings import Settings
from experiments.store import Store
from tests.api.management import application, problem

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
LAYER = {"kind": "layer", "key": "mails"}


@pytest.fixture
def client(store: Store, tmp_path: Path) -> Iterator[FlaskClient]:
    with application(store, tmp_path) as made:
        yield made


def test_a_repeat_gets_the_first_answer_and_changes_nothing(client: FlaskClient, store: Store) -> None:
    address = "/v1/experiments/winback/transitions"
    first = client.post(address, json={"to": "review"}, headers=KEY)
    assert first.status_code == 200
    assert "Idempotency-Replayed" not in first.headers
    trail = len(audit.rows(store))
    again = client.post(address, json={"to": "review"}, headers={"Idempotency-Key": f'"{KEY["Idempotency-Key"]}"'})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.data, again.headers["ETag"]) == (200, first.data, first.headers["ETag"])
    assert len(audit.rows(store)) == trail

    refused = problem(client.post(address, json={"to": "testing"}, headers=KEY), 422)
    assert "another request" in refused["detail"]
    # At another address it is another key.
    assert client.post("/v1/definitions", json=LAYER, headers=KEY).status_code == 200
    problem(client.post(address, json={"to": "testing"}, headers={"Idempotency-Key": "ü" * 3}), 400)
    problem(client.post(address, json={"to": "testing"}, headers={"Idempotency-Key": "x" * 256}), 400)


def test_a_refusal_is_repeated_too(client: FlaskClient) -> None:
    address = "/v1/experiments/winback/transitions"
    first = problem(client.post(address, json={"to": "ended"}, headers=KEY), 409)
    again = client.post(address, json={"to": "ended"}, headers=KEY)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert problem(again, 409)["detail"] == first["detail"]


def test_a_secret_is_shown_once(client: FlaskClient, store: Store) -> None:
    body = {"url": "https://hooks.example.com/x"}
    made = client.post("/v1/webhooks", json=body, headers=KEY)
    assert made.status_code == 201, made.text
    assert made.json["secret"].startswith("whsec_")
    again = client.post("/v1/webhooks", json=body, headers=KEY)
    assert (again.status_code, again.json["id"], again.json["secret"]) == (201, made.json["id"], None)
    with store.read() as connection:
        kept = connection.exec_driver_sql("SELECT body FROM idempotency_keys").scalars().all()
    assert not [text for text in kept if made.json["secret"] in text]


def asked(fingerprint: str = "f", key: str = "k") -> Asked:
    return Asked("anybody", "POST", "/v1/x", key, fingerprint)


def test_what_a_crash_leaves_is_over_after_a_while(store: Store) -> None:
    began = 1_700_000_000_000_000
    first = idempotency.claim(store, asked(), began)
    assert isinstance(first, Claim)
    with pytest.raises(UnderWayError):
        idempotency.claim(store, asked(), began + LOCK_US - 1)
    with pytest.raises(OtherRequestError):
        idempotency.claim(store, asked("other"), began + LOCK_US - 1)
    second = idempotency.claim(store, asked(), began + LOCK_US)
    assert isinstance(second, Claim)
    # The first one lives after all: its answer came too late and is not kept.
    idempotency.keep(store, first, Kept(200, {}, "late"))
    idempotency.keep(store, second, Kept(201, {"ETag": '"1"'}, "here"))
    assert idempotency.claim(store, asked(), began + LOCK_US + 1) == Kept(201, {"ETag": '"1"'}, "here")
    assert isinstance(idempotency.claim(store, asked("other"), began + 2 * idempotency.KEPT_US), Claim)


def test_a_failure_of_ours_is_carried_out_again(store: Store) -> None:
    first = idempotency.claim(store, asked(), 1)
    assert isinstance(first, Claim)
    idempotency.give_up(store, first)
    assert isinstance(idempotency.claim(store, asked(), 2), Claim)


def test_answers_are_kept_for_a_day(store: Store) -> None:
    for number, at in enumerate((1, 2, idempotency.KEPT_US + 1)):
        claimed = idempotency.claim(store, asked(key=str(number)), at)
        assert isinstance(claimed, Claim)
    assert idempotency.forget_old(store, idempotency.KEPT_US + 1) == 1
    assert idempotency.forget_old(store, 3 * idempotency.KEPT_US) == 2


def test_two_replicas_carry_a_request_out_once(client: FlaskClient, store: Store, tmp_path: Path) -> None:
    other = create_app(settings=Settings(tmp_path / "other", store.url))
    replies: list[Any] = []
    barrier = threading.Barrier(8)

    def send(app: Any) -> None:
        barrier.wait()
        body = {"url": "https://hooks.example.com/once"}
        replies.append(app.test_client().post("/v1/webhooks", json=body, headers=KEY))

    threads = [threading.Thread(target=send, args=(app,)) for app in (client.application, other) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(replies) == 8
    assert set(Counter(reply.status_code for reply in replies)) <= {201, 409}
    assert len({reply.json["id"] for reply in replies if reply.status_code == 201}) == 1
    assert sum(reply.json.get("secret") is not None for reply in replies if reply.status_code == 201) == 1
    assert len(client.get("/v1/webhooks").json["items"]) == 1
    other.extensions["equipoise"].store.close()
