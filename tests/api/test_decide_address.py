"""`/v1/decide` for campaign tools: the question as an address, and what a failure of ours is answered with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api.asgi import Front, create_asgi
from experiments.log.spool_file import SpoolError
from experiments.settings import Settings
from tests.api.edge import COUPON, ask, in_front, logged


def test_an_address_asks_what_a_document_asks(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        for unit in ("m-1", "é/ü&x", "梅"):
            posted = await ask(front, "POST", "/v1/decide", {"experiment": "winback", "unit": unit, "occasion": "s-1"})
            query = f"experiment=winback&unit={quote(unit, safe='')}&occasion=s-1"
            got = await ask(front, "GET", "/v1/decide", query=query)
            assert got.status == 200
            assert got.json() == posted.json()
            assert got.headers["cache-control"] == "no-store"
            assert got.json()["fallback"] is False
        assert len(logged(tmp_path)) == 3

    in_front(check, tmp_path)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("experiment=oslo&unit=m-1&attr.city=Oslo", "assigned"),
        ("experiment=oslo&unit=m-1&attr.city=Rome", "not_in_audience"),
        ("experiment=oslo&unit=m-1", "missing_attribute"),
        ("experiment=oslo&unit=m-1&attributes=%7B%22city%22%3A%22Oslo%22%7D", "assigned"),
        ("experiment=adults&unit=m-1&attr.age=18", "assigned"),
        ("experiment=adults&unit=m-1&attr.age=17.5", "not_in_audience"),
        ("experiment=adults&unit=m-1&attr.age=old", "missing_attribute"),
    ],
)
def test_attributes_in_an_address_are_read_as_declared(tmp_path: Path, query: str, reason: str) -> None:
    async def check(front: Front) -> None:
        got = await ask(front, "GET", "/v1/decide", query=query)
        assert got.json()["reason"] == reason

    in_front(check, tmp_path)


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ("experiment=winback", 422, "/unit"),
        ("experiment=winback&unit=m-1&unit=m-2", 422, "/unit"),
        ("experiment=winback&unit=m-1&ocasion=x", 422, "/ocasion"),
        ("experiment=winback&unit=m-1&occasion=a%20b", 422, "/occasion"),
        ("experiment=winback&unit=m-1&send_at=tomorrow", 422, "/send_at"),
        ("experiment=winback&unit=m-1&send_at=2026-03-01T08:00:00", 422, "/send_at"),
        ("experiment=winback&unit=m-1&attributes=nonsense", 422, "/attributes"),
        ("experiment=winback&unit=m-1&on_failure=maybe", 422, "/on_failure"),
        ("experiment=winbak&unit=m-1", 404, "/experiment"),
        ("experiment=winback&unit=" + "x" * 257, 422, "/unit"),
        ("experiment=winback&unit=a%00b", 422, "/unit"),
        ("experiment=winback&unit=li.lei%40example.com", 422, "/unit"),
        ("experiment=homes&unit=h-1&unit_type=member", 422, "/unit_type"),
        ("experiment=winback&unit=%ff", 400, None),
        ("&".join(f"attr.a{n}=1" for n in range(300)), 400, None),
    ],
)
def test_a_wrong_address_is_told_so(tmp_path: Path, query: str, status: int, pointer: str | None) -> None:
    async def check(front: Front) -> None:
        got = await ask(front, "GET", "/v1/decide", query=query)
        assert got.status == status
        assert got.headers["content-type"] == "application/problem+json"
        assert [error["pointer"] for error in got.json().get("errors", [])] == ([pointer] if pointer else [])
        assert b"li.lei" not in got.body
        assert logged(tmp_path) == []

    in_front(check, tmp_path)


def test_when_the_message_leaves_is_logged_for_every_variant(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        for n in range(8):
            asked = {"experiment": "winback", "unit": f"m-{n}", "send_at": "2026-03-03T16:00:00+08:00"}
            await ask(front, "POST", "/v1/decide", asked)
        rows = logged(tmp_path)
        assert {row["variant"] for row in rows} == {"control", "a"}
        assert {row["send_at"] for row in rows} == {1772524800000000}

    in_front(check, tmp_path)


def failing(front: Front, how: str) -> None:
    """Break what decides or what logs."""
    if how == "closed":
        assert front.node._spool is not None
        front.node._spool.close()
    elif how == "disk":

        def fails(_rows: Sequence[Any]) -> asyncio.Future[None]:
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(SpoolError("the disk is full"))
            return failed

        assert front.node._spool is not None
        front.node._spool.append_async = fails  # type: ignore[method-assign]
    else:

        def breaks(*_: object) -> None:
            raise ZeroDivisionError

        front.node.deciding.state_for = breaks  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize("how", ["closed", "disk", "broken"])
def test_a_failure_of_ours_is_answered_with_control(tmp_path: Path, how: str) -> None:
    async def check(front: Front) -> None:
        failing(front, how)
        for method, body, query in (
            ("POST", {"experiment": "winback", "unit": "m-1"}, ""),
            ("GET", b"", "experiment=winback&unit=m-1"),
        ):
            got = await ask(front, method, "/v1/decide", body, query=query)
            answer = got.json()
            assert got.status == 200
            assert got.headers["cache-control"] == "no-store"
            assert (answer["variant"], answer["enrolled"], answer["decision_id"]) == ("control", False, None)
            assert (answer["fallback"], answer["reason"]) == (True, "fallback")
        plain = (await ask(front, "POST", "/v1/decide", {"experiment": "plain", "unit": "m-1"})).json()
        assert (plain["variant"], plain["fallback"]) in {("plain", True), (None, False)}
        refused = await ask(
            front, "POST", "/v1/decide", {"experiment": "winback", "unit": "m-1", "on_failure": "error"}
        )
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        # What the caller did wrong stays wrong.
        assert (await ask(front, "POST", "/v1/decide", {"experiment": "nope", "unit": "m-1"})).status == 404
        assert logged(tmp_path) == []
        await asyncio.sleep(0)
        assert len(front.node.deciding.answered.recent) == 0

    in_front(check, tmp_path)


def test_before_anything_is_published_everybody_is_control(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "db").mkdir()
        front = create_asgi(Settings(tmp_path, f"sqlite:///{tmp_path / 'db'}"))
        await front.node.start()
        got = await ask(front, "GET", "/v1/decide", query="experiment=winback&unit=m-1")
        assert (got.status, got.json()["variant"], got.json()["fallback"]) == (200, "control", True)
        assert (got.json()["offer"], got.json()["phase"], got.json()["snapshot"]) == (None, 0, "")
        assert (await ask(front, "GET", "/v1/decide", query="unit=m-1")).status == 422
        await front.node.drain()

    asyncio.run(main())


def test_the_control_of_an_experiment_may_have_another_name_and_an_offer(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        front.node.deciding.state_for = None  # type: ignore[method-assign,assignment]
        answer = (await ask(front, "POST", "/v1/decide", {"experiment": "plain", "unit": "m-1"})).json()
        assert (answer["variant"], answer["offer"], answer["fallback"]) == ("plain", {"key": "card"}, True)
        assert answer["revision"] == 1

    in_front(check, tmp_path)


def test_offers_are_the_same_in_every_answer(tmp_path: Path) -> None:
    async def check(front: Front) -> None:
        offers = []
        for n in range(12):
            answer = (await ask(front, "POST", "/v1/decide", {"experiment": "winback", "unit": f"m-{n}"})).json()
            offers.append((answer["variant"], answer["offer"]))
        assert sorted({variant for variant, _ in offers}) == ["a", "control"]
        assert all(offer == (COUPON if variant == "a" else None) for variant, offer in offers)

    in_front(check, tmp_path)
