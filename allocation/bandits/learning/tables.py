"""Policies that look at nobody: what is known of each variant's reward, as frozen samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from allocation.bandits.learning.rewards import effective_rows, rewards, scale_of
from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import Settings
from allocation.bandits.policy import Policy

FloatArray = npt.NDArray[np.float64]

SAMPLES = 1_000
"""How many draws stand for a posterior; a probability has a standard error of at most 1.6 points."""


def beta_samples(rows: Rows, settings: Settings, weight: FloatArray) -> Policy:
    """Return Thompson sampling of conversion rates with uniform priors, times what a conversion is worth.

    Without ``worth``, a conversion is worth the variant's mean amount, drawn towards the pooled one by ten orders.
    Until somebody has bought, nobody knows whether an order pays for a contact: costs are left out, rates decide alone.

    >>> rows = Rows(np.repeat([0, 1], 500), {}, np.tile([True] + [False] * 9, 100), np.tile([1.0] + [0.0] * 9, 100))
    >>> policy = beta_samples(rows, Settings(("a", "b"), policy="beta_thompson"), np.ones(1000))
    >>> 0.3 < policy.probabilities([], [0, 1])[0] < 0.7
    True
    """
    count = len(settings.variants)
    hits = np.bincount(rows.variant, weight * rows.converted, count)
    tries = np.bincount(rows.variant, weight, count)
    contact = np.asarray(settings.contact, np.float64)
    if settings.model == "logistic":
        worth = np.asarray(settings.worth, np.float64)
    elif hits.sum() > 0:
        paid = np.bincount(rows.variant, weight * rows.amount, count)
        worth = (paid + 10.0 * paid.sum() / hits.sum()) / (hits + 10.0)
    else:
        worth, contact = np.full(count, scale_of(rows, settings, weight)), np.zeros(count)
    rng = np.random.default_rng(settings.seed)
    widen = settings.optimism**2 or 1e-12  # standard errors × optimism: counts over its square
    drawn = rng.beta(1.0 + hits / widen, 1.0 + (tries - hits) / widen, (SAMPLES, count))
    return _policy(rows, settings, weight, drawn * worth - contact)


def normal_samples(rows: Rows, settings: Settings, weight: FloatArray) -> Policy:
    """Return Thompson sampling of mean rewards, each with a normal posterior; the pooled mean counts as one row.

    >>> rows = Rows(np.repeat([0, 1], 50), {}, np.ones(100, bool), np.repeat([1.0, 3.0], 50))
    >>> policy = normal_samples(rows, Settings(("a", "b"), policy="normal_thompson", model="linear"), np.ones(100))
    >>> [round(p, 2) for p in policy.probabilities([], [0, 1])]
    [0.0, 1.0]
    """
    count = len(settings.variants)
    earned = rewards(rows, settings)
    tries = np.bincount(rows.variant, weight, count)
    scale = scale_of(rows, settings, weight)
    pooled = float((weight * earned).sum() / tries.sum()) if tries.sum() > 0 else 0.0
    mean = (np.bincount(rows.variant, weight * earned, count) + pooled) / (tries + 1.0)
    residual = np.bincount(rows.variant, weight * (earned - mean[rows.variant]) ** 2, count)
    error = np.sqrt((residual + scale**2) / (tries + 1.0) / (tries + 1.0))
    normals = np.random.default_rng(settings.seed).standard_normal((SAMPLES, count))
    return _policy(rows, settings, weight, mean + settings.optimism * error * normals)


def _policy(rows: Rows, settings: Settings, weight: FloatArray, samples: FloatArray) -> Policy:
    scale = scale_of(rows, settings, weight)
    return Policy(
        variants=settings.variants,
        kind="table",
        rule="samples",
        table=samples.mean(axis=0)[None],
        samples=samples[None],
        scale=scale,
        effective_rows=effective_rows(weight),
        optimism=settings.optimism,
        seed=settings.seed,
    )
