"""Members whose true effects are known: functions of attributes say who buys, and what each offer changes.

Four shapes. ``linear``: differences between members add up. ``steps``: an offer works on those who lapsed some time ago
and bought more than once, and wakes nobody else; some are put off by it. ``smooth``: effects rise and fall with
recency, and with what members usually spend. ``null``: every offer works the same on everybody. In all of them those
who buy most without an offer are not those whom it moves, as in life. Half of the attributes have nothing to do with
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.errors import InputError
from stats.uplift.encoding import Encoder
from stats.uplift.trial import FloatArray, Trial

TIERS = ("basic", "silver", "gold", "diamond")
CHANNELS = ("store", "app", "web")
MOST_OFFERS = 2


@dataclass(frozen=True, eq=False)
class Drawn:
    """Members that were drawn, each given an arm at random.

    Attributes:
        trial: what an analyst sees, encoded; outcomes are 1 for those who bought.
        columns: attribute → (n,), as it comes.
        names: of the trial's columns.
        expected: (n, K + 1), the true chance to buy under each arm.
    """

    trial: Trial
    columns: Mapping[str, NDArray[Any]]
    names: tuple[str, ...]
    expected: FloatArray

    @property
    def effects(self) -> FloatArray:
        """True effects, (n, K)."""
        return np.asarray(self.expected[:, 1:] - self.expected[:, :1])


def draw(
    shape: str, rows: int, *, offers: int = 1, shares: Sequence[float] | None = None, scale: float = 1.0, seed: int = 0
) -> Drawn:
    """Draw members, arms and outcomes.

    Args:
        shape: one of ``SHAPES``.
        rows: members.
        offers: 1 or 2.
        shares: of each arm, control first; ``None``: alike.
        scale: of all chances; .1 makes buying a tenth as common.
        seed: of the generator.

    Raises:
        InputError: no such shape, or more offers than there are.

    >>> drawn = draw("steps", 1000, seed=3)
    >>> drawn.trial.rows, drawn.effects.shape, bool(drawn.expected.min() > 0)
    (1000, (1000, 1), True)
    """
    if shape not in SHAPES:
        raise InputError(f"there is no shape {shape!r}; there are {', '.join(SHAPES)}")
    if not 1 <= offers <= MOST_OFFERS:
        raise InputError(f"there are surfaces of 1 to {MOST_OFFERS} offers, not {offers}")
    rng = np.random.default_rng(seed)
    columns = members(rows, rng)
    expected = truth(shape, columns, offers) * scale
    split = np.full(offers + 1, 1 / (offers + 1)) if shares is None else np.asarray(shares, dtype=np.float64)
    arm = rng.choice(offers + 1, size=rows, p=split)
    outcome = (rng.random(rows) < expected[np.arange(rows), arm]).astype(np.float64)
    encoder = Encoder.fit(columns)
    trial = Trial(outcome, arm, encoder.transform(columns), np.tile(split, (rows, 1)))
    return Drawn(trial, columns, encoder.names, expected)


def members(rows: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return attributes of members; spend is unknown for those who never bought."""
    orders = rng.poisson(rng.gamma(1.2, 2.5, rows)).astype(np.float64)
    spend = np.round(np.exp(rng.normal(4.2, 0.8, rows)) * (1 + 0.1 * orders), 2)
    tier = np.array(TIERS, dtype=object)[np.minimum(orders.astype(np.intp) // 3, 3)]
    return {
        "recency_days": np.floor(rng.exponential(75.0, rows)),
        "orders_365d": orders,
        "basket": np.where(orders > 0, spend, np.nan),
        "tier": tier,
        "channel": rng.choice(np.array(CHANNELS, dtype=object), rows, p=[0.5, 0.3, 0.2]),
        "age": np.round(rng.normal(38, 11, rows).clip(16, 85)),
        "tenure_days": np.floor(rng.uniform(0, 1500, rows)),
        "distance_km": np.round(rng.gamma(2.0, 4.0, rows), 1),
        "newsletter": rng.random(rows) < 0.4,
        "weekday": rng.integers(0, 7, rows).astype(np.float64),
    }


def truth(shape: str, columns: Mapping[str, NDArray[Any]], offers: int = 1) -> FloatArray:
    """Return the true chance to buy under each arm, (n, K + 1)."""
    recency, orders = columns["recency_days"], columns["orders_365d"]
    line = -2.6 + 0.16 * np.minimum(orders, 8) - 0.007 * np.minimum(recency, 240) + 0.3 * (columns["channel"] == "app")
    control = 1 / (1 + np.exp(-line))
    effects = SHAPES[shape](columns)[:offers]
    chances = np.column_stack([control, *(control + effect for effect in effects)])
    return np.asarray(chances.clip(0.002, 0.95))


def _linear(columns: Mapping[str, NDArray[Any]]) -> list[FloatArray]:
    recency = np.minimum(columns["recency_days"], 240) / 75
    orders = np.minimum(columns["orders_365d"], 8)
    app = (columns["channel"] == "app").astype(np.float64)
    return [0.01 + 0.022 * recency - 0.004 * orders, 0.03 - 0.012 * recency + 0.03 * app + 0.003 * orders]


def _steps(columns: Mapping[str, NDArray[Any]]) -> list[FloatArray]:
    recency, orders, age = columns["recency_days"], columns["orders_365d"], columns["age"]
    lapsed = (recency >= 45) & (recency < 150)
    young = (age < 32) & (columns["channel"] != "store")
    first = 0.07 * (lapsed & (orders >= 2)) + 0.015 * lapsed - 0.02 * (orders >= 6) + 0.005
    second = 0.08 * (young & (orders < 5)) + 0.02 * (recency < 45) - 0.01
    return [np.asarray(first), np.asarray(second)]


def _smooth(columns: Mapping[str, NDArray[Any]]) -> list[FloatArray]:
    recency, orders, age = columns["recency_days"], columns["orders_365d"], columns["age"]
    spend = np.where(np.isnan(columns["basket"]), 60.0, columns["basket"])
    hump = np.exp(-(((recency - 80) / 45) ** 2))
    rich = 1 / (1 + np.exp(-(np.log(spend) - 4.2) * 2))
    first = 0.09 * hump * (1 - rich) - 0.01 * np.tanh(orders / 4) + 0.008
    second = 0.06 * rich * np.exp(-(((age - 45) / 10) ** 2)) + 0.01 * np.cos(recency / 40)
    return [np.asarray(first), np.asarray(second)]


def _null(columns: Mapping[str, NDArray[Any]]) -> list[FloatArray]:
    same = np.full(len(columns["age"]), 0.02)
    return [same, same]


SHAPES: dict[str, Callable[[Mapping[str, NDArray[Any]]], list[FloatArray]]] = {
    "linear": _linear,
    "steps": _steps,
    "smooth": _smooth,
    "null": _null,
}
