"""Qini and AUUC as causalml and scikit-uplift scale them, from ours: one area under several names.

Exact where no two scores are equal and both arms stand at the start of the ranking. With equal scores causalml goes by
the order of the rows, so no formula leads there; scikit-uplift makes one point of them as we do.

The libraries' definitions are those of causalml 0.18 (``auuc_score``, ``qini_score``) and scikit-uplift 0.5.1
(``qini_curve``, ``uplift_curve``, ``qini_auc_score``, ``uplift_auc_score``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stats.uplift.curves import Kind, rows_of, uplift_curve


def causalml_auuc(auuc: float, effect: float, rows: int, *, normalize: bool = True) -> float | None:
    """Return causalml's ``auuc_score``: the mean of k · effect among the first k over k = 0 … n, or that over the last.

    Args:
        auuc: area under the gain curve, outcome per head.
        effect: difference of mean outcomes between all treated and all others.
        rows: n.
        normalize: whether to divide by n · |effect|, as causalml does unless told otherwise.

    Returns:
        ``None`` where it would divide by an effect of 0.

    >>> round(causalml_auuc(0.25, 0.5, 999, normalize=False), 3)
    249.75
    """
    raw = (auuc * rows**2 + rows * effect / 2) / (rows + 1)
    return _over(raw, rows * abs(effect)) if normalize else raw


def causalml_qini(qini: float, effect: float, rows: int, treated: int, *, normalize: bool = True) -> float | None:
    """Return causalml's ``qini_score``: as `causalml_auuc`, of the Qini curve in extra outcomes, less the chord's.

    Args:
        qini: Qini coefficient of the Qini curve, outcome per head.
        effect: difference of mean outcomes between all treated and all others.
        rows: n.
        treated: how many were treated.
        normalize: whether to divide by treated · |effect|.

    Returns:
        ``None`` where it would divide by an effect of 0.
    """
    all_treated = treated * effect
    raw = ((qini + effect / 2) * treated * rows + all_treated / 2) / (rows + 1) - all_treated / 2
    return _over(raw, abs(all_treated)) if normalize else raw


def sklift_uplift_area(auuc: float, rows: int) -> float:
    """Return the area under scikit-uplift's ``uplift_curve``, whose axes are units and units × effect."""
    return auuc * rows**2


def sklift_qini_area(qini: float, effect: float, rows: int, treated: int) -> float:
    """Return the area under scikit-uplift's ``qini_curve``, whose axes are units and extra outcomes of the treated."""
    return (qini + effect / 2) * treated * rows


def sklift_uplift_auc_score(outcome: npt.ArrayLike, treated: npt.ArrayLike, score: npt.ArrayLike) -> float | None:
    """Return scikit-uplift's ``uplift_auc_score``: our area above the chord over that of a "perfect" ranking.

    Args:
        outcome: (n,), 0 or 1.
        treated: (n,), True or False.
        score: (n,).

    Returns:
        ``None`` where the perfect ranking is no better than the chord.

    Raises:
        ValueError: an outcome is neither 0 nor 1, or as `stats.uplift.curves.uplift_curve`.
    """
    y, w = _binary(outcome, treated, score)
    more_sure = ((y == 1) & (w == 0)).sum() > ((y == 0) & (w == 1)).sum()
    perfect = 2.0 * (y == w) + (y if more_sure else w)
    return _over(_above_chord(y, w, score, "gain"), _above_chord(y, w, perfect, "gain"))


def sklift_qini_auc_score(
    outcome: npt.ArrayLike, treated: npt.ArrayLike, score: npt.ArrayLike, *, negative_effect: bool = True
) -> float | None:
    """Return scikit-uplift's ``qini_auc_score``: our Qini coefficient over that of a "perfect" ranking.

    Args:
        outcome: (n,), 0 or 1.
        treated: (n,), True or False.
        score: (n,).
        negative_effect: whether the perfect ranking may put those last who buy without the offer; if not, the perfect
            curve rises by one for each unit up to the total effect, which a real curve can exceed: above 1 then.

    Returns:
        ``None`` where the perfect ranking is no better than the chord.

    Raises:
        ValueError: as `sklift_uplift_auc_score`.
    """
    y, w = _binary(outcome, treated, score)
    if negative_effect:
        perfect = _above_chord(y, w, y * w - y * (1 - w), "qini")
    else:
        effect = float(y[w == 1].mean() - y[w == 0].mean())
        perfect = effect * (1 - w.mean() * effect / 2) - effect / 2
    return _over(_above_chord(y, w, score, "qini"), perfect)


def _binary(
    outcome: npt.ArrayLike, treated: npt.ArrayLike, score: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    y, w = rows_of(outcome, treated, score)
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("scikit-uplift's scores are of outcomes that are 0 or 1")
    return y, w


def _above_chord(y: npt.ArrayLike, w: npt.ArrayLike, score: npt.ArrayLike, kind: Kind) -> float:
    return uplift_curve(y, w, score).qini_coefficient(kind)


def _over(value: float, by: float) -> float | None:
    return float(value / by) if by else None
