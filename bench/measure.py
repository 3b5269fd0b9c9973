"""Measuring an experiment from 10 million events, beside one hand-written DuckDB query: ``python -m bench.measure``.

Four metrics, each with CUPED: a proportion, a count, a sum of money and a ratio; orders count in their latest state,
refunds are reversed, covariates are taken as they were known before entry. Both sides read the same Parquet files with
two threads and must give the same moments. Every run is a process of its own, so that peak memory is its own; runs are
paired (hand, ours, ours, hand), the table shows medians, and the median of the pairs' ratios.
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
from pathlib import Path
from typing import Any

DAY_US = 86_400_000_000
START_US = 20_515 * DAY_US
NOW_US = START_US + 60 * DAY_US
EVENTS = 10_000_000
EVENTS_PER_UNIT = 20
PAIRS = 3
THREADS = 2
MAX_RATIO = 1.5
MAX_PEAK_MB = 1024

METRICS: list[dict[str, Any]] = [
    {"type": "proportion", "key": "visited", "event": "Visit"},
    {"type": "count", "key": "orders", "event": "Order Completed"},
    {"type": "sum", "key": "spend", "event": "Order Completed", "value": "value"},
    {
        "type": "ratio",
        "key": "per-visit",
        "event": "Order Completed",
        "value": "value",
        "denominator": {"event": "Visit"},
    },
]

DATA = """
COPY (
  SELECT md5(i::VARCHAR) AS decision_id, 'bench' AS experiment, 1::BIGINT AS revision, 1::BIGINT AS phase,
    'member' AS unit_type, 'm' || lpad(i::VARCHAR, 8, '0') AS unit, '' AS occasion, 'enrolled' AS kind,
    CASE WHEN hash(i) % 2 = 0 THEN 'control' ELSE 'a' END AS variant, 'assigned' AS reason, 0.5 AS propensity,
    ({start} + hash(i * 3) % {day})::BIGINT AS "at", '{{}}' AS frozen, NULL::VARCHAR AS holdout, '1' AS snapshot,
    'decide' AS source
  FROM range({units}) r(i)
) TO '{folder}/decisions.parquet' (FORMAT parquet);
COPY (
  SELECT 'app' AS source, ("at" // {day})::BIGINT AS day, 'e' || i AS event_id, name, 'member' AS unit_type,
    'm' || lpad((n % {units})::VARCHAR, 8, '0') AS unit, "at", "at" AS received_at,
    CASE WHEN name LIKE 'Order%' THEN 'o' || n END AS object_id,
    CASE WHEN name LIKE 'Order%' THEN (1000 + hash(n) % 20000)::BIGINT END AS value_minor,
    CASE WHEN name LIKE 'Order%' THEN 'CNY' END AS currency, NULL::VARCHAR AS decision_id, NULL::VARCHAR AS experiment,
    '{{"channel":"app"}}' AS properties
  FROM (
    SELECT i, CASE WHEN hash(i) % 100 < 2 THEN 'Order Refunded' WHEN hash(i) % 100 < 27 THEN 'Order Completed'
        ELSE 'Visit' END AS name,
      -- A refund takes back an order of the same number, stated a little before.
      CASE WHEN hash(i) % 100 < 2 THEN i - 1 ELSE i END AS n,
      ({start} - 28 * {day} + hash(i // 2 * 7) % (42 * {day}) + (i % 2) * 60000000)::BIGINT AS "at"
    FROM range({events}) r(i)
  )
) TO '{folder}/events.parquet' (FORMAT parquet);
"""

BY_HAND = """
WITH units AS (
  SELECT unit, min("at") AS t0, min(variant) AS variant
  FROM decisions WHERE experiment = 'bench' AND unit_type = 'member' AND kind = 'enrolled' AND phase = 1
  GROUP BY unit HAVING min(variant) = max(variant)
),
joined AS (
  SELECT u.unit, e."at" - u.t0 AS dt, e.name, e.object_id, e.value_minor
  FROM events e JOIN units u USING (unit)
  WHERE e.unit_type = 'member' AND e.name IN ('Visit', 'Order Completed', 'Order Refunded') AND e."at" <= {now}
),
orders AS (
  SELECT unit, min(dt) FILTER (name = 'Order Completed') AS dt,
    arg_max(value_minor, dt) FILTER (name = 'Order Completed') AS value,
    arg_max(value_minor, dt) FILTER (name = 'Order Completed' AND dt < 0) AS value_before,
    coalesce(sum(value_minor) FILTER (name = 'Order Refunded'), 0) AS refunded,
    coalesce(sum(value_minor) FILTER (name = 'Order Refunded' AND dt < 0), 0) AS refunded_before
  FROM joined WHERE object_id IS NOT NULL GROUP BY unit, object_id
),
bought AS (
  SELECT unit,
    count(*) FILTER (dt >= 0 AND dt < {window} AND refunded < value) AS orders,
    sum(value - refunded) FILTER (dt >= 0 AND dt < {window} AND refunded < value) AS spend,
    count(*) FILTER (dt < 0 AND dt >= -{before} AND refunded_before < value_before) AS orders_before,
    sum(value_before - refunded_before)
      FILTER (dt < 0 AND dt >= -{before} AND refunded_before < value_before) AS spend_before
  FROM orders GROUP BY unit
),
visits AS (
  SELECT unit, count(*) FILTER (dt >= 0 AND dt < {window}) AS visits,
    count(*) FILTER (dt < 0 AND dt >= -{before}) AS visits_before
  FROM joined WHERE name = 'Visit' GROUP BY unit
),
rows AS (
  SELECT variant, coalesce(orders, 0)::BIGINT AS o, coalesce(spend, 0)::BIGINT AS s, coalesce(visits, 0) AS v,
    (coalesce(visits, 0) > 0)::BIGINT AS p, coalesce(orders_before, 0)::BIGINT AS ob,
    coalesce(spend_before, 0)::BIGINT AS sb, coalesce(visits_before, 0) AS vb,
    (coalesce(visits_before, 0) > 0)::BIGINT AS pb
  FROM units LEFT JOIN bought USING (unit) LEFT JOIN visits USING (unit)
)
SELECT variant, count(*), sum(p), sum(pb), sum(p * pb), sum(o), sum(ob), sum(o * o), sum(ob * ob), sum(o * ob), sum(s),
  sum(sb), sum(s * s), sum(sb * sb), sum(s * sb), sum(v), sum(vb), sum(v * v), sum(vb * vb), sum(v * vb), sum(s * v),
  sum(s * vb), sum(sb * v), sum(sb * vb)
FROM rows GROUP BY variant ORDER BY variant
"""


def make(folder: Path, events: int) -> None:
    """Write the two Parquet files."""
    import duckdb

    sql = DATA.format(folder=folder, events=events, units=events // EVENTS_PER_UNIT, start=START_US, day=DAY_US)
    with duckdb.connect(
        config={"threads": THREADS, "memory_limit": "1GB", "temp_directory": str(folder)}
    ) as connection:
        connection.execute(sql)


def by_hand(folder: Path) -> dict[str, Any]:
    """Run the hand-written query once."""
    import duckdb

    with duckdb.connect(config={"threads": THREADS}) as connection:
        for name in ("decisions", "events"):
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{folder}/{name}.parquet')")
        began, busy = time.perf_counter(), time.process_time()
        rows = connection.execute(BY_HAND.format(now=NOW_US, window=14 * DAY_US, before=28 * DAY_US)).fetchall()
        return {**_took(began, busy), "means": _means_by_hand(rows)}


def _took(began: float, busy: float) -> dict[str, Any]:
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - busy}


def _means_by_hand(rows: list[Any]) -> dict[str, list[float]]:
    found = {}
    for variant, n, *sums in rows:
        p, o, s, v = sums[0], sums[3], sums[8], sums[13]
        pb, ob, sb, vb = sums[1], sums[4], sums[9], sums[14]
        found[variant] = [x / n for x in (p, pb, o, ob, s / 100, sb / 100, v, vb)]
        found[variant].append((float(sums[12]) / 1e4 - float(s) * float(sb) / 1e4 / n) / n)
    return found


def ours(folder: Path) -> dict[str, Any]:
    """Measure through the service's own code once."""
    from experiments.definitions import Metric
    from experiments.measure.experiment import measure_experiment
    from experiments.measure.parts import parts_of
    from experiments.measure.population import PopulationPlan
    from experiments.measure.redemption import Costs
    from experiments.sources.duck import connect
    from experiments.sources.log import LogTables

    metrics = [
        parts_of(
            Metric(kind="metric", name=m["key"], window={"days": 14}, covariate={"days": 28}, **m),
            f"m{i}",
            "primary",
            2,
        )
        for i, m in enumerate(METRICS)
    ]
    plan = PopulationPlan("bench", "member", 1, "assigned", ("Experiment Viewed",), (), (), "Asia/Shanghai", NOW_US)
    with tempfile.TemporaryDirectory() as scratch, connect(scratch, keep_order=False) as connection:
        connection.raw_sql(f"SET threads = {THREADS}")
        for name in ("decisions", "events"):
            connection.raw_sql(f"CREATE VIEW {name} AS FROM read_parquet('{folder}/{name}.parquet')")
        decisions = connection.table("decisions")
        conflicts = decisions.filter(decisions.kind == "none")
        log = LogTables(connection, decisions, connection.table("events"), conflicts)
        began, busy = time.perf_counter(), time.process_time()
        measured = measure_experiment(log, plan, metrics, Costs("CNY", {}, {}), ["control", "a"])
        took = _took(began, busy)
    means = {}
    for i, variant in enumerate(measured.variants):
        t = measured.cells.totals
        pair = [t[k].mean[i].tolist() for k in ("visited", "orders", "spend")]
        ratio = t["per-visit"]
        visits = [float(ratio.mean[i][ratio.place(c)]) for c in ("m3_per", "m3_per_before")]
        spend = t["spend"]
        means[variant] = [*pair[0], *pair[1], *pair[2], *visits, float(spend.m2[i][0, 1] / spend.n[i])]
    return {**took, "means": means}


def run(side: str, folder: Path) -> dict[str, Any]:
    """Run one side in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.measure", side, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(events: int) -> int:
    """Measure, print and keep the figures; return 1 when a goal is missed."""
    with tempfile.TemporaryDirectory(prefix="equipoise-bench-") as scratch:
        folder = Path(scratch)
        make(folder, events)
        ratios, cpu_ratios, hand, own = [], [], [], []
        for _ in range(PAIRS):
            a, b, c, d = (run(side, folder) for side in ("hand", "ours", "ours", "hand"))
            hand += [a, d]
            own += [b, c]
            ratios += [b["seconds"] / a["seconds"], c["seconds"] / d["seconds"]]
            cpu_ratios += [b["cpu_seconds"] / a["cpu_seconds"], c["cpu_seconds"] / d["cpu_seconds"]]
    _same(hand[0]["means"], own[0]["means"])
    figures = {
        "events": events,
        "units": events // EVENTS_PER_UNIT,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "hand_seconds": statistics.median(r["seconds"] for r in hand),
        "ours_seconds": statistics.median(r["seconds"] for r in own),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "cpu_ratio": statistics.median(cpu_ratios),
        "hand_cpu_seconds": statistics.median(r["cpu_seconds"] for r in hand),
        "ours_cpu_seconds": statistics.median(r["cpu_seconds"] for r in own),
        "hand_peak_mb": statistics.median(r["peak_mb"] for r in hand),
        "ours_peak_mb": max(r["peak_mb"] for r in own),
    }
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    (out / "measure.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{events:,} events, {figures['units']:,} units, 4 metrics with CUPED, {THREADS} threads, {2 * PAIRS} pairs")
    print(f"{'':22}{'seconds':>9}{'peak MB':>9}")
    print(f"{'one hand-written query':22}{figures['hand_seconds']:9.2f}{figures['hand_peak_mb']:9.0f}")
    print(f"{'ours':22}{figures['ours_seconds']:9.2f}{figures['ours_peak_mb']:9.0f}")
    print(f"ratio {figures['ratio']:.2f} (goal ≤ {MAX_RATIO}), of CPU seconds {figures['cpu_ratio']:.2f}")
    print(f"peak {figures['ours_peak_mb']:.0f} MB (goal < {MAX_PEAK_MB})")
    return int(figures["ratio"] > MAX_RATIO or figures["ours_peak_mb"] >= MAX_PEAK_MB)


def _same(one: dict[str, list[float]], two: dict[str, list[float]]) -> None:
    for variant, means in one.items():
        for a, b in zip(means, two[variant], strict=True):
            if abs(a - b) > 1e-9 * max(abs(a), abs(b)):
                raise SystemExit(f"the two sides disagree in {variant}: {means} and {two[variant]}")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("hand", "ours"):
        result = (by_hand if sys.argv[1] == "hand" else ours)(Path(sys.argv[2]))
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(result))
    else:
        sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else EVENTS))
