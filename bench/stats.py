"""The statistics engine: time per cell, bounds for 100 looks, and a whole analysis beside tea-tasting.

``python -m bench.stats`` (10 million rows) or ``python -m bench.stats ROWS``.

Cells: p and interval of 100,000 comparisons in one call (what a grid of metrics × segments × days is), from sums in
memory, best of several runs. Whole analysis: one row per member in a DuckDB table, four metrics (mean, ratio, mean with
CUPED, ratio with CUPED), from SQL to intervals, by ours and by tea-tasting through Ibis on the same file. Every run is
a process of its own, so that peak memory is its own, and first analyses a small table, so that neither side's imports
count; runs are paired (theirs, ours, ours, theirs) and the table shows medians, and the median of the pairs' ratios.
Money is in whole minor units, as the service keeps it (the goals are for that), and once more in doubles with two
decimals, which ours checks and sums exactly.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 10_000_000
CELLS = 100_000
PAIRS = 2
THREADS = 2
MAX_MICROSECONDS = 1.0
MAX_BOUNDS_MS = 50.0
MAX_TIME_RATIO = 0.5
MAX_PEAK_RATIO = 0.7
SEED = 20

DATA = """
CREATE TABLE members AS
SELECT (i % 2)::INTEGER AS variant, sessions, orders, {spend} AS revenue, sessions_before, orders_before,
  {spend_before} AS revenue_before
