"""Write orders.csv, a year of orders of 240 simulated members: ``python docs/examples/make_orders_csv.py``.

Each member orders at a rate of their own, leaves after an order with a probability of their own, and spends around a
mean of their own.
"""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parent / "orders.csv"
START = dt.date(2025, 1, 1)
DAYS = 365


def main() -> None:
    """Write the file; always the same one."""
    rng = np.random.default_rng(20260101)
    rows = []
    for member in range(240):
        day = float(rng.integers(0, 240))
        rate, leaving, scale = rng.gamma(0.9, 1 / 35), rng.beta(0.8, 3.5), rng.gamma(4, 1 / 55)
        while day < DAYS:
            paid_at = START + dt.timedelta(days=int(day))
            rows.append((paid_at, f"m{member:04d}", round(float(rng.gamma(5) / scale), 2)))
            if rng.random() < leaving:
                break
            day += rng.exponential(1 / rate)
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("member", "paid_at", "amount"))
        writer.writerows((unit, paid_at, f"{amount:.2f}") for paid_at, unit, amount in sorted(rows))


if __name__ == "__main__":
    main()
