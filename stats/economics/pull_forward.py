"""Pull-forward: purchases that the offer only moved to an earlier day are missing in the time after it (活动后窗口).

A coupon may sell to somebody who would have bought next month. Within the window that is a gain; in an equally long
time after it the unit buys less than control does, and what is left of the gain is the sum of both.

Reference: van Heerde, Leeflang & Wittink (2000), The estimation of pre- and postpromotion dips with store-level scanner
data, Journal of Marketing Research 37(3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import divide
from stats.economics.figures import Figure, around, quotient, shifted
from stats.economics.returns import Z_95
from stats.moments import Moments
from stats.samples import Sample, combination
from stats.why import Why


@dataclass(frozen=True, slots=True, eq=False)
class PulledForward:
    """Per unit that was followed to the end of the time after, every variant but control.

    Attributes:
        within: gain within the window.
        after: gain in the time after it; below zero is the dip.
        net: both together.
        given_back: share of the gain that the time after took back; below 0 where that gained too.
    """

    within: Figure
    after: Figure
    net: Figure
    given_back: Figure


def pulled_forward(
    moments: Moments, within: str, after: str, *, control: int = 0, z: npt.ArrayLike = Z_95
) -> PulledForward:
    """Compare the time after the window with the window.

    Args:
        moments: of both columns, first axis variants; only units that were followed to the end.
        within: column of what a unit earned within the window.
        after: column of what it earned in the time after.
        control: position of control.
        z: how many standard errors the intervals are wide; a number, or one a variant but control.

    Raises:
        KeyError: a column is not there.

    >>> rows = [[10.0, 6.0], [0.0, 4.0]] * 200 + [[16.0, 2.0], [4.0, 4.0]] * 200
    >>> moments = Moments.from_rows(["within", "after"], rows, cell=[0] * 400 + [1] * 400)
    >>> found = pulled_forward(moments, "within", "after")
    >>> [float(f.estimate[0]) for f in (found.within, found.after, found.net, found.given_back)]
    [5.0, -2.0, 3.0, 0.4]
    """
    others = [i for i in range(moments.shape[0]) if i != control]

    def difference(**weights: float) -> Figure:
        sample: Sample = combination(moments, {c: weights[k] for k, c in columns.items() if k in weights})
        each = divide(sample.variance, sample.n)
        few = np.where((sample.n[others] < 2) | (sample.n[control] < 2), int(Why.TOO_FEW_UNITS), 0)
        return around(sample.mean[others] - sample.mean[control], each[others] + each[control], z, few)

    columns = {"first": within, "second": after}
    first, second, both = difference(first=1.0), difference(second=1.0), difference(first=1.0, second=1.0)
    each = divide(moments.covariance(), moments.n[..., None, None])
    spread = each[others] + each[control]
    one, two = moments.place(within), moments.place(after)
    share = quotient(
        second.estimate,
        first.estimate,
        spread[..., two, two],
        spread[..., one, one],
        spread[..., one, two],
        z,
        undefined=Why.NO_EARLY_GAIN,
    )
    return PulledForward(first, second, both, shifted(share, times=-1.0))
