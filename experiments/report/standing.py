"""What members have off every order anyway, as a report tells of it: whom an offer gave nothing, what was counted."""

from __future__ import annotations

import msgspec
import numpy as np

from experiments.dominated import Dominated, counted, fold
from experiments.learning.rows import LearningRows
from experiments.measure.experiment import MeasuredExperiment
from experiments.report.document import Text
from experiments.report.economics_document import Economics
from experiments.report.inputs import Declared
from experiments.report.words import say
from experiments.sources.duck import fetch

COUNTED: Text = {
    "en": "Members have a discount on every order anyway ({levels}). An offer that takes something off the price costs "
    "what it takes off beyond that, and a margin by rate is what that discount leaves.",
    "zh-CN": "会员每单本来就享受等级折扣（{levels}）。减价类优惠只计超出该折扣的成本，按比例计算的毛利已扣除该折扣。",
}
LEVEL: Text = {"en": "{level} {off}%", "zh-CN": "{level}{fold}"}
JOINT: Text = {"en": ", ", "zh-CN": "、"}


def dominated_in(declared: Declared, measured: MeasuredExperiment) -> list[Dominated]:
    """Return the offers that analysed members were given who have as much anyway."""
    standing, definition = declared.standing, declared.record.definition
    if standing is None:
        return []
    units = measured.units
    level = units.levels[standing.attribute]
    by = ["variant", level, *(["own_offer"] if definition.by_member else [])]
    given: dict[tuple[str, str | None, str], int] = {}
    for row in fetch(units.table.group_by(by).aggregate(n=units.table.count())):
        if row["variant"] not in measured.variants:
            continue
        own = row["own_offer"] if row["variant"] in definition.by_member else None
        key = (row["variant"], own or definition.variant(row["variant"]).offer, row[level] or "")
        given[key] = given.get(key, 0) + int(row["n"])
    return counted(given, definition, declared.offers, standing, declared.currency, declared.names)


def dominated_among(declared: Declared, rows: LearningRows) -> list[Dominated]:
    """Return the offers that a policy gave to members who have as much anyway, of matured decisions."""
    standing, definition = declared.standing, declared.record.definition
    if standing is None:
        return []
    known = ("", *standing.discounts)
    place = {level: index for index, level in enumerate(known)}
    own = rows.columns[standing.attribute]
    level = np.array([place.get(each, 0) if isinstance(each, str) else 0 for each in own], dtype=np.int64)
    # A member counts once in each variant and level, however often it was decided for.
    members = np.unique(np.stack([rows.variant, level, rows.unit]), axis=1)[:2]
    pairs, counts = np.unique(members, axis=1, return_counts=True)
    given: dict[tuple[str, str | None, str], int] = {}
    for (variant, index), n in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        key = rows.variants[variant]
        given[key, definition.variant(key).offer, known[index]] = n
    return counted(given, definition, declared.offers, standing, declared.currency, declared.names)


def beyond_standing(found: Economics | None, declared: Declared) -> Economics | None:
    """Say beside the economics how costs and margins were counted, where members have a discount anyway."""
    standing = declared.standing
    if standing is None or found is None:
        return found

    def levels(lang: str) -> str:
        names = {level: say(declared.names.level(standing.attribute, level), lang) for level in standing.discounts}
        told = [
            say(LEVEL, lang).format(level=names[level] or level, off=off, fold=fold(off))
            for level, off in sorted(standing.discounts.items(), key=lambda each: standing.ppm[each[0]])
        ]
        return say(JOINT, lang).join(told)

    note = {lang: text.format(levels=levels(lang)) for lang, text in COUNTED.items()}
    return msgspec.structs.replace(found, notes=[*found.notes, note])
