"""Foretelling the orders of a million members, beside lifetimes: ``python -m bench.clv``.

Members live by the models for two years of days. Ours: from orders to the summary, both models, every member's
probability of being active, expected orders and value, the interval of the sum, and RFM scores; lifetimes (where it is
installed) fits and foretells from the same summary. CPU seconds of one thread.
"""

from __future__ import annotations

import importlib.util
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stats import rfm
from stats.clv import bgnbd, gamma_gamma
from stats.clv.summary import summary
from stats.clv.value import Members, expected_value, member_intervals, total

MEMBERS = 1_000_000
DAYS = 730
HORIZON = 90.0
MOST_SECONDS = 10.0
PEER_MEMBERS = 100_000
INTERVAL_MEMBERS = 20_000


def simulated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit, day and value of every order of ``n`` members."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, DAYS, n).astype(float)
    rate, leave, scale = rng.gamma(0.6, 1 / 60, n), rng.beta(0.8, 2.5, n), rng.gamma(4, 1 / 60, n)
    now, here = start.copy(), np.ones(n, dtype=bool)
    units, days = [np.arange(n)], [start.astype(np.int64)]
    while here.any():
        here &= rng.random(n) > np.where(now > start, leave, 0)
        now[here] += rng.exponential(1 / rate[here])
        here &= now <= DAYS
        units.append(np.flatnonzero(here))
        days.append(now[here].astype(np.int64))
    unit = np.concatenate(units)
    return unit, np.concatenate(days), rng.gamma(5, size=len(unit)) / scale[unit]


def timed(figures: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    before = time.process_time()
    found = work()
    figures[name] = time.process_time() - before
    print(f"  {name:42}{figures[name]:8.2f} s", flush=True)
    return found


def main() -> int:
    unit, day, value = simulated(MEMBERS, 1)
    print(f"{MEMBERS:,} members, {len(unit):,} orders")
    ours: dict[str, float] = {}
    seen = timed(ours, "summary of the orders", lambda: summary(unit, day, DAYS, value))
    model = timed(ours, "fit of buying", lambda: bgnbd.fit(seen.frequency, seen.recency, seen.age))
    spend = timed(ours, "fit of spend", lambda: gamma_gamma.fit(seen.frequency, seen.monetary))
    members = Members.of(seen)
    timed(ours, "alive, orders and value of each", lambda: expected_value(model, spend, members, horizon=HORIZON))
    timed(ours, "interval of the sum", lambda: total(model, spend, members, horizon=HORIZON))
    timed(ours, "RFM", lambda: rfm.scores(seen.since_last, seen.frequency + 1, seen.spend))
    whole = sum(ours.values())
    print(f"  {'in all (at most 10 s)':42}{whole:8.2f} s")
    few = members.part(slice(0, INTERVAL_MEMBERS))
    beside: dict[str, float] = {}
    timed(
        beside, "not counted: intervals of 20,000 members", lambda: member_intervals(model, spend, few, horizon=HORIZON)
    )
    if importlib.util.find_spec("lifetimes") is not None:
        beside |= _peer(seen)
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    (out / "clv.json").write_text(json.dumps({"ours": ours, "whole": whole, "beside": beside}, indent=2))
    return int(whole > MOST_SECONDS)


def _peer(seen: Any) -> dict[str, float]:
    """Time lifetimes on the first members, and ours on the same ones."""
    warnings.simplefilter("ignore")
    from lifetimes import BetaGeoFitter

    x, t_x, age = (part[:PEER_MEMBERS] for part in (seen.frequency, seen.recency, seen.age))
    figures: dict[str, float] = {}
    print(f"the first {PEER_MEMBERS:,} members:")
    ours = timed(figures, "ours: fit of buying", lambda: bgnbd.fit(x, t_x, age))
    timed(figures, "ours: expected orders", lambda: ours.expected_purchases(HORIZON, x, t_x, age))
    theirs = timed(figures, "lifetimes: fit of buying", lambda: BetaGeoFitter().fit(x, t_x, age))
    foretell = theirs.conditional_expected_number_of_purchases_up_to_time
    timed(figures, "lifetimes: expected orders", lambda: foretell(HORIZON, x, t_x, age))
    print("  ours      ", {name: round(getattr(ours, name), 4) for name in ("r", "alpha", "a", "b")})
    print("  lifetimes ", {name: round(float(theirs.params_[name]), 4) for name in ("r", "alpha", "a", "b")})
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
