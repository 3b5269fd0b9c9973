"""Whatever is missing in a report says why, the adjusted bounds too."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from experiments.analyze import AnalyzeOptions, analyze_file


def without_reason(node: Any, path: str = "") -> list[str]:
    """Return the places of estimates that lack a figure and a reason."""
    found: list[str] = []
    if isinstance(node, dict):
        bounds = ("estimate", "ci_low", "ci_high", "ci_low_adjusted", "ci_high_adjusted")
        if all(name in node for name in bounds) and any(node[name] is None for name in bounds) and not node["why"]:
            found.append(path)
        for name, value in node.items():
            found += without_reason(value, f"{path}/{name}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            found += without_reason(value, f"{path}/{i}")
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_baseline_near_zero_at_the_stricter_level_only(seed: int, tmp_path: Path) -> None:
    # t of control's mean lies between the plain 95 % bound (1.96) and that of five metrics together (about 2.6).
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(5)]
    n = 400
    with (tmp_path / "x.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "level", *names])
        arms = ["a", "b"] * (n // 2)
        columns = rng.normal(size=(n, 5))
        for arm in ("a", "b"):
            rows = [i for i in range(n) if arms[i] == arm]
            part = columns[rows]
            part = (part - part.mean(axis=0)) / part.std(axis=0, ddof=1)
            columns[rows] = part + 2.3 / np.sqrt(len(rows))
        for i in range(n):
            writer.writerow([arms[i], "all", *columns[i]])
    options = AnalyzeOptions(variant="variant", control="a", metrics=names, breakdowns=["level"])
    report = msgspec.to_builtins(analyze_file(tmp_path / "x.csv", options))
    relative = report["metrics"][0]["comparisons"][0]["relative"]
    assert relative["ci_low"] is not None
    assert relative["ci_low_adjusted"] is None
    assert "cannot be told from zero" in relative["why"]
    assert without_reason(report) == []
