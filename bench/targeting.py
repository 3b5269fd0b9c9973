"""Budgeted targeting: a million members × 4 offers, within a budget alone, and with stocks and floors.

``python -m bench.targeting`` (1 million members) or ``python -m bench.targeting MEMBERS``. CPU seconds of one process
on one thread, best of three; the solver that people would otherwise reach for, HiGHS on the linear programme of the
members themselves (without integers), runs beside at a size that it can hold.
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

import numpy as np

from stats.targeting import knapsack, limits
from stats.targeting.curve import budget_curve
from stats.targeting.limits import Floor

MEMBERS = 1_000_000
PEER_MEMBERS = 200_000
RUNS = 3
MAX_BUDGET_S = 3.0
MAX_LIMITS_S = 30.0
SEED = 6


def shop(n: int, seed: int = SEED) -> dict[str, Any]:
    """Coupons of ¥5 to ¥30 on baskets with a margin of ¥60: a twentieth buys anyway, some are moved, some put off."""
    rng = np.random.default_rng(seed)
    base = rng.beta(1, 20, n)[:, None]
    bought = np.clip(base * (1 + rng.normal([0.1, 0.2, 0.3, 0.4], 0.3, (n, 4))), 0, 1)
    face = np.array([5.0, 10.0, 20.0, 30.0])
    tier = rng.choice(3, n, p=[0.7, 0.25, 0.05])
    return {
        "value": 60 * (bought - base) - face * bought - 0.1,
        "cost": face * bought + 0.1,
        "budget": 0.2 * n,
        "tie": rng.random(n),
        "stock": np.array([0.1 * n, 0.05 * n, np.inf, 0.03 * n]),
        "floors": [
            Floor(tier == 2, (0, 1, 2, 3), int(0.03 * n), "gold"),
            Floor(tier == 1, (3,), int(0.02 * n), "silver"),
        ],
    }


def timed(work: Callable[[], Any], runs: int = RUNS) -> tuple[float, Any]:
    """Return the least CPU seconds of some runs, and what the last one found."""
    best, found = np.inf, None
    for _ in range(runs):
        began = time.process_time()
        found = work()
        best = min(best, time.process_time() - began)
    return float(best), found


def peer(given: dict[str, Any]) -> float:
    """Return the optimum of the relaxation by HiGHS, one variable for each member and offer."""
    from scipy import optimize, sparse

    n, offers = given["value"].shape
    one_each = sparse.kron(sparse.eye(n), np.ones((1, offers)), format="csr")
    stocked = [j for j in range(offers) if np.isfinite(given["stock"][j])]
    rows = [given["cost"].ravel(), *(np.tile(np.arange(offers) == j, n).astype(float) for j in stocked)]
    upper = [given["budget"], *(float(given["stock"][j]) for j in stocked)]
    for floor in given["floors"]:
        counted = floor.members[:, None] * np.isin(np.arange(offers), floor.offers)[None]
        rows.append(-counted.ravel().astype(float))
        upper.append(-float(floor.least))
    found = optimize.linprog(
        -given["value"].ravel(),
        A_ub=sparse.vstack([one_each, sparse.csr_matrix(np.array(rows))], format="csr"),
        b_ub=np.concatenate([np.ones(n), upper]),
        bounds=(0, 1),
        method="highs",
    )
    return float(-found.fun)


def main(n: int) -> int:
    """Measure, print and keep the figures; return 1 when a goal is missed."""
    given = shop(n)
    value, cost, budget, tie = (given[name] for name in ("value", "cost", "budget", "tie"))
    alone_s, alone = timed(lambda: knapsack.solve(value, cost, budget, tie=tie))
    curve_s, _ = timed(lambda: budget_curve(value, cost), 1)
    asked = {"stock": given["stock"], "floors": given["floors"], "tie": tie}
    limits_s, limited = timed(lambda: limits.solve(value, cost, budget, **asked), 1)
    small = shop(PEER_MEMBERS)
    asked = {"stock": small["stock"], "floors": small["floors"], "tie": small["tie"]}
    ours_s, ours = timed(lambda: limits.solve(small["value"], small["cost"], small["budget"], **asked), 1)
    peer_s, optimum = timed(lambda: peer(small), 1)
    figures = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "members": n,
        "budget_cpu_s": alone_s,
        "budget_gap": alone.gap / alone.bound,
        "budget_unspent": budget - alone.cost,
        "curve_cpu_s": curve_s,
        "limits_cpu_s": limits_s,
        "limits_gap": limited.gap / limited.bound,
        "peer_members": PEER_MEMBERS,
        "peer_cpu_s": peer_s,
        "beside_peer_cpu_s": ours_s,
        "beside_peer_missed": (optimum - ours.value) / optimum,
    }
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    (out / "targeting.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{n:,} members × 4 offers, one thread, CPU seconds")
    print(f"budget alone              {alone_s:6.2f}  (goal ≤ {MAX_BUDGET_S:g})   gap {figures['budget_gap']:.1e}, "
          f"unspent {figures['budget_unspent']:.6f}")  # fmt: skip
    print(f"curve of 51 budgets       {curve_s:6.2f}")
    print(f"with 3 stocks, 2 floors   {limits_s:6.2f}  (goal ≤ {MAX_LIMITS_S:g})  gap {figures['limits_gap']:.1e}")
    print(f"{PEER_MEMBERS:,} members, stocks and floors: ours {ours_s:.2f}, HiGHS over all members {peer_s:.2f}; "
          f"ours, whole offers, misses {figures['beside_peer_missed']:.1e} of that")  # fmt: skip
    return int(n >= MEMBERS and (alone_s > MAX_BUDGET_S or limits_s > MAX_LIMITS_S))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else MEMBERS))