FROM (
  SELECT i, (1 + keen + hash(i * 3) % 8)::BIGINT AS sessions, ((keen + hash(i * 5) % 7) // 5)::BIGINT AS orders,
    (1 + keen + hash(i * 7) % 8)::BIGINT AS sessions_before,
    ((keen + hash(i * 11) % 7) // 5)::BIGINT AS orders_before
  FROM (SELECT i, (hash(i) % 6)::BIGINT AS keen FROM range({rows}) r(i))
);
CREATE TABLE few AS FROM members LIMIT 1000;
"""
MONEY = {"minor units": "({minor})::BIGINT", "doubles": "(({minor}) / 100.0)::DOUBLE"}
SPEND = "orders * (500 + hash(i * 13) % 4000)", "orders_before * (500 + hash(i * 17) % 4000)"


def make(file: Path, rows: int, money: str) -> None:
    """Write the table of members into a DuckDB file."""
    import duckdb

    now, before = (MONEY[money].format(minor=minor) for minor in SPEND)
    with duckdb.connect(str(file), config={"threads": THREADS, "memory_limit": "1GB"}) as connection:
        connection.execute(DATA.format(rows=rows, spend=now, spend_before=before))


def ours(file: Path) -> dict[str, Any]:
    """Analyse with this engine: scan, sums, moments, effects."""
    import ibis

    from experiments.measure.cells import ColumnGroup, compute_cells
    from experiments.measure.scan import scan_columns
    from stats.adjustment import cuped_means, cuped_ratios
    from stats.effects import difference_of_means, relative
    from stats.samples import means, ratios

    visits, visits_before = ("orders", "sessions"), ("orders_before", "sessions_before")
    groups = [ColumnGroup("revenue", ("revenue", "revenue_before")), ColumnGroup("rate", (*visits, *visits_before))]

    def analyse(table: Any) -> dict[str, list[Any]]:
        scans = scan_columns(table, [name for group in groups for name in group.columns])
        cells = compute_cells(table, groups, scans, variant="variant", variants=("0", "1"))
        money, rate = cells.totals["revenue"], cells.totals["rate"]
        samples = {
            "mean": means(money, "revenue"),
            "ratio": ratios(rate, *visits),
            "mean_cuped": cuped_means(money, "revenue", ["revenue_before"]).sample,
            "ratio_cuped": cuped_ratios(rate, *visits, [visits_before]).sample,
        }
        found = {}
        for name, sample in samples.items():
            effect, lift = difference_of_means(sample[0], sample[1]).value(), relative(sample[0], sample[1]).value()
            found[name] = [effect.estimate, effect.ci_low, effect.ci_high, effect.p_value, lift.estimate]
        return found

    return _timed(ibis.duckdb.connect(str(file), read_only=True, threads=THREADS), analyse)


def theirs(file: Path) -> dict[str, Any]:
    """Analyse with tea-tasting."""
    import ibis
    import tea_tasting as tt

    def analyse(table: Any) -> dict[str, list[Any]]:
        result = tt.Experiment(
            mean=tt.Mean("revenue"),
            ratio=tt.RatioOfMeans("orders", "sessions"),
            mean_cuped=tt.Mean("revenue", "revenue_before"),
            ratio_cuped=tt.RatioOfMeans("orders", "sessions", "orders_before", "sessions_before"),
        ).analyze(table)
        return {
            name: [r.effect_size, r.effect_size_ci_lower, r.effect_size_ci_upper, r.pvalue, r.rel_effect_size]
            for name, r in result.items()
        }

    return _timed(ibis.duckdb.connect(str(file), read_only=True, threads=THREADS), analyse)


def _timed(connection: Any, analyse: Callable[[Any], dict[str, list[Any]]]) -> dict[str, Any]:
    analyse(connection.table("few"))
    table = connection.table("members")
    began, busy = time.perf_counter(), time.process_time()
    found = analyse(table)
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - busy, "effects": found}


def run(side: str, file: Path) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [sys.executable, "-m", "bench.stats", side, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def analyses(rows: int, money: str) -> dict[str, Any]:
    """Run both sides in pairs and return medians and ratios."""
    with tempfile.TemporaryDirectory(prefix="equipoise-bench-") as scratch:
        file = Path(scratch) / "members.duckdb"
        make(file, rows, money)
        peer: list[dict[str, Any]] = []
        own: list[dict[str, Any]] = []
        ratios: list[float] = []
        cpu_ratios: list[float] = []
        for _ in range(PAIRS):
            a, b, c, d = (run(side, file) for side in ("theirs", "ours", "ours", "theirs"))
            peer += [a, d]
            own += [b, c]
            ratios += [b["seconds"] / a["seconds"], c["seconds"] / d["seconds"]]
            cpu_ratios += [b["cpu_seconds"] / a["cpu_seconds"], c["cpu_seconds"] / d["cpu_seconds"]]
    _same(peer[0]["effects"], own[0]["effects"])
    middle = {
        f"{side}_{what}": statistics.median(one[what] for one in runs)
        for side, runs in (("theirs", peer), ("ours", own))
        for what in ("seconds", "cpu_seconds", "peak_mb")
    }
    return {
        "rows": rows,
        **middle,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "cpu_ratio": statistics.median(cpu_ratios),
        "peak_ratio": middle["ours_peak_mb"] / middle["theirs_peak_mb"],
    }


def _same(theirs: dict[str, list[float]], ours: dict[str, list[float]]) -> None:
    """Check that both sides have done the same work; their θ is of the variants thrown together, hence the slack."""
    for name, effects in theirs.items():
        slack = 1e-8 if "cuped" not in name else 1e-3
        width = effects[2] - effects[1]
        for a, b in zip(effects[:3], ours[name][:3], strict=True):
            if abs(a - b) > slack * width:
                raise SystemExit(f"the two sides disagree about {name}: {effects} and {ours[name]}")


def cells() -> dict[str, float]:
    """Return microseconds a cell for p and interval of 100,000 comparisons."""
    from stats.adjustment import cuped_means, cuped_ratios
    from stats.effects import (
        difference_of_means,
        difference_of_proportions,
        proportions,
        ratio_of_proportions,
        relative,
    )
    from stats.moments import Moments
    from stats.samples import Sample

    rng = np.random.default_rng(SEED)
    n = rng.integers(500, 50_000, (2, CELLS))
    shares = proportions(rng.binomial(n, 0.05), n)
    amounts = Sample.of(n, rng.normal(5, 0.1, n.shape), rng.gamma(4, 4, n.shape))

    def moments(columns: int) -> Moments:
        noise = rng.normal(size=(*n.shape, columns, columns))
        spread = (noise @ noise.swapaxes(-1, -2) + np.eye(columns)) * n[..., None, None]
        return Moments(tuple("abcd"[:columns]), n, np.zeros(columns), rng.normal(5, 0.1, (*n.shape, columns)), spread)

    two, four = moments(2), moments(4)

    def cuped(adjusted: Any) -> None:
        difference_of_means(adjusted.sample[0], adjusted.sample[1])

    timed: dict[str, Callable[[], object]] = {
        "Welch": lambda: difference_of_means(amounts[0], amounts[1]),
        "relative (Fieller)": lambda: relative(amounts[0], amounts[1]),
        "proportions (score)": lambda: difference_of_proportions(shares[0], shares[1]),
        "CUPED mean, from moments": lambda: cuped(cuped_means(two, "a", ["b"])),
        "CUPED ratio, from moments": lambda: cuped(cuped_ratios(four, "a", "b", [("c", "d")])),
        "ratio of proportions (Koopman)": lambda: ratio_of_proportions(shares[0], shares[1]),
    }
    return {name: _fastest(call) / CELLS * 1e6 for name, call in timed.items()}


def bounds_ms() -> float:
    """Return milliseconds for the O'Brien–Fleming-type bounds of 100 looks."""
    from stats.sequential import bounds

    return _fastest(lambda: bounds(np.linspace(0.01, 1.0, 100))) * 1e3


def _fastest(call: Callable[[], object]) -> float:
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return float(best)


GOAL_CELLS = ("Welch", "proportions (score)", "CUPED mean, from moments")


def main(rows: int) -> int:
    """Measure, print and keep the figures; return 1 when a goal is missed."""
    per_cell, bounds_took = cells(), bounds_ms()
    whole = {money: analyses(rows, money) for money in MONEY}
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    figures = {"machine": machine, "cells": per_cell, "bounds_ms": bounds_took, "whole": whole}
    (out / "stats.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"p and interval of {CELLS:,} cells, microseconds a cell")
    for name, value in per_cell.items():
        print(f"  {name:32}{value:6.2f}{f'  (goal ≤ {MAX_MICROSECONDS:g})' if name in GOAL_CELLS else ''}")
    print(f"group-sequential bounds, 100 looks: {bounds_took:.1f} ms (goal ≤ {MAX_BOUNDS_MS:g})")
    print(f"{rows:,} members, 4 metrics (2 with CUPED), {THREADS} threads, {2 * PAIRS} pairs")
    print(f"  {'':28}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}")
    for money, one in whole.items():
        print(f"  money in {money}")
        for side, name in (("theirs", "tea-tasting, Ibis"), ("ours", "ours")):
            numbers = [one[f"{side}_{what}"] for what in ("seconds", "cpu_seconds", "peak_mb")]
            print(f"    {name:26}{numbers[0]:9.2f}{numbers[1]:9.2f}{numbers[2]:9.0f}")
        print(f"    ratio {one['ratio']:.2f}, of CPU seconds {one['cpu_ratio']:.2f}, of peak {one['peak_ratio']:.2f}")
    goal = whole["minor units"]
    print(f"  goals: ratio ≤ {MAX_TIME_RATIO}, of peak ≤ {MAX_PEAK_RATIO}, in minor units")
    missed = [
        any(per_cell[name] > MAX_MICROSECONDS for name in GOAL_CELLS),
        bounds_took > MAX_BOUNDS_MS,
        goal["ratio"] > MAX_TIME_RATIO,
        goal["peak_ratio"] > MAX_PEAK_RATIO,
    ]
    return int(any(missed))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("ours", "theirs"):
        result = (ours if sys.argv[1] == "ours" else theirs)(Path(sys.argv[2]))
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(result))
    else:
        sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else ROWS))
