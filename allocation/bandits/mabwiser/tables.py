"""What context-free learners counted, as the table that a policy is served from.

An arm that was never tried counts as the mean of all (mabwiser: as 0, whatever the others earn), and UCB1's bound takes
it as tried once (mabwiser: has no bound for it, so it may never be tried).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from allocation.bandits.mabwiser.state import Counts, Floats, Trees


def counts_table(
    cells: Sequence[Counts],
    order: Sequence[int],
    draws: int,
    seed: int,
    *,
    unit: float = 1.0,
    worth: Floats | None = None,
    contact: Floats | None = None,
) -> dict[str, Any]:
    """Return the fields of a `Policy` that serves one learner in each of C cells.

    Args:
        cells: the learners, all of one kind.
        order: for each variant the index of its arm.
        draws: samples of each variant for Thompson sampling.
        seed: of those samples.
        unit: amount of money that is 1 in the learners' rewards.
        worth: thompson: what a success earns by variant; by default 1.
        contact: thompson: what is subtracted from that; by default 0. In other learners it is in the rewards.
    """
    learner, parameters = cells[0].learner, cells[0].parameters
    picked = list(order)
    if learner == "random":
        return {"kind": "uniform"}
    if learner == "thompson":
        drawn = beta_samples(
            np.stack([cell.total[picked] for cell in cells]), np.stack([cell.count[picked] for cell in cells]),
            draws, seed,
        )  # fmt: skip
        if worth is not None:
            drawn = drawn * worth
        if contact is not None:
            drawn = drawn - contact
        return {"kind": "table", "rule": "samples", "samples": drawn, "table": drawn.mean(axis=1)}
    table = np.stack([cell.mean[picked] for cell in cells])
    if learner == "ucb1":
        counts = np.stack([cell.count[picked] for cell in cells])
        totals = np.array([[cell.count.sum()] for cell in cells])
        table = table + upper_bound(counts, totals, parameters["alpha"])
    rule = {"popularity": "proportional", "softmax": "softmax"}.get(learner, "greedy")
    fields: dict[str, Any] = {"kind": "table", "rule": rule, "table": table * unit, "scale": unit}
    if learner == "softmax":
        fields["optimism"] = parameters["tau"]
    return fields


def trees_table(
    trees: Trees,
    order: Sequence[int],
    places: Sequence[int],
    draws: int,
    seed: int,
    *,
    unit: float = 1.0,
    worth: Floats | None = None,
    contact: Floats | None = None,
) -> dict[str, Any]:
    """Return the fields of a `Policy` that serves a tree for each variant. Arguments as for `counts_table`.

    Args:
        trees: the trees.
        order: for each variant the index of its arm.
        places: for each column that the trees know, its column in the design.
        draws: samples of each leaf for Thompson sampling.
        seed: of those samples.
        unit: amount of money that is 1 in the learners' rewards.
        worth: thompson: what a success earns by variant.
        contact: thompson: what is subtracted from that.
    """
    chosen = [trees.trees[arm] for arm in order]
    for tree in chosen:
        inner = tree.left >= 0
        if inner.any() and tree.feature[inner].max() >= len(places):
            raise ValueError(f"a tree asks about column {tree.feature[inner].max() + 1} of {len(places)}; name as many")
    starts = np.concatenate([[0], np.cumsum([len(tree.left) for tree in chosen])])
    inner = np.concatenate([tree.left >= 0 for tree in chosen])
    left, right = (
        np.concatenate([side + start for side, start in zip(sides, starts, strict=False)])
        for sides in ([tree.left for tree in chosen], [tree.right for tree in chosen])
    )
    feature = np.concatenate([tree.feature for tree in chosen])
    count = np.concatenate([tree.count for tree in chosen])[~inner]
    total = np.concatenate([tree.total for tree in chosen])[~inner]
    variant = np.repeat(np.arange(len(chosen)), [int((tree.left < 0).sum()) for tree in chosen])
    cell = np.where(inner, -1, np.cumsum(~inner) - 1)
    fields: dict[str, Any] = {
        "kind": "table", "cells": "trees", "tree_roots": starts[:-1],
        "tree_column": np.where(inner, np.asarray(places, np.intp)[feature] if len(places) else -1, -1),
        "tree_threshold": np.concatenate([tree.threshold for tree in chosen]),
        "tree_left": np.where(inner, left, -1), "tree_right": np.where(inner, right, -1), "tree_cell": cell,
    }  # fmt: skip
    if trees.learner == "thompson":
        drawn = beta_samples(total[:, None], count[:, None], draws, seed)
        if worth is not None:
            drawn = drawn * worth[variant][:, None, None]
        if contact is not None:
            drawn = drawn - contact[variant][:, None, None]
        return {**fields, "rule": "samples", "samples": drawn, "table": drawn.mean(axis=1)}
    seen = count.sum()
    mean = np.full(len(count), total.sum() / seen if seen else 0.0)
    np.divide(total, count, out=mean, where=count > 0)
    if trees.learner == "ucb1":
        # A leaf's bound counts its own rewards only, as mabwiser's leaves do; a leaf that saw none counts everything.
        mean = mean + upper_bound(count, np.where(count > 0, count, seen), trees.parameters["alpha"])
    return {**fields, "rule": "greedy", "table": mean[:, None] * unit, "scale": unit}


def upper_bound(count: Floats, total: Floats, alpha: float) -> Floats:
    """Return UCB1's α·√(2·ln(total) / count), with both at least 1 (Auer, Cesa-Bianchi & Fischer 2002, figure 1).

    >>> upper_bound(np.array([8.0, 0.0]), np.array([8.0, 8.0]), 1.0).round(3).tolist()
    [0.721, 2.039]
    """
    bound: Floats = alpha * np.sqrt(2 * np.log(np.maximum(total, 1.0)) / np.maximum(count, 1.0))
    return bound


def beta_samples(successes: Floats, count: Floats, draws: int, seed: int) -> Floats:
    """Return frozen samples of Beta(1 + successes, 1 + failures), shape (C, draws, K) for counts of shape (C, K).

    Each variant's samples are one from each of ``draws`` equally likely ranges, in an order of its own (Latin
    hypercube, McKay, Beckman & Conover 1979): the margins are exact, so fewer samples do.

    >>> samples = beta_samples(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]), 100, 0)
    >>> samples.shape, samples.mean(axis=1).round(3).tolist()
    ((1, 100, 2), [[0.5, 0.5]])
    """
    from scipy.special import betaincinv

    if (successes < 0).any() or (successes > count).any():
        raise ValueError("Thompson sampling needs rewards of 0 or 1")
    order = np.random.default_rng(seed).permuted(
        np.broadcast_to(np.arange(draws)[None, :, None], (len(count), draws, count.shape[1])), axis=1
    )
    samples: Floats = betaincinv(1 + successes[:, None, :], 1 + (count - successes)[:, None, :], (order + 0.5) / draws)
    return samples
