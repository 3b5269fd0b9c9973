"""Audiences for who has no command line: lists with attributes over REST, and the pages of a campaign's audiences."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from api.app import create_app
from api.cli import cli
from experiments.jobs import queue
from experiments.jobs.handlers import load
from experiments.security import keys
from experiments.settings import Settings
from experiments.store import Store, open_store
from experiments.store.migrate import upgrade
from experiments.targeting import archive
from experiments.targeting.document import Audience
from tests.api.management import problem
from tests.experiments.targeting.campaigns import campaign

REST = "/v1/experiments/winback/audiences"
AT = "2026-03-20T00:00:00+08:00"
LISTED = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose campaign is over and was learned from."""
    folder = tmp_path_factory.mktemp("shop")
    store = open_store(f"sqlite:///{folder / 'equipoise.sqlite'}")
    upgrade(store)
    campaign(store, 600)
    store.close()
    return folder


@pytest.fixture
def shop(folder: Path, tmp_path: Path) -> Iterator[Store]:
    """Its own copy for each test."""
    for file in folder.glob("equipoise.sqlite*"):
        shutil.copy(file, tmp_path / file.name)
    store = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    yield store
    store.close()


@pytest.fixture
def client(shop: Store, tmp_path: Path) -> Iterator[FlaskClient]:
    app = create_app(settings=Settings(tmp_path / "data", shop.url))
    yield app.test_client()
    app.extensions["equipoise"].store.close()


def lines(unit: str = "unit") -> str:
    rows = [f"x-{n},{('gold', 'basic')[n % 2]},{18 + 7 * n % 62}" for n in range(LISTED)]
    return "\n".join([f"{unit},tier,age", *rows]) + "\n"


def worked(store: Store) -> Audience:
    """Do the job that waits."""
    claimed = queue.claim(store, "worker", ["target"])
    assert claimed is not None
    settings = Settings.from_env({}, data=str(Path(store.url.removeprefix("sqlite:///")).parent))
    queue.finish(store, claimed, load("target")(store, settings, claimed, lambda *_: None, None))  # type: ignore[arg-type]
    return archive.one(store, claimed.id)


# lists over REST ------------------------------------------------------------------------------------------------------


def test_a_list_over_rest_gives_what_the_command_gives(
    client: FlaskClient, shop: Store, folder: Path, tmp_path: Path
) -> None:
    listed, target = tmp_path / "members.csv", tmp_path / "audience.csv"
    listed.write_text(lines(), encoding="utf-8")
    told = {"budget": "300", "explore": "0.1", "stock": ["a=40", "b=9"], "floors": "tier=gold:20", "as_of": AT}
    asked = client.post(REST, query_string=told, data=listed.read_bytes(), content_type="text/csv")
    assert asked.status_code == 202, asked.json
    assert asked.headers["Location"] == asked.json["status"] == f"/v1/jobs/{asked.json['job']}"
    made = worked(shop)
    done = client.post(REST, query_string=told, data=listed.read_bytes(), content_type="text/csv")
    assert (done.status_code, done.json["audience"]) == (200, made.id)
    assert (made.rows, made.budget, made.explore, made.floors[0].least) == (LISTED, 300, 0.1, 20)
    assert [arm.stock for arm in made.arms] == [40, 9]
    # The command, in the shop as it was before: it has not seen what REST made.
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    result = CliRunner().invoke(
        cli,
        [
            "--database", f"sqlite:///{other / 'equipoise.sqlite'}", "target", "winback", "--list", str(listed),
            "--budget", "300", "--explore", "0.1", "--stock", "a=40", "--stock", "b=9", "--floor", "tier=gold:20",
            "--as-of", AT, "-o", str(target), "--document", "json",
        ],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    same = msgspec.json.decode(result.stdout, type=Audience)
    assert msgspec.structs.replace(same, list_name=made.list_name) == made
    assert client.get(f"{REST}/{made.id}/file").data == target.read_bytes()


def as_parquet() -> bytes:
    rows = [line.split(",") for line in lines().split()]
    out = io.BytesIO()
    columns = {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}
    pq.write_table(pa.table({**columns, "age": [int(age) for age in columns["age"]]}), out)
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "more"),
    [
        (lines().replace("gold", "金卡").encode("gb18030"), {}),
        (lines("会员号").encode(), {"unit_column": "会员号"}),
        (gzip.compress(lines("member_id").encode()), {}),
        (as_parquet(), {"format": "parquet"}),
    ],
    ids=["gb18030", "column", "gzip", "parquet"],
)
def test_lists_are_taken_as_they_come(client: FlaskClient, shop: Store, content: bytes, more: dict[str, str]) -> None:
    asked = client.post(REST, query_string={"budget": 300, **more}, data=content)
    assert asked.status_code == 202, asked.json
    made = worked(shop)
    assert (made.rows, made.file_name.rpartition(".")[2]) == (LISTED, more.get("format", "csv"))
    assert made.missing == {}


