"""A policy that learns, on a running service: decisions over HTTP, delayed rewards, versions, a gate, a kill.

The truth is known: each member converts with a probability that depends on its stage, its spending and the variant, by
a hash of the decision's id. So what the report says can be held against it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from allocation.bandits.policy import Policy, to_bytes
from experiments.definitions.loader import load_text
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.store import Store, open_store
from experiments.store.job_tables import jobs
from experiments.store.log_tables import conflicts, decisions, events
from experiments.store.migrate import upgrade
from experiments.store.policy_tables import policies
from tests.system.serving import Server, run, serving
from tests.system.test_assignment_jobs import worker_of

WINDOW_S = 10.0
VARIANTS = ("control", "five", "twenty", "gift")
COST = {"control": 0.0, "five": 5.0, "twenty": 20.0, "gift": 8.0}
WORTH = 60.0
DEFINITIONS = f"""
kind: project
name: Shop
currency: CNY
time_zone: Asia/Shanghai
attributes:
  stage: {{type: string, kept: request}}
  spend: {{type: number, kept: request}}
---
kind: offer
key: five
name: Five off
type: fixed_coupon
face_value: "5.00"
---
kind: offer
key: twenty
name: Twenty off
type: fixed_coupon
face_value: "20.00"
---
kind: offer
key: gift
name: A gift
type: gift
redemption_cost: "8.00"
---
kind: metric
key: bought
name: Bought
type: proportion
event: Order Completed
window: {{days: {WINDOW_S / 86_400!r}}}
---
kind: experiment
key: selector
name: Which offer for whom
enrolment: rolling
variants:
  - {{key: control}}
  - {{key: five, offer: five}}
  - {{key: twenty, offer: twenty}}
  - {{key: gift, offer: gift}}
metrics: {{primary: [bought]}}
allocation:
  policy: igw
  features:
    - {{attribute: stage}}
    - {{attribute: spend, transform: log}}
  reward: {{worth: "60.00"}}
  control: {{share: "0.1"}}
  update: {{every_hours: 2000, min_rows: 100, min_rows_per_variant: 20}}
  gate: {{ramp: ["1"]}}
