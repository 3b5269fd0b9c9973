"""Splits rows into folds by what the rows say, not by where they stand, so that a shuffled file gives the same numbers.

Rows get a key mixed from all of their numbers and the seed; sorted by it they stand in an order of their own. Within
each arm folds are dealt in that order, so that they are of one size. Never within outcomes: folds that all have the
same share of buyers would tell each other what they found, and what is best on some would look best on the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stats.uplift.trial import FloatArray, IntArray, Trial

KeyArray = NDArray[np.uint64]


def canonical_order(trial: Trial, seed: int = 0) -> IntArray:
    """Return the rows in an order that depends on the seed and on their contents only.

    >>> features = np.array([[1.0], [2.0], [3.0]])
    >>> trial = Trial(np.zeros(3), np.array([0, 1, 0]), features, np.full((3, 2), 0.5))
    >>> turned = trial.take(np.array([2, 0, 1]))
    >>> np.array_equal(trial.take(canonical_order(trial)).features, turned.take(canonical_order(turned)).features)
    True
    """
    key = np.full(trial.rows, np.uint64(seed % 2**63) + np.uint64(1), dtype=np.uint64)
    columns = [trial.outcome, trial.arm.astype(np.float64), *trial.features.T, *trial.propensity.T]
    for column in columns:
        key = _mixed(key ^ _bits(column))
    return np.argsort(_apart(key), kind="stable").astype(np.intp)


def assign(arm: IntArray, folds: int) -> IntArray:
    """Return each row's fold, dealt in the order of the rows within arms.

    Args:
        arm: (n,), in canonical order.
        folds: how many.

    Raises:
        ValueError: fewer than two folds.

    >>> assign(np.array([0, 0, 1, 1, 0]), 2).tolist()
    [0, 1, 1, 0, 0]
    """
    if folds < 2:
        raise ValueError("there must be at least two folds")
    fold = np.empty(len(arm), dtype=np.intp)
    dealt = 0
    for code in np.unique(arm):
        rows = np.flatnonzero(arm == code)
        # The next arm goes on where the last one ended: many small arms must not all favour the first fold.
        fold[rows] = (np.arange(dealt, dealt + rows.size)) % folds
        dealt += rows.size
    return fold


def _apart(key: KeyArray) -> KeyArray:
    """Return keys of which rows that are the same have different ones: the first, the second … of each.

    Side by side, the rows of a cell of levels would be dealt evenly to all folds: then what is fitted on some folds
    finds its own chance differences again on the other ones, as if they were effects.
    """
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    place = np.arange(len(key))
    begins = np.concatenate([[True], ranked[1:] != ranked[:-1]])[: len(key)]
    nth = place - np.maximum.accumulate(np.where(begins, place, 0))
    out = np.empty_like(key)
    out[order] = _mixed(ranked ^ _mixed(nth.astype(np.uint64)))
    return out


def _bits(column: FloatArray) -> KeyArray:
    """Return the bits of numbers, the same for 0 and −0 and for every NaN."""
    plain = np.where(np.isnan(column), np.nan, column + 0.0)
    return np.ascontiguousarray(plain, dtype=np.float64).view(np.uint64)


def _mixed(key: KeyArray) -> KeyArray:
    """Return SplitMix64's scrambling (Steele, Lea & Flood 2014) of 64-bit keys; products wrap around."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(key ^ (key >> np.uint64(31)))
