"""Faults and abuse of management: what attacks a database, a page or a spreadsheet; many who change one thing at once.

On real servers, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import csv
import io
import json
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.keeping import audit
from experiments.store import Store, open_store
from experiments.store.metadata import all_tables
from tests.system.serving import Reply, Server, serving
from tests.system.test_serve import DEFINITIONS

YAML = {"Content-Type": "application/yaml"}
ATTACKS = (
    "'; DROP TABLE decisions; --",
    '" OR 1=1 --',
    "{{ 7 * 7 }}{% for x in y %}",
    "${jndi:ldap://127.0.0.1/x}",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=HYPERLINK(\"http://127.0.0.1\",\"x\")",
    "+1+1", "-1+1", "@SUM(A1)",
    "../../etc/passwd",
    "%s%n%x",
    "\u202eevil\u0000".replace("\u0000", ""),
)  # fmt: skip


@pytest.fixture
def server(store_url: str, tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data", database=store_url) as started:
        assert started.send("POST", "/v1/definitions", DEFINITIONS.encode(), YAML).status == 200
        for state in ("review", "testing", "running"):
            assert started.send("POST", "/v1/experiments/basket/transitions", {"to": state}).status == 200
        started.wait_ready("basket")
        yield started


@pytest.fixture
def kept(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    yield opened
    opened.close()


def tables(store: Store) -> set[str]:
    with store.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def count(store: Store, table: str) -> int:
    with store.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(all_tables().tables[table])).scalar_one()


def load(server: Server, store: Store, table: str, rows: int) -> None:
    for _ in range(200):
        if count(store, table) >= rows:
            return
        threading.Event().wait(0.1)
    raise AssertionError(f"{table} has {count(store, table)} rows, not {rows}")


def test_attacks_are_text_like_any_other(server: Server, kept: Store) -> None:
    before = tables(kept)
    layers: dict[str, str] = {}
    for number, text in enumerate(ATTACKS):
        # As keys they are refused, as names and reasons they are kept to the letter.
        address = f"/v1/layers/{urllib.parse.quote(text, safe='')}"
        assert server.send("GET", address).status == 404
        assert server.send("PUT", address, {"name": "x"}).status in {404, 405, 422}
        put = server.send("PUT", f"/v1/layers/l{number}", {"name": {"en": text}})
        assert put.status == 201, put.body
        layers[f"l{number}"] = text
        experiment = {
            "name": {"en": text}, "owner": text, "variants": [{"key": "control"}, {"key": "a"}], "control": "control",
            "metrics": {"primary": ["repurchase-14d"]}, "hypothesis": {"en": text},
        }  # fmt: skip
        put = server.send("PUT", f"/v1/experiments/x{number}", experiment)
        assert put.status == 201, put.body
        for address in ("/v1/audit?key=", "/v1/dead-letters?reason=", "/v1/jobs?kind="):
            listed = server.send("GET", address + urllib.parse.quote(text))
            assert (listed.status, listed.json()["items"]) == (200, []), listed.body

    for key, text in layers.items():
        assert server.send("GET", f"/v1/layers/{key}").json()["definition"]["name"] == {"en": text}

    events = [
        {"name": text, "event_id": text, "unit": text, "at": "2026-03-03T08:00:00Z", "object_id": text,
         "properties": {text: text}}
        for text in ATTACKS
    ]  # fmt: skip
    taken = server.send("POST", "/v1/events", {"source": "attack", "events": events})
    assert (taken.status, taken.json()["accepted"]) == (200, len(ATTACKS)), taken.body
    for text in ATTACKS:
        assert server.send("POST", "/v1/decide", {"experiment": "basket", "unit": text}).status == 200
    load(server, kept, "events", len(ATTACKS))
    with kept.read() as connection:
        stored = {row.unit for row in connection.execute(sa.select(all_tables().tables["events"].c.unit))}
    assert stored == set(ATTACKS)
    assert tables(kept) == before

    page = server.send("GET", "/experiments").body.decode()
    for raw in ("<script>alert(1)", "<img src=x", "49{% for"):
        assert raw not in page
    assert "&lt;script&gt;alert(1)" in page
    listed = server.send("GET", "/experiments.csv").body.decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(listed)) for cell in row]
    for text in ATTACKS:
        if text[0] in "=+-@":
            assert "'" + text in cells
        assert not [cell for cell in cells if cell[:1] in {"=", "+", "@"}]


def test_twenty_writers_with_one_version(server: Server, kept: Store) -> None:
    made = server.send("PUT", "/v1/layers/shared", {"name": "0"})
    etag = {name.lower(): value for name, value in made.headers.items()}["etag"]
    trail = len(audit.rows(kept, "layer", "shared"))
    replies: list[Reply] = []
    barrier = threading.Barrier(20)

    def write(number: int) -> None:
        barrier.wait()
        body = {"name": f"writer {number}"}
        replies.append(server.send("PUT", "/v1/layers/shared", body, {"If-Match": etag}, timeout=60))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert Counter(reply.status for reply in replies) == {200: 1, 412: 19}, [r.body for r in replies]
    won = next(reply for reply in replies if reply.status == 200).json()
    assert server.send("GET", "/v1/layers/shared").json()["definition"] == won["definition"]
    assert len(audit.rows(kept, "layer", "shared")) == trail + 1
    assert audit.broken_at(kept) is None


BODIES: tuple[tuple[bytes, str], ...] = (
    (b'{"to":"\\ud800"}', "lone surrogate"),
    (b'{"to":"a\\u0000b"}', "NUL"),
    (b'{"to":NaN}', "NaN"),
    (b'{"to":1e999}', "overflow"),
    (b'{"to":"review","to":"ended"}', "the same key twice"),
    (b'{"to":' + b"[" * 100_000, "nested"),
    (b'{"to":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "nested, complete"),
    (b"\xef\xbb\xbf" + b'{"to":"review"}', "byte-order mark"),
    ('{"to":"review"}'.encode("utf-16"), "UTF-16"),
    (b'{"to":"\xff"}', "not UTF-8"),
    (b"", "empty"),
    (b"null", "null"),
    (b"[]", "a list"),
)
ADDRESSES = (
    ("POST", "/v1/experiments/basket/transitions"),
    ("POST", "/v1/experiments/basket/explain"),
    ("POST", "/v1/definitions"),
    ("PUT", "/v1/offers/x"),
    ("PUT", "/v1/project"),
    ("POST", "/v1/keys"),
    ("POST", "/v1/webhooks"),
    ("PATCH", "/v1/webhooks/wh_0"),
)


def test_no_body_makes_it_fail(server: Server) -> None:
    for method, path in ADDRESSES:
        for body, what in BODIES:
            reply = server.send(method, path, body)
            where = f"{method} {path}: {what}: {reply.status} {reply.body[:300]!r}"
            assert 400 <= reply.status < 500, where
            headers = {name.lower(): value for name, value in reply.headers.items()}
            assert headers["content-type"] == "application/problem+json", where
            document: dict[str, Any] = json.loads(reply.body)
            assert reply.status != 422 or document.get("errors") or "expected here" in document["detail"], where
    assert server.send("GET", "/v1/webhooks").json()["items"] == []
    assert server.send("GET", "/readyz").status == 200


def test_a_body_of_more_than_a_megabyte_is_refused(server: Server) -> None:
    reply = server.send("POST", "/v1/definitions", b'{"kind":"' + b"x" * 1_000_001 + b'"}')
    assert reply.status == 413
