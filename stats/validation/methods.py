"""The methods that are tried out at the end of a simulated experiment, each by the very function that reports use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.adjustment import cuped_means, cuped_ratios
from stats.arrays import BoolArray, FloatArray
from stats.effects.means import difference_of_means
from stats.effects.proportions import difference_of_proportions, ratio_of_proportions
from stats.effects.relative import relative
from stats.effects.result import Effect
from stats.moments import Moments
from stats.multiplicity import holm
from stats.regression import interacted_means, interacted_ratios
from stats.samples import Sample, means, ratios
from stats.srm import srm
from stats.strata import post_stratified
from stats.validation.sums import Batch
from stats.validation.tally import Counts, Promise
from stats.validation.units import Kind, Trial, Units

BOOTSTRAP_UNITS = 5000
"""With more a bootstrap in every simulation takes too long."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method by its name.

    Attributes:
        name: stable, used in results and options.
        kinds: metrics that it is for.
        promise: about its false alarms.
        needs: what else it needs of the units.
        looks: whether it looks before the end.
        has_interval: whether it gives an interval, not only p.
    """

    name: str
    kinds: tuple[Kind, ...]
    promise: Promise
    needs: str = ""
    looks: bool = False
    has_interval: bool = True

    def applies(self, kind: Kind, units: Units) -> bool:
        """Return whether it can be tried on a metric of these units."""
        there = {
            "": True,
            "covariates": units.covariates.shape[1] > 0,
            "strata": units.stratum is not None and units.cluster is None,
            "clusters": units.cluster is not None,
            "no clusters": units.cluster is None,
            "few units": units.cluster is None and units.size <= BOOTSTRAP_UNITS,
        }
        return kind in self.kinds and there[self.needs]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A method's answers; arrays of variants without control × simulations."""

    effect: Effect
    relative: Effect | None = None


def _pair(sample: Sample, alpha: float) -> Answer:
    last = sample[..., -1]
    return Answer(difference_of_means(last[0], last[1:], alpha), relative(last[0], last[1:], alpha))


def _raw(moments: Moments, kind: Kind) -> Sample:
    return ratios(moments, "y", "d") if kind == "ratio" else means(moments, "y")


def _covariates(moments: Moments) -> list[str]:
    return [name for name in moments.columns if name.startswith("x")]


def welch(moments: Moments, kind: Kind, alpha: float) -> Answer:
    """Welch's comparison of means, or of ratios by the delta method."""
    return _pair(_raw(moments, kind), alpha)


def score(moments: Moments, kind: Kind, alpha: float) -> Answer:  # noqa: ARG001 - one form for all
    """Score test of proportions."""
    sample = means(moments, "y")[..., -1]
    control, others = sample[0], sample[1:]
    return Answer(difference_of_proportions(control, others, alpha), ratio_of_proportions(control, others, alpha))


def cuped(moments: Moments, kind: Kind, alpha: float) -> Answer:
    """Covariate adjustment with θ within variants."""
    at_end = moments[:, :, -1:]
    adjust = cuped_ratios(at_end, "y", "d", _covariates(moments)) if kind == "ratio" else None
    return _pair((adjust or cuped_means(at_end, "y", _covariates(moments))).sample, alpha)


def lin(moments: Moments, kind: Kind, alpha: float) -> Answer:
    """Regression with slopes of each variant's own."""
    at_end = moments[:, :, -1:]
    adjust = interacted_ratios(at_end, "y", "d", _covariates(moments)) if kind == "ratio" else None
    return _pair((adjust or interacted_means(at_end, "y", _covariates(moments))).sample, alpha)


def post_stratify(moments: Moments, kind: Kind, alpha: float) -> Answer:
    """Strata weighted alike in every variant; the moments' last axis is the strata's."""
    target = ("y", "d") if kind == "ratio" else "y"
    sample = post_stratified(moments, target, strata_axis=2, variants_axis=0)
    return _pair(sample[..., None], alpha)


BY_MOMENTS: dict[str, Callable[[Moments, Kind, float], Answer]] = {
    "welch": welch,
    "score": score,
    "ratio_delta": welch,
    "cuped": cuped,
    "lin": lin,
    "cluster_delta": welch,
    "post_stratified": post_stratify,
}
"""Name → from moments by variant, simulation and segment; ``cluster_delta`` gets those of clusters as ratios."""
METHODS: tuple[Method, ...] = (
    Method("welch", ("mean",), "level"),
    Method("score", ("proportion",), "level"),
    Method("ratio_delta", ("ratio",), "level"),
    Method("cuped", ("mean", "proportion", "ratio"), "level", needs="covariates"),
    Method("lin", ("mean", "proportion", "ratio"), "level", needs="covariates"),
    Method("post_stratified", ("mean", "proportion", "ratio"), "level", needs="strata"),
    Method("cluster_delta", ("mean", "proportion", "ratio"), "level", needs="clusters"),
)


def count(answer: Answer, nothing: Answer | None, trial: Trial, truth: float, relative_effect: float) -> Counts:
    """Count what a method said of simulations without (``answer``) and with the effect."""
    plain = answer.effect
    computed: BoolArray = np.isfinite(plain.p_value)
    out = Counts(
        tried=plain.p_value.size,
        computed=_sum(computed),
        alarms=_sum(computed & (plain.p_value <= trial.alpha)),
        covered=_sum(computed & holds(plain, 0.0)),
    )
    if nothing is None:
        return out
    effect, share = nothing.effect, nothing.relative
    there: BoolArray = np.isfinite(effect.p_value)
    called = there & (effect.p_value <= trial.alpha)
    right = np.sign(effect.estimate) == np.sign(truth)
    relatives = np.zeros(0, dtype=bool) if share is None else np.isfinite(share.ci_low) & np.isfinite(share.ci_high)
    return out + Counts(
        effect_computed=_sum(there),
        detected=_sum(called & right),
        wrong_sign=_sum(called & ~right),
        effect_covered=_sum(there & holds(effect, truth)),
        relative_computed=_sum(relatives),
        relative_covered=0 if share is None else _sum(relatives & holds(share, relative_effect)),
    )


def holds(effect: Effect, value: float | FloatArray) -> BoolArray:
    """Return where the interval holds a value."""
    return np.asarray((effect.ci_low <= value) & (value <= effect.ci_high))


def family(p_values: list[FloatArray], trial: Trial) -> Counts:
    """Count simulations in which Holm over all metrics and variants calls anything at all.

    Args:
        p_values: of each metric without effect, shape (variants without control, simulations).
        trial: for its alpha.
    """
    together = np.concatenate(p_values)
    called = [bool((holm(column) <= trial.alpha).any()) for column in together.T]
    return Counts(tried=len(called), computed=_sum(np.isfinite(together).any(axis=0)), alarms=sum(called))


def sample_ratio(batch: Batch) -> Counts:
    """Count simulations whose split the sample ratio check calls off at the trial's alpha."""
    found = srm(np.moveaxis(batch.units.sum(axis=-1), 0, -1), batch.prepared.trial.shares)
    computed = np.isfinite(found.p_value)
    alarms = computed & (found.p_value <= batch.prepared.trial.alpha)
    return Counts(tried=found.p_value.size, computed=_sum(computed), alarms=_sum(alarms))


def _sum(where: npt.ArrayLike) -> int:
    return int(np.count_nonzero(where))