@pytest.mark.parametrize(
    ("query", "content", "kind", "status", "words"),
    [
        ("explore=0.01", b"unit\nx", "text/csv", 422, "/explore"),
        ("stock=a", b"unit\nx", "text/csv", 422, "/stock"),
        ("floors=gold", b"unit\nx", "text/csv", 422, "/floors"),
        ("as_of=noon", b"unit\nx", "text/csv", 422, "/as_of"),
        ("encoding=klingon", b"unit\nx", "text/csv", 422, "/encoding"),
        ("budget=nan", b"unit\nx", "text/csv", 400, "budget"),
        ("bugdet=5", b"unit\nx", "text/csv", 400, "budget"),
        ("format=xlsx", b"unit\nx", "text/csv", 400, "csv or parquet"),
        ("", b"", "text/csv", 422, "the list is empty"),
        ("unit_column=unit", b"", None, 422, "the list is empty"),
        ("", b'{"budget": 5}', None, 415, "application/json"),
        ("", b"--x--", "multipart/form-data; boundary=x", 415, "not a form"),
        ("recommendation=9", b"unit\nx", "text/csv", 404, "no recommendation 9"),
    ],
)
def test_what_cannot_be_taken_is_said_at_once(
    client: FlaskClient, shop: Store, query: str, content: bytes, kind: str | None, status: int, words: str
) -> None:
    reply = client.post(REST, query_string=query, data=content, content_type=kind)
    assert words in str(problem(reply, status))
    assert queue.listed(shop, kind="target") == []


def test_a_body_says_more_than_the_query(client: FlaskClient, shop: Store) -> None:
    body = {"members": ["m-00001", "m-00002"], "budget": 50}
    asked = client.post(REST, query_string={"budget": 70, "stock": "a=1"}, json=body)
    params: Any = queue.get(shop, asked.json["job"]).params
    assert (params["budget"], params["stock"]) == (50.0, {"a": 1})


@pytest.mark.slow
def test_a_list_that_cannot_be_used_fails_in_words(client: FlaskClient, shop: Store) -> None:
    asked = client.post(REST, data=b"unit\nx-1\nx-2\n", content_type="text/csv")
    assert asked.status_code == 202
    with pytest.raises(Exception, match="reads 'age', 'tier', which are known of nobody on the list: add columns"):
        worked(shop)
    digest = hashlib.sha256(b"unit\nx-1\nx-2\n").hexdigest()
    assert queue.get(shop, asked.json["job"]).params["sha256"] == digest


# the pages ------------------------------------------------------------------------------------------------------------

PAGES = "/experiments/winback/audiences"
OURS = {"Sec-Fetch-Site": "same-origin"}


def filled(**more: Any) -> dict[str, Any]:
    return {"who": "everyone", "budget": "", "basis": "liability", "explore": "0", **more}


def test_somebody_makes_an_audience_of_a_list_without_a_command_line(client: FlaskClient, shop: Store) -> None:
    page = client.get(f"{PAGES}?lang=en").text
    assert "Make an audience" in page
    assert "None was made yet." in page
    sent = (io.BytesIO(lines().encode("gb18030")), "lists/四月.csv")
    form = filled(who="list", list=sent, budget="0,300", explore="0.1", **{"stock-b": "9"})
    asked = client.post(PAGES, data=form, headers=OURS)
    assert asked.status_code == 303, asked.text
    address = asked.headers["Location"]
    assert "In the queue" in client.get(f"{address}?lang=en").text
    assert 'hx-trigger="every 2s"' in client.get(address).text
    assert address in client.get(PAGES).text
    made = worked(shop)
    assert (made.list_name, made.budget, made.explore, made.arms[1].stock) == ("四月.csv", 300.0, 0.1, 9)
    # The same form again is the same audience.
    again = {**form, "list": (io.BytesIO(lines().encode("gb18030")), "other.csv")}
    assert client.post(PAGES, data=again, headers=OURS).headers["Location"] == address
    for lang, words in (
        ("en", ("Evidence that members respond differently", "What another budget would earn", "View as table")),
        ("zh-CN", ("有证据表明会员反应不同", "其他预算能赚多少", "查看数据表")),
    ):
        page = client.get(f"{address}?lang={lang}").text
        for part in (*words, made.sentence[lang][:20], made.sha256, "四月.csv", 'role="img"', made.warnings[-1][lang]):
            assert part in page, part
        assert "hx-trigger" not in page.partition("<main")[2]
        assert f"/v1/experiments/winback/audiences/{made.id}/file" in page
        assert client.get(f"{PAGES}?lang={lang}").text.count(address) == 1


