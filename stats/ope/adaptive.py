"""What each variant would earn if everybody who may get it did, from decisions that a learning policy drew.

A plain mean of a variant's rewards is biased after adaptive collection: a variant that started unluckily is drawn less
and keeps its bad luck. Scores Γ = m̂ + 1{drawn}/e · (r − m̂) are not, because the propensity e is known and m̂ comes from
earlier decisions alone. Their uniform mean is the default: with an exploration floor it is well calibrated and least
biased. Where a variant was seldom drawn a few scores carry most of the variance, which the degrees of freedom count:
simulated coverage is then .945 to .956. Weights by batch (``"weighted"``) help where propensities get very small.

References:
    Hadad, Hirshberg, Zhan, Wager, Athey (2021), Confidence intervals for policy evaluation in adaptive experiments,
    PNAS 118(15) (arXiv:1911.02768; the scores, eq. 5, and constant-allocation weights, eq. 15).
    Zhan, Hadad, Hirshberg, Athey (2021), Off-policy evaluation via adaptive weighting with data from contextual
    bandits, KDD (arXiv:2106.02029; weights that depend on the history alone, not on the context).
    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024), Time-uniform central limit theory and asymptotic confidence
    sequences, Annals of Statistics 52(6) (arXiv:2103.06476).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray, IntArray, as_float
from stats.ope.intervals import Estimate, codes_of, missing, normal
from stats.sequential.mixture import mixture_band
from stats.why import Why

Method = Literal["uniform", "weighted"]


def arm_means(
    variant: npt.ArrayLike,
    reward: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    batch: npt.ArrayLike | None = None,
    predicted: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
    method: Method = "uniform",
    always_valid: bool = False,
    n_star: int | None = None,
) -> tuple[Estimate, ...]:
    """Return every variant's mean reward over those who were eligible for it, in the order of the variants.

    Args:
        variant: which variant was drawn, integers from 0, shape (n,), in order of time.
        reward: shape (n,).
        probabilities: with which each variant was drawn, shape (n, K); 0 where it was not eligible.
        batch: integers that grow with time, such as the policy's versions: a model may learn from earlier batches
            only, shape (n,). ``None``: ``DEFAULT_BATCHES`` equal ones.
        predicted: m̂, a model's predictions from earlier decisions only, shape (n, K); ``None``: each variant's mean so
            far, see ``past_means``.
        cluster: what names each decision's member, shape (n,).
        alpha: 1 − confidence level.
        method: all decisions count alike, or by batch with √ of its propensities (``"weighted"``).
        always_valid: whether the interval holds at all looks together (an asymptotic confidence sequence).
        n_star: decisions at which that one shall be narrowest; fix it beforehand. Default: 10,000.

    Raises:
        ValueError: a shape does not fit, a number is not finite, or a drawn variant had no probability.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> p = np.repeat([[0.5, 0.5], [0.1, 0.9]], 500, axis=0)
    >>> drawn = (rng.random(1000) < p[:, 1]).astype(int)
    >>> paid = rng.random(1000) < np.array([0.2, 0.4])[drawn]
    >>> [(round(one.value, 2), round(one.std_error, 3)) for one in arm_means(drawn, paid, p)]
    [(0.17, 0.031), (0.39, 0.019)]
    """
    scores = aipw_scores(variant, reward, probabilities, batch=batch, predicted=predicted, cluster=cluster)
    chance = as_float(probabilities)
    drawn = np.asarray(variant, dtype=np.int64)
    codes = codes_of(cluster, drawn.size)
    found = []
    for arm in range(chance.shape[1]):
        eligible = chance[:, arm] > 0
        if eligible.any() and not (drawn == arm).any():
            rows = int(eligible.sum())
            found.append(missing(Why.NEVER_DRAWN, rows, rows if codes is None else np.unique(codes[eligible]).size))
            continue
        weight = None
        if method == "weighted":
            weight = stabilising(chance[:, arm], batches(batch, drawn.size))
        found.append(
            score_mean(
                scores[:, arm], weight=weight, cluster=codes, alpha=alpha, always_valid=always_valid, n_star=n_star
            )
        )
    return tuple(found)


def aipw_scores(
    variant: npt.ArrayLike,
    reward: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    batch: npt.ArrayLike | None = None,
    predicted: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
) -> FloatArray:
    """Return Γ of every decision and variant, shape (n, K), NaN where the variant was not eligible.

    Arguments are those of ``arm_means``. Means of differences of two columns compare two variants, see ``score_mean``.

    Source: Hadad et al. (2021), eq. 5.

    >>> aipw_scores([0, 1], [1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]], predicted=[[1.0, 2.0], [1.0, 2.0]])
    array([[1.  , 2.  ],
           [1.  , 3.25]])
    """
    drawn, rewards, chance = _decisions(variant, reward, probabilities)
    n = rewards.size
    if predicted is None:
        model = past_means(drawn, rewards, chance.shape[1], batch=batch, cluster=cluster)
    else:
        model = as_float(predicted)
        if model.shape != chance.shape:
            raise ValueError(f"predicted has shape {model.shape} where probabilities have {chance.shape}")
        if not np.isfinite(model).all():
            raise ValueError("predicted holds NaN or infinity")
    scores = model.copy()
    rows = np.arange(n)
    own = model[rows, drawn]
    scores[rows, drawn] = own + (rewards - own) / chance[rows, drawn]
    scores[chance <= 0] = np.nan
    return scores


def score_mean(
    scores: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
    always_valid: bool = False,
    n_star: int | None = None,
) -> Estimate:
    """Return the mean of scores, or of differences of scores, over the decisions that have one.

    Args:
        scores: shape (n,); NaN where a decision has none.
        weight: h of each decision, shape (n,), chosen by what was known before it; ``None``: all alike.
        cluster: what names each decision's member.
        alpha: 1 − confidence level.
        always_valid: whether the interval holds at all looks together.
        n_star: decisions at which that one is narrowest.

    Source: Hadad et al. (2021), eq. 12: Σh·Γ / Σh with variance Σh²(Γ − Q̂)² / (Σh)².

    >>> import numpy as np
    >>> found = score_mean([1.0, 2.0, np.nan, 6.0])
    >>> found.value, found.rows
    (3.0, 3)
    """
    values = as_float(scores)
    keep = ~np.isnan(values)
    names = codes_of(cluster, values.size)
    codes = None if names is None else np.unique(names[keep], return_inverse=True)[1].reshape(-1).astype(np.int64)
    values = values[keep]
    rows = values.size
    if not rows:
        return missing(Why.NEVER_ELIGIBLE, 0, 0)
    if not np.isfinite(values).all():
        raise ValueError("a score is infinite")
    share = np.ones(rows) if weight is None else as_float(weight)[keep]
    total = float(share.sum())
    if not total > 0 or (share < 0).any():
        raise ValueError("weights must not be negative, and some must be above 0")
    value = float((share * values).sum()) / total
    influence = share * (values - value) * (rows / total)
    found = normal(value, influence, codes, alpha, size=float(np.abs(values).max()), student=True)
    if not always_valid or found.std_error is None:
        return found
    return widened(found, alpha, n_star)


def widened(estimate: Estimate, alpha: float = 0.05, n_star: int | None = None) -> Estimate:
    """Return an estimate with an interval that holds at all looks together, from its standard error.

    Args:
        estimate: with a standard error.
        alpha: of all looks together.
        n_star: decisions at which it is narrowest; fix it beforehand. Default: 10,000.

    Source: Waudby-Smith et al. (2024), theorem 2.5 by `stats.sequential.mixture`.

    >>> wide = widened(Estimate(0.12, 0.04, 0.0416, 0.1984, 10100, 10100), n_star=5000)
    >>> round(wide.ci_low, 5), round(wide.ci_high, 5)
    (-0.00249, 0.24249)
    """
    if estimate.std_error is None or estimate.value is None:
        return estimate
    band = mixture_band(
        estimate.value, estimate.std_error, alpha, n=estimate.rows, n_star=DEFAULT_STAR if n_star is None else n_star
    )
    return Estimate(
        estimate.value,
        estimate.std_error,
        float(band.ci_low),
        float(band.ci_high),
        estimate.rows,
        estimate.clusters,
    )


DEFAULT_STAR = 10_000
DEFAULT_BATCHES = 20


def past_means(
    variant: npt.ArrayLike,
    reward: npt.ArrayLike,
    variants: int,
    *,
    batch: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
) -> FloatArray:
    """Return each variant's mean reward in earlier batches, shape (n, K), drawn to the mean of all by one decision.

    The first batch has nothing before it: half of its members (every second decision where none are given) are
    predicted from the other half, which keeps the scores unbiased because its propensities do not depend on rewards.

    >>> past_means([0, 1, 0, 1], [1.0, 3.0, 2.0, 5.0], 2, batch=[1, 1, 2, 2])[2:]
    array([[1.5, 2.5],
           [1.5, 2.5]])
    """
    drawn = np.asarray(variant, dtype=np.int64)
    rewards = as_float(reward)
    n = rewards.size
    order = batches(batch, n)
    out = np.zeros((n, variants))
    if n == 0:
        return out
    size = int(order.max()) + 1
    cell = order * variants + drawn
    sums = np.bincount(cell, weights=rewards, minlength=size * variants).reshape(size, variants)
    counts = as_float(np.bincount(cell, minlength=size * variants)).reshape(size, variants)
    before = np.vstack([np.zeros((1, variants)), np.cumsum(sums, axis=0)[:-1]])
    seen = as_float(np.vstack([np.zeros((1, variants)), np.cumsum(counts, axis=0)[:-1]]))
    out[:] = _towards_all(before, seen)[order]
    first = np.flatnonzero(order == 0)
    codes = codes_of(cluster, n)
    half = (np.arange(first.size) if codes is None else codes[first]) % 2
    for side in (0, 1):
        other = first[half != side]
        total = np.bincount(drawn[other], weights=rewards[other], minlength=variants)
        count = np.bincount(drawn[other], minlength=variants)
        out[first[half == side]] = _towards_all(as_float(total)[None, :], as_float(count)[None, :])
    return out


def _towards_all(sums: FloatArray, counts: FloatArray) -> FloatArray:
    """Return means of variants with the mean of all added to each as one more decision, shape (rows, K)."""
    rows = counts.sum(axis=1, keepdims=True)
    middle = np.divide(sums.sum(axis=1, keepdims=True), rows, out=np.zeros_like(rows), where=rows > 0)
    return np.asarray((sums + middle) / (counts + 1))


def stabilising(chance: FloatArray, order: IntArray) -> FloatArray:
    """Return h of each decision: 1 / √(mean of 1/e over its batch), which makes the scores' variances alike.

    Args:
        chance: propensities of one variant, shape (n,); 0 where not eligible.
        order: batches as integers from 0, shape (n,).

    Source: Zhan et al. (2021), "StableVar": weights of a batch, so that the mix of contexts stays what it is; for equal
    propensities within batches √e, Hadad et al. (2021), eq. 15.

    >>> import numpy as np
    >>> stabilising(np.array([0.25, 0.25, 1.0, 0.0]), np.array([0, 0, 1, 1]))
    array([0.5, 0.5, 1. , 0. ])
    """
    keep = chance > 0
    size = int(order.max(initial=-1)) + 1
    inverse = np.bincount(order[keep], weights=1 / chance[keep], minlength=size)
    count = np.bincount(order[keep], minlength=size)
    weight = np.sqrt(np.divide(count, inverse, out=np.zeros(size), where=inverse > 0))
    return np.where(keep, weight[order], 0.0)


def batches(batch: npt.ArrayLike | None, n: int) -> IntArray:
    """Return batches as integers from 0 in order of time, shape (n,); where none are given, ``DEFAULT_BATCHES``.

    Raises:
        ValueError: there is not one for each decision.

    >>> batches([3, 3, 7], 3)
    array([0, 0, 1])
    """
    if batch is None:
        return np.asarray(np.arange(n, dtype=np.int64) * DEFAULT_BATCHES // max(n, 1))
    given = np.asarray(batch)
    if given.shape != (n,):
        raise ValueError(f"batch has shape {given.shape} where {n} decisions need ({n},)")
    return np.unique(given, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _decisions(
    variant: npt.ArrayLike, reward: npt.ArrayLike, probabilities: npt.ArrayLike
) -> tuple[IntArray, FloatArray, FloatArray]:
    drawn, rewards, chance = np.asarray(variant, dtype=np.int64), as_float(reward), as_float(probabilities)
    n = rewards.size
    if rewards.shape != (n,) or drawn.shape != (n,) or chance.ndim != 2 or chance.shape[0] != n:
        raise ValueError(
            f"variant {drawn.shape}, reward {rewards.shape} and probabilities {chance.shape} do not fit each other"
        )
    if n and (drawn.min() < 0 or drawn.max() >= chance.shape[1]):
        raise ValueError(f"variants must lie in 0 to {chance.shape[1] - 1}")
    if not np.isfinite(rewards).all():
        raise ValueError(f"the reward of decision {int(np.argmin(np.isfinite(rewards)))} is not finite")
    if not np.isfinite(chance).all() or (chance < 0).any() or (chance > 1 + 1e-9).any():
        raise ValueError("probabilities must lie between 0 and 1")
    never: BoolArray = chance[np.arange(n), drawn] <= 0
    if never.any():
        raise ValueError(f"decision {int(np.argmax(never))} drew a variant that had no probability")
    return drawn, rewards, chance
