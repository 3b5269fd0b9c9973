"""Factorial designs: several two-level factors in one test, their main effects and interactions, from cells' moments.

Every variant is a combination of levels. Each factor's effect is judged on all units, and what factors do together
beyond the sum of each is seen at all. With fewer variants than combinations some terms cannot be told from others
(aliases): they are listed, never left unsaid.

Least squares of the units' outcomes on the levels needs only each variant's n, mean and variance, and so do its HC
errors: all units of a variant have one fitted value and one leverage.

References:
    Box, Hunter, Hunter (2005), Statistics for Experimenters, 2nd ed., chapters 5 and 6 (aliases).
    MacKinnon, White (1985), Some heteroskedasticity-consistent covariance matrix estimators, J. Econometrics 29
    (HC2, HC3).
    Dasgupta, Pillai, Rubin (2015), Causal inference from 2^K factorial designs, JRSS B 77(4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, IntArray, as_float, divide, root
from stats.distributions import t_critical, t_upper
from stats.effects.result import Effect, first_reason, hide
from stats.samples import Sample
from stats.why import Why

Term = tuple[str, ...]
"""Names of factors: one for a main effect, several for an interaction."""
MOST_FACTORS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Which level each variant has of each factor.

    Attributes:
        factors: names.
        levels: 0 (low) or 1 (high), shape (variants, factors).
    """

    factors: tuple[str, ...]
    levels: IntArray

    @classmethod
    def of(cls, levels: Mapping[str, Sequence[int]]) -> Design:
        """Build from each factor's level in every variant.

        Raises:
            ValueError: a level is not 0 or 1, factors have different numbers of variants, or there are none.

        >>> Design.of({"banner": [0, 1, 0, 1], "coupon": [0, 0, 1, 1]}).levels.shape
        (4, 2)
        """
        if not levels or len(levels) > MOST_FACTORS:
            raise ValueError(f"a factorial design has 1 to {MOST_FACTORS} factors, not {len(levels)}")
        if len({len(row) for row in levels.values()}) != 1:
            raise ValueError("every factor needs one level for each variant")
        table = np.array(list(levels.values()), dtype=np.int64).T
        if not np.isin(table, (0, 1)).all():
            raise ValueError("levels are 0 (low) or 1 (high)")
        return cls(tuple(levels), table)

    def column(self, term: Term) -> FloatArray:
        """Return the term's contrast, −1 or 1 for each variant; all 1 for the mean, which is the empty term."""
        signs = 2.0 * self.levels - 1.0
        places = [self.factors.index(factor) for factor in term]
        return np.asarray(signs[:, places].prod(axis=1))

    def terms(self, order: int | None = None) -> tuple[Term, ...]:
        """Return the mean, all main effects and interactions up to an order, simplest first."""
        most = len(self.factors) if order is None else order
        return tuple(term for size in range(most + 1) for term in combinations(self.factors, size))


@dataclass(frozen=True, slots=True)
class Alias:
    """A term that the design cannot tell from another.

    Attributes:
        term: the other one.
        share: what is estimated contains so much of the effect that is not; negative where it is turned round.
    """

    term: Term
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class FactorialEffects:
    """Effects of a factorial design.

    Attributes:
        terms: main effects in the factors' order, then interactions.
        effect: shape (terms, …): of a main effect, mean at the high level − mean at the low one, averaged over the
            other factors; of an interaction, how much more a factor does where the other is high (and so on).
        aliases: of each term; without any the term stands alone.
    """

    terms: tuple[Term, ...]
    effect: Effect
    aliases: tuple[tuple[Alias, ...], ...]


