"""The programme's return by the month in which members came: whether it holds, grows or fades."""

from __future__ import annotations

import numpy as np

from experiments.measure.cells import Cells
from experiments.measure.days import day_text
from experiments.programme.document import Figure, Month
from experiments.programme.figures import figure, scaled
from stats.economics.columns import Columns
from stats.economics.returns import offer_returns
from stats.moments import Moments

FEWEST = 30
"""Members of a month on the smaller side, below which an interval that counts on means being normal says too much."""


def by_month(cells: Cells, group: str, columns: Columns, z: float) -> list[Month]:
    """Return what members of each month of entry returned against the held-out of the same month; fixed costs apart.

    Args:
        cells: held out first, then reached, by local day of entry.
        group: of the columns.
        columns: names of the columns with the money.
        z: how many standard errors intervals are wide.
    """
    days = cells.by_day(group)
    months = np.array([day_text(day)[:7] for day in cells.days])
    return [_month(name, days[:, months == name].sum(axis=1), columns, z) for name in sorted(set(months.tolist()))]


def _month(name: str, moments: Moments, columns: Columns, z: float) -> Month:
    held, reached = (int(side) for side in moments.n)
    if min(held, reached) < FEWEST:
        few = Figure(estimate=None, ci_low=None, ci_high=None, why=f"too few units: {FEWEST} needed on each side")
        return Month(month=name, held_out=held, reached=reached, profit_per_member=few, profit=few)
    found = figure(offer_returns(moments, columns, z=z).profit)
    return Month(month=name, held_out=held, reached=reached, profit_per_member=scaled(found, 1 / reached), profit=found)
