"""OFREP in process: every field always there, its own error shapes, what is logged, ETags."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from allocation.plan import PhasePlan, SecurityPlan, Snapshot
from api.asgi import Front, create_asgi
from api.hot import ofrep_bulk, ofrep_stream
from api.hot.ofrep import evaluate, hashed
from experiments.publishing import snapshot_file
from experiments.settings import Settings
from tests.api import ofrep_shapes
from tests.api.edge import COUPON, Answer, ask, in_front, logged, plan, publish

FLAGS = "/ofrep/v1/evaluate/flags"


async def flag(front: Front, key: str, **context: Any) -> Any:
    answer = await ask(front, "POST", f"{FLAGS}/{key}", {"context": {"targetingKey": "m-1", **context}})
    assert answer.status == 200, answer.body
    ofrep_shapes.check(ofrep_shapes.SUCCESS, answer.json())
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def failure(answer: Answer, status: int, code: str) -> Any:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    ofrep_shapes.check(ofrep_shapes.FAILURE, document)
    assert document["errorCode"] == code
    return document


def test_an_enrolled_unit_gets_variant_offer_and_decision(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        seen = {}
        for n in range(10):
            answer = await flag(front, "winback", targetingKey=f"m-{n}")
            decided = (await ask(front, "POST", "/v1/decide", {"experiment": "winback", "unit": f"m-{n}"})).json()
            seen[answer["variant"]] = answer["value"]
            metadata = answer["metadata"]
            assert (answer["key"], answer["reason"]) == ("winback", "SPLIT")
            assert metadata["decisionId"] == metadata["assignmentId"] == decided["decision_id"]
            assert (metadata["version"], metadata["experiment"], metadata["phase"]) == ("0001", "winback", 1)
            assert (metadata["enrolled"], metadata["fallback"], metadata["reason"]) == (True, False, "assigned")
            assert (metadata["contextId"], metadata["flagSetId"]) == (hashed("member", f"m-{n}"), "member")
            assert f"m-{n}" not in json.dumps(answer)
        assert seen == {"control": {}, "a": COUPON}
        assert {row["source"] for row in logged(tmp_path)} == {"ofrep"}
        assert len(logged(tmp_path)) == 10

    in_front(check, tmp_path)


@pytest.mark.parametrize(
    ("key", "context", "reason", "variant", "value", "ours"),
    [
        ("ended", {}, "DISABLED", "control", {}, "ended"),
        ("tested", {}, "DISABLED", "control", {}, "testing"),
        ("tested", {"targetingKey": "m-tester"}, "TARGETING_MATCH", "a", COUPON, "override"),
        ("held", {}, "UNKNOWN", "control", {}, "holdout"),
        ("plain", {}, "UNKNOWN", "plain", {"key": "card"}, "not_in_traffic"),
        ("oslo", {"city": "Rome"}, "UNKNOWN", "control", {}, "not_in_audience"),
        ("oslo", {}, "UNKNOWN", "control", {}, "missing_attribute"),
        ("oslo", {"city": {"name": "Oslo"}}, "UNKNOWN", "control", {}, "missing_attribute"),
        ("adults", {"age": "19"}, "UNKNOWN", "control", {}, "missing_attribute"),
        ("adults", {"age": True}, "UNKNOWN", "control", {}, "missing_attribute"),
        ("adults", {"age": 17, "whatever": [1, {"deep": None}]}, "UNKNOWN", "control", {}, "not_in_audience"),
    ],
)
def test_who_is_not_enrolled_is_shown_control(
    tmp_path: Path, key: str, context: dict[str, Any], reason: str, variant: str, value: object, ours: str
) -> None:
    async def check(front: Front) -> None:
        answer = await flag(front, key, **context)
        assert (answer["reason"], answer["variant"], answer["value"]) == (reason, variant, value)
        assert answer["metadata"]["reason"] == ours
        assert answer["metadata"]["enrolled"] is (ours == "override")
        assert ("decisionId" in answer["metadata"]) is (ours in {"holdout", "override"})
        assert answer["metadata"].get("holdout") == ("everybody" if ours == "holdout" else None)

    in_front(check, tmp_path)


@pytest.mark.parametrize("path", [FLAGS, FLAGS + "/winback"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "TARGETING_KEY_MISSING"),
        ({"context": {}}, "TARGETING_KEY_MISSING"),
        ({"context": None}, "TARGETING_KEY_MISSING"),
        ({"context": {"targetingKey": ""}}, "TARGETING_KEY_MISSING"),
        ({"context": {"targetingKey": 7}}, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": "a\0b"}}, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": "x" * 257}}, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": "li.lei@example.com"}}, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": "m-1", "unitType": 3}}, "INVALID_CONTEXT"),
        ({"context": "m-1"}, "INVALID_CONTEXT"),
        (b"", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b'{"context":', "PARSE_ERROR"),
        (b'{"context":{"targetingKey":"\\ud800"}}', "PARSE_ERROR"),
        (b'{"context":{"targetingKey":"m-1","x":NaN}}', "PARSE_ERROR"),
        (b'\xef\xbb\xbf{"context":{"targetingKey":"m-1"}}', "PARSE_ERROR"),
        (b'{"context":' + b"[" * 60_000, "PARSE_ERROR"),
    ],
)
def test_a_context_that_cannot_be_used_is_told_so(tmp_path: Path, path: str, body: object, code: str) -> None:
    async def check(front: Front) -> None:
        document = failure(await ask(front, "POST", path, body), 400, code)
        assert document.get("key") == (None if path == FLAGS else "winback")
        assert "li.lei" not in json.dumps(document)
        assert logged(tmp_path) == []

    in_front(check, tmp_path)


def test_every_error_below_ofrep_has_its_shape(tmp_path: Path) -> None:
    context = {"context": {"targetingKey": "m-1"}}

    async def check(front: Front) -> None:
        missing = failure(await ask(front, "POST", f"{FLAGS}/nope", context), 404, "FLAG_NOT_FOUND")
        assert missing["key"] == "nope"
        for key in ("../../v1/decide", "NOPE!", "m 1", "x" * 65, "a/b"):
            assert failure(await ask(front, "POST", f"{FLAGS}/{key}", context), 404, "FLAG_NOT_FOUND")["key"] == ""
        for path in ("/ofrep/", "/ofrep/v1/configuration", "/ofrep/v2/evaluate/flags"):
            failure(await ask(front, "GET", path), 404, "GENERAL")
        wrong_type = {"context": {"targetingKey": "h-1", "unitType": "household"}}
        failure(await ask(front, "POST", f"{FLAGS}/winback", wrong_type), 400, "INVALID_CONTEXT")
        for path in (FLAGS, FLAGS + "/winback"):
            answer = await ask(front, "GET", path)
            failure(answer, 405, "GENERAL")
            assert answer.headers["allow"] == "POST, OPTIONS"
            failure(await ask(front, "POST", path, b"x" * 70_000), 413, "GENERAL")

        def breaks(*_: object) -> None:
            raise ZeroDivisionError

        front.node.deciding.state_for = breaks  # type: ignore[method-assign,assignment]
        for path in (FLAGS, FLAGS + "/winback"):
            answer = await ask(front, "POST", path, context)
            failure(answer, 503, "GENERAL")
            assert answer.headers["retry-after"] == "1"
        assert logged(tmp_path) == []

    in_front(check, tmp_path)


def test_a_log_that_cannot_take_it_is_503(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        assert front.node._spool is not None
        front.node._spool.close()
        for path in (FLAGS, FLAGS + "/winback"):
            answer = await ask(front, "POST", path, {"context": {"targetingKey": "m-1"}})
            failure(answer, 503, "GENERAL")
            assert answer.headers["retry-after"] == "1"
        assert len(front.node.deciding.answered.recent) == 0

    in_front(check, tmp_path)


def test_before_a_snapshot_and_without_a_key(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "db").mkdir()
        settings = Settings(tmp_path, f"sqlite:///{tmp_path / 'db'}")
        front = create_asgi(settings)
        await front.node.start()
        context = {"context": {"targetingKey": "m-1"}}
        for path in (FLAGS, FLAGS + "/winback"):
            answer = await ask(front, "POST", path, context)
            failure(answer, 503, "GENERAL")
            assert answer.headers["retry-after"] == "1"
        plans = {"winback": plan("winback")}
        snapshot_file.write(settings.snapshot_dir, Snapshot("0001", 0, plans, security=SecurityPlan(required=True)))
        await asyncio.to_thread(front.node._load)
        for path in (FLAGS, FLAGS + "/winback"):
            answer = await ask(front, "POST", path, context)
            failure(answer, 401, "GENERAL")
            assert "www-authenticate" in answer.headers
        await front.node.drain()

    asyncio.run(main())


async def bulk(front: Front, etag: str | None = None, query: str = "", **context: Any) -> Answer:
    headers = {"If-None-Match": etag} if etag else {}
    body = {"context": {"targetingKey": "m-1", **context}}
    answer = await ask(front, "POST", FLAGS, body, headers, query=query)
    if answer.status == 200:
        ofrep_shapes.check(ofrep_shapes.BULK, answer.json())
    return answer


def test_bulk_answers_every_active_experiment_of_a_unit_type_in_one_commit(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        commits: list[int] = []
        spool = front.node._spool
        assert spool is not None
        real = spool.append_async

        def counting(rows: Sequence[Any]) -> asyncio.Future[None]:
            commits.append(len(rows))
            return real(rows)

        spool.append_async = counting  # type: ignore[method-assign,assignment]
        answer = (await bulk(front, city="Oslo", age=30)).json()
        assert [f["key"] for f in answer["flags"]] == ["adults", "held", "oslo", "plain", "tested", "winback"]
        assert answer["metadata"] == {
            "version": "0001", "contextId": hashed("member", "m-1"), "flagSetId": "member", "stale": True,
        }  # fmt: skip
        rows = logged(tmp_path)
        assert sorted(row["experiment"] for row in rows) == ["adults", "held", "oslo", "winback"]
        assert {row["source"] for row in rows} == {"ofrep:bulk"}
        assert commits == [4]
        for one in answer["flags"]:
            assert one == await flag(front, one["key"], city="Oslo", age=30)
        for name in ("unitType", "unit_type"):
            homes = (await bulk(front, **{name: "household"})).json()
            assert [f["key"] for f in homes["flags"]] == ["homes"]
        assert (await bulk(front, unitType="planet")).json()["flags"] == []
        assert commits == [4, 1]

    in_front(check, tmp_path)


def test_a_bulk_answer_that_fails_remembers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = evaluate

    def fails_at_the_last(node: Any, compiled: Any, key: str, *more: Any) -> Any:
        if key == "winback":
            raise ZeroDivisionError
        return real(node, compiled, key, *more)

    async def check(front: Front) -> None:
        with monkeypatch.context() as changed:
            changed.setattr(ofrep_bulk, "evaluate", fails_at_the_last)
            failure(await bulk(front), 503, "GENERAL")
        # An answer that was remembered without being written would be given, and be in no log.
        body = {"experiment": "held", "unit": "m-1"}
        assert (await ask(front, "POST", "/v1/decide", body)).json()["decision_id"]
        assert [row["experiment"] for row in logged(tmp_path)] == ["held"]

    in_front(check, tmp_path)


def test_the_etag_is_that_of_the_answer(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        first = await bulk(front, city="Oslo")
        etag = first.headers["etag"]
        for sent in (etag, f'"other", W/{etag}', "*"):
            same = await bulk(front, sent, query="flagConfigEtag=0001&flagConfigLastModified=0", city="Oslo")
            assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
        # The attributes have changed and the targeting key has not: a client sends its old ETag.
        other = await bulk(front, etag, city="Rome")
        assert other.status == 200
        assert other.headers["etag"] != etag
        assert (await bulk(front, etag, targetingKey="m-2", city="Oslo")).status == 200
        publish(front.node.settings, "0002", (plan("winback", phases=(PhasePlan(2, "ffffffffffffffff", (0, 1)),)),))
        await asyncio.to_thread(front.node._load)
        changed = await bulk(front, etag, city="Oslo")
        assert changed.status == 200
        assert [f["key"] for f in changed.json()["flags"]] == ["winback"]

    in_front(check, tmp_path)


def test_event_streams_are_relative_or_public(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        (stream,) = (await bulk(front)).json()["eventStreams"]
        assert stream["url"] == "https://eq.example.com/edge/ofrep/v1/stream?since=0001"

    in_front(check, tmp_path, public_url="https://eq.example.com/edge/")


def test_pages_of_named_origins_may_ask(tmp_path: Path) -> None:
    body = {"context": {"targetingKey": "m-1"}}
    shop, other = "https://shop.example.com", "https://evil.example.com"

    async def check(front: Front) -> None:
        preflight = {"Origin": shop, "Access-Control-Request-Method": "POST"}
        for path in (FLAGS, FLAGS + "/winback"):
            answer = await ask(front, "OPTIONS", path, b"", preflight)
            assert answer.status == 204
            assert answer.headers["access-control-allow-origin"] == shop
            assert "POST" in answer.headers["access-control-allow-methods"]
            for name in ("authorization", "content-type", "if-none-match"):
                assert name in answer.headers["access-control-allow-headers"]
            assert (
                "access-control-allow-origin"
                not in (await ask(front, "OPTIONS", path, b"", {**preflight, "Origin": other})).headers
            )
            for sent, status in ((body, 200), ({}, 400)):
                answer = await ask(front, "POST", path, sent, {"Origin": shop})
                assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, shop)
                assert answer.headers["vary"] == "origin"
                assert "etag" in answer.headers["access-control-expose-headers"]
            assert (
                "access-control-allow-origin" not in (await ask(front, "POST", path, body, {"Origin": other})).headers
            )
        for path in ("/v1/events", "/v1/batch", "/v1/track"):
            answer = await ask(front, "OPTIONS", path, b"", preflight)
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, shop)
        # What is not made for browsers is not opened to them.
        answer = await ask(front, "POST", "/v1/decide", {"experiment": "winback", "unit": "m-1"}, {"Origin": shop})
        assert "access-control-allow-origin" not in answer.headers

    in_front(check, tmp_path, cors_origins=(shop,))


def test_streams_are_bounded_and_counted_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ofrep_stream, "MAX_STREAMS", 2)

    async def check(front: Front) -> None:
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(_message: Any) -> None:
            opened.release()

        scope = {"type": "http", "method": "GET", "path": ofrep_stream.STREAM, "query_string": b"", "headers": []}
        opened = asyncio.Semaphore(0)
        streams = [asyncio.create_task(front(dict(scope), receive, send)) for _ in range(2)]
        for _ in range(4):  # of each its head and its first words
            await opened.acquire()
        refused = await ask(front, "GET", ofrep_stream.STREAM)
        failure(refused, 503, "GENERAL")
        assert refused.headers["retry-after"] == "30"
        gone.set()
        await asyncio.gather(*streams)
        assert not ofrep_stream._open_streams

    in_front(check, tmp_path)
