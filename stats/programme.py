"""What a whole marketing programme earns, from members who are kept out of all of it.

Experiments tell what each offer adds to the rest; only members who got nothing tell what the rest adds. The comparison
is that of an offer with its control (``stats.economics.returns``), with the held-out as control and everybody whom the
programme reached as the one variant. What is asked beforehand is how many members to hold out.

References:
    Deng, Xu, Kohavi, Walker (2013), Improving the sensitivity of online controlled experiments, WSDM (adjustment).
    Fieller (1954), Some problems in interval estimation, JRSS B 16(2) (ROI).
    van Belle (2008), Statistical Rules of Thumb, section 2.1: 16σ²/δ² a group at 80 % power, of which
        n₀ ≈ 8σ²(1 + 1/κ)/δ² is the form for unequal groups.
"""

from __future__ import annotations

import numpy as np

from stats.distributions import normal_critical, normal_quantile


def holdout_size(
    difference: float, std_deviation: float, ratio: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return how many members must be held out, rounded up: (z₁₋α⸝₂ + z_power)²σ²(1 + 1/κ)/δ².

    Args:
        difference: δ, the mean profit a member that is to be found.
        std_deviation: σ, of one member's profit over the period.
        ratio: κ, members who get the programme for each that does not.
        alpha: of the two-sided test.
        power: probability of finding δ.

    Raises:
        ValueError: for a difference of 0, or a ratio or deviation that is not above 0.

    >>> holdout_size(2.0, 80.0, 49.0)  # the rule of thumb says 8·6400·(1 + 1/49)/4 = 13,061
    12815.0
    """
    if difference == 0 or not std_deviation > 0 or not ratio > 0:
        raise ValueError("a difference other than 0, and a deviation and a ratio above 0, are needed")
    spread = (std_deviation / difference) ** 2 * (1 + 1 / ratio)
    return float(np.ceil(_factor(alpha, power) * spread))


def detectable(
    held_out: float, reached: float, std_deviation: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest mean profit a member that so many members find.

    Args:
        held_out: members without the programme.
        reached: members with it.
        std_deviation: of one member's profit over the period.
        alpha: of the two-sided test.
        power: probability of finding it.

    >>> round(detectable(12815, 49 * 12815, 80.0), 3)
    2.0
    """
    if not (held_out > 0 and reached > 0):
        raise ValueError("members on both sides are needed")
    return float(np.sqrt(_factor(alpha, power) * (1 / held_out + 1 / reached)) * std_deviation)


def _factor(alpha: float, power: float) -> float:
    return float((normal_critical(alpha / 2) + normal_quantile(power)) ** 2)
