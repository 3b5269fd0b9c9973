"""The whole OpenAPI document against a real server: Schemathesis asks what it allows, and what it does not.

Every request has its seed. What a schema cannot say is left out of the checks: that a cursor must be one of the list, a
definition must agree with the others, and that two requests may not share an ``Idempotency-Key``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from tests.system.serving import Server, serving
from tests.system.test_serve import DEFINITIONS

CONFIGURATION = """
[checks.positive_data_acceptance]
enabled = false
[checks.ignored_auth]
enabled = false

[[operations]]
# A batch takes good items and tells of the bad ones: 200 whatever an item looks like.
include-path = ["/v1/events", "/v1/decide/batch"]
checks.negative_data_rejection.enabled = false
"""
SCOPES = ["decide", "ingest", "report", "manage"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("fuzz")) as started:
        yaml = {"Content-Type": "application/yaml"}
        assert started.send("POST", "/v1/definitions", DEFINITIONS.encode(), yaml).status == 200
        for state in ("review", "testing", "running"):
            assert started.send("POST", "/v1/experiments/basket/transitions", {"to": state}).status == 200
        started.wait_ready("basket")
        yield started


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    """A key that every scope is granted to; from now on the service is closed to everybody else."""
    made = server.send("POST", "/v1/keys", {"name": "fuzz", "scopes": SCOPES})
    assert made.status == 201, made.body
    text: str = made.json()["key"]
    for _ in range(100):
        if server.send("GET", "/v1/offers", headers={"X-API-Key": text}).status == 200:
            break
    return text


def schemathesis(server: Server, key: str, folder: Path, *options: str, timeout_s: float) -> None:
    """Run it to its end.

    Raises:
        AssertionError: with what it found.
    """
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"http://{server.host}:{server.port}/v1/openapi.json",
            *("--continue-on-failure", "--no-color", "--workers", "1"),
            *("--header", f"Authorization: Bearer {key}", "--generation-with-security-parameters", "false"),
            *("--generation-database", "none", "--request-timeout", "30", "--warnings", "off"),
            *("--suppress-health-check", "all"),
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout[:20_000] + done.stderr[-2_000:]


def test_the_document_is_valid_and_complete(server: Server, key: str) -> None:
    document = json.loads(server.send("GET", "/v1/openapi.json").body)
    validate(document)
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            answers = operation["responses"]
            assert any(status.startswith("2") for status in answers), where
            for status, answer in answers.items():
                assert answer["description"], where
                assert status in {"204", "304"} or answer["content"], f"{where} {status}"
                if status.startswith("4") and path.startswith("/v1/") and "security" in operation:
                    assert answer["content"].keys(), f"{where} {status}"
            if method in {"post", "put", "patch"} and "requestBody" in operation:
                assert operation["requestBody"]["content"], where


# Keys that are made while it runs end the run: the one it calls with is among what it may revoke. A stream has no end.
WITHOUT = ("--exclude-path-regex", r"^/v1/keys/.*/(revoke|rotate)$|^/ofrep/v1/stream$")


@pytest.mark.slow
def test_what_the_document_says_is_so(server: Server, key: str, tmp_path: Path) -> None:
    options = ("--phases", "examples,coverage", "--seed", "20260303", "--max-examples", "2")
    schemathesis(server, key, tmp_path, *WITHOUT, *options, timeout_s=170)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_what_the_document_says_is_so_at_length(server: Server, key: str, tmp_path: Path, seed: int) -> None:
    options = ("--phases", "examples,coverage,fuzzing,stateful", "--seed", str(seed), "--max-examples", "15")
    schemathesis(server, key, tmp_path, *WITHOUT, *options, timeout_s=900)
