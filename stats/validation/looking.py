"""Looking early at simulated experiments: peeked without correction, group sequential, always-valid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray
from stats.effects.means import difference_of_means
from stats.moments import Moments
from stats.samples import means, ratios
from stats.sequential import bounds, mixture_band
from stats.validation.methods import Method
from stats.validation.tally import Counts
from stats.validation.units import Kind, Trial

LOOKING: tuple[Method, ...] = (
    Method("peeked", ("mean", "proportion", "ratio"), "none", needs="no clusters", looks=True),
    Method("group_sequential", ("mean", "proportion", "ratio"), "level", needs="no clusters", looks=True),
    Method("always_valid", ("mean", "proportion", "ratio"), "at_most", needs="no clusters", looks=True),
)


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Estimates at every look, shape (variants without control, simulations, looks); NaN where there are none."""

    estimate: FloatArray
    std_error: FloatArray
    p_value: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    units: FloatArray


def look(moments: Moments, kind: Kind, alpha: float) -> Looks:
    """Return Welch's comparison (of ratios: by the delta method) at every look."""
    sample = ratios(moments, "y", "d") if kind == "ratio" else means(moments, "y")
    effect = difference_of_means(sample[0], sample[1:], alpha)
    known = effect.why == 0
    return Looks(
        estimate=np.where(known, effect.estimate, np.nan),
        std_error=np.where(known, effect.std_error, np.nan),
        p_value=effect.p_value,
        ci_low=effect.ci_low,
        ci_high=effect.ci_high,
        units=sample.n[0] + sample.n[1:],
    )


def judge(method: str, looks: Looks, information: FloatArray, alpha: float) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Return where a look calls a difference, and the interval of each look.

    Args:
        method: ``peeked``, ``group_sequential`` or ``always_valid``.
        looks: the estimates.
        information: share of all units at each look, shape (looks,), the last 1.
        alpha: of the whole experiment.
    """
    if method == "peeked":
        return looks.p_value <= alpha, looks.ci_low, looks.ci_high
    if method == "group_sequential":
        bound = bounds(information, alpha)
        half = bound * looks.std_error
        called = np.abs(looks.estimate) >= half
        return called & (looks.std_error > 0), looks.estimate - half, looks.estimate + half
    band = mixture_band(looks.estimate, looks.std_error, alpha, n=looks.units, n_star=looks.units[..., -1:])
    return band.p_value <= alpha, band.ci_low, band.ci_high


def count_looks(
    method: str, plain: Looks, treated: Looks | None, information: FloatArray, trial: Trial, truth: FloatArray
) -> Counts:
    """Count calls at any look, and intervals that hold the truth at every look.

    Args:
        method: see ``judge``.
        plain: without effect.
        treated: with it.
        information: share of all units at each look.
        trial: for its alpha.
        truth: the true effect on the units so far, shape (looks,).
    """
    called, low, high = judge(method, plain, information, trial.alpha)
    known = np.isfinite(plain.std_error) & (plain.std_error > 0)
    out = Counts(
        tried=called[..., 0].size,
        computed=_sum(known.any(axis=-1)),
        alarms=_sum(called.any(axis=-1)),
        covered=_sum(known.any(axis=-1) & (((low <= 0) & (high >= 0)) | ~known).all(axis=-1)),
    )
    if treated is None:
        return out
    called, low, high = judge(method, treated, information, trial.alpha)
    known = np.isfinite(treated.std_error) & (treated.std_error > 0)
    ever, some = called.any(axis=-1), known.any(axis=-1)
    first = np.where(ever, called.argmax(axis=-1), called.shape[-1] - 1)
    at_call = np.take_along_axis(treated.estimate, first[..., None], axis=-1)[..., 0]
    right = np.sign(at_call) == np.sign(truth[-1])
    return out + Counts(
        effect_computed=_sum(some),
        detected=_sum(ever & right),
        wrong_sign=_sum(ever & ~right),
        effect_covered=_sum(some & (((low <= truth) & (high >= truth)) | ~known).all(axis=-1)),
        looks_used=int((first + 1)[some].sum()),
    )


def _sum(where: npt.ArrayLike) -> int:
    return int(np.count_nonzero(where))
