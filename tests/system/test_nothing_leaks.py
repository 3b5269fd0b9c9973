"""A key's secret is nowhere, a member's id in no log line, page, metric or error document: through every door."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from experiments.security import key_text
from tests.system.serving import Reply, Server, run, serving
from tests.system.test_serve import CART, DEFINITIONS, launch

MEMBER = "member-k7Qx2vNeverShown"
OURS = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}


class Driver:
    """Sends requests and keeps what came back."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.errors: list[bytes] = []
        self.pages: list[bytes] = []
        self.statuses: list[int] = []

    def send(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Reply:
        reply = self.server.send(method, path, body, headers)
        self.statuses.append(reply.status)
        everything = reply.body + repr(reply.headers).encode()
        if reply.status >= 400:
            self.errors.append(everything)
        if "text/html" in reply.headers.get("content-type", ""):
            self.pages.append(everything)
        return reply


def test_secrets_and_members_stay_where_they_belong(tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ["--workers", "2", "--metrics", "127.0.0.1:0", "--log-level", "debug"]
    with serving(data, arguments=arguments) as server:
        reply = server.send("POST", "/v1/definitions", DEFINITIONS.encode(), {"Content-Type": "application/yaml"})
        assert reply.status == 200, reply.body
        launch(server)
        made = run("--data", str(data), "keys", "create", "everything",
                   *(part for scope in ("decide", "ingest", "manage") for part in ("--scope", scope)))  # fmt: skip
        key = made.stdout.strip()
        parts = key_text.read(key)
        assert parts is not None, made.stderr
        deadline = time.monotonic() + 30
        while server.send("GET", "/v1/experiments").status != 401:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(2)  # for the other process
        driver = Driver(server)
        wrong = key_text.write(parts._replace(secret=parts.secret[::-1]))
        unknown = key_text.write(parts._replace(selector="000000000000"))
        for presented in (key, wrong, unknown, key + "x", f"{key}, {key}"):
            basic = base64.b64encode(f"{presented}:".encode()).decode()
            for headers in (
                {"Authorization": f"Bearer {presented}"},
                {"X-API-Key": presented},
                {"Authorization": f"Basic {basic}"},
                {"Authorization": f"Digest {presented}"},
            ):
                _apis(driver, headers, presented)
        session = _pages(driver, key)
        driver.send("POST", "/v1/keys/everything/rotate", {"grace_hours": 24}, {"X-API-Key": key})
        driver.send("POST", f"/v1/keys/{key}/revoke", None, {"X-API-Key": key})  # the whole key by mistake
        metrics = server.metrics()
        assert set(driver.statuses) >= {200, 201, 303, 400, 401, 404, 422}
        assert max(driver.statuses) < 500, sorted(set(driver.statuses))
        assert server.stop() == 0
        time.sleep(0.3)
        log = "".join([*server.errors, *server.lines])

    assert len(re.findall(r'"event": ?"request"', log)) > 50, "the log has lines to be searched"
    for secret in _written(key):
        assert secret not in log
        assert secret not in metrics
        assert not [error for error in driver.errors if secret.encode() in error]
        assert not [page for page in driver.pages if secret.encode() in page]
        assert not [path for path in data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert parts.secret[::-1] not in log  # nor one that was tried in vain
    assert session not in log
    assert MEMBER not in log
    assert MEMBER not in metrics
    assert [error for error in driver.errors if MEMBER.encode() in error] == []
    assert not [page for page in driver.pages if MEMBER.encode() in page]
    snapshots = [path for path in (data / "snapshots").rglob("snapshot-*") if path.is_file()]
    assert snapshots
    assert not [path for path in snapshots if MEMBER.encode() in path.read_bytes()]
    in_database = b"".join(path.read_bytes() for path in data.glob("equipoise.sqlite*"))
    assert MEMBER.encode() in in_database, "it was there to be leaked"


def _written(key: str) -> list[str]:
    """Return the ways in which a key's secret could stand somewhere."""
    parts = key_text.read(key)
    assert parts is not None
    return [parts.secret, base64.b64encode(f"{key}:".encode()).decode(), base64.b64encode(key.encode()).decode()[:60]]


def _apis(driver: Driver, headers: dict[str, str], presented: str) -> None:
    """Ask and report in every way there is, rightly and wrongly, always about the one member."""
    question = {"experiment": "basket", "unit": MEMBER, "attributes": CART}
    event = {"name": "Visit", "event_id": f"e-{MEMBER}", "unit": MEMBER, "at": "2026-03-03T08:00:00Z"}
    bodies: list[tuple[str, Any]] = [
        ("/v1/decide", question),
        ("/v1/decide", {**question, "experiment": "nothing"}),
        ("/v1/decide", {**question, "unit_type": MEMBER}),
        ("/v1/decide", {**question, "attributes": {MEMBER: MEMBER}}),
        ("/v1/decide", {**question, MEMBER: 1}),
        ("/v1/decide", {**question, "occasion": f"{MEMBER} {MEMBER}"}),
        ("/v1/decide", f'{{"unit": "{MEMBER}", '.encode()),
        ("/v1/decide/batch", {"experiment": "basket", "members": [{"unit": MEMBER}, {"unit": ""}]}),
        ("/ofrep/v1/evaluate/flags/basket", {"context": {"targetingKey": MEMBER, **CART}}),
        ("/ofrep/v1/evaluate/flags/nothing", {"context": {"targetingKey": MEMBER}}),
        ("/ofrep/v1/evaluate/flags", {"context": {"targetingKey": MEMBER, **CART}}),
        ("/ofrep/v1/evaluate/flags", {"context": MEMBER}),
        ("/v1/events", {"events": [event, {**event, "at": MEMBER}, {**event, "name": 7}]}),
        ("/v1/events", {"source": MEMBER + " ", "events": [event]}),
        ("/v1/experiments/basket/explain", question),
        ("/v1/experiments/basket/explain", {"unit": MEMBER, "attributes": CART}),
    ]
    for path, body in bodies:
        driver.send("POST", path, body, headers)
    asked = urlencode({"experiment": "basket", "unit": MEMBER, "key": presented, "api_key": presented})
    driver.send("GET", f"/v1/decide?{asked}", None, headers)
    driver.send("GET", f"/v1/experiments/basket/explain?{asked}", None, headers)
    driver.send("GET", f"/v1/experiments?{asked}", None, headers)
    item = {"type": "track", "event": "Visit", "userId": MEMBER, "messageId": f"s-{MEMBER}", "writeKey": presented}
    batch = {"batch": [item, {**item, "type": MEMBER}, {**item, "userId": 7}], "writeKey": presented}
    packed = gzip.compress(json.dumps(batch).encode())
    driver.send("POST", "/v1/batch", packed, {**headers, "Content-Encoding": "gzip"})
    driver.send(
        "POST", "/v1/identify", {"userId": MEMBER, "messageId": "i", "writeKey": presented, "traits": {}}, headers
    )
    driver.send("POST", "/v1/alias", {"userId": MEMBER, "previousId": "x", "messageId": "a"}, headers)
    driver.send("POST", "/v1/track", {"writeKey": presented, "userId": MEMBER, "event": ""}, headers)


def _pages(driver: Driver, key: str) -> str:
    """Sign in, look at every page, type what is wrong; return the cookie."""
    driver.send("POST", "/sign-in", urlencode({"key": key + "x"}).encode(), OURS)
    reply = driver.send("POST", "/sign-in", urlencode({"key": key, "next": "/keys"}).encode(), OURS)
    assert reply.status == 303
    cookie = reply.headers["set-cookie"].split(";")[0]
    headers = {**OURS, "Cookie": cookie}
    for path in (
        "/experiments",
        "/experiments/basket",
        "/keys",
        "/sign-in",
        f"/experiments?q={MEMBER[:6]}",
        "/docs/api",
    ):
        driver.send("GET", path, None, headers)
    driver.send("POST", "/keys", urlencode({"name": "Not A Name", "scope": "decide"}).encode(), headers)
    driver.send("POST", "/keys", urlencode({"name": "everything", "scope": "decide"}).encode(), headers)
    return cookie.split("=", 1)[1]
