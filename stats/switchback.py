"""Switchback designs: places that are given one variant in one period and another in the next.

Periods of one place resemble each other and their neighbours in time, so that errors from formulas for independent
units are wrong. Randomisation inference needs no such formula: the variants are assigned again as chance could have
assigned them, and the effect is compared with what those assignments would have shown. It is exact for the hypothesis
that the variant does nothing at all, whatever the outcomes' distribution and dependence.

References:
    Fisher (1935), The Design of Experiments, sections 19–21.
    Rosenbaum (2002), Observational Studies, 2nd ed., sections 2.4 and 2.7 (intervals by inverting the test).
    Phipson, Smyth (2010), Permutation p-values should never be zero, Stat. Appl. Genet. Mol. Biol. 9(1) (the + 1).
    Bojinov, Simchi-Levi, Zhao (2023), Design and analysis of switchback experiments, Management Science 69(7).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import numpy as np
import numpy.typing as npt

from stats.arrays import EPSILON, FloatArray, IntArray, as_float, divide, number
from stats.effects.result import EffectValue
from stats.why import Why

ALL_BELOW = 20_000
"""Up to so many assignments every one of them is looked at, and nothing is drawn."""
CHUNK = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class RandomisationTest:
    """An effect judged by what chance could have assigned.

    Attributes:
        estimate: difference of means, or with blocks its mean over blocks by precision; NaN where there is none.
        std_error: standard deviation of the estimate over assignments, if the effect is what was estimated.
        ci_low: lower end of the constant effects that the test does not reject.
        ci_high: upper end.
        p_value: two-sided, of no effect on any unit.
        assignments: how many were looked at, the real one among them.
        exact: whether these were all there are.
        why: a ``Why`` code.
    """

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float
    p_value: float
    assignments: int
    exact: bool
    why: Why

    def value(self) -> EffectValue:
        """Return plain numbers, ``None`` and a reason where there is none."""
        return EffectValue(
            number(self.estimate),
            number(self.std_error),
            None,
            number(self.ci_low),
            number(self.ci_high),
            number(self.p_value),
            self.why.text,
            self.why.code if self.why else None,
        )


def randomisation_test(
    values: npt.ArrayLike,
    treated: npt.ArrayLike,
    blocks: npt.ArrayLike | None = None,
    *,
    alpha: float = 0.05,
    draws: int = 9_999,
    seed: int = 0,
) -> RandomisationTest:
    """Test and estimate the effect of a variant on units that are places × periods.

    Args:
        values: outcome of each unit, e.g. orders of a store on a day, shape (units,); NaN leaves the unit out.
        treated: whether the unit was given the variant, shape (units,).
        blocks: what units are compared within (a place, a weekday …), shape (units,); chosen before the test. Variants
            are assigned again within blocks, as often as they were, which is right for units assigned one by one as
            well as for a fixed number in each block.
        alpha: 1 − confidence level.
        draws: assignments to draw where there are too many to look at all.
        seed: of the draws.

    Returns:
        Nothing but a reason where only one assignment was possible or nothing varies. With few assignments the
        interval can be without end (infinite; ``None`` in ``value()``): 1/assignments is the smallest p there is.

    >>> values = [10.0, 14.0, 11.0, 15.0, 9.0, 13.0, 20.0, 25.0, 21.0, 24.0, 19.0, 26.0]
    >>> test = randomisation_test(values, [0, 1] * 6, blocks=["north"] * 6 + ["south"] * 6)
    >>> test.estimate, test.assignments, test.exact, test.p_value
    (4.5, 400, True, 0.005)
    """
    y, z, codes = _clean(values, treated, blocks)
    sizes = np.bincount(codes)
    taken = np.bincount(codes, weights=z, minlength=len(sizes)).astype(np.int64)
    useful = (taken > 0) & (taken < sizes)
    if not useful.any():
        return _nothing(Why.NO_UNITS if not 0 < z.sum() < len(z) else Why.TOO_FEW_ASSIGNMENTS)
    keep = useful[codes]
    y, z, codes = y[keep], z[keep], np.unique(codes[keep], return_inverse=True)[1].reshape(-1)
    sizes, taken = sizes[useful], taken[useful]
    # Weighting blocks by n₁n₀/n is least squares with an effect of each block; so the statistic is Σ (z − z̄)·y / Σ w.
    total = float((taken * (sizes - taken) / sizes).sum())
    centred = y - (np.bincount(codes, weights=y) / sizes)[codes]
    if np.abs(centred).max() <= 16 * EPSILON * np.abs(y).max():
        return _nothing(Why.ZERO_VARIANCE, 0.0)
    share = (taken / sizes)[codes]
    estimate = float(z @ centred / total)
    possible = prod(comb(int(n), int(k)) for n, k in zip(sizes, taken, strict=True))
    exact = possible <= ALL_BELOW
    shown, overlap = [], []
    for drawn in _all(codes, sizes, taken) if exact else _some(codes, z, draws, seed):
        shown.append(drawn @ centred / total)
        overlap.append(drawn @ (z - share) / total)
    rounding = 64 * EPSILON * float(np.abs(y).max())
    return _judge(estimate, np.concatenate(shown), np.concatenate(overlap), alpha, exact, rounding)


def _judge(
    estimate: float, shown: FloatArray, overlap: FloatArray, alpha: float, exact: bool, slack: float
) -> RandomisationTest:
    """Return the test from each assignment's difference of outcomes and of the real assignment.

    If the effect is δ for all, an assignment would have shown ``shown`` − δ·``overlap`` beside δ; the real one
    estimate − δ. The δ at which an assignment is at least as extreme are an interval about the estimate with ends in
    closed form, so the whole test is inverted by sorting ends. Differences below ``slack`` are rounding.
    """
    if not exact:  # the real assignment counts as one of them
        shown, overlap = np.append(shown, estimate), np.append(overlap, 1.0)
    count = len(shown)
    p_value = float((np.abs(shown) >= abs(estimate) - slack).mean())
    away = np.stack([estimate - shown, estimate + shown])
    away = np.where(np.abs(away) <= slack, 0.0, away)  # so that p and the interval agree about zero
    ends = divide(away, np.stack([1 - overlap, 1 + overlap]))
    same = np.abs(overlap) >= 1 - 1e-12  # the real assignment, and its mirror: as extreme whatever the effect
    low = np.where(same, -np.inf, ends.min(axis=0))
    high = np.where(same, np.inf, ends.max(axis=0))
    # δ is rejected where at most alpha of the assignments are as extreme: beyond the ends of the rest.
    most = int(np.floor(alpha * count + 1e-9))
    return RandomisationTest(
        estimate=estimate,
        std_error=float((shown - estimate * overlap).std()),
        ci_low=float(np.sort(low)[most]),
        ci_high=float(np.sort(high)[count - 1 - most]),
        p_value=p_value,
        assignments=count,
        exact=exact,
        why=Why.DEFINED,
    )


def _clean(
    values: npt.ArrayLike, treated: npt.ArrayLike, blocks: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, IntArray]:
    y, z = as_float(values).reshape(-1), as_float(treated).reshape(-1)
    names = np.zeros(len(y), dtype=np.int64) if blocks is None else np.asarray(blocks).reshape(-1)
    if len(z) != len(y) or len(names) != len(y):
        raise ValueError(f"{len(y)} values, {len(z)} treated and {len(names)} blocks do not fit")
    if not np.isin(z, (0.0, 1.0)).all() or np.isinf(y).any():
        raise ValueError("treated must be 0 or 1, and values finite")
    known = ~np.isnan(y)
    codes = np.unique(names[known], return_inverse=True)[1].reshape(-1).astype(np.int64)
    return y[known], z[known], codes


def _all(codes: IntArray, sizes: IntArray, taken: IntArray) -> Iterator[FloatArray]:
    """Yield every assignment with the blocks' numbers, as rows."""
    rows = np.zeros((1, len(codes)))
    for block, (size, k) in enumerate(zip(sizes, taken, strict=True)):
        places = np.flatnonzero(codes == block)
        chosen = np.array(list(combinations(range(int(size)), int(k))), dtype=np.int64)
        part = np.zeros((len(chosen), len(codes)))
        part[np.arange(len(chosen))[:, None], places[chosen]] = 1.0
        rows = (rows[:, None, :] + part[None, :, :]).reshape(-1, len(codes))
    yield rows


def _some(codes: IntArray, z: FloatArray, draws: int, seed: int) -> Iterator[FloatArray]:
    """Yield random assignments with the blocks' numbers, in chunks that fit in memory."""
    rng = np.random.default_rng(seed)
    order = np.argsort(codes, kind="stable")
    sorted_z, step = z[order], max(1, CHUNK // len(z))
    for begin in range(0, draws, step):
        rows = min(step, draws - begin)
        shuffled = np.argsort(codes[order] + rng.random((rows, len(z))), axis=1)
        drawn = np.empty((rows, len(z)))
        drawn[:, order] = sorted_z[shuffled]
        yield drawn


def _nothing(why: Why, estimate: float = float("nan")) -> RandomisationTest:
    nan = float("nan")
    return RandomisationTest(estimate, nan, nan, nan, nan, 0, False, why)
