"""Policies that mabwiser trains: its counters, and a counter for each cluster or leaf.

mabwiser fits; what it counted is read back and served as a table. It knows no weights, so where rows count differently
(half-lives, warm starts) the counters are added up again with them, in the clusters and leaves that it found. It keeps
every row it was fitted on, so clusters and trees are fitted on a bounded sample, and all rows are counted in them.
Rewards are divided by the version's scale first: bounds and temperatures then mean the same in any currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from allocation.bandits.encoding import Encoder
from allocation.bandits.learning.cells import fingerprint
from allocation.bandits.learning.encoders import fit_encoder
from allocation.bandits.learning.rewards import effective_rows, rewards, scale_of
from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import Settings
from allocation.bandits.mabwiser.parameters import LEARNERS, problems
from allocation.bandits.mabwiser.reading import read
from allocation.bandits.mabwiser.recounting import recounted
from allocation.bandits.mabwiser.state import Clusters, Counts, Floats, Ridges, Trees, parts_of
from allocation.bandits.mabwiser.tables import counts_table, trees_table
from allocation.bandits.policy import Policy

POLICIES = frozenset({"epsilon_greedy", "ucb1", "popularity", "softmax", "clusters", "tree"})
"""Policies of the definition that are trained here."""
SAMPLE = 20_000
"""Rows that clusters and trees are fitted on at most."""
_CHUNK = 20_000


def train(rows: Rows, settings: Settings) -> Policy:
    """Return the policy that mabwiser makes of these rows; a function of the set of rows, not of their order.

    ``settings.parameters``: for clusters ``n_clusters`` (4) and ``minibatch`` (false); for trees ``max_depth`` (4),
    ``min_samples_leaf`` (50) and ``max_leaf_nodes``; for both ``learner``, by default ``thompson`` for conversions and
    ``ucb1`` for amounts, and ``draws`` (250), its frozen samples. ``optimism`` is UCB1's α and Softmax's τ.

    Raises:
        ValueError: a policy that is not mabwiser's, or a parameter that it does not have.

    >>> rows = Rows(np.repeat([0, 1], 50), {}, np.arange(100) % 4 == 0, (np.arange(100) % 4 == 0) * 10.0)
    >>> policy = train(rows, Settings(("control", "coupon"), policy="popularity", worth=(10.0, 5.0)))
    >>> [round(p, 3) for p in policy.probabilities([], [0, 1])]
    [0.684, 0.316]
    """
    if settings.policy not in POLICIES:
        raise ValueError(f'policy "{settings.policy}" is not one that mabwiser trains: {", ".join(sorted(POLICIES))}')
    parameters = _checked(settings)
    weight = rows.discounted(settings.half_life_days)
    rows, weight = rows.take(weight > 0), weight[weight > 0]
    unit = scale_of(rows, settings, weight)
    learner = str(parameters.get("learner", settings.policy))
    binary = learner == "thompson"
    earned = rows.converted.astype(np.float64) if binary else rewards(rows, settings) / unit
    money: dict[str, Any] = {"unit": unit}
    if binary:
        money = {"worth": _worth(rows, settings, weight), "contact": np.asarray(settings.contact)}
    order = list(range(len(settings.variants)))
    draws = int(parameters.get("draws", 250))
    encoder = Encoder() if settings.policy not in LEARNERS else fit_encoder(rows, settings.features, settings.pairs)
    encoded = encoder.encode_columns(rows.columns, rows.n)
    # An order of their own: clusters, and sums to the last bit, depend on the order of the rows.
    place = np.argsort(fingerprint([rows.variant, earned, weight, *encoded.numeric.T, *encoded.levels.T]))
    encoded, weight, earned, variant = encoded.take(place), weight[place], earned[place], rows.variant[place]
    # Every so-many-th of them: rows of equal content stand together, so each content has its share.
    sample = np.linspace(0, rows.n - 1, min(rows.n, SAMPLE if settings.policy in LEARNERS else rows.n)).astype(np.intp)
    contexts = encoder.design(encoded.take(sample)) if settings.policy in LEARNERS else None
    learned = _fitted(settings, learner, parameters, variant[sample], earned[sample], contexts)
    if rows.n > len(sample) or (weight != 1).any():
        pieces = (slice(start, start + _CHUNK) for start in range(0, rows.n, _CHUNK))
        learned = recounted(learned, variant, earned, weight, (encoder.design(encoded.take(rows)) for rows in pieces))
    common: dict[str, Any] = {
        "variants": settings.variants, "encoder": encoder, "effective_rows": effective_rows(weight),
        "seed": settings.seed, "scale": unit,
    }  # fmt: skip
    if isinstance(learned, Trees):
        return Policy(
            **{**common, **trees_table(learned, order, range(len(encoder.columns)), draws, settings.seed, **money)}
        )
    if isinstance(learned, Clusters):
        common |= {"cells": "centroids", "centroids": learned.centroids}
    cells = [part for part in parts_of(learned) if isinstance(part, Counts)]
    draws = draws if isinstance(learned, Clusters) else 1_000
    return Policy(**{**common, **counts_table(cells, order, draws, settings.seed, **money)})


def _checked(settings: Settings) -> Mapping[str, Any]:
    for name, problem in problems(settings.policy, settings.parameters):
        raise ValueError(f"parameters: {name} {problem}")
    if settings.policy not in LEARNERS:
        return {}
    return {"learner": "thompson" if settings.model == "logistic" else "ucb1", **settings.parameters}


def _worth(rows: Rows, settings: Settings, weight: Floats) -> Floats:
    """Return what a conversion earns by variant: as declared, else its mean amount, drawn to all orders' by ten."""
    if settings.model == "logistic":
        return np.asarray(settings.worth, np.float64)
    count = len(settings.variants)
    paid = np.bincount(rows.variant, weight * rows.amount, count)
    orders = np.bincount(rows.variant, weight * rows.converted, count)
    pooled = paid.sum() / orders.sum() if orders.sum() > 0 else 1.0
    worth: Floats = (paid + 10.0 * pooled) / (orders + 10.0)
    return worth


