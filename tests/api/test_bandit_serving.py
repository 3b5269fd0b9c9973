"""A policy at every door: the same draw alone, in a batch and by OFREP, logged with how; versions swap under load."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.policy import Policy, sha256_of, to_bytes
from allocation.plan import BanditPlan, ExperimentPlan, PolicyPlan
from api.asgi import Front
from experiments.publishing import policy_files
from tests.api.edge import CITY, COUPON, PLANS, ask, in_front, logged, plan, publish

ENCODER = Encoder((FeatureCode("city", "categorical", levels=("Oslo",)), FeatureCode("age", "numeric", centre=40.0)))


def policy(best: int) -> bytes:
    coef = np.zeros((2, len(ENCODER.columns)))
    coef[best, 0] = 0.05
    return to_bytes(
        Policy(
            variants=("control", "a"), kind="contextual", rule="igw", encoder=ENCODER, coef=coef, effective_rows=100.0
        )
    )


def learned(front: Front, version: str, number: int, best: int, *, whole: bool = True) -> None:
    """Publish an experiment that draws by a version, and the version's file."""
    body = policy(best)
    folder = front.node.settings.snapshot_dir
    policy_files.path_of(folder, sha256_of(body)).write_bytes(body if whole else body[:-7])
    bandit = BanditPlan(policies=(PolicyPlan(number, sha256_of(body)),), control_share="0.1", features=tuple(CITY))
    drawing: ExperimentPlan = plan(
        "offers", attributes=CITY, frozen=tuple(CITY), allocation="bandit", bandit=bandit, requires=("bandit",)
    )
    publish(front.node.settings, version, (*PLANS, drawing))


async def taken_over(front: Front, version: str) -> None:
    async with asyncio.timeout(20):
        while front.node.compiled is None or front.node.compiled.version != version:  # noqa: ASYNC110 - another thread looks
            await asyncio.sleep(0.02)


async def alone(front: Front, unit: str, occasion: str = "") -> Any:
    body = {"experiment": "offers", "unit": unit, "attributes": {"city": "Oslo", "age": 33}, "occasion": occasion}
    answer = await ask(front, "POST", "/v1/decide", body)
    assert answer.status == 200, answer.body
    return answer.json()


def test_every_door_draws_the_same_and_logs_how(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        learned(front, "0002", 4, 1)
        await taken_over(front, "0002")
        for index in range(30):
            unit = f"m-{index}"
            context = {"context": {"targetingKey": unit, "city": "Oslo", "age": 33}}
            bulk = (await ask(front, "POST", "/ofrep/v1/evaluate/flags", context)).json()
            flag = (await ask(front, "POST", "/ofrep/v1/evaluate/flags/offers", context)).json()
            batch = (
                await ask(
                    front,
                    "POST",
                    "/v1/decide/batch",
                    {"experiment": "offers", "units": [{"unit": unit, "attributes": {"city": "Oslo", "age": 33}}]},
                )
            ).json()
            decided = await alone(front, unit)
            assert flag in bulk["flags"]
            assert flag["variant"] == decided["variant"] == batch["items"][0]["variant"]
            assert flag["value"] == (COUPON if decided["variant"] == "a" else {})
            assert flag["metadata"]["decisionId"] == decided["decision_id"]
        rows = [row for row in logged(tmp_path) if row["experiment"] == "offers"]
        assert len(rows) == 30, "one decision each, whichever door asked first"
        for row in rows:
            how = json.loads(row["policy"])
            assert row["propensity"] == how["p"][how["eligible"].index(row["variant"])]
            if how["group"] == "policy":
                assert (how["version"], how["x"]) == (4, [2, -6.0])

    in_front(check, tmp_path)


def test_versions_swap_while_decisions_are_asked_for(tmp_path: Path) -> None:
    """Nobody waits, nobody gets an error, and a version that cannot be read leaves the one before in use."""

    async def check(front: Front) -> None:
        learned(front, "0002", 1, 0)
        await taken_over(front, "0002")
        seen: list[Any] = []
        swapped = asyncio.Event()

        async def asks() -> None:
            while not swapped.is_set():
                seen.append(await alone(front, f"m-{len(seen)}", "cart"))

        asking = asyncio.create_task(asks())
        learned(front, "0003", 2, 1)
        await taken_over(front, "0003")
        learned(front, "0004", 3, 0, whole=False)  # the file of version 1 is overwritten as well: it has the same bytes
        await asyncio.sleep(1.5)
        assert front.node.compiled is not None
        assert front.node.compiled.version == "0003"
        swapped.set()
        await asking
        drew = {json.loads(row["policy"])["version"] for row in logged(tmp_path) if row["policy"]}
        assert drew == {0, 1, 2}
        assert len(seen) == len([row for row in logged(tmp_path) if row["experiment"] == "offers"])

    in_front(check, tmp_path)
