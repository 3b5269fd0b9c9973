"""What a fixed-horizon test is worth after it was looked at while it ran.

Reference:
    Armitage, McPherson, Rowe (1969), Repeated significance tests on accumulating data, JRSS A 132(2), table 2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.arrays import as_float
from stats.distributions import normal_critical
from stats.sequential.group_sequential import power


def peeking_risk(information: npt.ArrayLike, alpha: float = 0.05) -> float:
    """Return the chance of a false alarm when a fixed test is read at several looks and any "significant" one taken.

    Args:
        information: share of the final sample at each look, rising, shape (looks,).
        alpha: of one look, two-sided.

    >>> round(peeking_risk([0.2, 0.4, 0.6, 0.8, 1.0]), 4)
    0.1417
    """
    share = as_float(information)
    return float(power(share, np.full(share.shape, normal_critical(alpha / 2)), 0.0))


def peeking_warning(information: npt.ArrayLike, alpha: float = 0.05) -> str | None:
    """Return a plain warning for a fixed test that was read more than once; ``None`` where one look was all.

    >>> peeking_warning([0.5, 1.0])
    'read 2 times as it ran: by chance alone one reading would show an effect in 8 % of such tests, not in 5 %'
    >>> peeking_warning([1.0]) is None
    True
    """
    looks = int((as_float(information) > 0).sum())
    if looks < 2:
        return None
    risk = peeking_risk(information, alpha)
    return (
        f"read {looks} times as it ran: by chance alone one reading would show an effect in {100 * risk:.0f} % of such "
        f"tests, not in {100 * alpha:g} %"
    )
