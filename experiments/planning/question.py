"""What is asked when a test is planned, and the planned comparison that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.errors import InputError
from experiments.planning.document import Baseline
from stats.power import (
    Clustered,
    Crossing,
    Looks,
    Means,
    NonInferiority,
    NonInferiorityOfProportions,
    Planned,
    Proportions,
    Waves,
    always_valid_bounds,
    level,
    power_each,
)
from stats.power.families import Method
from stats.sequential import Spending, bounds

DEFAULT_LOOKS = 28
MOST_LOOKS = 400


@dataclass(frozen=True)
class Amount:
    """An effect or a margin as people say it: a share of the baseline, or in the metric's own unit."""

    value: float
    is_relative: bool

    @classmethod
    def parse(cls, text: str, option: str) -> Amount:
        """Read ``10%`` (of the baseline), ``0.5pp`` (percentage points) or ``2.5`` (in the metric's unit).

        Raises:
            InputError: it is none of these.

        >>> Amount.parse("10%", "--effect"), Amount.parse("0.5pp", "--effect")
        (Amount(value=0.1, is_relative=True), Amount(value=0.005, is_relative=False))
        """
        cleaned = text.strip().replace("−", "-").removeprefix("±").replace("％", "%")
        for ending, divisor, is_relative in (("%", 100.0, True), ("pp", 100.0, False), ("个百分点", 100.0, False)):
            if cleaned.endswith(ending):
                return cls(_number(cleaned[: -len(ending)], text, option) / divisor, is_relative)
        return cls(_number(cleaned, text, option), is_relative=False)

    def of(self, baseline: float) -> float:
        """Return it in the metric's unit."""
        return self.value * abs(baseline) if self.is_relative else self.value


def _number(cleaned: str, text: str, option: str) -> float:
    try:
        value = float(cleaned)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"{option} {text!r}: write 10% (of the baseline), 0.5pp, or a number in the metric's unit")
    return value


@dataclass(frozen=True)
class Question:
    """Everything but the baseline."""

    effect: Amount | None = None
    margin: Amount | None = None
    """Non-inferiority: how much worse is accepted."""
    direction: Literal["increase", "decrease"] = "increase"
    alpha: float = 0.05
    power: float = 0.8
    split: tuple[float, ...] = (1.0, 1.0)
    """Parts of the variants, control first."""
    names: tuple[str, ...] = ()
    metrics: int = 1
    multiplicity: Method = "holm"
    guardrails: int = 0
    inference: Literal["fixed", "group_sequential", "always_valid"] = "fixed"
    spending: Spending = Spending()  # noqa: RUF009  (frozen)
    looks: int = DEFAULT_LOOKS
    icc: float | None = None
    cluster_size: float | None = None
    cluster_cv: float = 0.0
    waves: int = 1
    wave_spread: Amount | None = None
    units: int | None = None
    per_week: Sequence[float] = ()
    prior: tuple[Amount, Amount] | None = None
    """Mean and standard deviation of the expected effect."""

    @property
    def ratio(self) -> float:
        """Units of the smallest variant for one of control's."""
        return min(self.split[1:]) / self.split[0]

    @property
    def control_share(self) -> float:
        """Control's share of all units."""
        return self.split[0] / sum(self.split)

    @property
    def level(self) -> float:
        """The level of one comparison; a guardrail is judged alone."""
        if self.margin is not None:
            return self.alpha
        ratios = [part / self.split[0] for part in self.split[1:]]
        return level(self.alpha, len(ratios), self.metrics, self.multiplicity, ratios)

    @property
    def power_each(self) -> float:
        """The power of one comparison."""
        return power_each(self.power, self.guardrails)

    def crossing(self) -> Crossing | None:
        """Return the bounds of a watched test."""
        if self.inference == "fixed":
            return None
        times = np.arange(1, self.looks + 1) / self.looks
        if self.inference == "always_valid":
            return Crossing.of(always_valid_bounds(times, self.level), times)
        return Crossing.of(bounds(times, self.level, self.spending), times)

    def planned(self, baseline: Baseline, crossing: Crossing | None) -> Planned:
        """Return the planned comparison of control with the smallest variant."""
        test = self._single(baseline, watched=crossing is not None)
        if self.cluster_size is not None:
            test = Clustered(test, self.cluster_size, self.icc or 0.0, self.cluster_cv)
        if self.waves > 1:
            spread = 0.0 if self.wave_spread is None else self.wave_spread.of(baseline.mean)
            test = Waves(test, self.waves, spread)
        return test if crossing is None else Looks(test, crossing, self.level)

    def _single(self, baseline: Baseline, *, watched: bool) -> Planned:
        if baseline.kind == "proportion":
            if self.margin is not None:
                return NonInferiorityOfProportions(
                    baseline.mean, self.margin.value, self.margin.is_relative, self.direction, self.ratio
                )
            method: Literal["wald", "score"] = "wald" if watched else "score"
            return Proportions(baseline.mean, self.ratio, baseline.reduction, method)
        sd = baseline.sd if baseline.sd is not None else 0.0
        means = Means(sd, ratio=self.ratio, reduction=baseline.reduction, freedom="normal" if watched else "welch")
        if self.margin is None:
            return means
        return NonInferiority(
            means, self.margin.value, baseline.mean if self.margin.is_relative else None, self.direction
        )


def check(question: Question, baseline: Baseline) -> None:
    """Refuse what has no answer, saying what to write instead.

    Raises:
        InputError: naming the option.
    """
    mean = baseline.mean
    if baseline.kind == "proportion" and not 0 < mean < 1:
        raise InputError(f"the baseline is {mean:g}: a proportion must lie between 0 and 1, such as 0.05")
    if baseline.kind != "proportion" and not (baseline.sd or 0) > 0:
        raise InputError("the metric does not vary: there is nothing to plan with; give --sd")
    for name, amount in (("--effect", question.effect), ("--non-inferiority", question.margin)):
        if amount is None:
            continue
        if amount.is_relative and mean == 0:
            raise InputError(f"{name}: a share of a baseline of 0 is nothing; give it in the metric's unit")
        if amount.value == 0:
            raise InputError(f"{name} 0: there is nothing to detect; name an effect such as 10%")
        reached = mean + amount.of(mean)
        if name == "--effect" and baseline.kind == "proportion" and not 0 <= reached <= 1:
            raise InputError(f"--effect leads from {mean:.4g} to {reached:.4g}: a proportion lies between 0 and 1")
    if question.margin is not None and question.margin.value < 0:
        raise InputError("--non-inferiority: write how much worse is accepted as a positive amount, such as 5%")
    if (question.icc is None) != (question.cluster_size is None):
        raise InputError("--icc and --cluster-size belong together: how alike units of a cluster are, and how many")
