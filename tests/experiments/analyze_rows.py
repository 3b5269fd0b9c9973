"""Rows of units with a column for everything that `analyze FILE` is asked about, and how its answers are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.analyze import AnalyzeOptions, analyze_file
from experiments.report.document import Comparison, MetricResult, Report


def rows_of(n: int = 4000, seed: int = 11) -> pd.DataFrame:
    """Two variants with small effects, and a column for everything that is asked about."""
    rng = np.random.default_rng(seed)
    treated = rng.integers(0, 2, n)
    before = np.round(rng.gamma(2, 30, n), 2)
    tier = rng.choice(["gold", "silver", "basic"], n)
    bonus = (tier == "gold") * 25.0
    waited = np.round(rng.exponential(20 - 3 * treated, n), 1)
    last = np.round(rng.uniform(5, 40, n), 1)
    return pd.DataFrame(
        {
            "member": [f"m{i}" for i in range(n)],
            "group": np.where(treated == 1, "coupon", "control"),
            "bought": (rng.random(n) < 0.2 + 0.04 * treated).astype(int),
            "spend": np.round(rng.gamma(2, 20, n) + 0.6 * before + bonus + 4 * treated, 2),
            "orders": rng.poisson(1.4, n) + 1,
            "refunds": rng.poisson(0.5, n),
            "before": before,
            "tier": tier,
            "opened": (rng.random(n) < 0.6).astype(int) * treated,
            "days": np.minimum(waited, last),
            "left": (waited <= last).astype(int),
            "day": pd.Timestamp("2026-03-01") + pd.to_timedelta(rng.integers(0, 20, n), unit="D"),
            "wave": rng.choice(["march", "april", "may"], n),
        }
    )


ASKED = AnalyzeOptions(variant="group", control="control")


def analyze(path: Path, **options: Any) -> Report:
    return analyze_file(path, replace(ASKED, **options))


def one(report: Report, name: str) -> tuple[MetricResult, Comparison]:
    metric = next(m for m in report.metrics if m.name == name)
    return metric, metric.comparisons[0]


def parts(frame: pd.DataFrame, column: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    a, b = (frame.loc[frame["group"] == g, column].to_numpy() for g in ("control", "coupon"))
    return a, b


def close(found: object, expected: object, rel: float = 1e-9) -> None:
    assert found == pytest.approx(expected, rel=rel, abs=1e-12)
