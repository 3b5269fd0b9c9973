"""Bad requests and bad command lines: each gets its own message; none a traceback, none a 500.

Wrong definitions have their table in tests/experiments/test_definitions_wrong.py, wrong files theirs beside the
importers and ``analyze``.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.cli import cli
from tests.system.serving import Reply, Server, serving
from tests.system.test_serve import DEFINITIONS

JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("bad")) as started:
        assert started.send("POST", "/v1/definitions", DEFINITIONS.encode(), YAML).status == 200
        assert started.send("POST", "/v1/experiments/basket/transitions", {"to": "review"}).status == 200
        deadline = time.monotonic() + 40
        while started.send("POST", "/v1/decide", {"experiment": "basket", "unit": "probe"}).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield started


def decide(**fields: Any) -> bytes:
    return json.dumps({"experiment": "basket", "unit": "m-1", **fields}).encode()


# address, method, headers, body, status, what the answer must say (in its detail or in an error's message)
REQUESTS: list[tuple[str, str, dict[str, str], bytes | None, int, str]] = [
    # deciding
    ("/v1/decide", "POST", JSON, b"", 400, "the body is empty"),
    ("/v1/decide", "POST", JSON, b"{", 400, "the body is not valid JSON"),
    ("/v1/decide", "POST", JSON, b'{"experiment":"basket","unit":"a"}x', 400, "the body is not valid JSON"),
    ("/v1/decide", "POST", JSON, b"\xef\xbb\xbf" + decide(), 400, "starts with a byte-order mark"),
    ("/v1/decide", "POST", JSON, decide().decode().encode("utf-16"), 400, "is not UTF-8"),
    ("/v1/decide", "POST", JSON, b'{"unit":"\xff"}', 400, "is not UTF-8"),
    ("/v1/decide", "POST", JSON, b'{"experiment":"basket","unit":"\\ud800"}', 400, "half of a surrogate pair"),
    ("/v1/decide", "POST", JSON, b'{"attributes":{"a":NaN}}', 400, "NaN and Infinity are not numbers"),
    ("/v1/decide", "POST", JSON, b'{"attributes":{"a":1e999}}', 422, "number out of range"),
    ("/v1/decide", "POST", JSON, b'{"x":' + b"[" * 30_000, 422, "there is no such field"),
    ("/v1/decide", "POST", JSON, b'{"attributes":{"a":' + b"[" * 30_000, 422, "got `array`"),
    ("/v1/decide", "POST", JSON, b"[" * 60_000, 422, "cannot be decided"),
    ("/v1/decide", "POST", JSON, b"x" * 70_000, 413, "the body exceeds 65,536 bytes"),
    ("/v1/decide", "POST", JSON, b"[]", 422, "expected `object`, got `array`"),
    ("/v1/decide", "POST", JSON, b'"basket"', 422, "expected `object`, got `str`"),
    ("/v1/decide", "POST", JSON, b'{"unit":"m-1"}', 422, "this field is required"),
    ("/v1/decide", "POST", JSON, b'{"experiment":"basket"}', 422, "this field is required"),
    ("/v1/decide", "POST", JSON, decide(unit=""), 422, "unit id is empty"),
    ("/v1/decide", "POST", JSON, decide(unit=12345), 422, "unit id must be text; quote it"),
    ("/v1/decide", "POST", JSON, decide(unit="a\x00"), 422, "NUL character"),
    ("/v1/decide", "POST", JSON, decide(unit="数" * 86), 422, "258 bytes in UTF-8; at most 256"),
    ("/v1/decide", "POST", JSON, decide(occasion="a b"), 422, "use at most 64 of A-Z a-z 0-9 . _ -"),
    ("/v1/decide", "POST", JSON, decide(occasion="x" * 65), 422, "use at most 64 of"),
    ("/v1/decide", "POST", JSON, decide(attribute={}), 422, 'no such field; did you mean "attributes"?'),
    ("/v1/decide", "POST", JSON, decide(colour=1), 422, "there are: experiment, unit, unit_type, attributes, occasion"),
    ("/v1/decide", "POST", JSON, decide(attributes=[1]), 422, "expected `object`"),
    ("/v1/decide", "POST", JSON, decide(attributes={"a": {"b": 1}}), 422, "got `object`"),
    ("/v1/decide", "POST", JSON, decide(attributes={f"a{n}": 1 for n in range(201)}), 422, "201 sent; at most 200"),
    ("/v1/decide", "POST", JSON, decide(unit_type="household"), 422, "about units of type \"member\"; send that"),
    ("/v1/decide", "POST", JSON, decide(experiment="nope"), 404, "GET /v1/experiments lists what there is"),
    ("/v1/decide", "POST", JSON, decide(experiment="baskett"), 404, 'is not published; did you mean "basket"?'),
    ("/v1/decide", "POST", JSON, decide(unit="13800138000"), 422, "looks like a telephone number"),
    ("/v1/decide", "PUT", JSON, decide(), 405, "takes GET, POST, OPTIONS only"),
    ("/v1/events", "POST", JSON, b'{"name":"Visit"}', 422, "there are: events, source"),
    ("/v1/decide", "POST", JSON, decide(experiment="'; DROP TABLE decisions; --"), 404, "no experiment of this key"),
    ("/v1/decide", "GET", {}, None, 422, "this field is required"),
    # events
    ("/v1/events", "POST", JSON, b"{}", 422, "this field is required"),
    ("/v1/events", "POST", JSON, b'{"events":"x"}', 422, "expected `array`"),
    ("/v1/events", "POST", JSON, b'{"events":[],"source":"a b"}', 422, "use 1 to 64 of A-Z a-z 0-9 . _ : -"),
    ("/v1/events", "POST", JSON, b'{"events":[' + b"0," * 5_000 + b"0]}", 413, "send at most 5,000 at a time"),
    ("/v1/events", "POST", JSON, b'{"events":[' + b" " * 1_000_000 + b"]}", 413, "the body exceeds 1,000,000 bytes"),
    ("/v1/events", "DELETE", {}, None, 405, "takes POST, OPTIONS only"),
    # definitions and experiments
    ("/v1/definitions", "POST", JSON, b"[" * 100_000, 400, "nested too deeply"),
    ("/v1/definitions", "POST", JSON, b'{"kind":"layer","key":NaN}', 400, "NaN and Infinity"),
    ("/v1/definitions", "POST", {"Content-Type": "text/csv"}, b"a,b", 415, "send Content-Type: application/yaml"),
    ("/v1/definitions", "POST", {}, b"kind: layer", 415, "send Content-Type"),
    ("/v1/definitions", "POST", YAML, b"kind: layer\nkey: \xff", 400, "is not UTF-8"),
    ("/v1/definitions", "POST", YAML, b"kind: [layer", 422, "is not YAML"),
    ("/v1/definitions", "POST", YAML, b"a: &a [1]\nb: *a", 422, "anchors (&name) are not taken"),
    ("/v1/definitions", "POST", YAML, b"kind: layr\nkey: a", 422, "layer"),
    ("/v1/definitions", "GET", {}, None, 405, "takes OPTIONS, POST only"),
    ("/v1/experiments/basket", "PUT", JSON, b"{}", 422, "is missing; add it"),
    ("/v1/experiments/basket", "PUT", JSON, b"[]", 422, "one definition is expected here, not 0"),
    ("/v1/experiments/basket", "PUT", JSON, b"7", 422, "must be a mapping with the experiment's fields"),
    ("/v1/experiments/basket", "PUT", JSON, b'{"key":"other"}', 422, 'must be "basket" here, or left out'),
    ("/v1/experiments/basket", "PUT", {**JSON, "If-Match": "W/x"}, decide(), 422, "unknown key"),
    ("/v1/experiments/basket", "DELETE", {}, None, 405, "this address takes"),
    ("/v1/experiments/nope", "GET", {}, None, 404, 'experiment "nope" is not defined'),
    ("/v1/experiments/..%2f..%2fetc", "GET", {}, None, 404, "there is nothing at this address"),
    ("/v1/experiments/%00", "GET", {}, None, 404, "is not defined"),
    ("/v1/experiments/" + "x" * 3_000, "GET", {}, None, 404, "is not defined"),
    ("/v1/experiments?limit=0", "GET", {}, None, 400, "limit is a whole number from 1 to 500"),
    ("/v1/experiments?limit=99999999999999999999", "GET", {}, None, 400, "limit is a whole number"),
    ("/v1/experiments?state=started", "GET", {}, None, 400, "state is one of draft, review"),
    ("/v1/experiments/basket/transitions", "POST", JSON, b'{"to":"flying"}', 422, "use one of draft, review"),
    ("/v1/experiments/basket/transitions", "POST", JSON, b'{"to":"decided"}', 409, "cannot move to decided"),
    ("/v1/experiments/basket/transitions", "POST", JSON, b'{"to":7}', 422, "expected `str`, got `int`"),
    ("/v1/experiments/basket/assignments", "POST", {"Content-Type": "multipart/form-data"}, b"--", 415, "-T"),
    ("/v1/experiments/basket/transitions", "POST", {}, b'{"to":"testing"}', 415, "send Content-Type: application/json"),
    ("/v1/experiments/basket/report", "GET", {}, None, 409, "there is nothing to report before it runs"),
    ("/v1/experiments/basket/report?format=pdf", "GET", {}, None, 400, "format is one of json, csv"),
    ("/v1/experiments/basket/report?refresh=yes", "GET", {}, None, 400, "refresh is 0 or 1"),
    ("/v1/experiments/nope/report", "GET", {}, None, 404, "is not defined"),
    ("/v1/experiments/basket/explain", "GET", {}, None, 400, "unit is missing"),
    ("/v1/experiments/basket/explain?unit=a&attributes=%7B", "GET", {}, None, 400, "attributes is not valid JSON"),
    ("/v1/experiments/basket/explain?unit=a&occasion=%20", "GET", {}, None, 422, "occasion"),
    ("/v1/experiments/nope/explain?unit=a", "GET", {}, None, 404, "no experiment"),
    ("/nothing", "GET", {}, None, 404, "there is nothing at this address"),
    ("/livez", "POST", JSON, b"{}", 405, "takes GET, HEAD only"),
]  # fmt: skip


def said(reply: Reply) -> str:
    document = reply.json()
    return " | ".join([document["detail"], *(error["message"] for error in document.get("errors", []))])


@pytest.mark.parametrize(
    ("path", "method", "headers", "body", "status", "message"),
    REQUESTS,
    ids=[f"{n}-{row[1]}-{row[0][:40]}" for n, row in enumerate(REQUESTS)],
)
def test_a_bad_request_is_told_what_is_wrong(
    server: Server, path: str, method: str, headers: dict[str, str], body: bytes | None, status: int, message: str
) -> None:
    try:
        with_body = {} if body is None else {"Content-Length": str(len(body))}
        connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**headers, **with_body}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        reply = Reply(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert message in said(reply)
    assert "Traceback" not in reply.body.decode()


@pytest.mark.parametrize(
    "text",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /v1/experiments?q=\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: lang=\xff\xff\r\nConnection: close\r\n\r\n",
        b"GET /experiments HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(server: Server, text: bytes) -> None:
    with socket.create_connection((server.host, server.port), timeout=15) as connection:
        connection.settimeout(15)
        try:
            connection.sendall(text)
            answer = connection.recv(4096)
        except ConnectionError:  # hung up on, which is an answer too; a timeout would not be
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 5")


def test_after_all_that_the_server_is_well(server: Server) -> None:
    assert server.send("GET", "/readyz").status == 200
    assert server.send("POST", "/v1/decide", {"experiment": "basket", "unit": "m-1"}).status == 200
    assert not [line for line in server.errors if "Traceback" in line or '"request_failed"' in line]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a database and definitions."""
    folder = tmp_path_factory.mktemp("deployment")
    (folder / "good.yaml").write_text(DEFINITIONS, encoding="utf-8")
    for arguments in (["migrate"], ["apply", str(folder / "good.yaml")]):
        ran = CliRunner().invoke(cli, ["--data", str(folder), *arguments], env={"EQUIPOISE_DATABASE_URL": None})
        assert ran.exit_code == 0, ran.output
    return folder


