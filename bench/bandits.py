"""Serving and updating policies, beside mabwiser, in one run: ``python -m bench.bandits``.

One decision is all that a decision needs: encode 20 attributes, score 5 offers, probabilities, floor, hash, draw, and
the JSON that the log keeps; mabwiser's LinTS only names an arm for a vector that somebody else has encoded. Many at
once is encoding columns and their probabilities. The update is the sums that a linear model needs; the file is what a
version weighs with 100 offers and 100 columns. Rounds are interleaved, one thread, medians of CPU time, which depends
less on who else uses the machine; ratios are those of each round. Waiting while versions swap is by the clock.
"""

from __future__ import annotations

import json
import os
import pickle
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from allocation import ExperimentPlan, VariantPlan, compile_snapshot, decide
from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.learning.statistics import LinearStatistics
from allocation.bandits.policy import Policy, from_bytes, to_bytes
from allocation.compiled import CompiledSnapshot
from allocation.plan import AttributePlan, BanditPlan, PhasePlan, PolicyPlan, Snapshot

ROUNDS = 9
ARMS, COLUMNS = 5, 20
MANY = 100_000
UPDATE_ROWS = 100_000
SEED = 20260301
SWAPS = 50


def encoder(columns: int) -> Encoder:
    """Return an encoder of numeric features."""
    return Encoder(tuple(FeatureCode(f"f{i}", "numeric") for i in range(columns)))


def policy(arms: int, columns: int, **fields: Any) -> Policy:
    """Return a logistic policy with inverse-gap weights, the default."""
    rng = np.random.default_rng(SEED)
    given = encoder(columns)
    return Policy(
        variants=tuple(f"offer-{k}" for k in range(arms)),
        kind="contextual",
        rule="igw",
        model="logistic",
        encoder=given,
        coef=rng.normal(0, 0.3, (arms, len(given.columns))),
        worth=rng.uniform(60, 100, arms),
        contact=np.full(arms, 0.5),
        scale=35.0,
        **{"effective_rows": 20_000.0, **fields},
    )


def snapshot(drawing: Policy) -> CompiledSnapshot:
    """Return an experiment that draws by a policy, with a control group."""
    names = tuple(code.attribute for code in drawing.encoder.features)
    plan = ExperimentPlan(
        key="offers",
        revision=1,
        state="running",
        variants=tuple(VariantPlan(key, {"key": key}) for key in drawing.variants),
        phases=(PhasePlan(1, "5f0c1e2d3b4a6978", (1,) * len(drawing.variants)),),
        attributes={name: AttributePlan("number", "request") for name in names},
        frozen=names,
        allocation="bandit",
        bandit=BanditPlan(policies=(PolicyPlan(1, "x"),), control_share="0.05", features=names),
    )
    return compile_snapshot(Snapshot("v1", 0, {"offers": plan}), lambda _digest: drawing)


def lints(arms: int, columns: int, rows: int) -> Any:
    """Return mabwiser's LinTS after learning from some rows."""
    from mabwiser.mab import MAB, LearningPolicy

    rng = np.random.default_rng(SEED)
    bandit = MAB(list(range(arms)), LearningPolicy.LinTS(alpha=1.0), seed=1)
    bandit.fit(rng.integers(0, arms, rows), rng.normal(size=rows), rng.normal(size=(rows, columns)))
    return bandit


