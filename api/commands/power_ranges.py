"""What the figures that ``equipoise power`` is given can be at all."""

from __future__ import annotations

from typing import Any

from api.cli import UserError

MOST = 1e15
RANGES: dict[str, tuple[float, float]] = {
    "wanted": (0.05, 0.9999),
    "alpha": (1e-9, 0.5),
    "icc": (0.0, 1.0),
    "reduction": (0.0, 0.99),
    "mean": (-MOST, MOST),
    "sd": (0.0, MOST),
    "window": (0.0, 3650.0),
    "cluster_size": (1.0, 1e9),
    "cluster_cv": (0.0, 1000.0),
    "redeemed": (0.0, 1.0),
    "order_margin": (0.0, MOST),
    "cost": (0.0, MOST),
    "contact_cost": (0.0, MOST),
    "order_value": (0.0, MOST),
}
"""By the option's name in the command; what is no number, or infinite, is in no range."""
_OPTIONS = {"wanted": "power", "order_margin": "margin"}


def refuse_impossible(given: dict[str, Any]) -> None:
    """Check every figure, and the currency, before anything is planned with them.

    Raises:
        UserError: naming the option and what it takes.
    """
    from experiments.definitions.money import CURRENCIES

    for name, (low, high) in RANGES.items():
        value = given[name]
        if value is not None and not low <= value <= high:
            option = _OPTIONS.get(name, name.replace("_", "-"))
            raise UserError(f"--{option} {value:g}: give a number from {low:g} to {high:g}")
    if given["currency"] is not None and given["currency"] not in CURRENCIES:
        raise UserError(f"--currency {given['currency']}: give an ISO 4217 code, such as CNY")
