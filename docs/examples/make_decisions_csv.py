"""Write decisions.csv: what a policy drew for 1,500 members, twice each, and what that earned. Not real data.

What each offer earns is known here: the coupon pays (after its costs) for dormant members, points for loyal ones, and
nothing for new ones. The policy that drew had learned a little of that.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

MEMBERS = 1_500
SEED = 20260302
OFFERS = ("none", "points", "coupon")
STAGES = ("new", "loyal", "dormant")
EARNS = {"new": (4.0, 3.0, 2.5), "loyal": (6.0, 7.5, 5.0), "dormant": (1.0, 1.5, 3.5)}
DRAWS = {"new": (0.5, 0.3, 0.2), "loyal": (0.25, 0.5, 0.25), "dormant": (0.2, 0.3, 0.5)}
BUYS = {"new": 0.3, "loyal": 0.5, "dormant": 0.2}


def main() -> None:
    """Write the file beside this one."""
    rng = np.random.default_rng(SEED)
    with (Path(__file__).parent / "decisions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["unit", "variant", "propensity", "reward", "stage", "past_spend"])
        for member in range(MEMBERS):
            stage = str(rng.choice(STAGES, p=[0.4, 0.35, 0.25]))
            past_spend = rng.gamma(2.0, 60.0)
            for _ in range(2):
                drawn = int(rng.choice(3, p=DRAWS[stage]))
                bought = rng.random() < BUYS[stage]
                reward = rng.gamma(4.0, EARNS[stage][drawn] / BUYS[stage] / 4) if bought else 0.0
                row = (f"m{member:04}", OFFERS[drawn], DRAWS[stage][drawn], f"{reward:.2f}", stage, f"{past_spend:.0f}")
                writer.writerow(row)


if __name__ == "__main__":
    main()
