"""The numeric cases of ../shared/reference/stats_reference.json; each names its own oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stats.moments import Moments


@pytest.fixture(scope="session")
def document(shared_dir: Path) -> dict[str, Any]:
    path = shared_dir / "reference" / "stats_reference.json"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def cases(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {case["name"]: case for case in document["cases"]}


@pytest.fixture(scope="session")
def rows(document: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, dtype=float) for name, values in document["shared_rows"].items()}


@pytest.fixture(scope="session")
def moments(rows: dict[str, np.ndarray]) -> Moments:
    """The 60 shared rows, cells by variant."""
    columns = [name for name in rows if name != "variant"]
    return Moments.from_rows(columns, np.column_stack([rows[c] for c in columns]), cell=rows["variant"].astype(int))
