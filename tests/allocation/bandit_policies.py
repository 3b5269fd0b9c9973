"""Policies of every kind and rule, with made-up numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.policy import Policy

VARIANTS = ("control", "a", "b", "c", "d")
ENCODER = Encoder(
    (
        FeatureCode("age", "numeric", centre=40.0, scale=12.0),
        FeatureCode("spend", "numeric", transform="log", centre=4.0, scale=2.0),
        FeatureCode("stage", "categorical", levels=("loyal", "new", "dormant")),
        FeatureCode("shop", "categorical", levels=tuple(str(number) for number in range(60))),
    ),
    pairs=((0, 1), (0, 2), (2, 3)),
)
COLUMNS = len(ENCODER.columns)
CONTEXTUAL = [
    (rule, model)
    for rule in ("igw", "thompson", "linucb", "greedy", "softmax", "proportional")
    for model in ("logistic", "hurdle", "linear")
]
TABLES = [
    (rule, cells)
    for rule in ("igw", "greedy", "softmax", "proportional", "samples")
    for cells in ("none", "centroids", "trees", "own trees")
]


def contextual(rule: Any = "igw", model: Any = "logistic", *, amounts: float = 1.0, **fields: Any) -> Policy:
    """Return a policy for five offers, whose amounts are multiplied by something."""
    rng = np.random.default_rng(20260301)
    size = COLUMNS * (COLUMNS + 1) // 2
    coef = rng.normal(0, 0.3, (5, COLUMNS))
    amount = rng.normal(80, 5, (5, COLUMNS)) * 0.1
    given: dict[str, Any] = {
        "variants": VARIANTS,
        "kind": "contextual",
        "rule": rule,
        "model": model,
        "encoder": ENCODER,
        "coef": coef * amounts if model == "linear" else coef,
        "worth": np.array([100.0, 90.0, 80.0, 70.0, 60.0]) * amounts if model == "logistic" else None,
        "amount": amount * amounts if model == "hurdle" else None,
        "contact": np.array([0.0, 0.5, 0.5, 0.5, 1.0]) * amounts,
        "scale": 37.5 * amounts,
        "effective_rows": 2_000.0,
        "spread": rng.normal(0, 0.02, (5, size)) * (amounts if model == "linear" else 1.0),
        "seed": 3,
    }
    return Policy(**{**given, **fields})


def table(rule: Any, cells: str, *, amounts: float = 1.0) -> Policy:
    """Return a table for five offers."""
    rng = np.random.default_rng(20260302)
    own = cells == "own trees"
    count = {"none": 1, "centroids": 4}.get(cells, 3 * 5 if own else 3)
    columns = [0 + 1, -1, 3, -1, -1]  # age, then spend: five nodes, of which three are leaves
    trees = 5 if own else 1
    nodes = {
        "tree_roots": np.arange(trees) * 5,
        "tree_column": np.tile(columns, trees),
        "tree_threshold": np.tile([0.1, 0, -0.4, 0, 0], trees),
        "tree_left": np.concatenate([np.array([1, -1, 3, -1, -1]) + (5 * t) for t in range(trees)]),
        "tree_right": np.concatenate([np.array([2, -1, 4, -1, -1]) + (5 * t) for t in range(trees)]),
        "tree_cell": np.concatenate([np.array([-1, 0, -1, 1, 2]) + 3 * t for t in range(trees)]),
    }
    return Policy(
        variants=VARIANTS,
        kind="table",
        rule=rule,
        encoder=ENCODER,
        cells="trees" if own else cells,  # type: ignore[arg-type]
        table=None if rule == "samples" else rng.normal(20, 10, (count, 1 if own else 5)) * amounts,
        samples=rng.normal(20, 10, (count, 50, 1 if own else 5)) * amounts if rule == "samples" else None,
        centroids=rng.normal(size=(4, COLUMNS)) if cells == "centroids" else None,
        scale=15.0 * amounts,
        effective_rows=500.0,
        **(nodes if "trees" in cells else {}),
    )


def members(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return attributes of members, some missing, some unheard of."""
    rng = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for _ in range(count):
        member: dict[str, Any] = {
            "age": float(rng.normal(40, 15)),
            "spend": float(rng.lognormal(4, 2)),
            "stage": str(rng.choice(["loyal", "new", "dormant", "strange"])),
            "shop": str(rng.integers(0, 70)),
        }
        for name in list(member):
            if rng.random() < 0.1:
                del member[name]
        found.append(member)
    return found


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return members as columns."""
    return {code.attribute: [row.get(code.attribute) for row in rows] for code in ENCODER.features}