def _fitted(
    settings: Settings,
    learner: str,
    parameters: Mapping[str, Any],
    variant: npt.NDArray[np.intp],
    earned: Floats,
    design: Floats | None,
) -> Counts | Clusters | Trees:
    """Return what mabwiser made of some rows; where there is nothing to tell apart, a learner that counted them all."""
    from mabwiser.mab import MAB, LearningPolicy, NeighborhoodPolicy

    policy, given = {
        "epsilon_greedy": (LearningPolicy.EpsilonGreedy, {"epsilon": 0.0}),  # ε is the experiment's `explore`
        "popularity": (LearningPolicy.Popularity, {}),
        "softmax": (LearningPolicy.Softmax, {"tau": max(settings.optimism, 1e-9)}),
        "thompson": (LearningPolicy.ThompsonSampling, {}),
        "ucb1": (LearningPolicy.UCB1, {"alpha": settings.optimism}),
    }[learner]
    around: Any = None
    if settings.policy == "clusters" and design is not None:
        wanted = min(int(parameters.get("n_clusters", 4)), len(np.unique(design, axis=0)))
        around = NeighborhoodPolicy.Clusters(wanted, bool(parameters.get("minibatch", False))) if wanted > 1 else None
    elif settings.policy == "tree" and len(variant):
        shape = {"max_depth": 4, "min_samples_leaf": 50, **parameters}
        around = NeighborhoodPolicy.TreeBandit(
            {name: int(shape[name]) for name in ("max_depth", "min_samples_leaf", "max_leaf_nodes") if name in shape}
        )
    if not len(variant) or (settings.policy in LEARNERS and around is None):
        nothing = np.zeros(len(settings.variants))
        return recounted(Counts(learner, given, nothing, nothing), variant, earned, np.ones(len(variant)), ())
    mab = MAB(list(settings.variants), policy(**given), around, seed=settings.seed)
    mab.fit(np.array(settings.variants)[variant], earned, *([] if around is None else [design]))
    learned = read(mab).learned
    if isinstance(learned, Ridges):
        raise TypeError("a counting learner gave ridge regressions")
    return learned
