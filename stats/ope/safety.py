"""Whether a new policy does harm: a test on paired rows against the live one, and how much harm it would notice.

Both policies are valued on the same decisions, so that what they have in common cancels: a decision that both would
have made alike adds nothing to the error. The question is of safety, not of proof: a version is held back when its
difference is below zero beyond chance, because demanding the opposite (a lower bound above zero) would hold back most
of those that really are a few per cent better.

References:
    Dudík, Erhan, Langford, Li (2014), Doubly robust policy evaluation and optimization, Statistical Science 29(4).
    Agarwal, Basu, Schnabel, Joachims (2017), Effective evaluation using logged bandit feedback from multiple loggers,
    KDD, eq. 6 (propensities of several loggers, mixed).
    Johnson (1978), Modified t tests and confidence intervals for asymmetrical populations, JASA 73(363), eq. 2.7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.arrays import FloatArray, as_float
from stats.distributions import normal_critical, normal_quantile
from stats.ope.intervals import checked, normal


@dataclass(frozen=True, slots=True)
class Safety:
    """What is known of a difference in value, new − live, in the reward's unit, a decision.

    Attributes:
        difference: the estimate; ``None`` without decisions.
        std_error: ``None`` where it cannot be told: below two members, or nothing differs.
        ci_low: one-sided lower bound at 1 − alpha.
        ci_high: one-sided upper bound at 1 − alpha.
        alpha: probability at most with which a version that is as good as the live one is called harmful.
        rows: decisions.
        clusters: members among them.
        same: whether the two are the same on every decision.
    """

    difference: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    alpha: float
    rows: int
    clusters: int
    same: bool

    @property
    def harmful(self) -> bool:
        """Whether the new one is worse, beyond chance."""
        return self.ci_high is not None and self.ci_high < 0

    @property
    def better(self) -> bool:
        """Whether the new one is better, beyond chance."""
        return self.ci_low is not None and self.ci_low > 0

    def noticed(self, loss: float) -> float | None:
        """Return the probability with which a new one that loses ``loss`` a decision is called harmful.

        >>> paired_test([-1.0, 1.0] * 200).noticed(0.2).__round__(3)
        0.991
        """
        if self.std_error is None:
            return None
        return float(special.ndtr(loss / self.std_error - float(normal_critical(self.alpha))))

    def noticeable(self, power: float = 0.8) -> float | None:
        """Return the loss a decision that is noticed with a probability.

        >>> paired_test([-1.0, 1.0] * 200).noticeable(0.8).__round__(3)
        0.124
        """
        if self.std_error is None:
            return None
        return self.std_error * float(normal_critical(self.alpha) + normal_quantile(power))


def mixed(p: npt.ArrayLike, even: npt.ArrayLike, share: float) -> FloatArray:
    """Return the probabilities of variants whoever drew: the policy, or the control group that is a share of members.

    Rows of both may then be weighed alike: more evenly than each by the probability that it was drawn with.

    Args:
        p: of the policy, shape (n, K).
        even: of the control group, shape (n, K).
        share: of the members who are in the control group, from 0 to 1.

    >>> mixed([[0.9, 0.1]], [[0.5, 0.5]], 0.5)
    array([[0.7, 0.3]])
    """
    drawn: FloatArray = share * as_float(even) + (1 - share) * as_float(p)
    return drawn


def paired_scores(
    reward: npt.ArrayLike,
    variant: npt.ArrayLike,
    propensity: npt.ArrayLike,
    new: npt.ArrayLike,
    live: npt.ArrayLike,
    predicted: npt.ArrayLike,
) -> FloatArray:
    """Return each decision's doubly robust difference: Σ_a Δ(a)·q̂(a) + Δ(A)/p·(r − q̂(A)), with Δ = new − live.

    Args:
        reward: of each decision, shape (n,).
        variant: index of the one that was drawn, shape (n,).
        propensity: probability with which it was drawn, shape (n,).
        new: probabilities under the new policy, shape (n, K).
        live: the same under the live one.
        predicted: q̂, the reward that a model which did not see the decision expects of each variant, shape (n, K);
            zeros are allowed, at the price of width.

    Raises:
        ValueError: a shape does not fit, a number is not finite, or a propensity is not above 0.

    >>> paired_scores([1.0, 0.0], [0, 1], [0.5, 0.5], [[0.8, 0.2]] * 2, [[0.5, 0.5]] * 2, [[0.0, 0.0]] * 2)
    array([0.6, 0. ])
    """
    rewards, drawn, logged = as_float(reward), np.asarray(variant, dtype=np.intp), as_float(propensity)
    delta = as_float(new) - as_float(live)
    expected = as_float(predicted)
    n = rewards.size
    if (
        drawn.shape != (n,)
        or logged.shape != (n,)
        or delta.ndim != 2
        or len(delta) != n
        or expected.shape != delta.shape
    ):
        raise ValueError(
            f"rewards {rewards.shape}, variants {drawn.shape}, propensities {logged.shape}, policies {delta.shape} and "
            f"predictions {expected.shape} do not fit together"
        )
    for name, values in (("reward", rewards), ("policy", delta), ("prediction", expected)):
        if not np.isfinite(values).all():
            raise ValueError(f"a {name} is not finite")
    if not (logged > 0).all() or not (logged <= 1 + 1e-9).all():
        raise ValueError("every propensity must be above 0 and at most 1")
    at = np.arange(n)
    correction: FloatArray = delta[at, drawn] / logged * (rewards - expected[at, drawn])
    model: FloatArray = (delta * expected).sum(axis=1)
    return np.add(correction, model)


def paired_test(
    scores: npt.ArrayLike,
    cluster: npt.ArrayLike | None = None,
    alpha: float = 0.05,
    *,
    weight: npt.ArrayLike | None = None,
) -> Safety:
    """Test whether the mean of paired scores is below zero.

    Rare rewards on rare variants make scores skewed, whose mean is more often too low than too high: the bound on that
    side is moved out by Johnson's correction, which keeps harmless versions from being held back for it. No bound is
    moved in, because the skewness is itself estimated, and a single score can make it.

    Args:
        scores: of `paired_scores`, shape (n,).
        cluster: what names each decision's member, shape (n,); ``None``: every decision is independent.
        alpha: of each one-sided bound.
        weight: what each decision counts, shape (n,), such as less for old ones; ``None``: all alike.

    Raises:
        ValueError: a shape does not fit, a score is not finite, alpha is not between 0 and 1, or weights are negative.

    >>> found = paired_test([-1.0, -2.0, -1.5, -2.5])
    >>> found.difference, found.harmful, round(found.ci_high, 3)
    (-1.75, True, -1.219)
    >>> paired_test([0.0, 0.0]).same
    True
    """
    values, codes = checked(scores, cluster, alpha)
    rows = values.size
    if not rows:
        return Safety(None, None, None, None, alpha, 0, 0, same=False)
    counted = np.ones(rows) if weight is None else as_float(weight)
    if counted.shape != (rows,) or not (counted >= 0).all() or not counted.sum() > 0:
        raise ValueError(f"weights must be {rows}, at least 0, and some above 0")
    counted = counted * (rows / counted.sum())
    mean = float((counted * values).mean())
    influence = counted * (values - mean)
    found = normal(mean, influence, codes, 2 * alpha if alpha < 0.5 else alpha, size=float(np.abs(values).max()))
    if found.std_error is None:
        return Safety(mean, None, None, None, alpha, rows, found.clusters, same=bool((values == 0).all()))
    z = float(normal_critical(alpha))
    sums = influence if codes is None else np.bincount(codes, weights=influence)
    # On the scale of the mean: Σ(sum/rows)³ is the third central moment of the estimate.
    third = float(np.sum((sums / rows) ** 3))
    shift = third / (6 * found.std_error**2) * (1 + 2 * z**2)
    reach = z * found.std_error
    return Safety(
        mean,
        found.std_error,
        mean + min(shift, 0.0) - reach,
        mean + max(shift, 0.0) + reach,
        alpha,
        rows,
        found.clusters,
        same=False,
    )


def difference_of_groups(
    reward: npt.ArrayLike, treated: npt.ArrayLike, cluster: npt.ArrayLike | None = None, alpha: float = 0.05
) -> Safety:
    """Compare the rewards of two groups that the hash divided, such as the policy's members and the control group's.

    Args:
        reward: of each decision, shape (n,).
        treated: whether it is of the first group, shape (n,).
        cluster: what names each decision's member, shape (n,); members are in one group only.
        alpha: of each one-sided bound.

    Returns:
        first − second; without numbers where one of them is empty.

    >>> found = difference_of_groups([3.0, 5.0, 1.0, 1.5], [True, True, False, False])
    >>> found.difference, found.better
    (2.75, True)
    """
    values, codes = checked(reward, cluster, alpha)
    first = np.asarray(treated, dtype=bool)
    if first.shape != values.shape:
        raise ValueError(f"groups have shape {first.shape} where {values.size} decisions need ({values.size},)")
    n = values.size
    counts = int(first.sum()), int(n - first.sum())
    if min(counts) == 0:
        return Safety(None, None, None, None, alpha, n, 0, same=False)
    means = float(values[first].mean()), float(values[~first].mean())
    sign = np.where(first, n / counts[0], -n / counts[1])
    influence = sign * (values - np.where(first, means[0], means[1]))
    difference = means[0] - means[1]
    found = normal(difference, influence, codes, 2 * alpha, size=float(np.abs(values).max()))
    if found.std_error is None:
        return Safety(difference, None, None, None, alpha, n, found.clusters, same=False)
    reach = float(normal_critical(alpha)) * found.std_error
    return Safety(
        difference, found.std_error, difference - reach, difference + reach, alpha, n, found.clusters, same=False
    )
