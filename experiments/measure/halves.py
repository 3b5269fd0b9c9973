"""The two halves of the units' windows by day of entry: does an effect fade with their days, or with the calendar?"""

from __future__ import annotations

from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.economics import NOVELTY, Beside
from experiments.measure.experiment import MeasuredExperiment


def halves_by_day(beside: Beside, measured: MeasuredExperiment) -> Cells | None:
    """Return the moments of both halves by variant and day of entry; ``None`` where no window is cut in two."""
    if beside.halved is None:
        return None
    name = beside.halved.spec.value
    group = ColumnGroup(NOVELTY, (f"{name}_first", f"{name}_second"))
    return compute_cells(
        measured.table, [group], measured.scans, variant="variant", variants=measured.variants, day="day"
    )
