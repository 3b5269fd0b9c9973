"""A ``MAB`` that an analyst already has, as a policy that can be served: with probabilities, masks and a hash draw.

What is served is what the learner's documentation says, free of what its ``predict()`` does besides (docs/mabwiser.md):

| learner | policy |
|---|---|
| LinGreedy, LinUCB, LinTS | linear model; greedy, LinUCB, Thompson sampling with noise of its own for each arm |
| EpsilonGreedy, UCB1 | the best mean, or upper bound; ε is the experiment's ``explore`` |
| Popularity, Softmax | shares ∝ the means, or ∝ exp(mean / τ) |
| ThompsonSampling | share of frozen Beta samples in which an arm is best |
| Clusters, TreeBandit | one of these for each cluster, or leaf |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.mabwiser import documents, unpickling
from allocation.bandits.mabwiser.reading import read
from allocation.bandits.mabwiser.state import Clusters, Counts, Floats, Ridges, State, Trees, parts_of, width_of
from allocation.bandits.mabwiser.tables import counts_table, trees_table
from allocation.bandits.policy import NOTHING, Policy

BOUND = 1e9
"""Imported contexts are not clipped, beyond what a policy can hold."""
PICKLE_WARNING = (
    "this is a pickle, which can run code when it is read; only the classes of mabwiser, numpy and scikit-learn were "
    "let through, but import pickles of your own making only, or JSON"
)


@dataclass(frozen=True)
class Imported:
    """A policy from a file, and what whoever imports it should know.

    Attributes:
        policy: ready to be stored.
        explore: the object's ε, which belongs into the experiment's ``explore``; ``None`` where it has none.
        warnings: sentences.
    """

    policy: Policy
    explore: float | None
    warnings: tuple[str, ...]


def load(
    data: bytes,
    *,
    variants: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    features: Sequence[str] | None = None,
    encoder: Encoder | None = None,
    pickles: bool = False,
) -> Imported:
    """Read a file: JSON of `documents.dumps`, or a pickled ``MAB`` where ``pickles`` are allowed.

    Args:
        data: the file's bytes.
        variants: the experiment's variants in order; by default the arms as text, in theirs.
        names: arm as text → variant, where they differ.
        features: names of the attributes that are the contexts' columns; a file that names them itself is believed.
        encoder: instead of features: the encoder whose design the object was fitted on.
        pickles: whether the operator named this local file and trusts it. Never set this for what came over a network.

    Raises:
        ValueError: a file that is neither, cannot be served, or does not fit the variants and features.
    """
    warnings: tuple[str, ...] = ()
    if data.lstrip()[:1] == b"{":
        state = documents.loads(data)
    elif not pickles:
        raise ValueError(
            "not JSON; a pickled MAB is read only where pickles are allowed (--pickle): reading one can run code"
        )
    else:
        state = _unpickled(data)
        warnings = (PICKLE_WARNING,)
    policy = to_policy(state, variants=variants, names=names, features=features, encoder=encoder)
    return Imported(policy, explore_of(state), warnings + warnings_of(state))


def _unpickled(data: bytes) -> State:
    mab = unpickling.loads(data)
    try:
        return read(mab)
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged object raises whatever is missing in it
        raise ValueError(f"not a readable MAB: {type(error).__name__}: {error}") from None


def from_mabwiser(
    mab: Any,
    *,
    variants: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    features: Sequence[str] | None = None,
    encoder: Encoder | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> Policy:
    """Return a fitted ``mabwiser.mab.MAB`` as a policy; the object stays as it is.

    Args:
        mab: the object.
        variants: the experiment's variants in order; by default the arms as text, in theirs.
        names: arm as text → variant, where they differ.
        features: names of the attributes that are the contexts' columns, all numeric; a missing value counts as 0.
        encoder: instead of features: the encoder whose design the object was fitted on.
        draws: frozen samples of Thompson sampling; by default 100, or 1,000 where no context matters.
        seed: of those samples.

    Raises:
        ValueError: an object that cannot be read or served, or does not fit the variants and features.

    >>> from mabwiser.mab import MAB, LearningPolicy
    >>> mab = MAB(["control", "coupon"], LearningPolicy.Softmax(tau=1.0))
    >>> mab.fit(["control", "control", "coupon"], [1, 0, 1])
    >>> [round(p, 4) for p in from_mabwiser(mab).probabilities([], [0, 1])]
    [0.3775, 0.6225]
    """
    return to_policy(
        read(mab), variants=variants, names=names, features=features, encoder=encoder, draws=draws, seed=seed
    )


def explore_of(state: State) -> float | None:
    """Return the ε with which the object explores whatever it learned, ``None`` where it has none."""
    learned = state.learned
    first = learned.learners[0] if isinstance(learned, Clusters) else learned
    epsilon = first.parameters.get("epsilon", 0.0)
    return epsilon or None


def warnings_of(state: State) -> tuple[str, ...]:
    """Return what whoever serves an object instead of asking its ``predict()`` should know."""
    warnings: list[str] = []
    first = parts_of(state.learned)[0]
    if isinstance(first, Ridges) and first.learner == "lints":
        warnings.append(
            "LinTS: predict() of this object draws the same noise for every arm, so it explores less than Thompson "
            "sampling does; served, each arm has noise of its own, and its choices will differ"
        )
    if isinstance(first, Ridges) and ((first.centre != 0).any() or (first.scale != 1).any()):
        warnings.append(
            "scale=True: if partial_fit was called, the sums mix differently scaled contexts; fit once on all rows"
        )
    if isinstance(first, Counts) and first.learner in {"popularity", "softmax"}:
        warnings.append(
            f"{first.learner}: predict() draws shares from a Dirichlet distribution and takes the largest, which "
            "prefers large shares more than they say; served are the shares themselves"
        )
    return tuple(warnings)


def to_policy(
    state: State,
    *,
    variants: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    features: Sequence[str] | None = None,
    encoder: Encoder | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> Policy:
    """Return what a ``MAB`` knew as a policy. Arguments and errors are those of `from_mabwiser`."""
    order = _order(state, variants, names)
    keys = tuple(variants) if variants is not None else tuple(_named(arm, names) for arm in state.arms)
    learned = state.learned
    if isinstance(learned, Counts):
        table = counts_table((learned,), order, draws or 1_000, seed)
        return Policy(variants=keys, seed=seed, effective_rows=float(learned.count.sum()), **table)
    width = width_of(learned)
    encoder, places = _columns(state, features, encoder, width)
    if isinstance(learned, Ridges):
        return _contextual(learned, keys, order, encoder, places, draws or 100, seed)
    if isinstance(learned, Trees):
        table = trees_table(learned, order, places, draws or 250, seed)
        return Policy(variants=keys, encoder=encoder, seed=seed, **table)
    counts = [part for part in learned.learners if isinstance(part, Counts)]
    if len(counts) < len(learned.learners):
        raise ValueError("Clusters of linear learners cannot be served; fit the linear learner alone, or Clusters "
                         "with ThompsonSampling, UCB1, Softmax, Popularity or EpsilonGreedy")  # fmt: skip
    table = counts_table(counts, order, draws or 250, seed)
    centroids = np.zeros((len(counts), len(encoder.columns)))
    centroids[:, places] = learned.centroids
    if table["kind"] == "uniform":
        return Policy(variants=keys, **table)
    return Policy(variants=keys, encoder=encoder, seed=seed, **{**table, "cells": "centroids", "centroids": centroids})


def _named(arm: object, names: Mapping[str, str] | None) -> str:
    return (names or {}).get(str(arm), str(arm))


def _order(state: State, variants: Sequence[str] | None, names: Mapping[str, str] | None) -> list[int]:
    """Return for each variant the index of its arm."""
    known = {_named(arm, names): index for index, arm in enumerate(state.arms)}
    if len(known) != len(state.arms):
        raise ValueError(f"two arms have the same name; name them apart: {', '.join(map(str, state.arms))}")
    wanted = list(known) if variants is None else list(variants)
    missing = [variant for variant in wanted if variant not in known]
    if missing:
        raise ValueError(
            f"the object has no arm for {', '.join(missing)}; it has {', '.join(known)}: name its arms as the variants"
        )
    return [known[variant] for variant in wanted]


def _columns(
    state: State, features: Sequence[str] | None, encoder: Encoder | None, width: int | None
) -> tuple[Encoder, list[int]]:
    """Return an encoder, and for each column of the contexts its column in the encoder's design."""
    if encoder is not None:
        if width is not None and len(encoder.columns) != width:
            raise ValueError(
                f"the encoder's design has {len(encoder.columns)} columns, the object's contexts have {width}; give "
                "the encoder that it was fitted with, or the columns' names as features"
            )
        return encoder, list(range(len(encoder.columns)))
    named = state.features if state.features is not None else features
    if named is None:
        raise ValueError("name the attributes that are the contexts' columns as features, in their order")
    if width is not None and len(named) != width:
        raise ValueError(f"{len(named)} features are named, the object's contexts have {width} columns")
    if len(set(named)) != len(named):
        raise ValueError(f"features name an attribute twice: {', '.join(named)}")
    codes = tuple(FeatureCode(name, "numeric", low=-BOUND, high=BOUND) for name in named)
    made = Encoder(codes) if codes else NOTHING
    places = [index for index, column in enumerate(made.columns) if column.group == "numeric"]
    return made, places


