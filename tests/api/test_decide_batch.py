"""`/v1/decide/batch`: every member for itself, all rows in one commit, the same answers as one by one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from allocation.plan import PhasePlan
from api.asgi import Front
from tests.api.edge import ask, in_front, logged, plan, publish

BATCH = "/v1/decide/batch"
LINES = {"Content-Type": "application/x-ndjson"}


def test_a_batch_answers_what_single_questions_answer(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        for experiment in ("winback", "oslo", "held", "tested", "ended", "plain"):
            units = ["m-tester", *(f"m-{n}" for n in range(20)), "é梅"]
            sent = [{"unit": unit, "attributes": {"city": "Oslo"}} for unit in units]
            batch = (await ask(front, "POST", BATCH, {"experiment": experiment, "units": sent})).json()
            assert batch["refused"] == 0
            assert [item["unit"] for item in batch["items"]] == units
            for unit, item in zip(units, batch["items"], strict=True):
                asked = {"experiment": experiment, "unit": unit, "attributes": {"city": "Oslo"}}
                single = (await ask(front, "POST", "/v1/decide", asked)).json()
                assert {name: value for name, value in item.items() if name != "unit"} == single

    in_front(check, tmp_path)


def test_all_rows_go_in_one_commit_and_repeats_are_not_written(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        commits: list[int] = []
        spool = front.node._spool
        assert spool is not None
        real = spool.append_async

        def counting(rows: Sequence[Any]) -> asyncio.Future[None]:
            commits.append(len(rows))
            return real(rows)

        spool.append_async = counting  # type: ignore[method-assign,assignment]
        body = {"experiment": "winback", "units": [f"m-{n}" for n in range(1_500)] + ["m-1"], "occasion": "s-1"}
        first = await ask(front, "POST", BATCH, body)
        assert len({item["decision_id"] for item in first.json()["items"]}) == 1_500
        again = await ask(front, "POST", BATCH, body)
        assert again.json() == first.json()
        assert commits == [1_500]
        rows = logged(tmp_path)
        assert len(rows) == 1_500
        assert {(row["occasion"], row.get("source", "decide")) for row in rows} == {("s-1", "decide")}

    in_front(check, tmp_path)


def test_one_bad_member_never_fails_the_rest(tmp_path: Path) -> None:
    units: list[Any] = [
        "m-1",
        7,
        {"unit": "m-2", "atributes": {}},
        {"attributes": {}},
        {"unit": ""},
        {"unit": "li.lei@example.com"},
        {"unit": "m-3", "occasion": "no spaces"},
        {"unit": "m-4", "experiment": "nope"},
        {"unit": "m-5", "attributes": {"city": {"deep": 1}}},
        {"unit": "m-6", "experiment": "oslo", "attributes": {"city": "Oslo"}},
        {"unit": "h-1", "experiment": "homes"},
        "m-7",
    ]

    async def check(front: Front) -> None:
        got = await ask(front, "POST", BATCH, {"experiment": "winback", "units": units, "unit_type": "member"})
        assert got.status == 200
        items = got.json()["items"]
        codes = [item["error"]["code"] if "error" in item else item["reason"] for item in items]
        assert codes == [
            "assigned", "wrong_type", "unknown_field", "missing", "bad_unit", "personal_id", "bad_occasion",
            "unknown_experiment", "wrong_type", "assigned", "other_unit_type", "assigned",
        ]  # fmt: skip
        assert [item["index"] for item in items if "error" in item] == [1, 2, 3, 4, 5, 6, 7, 8, 10]
        assert got.json()["refused"] == 9
        assert items[2]["error"]["pointer"] == "/atributes"
        assert "did you mean" in items[2]["error"]["message"]
        assert b"li.lei" not in got.body
        assert [row["unit"] for row in logged(tmp_path)] == ["m-1", "m-6", "m-7"]

    in_front(check, tmp_path)


def test_lines_in_lines_out(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        lines = b'"m-1"\n{"unit":"m-2","occasion":"x"}\r\n\nnonsense\n{"unit":"m-3","experiment":"plain"}'
        got = await ask(front, "POST", BATCH, lines, LINES, query="experiment=winback&occasion=s-2")
        assert got.headers["content-type"] == "application/x-ndjson"
        items = [json.loads(line) for line in got.body.splitlines()]
        assert [item.get("occasion") for item in items] == ["s-2", "x", None, "s-2"]
        assert items[2] == {"index": 2, "error": {**items[2]["error"], "code": "malformed_json"}}
        assert items[3]["experiment"] == "plain"
        document = await ask(front, "POST", BATCH, lines, {**LINES, "Accept": "application/json"}, query="experiment=x")
        assert document.status == 404
        document = await ask(
            front, "POST", BATCH, lines, {**LINES, "Accept": "application/json"}, query="experiment=winback"
        )
        assert document.json()["refused"] == 1
        asked = {"experiment": "winback", "units": ["m-1"]}
        as_lines = await ask(front, "POST", BATCH, asked, {"Accept": "application/x-ndjson"})
        assert len(as_lines.body.splitlines()) == 1

    in_front(check, tmp_path)


@pytest.mark.parametrize(
    ("body", "query", "status", "words"),
    [
        (b"", "", 400, "empty"),
        (b"[]", "", 422, "batch"),
        ({"units": ["m-1"]}, "", 422, ""),
        ({"experiment": "winback", "units": ["m-1"], "ocasion": "x"}, "", 422, "batch"),
        ({"experiment": "winback", "units": "m-1"}, "", 422, "batch"),
        ({"experiment": "winback", "units": ["m-1"], "occasion": "a b"}, "", 422, ""),
        ({"experiment": "winback", "units": ["m-1"], "send_at": "soon"}, "", 422, ""),
        ({"experiment": "winbakc", "units": ["m-1"]}, "", 404, "winback"),
        ({"experiment": "winback", "units": ["m"] * 10_001}, "", 413, "10,000"),
        (b'{"experiment":"winback","units":["\\ud800"]}', "", 400, "surrogate"),
        (b"[" * 100_000, "", 422, "batch"),
    ],
)
def test_what_is_no_batch_is_told_so(tmp_path: Path, body: object, query: str, status: int, words: str) -> None:
    async def check(front: Front) -> None:
        got = await ask(front, "POST", BATCH, body, query=query)
        assert got.status == status, got.body
        assert got.headers["content-type"] == "application/problem+json"
        assert words in json.dumps(got.json(), ensure_ascii=False)
        assert logged(tmp_path) == []

    in_front(check, tmp_path)


def test_a_log_that_cannot_take_it_keeps_nothing(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        assert front.node._spool is not None
        front.node._spool.close()
        got = await ask(front, "POST", BATCH, {"experiment": "winback", "units": ["m-1", "m-2"]})
        assert (got.status, got.headers["retry-after"]) == (503, "1")
        assert len(front.node.deciding.answered.recent) == 0

    in_front(check, tmp_path)


def test_others_are_served_while_a_large_batch_is_decided(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        units = [{"unit": f"m-{n}", "attributes": {"city": "Oslo"}} for n in range(10_000)]
        batch = asyncio.create_task(ask(front, "POST", BATCH, {"experiment": "oslo", "units": units}))
        await asyncio.sleep(0)
        single = await ask(front, "POST", "/v1/decide", {"experiment": "winback", "unit": "m-1"})
        assert single.status == 200
        assert not batch.done()
        assert (await batch).json()["refused"] == 0

    in_front(check, tmp_path)


def test_advice_on_unknown_experiments_has_an_end(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        publish(front.node.settings, "0002", tuple(plan(f"winback-{n}-spring") for n in range(200)))
        front.node._load()
        units = [{"unit": f"m-{n}", "experiment": f"winbak-{n}-sprung"} for n in range(5_000)]
        began = time.perf_counter()
        answer = (await ask(front, "POST", BATCH, {"units": units})).json()
        assert time.perf_counter() - began < 2  # looking for what each may have meant took a minute, 10 s at a stretch
        assert (answer["refused"], answer["items"][0]["error"]["code"]) == (5_000, "unknown_experiment")
        assert "did you mean" in answer["items"][0]["error"]["message"]

    in_front(check, tmp_path)


def test_a_batch_is_decided_by_the_snapshot_it_met(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        units = [f"m-{n}" for n in range(4_000)]
        batch = asyncio.create_task(ask(front, "POST", BATCH, {"experiment": "winback", "units": units}))
        await asyncio.sleep(0)
        publish(front.node.settings, "0002", (plan("winback", phases=(PhasePlan(1, "ffffffffffffffff", (0, 1)),)),))
        front.node._load()
        assert {item["snapshot"] for item in (await batch).json()["items"]} == {"0001"}
        later = await ask(front, "POST", BATCH, {"experiment": "winback", "units": ["m-1", "new"]})
        assert [item["snapshot"] for item in later.json()["items"]] == ["0001", "0002"]

    in_front(check, tmp_path)
