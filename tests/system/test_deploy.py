"""The files of docs/deploy as an operator meets them: linted, and every command in them one that we have."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from api.cli import cli

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
CLIENTS = ROOT / "tests" / "system" / "clients"


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return document


def parse(arguments: list[str]) -> None:
    """Parse a command line as ``equipoise`` would, without running it."""
    with cli.make_context("equipoise", list(arguments)) as context:
        name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
        assert name is not None
        assert command is not None
        with command.make_context(name, rest, parent=context):
            pass


def test_the_parser_of_these_tests_sees_what_is_wrong() -> None:
    with pytest.raises(click.UsageError):
        parse(["serve", "--no-such-option"])


def test_dockerfile_lints() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([str(hadolint), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def test_dockerfile_starts_a_command_that_there_is() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    found = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert found
    parse(yaml.safe_load(found[-1]))


def test_compose_file_lints() -> None:
    dclint = CLIENTS / "node_modules" / ".bin" / "dclint"
    if not dclint.exists() or shutil.which("node") is None:
        pytest.skip("dclint is missing: run make test, which installs it from npm")
    run = subprocess.run([str(dclint), str(DEPLOY / "compose.yaml")], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout
    assert " error " not in run.stdout


def test_compose_commands_and_volumes() -> None:
    document = compose()
    ours = {name: service for name, service in document["services"].items() if service["image"] == "equipoise"}
    assert sorted(ours) == ["replica-1", "replica-2", "worker"]
    for service in ours.values():
        parse(service["command"])
        (volume,) = service["volumes"]
        assert volume.partition(":")[0] in document["volumes"]
        assert volume.partition(":")[2] == "/var/lib/equipoise"  # the data folder of the image, on a disk of its own
    assert len({service["volumes"][0] for service in ours.values()}) == len(ours)
    for service in document["services"].values():
        assert service["image"] == "equipoise" or re.search(r":\d+\.\d+", service["image"])


def test_every_variable_named_is_one_that_is_read() -> None:
    read = "\n".join(path.read_text() for room in ("api", "experiments") for path in (ROOT / room).rglob("*.py"))
    for name in ("Dockerfile", "compose.yaml", "equipoise.service"):
        for variable in set(re.findall(r"EQUIPOISE_[A-Z_]+", (DEPLOY / name).read_text())):
            assert variable in read, f"{name} names {variable}, which nothing reads"


def test_systemd_unit(tmp_path: Path) -> None:
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("systemd-analyze is missing: install systemd")
    text = (DEPLOY / "equipoise.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    program, *arguments = start.split()
    assert program.endswith("/.venv/bin/equipoise")
    parse(arguments)
    unit = tmp_path / "equipoise.service"
    unit.write_text(text.replace(program, sys.executable))
    run = subprocess.run([analyse, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "equipoise" not in run.stderr, run.stderr
