"""What the tests of the management addresses share: an application on a fresh store, and what is defined in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from api.app import create_app
from experiments.settings import Settings
from experiments.store import Store

PROJECT = """
kind: project
name: Harbour Retail
currency: CNY
time_zone: Asia/Shanghai
attributes: {stage: {type: string}}
---
kind: metric
key: repurchase-14d
name: Repurchase
type: proportion
event: Order Completed
window: {days: 14}
---
kind: experiment
key: winback
name: Win-back
variants: [{key: control}, {key: a}]
control: control
metrics: {primary: [repurchase-14d]}
"""
BODIES: dict[str, dict[str, Any]] = {
    "offers": {"name": "Coupon", "type": "percent_off", "percent_off": "20%"},
    "metrics": {"name": "Visits", "type": "count", "event": "Visit", "window": {"days": 7}},
    "layers": {"name": "Mails"},
    "holdouts": {"share": "5%"},
    "segments": {"rule": {"attribute": "stage", "op": "eq", "value": "dormant"}},
    "stage-rules": {"stages": [{"stage": "dormant", "rule": {"attribute": "stage", "op": "eq", "value": "x"}}]},
    "experiments": {
        "name": "Cart",
        "variants": [{"key": "control"}, {"key": "a"}],
        "control": "control",
        "metrics": {"primary": ["repurchase-14d"]},
    },
}
"""Path of a kind → a definition of it without kind and key."""
CHANGED: dict[str, dict[str, Any]] = {
    "offers": {"percent_off": "30%"},
    "metrics": {"name": "Stops"},
    "layers": {"name": "Messages"},
    "holdouts": {"share": "6%"},
    "segments": {"name": "Asleep"},
    "stage-rules": {"name": "Stages"},
    "experiments": {"owner": "CRM"},
}


@contextmanager
def application(store: Store, folder: Path) -> Iterator[FlaskClient]:
    """A client of an application without a node, with a project, a metric and an experiment defined."""
    app = create_app(settings=Settings(folder / "data", store.url))
    client = app.test_client()
    reply = client.post("/v1/definitions", data=PROJECT, content_type="application/yaml")
    assert reply.status_code == 200, reply.text
    try:
        yield client
    finally:
        app.extensions["equipoise"].store.close()


def problem(reply: Any, status: int) -> dict[str, Any]:
    """Return the document of a refusal, which must be one of ours."""
    assert reply.status_code == status, reply.text
    assert reply.content_type == "application/problem+json"
    document: dict[str, Any] = json.loads(reply.data)
    assert document["status"] == status
    return document


def pages(client: FlaskClient, address: str, limit: int) -> list[dict[str, Any]]:
    """Return every item of a list, read in pages of ``limit``."""
    items: list[dict[str, Any]] = []
    joint, cursor = "&" if "?" in address else "?", ""
    for _ in range(1_000):
        reply = client.get(f"{address}{joint}limit={limit}{cursor}")
        assert reply.status_code == 200, reply.text
        assert len(reply.json["items"]) <= limit
        items += reply.json["items"]
        if reply.json["next_cursor"] is None:
            return items
        cursor = f"&cursor={reply.json['next_cursor']}"
    raise AssertionError("the pages do not end")
