"""What a member's orders will be worth on average: the gamma–gamma model of spend.

A member's orders scatter around a mean of their own, and the means differ between members. Who ordered twice at 300 is
expected nearer to the crowd's 80 than who ordered twenty times at 300. Spend and frequency are taken as unrelated;
``correlation`` of the two is reported where this is used, for where it is far from 0 the values are off.

References:
    Fader, Hardie, Lee (2005), RFM and CLV: using iso-value curves for customer base analysis, JMR 42(4).
    Fader, Hardie (2013), The gamma-gamma model of monetary value: eq. 1a (likelihood), eq. 5 (expected value).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_float
from stats.clv.likelihood import Slope, maximise

PARAMETERS = ("p", "q", "gamma")
FEWEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class GammaGamma:
    """A fitted (or given) model.

    Attributes:
        p: shape of one order's value within a member.
        q: shape of the scales between members; above 1, else the crowd would have no mean.
        gamma: scale of those scales, in money.
        covariance: (3, 3) of the logarithms of (p, q − 1, gamma); ``None`` when the model was not fitted.
        log_likelihood: of the rows, ``None`` when the model was not fitted.
        units: members with repeats that it was fitted on.
        converged: whether the data bound every parameter.
        correlation: of frequency and mean value between members; near 0 where the model fits. ``None``: not known.
    """

    p: float
    q: float
    gamma: float
    covariance: FloatArray | None = None
    log_likelihood: float | None = None
    units: int = 0
    converged: bool = True
    correlation: float | None = None

    def std_errors(self) -> dict[str, float | None]:
        """Return each parameter's standard error (delta method), ``None`` where the data do not bound it."""
        if self.covariance is None:
            return dict.fromkeys(PARAMETERS)
        slopes = (self.p, self.q - 1, self.gamma)
        errors = [float(s * np.sqrt(self.covariance[i, i])) for i, s in enumerate(slopes)]
        return {name: error if np.isfinite(error) else None for name, error in zip(PARAMETERS, errors, strict=True)}

    def expected_value(self, x: npt.ArrayLike, mean: npt.ArrayLike) -> FloatArray:
        """Return the mean value to expect of a member's next orders (eq. 5).

        Args:
            x: repeat purchases that ``mean`` was taken over; 0: nothing is known of the member.
            mean: their mean value; anything where ``x`` is 0.

        >>> GammaGamma(6.25, 3.74, 15.44).expected_value([2, 0], [22.35, 0.0]).round(2)
        array([24.66, 35.22])
        """
        x, mean = as_float(x), as_float(mean)
        return np.asarray(self.p * (self.gamma + x * np.where(x > 0, mean, 0.0)) / (self.p * x + self.q - 1))


def fit(x: npt.ArrayLike, mean: npt.ArrayLike) -> GammaGamma:
    """Fit by maximum likelihood on the members with repeats.

    Args:
        x: (n,) repeat purchases; members with 0 are left out.
        mean: (n,) their mean value; members whose orders are worth nothing are left out (money must be positive).

    Raises:
        ValueError: when fewer than 3 members have repeats of positive value, or all have the same mean.

    >>> round(fit([2, 3, 1, 4, 2], [10.0, 22.0, 15.0, 31.0, 12.0]).expected_value(0, 0.0).item(), 1) > 10
    True
    """
    x, mean = as_float(x), as_float(mean)
    if len(x) != len(mean):
        raise ValueError("as many means as repeat counts are needed")
    used = (x > 0) & (mean > 0) & np.isfinite(mean)
    x, mean = x[used], mean[used]
    if len(x) < FEWEST or np.ptp(mean) == 0:
        raise ValueError("at least 3 members with repeat orders of different, positive mean value are needed")
    scale = float(np.median(mean))
    spread = float(np.std(x)) * float(np.std(mean))
    correlation = float(np.mean((x - x.mean()) * (mean - mean.mean())) / spread) if spread > 0 else None
    found = maximise(_slope(x, mean / scale), np.log([3.0, 2.0, 1.0]), float(len(x)))
    p, above_one, gamma = np.exp(found.log_parameters)
    return GammaGamma(
        float(p),
        float(1 + above_one),
        float(gamma * scale),
        found.covariance,
        found.log_likelihood - len(x) * float(np.log(scale)),
        len(x),
        found.converged,
        correlation,
    )


def _slope(x: FloatArray, mean: FloatArray) -> Slope:
    """Return −log likelihood (eq. 1a) and its gradient in the logarithms of (p, q − 1, γ)."""
    from scipy.special import gammaln, psi

    levels, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    log_total = np.log(x * mean)
    n, sum_log_total = len(x), float(np.sum(np.log(mean)))
    weighted_log_total = np.bincount(inverse, weights=log_total)

    def slope(at: FloatArray) -> tuple[float, FloatArray]:
        p, above_one, gamma = np.exp(at)
        q = 1 + above_one
        shape = p * x + q
        log_rate = np.log(gamma + x * mean)
        px = p * levels
        value = (
            counts @ (gammaln(px + q) - gammaln(px) - gammaln(q))
            + n * q * np.log(gamma) + px @ weighted_log_total - sum_log_total - shape @ log_rate
        )  # fmt: skip
        gradient = np.array(
            [
                counts @ (levels * (psi(px + q) - psi(px))) + levels @ weighted_log_total - x @ log_rate,
                counts @ (psi(px + q) - psi(q)) + n * np.log(gamma) - np.sum(log_rate),
                n * q / gamma - np.sum(shape / (gamma + x * mean)),
            ]
        )
        return -float(value), -gradient * np.array([p, above_one, gamma])

    return slope