BAD_YAML = "kind: layer\nkey: mails\nunit_typ: store\n"
# arguments ({tmp} is a folder), what stderr must say
COMMANDS: list[tuple[list[str], str]] = [
    (["apply", "{tmp}/absent.yaml"], "absent.yaml"),
    (["apply", "{tmp}/bad.yaml"], 'bad.yaml, document 1, line 3, /unit_typ: unknown key; did you mean "unit_type"?'),
    (["apply", "{tmp}"], "{tmp}"),
    (["apply"], "Missing argument 'FILE'"),
    (["export", "nope"], "nope"),
    (["transition", "nope", "review"], 'experiment "nope" is not defined'),
    (["transition", "basket", "flying"], "flying"),
    (["decide", "nope", "m-1"], "no experiment"),
    (["decide", "nope", "m-1", "--attributes", "{"], "attributes"),
    (["explain", "nope", "m-1"], "no experiment"),
    (["explain", "nope", "m-1", "--now", "yesterday"], "now"),
    (["sql", "nope", "--dialect", "oracle"], "'oracle' is not one of"),
    (["sql", "nope", "--dialect", "duckdb"], "snapshot"),
    (["assign", "nope", "{tmp}/absent.csv", "-o", "{tmp}/out.parquet"], "snapshot"),
    (["preview", "nope"], "nope"),
    (["analyze", "{tmp}/absent.csv", "--variant", "v", "--control", "c", "--metric", "m"], "absent.csv"),
    (["analyze", "{tmp}/empty.csv", "--variant", "v", "--control", "c", "--metric", "m"], "empty.csv"),
    (["import", "events", "{tmp}/absent.csv"], "absent.csv"),
    (["serve", "--port", "99999"], "99999 is not in the range"),
    (["serve", "--host", "no.such.host.invalid", "--port", "0"], "--host no.such.host.invalid: not an address"),
    (["--data", "/dev/null/x", "serve", "--port", "0"], "/dev/null/x"),
    (["--data", "/dev/null/x", "demo"], "/dev/null/x"),
    (["--database", "mysql://localhost/x", "migrate"], "neither sqlite:///FILE nor postgresql://"),
    (["--database", "not an address", "migrate"], "address"),
    (["demo", "--members", "7"], "7 is not in the range"),
    (["fly"], "No such command 'fly'"),
]


@pytest.mark.parametrize(("arguments", "message"), COMMANDS, ids=[" ".join(row[0])[:50] for row in COMMANDS])
def test_a_bad_command_is_one_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path, deployment: Path
) -> None:
    (tmp_path / "bad.yaml").write_text(BAD_YAML, encoding="utf-8")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    filled = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    ran = CliRunner().invoke(cli, filled, env={"EQUIPOISE_DATA": str(deployment), "EQUIPOISE_DATABASE_URL": None})
    assert isinstance(ran.exception, SystemExit), ran.exception
    assert ran.exit_code == 2, ran.output
    assert message.replace("{tmp}", str(tmp_path)) in ran.stderr
    assert "Traceback" not in ran.output
    assert len(ran.stderr.splitlines()) == 1
