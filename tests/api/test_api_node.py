"""The running node in process: durable answers, replay, the log's failures, what it remembers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from allocation.plan import AttributePlan, ExperimentPlan, PhasePlan, ProjectPlan, Snapshot, VariantPlan
from api.asgi import MAX_WAITING, Front, create_asgi
from experiments.log.spool_file import SpoolError
from experiments.publishing import members, snapshot_file
from experiments.settings import Settings

PLAN = ExperimentPlan(
    key="winback",
    revision=1,
    state="running",
    variants=(VariantPlan("control"), VariantPlan("a", {"key": "coupon-20"})),
    phases=(PhasePlan(1, "00c0ffee00c0ffee", (1, 1)),),
    audience={"attribute": "stage", "op": "eq", "value": "dormant"},
    attributes={"stage": AttributePlan("string")},
    sticky=True,
)


def publish(settings: Settings, version: str, project: ProjectPlan | None = None, **changes: Any) -> None:
    plan = ExperimentPlan(**{name: changes.get(name, getattr(PLAN, name)) for name in PLAN.__struct_fields__})
    snapshot_file.write(settings.snapshot_dir, Snapshot(version, 0, {"winback": plan}, project=project))


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Front]:
    """A node whose database is a folder, which nobody can open: what decides does not need it."""
    settings = Settings(folder, f"sqlite:///{folder / 'not-a-database'}")
    (folder / "not-a-database").mkdir()
    publish(settings, "0001")
    members.write(
        settings.snapshot_dir, 10**18, [("member", f"m-{n}", '{"stage":"dormant"}', 0) for n in range(50)], []
    )
    front = create_asgi(settings)
    await front.node.start()
    try:
        yield front
    finally:
        await front.node.drain()


async def post(front: Front, path: str, document: object) -> tuple[int, dict[bytes, bytes], Any]:
    body = json.dumps(document).encode()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    await front(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])


def in_node(test: Callable[[Front], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        async with running(folder) as front:
            await test(front)

    asyncio.run(main())


def spooled(folder: Path) -> int:
    total = 0
    for path in (folder / "spool").glob("*.spool"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            table = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()[0]
            total += connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return total


def test_deciding_works_without_a_database_and_says_so(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        status, _, answer = await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-1"})
        assert (status, answer["enrolled"]) == (200, True)
        for _ in range(100):
            if front.node.stale:
                break
            await asyncio.sleep(0.1)
        _, _, answer = await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-1"})
        assert answer["stale"] is True
        assert front.node.readiness()[1]["database"] == "degraded"
        assert spooled(tmp_path) == 1

    in_node(check, tmp_path)


def test_a_repeat_is_replayed_and_written_once(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        asked = {"experiment": "winback", "unit": "m-2"}
        answers = await asyncio.gather(*(post(front, "/v1/decide", asked) for _ in range(20)))
        assert len({json.dumps(answer) for _, _, answer in answers}) == 1
        # A snapshot with another split under the same phase must not change what was answered.
        publish(front.node.settings, "0002", phases=(PhasePlan(1, "ffffffffffffffff", (0, 1)),))
        await asyncio.sleep(1.5)
        assert front.node.compiled is not None
        assert front.node.compiled.version == "0002"
        _, _, later = await post(front, "/v1/decide", asked)
        # The database has been away for long enough by now, or not: that is said of the node, not of the unit.
        assert {**later, "stale": None} == {**answers[0][2], "stale": None}
        assert spooled(tmp_path) == 1

    in_node(check, tmp_path)


def test_an_enrolled_member_keeps_its_variant_when_the_audience_stops_matching(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        _, _, first = await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-3"})
        folder = front.node.settings.snapshot_dir
        members.write(folder, 10**18 + 1, [("member", "m-3", '{"stage":"active"}', 0)], [])
        await asyncio.sleep(1.5)
        _, _, later = await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-3", "occasion": "send-2"})
        assert (later["variant"], later["reason"]) == (first["variant"], "kept")

    in_node(check, tmp_path)


@pytest.mark.parametrize("unit", ["li.lei@example.com", "13800138000"])
def test_a_personal_id_is_refused_unless_the_project_takes_it(tmp_path: Path, unit: str) -> None:
    event = {"name": "Visit", "event_id": "e-1", "unit": unit, "at": "2026-03-03T08:00:00Z", "value": 1}

    async def check(front: Front) -> None:
        for path in ("/v1/decide", "/v1/events"):
            asked = {"experiment": "winback", "unit": unit} if path == "/v1/decide" else {"events": [event]}
            status, _, answer = await post(front, path, asked)
            assert unit not in json.dumps(answer)
            if path == "/v1/decide":
                assert (status, answer["errors"][0]["pointer"], answer["errors"][0]["code"]) == (
                    422, "/unit", "personal_id",
                )  # fmt: skip
            else:
                assert (status, answer["accepted"], answer["rejected"][0]["reason"]) == (200, 0, "personal_id")
        publish(front.node.settings, "0002", project=ProjectPlan("CNY", allow_personal_ids=True))
        await asyncio.sleep(1.5)
        assert (await post(front, "/v1/decide", {"experiment": "winback", "unit": unit}))[0] == 200
        assert (await post(front, "/v1/events", {"events": [event]}))[2]["accepted"] == 1

    in_node(check, tmp_path)


def test_an_opt_out_is_honoured(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        publish(front.node.settings, "0002", audience=None, attributes={}, sticky=False)
        members.write(front.node.settings.snapshot_dir, 10**18 + 1, [("member", "m-4", "{}", 1)], [])
        await asyncio.sleep(1.5)
        _, _, answer = await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-4"})
        assert (answer["variant"], answer["reason"]) == (None, "opted_out")
        _, _, answer = await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-5"})
        assert answer["enrolled"] is True

    in_node(check, tmp_path)


def test_a_node_counts_its_own_enrolments_while_no_member_state_is_published(tmp_path: Path) -> None:
    """Everybody of the first split is in control; the second, which keeps, would put everybody into a."""
    first, second = PhasePlan(1, "00c0ffee00c0ffee", (1, 0)), PhasePlan(2, "00c0ffee00c0ffee", (0, 1), opened="keep")

    async def main() -> None:
        settings = Settings(tmp_path, f"sqlite:///{tmp_path}")
        open_to_all: dict[str, Any] = {"audience": None, "attributes": {}}
        publish(settings, "0001", **open_to_all, phases=(first,))
        front = create_asgi(settings)
        await front.node.start()
        asked = {"experiment": "winback", "unit": "m-1"}
        _, _, answer = await post(front, "/v1/decide", asked)
        assert (answer["variant"], answer["reason"], answer["state_unknown"]) == ("control", "assigned", True)
        publish(settings, "0002", **open_to_all, phases=(first, second))
        await asyncio.sleep(1.5)
        _, _, answer = await post(front, "/v1/decide", {**asked, "occasion": "later"})
        assert (answer["variant"], answer["reason"], answer["phase"]) == ("control", "kept", 1)
        _, _, answer = await post(front, "/v1/decide", {**asked, "unit": "m-2"})
        assert (answer["variant"], answer["reason"], answer["phase"]) == ("a", "assigned", 2)
        await front.node.drain()

    asyncio.run(main())


def test_a_log_that_cannot_be_written_is_503_at_once(tmp_path: Path) -> None:
    event = {"name": "Visit", "event_id": "e-1", "unit": "m-1", "at": "2026-03-03T08:00:00Z"}

    async def check(front: Front) -> None:
        assert front.node._spool is not None
        front.node._spool.close()
        for path, body in (
            ("/v1/decide", {"experiment": "winback", "unit": "m-6", "on_failure": "error"}),
            ("/v1/events", {"events": [event]}),
        ):
            status, headers, answer = await post(front, path, body)
            assert status == 503
            assert headers[b"retry-after"] == b"1"
            assert headers[b"content-type"] == b"application/problem+json"
            assert answer["detail"] == "the service is stopping"
        # What was not acknowledged is not remembered either.
        assert len(front.node.deciding.answered.recent) == 0

    in_node(check, tmp_path)


def test_an_answer_that_did_not_reach_the_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        spool = front.node._spool
        assert spool is not None
        await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-8"})

        def fails(rows: object) -> asyncio.Future[None]:
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(SpoolError("the disk is full"))
            return failed

        spool.append_async = fails  # type: ignore[method-assign]
        status, _, _ = await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-9", "on_failure": "error"})
        assert status == 503
        await asyncio.sleep(0)
        assert front.node.deciding.member_state("member", "m-9").enrolments == {}
        assert len(front.node.deciding.answered.recent) == 1
        # Another occasion of a member whose first answer was kept: that enrolment stays.
        body = {"experiment": "winback", "unit": "m-8", "occasion": "send-2", "on_failure": "error"}
        assert (await post(front, "/v1/decide", body))[0] == 503
        await asyncio.sleep(0)
        assert front.node.deciding.member_state("member", "m-8").enrolments.keys() == {"winback"}
        del spool.append_async

    in_node(check, tmp_path)


def test_a_damaged_snapshot_leaves_the_last_good_one_in_use(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        (front.node.settings.snapshot_dir / "snapshot-0002.json").write_bytes(b"equipoise-snapshot 1 00\n{}")
        await asyncio.sleep(1.5)
        status, _, answer = await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-7"})
        assert (status, answer["snapshot"]) == (200, "0001")

    in_node(check, tmp_path)


def test_whatever_goes_wrong_with_a_file_the_next_one_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(front: Front) -> None:
        with monkeypatch.context() as changed:
            changed.setattr(snapshot_file, "compile_snapshot", lambda _: [][0])
            publish(front.node.settings, "0002")
            await asyncio.sleep(1.5)
        publish(front.node.settings, "0003")
        await asyncio.sleep(1.5)
        assert front.node.compiled is not None
        assert front.node.compiled.version == "0003"

    in_node(check, tmp_path)


def test_callers_who_never_take_a_page_hold_up_nobody(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        scope = {
            "type": "http", "method": "GET", "path": "/v1/openapi.json", "query_string": b"", "headers": [],
            "scheme": "http", "http_version": "1.1", "server": ("localhost", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def never(_: Any) -> None:
            await asyncio.sleep(60)

        stuck = [asyncio.create_task(front(dict(scope), receive, never)) for _ in range(MAX_WAITING)]
        statuses: list[int] = []

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        async with asyncio.timeout(20):
            while statuses[:1] != [200]:
                await asyncio.sleep(0.2)
                statuses.clear()
                await front(dict(scope), receive, send)
        for task in stuck:
            task.cancel()

    in_node(check, tmp_path)


def test_nothing_published_is_503(tmp_path: Path) -> None:
    async def main() -> None:
        front = create_asgi(Settings(tmp_path, f"sqlite:///{tmp_path}"))
        await front.node.start()
        status, headers, answer = await post(
            front, "/v1/decide", {"experiment": "winback", "unit": "m-1", "on_failure": "error"}
        )
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert "published" in answer["detail"]
        assert front.node.readiness()[0] is False
        await front.node.drain()

    asyncio.run(main())


def test_quarantine_is_not_refusal(tmp_path: Path) -> None:
    """An event from the future is acknowledged: the loader keeps it until its time."""

    async def check(front: Front) -> None:
        event = {"name": "Visit", "event_id": "e-9", "unit": "m-1", "at": "2999-01-01T00:00:00Z"}
        status, _, answer = await post(front, "/v1/events", {"events": [event]})
        assert (status, answer) == (200, {"accepted": 1, "rejected": [], "duplicates": 0})

    in_node(check, tmp_path)


def test_the_collector_does_not_follow_what_is_remembered(tmp_path: Path) -> None:
    """It would look at each of 150,000 objects while every answer waits."""

    async def check(front: Front) -> None:
        await post(front, "/v1/decide", {"experiment": "winback", "unit": "m-1"})
        (decision,) = front.node.deciding.answered.recent._items.values()
        (enrolments,) = front.node.deciding.answered._enrolments._items.values()
        assert enrolments["winback"].variant == decision.variant
        assert not gc.is_tracked(decision)
        assert not gc.is_tracked(enrolments)
        assert front.node.deciding.answered.committing == {}

    in_node(check, tmp_path)


def test_a_body_in_pieces_is_read_whole(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        body = json.dumps({"experiment": "winback", "unit": "m-1"}).encode()
        for sizes in ([len(body)], [0, len(body)], [5, 5, len(body)], [1] * len(body)):
            pieces, at = [], 0
            for size in sizes:
                pieces.append(body[at : at + size])
                at += size
            assert await _asked_in(front, pieces) == 200
        assert await _asked_in(front, [b"x" * 40_000, b"x" * 40_000]) == 413

    in_node(check, tmp_path)


async def _asked_in(front: Front, pieces: list[bytes]) -> int:
    left, sent = list(pieces), []

    async def receive() -> dict[str, Any]:
        if len(left) % 2:  # some are there at once, some have to be waited for
            await asyncio.sleep(0)
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    await front(
        {"type": "http", "method": "POST", "path": "/v1/decide", "query_string": b"", "headers": []}, receive, send
    )
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize("limit", [1, 3])
def test_what_is_remembered_is_bounded(limit: int) -> None:
    from api.node.recent import Bounded

    seen: Bounded[int, int] = Bounded(limit)
    for number in range(10):
        seen.put(number, number)
    assert len(seen) == limit
    assert seen.get(9) == 9
    assert seen.get(0) is None
