"""When a test was looked at before the file was made, and the kind of inference that follows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from experiments.analyze.options import AnalyzeOptions, looks_of, prior_sd_of
from experiments.errors import InputError
from experiments.measure.cells import Cells
from experiments.report.curves import Estimates, by_experiment_day, by_look
from experiments.report.document import Curve
from experiments.report.inference import DEFAULT_N_STAR, AlwaysValid, GroupSequential, Inference, chosen
from experiments.report.looks import DeclaredLooks, Looks, looks_at
from experiments.report.measured import MetricSpec
from stats.sequential import Spending

CLOSE = 0.05
"""How far the file may be from the share of the plan that its look was declared for."""
EVER_US = 1 << 62


def file_looks(options: AnalyzeOptions, counts: Mapping[str, int], cells: Cells) -> Looks | None:
    """Return when a group-sequential test was looked at; ``None`` for other kinds of inference.

    Args:
        options: with the looks' shares of the plan, or a column of dates.
        counts: units by variant.
        cells: by day of entry, where there are dates.

    Raises:
        InputError: when the file is not as large as its look was declared to be.
    """
    if options.inference != "group_sequential":
        return None
    units = sum(counts.values())
    if options.looks is None:
        by_day = cells.units.reshape(-1, cells.units.shape[-1]).sum(axis=0)
        planned = options.planned_units or 1
        return looks_at(by_day, cells.days, planned=planned, window_us=0, now_us=EVER_US, time_zone="UTC")
    shares = looks_of(options.looks)
    planned = options.planned_units or round(units / shares[-1])
    share = units / planned
    if abs(share - shares[-1]) > CLOSE:
        raise InputError(
            f"--looks ends at {shares[-1]:g} of the plan, but the file has {units:,} of {planned:,} planned units "
            f"({share:.2g}): let --looks end there, or correct --planned-units"
        )
    return DeclaredLooks(
        days=tuple(range(1, len(shares) + 1)),
        first_day=1,
        units=np.round(np.array(shares) * planned).astype(np.int64),
        planned=planned,
        past_plan=False,
        places=tuple(range(len(shares))),
        shares=shares,
    )


def file_inference(options: AnalyzeOptions, variants: int, looks: Looks | None) -> Inference:
    """Return how everything in the report is judged."""
    return chosen(
        options.inference,
        None if looks is None else looks.information,
        spending=Spending(),
        reserve=0.0,
        relative_sd=prior_sd_of(options),
        planned=options.planned_units,
        variants=variants,
    )


def file_curves(
    specs: list[MetricSpec],
    cells: Cells,
    options: AnalyzeOptions,
    inference: Inference,
    looks: Looks | None,
) -> list[Curve]:
    """Return the effect over the days on which units entered."""
    alpha = options.alpha
    how: Estimates = {"adjustment": options.adjustment or "cuped", "stratified": bool(options.strata)}
    if looks is not None and isinstance(inference, GroupSequential):
        return [c for s in specs for c in by_look(s, cells, alpha, looks, inference, **how)]
    daily = AlwaysValid(DEFAULT_N_STAR) if inference.kind == "fixed" else inference
    return [c for s in specs for c in by_experiment_day(s, cells, alpha, daily, **how)]
