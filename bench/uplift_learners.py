"""Uplift learners: what fitting and scoring cost, and how near the effects are to the truth.

``python -m bench.uplift_learners``. CPU seconds on one thread, fitting and scoring the same rows, on the smooth surface
of experiments/simulating/surfaces.py (16 columns). At 64,000 rows the better of two runs, at a million the only one.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

SHAPE, SEED = "smooth", 6
FEW, MANY = 64_000, 1_000_000
GOALS = {
    (FEW, "x", "linear"): 1.0,
    (FEW, "x", "trees"): 5.0,
    (MANY, "x", "trees"): 30.0,
    (MANY, "dr", "trees"): 45.0,
}
LEAST_CORRELATION = {FEW: 0.74, MANY: 0.95}
"""Of the best learner at that size, with the true effect."""


def measure(rows: int, runs: int) -> list[dict[str, object]]:
    """Return CPU seconds and correlation with the true effect, of X and DR over both bases."""
    from experiments.simulating.surfaces import draw
    from stats.uplift import learners

    drawn = draw(SHAPE, rows, seed=SEED)
    learners.fit(drawn.trial.take(np.arange(2000)), "x", "trees").effects(drawn.trial.features[:10])  # imports
    found: list[dict[str, object]] = []
    for learner, base in (("x", "linear"), ("dr", "linear"), ("x", "trees"), ("dr", "trees")):
        took = []
        for _ in range(runs):
            began = time.process_time()
            effects = learners.fit(drawn.trial, learner, base, seed=SEED).effects(drawn.trial.features)
            took.append(time.process_time() - began)
        correlation = float(np.corrcoef(effects[:, 0], drawn.effects[:, 0])[0, 1])
        found.append(
            {
                "rows": rows,
                "learner": learner,
                "base": base,
                "cpu_seconds": min(took),
                "goal": GOALS.get((rows, learner, base)),
                "correlation": correlation,
            }
        )
    return found


def main() -> int:
    """Measure, print and keep the figures; return 1 when a goal is missed."""
    found = measure(FEW, 2) + measure(MANY, 1)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    (out / "uplift_learners.json").write_text(json.dumps({"machine": machine, "learners": found}, indent=2) + "\n")
    print(f"CPU seconds on one thread, fit and score; load {machine['load']:.1f}")
    missed = []
    for one in found:
        goal = f"(goal ≤ {one['goal']:g})" if one["goal"] is not None else ""
        name, seconds = f"{one['learner']}-{one['base']}", one["cpu_seconds"]
        print(f"  {one['rows']:>9,} rows  {name:<10} {seconds:7.2f}  correlation {one['correlation']:.3f}  {goal}")
        missed.append(one["goal"] is not None and float(one["cpu_seconds"]) > float(one["goal"]))  # type: ignore[arg-type]
    for rows, least in LEAST_CORRELATION.items():
        best = max(float(one["correlation"]) for one in found if one["rows"] == rows)  # type: ignore[arg-type]
        print(f"  {rows:>9,} rows  best correlation {best:.3f}  (goal ≥ {least:g})")
        missed.append(best < least)
    return int(any(missed))


if __name__ == "__main__":
    sys.exit(main())
