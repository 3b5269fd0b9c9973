"""Applications with the OpenFeature SDKs as they are, as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
MODULES = CLIENTS / "node_modules"
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
PROVIDERS = ("python", "node", "web")


def application(provider: str, base_url: str, flag: str, units: list[str], **ask: Any) -> dict[str, Any]:
    """Run one application to its end; return what it got, and what it reported."""
    if provider == "python":
        if not PYTHON.exists():
            pytest.skip("the client libraries are missing: make test installs them into .venv-clients")
        command = [str(PYTHON), str(CLIENTS / "openfeature_python.py")]
    else:
        command = [node(), str(CLIENTS / f"openfeature_{provider}.mjs")]
    asked = json.dumps({"base_url": base_url, "flag": flag, "units": units, **ask})
    done = subprocess.run(
        command, env={**os.environ, "ASK": asked}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def program(language: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an application's text as its author would: with the file of contrib/ beside it."""
    if language == "python":
        if not PYTHON.exists():
            pytest.skip("the client libraries are missing: make test installs them into .venv-clients")
        shutil.copy(ROOT / "contrib" / "python" / "equipoise_openfeature.py", folder)
        (folder / "app.py").write_text(text, encoding="utf-8")
        command = [str(PYTHON), "app.py"]
    else:
        found = node()
        shutil.copy(ROOT / "contrib" / "node" / "equipoise-openfeature.js", folder / "equipoise-openfeature.js")
        (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
        (folder / "node_modules").symlink_to(MODULES)
        (folder / "app.js").write_text(text, encoding="utf-8")
        command = [found, "app.js"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def node() -> str:
    """Return the path of Node, or skip."""
    path = shutil.which("node")
    if path is None or not MODULES.is_dir():
        pytest.skip("node or the client libraries are missing: make test installs them into tests/system/clients")
    return path


def bundled(script: str, folder: Path) -> str:
    """Return a script with all that it imports, as a page loads it."""
    node()
    out = folder / "bundle.js"
    subprocess.run(
        [
            str(MODULES / ".bin" / "esbuild"),
            str(CLIENTS / script),
            "--bundle",
            "--format=esm",
            "--platform=browser",
            "--external:eventsource",
            f"--outfile={out}",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return out.read_text("utf-8")
