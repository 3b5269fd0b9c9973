"""What must not hurt: repeats, poison, odd ids, bodies that are too large, a full disk. Over every address that takes
events, on both databases."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import subprocess
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.store import open_store
from experiments.store.log_tables import dead_letters, events
from tests.system.serving import Server, serving

PROJECT = "{kind: project, name: Harbour Retail, currency: CNY, allow_personal_ids: false}"
AT = "2026-03-03T12:00:00Z"


@contextlib.contextmanager
def service(data: Path, url: str, **options: Any) -> Iterator[Server]:
    """Serve a project, published."""
    with serving(data, database=url, **options) as server:
        reply = server.send("POST", "/v1/definitions", PROJECT.encode(), {"Content-Type": "application/yaml"})
        assert reply.status == 200, reply.body
        deadline = time.monotonic() + 40
        while server.send("POST", "/v1/events", {"events": [item("probe", value="1")]}).json()["rejected"]:
            assert time.monotonic() < deadline, "the project was not published"
            time.sleep(0.1)
        yield server


def item(event_id: str, unit: str = "m-1", **fields: Any) -> dict[str, Any]:
    return {"name": "Visit", "event_id": event_id, "unit": unit, "at": AT, **fields}


def message(message_id: str, unit: str = "m-1", **fields: Any) -> dict[str, Any]:
    return {"type": "track", "messageId": message_id, "userId": unit, "event": "Visit", "timestamp": AT, **fields}


def as_events(ids: list[str], **fields: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/events", {"source": "segment", "events": [item(name, **fields) for name in ids]}


def as_batch(ids: list[str], **fields: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/batch", {"batch": [message(name, **fields) for name in ids]}


def stored(url: str, wanted: Callable[[Counter[str], Counter[str]], bool]) -> tuple[Counter[str], Counter[str]]:
    """Return the events by id, and the dead letters by reason, once they are as wanted, or after a while."""
    store = open_store(url)
    try:
        deadline = time.monotonic() + 40
        while True:
            with store.read() as connection:
                named = sa.select(events.c.event_id).where(events.c.event_id != "probe")
                found = Counter(connection.execute(named).scalars())
                known = sa.select(dead_letters.c.reason).where(dead_letters.c.reason != "unknown_currency")
                letters = Counter(connection.execute(known).scalars())
            if wanted(found, letters) or time.monotonic() > deadline:
                return found, letters
            time.sleep(0.1)
    finally:
        store.close()


# ---- repeats


@pytest.mark.slow
def test_the_same_batch_again_and_again_counts_once(store_url: str, tmp_path: Path) -> None:
    """Ten times, from eight threads, and once more after a restart."""
    data, ids = tmp_path / "data", [f"e-{n}" for n in range(60)]
    duplicates = []

    def send(server: Server, times: int) -> None:
        for _ in range(times):
            for path, body in (as_events(ids[:30]), as_batch(ids[30:])):
                reply = server.send("POST", path, body)
                assert (reply.status, reply.json()["accepted"]) == (200, 30)
                duplicates.append(reply.json()["duplicates"])

    with service(data, store_url) as server:
        threads = [threading.Thread(target=send, args=(server, 10)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(duplicates) == 160
        assert duplicates.count(0) <= 2 * len(server.children()), "each process that saw it says so the next time"
    with service(data, store_url) as server:
        send(server, 1)
        assert server.send("POST", *as_batch(ids[:1], properties={"changed": True})).json()["accepted"] == 1
        found, letters = stored(store_url, lambda _, letters: bool(letters))
    assert found == dict.fromkeys(ids, 1)
    assert letters == {"conflicting_duplicate": 1}


# ---- poison


def test_poison_is_put_aside_once_and_the_queue_goes_on(store_url: str, tmp_path: Path) -> None:
    poison = [message("bad-1", event=None), message("bad-2", unit="li@example.com"), message("bad-3", timestamp="x"), 7]
    body = {"batch": [message("good-1"), *poison, message("good-2")], "sentAt": AT}
    with service(tmp_path / "data", store_url) as server:
        for again in range(3):
            reply = server.send("POST", "/v1/batch", {**body, "sentAt": f"2026-03-03T12:0{again}:00Z"})
            assert [(r["index"], r["reason"]) for r in reply.json()["rejected"]] == [
                (1, "invalid"), (2, "personal_id"), (3, "invalid"), (4, "invalid"),
            ]  # fmt: skip
        assert server.send("POST", *as_events(["good-3"])).status == 200
        found, letters = stored(store_url, lambda found, _: "good-3" in found)
    assert found == {"good-1": 1, "good-2": 1, "good-3": 1}
    assert letters == {"invalid": 3, "personal_id": 1}
    assert "li@example.com" not in "".join(server.errors)


# ---- ids

NFC, NFD = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
IDS = {
    "😀👩‍👧": True,
    f"caf{NFC}": True,
    f"caf{NFD}": True,
    "עברית-١٢٣": True,
    "a\u202eb": True,
    "数" * 85: True,
    "x" * 256: True,
    "x" * 257: False,
    "数" * 86: False,
    "a\x00b": False,
    "\ud800": False,
    "": False,
}


def test_any_id_gets_the_same_answer_everywhere(store_url: str, tmp_path: Path) -> None:
    """Taken as it is (nothing is normalised) or refused, over every address."""
    with service(tmp_path / "data", store_url) as server:
        for number, (unit, good) in enumerate(IDS.items()):
            for path, body in (as_events([f"a-{number}"], unit=unit), as_batch([f"b-{number}"], unit=unit)):
                reply = server.send("POST", path, body)
                assert reply.status == 200
                assert reply.json()["accepted"] == int(good), (unit, reply.body)
            single = server.send("POST", "/v1/track", message(f"c-{number}", unit=unit))
            assert (single.status, single.json().get("accepted", 0)) == (400 if unit == "\ud800" else 200, int(good))
            decided = server.send("POST", "/v1/decide", {"experiment": "nothing", "unit": unit})
            assert decided.status in ({404} if good else {400, 422})
        kept = 3 * sum(IDS.values())
        found, _ = stored(store_url, lambda found, _: len(found) == kept)
    assert len(found) == kept
    store = open_store(store_url)
    with store.read() as connection:
        units = set(connection.execute(sa.select(events.c.unit).where(events.c.event_id != "probe")).scalars())
    store.close()
    assert units == {unit for unit, good in IDS.items() if good}


# ---- malformed bodies

MALFORMED = [
    (b"", 400, "the body is empty"),
    (b'{"batch":[{"type":"track"', 400, "not valid JSON"),
    (b"\xef\xbb\xbf" + b'{"batch":[]}', 400, "byte-order mark"),
    ('{"batch":[]}'.encode("utf-16"), 400, "not UTF-8"),
    (b'{"sentAt":NaN,"batch":[]}', 400, "NaN and Infinity"),
    (b'{"batch":' + b"[" * 100_000, 400, "nested too deeply"),
    (b'{"batch":7}', 400, "not a batch"),
    (b"\x1f\x8b broken", 400, "broken gzip"),
    (gzip.compress(b'{"batch":[]}')[:-5], 400, "cut off"),
    (b'{"batch":[' + b"0," * 5_000 + b"0]}", 413, "5,001 messages"),
]


@pytest.fixture(scope="module")
def one_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("faults")
    with service(folder / "data", f"sqlite:///{folder / 'equipoise.sqlite'}") as server:
        yield server


@pytest.mark.parametrize(("body", "status", "text"), MALFORMED, ids=[str(n) for n in range(len(MALFORMED))])
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "image/png"])
def test_a_malformed_batch(one_service: Server, body: bytes, status: int, text: str, content_type: str) -> None:
    reply = one_service.send("POST", "/v1/batch", body, {"Content-Type": content_type})
    document = reply.json()
    assert (reply.status, document["success"]) == (status, False), document
    assert text in document["message"]


def test_odd_values_are_answered_one_by_one(one_service: Server) -> None:
    body = (
        b'{"batch":[{"type":"track","userId":"a","event":"x","messageId":"1","properties":{"a":1e999}},'
        b'{"type":"track","userId":"a","userId":"b","event":"x","messageId":"2","timestamp":"2026-03-03T12:00:00Z"},'
        b'{"type":"track","userId":"\\ud800","event":"x","messageId":"3"}]}'
    )
    reply = one_service.send("POST", "/v1/batch", body)
    assert (reply.status, reply.json()["accepted"]) == (200, 1)
    assert [r["index"] for r in reply.json()["rejected"]] == [0, 2]


def test_other_methods_and_encodings(one_service: Server) -> None:
    got = one_service.send("GET", "/v1/batch")
    assert (got.status, got.headers["allow"], got.json()["code"]) == (405, "POST, OPTIONS", "method_not_allowed")
    brotli = one_service.send("POST", "/v1/batch", b"x", {"Content-Encoding": "br"})
    assert (brotli.status, brotli.json()["code"]) == (415, "bad_encoding")


# ---- bodies that are too large


def memory_kb(server: Server) -> int:
    """Return the resident memory of all processes that answer."""
    total = 0
    for child in server.children():
        (line,) = [row for row in Path(f"/proc/{child}/status").read_text().splitlines() if row.startswith("VmRSS")]
        total += int(line.split()[1])
    return total


def refused_within(
    server: Server, path: str, send: Callable[[http.client.HTTPConnection], None], limit_s: float
) -> None:
    with contextlib.closing(server.connect(timeout=20)) as connection:
        begun = time.monotonic()
        connection.putrequest("POST", path)
        # The service may answer, and close, before all of it is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send(connection)
        response = connection.getresponse()
        took = time.monotonic() - begun
        assert response.status == 413, response.read()
        assert took < limit_s, f"{took:.2f} s"


@pytest.mark.parametrize("path", ["/v1/events", "/v1/batch", "/v1/track"])
def test_a_body_that_is_too_large_is_refused_fast_and_small(one_service: Server, path: str) -> None:
    ten_mb = b'{"batch":[' + b" " * 10_000_000 + b"]}"
    bomb = gzip.compress(b'{"batch":[' + b" " * 50_000_000 + b"]}")
    assert len(bomb) < 60_000

    def whole(connection: http.client.HTTPConnection) -> None:
        connection.putheader("Content-Length", str(len(ten_mb)))
        connection.endheaders()
        connection.send(ten_mb)

    def chunked(connection: http.client.HTTPConnection) -> None:
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for begin in range(0, len(ten_mb), 65_536):
            piece = ten_mb[begin : begin + 65_536]
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")

    def packed(connection: http.client.HTTPConnection) -> None:
        connection.putheader("Content-Encoding", "gzip")
        connection.putheader("Content-Length", str(len(bomb)))
        connection.endheaders()
        connection.send(bomb)

    assert one_service.send("POST", *as_batch(["warm"])).status == 200
    before = memory_kb(one_service)
    for _ in range(3):
        # The machine may be busy: without that each takes a few hundredths of a second.
        for send in (whole, chunked, packed):
            refused_within(one_service, path, send, limit_s=2.0 if os.getloadavg()[0] > 4 else 1.0)
    assert memory_kb(one_service) - before < 50_000
    assert one_service.send("POST", *as_batch(["still"])).json()["accepted"] == 1


def test_the_largest_batch_passes(one_service: Server) -> None:
    ids = [f"large-{n}" for n in range(2_000)]
    _, body = as_batch(ids, properties={"text": "x" * 1_700})
    raw = json.dumps(body).encode()
    assert 3_500_000 < len(raw) < 4 * 1024 * 1024
    for sent, headers in ((raw, {}), (gzip.compress(raw), {"Content-Type": "application/x-www-form-urlencoded"})):
        reply = one_service.send("POST", "/v1/batch", sent, headers)
        assert (reply.status, reply.json()["accepted"]) == (200, 2_000)


# ---- a full disk


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 4 MB at a folder."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here (root can): {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_loses_nothing_acknowledged(store_url: str, tmp_path: Path) -> None:
    """503 with Retry-After while it is full, reads go on, and writing resumes when there is space again."""
    if store_url.startswith("sqlite"):
        store_url = f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    with small_disk(tmp_path / "data") as data, service(data, store_url) as server:
        ballast = data / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4_096):
                pass
        acked: list[str] = []
        refused = 0
        deadline = time.monotonic() + 40
        number = 0
        while refused < 3:
            assert time.monotonic() < deadline, "the disk never got full"
            ids = [f"e-{number}-{n}" for n in range(40)]
            number += 1
            path, body = (as_events if number % 2 else as_batch)(ids, properties={"text": "x" * 500})
            reply = server.send("POST", path, body)
            if reply.status == 200:
                acked += ids
                with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                    file.write(b"x" * 100_000)
            else:
                assert (reply.status, reply.headers["retry-after"]) == (503, "1"), reply.body
                refused += 1
        assert server.send("GET", "/v1/experiments").status == 200
        assert server.send("GET", "/livez").status == 200
        decided = server.send("POST", "/v1/decide", {"experiment": "nothing", "unit": "m"})
        assert decided.status == 404, "deciding needs no disk"
        ballast.unlink()
        freed = time.monotonic()
        while server.send("POST", *as_batch(["after"])).status != 200:
            assert time.monotonic() < freed + 10, "writing did not resume"
            time.sleep(0.1)
        acked.append("after")
        found, _ = stored(store_url, lambda found, _: set(acked) <= set(found))
    assert set(acked) <= set(found), f"{len(set(acked) - set(found))} of {len(acked)} acknowledged events are lost"
    assert max(found.values()) == 1
