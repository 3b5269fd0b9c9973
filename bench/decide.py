"""One decision in process, beside five other engines, in one run: ``python -m bench.decide``.

The experiment is the same everywhere (bench/decide_peers.py): one rule on one attribute, the traffic gate, three
variants. Ours answers with variant, offer, reason, propensity, identity and all that the log's row holds. Rounds are
interleaved, so that a busy machine slows all alike; the table shows medians, and medians of the ratios of each round.

Needs the peers of locks/bench.txt; without them only our own rows are measured, and the table says so.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allocation import (
    AttributePlan,
    ExperimentPlan,
    HoldoutPlan,
    LayerPlan,
    PhasePlan,
    Snapshot,
    VariantPlan,
    compile_snapshot,
    decide,
)
from bench.decide_peers import PEERS, VARIANTS, Decide
from experiments.log.rows import DecisionRow

ROUNDS = 15
ROUND_SECONDS = 0.04
UNITS = [f"member-{i}" for i in range(20_000)]
OURS = "equipoise"
GOALS = {  # peer → how many times our time it must take at least
    "eppo-server-sdk 4.4.1, with its logger": 1.0,
    "statsig-python-core 0.24.0, logging off": 3.0,
    "growthbook 4.0.0, tracking": 10.0,
}


def plan(key: str, **fields: Any) -> ExperimentPlan:
    """Return the experiment in our words."""
    return ExperimentPlan(
        key=key,
        revision=1,
        state="running",
        variants=tuple(VariantPlan(v, None if v == "control" else {"key": f"coupon-{v}"}) for v in VARIANTS),
        phases=(PhasePlan(1, "5f0c1e2d3b4a6978", (1, 1, 1)),),
        audience={"attribute": "country", "op": "eq", "value": "US"},
        attributes={"country": AttributePlan("string", "request")},
        **fields,
    )


def our_rows(country: str) -> dict[str, Callable[[str], Any]]:
    """Return our ways of deciding: plain, with layer and holdout, and with the log's row made as well."""
    layer = LayerPlan("coupons", "1a2b3c4d5e6f7081", (("0", "0.5"), ("0.5", "1")))
    holdout = HoldoutPlan("control-group", "8f7e6d5c4b3a2910", "0.0001")
    plain, full = plan("bench"), plan("full", layer=layer, holdouts=(holdout,))
    snapshot = compile_snapshot(Snapshot("v1", 0, {"bench": plain, "full": full}))
    attributes = {"country": country}
    now = 1_772_000_000_000_000

    def with_row(unit: str) -> Any:
        answer = decide(snapshot, "bench", unit, now=now, attributes=attributes)
        return DecisionRow.from_decision(answer) if answer.logged else answer

    return {
        OURS: lambda unit: decide(snapshot, "bench", unit, now=now, attributes=attributes),
        "equipoise, layer and holdout too": lambda unit: decide(snapshot, "full", unit, now=now, attributes=attributes),
        "equipoise, and a row for the spool": with_row,
    }


def name_of(answer: Any) -> str:
    """Return the variant's name from whatever an engine answers."""
    return answer if isinstance(answer, str) else str(answer.variant)


def checked(make: Callable[[str], Decide], label: str) -> Decide:
    """Return an engine after seeing that it splits in three and that the rule keeps others out."""
    abroad = make("FR")
    outside = {name_of(abroad(unit)) for unit in UNITS[:20]}
    if outside & set(VARIANTS):
        raise AssertionError(f"{label} does not evaluate its rule: {outside}")
    engine = make("US")
    split = Counter(name_of(engine(unit)) for unit in UNITS[:3000])
    if set(split) != set(VARIANTS) or min(split.values()) < 870:  # five standard deviations below 1000
        raise AssertionError(f"{label} does not split in three: {dict(split)}")
    return engine


def seconds(engine: Callable[[str], Any], units: list[str]) -> float:
    """Return the time per decision."""
    start = time.perf_counter()
    for unit in units:
        engine(unit)
    return (time.perf_counter() - start) / len(units)


def measure(engines: dict[str, Callable[[str], Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return seconds per decision of each engine in each round; the order turns from round to round."""
    counts = {}
    for label, engine in engines.items():
        counts[label] = max(200, min(len(UNITS), int(ROUND_SECONDS / seconds(engine, UNITS[:500]))))
    times: dict[str, list[float]] = {label: [] for label in engines}
    labels = list(engines)
    gc.collect()
    for i in range(rounds):
        for label in labels[i % len(labels) :] + labels[: i % len(labels)]:
            times[label].append(seconds(engines[label], UNITS[: counts[label]]))
    return times


def main() -> int:
    """Measure, print the table, keep it as JSON, and say which goals are met."""
    engines: dict[str, Callable[[str], Any]] = {}
    missing = []
    for label in our_rows("US"):
        engines[label] = checked(lambda country, label=label: our_rows(country)[label], label)  # type: ignore[misc]
    for label, make in PEERS.items():
        try:
            engines[label] = checked(make, label)
        except ImportError as error:
            missing.append(f"{label}: {error}")
    times = measure(engines)
    rows = []
    for label, values in times.items():
        ratios = [value / ours for value, ours in zip(values, times[OURS], strict=True)]
        ratio = statistics.median(ratios)
        goal = GOALS.get(label)
        rows.append(
            {
                "engine": label,
                "us": statistics.median(values) * 1e6,
                "us_low": min(values) * 1e6,
                "us_high": max(values) * 1e6,
                "ratio": ratio,
                "goal": goal,
                "met": None if goal is None else ratio >= goal,
            }
        )
    print(f"{'one decision in process':42}{'median µs':>10}{'(range)':>18}{'times ours':>12}   goal")
    for row in rows:
        spread = f"({row['us_low']:.2f}–{row['us_high']:.2f})"
        goal = "" if row["goal"] is None else f"≥ {row['goal']:g} × {'met' if row['met'] else 'MISSED'}"
        print(f"{row['engine']:42}{row['us']:10.2f}{spread:>18}{row['ratio']:12.2f}   {goal}")
    for line in missing:
        print(f"NOT MEASURED {line}; install locks/bench.txt")
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    document = {
        "bench": "decide",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "msgspec": importlib.metadata.version("msgspec"),
        "rounds": ROUNDS,
        "rows": rows,
        "missing": missing,
    }
    (out / "decide.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return int(any(row["met"] is False for row in rows))


if __name__ == "__main__":
    failed = main()
    sys.stdout.flush()
    os._exit(failed)  # the peers keep threads that do not end by themselves
