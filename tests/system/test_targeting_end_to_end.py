"""From a finished experiment to the next one, over HTTP alone: recommendation, audience, draft, list, report.

The shop is the demo, whose truth is known (experiments/demo/story.py): a coupon for everybody pays for orders that come
anyway, those who come seldom need one. What members do in the second experiment is this test's own: by a hash of the
member, so that what the report must say can be counted here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from experiments.demo import shop
from tests.system.serving import Server, run, serving

pytestmark = pytest.mark.slow

SOURCE = "members-day"
TEST = "members-day-own-offers"
BUDGET = 60_000.0
FACE = {"coupon-15": 15.0, "points-300": 3.0}
MARGIN = 48.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("targeting")
    filled = run("--data", str(folder), "demo", timeout=400)
    assert filled.returncode == 0, filled.stderr
    with serving(folder) as started:
        yield started


def got(server: Server, path: str) -> Any:
    reply = server.send("GET", path, timeout=120)
    assert reply.status == 200, reply.body
    return reply.json()


def done(server: Server, reply: Any) -> dict[str, Any]:
    """Wait for a job and return it."""
    assert reply.status in (200, 202), reply.body
    address = reply.headers["location"]
    deadline = time.monotonic() + 300
    while True:
        job: dict[str, Any] = got(server, address)
        if job["state"] == "done":
            return job
        assert job["state"] in ("queued", "running"), job
        assert time.monotonic() < deadline, job
        time.sleep(0.5)


def move(server: Server, key: str, *states: str) -> None:
    for state in states:
        reply = server.send("POST", f"/v1/experiments/{key}/transitions", {"to": state})
        assert reply.status == 200, reply.body


def share(text: str) -> float:
    """Return a number in [0, 1) that hangs on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def test_a_campaign_teaches_the_next_one(server: Server) -> None:
    # The recommendation: honest about what one offer for all would do, and about whom a coupon pays for.
    done(server, server.send("POST", f"/v1/experiments/{SOURCE}/recommendation", {}))
    found = got(server, f"/v1/experiments/{SOURCE}/recommendation")
    assert (found["causal"], found["evidence"], found["recommended"]) == (True, True, "personalised")
    policies = {policy["code"]: policy for policy in found["policies"]}
    assert {"personalised", "best_single", "response", "rfm", "random", "none"} <= set(policies)
    assert policies["personalised"]["gain"]["ci_low"] > 0
    assert policies["all:coupon15"]["value"]["estimate"] < policies["personalised"]["value"]["estimate"]

    # The audience: within its budget, nobody twice, what the file says is what the document says.
    asked = {"budget": BUDGET, "explore": 0.05}
    hour = datetime.now(UTC).hour
    job = done(server, server.send("POST", f"/v1/experiments/{SOURCE}/audiences", asked))
    audience = got(server, f"/v1/experiments/{SOURCE}/audiences/{job['id']}")
    content = server.send("GET", f"/v1/experiments/{SOURCE}/audiences/{job['id']}/file", timeout=120).body
    assert hashlib.sha256(content).hexdigest() == audience["sha256"]
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    own = {row["unit"]: row["recommended_offer"] for row in rows}
    assert len(own) == len(rows) == audience["rows"]
    assert set(own.values()) == {"", "coupon-15", "points-300"}
    liability = sum(FACE.get(offer, 0.0) for offer in own.values())
    assert liability <= BUDGET
    assert audience["spent"] == pytest.approx(liability)
    # The same again is the same audience, within the hour as of which members are described.
    named = {**asked, "recommendation": audience["recommendation"]}
    again = server.send("POST", f"/v1/experiments/{SOURCE}/audiences", named)
    assert again.json()["audience"] == job["id"] or datetime.now(UTC).hour != hour
    # A list of the same members as the body, larger than what Flask is given whole: what is stored of them counts where
    # the list says nothing, so that everybody is given the same.
    sent = ("会员号,备注\n" + "".join(f"{unit},{'无' * 40}\n" for unit in own)).encode("gb18030")
    assert len(sent) > 1_000_000
    query = urlencode({**named, "as_of": audience["at"], "unit_column": "会员号"})
    address = f"/v1/experiments/{SOURCE}/audiences"
    listed = done(server, server.send("POST", f"{address}?{query}", sent, {"Content-Type": "text/csv"}, timeout=120))
    content = server.send("GET", f"{address}/{listed['id']}/file", timeout=120).body
    assert {row["unit"]: row["recommended_offer"] for row in csv.DictReader(io.StringIO(content.decode()))} == own
    # Those who come seldom get the coupon, those who come often are left out: story.py says that it does nothing there.
    stage = {m["unit"]: m["stage"] for m in members(server)}
    coupons = Counter(stage[unit] for unit, offer in own.items() if offer == "coupon-15")
    everybody = Counter(stage[unit] for unit in own)
    assert coupons["dormant"] / everybody["dormant"] > 1.5 * coupons["loyal"] / everybody["loyal"]

    # The next experiment: its draft, reviewed and started as any other, its list assigned evenly in each offer's group.
    reply = server.send("POST", f"/v1/experiments/{SOURCE}/recommendation/draft", {"key": TEST, "audience": job["id"]})
    assert reply.status == 200, reply.body
    draft = got(server, f"/v1/experiments/{TEST}")["definition"]
    assert [(v["key"], v.get("offer"), v.get("offer_by")) for v in draft["variants"]][-1] == (
        "policy", None, "recommended_offer",
    )  # fmt: skip
    move(server, TEST, "review", "testing", "running")
    header = {"Content-Type": "text/csv"}
    address = f"/v1/experiments/{TEST}/assignments?balance_on=recommended_offer"
    deadline = time.monotonic() + 60
    while (reply := server.send("POST", address, content, header, timeout=120)).status in (404, 409):
        assert time.monotonic() < deadline, reply.body  # until the launch is published
        time.sleep(0.5)
    listed = done(server, reply)
    assigned = list(
        csv.DictReader(
            io.StringIO(server.send("GET", f"/v1/jobs/{listed['id']}/result", timeout=120).body.decode("utf-8-sig"))
        )
    )
    enrolled = [row for row in assigned if row["variant"]]
    assert len(assigned) == len(rows)
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for row in enrolled:
        groups[own[row["unit"]]][row["variant"]] += 1
        offered = offer_of(row)
        assert offered == (own[row["unit"]] if row["variant"] == "policy" else given(draft, row["variant"])), row
    for offer, counted in groups.items():
        parts = len(draft["variants"])
        assert max(counted.values()) - min(counted.values()) <= parts, f"{offer}: {counted}"

    # Members act: a coupon brings one in five of those it is meant for, and is used by one in ten who come anyway.
    events, expected = [], defaultdict(list)
    for row in enrolled:
        unit, offer = row["unit"], offer_of(row)
        buys = share(f"{unit} buys") < 0.10 + (0.20 if offer and own[unit] == offer else 0.0)
        cost = 0.0
        if buys:
            events.append(order(unit))
            if offer:
                events.append(redeemed(unit, offer))
                cost = FACE[offer]
        expected[row["variant"]].append((MARGIN if buys else 0.0) - cost)
    for begin in range(0, len(events), 400):
        reply = server.send("POST", "/v1/batch", {"batch": events[begin : begin + 400]}, timeout=60)
        assert reply.status == 200, reply.body
        assert not reply.json().get("rejected"), reply.body

    # Its report: every figure is that of the members counted here.
    def told() -> dict[str, Any]:
        reply = server.send("POST", f"/v1/experiments/{TEST}/report/refresh", timeout=120)
        assert reply.status == 200, reply.body
        computed: dict[str, Any] = reply.json()
        return computed

    deadline = time.monotonic() + 120
    while True:
        report = told()
        profit = next((m for m in report.get("metrics", []) if m["name"] == "profit-14d"), None)
        measured = {v["variant"]: v for v in profit["variants"]} if profit else {}
        wanted = {variant: sum(values) / len(values) for variant, values in expected.items()}
        if measured and all(measured[v]["mean"] == pytest.approx(mean, abs=1e-6) for v, mean in wanted.items()):
            break
        assert time.monotonic() < deadline, (measured, wanted)
        time.sleep(1)
    assert {v: measured[v]["n"] for v in wanted} == {v: len(values) for v, values in expected.items()}
    assert report["srm"]["status"] == "ok"
    (policy,) = [c for c in profit["comparisons"] if c["variant"] == "policy"]
    assert policy["effect"]["estimate"] == pytest.approx(wanted["policy"] - wanted["control"], rel=0.2)
    assert policy["effect"]["ci_low"] > 0
    earned = {offer["variant"]: offer for offer in report["economics"]["offers"]}
    assert earned["policy"]["profit"]["estimate"] > 0
    page = server.send("GET", f"/experiments/{TEST}", timeout=120)
    assert page.status == 200
    assert "Each member" in page.body.decode()