made: {{salt: 00c0ffee00c0ffee}}
"""
STAGES = ("new", "active", "loyal", "dormant")
LIKES = {"new": "five", "active": "gift", "loyal": "control", "dormant": "twenty"}
BATCH = 1_000


def chance(stage: str, spend: float, variant: str) -> float:
    """Return the true probability that a member converts."""
    base = -2.2 + 0.35 * math.log1p(spend / 50)
    return 1 / (
        1 + math.exp(-(base + (1.6 if LIKES[stage] == variant else 0.0) + (0.2 if variant != "control" else 0)))
    )


def worth(stage: str, spend: float, variant: str) -> float:
    """Return what showing a variant is truly worth, in yuan."""
    return chance(stage, spend, variant) * (WORTH - COST[variant])


def member(number: int) -> tuple[str, dict[str, Any]]:
    random_of = random.Random(number)
    return f"m-{number}", {"stage": random_of.choice(STAGES), "spend": round(random_of.lognormvariate(4, 1), 2)}


@dataclass
class Shop:
    """Members, campaign system and till in one."""

    server: Server
    told: dict[str, str] = field(default_factory=dict)
    """Decision → variant, as answered."""
    late: list[dict[str, Any]] = field(default_factory=list)
    """Rewards that are reported long after they happened."""
    sold: int = 0

    def send(self, members: Iterator[int], occasion: str, number: int) -> None:
        """Have ``number`` members decided, and report what they buy, some of it late and some of it twice."""
        for _ in range(number // BATCH):
            units = [member(next(members)) for _ in range(BATCH)]
            asked = {
                "experiment": "selector",
                "occasion": occasion,
                "units": [{"unit": unit, "attributes": attributes} for unit, attributes in units],
            }
            reply = self.server.send("POST", "/v1/decide/batch", asked)
            assert reply.status == 200, reply.body[:500]
            document = reply.json()
            assert document["refused"] == 0
            bought = [
                message
                for item, (unit, attributes) in zip(document["items"], units, strict=True)
                if (message := self._outcome(item, unit, attributes)) is not None
            ]
            self.sold += len(bought)
            self.late += bought[::7]
            now = bought[1:] if not bought else [one for index, one in enumerate(bought) if index % 7]
            self._report([*now, *now[:5]])

    def report_late(self) -> None:
        self._report(self.late)
        self.late = []

    def _outcome(self, item: Mapping[str, Any], unit: str, attributes: Mapping[str, Any]) -> dict[str, Any] | None:
        identity = item["decision_id"]
        self.told[identity] = item["variant"]
        place = int(hashlib.sha256(f"truth:{identity}".encode()).hexdigest()[:13], 16) / 2**52
        if place >= chance(attributes["stage"], attributes["spend"], item["variant"]):
            return None
        at = datetime.fromtimestamp(time.time() + WINDOW_S * 0.4 * (place * 997 % 1), UTC)
        return {
            "type": "track",
            "event": "Order Completed",
            "userId": unit,
            "messageId": f"order-{identity}",
            "timestamp": at.isoformat(),
            "properties": {"order_id": f"o-{identity}", "revenue": 80, "currency": "CNY"},
        }

    def _report(self, messages: list[dict[str, Any]]) -> None:
        for start in range(0, len(messages), 400):
            reply = self.server.send("POST", "/v1/batch", {"batch": messages[start : start + 400]})
            assert reply.status == 200, reply.body[:500]
            assert not reply.json().get("rejected")


def versions(store: Store) -> list[sa.Row[Any]]:
    with store.read() as connection:
        return list(connection.execute(sa.select(policies).order_by(policies.c.version)))


def wait_until(true: Any, what: str, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.1)


def loaded(store: Store, number: int) -> bool:
    with store.read() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(decisions)) or 0) >= number


def ask_to_learn(data: Path) -> str:
    """Have a new version made by the service's own worker; return the job's id."""
    done = run("--data", str(data), "policies", "learn", "selector", "--output", "json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["job"])


def job(store: Store, job_id: str) -> Any:
    with store.read() as connection:
        return connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one()


def learned(store: Store, job_id: str) -> dict[str, Any]:
    wait_until(lambda: job(store, job_id).state in {"done", "failed"}, "the update")
    found = job(store, job_id)
    assert found.state == "done", found.error
    result: dict[str, Any] = json.loads(found.result)
    return result


def kill_while_it_learns(server: Server, store: Store, job_id: str) -> None:
    """Kill the worker, and the process that learns for it, while the job is under way."""
    wait_until(lambda: job(store, job_id).state == "running", "the update to begin")
    for pid in worker_of(server):
        os.kill(pid, signal.SIGKILL)
    assert job(store, job_id).state == "running", "it was too quick to be killed in the middle"


def contrary() -> bytes:
    """Return a policy that gives everybody but the dormant the dearest coupon."""
    return to_bytes(Policy(variants=VARIANTS, kind="table", rule="greedy", table=np.array([[0.0, 0.0, 1.0, 0.0]])))


@pytest.mark.slow
def test_it_learns_is_gated_survives_a_kill_and_reports_the_truth(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'equipoise.sqlite'}"
    store = open_store(url)
    upgrade(store)
    Repository(store).apply(load_text(DEFINITIONS), "test")
    for state in ("review", "running"):
        transition(store, "selector", state, "test")
    members = itertools.count()
    with serving(tmp_path, arguments=["--workers", "2"]) as server:
        server.wait_ready("selector")
        shop = Shop(server)
        for number in range(5):
            shop.send(members, f"wave-{number}", 10_000)
            time.sleep(WINDOW_S * 1.2)
            wait_until(lambda: loaded(store, len(shop.told)), "the decisions to be loaded")
            if number == 3:
                (tmp_path / "contrary.npz").write_bytes(contrary())
                brought = run("--data", str(tmp_path), "policies", "import", "selector", str(tmp_path / "contrary.npz"))
                assert brought.returncode == 0, brought.stderr
            asked = ask_to_learn(tmp_path)
            if number == 2:
                kill_while_it_learns(server, store, asked)
            told = learned(store, asked)
            assert told["outcomes"] <= shop.sold
            shop.report_late()
            wait_until(lambda: published(server, store), "the newest version to draw")
        assert server.stop() == 0
        everything = "".join([*server.lines, *server.errors])
    assert not re.search(r"\bm-\d+", everything)
    check_versions(store)
    rows = logged(store)
    check_log(rows, shop)
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(conflicts)) == 0
        assert connection.scalar(sa.select(sa.func.count()).select_from(events)) == shop.sold
    store.close()
    time.sleep(WINDOW_S)
    reported = run("--data", str(tmp_path), "report", "selector", "--output", "json", timeout=120)
    assert reported.returncode == 0, reported.stderr
    check_report(json.loads(reported.stdout), rows, shop)


def published(server: Server, store: Store) -> bool:
    """Whether the service draws with the version that was let through last."""
    through = [row.version for row in versions(store) if row.state == "live"]
    if not through:
        return True
    unit, attributes = member(random.randrange(10**9, 10**10))
    body = {"unit": unit, "attributes": attributes}
    reply = server.send("POST", "/v1/experiments/selector/explain", body)
    assert reply.status == 200, reply.body
    return f'"version":{max(through)}' in reply.body.decode().replace(" ", "")


def check_versions(store: Store) -> None:
    found = versions(store)
    assert [row.version for row in found] == list(range(1, len(found) + 1))
    assert len(found) >= 5
    (brought,) = [row for row in found if "file" in json.loads(row.about) or row.rows == 0]
    assert (brought.version, brought.state) == (4, "blocked")
    assert json.loads(brought.gate)["reasons"] == ["harm"]
    assert sum(row.state == "live" for row in found) == 1


def logged(store: Store) -> list[sa.Row[Any]]:
    with store.read() as connection:
        # Without those of whoever asked whether the service is ready.
        query = sa.select(decisions).where(decisions.c.occasion != "").order_by(decisions.c.decision_id)
        return list(connection.execute(query))


def check_log(rows: list[sa.Row[Any]], shop: Shop) -> None:
    """Every answer is in the log, with the probabilities that it was drawn from."""
    assert {row.decision_id: row.variant for row in rows} == shop.told
    assert len(rows) == 50_000
    used = set()
    expected: Counter[str] = Counter()
    variance: Counter[str] = Counter()
    drawn: Counter[str] = Counter()
    for row in rows:
        policy = json.loads(row.policy)
        p = dict(zip(policy["eligible"], policy["p"], strict=True))
        assert abs(sum(p.values()) - 1) < 1e-9
        assert row.propensity == p[row.variant] > 0
        used.add(policy["version"])
        drawn[row.variant] += 1
        for key, probability in p.items():
            expected[key] += probability
            variance[key] += probability * (1 - probability)
    assert len(used) >= 4
    for key in VARIANTS:  # |z| < 4.5: a false alarm once in 37,000 runs for each of four
        assert abs(drawn[key] - expected[key]) < 4.5 * math.sqrt(variance[key])


def check_report(report: dict[str, Any], rows: list[sa.Row[Any]], shop: Shop) -> None:
    """The gain and what each offer earns agree with the simulator's truth, within four standard errors."""
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    arms: Counter[str] = Counter()
    for row in rows:
        about, policy = json.loads(row.frozen), json.loads(row.policy)
        earns = {key: worth(about["stage"], about["spend"], key) for key in VARIANTS}
        p = dict(zip(policy["eligible"], policy["p"], strict=True))
        sums[policy["group"]] += sum(p[key] * earns[key] for key in p)
        counts[policy["group"]] += 1
        arms.update(earns)
    truth = sums["policy"] / counts["policy"] - sums["uniform"] / counts["uniform"]
    gain = report["bandit"]["gain"]
    assert 0 <= gain["policy_decisions"] + gain["control_decisions"] - len(rows) <= 3, (
        "or somebody asked if it is ready"
    )
    assert abs(gain["gain"]["estimate"] - truth) < 4 * gain["gain"]["std_error"]
    assert gain["gain"]["ci_low"] > 0, "it earns more than an even split, and 50,000 decisions show it"
    for arm in report["bandit"]["arms"]:
        value = arm["value"]
        assert abs(value["estimate"] - arms[arm["variant"]] / len(rows)) < 4 * value["std_error"]
