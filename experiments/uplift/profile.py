"""How those who should get an offer differ from the rest, attribute by attribute, the widest difference first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.report.audience import Names
from experiments.report.document import Text
from experiments.uplift.document import ProfileRow
from experiments.uplift.learned import Learned
from experiments.uplift.words import Wording
from stats.uplift.recommending import Recommended
from stats.uplift.trial import FloatArray

MOST_ROWS = 8
LEAST_GROUP = 0.02
"""Share of the units that must be in and outside of the group."""
NOTABLE = 0.1
"""Standardised difference below which two groups read alike."""
LEAST_SHARE = 0.05
"""Of the units, that a level must have to be told of."""


def profile_of(learned: Learned, found: Recommended, names: Names, words: Wording) -> tuple[list[ProfileRow], Text]:
    """Return the rows, and who the group are where these are not simply those who get an offer."""
    choice = found.policies["personalised"].choice
    target = choice > 0
    group: Text = {}
    if not LEAST_GROUP <= target.mean() <= 1 - LEAST_GROUP:
        usual = int(np.bincount(choice).argmax())
        target = choice != usual
        group = words.others_than(usual)
    if not LEAST_GROUP <= target.mean() <= 1 - LEAST_GROUP:
        return [], {}
    rows: list[tuple[float, ProfileRow]] = []
    for attribute, values in learned.columns.items():
        label = dict(
            learned.labels.get(attribute) or names.attribute(attribute) or {"en": attribute, "zh-CN": attribute}
        )
        if values.dtype == object:
            rows += _levels(attribute, label, values, target)
        elif (row := _number(attribute, label, np.asarray(values, dtype=np.float64), target)) is not None:
            rows.append(row)
    rows.sort(key=lambda pair: (-pair[0], pair[1].attribute, pair[1].level or ""))
    return [row for width, row in rows if width >= NOTABLE][:MOST_ROWS], group


def _number(
    attribute: str, label: Text, values: FloatArray, target: NDArray[np.bool_]
) -> tuple[float, ProfileRow] | None:
    known = ~np.isnan(values)
    inside, outside = values[target & known], values[~target & known]
    if not (len(inside) and len(outside)) or np.median(inside) == np.median(outside):
        return None  # medians that are alike tell nothing of the group
    spread = float(np.std(values[known]))
    width = abs(float(inside.mean() - outside.mean())) / spread if spread > 0 else 0.0
    row = ProfileRow(
        attribute=attribute,
        label=label,
        kind="number",
        target=float(np.median(inside)),
        rest=float(np.median(outside)),
    )
    return width, row


def _levels(
    attribute: str, label: Text, values: NDArray[np.object_], target: NDArray[np.bool_]
) -> list[tuple[float, ProfileRow]]:
    """Return the one level whose share differs most."""
    known = np.array([value is not None for value in values])
    found: list[tuple[float, ProfileRow]] = []
    levels, counts = np.unique(values[known].astype(str), return_counts=True)
    for level, count in zip(levels, counts, strict=True):
        if count < LEAST_SHARE * len(values):
            continue
        has = values == level
        inside, outside, overall = float(has[target].mean()), float(has[~target].mean()), float(has.mean())
        spread = float(np.sqrt(overall * (1 - overall)))
        row = ProfileRow(attribute=attribute, label=label, kind="share", level=str(level), target=inside, rest=outside)
        found.append((abs(inside - outside) / spread if spread > 0 else 0.0, row))
    return sorted(found, key=lambda pair: (-pair[0], pair[1].level or ""))[:1]