def members(server: Server) -> Iterator[dict[str, str]]:
    import sqlite3

    data = next(Path(line.rsplit("data in ", 1)[1].split(";")[0]) for line in server.lines if "data in " in line)
    with sqlite3.connect(f"file:{data / 'equipoise.sqlite'}?mode=ro", uri=True) as connection:
        for unit, attributes in connection.execute("SELECT unit, attributes FROM members"):
            known = json.loads(attributes)
            if known["stage"] in shop.STAGES:
                yield {"unit": unit, "stage": known["stage"]}


def offer_of(row: dict[str, str]) -> str:
    """Return the key of the offer that a row of the assigned list gives."""
    return row.get("offer_key") or row.get("offer") or ""


def given(draft: dict[str, Any], variant: str) -> str:
    (found,) = [v for v in draft["variants"] if v["key"] == variant]
    return found.get("offer") or ""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def order(unit: str) -> dict[str, Any]:
    return {
        "type": "track", "userId": unit, "event": "Order Completed", "messageId": f"o-{unit}", "timestamp": now(),
        "properties": {
            "order_id": f"next-{unit}", "total": 120, "revenue": 120, "currency": "CNY",
            "margin_minor": round(MARGIN * 100),
        },
    }  # fmt: skip


def redeemed(unit: str, offer: str) -> dict[str, Any]:
    return {
        "type": "track", "userId": unit, "event": "Coupon Redeemed", "messageId": f"r-{unit}", "timestamp": now(),
        "properties": {"order_id": f"next-{unit}", "coupon_id": offer},
    }  # fmt: skip
