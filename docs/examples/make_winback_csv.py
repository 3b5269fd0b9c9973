"""Write winback.csv: a simulated list of 4,000 dormant members who got no offer, a coupon or 15 % off. Not real data.

What each offer does is known here, so a reader can see what an analysis finds: the coupon brings back 4 members in 100
more and 15 % off brings back 5 more, at order values 10 % lower.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

MEMBERS = 4_000
SEED = 20260301


def main() -> None:
    """Write the file beside this one."""
    rng = np.random.default_rng(SEED)
    tier = rng.choice(["basic", "silver", "gold"], size=MEMBERS, p=[0.6, 0.3, 0.1])
    past_spend = np.round(rng.gamma(1.5, 120, MEMBERS) * np.where(tier == "gold", 2.0, 1.0), 2)
    variant = rng.choice(["control", "coupon", "percent"], size=MEMBERS)
    chance = 0.06 + 0.0001 * past_spend + np.select([variant == "coupon", variant == "percent"], [0.04, 0.05], 0.0)
    orders = rng.binomial(2, np.clip(chance, 0, 1) / 1.6)
    value = rng.gamma(4, 40, MEMBERS) * np.where(variant == "percent", 0.9, 1.0) * (0.7 + past_spend / 600)
    visits = orders + rng.poisson(1.2, MEMBERS)
    with (Path(__file__).parent / "winback.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["member", "variant", "tier", "past_spend", "bought", "spend", "orders", "visits"])
        for i in range(MEMBERS):
            spend = round(float(value[i] * orders[i]), 2)
            writer.writerow(
                [f"M{i:05d}", variant[i], tier[i], past_spend[i], int(orders[i] > 0), spend, orders[i], visits[i]]
            )


if __name__ == "__main__":
    main()
