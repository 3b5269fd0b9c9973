"""From rows and settings to a policy: the one function that makes a version."""

from __future__ import annotations

import numpy as np

from allocation.bandits.encoding import Encoder
from allocation.bandits.learning.cells import fingerprint
from allocation.bandits.learning.contextual import fit_contextual
from allocation.bandits.learning.encoders import fit_encoder
from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import CONTEXTUAL, Settings
from allocation.bandits.learning.tables import beta_samples, normal_samples
from allocation.bandits.policy import Policy


def train(rows: Rows, settings: Settings) -> Policy:
    """Return the policy that these rows and settings make.

    It is a function of the *set* of rows: their order does not matter. Contextual policies are a hierarchical model,
    see `allocation.bandits.learning.hierarchy`; ``beta_thompson`` and ``normal_thompson`` draw from what is known of
    each variant's reward; the others are trained by mabwiser and served through probabilities.

    Args:
        rows: matured decisions with what they earned; none at all is a cold start, and draws evenly or from the prior.
        settings: the variants, features and the policy.

    Raises:
        ValueError: rows that name a variant which the settings do not have.

    >>> rng = np.random.default_rng(1)
    >>> variant, stage = rng.integers(0, 2, 4000), rng.choice(np.array(["new", "loyal"], dtype=object), 4000)
    >>> wins = (stage == "new") == (variant == 1)
    >>> converted = rng.random(4000) < np.where(wins, 0.3, 0.1)
    >>> rows = Rows(variant, {"stage": stage}, converted, converted.astype(float))
    >>> from allocation.bandits.learning.settings import FeatureSpec
    >>> policy = train(rows, Settings(("control", "coupon"), (FeatureSpec("stage", "categorical"),)))
    >>> [p > 0.9 for p in policy.probabilities(policy.encode({"stage": "new"}), [0, 1])]
    [False, True]
    >>> [p > 0.9 for p in policy.probabilities(policy.encode({"stage": "loyal"}), [0, 1])]
    [True, False]
    """
    count = len(settings.variants)
    if rows.n and rows.variant.max() >= count:
        raise ValueError(f"a row has variant {rows.variant.max()}, and the settings have only {count}")
    if settings.policy == "uniform":
        return Policy(variants=settings.variants, kind="uniform")
    rows = in_own_order(rows)
    weight = rows.discounted(settings.half_life_days)
    if settings.policy in CONTEXTUAL:
        encoder = fit_encoder(rows, settings.features, settings.pairs) if settings.features else Encoder()
        return fit_contextual(rows, settings, encoder, weight)
    if settings.policy == "beta_thompson":
        return beta_samples(rows, settings, weight)
    if settings.policy == "normal_thompson":
        return normal_samples(rows, settings, weight)
    from allocation.bandits.mabwiser.training import train as train_mabwiser  # mabwiser is large, and rarely needed

    return train_mabwiser(rows, settings)


def in_own_order(rows: Rows) -> Rows:
    """Return the rows in an order that their outcomes decide: sums of floats depend on it in the last bits.

    Rows that differ only in their attributes keep the order in which they came; `cells` sees to those.

    >>> rows = Rows(np.array([1, 0, 1]), {}, np.ones(3, bool), np.array([3.0, 2.0, 5.0]))
    >>> one, other = in_own_order(rows), in_own_order(rows.take(np.array([2, 0, 1])))
    >>> one.amount.tolist() == other.amount.tolist()
    True
    """
    content = [rows.variant, rows.converted.astype(np.int64), rows.amount, rows.age_days, rows.weight]
    return rows.take(np.argsort(fingerprint(content), kind="stable"))
