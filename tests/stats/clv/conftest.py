"""The CDNOW customers of Fader and Hardie, as the lifetimes package carries them, and the reference cases."""

from __future__ import annotations

import csv
import datetime as dt
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

START = dt.date(1997, 1, 1).toordinal()
CALIBRATED = dt.date(1997, 9, 30).toordinal() - START
END = dt.date(1998, 6, 30).toordinal() - START


def _folder() -> Path:
    found = importlib.util.find_spec("lifetimes")
    if found is None or found.origin is None:
        pytest.skip("lifetimes is not installed: its CDNOW data are the reference")
    return Path(found.origin).parent / "datasets"


@pytest.fixture(scope="session")
def cdnow() -> np.ndarray:
    """Published summary, (2357, 4): repeat purchases, t_x and T in weeks, mean repeat spend."""
    with (_folder() / "cdnow_customers_summary_with_transactions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[name]) for name in ("x", "t_x", "T", "zbar")] for row in rows])


@pytest.fixture(scope="session")
def cdnow_orders() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every order of the same customers in 18 months: customer (from 0), day (from 1997-01-01), dollars."""
    lines = (_folder() / "CDNOW_sample.txt").read_text(encoding="utf-8").split("\n")
    rows = [line.split() for line in lines if line.strip()]
    customer = np.array([int(row[1]) - 1 for row in rows])
    day = np.array([dt.date.fromisoformat(row[2]).toordinal() - START for row in rows])
    return customer, day, np.array([float(row[4]) for row in rows])


@pytest.fixture(scope="session")
def reference(shared_dir: Path) -> dict[str, Any]:
    path = shared_dir / "reference" / "uplift_reference.json"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["clv_bgnbd_gg"]
    return found