def _contextual(
    ridges: Ridges, keys: tuple[str, ...], order: list[int], encoder: Encoder, places: list[int], draws: int, seed: int
) -> Policy:
    columns = len(encoder.columns)
    coef, spread = np.zeros((len(order), columns)), np.zeros((len(order), columns * (columns + 1) // 2), np.float32)
    lower = np.tril_indices(columns)
    beta, covariance = ridges.beta[order], ridges.covariance[order]
    for k, arm in enumerate(order):
        design = _standardising(ridges.centre[arm], ridges.scale[arm], columns, places)
        coef[k] = beta[k] @ design
        # The triangle R of a QR decomposition of (design' · chol)': RᵀR is the coefficients' covariance, and R exists
        # also where columns that the object has not (intercept, missing) have none.
        root = np.asarray(np.linalg.qr((design.T @ np.linalg.cholesky(covariance[k])).T, mode="r"))
        triangle = np.zeros((columns, columns))
        triangle[:, : len(root)] = root.T
        spread[k] = triangle[lower]
    rule = {"lingreedy": "greedy", "linucb": "linucb", "lints": "thompson"}[ridges.learner]
    return Policy(
        variants=keys, kind="contextual", rule=rule, encoder=encoder, model="linear", coef=coef,  # type: ignore[arg-type]
        spread=None if rule == "greedy" else spread,
        optimism=ridges.parameters.get("alpha", 0.0), draws=draws, seed=seed,
    )  # fmt: skip


def _standardising(centre: Floats, scale: Floats, columns: int, places: list[int]) -> Floats:
    """Return the matrix (d, P) that turns a design row into what the ridge regression of one arm was fitted on."""
    design = np.zeros((len(places), columns))
    design[np.arange(len(places)), places] = 1.0 / scale
    if (centre != 0).any():
        if 0 in places:
            raise ValueError("an object that scales contexts cannot have been fitted on an encoder's design; "
                             "name the columns as features")  # fmt: skip
        design[:, 0] = -centre / scale
    return design
