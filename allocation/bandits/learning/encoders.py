"""Fitting the encoding: where numbers are centred, which levels are told apart. Fixed once for a version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import FeatureSpec
from allocation.bandits.values import number_of, text_of

TAILS = (0.005, 0.995)
"""Quantiles between which the centre and the scale are taken, so that a few absurd values do not set them."""
WIDEST = 6.0
"""Standardised values are clipped there, or at the least and the greatest that was seen."""


def fit_encoder(rows: Rows, features: Sequence[FeatureSpec], pairs: Sequence[tuple[str, str]] = ()) -> Encoder:
    """Return the encoding of the features as these rows suggest it; it does not depend on the rows' order.

    >>> rows = Rows(variant=np.zeros(4, dtype=int), columns={"age": np.array([20.0, 30.0, 40.0, np.nan])},
    ...             converted=np.zeros(4, dtype=bool), amount=np.zeros(4))
    >>> code = fit_encoder(rows, [FeatureSpec("age", "numeric")]).features[0]
    >>> round(code.centre, 3), round(code.scale, 3)
    (30.0, 8.083)
    """
    place = {spec.attribute: index for index, spec in enumerate(features)}
    return Encoder(
        features=tuple(
            _numeric(spec, rows.columns.get(spec.attribute))
            if spec.kind == "numeric"
            else _categorical(spec, rows.columns.get(spec.attribute))
            for spec in features
        ),
        pairs=tuple((place[first], place[second]) for first, second in pairs),
    )


def _numeric(spec: FeatureSpec, column: npt.NDArray[Any] | None) -> FeatureCode:
    values = np.sort(numbers(column)) if column is not None else np.empty(0)
    if spec.transform == "log":
        values = np.copysign(np.log1p(np.abs(values)), values)
    if not len(values):
        return FeatureCode(spec.attribute, "numeric", transform=spec.transform)
    inner = np.clip(values, *np.quantile(values, TAILS))
    # Sums over sorted values: the same rows in another order give the same bits.
    largest = float(np.abs(inner).max()) or 1.0  # squares of values near the largest double would overflow
    centre, scale = float((inner / largest).mean()) * largest, float((inner / largest).std()) * largest
    if scale <= 1e-9 * max(1.0, abs(centre)):  # a constant: nothing to see yet, and nothing to scale by
        return FeatureCode(spec.attribute, "numeric", transform=spec.transform, centre=centre)
    return FeatureCode(
        spec.attribute,
        "numeric",
        transform=spec.transform,
        centre=centre,
        scale=scale,
        low=max(-WIDEST, float((values[0] - centre) / scale)),
        high=min(WIDEST, float((values[-1] - centre) / scale)),
    )


def numbers(column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the finite numbers of a raw column, as the encoding reads them.

    >>> numbers(np.array([1, None, "x", 2.5], dtype=object)).tolist()
    [1.0, 2.5]
    """
    if column.dtype.kind in "fiub":
        values = column.astype(np.float64)
    else:
        values = np.array([number_of(value) for value in column.tolist()], dtype=np.float64)
    finite: npt.NDArray[np.float64] = values[np.isfinite(values)]
    return finite


def _categorical(spec: FeatureSpec, column: npt.NDArray[Any] | None) -> FeatureCode:
    counts: dict[str, int] = {}
    for value in column.tolist() if column is not None else ():
        if (text := text_of(value)) is not None:
            counts[text] = counts.get(text, 0) + 1
    ranked = sorted((-count, text) for text, count in counts.items() if count >= spec.min_rows)
    return FeatureCode(spec.attribute, "categorical", levels=tuple(text for _, text in ranked[: spec.max_levels]))
