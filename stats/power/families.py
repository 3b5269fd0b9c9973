"""Planning for several comparisons: the level each is planned at, and the power each needs.

References:
    Dunnett (1955), A multiple comparison procedure for comparing several treatments with a control, JASA 50.
    Schultzberg, Ankargren, Frånberg (2024), Risk-aware product decisions in A/B tests with multiple metrics
    (arXiv:2402.11609): success metrics share alpha, a decision that needs every guardrail shares beta.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import as_float, divide
from stats.distributions import normal_upper
from stats.multiplicity.dunnett import dunnett_critical, loadings

Method = Literal["bonferroni", "holm", "hochberg", "benjamini_hochberg", "dunnett", "none"]


def level(
    alpha: float,
    variants: int = 1,
    metrics: int = 1,
    method: Method = "holm",
    ratio: npt.ArrayLike = 1.0,
) -> float:
    """Return the level at which one comparison of a family is planned.

    The step procedures (Holm, Hochberg, Benjamini–Hochberg) begin at alpha over the number of comparisons; planning at
    that level gives the wanted power also where only one effect is real. Dunnett's level belongs to the two-sided
    critical value of the largest of ``variants`` correlated comparisons with one control; over several metrics the
    level is shared out first.

    Args:
        alpha: of the family.
        variants: other than control.
        metrics: decision metrics.
        method: of adjustment.
        ratio: units of each variant for one of control's (for Dunnett's correlation), one number or one a variant.

    >>> level(0.05, variants=3, metrics=2), round(level(0.05, 3, method="dunnett"), 5)
    (0.008333333333333333, 0.01883)
    """
    if method == "none":
        return alpha
    if method == "dunnett" and variants > 1:
        shared = loadings(1.0, divide(1.0, np.broadcast_to(as_float(ratio), (variants,))))
        return float(2 * normal_upper(dunnett_critical(alpha / metrics, shared)))
    return alpha / (variants * metrics)


def power_each(power: float, guardrails: int = 0) -> float:
    """Return the power each test needs so that a decision that waits for all of them is found with ``power``.

    A roll-out needs an effect on a success metric *and* every guardrail proved: the risk 1 − power is shared out over
    all of them.

    >>> power_each(0.8, guardrails=3)
    0.95
    """
    return 1 - (1 - power) / (guardrails + 1)
