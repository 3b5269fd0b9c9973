"""A service that other machines can reach is not left open in silence."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.system.serving import Server, run, serving

EVERYWHERE = ["--host", "0.0.0.0"]
WARNING = re.compile(
    r"equipoise: http://0\.0\.0\.0:[0-9]+ is open to everybody who can reach it, because no API key was ever made; "
    r"make one with equipoise keys create NAME --scope manage, or set EQUIPOISE_AUTH=required\n"
)


def said(server: Server) -> list[str]:
    time.sleep(0.2)
    return [line for line in list(server.errors) if "open to everybody" in line]


@pytest.mark.slow
def test_an_open_service_that_others_can_reach_says_so_once_and_what_to_do(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=[*EVERYWHERE, "--workers", "2"]) as server:
        (line,) = said(server)
        assert WARNING.fullmatch(line)
        assert server.stop() == 0
    assert run("--data", str(tmp_path), "keys", "create", "admin", "--scope", "manage").returncode == 0
    with serving(tmp_path, arguments=EVERYWHERE) as server:
        assert said(server) == [], "what the warning advises is enough"
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "env"),
    [(["--host", "127.0.0.1"], {}), (["--host", "localhost"], {}), (EVERYWHERE, {"EQUIPOISE_AUTH": "required"})],
)
def test_nobody_is_warned_where_only_this_machine_reaches_it_or_a_key_is_asked_for(
    tmp_path: Path, arguments: list[str], env: dict[str, str]
) -> None:
    with serving(tmp_path, arguments=arguments, env=env) as server:
        assert said(server) == []
        assert server.stop() == 0


def test_it_is_said_also_while_the_database_is_away(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.stop() == 0
    away = "postgresql://nobody@127.0.0.1:1/none"
    with serving(tmp_path, database=away, arguments=EVERYWHERE) as server:
        (line,) = said(server)
        assert WARNING.fullmatch(line)
        assert server.stop() == 0