def effects(
    sample: Sample,
    design: Design,
    alpha: npt.ArrayLike = 0.05,
    *,
    order: int | None = None,
    errors: Literal["HC2", "HC3"] = "HC2",
) -> FactorialEffects:
    """Return main effects and interactions of every variants' estimates.

    Args:
        sample: the variants on the first axis; adjusted means serve as well.
        design: levels of the variants, in the same order.
        alpha: 1 − confidence level.
        order: terms of more factors than this are taken to be absent, which makes errors smaller if they are and
            effects wrong if they are not; by default all terms that the variants allow are estimated.
        errors: HC2, unbiased where variances within variants are equal, or the larger HC3.

    Returns:
        A main effect that cannot be told from the mean or from earlier terms has no numbers (``not_separable``); an
        interaction of that kind is an alias only.

    Raises:
        ValueError: the sample has another number of variants than the design.

    >>> design = Design.of({"banner": [0, 1, 0, 1], "coupon": [0, 0, 1, 1]})
    >>> found = effects(Sample.of([50, 50, 50, 50], [10.0, 11.0, 12.0, 15.0], 4.0), design)
    >>> found.terms
    (('banner',), ('coupon',), ('banner', 'coupon'))
    >>> found.effect.estimate.round(6).tolist(), found.effect.std_error.round(4).tolist()
    ([2.0, 3.0, 2.0], [0.2828, 0.2828, 0.5657])
    """
    variants = len(design.levels)
    if not sample.shape or sample.shape[0] != variants:
        raise ValueError(f"the design has {variants} variants, the sample's first axis {sample.shape[:1]}")
    included, aliases = _separate(design, order)
    x = np.stack([design.column(term) for term in included], axis=-1)
    bad = first_reason(*sample.why)
    n, mean, variance = (
        np.moveaxis(np.where(bad == 0, part, filler), 0, -1)
        for part, filler in ((sample.n, 2.0), (sample.mean, 0.0), (sample.variance, 0.0))
    )
    bread = np.linalg.inv(np.einsum("vp,...v,vq->...pq", x, n, x))
    pull = np.einsum("...pq,vq->...pv", bread, x)  # of one unit of a variant on each coefficient
    fit = np.einsum("...pv,...v,...v->...p", pull, n, mean)
    leverage = np.einsum("vp,...pv->...v", x, pull)
    free = np.maximum(1 - leverage, np.finfo(np.float64).tiny) ** (1 if errors == "HC2" else 2)
    lack = mean - np.einsum("vp,...p->...v", x, fit)
    lack = np.where(np.abs(lack) <= 1e-12 * np.abs(mean).max(axis=-1, keepdims=True), 0.0, lack)
    residual = (n - 1) * variance + n * np.square(lack)
    scale = np.array([2.0 ** len(term) for term in included])
    parts = np.square(pull * scale[:, None]) * (residual / free)[..., None, :]
    squared = parts.sum(axis=-1)
    df = divide(np.square(squared), divide(np.square(parts), (n - 1)[..., None, :]).sum(axis=-1))
    estimate, squared, df = (np.moveaxis(part, -1, 0) for part in (fit * scale, squared, df))
    names, places = _asked(design, included)
    return FactorialEffects(
        names,
        _effect(estimate, squared, df, places, bad, as_float(alpha)),
        tuple(aliases.get(term, ()) for term in names),
    )


def _separate(design: Design, order: int | None) -> tuple[list[Term], dict[Term, tuple[Alias, ...]]]:
    """Return the terms that are estimated, simplest first, and for each term what it cannot be told from."""
    included: list[Term] = []
    columns = np.zeros((len(design.levels), 0))
    for term in design.terms(order):
        wider = np.column_stack([columns, design.column(term)])
        if np.linalg.matrix_rank(wider) > columns.shape[1]:
            included.append(term)
            columns = wider
    aliases: dict[Term, list[Alias]] = {}
    for term in design.terms():
        if term in included:
            continue
        shares = np.linalg.lstsq(columns, design.column(term), rcond=None)[0]
        for other, share in zip(included, shares, strict=True):
            if abs(share) > 1e-9:
                bent = float(share) * 2.0 ** (len(other) - len(term))
                aliases.setdefault(other, []).append(Alias(term, round(bent, 12)))
                aliases.setdefault(term, []).append(Alias(other, round(bent, 12)))
    return included, {term: tuple(found) for term, found in aliases.items()}


def _asked(design: Design, included: Sequence[Term]) -> tuple[tuple[Term, ...], list[int]]:
    """Return the terms to tell of and their places among those estimated, −1 for a main effect that is not."""
    asked = [(factor,) for factor in design.factors] + [term for term in included if len(term) > 1]
    return tuple(asked), [included.index(term) if term in included else -1 for term in asked]


def _effect(
    estimate: FloatArray, squared: FloatArray, df: FloatArray, places: list[int], bad: IntArray, alpha: FloatArray
) -> Effect:
    estimated = np.array([place >= 0 for place in places]).reshape(-1, *(1,) * (estimate.ndim - 1))
    estimate, squared, df = (part[places] for part in (estimate, squared, df))
    why = first_reason(
        np.broadcast_to(bad, estimate.shape),
        np.broadcast_to(np.where(estimated, 0, int(Why.NOT_SEPARABLE)), estimate.shape),
        np.where(squared == 0, int(Why.ZERO_VARIANCE), 0),
    )
    error = root(squared)
    half = t_critical(df, alpha / 2) * error
    return Effect(
        estimate=np.where((why == 0) | (why == int(Why.ZERO_VARIANCE)), estimate, np.nan),
        std_error=np.where((why == 0) | (why == int(Why.ZERO_VARIANCE)), error, np.nan),
        df=hide(df, why),
        ci_low=hide(estimate - half, why),
        ci_high=hide(estimate + half, why),
        p_value=hide(2 * t_upper(df, np.abs(divide(estimate, error))), why),
        why=why,
    )
