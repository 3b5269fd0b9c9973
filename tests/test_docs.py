"""Every example in the documents runs.

`sh` blocks of a document run in order as one script in an empty folder that has a copy of docs/; `python` blocks run
each as a script of its own; `json` blocks parse. A block is only shown, not run, when the line before it says so with
its reason: `<!-- not run: … -->`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = {
    "analyze.md",
    "ask-for-a-variant.md",
    "assignments.md",
    "bandits.md",
    "clv.md",
    "http-api.md",
    "importing.md",
    "ingest.md",
    "keys.md",
    "mabwiser.md",
    "openfeature.md",
    "operations.md",
    "planning.md",
    "programme.md",
    "recommend.md",
    "simulate.md",
    "stages.md",
    "target.md",
    "templates.md",
    "validate.md",
    "webhooks.md",
}
"""Pages whose shell examples take longest: they run in the slow suite."""
LONG_PYTHON = {
    "statistics-bayes.md",
    "statistics-designs.md",
    "statistics-early.md",
    "statistics-rows.md",
    "statistics-several.md",
}
"""Pages of many Python blocks, likewise."""
BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>\w+)\n(?P<text>.*?)\n```", re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    text = document.read_text(encoding="utf-8")
    return [
        match["text"]
        for match in BLOCK.finditer(text)
        if match["language"] == language and not match["before"].startswith("<!-- not run:")
    ]


def with_blocks(language: str) -> list[object]:
    return [
        pytest.param(
            document,
            id=str(document.relative_to(ROOT)),
            marks=[pytest.mark.slow] if document.name in (LONG if language == "sh" else LONG_PYTHON) else [],
        )
        for document in DOCUMENTS
        if blocks(document, language)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EQUIPOISE_")}
    scripts = str(Path(sys.executable).parent)
    return {**kept, "PATH": scripts + os.pathsep + os.environ["PATH"], "HOME": str(folder), "COLUMNS": "110"}


@pytest.mark.parametrize("document", with_blocks("sh"))
def test_shell_examples(document: Path, folder: Path) -> None:
    script = "\n".join(blocks(document, "sh"))
    if "curl" in script and shutil.which("curl") is None:
        pytest.skip("curl is missing: apt-get install curl")
    port = free_port()
    script = script.replace(":8080", f":{port}").replace("--port 8080", f"--port {port}")
    trap = "trap 'status=$?; kill $(jobs -p) 2>/dev/null || true; wait; exit $status' EXIT\n"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", trap + script],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert '"status":5' not in done.stdout.replace(" ", "")


@pytest.mark.parametrize("document", with_blocks("python"))
def test_python_examples(document: Path, folder: Path) -> None:
    for number, text in enumerate(blocks(document, "python"), 1):
        if ">>>" in text:
            script = (
                "import doctest, sys\n"
                f"test = doctest.DocTestParser().get_doctest({text!r}, {{}}, 'block {number}', None, 0)\n"
                "sys.exit(doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)"
                ".run(test).failed)"
            )
        else:
            script = text
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"block {number}\n{text}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"


def test_json_examples() -> None:
    for document in DOCUMENTS:
        for text in blocks(document, "json"):
            json.loads(text)


def test_readme_opens_with_the_two_commands() -> None:
    opening = (ROOT / "README.md").read_text(encoding="utf-8")[:800]
    assert "make run" in opening
    assert "make test" in opening


def test_the_command_reference_is_what_the_commands_say() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import cli_reference
    finally:
        sys.path.pop(0)
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == cli_reference.render(), "run `make docs`"


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