def times(work: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return the CPU seconds of each piece of work in each round; the order turns."""
    found: dict[str, list[float]] = {name: [] for name in work}
    names = list(work)
    for run in work.values():
        run()
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.process_time()
            work[name]()
            found[name].append(time.process_time() - start)
    return found


def ratio(found: dict[str, list[float]], peer: str, ours: str) -> float:
    """Return how many times ours the peer takes, the median over rounds."""
    return statistics.median(theirs / mine for theirs, mine in zip(found[peer], found[ours], strict=True))


def singles() -> list[dict[str, Any]]:
    """One decision, five offers, twenty attributes."""
    rng = np.random.default_rng(SEED)
    contexts = rng.normal(size=(2_000, COLUMNS))
    members = [{f"f{i}": value for i, value in enumerate(row.tolist())} for row in contexts]
    units = [f"member-{i}" for i in range(len(members))]
    compiled = snapshot(policy(ARMS, COLUMNS))
    draw = compiled.experiments["offers"].draw
    assert draw is not None
    bandit = lints(ARMS, COLUMNS, 20_000)
    vectors = [row[None, :] for row in contexts[:300]]

    def ours() -> None:
        for unit, member in zip(units, members, strict=True):
            draw("", unit, "", member, 0)

    def whole() -> None:
        for unit, member in zip(units, members, strict=True):
            decide(compiled, "offers", unit, now=0, attributes=member)

    def theirs() -> None:
        for vector in vectors:
            bandit.predict(vector)

    found = times({"ours": ours, "whole": whole, "theirs": theirs})
    each = {"ours": len(members), "whole": len(members), "theirs": len(vectors)}
    micro = {name: [second / each[name] * 1e6 for second in seconds] for name, seconds in found.items()}
    times_ours = ratio(micro, "theirs", "ours")
    return [
        row("one draw: encode, score, p, floor, hash, JSON (µs)", statistics.median(micro["ours"]), "≤ 20", 20.0),
        row("one decision with identity and offer (µs)", statistics.median(micro["whole"])),
        row("mabwiser LinTS predict, encoded already (µs)", statistics.median(micro["theirs"])),
        row("mabwiser LinTS, times our draw", times_ours, "≥ 4", None, times_ours >= 4),
    ]


def many() -> list[dict[str, Any]]:
    """100,000 contexts."""
    rng = np.random.default_rng(SEED)
    contexts = rng.normal(size=(MANY, COLUMNS))
    columns = {f"f{i}": contexts[:, i] for i in range(COLUMNS)}
    made = policy(ARMS, COLUMNS)
    bandit = lints(ARMS, COLUMNS, 20_000)
    found = times(
        {
            "ours": lambda: made.probabilities_batch(made.encoder.encode_columns(columns, MANY)),
            "theirs": lambda: bandit.predict(contexts),
        },
        5,
    )
    return [
        row("100,000 contexts: encode and probabilities (s)", statistics.median(found["ours"]), "≤ 0.5", 0.5),
        row("mabwiser LinTS predict of 100,000 (s)", statistics.median(found["theirs"])),
    ]


def updates() -> list[dict[str, Any]]:
    """The sums of a linear model, from encoded rows."""
    rng = np.random.default_rng(SEED)
    contexts = rng.normal(size=(UPDATE_ROWS, COLUMNS))
    arms, rewards = rng.integers(0, ARMS, UPDATE_ROWS), rng.normal(size=UPDATE_ROWS)
    bandit = lints(ARMS, COLUMNS, 20_000)
    found = times(
        {
            "ours": lambda: LinearStatistics.from_rows(contexts, arms, rewards, ARMS),
            "theirs": lambda: bandit.partial_fit(arms, rewards, contexts),
        },
        5,
    )
    speed = UPDATE_ROWS / statistics.median(found["ours"])
    return [
        row("update, rows a second", speed, "≥ 500,000", None, speed >= 500_000),
        row("mabwiser LinTS partial_fit, rows a second", UPDATE_ROWS / statistics.median(found["theirs"])),
    ]


def files() -> list[dict[str, Any]]:
    """What a version weighs with 100 offers and 100 columns."""
    ours = len(to_bytes(policy(100, 100)))
    theirs = len(pickle.dumps(lints(100, 100, 20_000)))
    return [
        row("file of 100 offers × 100 features (MB)", ours / 1e6),
        row("mabwiser LinTS, pickled (MB)", theirs / 1e6),
        row("our file, part of theirs", ours / theirs, "≤ 0.25", 0.25),
    ]


def swaps() -> list[dict[str, Any]]:
    """Versions of 100 offers × 100 features taken over by one thread while another decides."""
    compiled = [snapshot(policy(ARMS, COLUMNS))]
    data = to_bytes(policy(100, 100))
    member = {f"f{i}": 0.1 for i in range(100)}
    gaps: list[float] = []
    wrong = 0
    done = threading.Event()

    def decides() -> None:
        nonlocal wrong
        while not done.is_set():
            start = time.perf_counter()
            answer = decide(compiled[0], "offers", "member-1", now=0, attributes=member)
            gaps.append(time.perf_counter() - start)
            wrong += answer.propensity is None

    loads: list[float] = []
    thread = threading.Thread(target=decides)
    thread.start()
    for _ in range(SWAPS):
        start = time.perf_counter()
        compiled[0] = snapshot(from_bytes(data))
        loads.append(time.perf_counter() - start)
        time.sleep(0.005)
    done.set()
    thread.join()
    return [
        row("taking over a version of 100 × 100 (ms)", statistics.median(loads) * 1e3),
        row(f"decisions while {SWAPS} versions swap", len(gaps)),
        row("of them without a propensity", wrong, "= 0", None, wrong == 0 and bool(gaps)),
        row("slowest in 100 while they swap (ms)", statistics.quantiles(gaps, n=100)[-1] * 1e3),
    ]


def row(
    what: str, value: float, goal: str = "", at_most: float | None = None, met: bool | None = None
) -> dict[str, Any]:
    """Return one line of the table."""
    if at_most is not None:
        met = value <= at_most
    return {"what": what, "value": value, "goal": goal, "met": met}


def main() -> int:
    """Measure, print the table, keep it as JSON, and say which goals are met."""
    rows: list[dict[str, Any]] = []
    print(f"{'policies, ours and mabwiser in one run':56}{'median':>14}   goal")
    for part in (singles, many, updates, files, swaps):
        for line in part():
            rows.append(line)
            said = "" if line["met"] is None else f"{line['goal']} {'met' if line['met'] else 'MISSED'}"
            print(f"{line['what']:56}{line['value']:14,.3f}   {said}", flush=True)
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    document = {"bench": "bandits", "python": platform.python_version(), "numpy": np.__version__, "rows": rows}
    (out / "bandits.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return int(any(line["met"] is False for line in rows))


if __name__ == "__main__":
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # numpy reads it when it is loaded: one core for ours and theirs
        os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
        os.execv(sys.executable, [sys.executable, "-W", "ignore", "-m", "bench.bandits"])
    sys.exit(main())
