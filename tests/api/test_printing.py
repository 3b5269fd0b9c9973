"""What reaches standard output: any encoding, any width, any name, and a disk that is full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.report.render_table import print_report

NAMES = ["[/b]", "[red]x", ":tada: 满减", "a name that goes on and on and on and on and on for ever and ever"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "[bold]组": rng.choice(NAMES, 2000),
            "[/m]": rng.integers(0, 2, 2000),
            "x": rng.normal(3, 1, 2000),
            "[i]段": rng.choice(["[/i]", "b"], 2000),
        }
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    return tmp_path / "a.csv"


def arguments(file: Path, *more: str) -> list[str]:
    given = ["analyze", str(file), "--variant", "[bold]组", "--control", "[/b]", "--metric", "[/m]", "--metric", "x"]
    return [*given, "--breakdown", "[i]段", *more]


def run(file: Path, *more: str, python: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, *python, "-c", "from api.cli import main; main()", *arguments(file, *more)]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False, timeout=60)


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_a_table_degrades_to_what_the_terminal_speaks(file: Path, encoding: str) -> None:
    done = run(file, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)
    assert "[red]x" in shown, "names are text, not styles"
    assert ":tada: " in shown, "names are text, not pictures"
    assert ("满减" in shown) == (encoding == "gbk")
    assert "Unclear" in shown
    assert "…" not in shown, "nothing is cut off where there is no terminal"


@pytest.mark.parametrize("output", ["json", "html"])
def test_documents_are_utf8_whatever_the_terminal_speaks(file: Path, output: str) -> None:
    done = run(file, "--output", output, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "满减" in done.stdout.decode("utf-8")
    if output == "json":
        assert json.loads(done.stdout)["plan"]["variants"][0]["key"] == "[/b]"


def test_warnings_as_errors_do_not_end_the_command(file: Path) -> None:
    done = run(file, python=("-W", "error"))
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's disk that is always full")
@pytest.mark.parametrize("output", ["table"])
def test_a_full_disk_gets_one_line(file: Path, output: str) -> None:
    command = [sys.executable, "-c", "from api.cli import main; main()", *arguments(file, "--output", output)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr == b"equipoise: standard output cannot be written: No space left on device\n"


def test_a_reader_that_goes_away_gets_no_traceback(file: Path) -> None:
    command = [sys.executable, "-c", "from api.cli import main; main()", *arguments(file, "--output", "json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("width", [40, 80, 140])
@pytest.mark.parametrize("lang", ["en", "zh-CN"])
def test_no_figure_is_cut_off_on_a_narrow_terminal(file: Path, width: int, lang: str) -> None:
    options = AnalyzeOptions(variant="[bold]组", control="[/b]", metrics=["[/m]", "x"], breakdowns=["[i]段"])
    report = analyze_file(file, options)
    console = Console(width=width, record=True, file=open(os.devnull, "w"), markup=False, emoji=False, highlight=False)  # noqa: SIM115, PTH123
    print_report(report, console, lang=lang)
    shown = " ".join(console.export_text().split())
    assert "…" not in shown
    for metric in report.metrics:
        assert metric.name in shown
    mean = report.metrics[0].variants[0].mean
    assert mean is not None
    assert f"{100 * mean:.1f}%" in shown