@pytest.mark.slow
def test_the_test_of_an_audience_is_drafted_from_its_page(client: FlaskClient, shop: Store) -> None:
    client.post(PAGES, data=filled(budget="500"), headers=OURS)
    made = worked(shop)
    assert made.list_name is None
    page = client.get(f"{PAGES}/{made.id}").text
    onward = f"/experiments/winback/recommendation/draft?audience={made.id}"
    assert onward in page
    assert f'action="{onward}"' in client.get(onward).text
    drafted = client.post(onward, data={"key": "winback-test"}, headers=OURS)
    assert drafted.headers["Location"] == "/experiments/winback-test"
    assert made.id in str(client.get("/v1/experiments/winback-test").json["definition"]["description"])
    assert client.post(f"{onward}x", data={"key": "other"}, headers=OURS).status_code == 404


@pytest.mark.parametrize(
    ("form", "words", "field"),
    [
        ({"budget": "much"}, "The budget is no amount", "budget"),
        ({"stock-a": "1.5"}, "a whole number", "stock-a"),
        ({"explore": "0.01"}, "from the list", "explore"),
        ({"basis": "luck"}, "how offers count", "basis"),
        ({"who": ""}, "Choose among everyone", "who"),
        ({"who": "list"}, "Choose the file", "list"),
        ({"who": "everyone", "list": (io.BytesIO(b"unit"), "a.csv")}, "A file is chosen", "list"),
        ({"who": "list", "list": (io.BytesIO(b""), "empty.csv")}, "The file is empty", "list"),
        (
            {"who": "list", "unit_column": "a\x07", "list": (io.BytesIO(b"unit\nx\n"), "a.csv")},
            "no name",
            "unit_column",
        ),
    ],
)
def test_a_form_that_cannot_be_taken_comes_back_as_it_was_filled_in(
    client: FlaskClient, shop: Store, form: dict[str, Any], words: str, field: str
) -> None:
    reply = client.post(f"{PAGES}?lang=en", data=filled(**{"budget": "77", **form}), headers=OURS)
    assert reply.status_code == 422
    assert words in reply.text
    assert f'name="{field}"' in reply.text
    assert form.get("budget", "77") in reply.text
    assert client.post(PAGES, headers=OURS).status_code == 422
    assert queue.listed(shop, kind="target") == []


def test_only_pages_of_ours_and_who_may_manage_make_audiences(client: FlaskClient, shop: Store) -> None:
    assert client.post(PAGES, data=filled(), headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    reader = keys.create(shop, "reader", ("report",), actor="test").text
    client.post("/sign-in", data={"key": reader, "next": "/"}, headers=OURS)
    assert "Make an audience" not in client.get(f"{PAGES}?lang=en").text
    assert client.post(PAGES, data=filled(), headers=OURS).status_code == 403
    assert queue.listed(shop, kind="target") == []


def test_what_is_not_there_is_not_found_and_what_failed_says_why(client: FlaskClient, shop: Store) -> None:
    for address in (f"{PAGES}/nope", f"{PAGES}/a%00b", "/experiments/nope/audiences"):
        assert client.get(address).status_code == 404
    sent = (io.BytesIO(b"unit\nx-1\n"), "bare.csv")
    address = client.post(PAGES, data=filled(who="list", list=sent), headers=OURS).headers["Location"]
    claimed = queue.claim(shop, "worker", ["target"])
    assert claimed is not None
    queue.fail(shop, claimed, "bare.csv: no column of tiers", again=False)
    page = client.get(f"{address}?lang=en").text
    assert "It could not be made" in page
    assert "no column of tiers" in page
    assert "hx-trigger" not in page.partition("<main")[2]
