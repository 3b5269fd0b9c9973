"""Replay checkpoints in array form: all series of a file are one call of each method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from experiments.report.replay_document import Replay, ReplayedSeries
from experiments.sources.summaries import Arms, Summaries
from stats.arrays import BoolArray, FloatArray
from stats.effects.means import difference_of_means
from stats.effects.proportions import difference_of_proportions
from stats.effects.result import Effect
from stats.samples import Sample
from stats.sequential import Band, bounds, mixture_band
from stats.srm import FAIL_BELOW, srm
from stats.why import Why


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Every comparison at every look; arrays are comparisons × looks, NaN where nothing can be judged.

    Attributes:
        effect: fixed-horizon effects: Welch's, of proportions the score test's.
        known: where there is an effect with its error.
        information: share of the last look's units.
        bound: group-sequential bound of |z|.
        z: estimates over their standard errors.
        band: always-valid band.
    """

    effect: Effect
    known: BoolArray
    information: FloatArray
    bound: FloatArray
    z: FloatArray
    band: Band


def sample(arms: Arms) -> Sample:
    """Return arms as a sample; where no variance is given it says so."""
    found = Sample.of(arms.n, arms.mean, arms.variance)
    missing = np.isnan(arms.variance) & (found.why == 0)
    why = np.where(np.isnan(arms.n), int(Why.NO_UNITS), np.where(missing, int(Why.NO_VARIANCE), found.why))
    return Sample(found.n, found.mean, found.variance, why, found.shift_cov, found.shift_var)


def look(data: Summaries, alpha: float) -> Looked:
    """Judge every comparison at every look, as a peeker, a group-sequential and an always-valid reader would.

    The plan is the last look's number of units. A look without variance, or with fewer units than one before, is not
    taken, by anybody.
    """
    control, variant = sample(data.controls), sample(data.variants)
    effect = difference_of_means(control, variant, alpha)
    binary = np.array([metric in data.binary for metric in data.metric])
    if binary.any():
        exact = difference_of_proportions(control[binary], variant[binary], alpha)
        effect.p_value[binary], effect.ci_low[binary], effect.ci_high[binary] = (
            exact.p_value,
            exact.ci_low,
            exact.ci_high,
        )
    known = np.isfinite(effect.p_value) & (effect.std_error > 0) & ~data.faulty
    units = np.where(np.isnan(data.controls.n), np.nan, data.controls.n + data.variants.n)
    last = np.nanmax(units, axis=-1, keepdims=True)
    information = np.where(last > 0, units / np.where(last > 0, last, 1.0), np.nan)
    error = np.where(known, effect.std_error, np.nan)
    return Looked(
        effect=effect,
        known=known,
        information=information,
        bound=_bounds(information, known, alpha),
        z=np.where(known, effect.estimate, np.nan) / error,
        band=mixture_band(effect.estimate, error, alpha, n=np.where(known, units, 1.0), n_star=np.maximum(last, 1.0)),
    )


def _bounds(information: FloatArray, known: BoolArray, alpha: float) -> FloatArray:
    """Return the bound of each look that is taken; series with the same looks share one computation."""

    @cache
    def of(shares: tuple[float, ...]) -> FloatArray:
        return bounds(np.array(shares), alpha)

    out = np.full(information.shape, np.nan)
    for row, (shares, taken) in enumerate(zip(information, known, strict=True)):
        if taken.any():
            out[row, taken] = of(tuple(shares[taken].tolist()))
    return out


def calls(looked: Looked, alpha: float) -> dict[str, BoolArray]:
    """Return, for each way of looking, the looks at which it calls a difference."""
    with np.errstate(invalid="ignore"):
        return {
            "peeked": looked.known & (looked.effect.p_value <= alpha),
            "group_sequential": looked.known & (np.abs(looked.z) >= looked.bound),
            "always_valid": looked.known & (looked.band.p_value <= alpha),
        }


def replay(
    data: Summaries,
    alpha: float,
    *,
    source: str,
    weights: Mapping[str, float] | None = None,
    looked: Looked | None = None,
) -> Replay:
    """Replay all series of a file and count what each way of looking would have called.

    Args:
        data: the file.
        alpha: level of every method.
        source: name of the file.
        weights: intended ones by variant, for the sample ratio check; equal by default.
        looked: what ``look`` gave, where it is there already.
    """
    from experiments.report.software import software

    seen = look(data, alpha) if looked is None else looked
    called = calls(seen, alpha)
    rows = []
    for place in range(len(data.metric)):
        labels = data.times[place]
        at = {name: _first(where[place]) for name, where in called.items()}
        taken = np.flatnonzero(seen.known[place])
        ends = len(labels) - 1
        counts = np.array([data.controls.n[place, ends], data.variants.n[place, ends]])
        planned = [(weights or {}).get(name, 1.0) for name in (data.control, data.variant[place])]
        checked = srm(counts, planned)
        share = {name: None if i is None else float(seen.information[place, i]) for name, i in at.items()}
        rows.append(
            ReplayedSeries(
                experiment=data.experiment[place],
                metric=data.metric[place],
                variant=data.variant[place],
                checkpoints=len(labels),
                without_variance=int(np.count_nonzero(_without_variance(data)[place, : len(labels)])),
                faulty=int(data.faulty[place].sum()),
                units=int(counts.sum()),
                peeked=_label(labels, at["peeked"]),
                peeked_share=share["peeked"],
                group_sequential=_label(labels, at["group_sequential"]),
                group_sequential_share=share["group_sequential"],
                always_valid=_label(labels, at["always_valid"]),
                always_valid_share=share["always_valid"],
                at_the_end=bool(called["peeked"][place, taken[-1]]) if taken.size else None,
                srm_failed=bool(checked.p_value < FAIL_BELOW),
            )
        )
    return Replay(
        source=source,
        alpha=alpha,
        experiments=len(set(data.experiment)),
        series=len(rows),
        judged=sum(row.at_the_end is not None for row in rows),
        without_variance=sum(row.without_variance == row.checkpoints for row in rows),
        partly_without=sum(0 < row.without_variance < row.checkpoints for row in rows),
        faulty=int(data.faulty.sum()),
        arms=data.given,
        arms_derived=data.derived,
        arms_missing=data.missing,
        peeked=sum(row.peeked is not None for row in rows),
        peeked_only=sum(row.peeked is not None and not row.at_the_end for row in rows),
        at_the_end=sum(bool(row.at_the_end) for row in rows),
        group_sequential=sum(row.group_sequential is not None for row in rows),
        group_sequential_only=sum(row.group_sequential is not None and not row.at_the_end for row in rows),
        always_valid=sum(row.always_valid is not None for row in rows),
        always_valid_only=sum(row.always_valid is not None and not row.at_the_end for row in rows),
        srm_failed=sum(row.srm_failed for row in rows),
        rows=rows,
        software=software(),
    )


def _without_variance(data: Summaries) -> BoolArray:
    return np.asarray(np.isnan(data.controls.variance) | np.isnan(data.variants.variance))


def _first(where: BoolArray) -> int | None:
    return int(where.argmax()) if where.any() else None


def _label(labels: list[str], place: int | None) -> str | None:
    return None if place is None else labels[place]
