"""The rooms import one way, and what decides stays light."""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("allocation", "stats", "experiments", "api")
# api → experiments → allocation, stats
MAY_IMPORT = {
    "allocation": {"allocation"},
    "stats": {"stats"},
    "experiments": {"experiments", "allocation", "stats"},
    "api": {"api", "experiments", "allocation", "stats"},
}
# Rooms without I/O or a clock: time, randomness and data come in as arguments.
IMPURE = {
    "asyncio", "duckdb", "flask", "http", "ibis", "io", "os", "pathlib", "psycopg", "random", "requests",
    "secrets", "shutil", "socket", "sqlalchemy", "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
# Files are put together and read in memory: zipfile and pickle want something like a file.
IN_MEMORY = {("allocation/bandits/policy.py", "io"), ("allocation/bandits/mabwiser/unpickling.py", "io")}
HEAVY = ("pandas", "scipy", "mabwiser", "ibis", "sqlalchemy", "pydantic", "duckdb", "pyarrow", "statsmodels", "flask")


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import in a file, also of those inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: import by the full name"
            yield node.lineno, node.module or ""


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_one_way(room: str) -> None:
    assert files(room)
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files(room)
        for line, name in imports(file)
        if (top := name.split(".")[0]) in (*ROOMS, "tests", "bench") and top not in MAY_IMPORT[room]
    ]
    assert not wrong


@pytest.mark.parametrize("room", ["allocation", "stats"])
def test_pure_rooms_import_no_io_and_no_clock(room: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files(room)
        for line, name in imports(file)
        if name.split(".")[0] in IMPURE and (str(file.relative_to(ROOT)), name) not in IN_MEMORY
    ]
    assert not wrong


def loaded_by(module: str) -> set[str]:
    """Return the top-level packages in memory after importing a module in a fresh interpreter."""
    code = f"import {module}, json, sys; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["allocation", "allocation.decide", "allocation.snapshot", "allocation.compiled"])
def test_what_decides_is_light(module: str) -> None:
    assert not loaded_by(module).intersection({*HEAVY, "numpy", "yaml", "click"})


def test_the_serving_front_is_light() -> None:
    """Importing the front loads what decides and logs; Flask and the store come on a thread after it."""
    assert not loaded_by("api.asgi").intersection({*HEAVY, "numpy", "mabwiser", "sklearn"})


def test_help_is_quick() -> None:
    """``equipoise --help`` takes less than 0.3 s of CPU: the best of five, since a busy machine only adds."""
    code = "import sys; from api.cli import main; sys.argv = ['equipoise', '--help']; main()"
    assert min(_cpu_seconds([sys.executable, "-c", code]) for _ in range(5)) < 0.3


def _cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def test_the_room_reads_as_a_sentence() -> None:
    """``allocation.decide`` and ``allocation.sql`` are the functions, whatever was imported before."""
    code = (
        "import allocation.sql, allocation.decide, allocation; from allocation.sql import caveats;"
        "from allocation import decide, explain, sql; print(all(map(callable, (decide, explain, sql, allocation.sql))))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"
