"""Uplift: how well a score ranks, beside scikit-uplift.

``python -m bench.uplift``. CPU seconds on one thread, best of several runs.

- A Qini curve with 300 bootstrap draws at 21,000 rows (a Hillstrom test half), and the curve alone at a million.
- scikit-uplift's Qini and uplift scores of the same rows: the same figures to 1e-9 by ``stats.uplift.conversions``,
  with ties and without, and its CPU time beside ours.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

ROWS, MANY_ROWS, DRAWS = 21_347, 1_000_000, 300
MAX_INTERVALS_SECONDS = 3.0
TOLERANCE = 1e-9
SEED = 6


def rows_of(n: int, levels: int | None = None, seed: int = SEED) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return outcomes, arms and scores like those of an e-mail campaign; ``levels``: so many distinct scores."""
    generator = np.random.default_rng(seed)
    hidden, treated = generator.random(n), generator.random(n) < 0.5
    outcome = (generator.random(n) < 0.1 + 0.09 * hidden * treated).astype(np.int64)
    score = hidden + generator.normal(0, 0.5, n)
    return outcome, treated.astype(np.int64), score if levels is None else np.round(score * levels)


def cpu_seconds(call: Callable[[], object], runs: int = 3) -> float:
    """Return the CPU time of the quickest run."""
    took = []
    for _ in range(runs):
        began = time.process_time()
        call()
        took.append(time.process_time() - began)
    return min(took)


def curves() -> dict[str, float]:
    """Return CPU seconds of curves and intervals."""
    from stats.uplift.bootstrap import curve_intervals
    from stats.uplift.curves import uplift_curve

    few, tied, many = rows_of(ROWS), rows_of(ROWS, 20), rows_of(MANY_ROWS)
    return {
        "intervals": cpu_seconds(lambda: curve_intervals(*few, draws=DRAWS)),
        "intervals_ties": cpu_seconds(lambda: curve_intervals(*tied, draws=DRAWS)),
        "curve_few": cpu_seconds(lambda: uplift_curve(*few)),
        "curve_many": cpu_seconds(lambda: uplift_curve(*many)),
    }


def peer() -> dict[str, Any] | None:
    """Return how far scikit-uplift's scores are from ours converted, and its CPU seconds; ``None`` without it."""
    try:
        from sklift.metrics import qini_auc_score, uplift_auc_score
    except ImportError:
        return None
    import warnings

    from stats.uplift.conversions import sklift_qini_auc_score, sklift_uplift_auc_score

    warnings.filterwarnings("ignore", category=FutureWarning)  # it calls what scikit-learn 1.10 will remove
    widest = 0.0
    for seed in range(10):
        for levels in (None, 20, 2):
            y, w, score = rows_of(3000, levels, seed)
            pairs = (
                (sklift_uplift_auc_score(y, w, score), uplift_auc_score(y, score, w)),
                (sklift_qini_auc_score(y, w, score), qini_auc_score(y, score, w)),
                (
                    sklift_qini_auc_score(y, w, score, negative_effect=False),
                    qini_auc_score(y, score, w, negative_effect=False),
                ),
            )
            widest = max(widest, *(abs(ours - theirs) for ours, theirs in pairs if ours is not None))
    y, w, score = rows_of(MANY_ROWS)
    return {
        "widest": widest,
        "theirs_many": cpu_seconds(lambda: qini_auc_score(y, score, w)),
        "ours_many": cpu_seconds(lambda: sklift_qini_auc_score(y, w, score)),
    }


def main() -> int:
    """Measure, print and keep the figures; return 1 when a goal is missed."""
    took, beside = curves(), peer()
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    figures = {"machine": machine, "curves": took, "scikit-uplift": beside}
    (out / "uplift.json").write_text(json.dumps(figures, indent=2) + "\n")
    goal = f"(goal ≤ {MAX_INTERVALS_SECONDS:g})"
    print(f"CPU seconds on one thread; load {machine['load']:.1f}")
    print(f"  curve with {DRAWS} bootstrap draws, {ROWS:,} rows      {took['intervals']:8.3f}  {goal}")
    print(f"  the same, few distinct scores            {took['intervals_ties']:8.3f}  {goal}")
    print(f"  curve alone, {ROWS:,} rows                  {took['curve_few']:8.4f}")
    print(f"  curve alone, {MANY_ROWS:,} rows               {took['curve_many']:8.3f}")
    missed = [took["intervals"] > MAX_INTERVALS_SECONDS, took["intervals_ties"] > MAX_INTERVALS_SECONDS]
    if beside is None:
        print("  scikit-uplift is not installed here: run from .venv-bench")
    else:
        print(f"  qini_auc_score, {MANY_ROWS:,} rows: scikit-uplift  {beside['theirs_many']:8.3f}")
        print(f"                              ours converted {beside['ours_many']:8.3f}")
        print(f"  widest difference of 90 scores           {beside['widest']:8.1e}  (goal ≤ {TOLERANCE:g})")
        missed.append(beside["widest"] > TOLERANCE)
    return int(any(missed))


if __name__ == "__main__":
    sys.exit(main())
