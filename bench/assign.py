"""Assigning ten million ids at once, beside a bare ``sha256`` over the same column: ``python -m bench.assign``.

All run on one DuckDB, in one run, in turn, over a table in memory; nothing is read from or written to a file while the
clock runs, and all end in counting what they made. The ids lie in slices, and every query takes a slice before the next
slice is begun, so that a busy machine slows all alike; times are the process's CPU time on all threads, and ratios are
medians over the slices. ``equipoise assign`` from Parquet to Parquet, with identities, is timed once, apart.

How many digests the order of deciding needs sets a floor, and the table prints it (digests times what a salted one
costs): with a layer and a holdout every unit is hashed for the holdout, those who pass it again for the layer, those
in the slot once more for the variant. The more of the layer an experiment has, the more it hashes.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from allocation.compiled import compile_experiment
from allocation.plan import ExperimentPlan, HoldoutPlan, LayerPlan, PhasePlan, VariantPlan
from allocation.sql import assignment_sql

IDS = int(os.environ.get("EQUIPOISE_BENCH_IDS", "10000000"))
SLICES = 20
BARE = "bare sha256"
SALTED = "sha256 of salt and id"


def plan(traffic: str = "0.5", **fields: Any) -> ExperimentPlan:
    """Return an experiment of three variants."""
    return ExperimentPlan(
        key="bench",
        revision=1,
        state="running",
        variants=(VariantPlan("control"), VariantPlan("a"), VariantPlan("b")),
        phases=(PhasePlan(1, "5f0c1e2d3b4a6978", (1, 1, 1), traffic),),
        **fields,
    )


def layered(slot: str) -> dict[str, Any]:
    """Return a layer of which the experiment has the share ``slot``, and a global holdout of 5 %."""
    return {
        "layer": LayerPlan("coupons", "1a2b3c4d5e6f7081", (("0", slot),)),
        "holdouts": (HoldoutPlan("control-group", "8f7e6d5c4b3a2910", "0.05"),),
    }


CASES: dict[str, tuple[ExperimentPlan, float, float | None]] = {
    # name → plan, digests for each unit, goal (times the bare sha256)
    "traffic gate and variant": (plan(), 1.0, 1.5),
    "… holdout 5 %, a tenth of a layer": (plan(**layered("0.1")), 1 + 0.95 + 0.95 * 0.1, 2.3),
    "… holdout 5 %, a fifth of a layer": (plan(**layered("0.2")), 1 + 0.95 + 0.95 * 0.2, None),
    "… holdout 5 %, half of a layer": (plan(**layered("0.5")), 1 + 0.95 + 0.95 * 0.5, None),
}


def statements(table: str) -> dict[str, str]:
    """Return the queries: each makes its columns for every unit and counts them."""
    made = {
        BARE: f"SELECT count(sha256(unit)) FROM {table}",
        SALTED: f"SELECT count(sha256('5f0c1e2d3b4a6978:' || unit)) FROM {table}",
    }
    for name, (experiment, _, _) in CASES.items():
        query = assignment_sql(experiment, "duckdb", table=table)
        made[name] = f"SELECT count(unit), count(variant), count(reason) FROM ({query})"
    return made


def measure(connection: duckdb.DuckDBPyConnection) -> dict[str, list[float]]:
    """Return the CPU seconds of each query on each slice; the order turns from slice to slice."""
    labels = list(statements("slice"))
    times: dict[str, list[float]] = {label: [] for label in labels}
    size = IDS // SLICES
    for i in range(-1, SLICES):  # the first one only warms up
        ids = f"SELECT 'member-' || i AS unit FROM range({max(i, 0) * size}, {(max(i, 0) + 1) * size}) AS ids(i)"
        connection.execute(f"CREATE OR REPLACE TABLE slice AS {ids}")
        queries = statements("slice")
        for label in labels[i % len(labels) :] + labels[: i % len(labels)]:
            start = time.process_time()
            connection.execute(queries[label]).fetchall()
            if i >= 0:
                times[label].append(time.process_time() - start)
    return times


def whole_file(connection: duckdb.DuckDBPyConnection) -> tuple[float, int]:
    """Return the seconds of ``equipoise assign`` from Parquet to Parquet, and the bytes written."""
    from experiments.assignments.assign import assign_file

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "members.parquet", Path(folder) / "assigned.parquet"
        ids = f"SELECT 'member-' || i AS unit FROM range({IDS}) AS ids(i)"
        connection.execute(f"COPY ({ids}) TO '{source}' (FORMAT parquet)")
        start = time.perf_counter()
        result = assign_file(source, target, compile_experiment(plan()), now=0)
        seconds = time.perf_counter() - start
        if result.rows != IDS:
            raise AssertionError(f"{result.rows} rows instead of {IDS}")
        return seconds, target.stat().st_size


def main() -> int:
    """Measure, print the table, keep it as JSON, and say which goals are met."""
    connection = duckdb.connect()
    times = measure(connection)
    salted = statistics.median(one / bare for one, bare in zip(times[SALTED], times[BARE], strict=True))
    rows = []
    for label, values in times.items():
        ratios = [value / bare for value, bare in zip(values, times[BARE], strict=True)]
        _, digests, goal = CASES.get(label, (None, 1.0, None))
        rows.append(
            {
                "query": label,
                "cpu_s": sum(values),
                "ns_per_id": statistics.median(values) / (IDS // SLICES) * 1e9,
                "ratio": statistics.median(ratios),
                "ratio_low": min(ratios),
                "ratio_high": max(ratios),
                "digests_per_id": digests,
                "floor": None if label == BARE else digests * salted,
                "goal": goal,
                "met": None if goal is None else statistics.median(ratios) <= goal,
            }
        )
    print(f"{f'{IDS:,} ids, DuckDB {duckdb.__version__}':36}{'CPU s':>8}{'ns/id':>8}{'digests':>9}{'floor':>7}"
          f"{'times bare':>12}{'(range)':>14}   goal")  # fmt: skip
    for row in rows:
        spread = f"({row['ratio_low']:.2f}–{row['ratio_high']:.2f})"
        goal = "" if row["goal"] is None else f"≤ {row['goal']:g} × {'met' if row['met'] else 'MISSED'}"
        floor = "" if row["floor"] is None else f"{row['floor']:.2f}"
        print(f"{row['query']:36}{row['cpu_s']:8.2f}{row['ns_per_id']:8.0f}{row['digests_per_id']:9.2f}{floor:>7}"
              f"{row['ratio']:12.2f}{spread:>14}   {goal}")  # fmt: skip
    seconds, size = whole_file(connection)
    print(f"equipoise assign, Parquet to Parquet with identities: {seconds:.1f} s, {size / 1e6:.0f} MB written")
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    document = {
        "bench": "assign",
        "ids": IDS,
        "duckdb": duckdb.__version__,
        "machine": platform.machine(),
        "threads": connection.execute("SELECT current_setting('threads')").fetchall()[0][0],
        "slices": SLICES,
        "rows": rows,
        "whole_file_s": seconds,
        "whole_file_bytes": size,
    }
    (out / "assign.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return int(any(row["met"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
