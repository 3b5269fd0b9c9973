"""A front in process, and requests to it: what the tests of the serving edge share."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocation.plan import AttributePlan, ExperimentPlan, HoldoutPlan, PhasePlan, ProjectPlan, Snapshot, VariantPlan
from api.asgi import Front, create_asgi
from experiments.log.spool_file import LoadableSpoolFile, spool_paths
from experiments.publishing import members, snapshot_file
from experiments.settings import Settings

SALT = "00c0ffee00c0ffee"
COUPON = {"key": "coupon-20", "title": {"en": "20 off"}}


def plan(key: str, **changes: Any) -> ExperimentPlan:
    """Return a running experiment of two equal variants, whose control gives nothing."""
    given: dict[str, Any] = {
        "revision": 1,
        "state": "running",
        "variants": (VariantPlan("control"), VariantPlan("a", COUPON)),
        "phases": (PhasePlan(1, SALT, (1, 1)),),
        **changes,
    }
    return ExperimentPlan(key, **given)


CITY = {"city": AttributePlan("string", "request"), "age": AttributePlan("number", "request")}
PLANS = (
    plan("winback"),
    plan("oslo", audience={"attribute": "city", "op": "eq", "value": "Oslo"}, attributes=CITY),
    plan("adults", audience={"attribute": "age", "op": "gte", "value": 18}, attributes=CITY),
    plan("held", holdouts=(HoldoutPlan("everybody", SALT, "1"),)),
    plan("tested", state="testing", overrides={"m-tester": "a"}),
    plan("ended", state="ended"),
    plan("homes", unit_type="household"),
    plan("plain", variants=(VariantPlan("plain", {"key": "card"}), VariantPlan("b", COUPON)), control="plain",
         phases=(PhasePlan(1, SALT, (1, 1), traffic="0"),)),
)  # fmt: skip


def publish(settings: Settings, version: str = "0001", plans: tuple[ExperimentPlan, ...] = PLANS) -> None:
    snapshot_file.write(
        settings.snapshot_dir, Snapshot(version, 0, {p.key: p for p in plans}, project=ProjectPlan("CNY"))
    )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    front: Front,
    method: str,
    path: str,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    query: str = "",
) -> Answer:
    """Ask the front; anything but bytes goes as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": given,
    }
    await front(scope, receive, send)
    pairs = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], pairs, b"".join(part.get("body", b"") for part in sent[1:]))


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[Front]:
    """A node whose database is a folder, which nobody can open: what decides does not need it."""
    (folder / "not-a-database").mkdir()
    chosen = Settings(folder, f"sqlite:///{folder / 'not-a-database'}", **settings)
    publish(chosen)
    members.write(chosen.snapshot_dir, 10**18, [], [])
    front = create_asgi(chosen)
    await front.node.start()
    # Answers say that the database is away; from the start, so that all of a test say it.
    async with asyncio.timeout(20):
        while not front.node.upkeep.database_state.away():  # noqa: ASYNC110 - another thread finds out
            await asyncio.sleep(0.02)
    front.node.stale = True
    try:
        yield front
    finally:
        await front.node.drain()


def in_front(test: Callable[[Front], Awaitable[None]], folder: Path, **settings: Any) -> None:
    async def main() -> None:
        async with running(folder, **settings) as front:
            await test(front)

    asyncio.run(main())


def logged(folder: Path) -> list[dict[str, Any]]:
    """Return the decisions in the spools, in their order."""
    rows = []
    for path in spool_paths(folder / "spool"):
        spool = LoadableSpoolFile(path)
        rows += [json.loads(data) for _, kind, data in spool.read(100_000) if kind == "d"]
        spool.close()
    return rows
