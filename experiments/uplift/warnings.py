"""What the reader of a recommendation must know beside its figures: what prices rest on, what was left out."""

from __future__ import annotations

import numpy as np

from experiments.report.document import Text
from experiments.uplift.learned import Learned
from experiments.uplift.words import Wording

FEW = 100
"""Units with an outcome other than the usual one below which an arm's figures hang on a handful of units."""
SURELY_IDS = 1_000
"""Rows from which a different whole number in every one of them is a number of units, not of anything."""

_ASSUMED: dict[str, Text] = {
    "every_buyer_redeems": {
        "en": "Nobody reports redemptions: every outcome under an offer is taken to redeem it once.",
        "zh-CN": "没有核销数据：假定得到优惠者每次转化核销一次。",
    },
    "given_share": {
        "en": "How often an offer is redeemed is as given, not measured.",
        "zh-CN": "核销比例为给定值，并非实测。",
    },
    "given_value": {
        "en": "What an outcome is worth is as given, not measured.",
        "zh-CN": "每次转化的价值为给定值，并非实测。",
    },
}


def warning_texts(learned: Learned, group: Text, words: Wording) -> list[Text]:
    """Return what the reader must know beside the figures."""
    out = [_ASSUMED[code] for code in learned.assumed]
    if group:
        out.append(group)
    if learned.currency is None:
        out.append(
            {
                "en": "Nothing says what an outcome is worth or an offer costs: figures are of the outcome itself.",
                "zh-CN": "没有转化价值与优惠成本：数字为结果本身。",
            }
        )
    out += _lost(learned)
    if immature := learned.left_out.get("immature"):
        out.append(
            {
                "en": f"{immature:,} {words.units('en')} whose window is not over are left out.",
                "zh-CN": f"{immature:,} 个窗口未结束的{words.units('zh-CN')}未计入。",
            }
        )
    ids = [reason[3:] for reason in learned.left_out if reason.startswith("id:")]
    if ids:
        out.append(
            {
                "en": f"Not learned from, because almost every row has another value: {', '.join(ids)}.",
                "zh-CN": f"未用于学习（几乎每行取值都不同）：{'、'.join(ids)}。",
            }
        )
    return out


def _lost(learned: Learned) -> list[Text]:
    """Return which rows and attributes were not learned from, and where there is hardly anything to learn."""
    out: list[Text] = []
    for reason, (en, zh) in _LEFT_OUT.items():
        if n := learned.left_out.get(reason):
            out.append({"en": f"{n:,} {en}.", "zh-CN": f"{n:,} {zh}。"})
    unread = [name for name in learned.columns if name not in learned.encoder.attributes]
    plain = [name for name in unread if not _several(learned.columns[name])]
    if plain:
        out.append(
            {
                "en": f"Not learned from, because every row has the same value: {_named(learned, plain, 'en')}.",
                "zh-CN": f"未用于学习（每行取值相同）：{_named(learned, plain, 'zh-CN')}。",
            }
        )
    if rare := [name for name in unread if name not in plain]:
        out.append(
            {
                "en": "Not learned from, because each of its values is in few rows only; group them: "
                f"{_named(learned, rare, 'en')}.",
                "zh-CN": f"未用于学习（每个取值的行数都很少，请先归类）：{_named(learned, rare, 'zh-CN')}。",
            }
        )
    numbered = [name for name, values in learned.columns.items() if _numbers_units(values)]
    if numbered:
        out.append(
            {
                "en": f"Another whole number in every row: {_named(learned, numbered, 'en')}. If these are ids, leave "
                "them out: they say nothing of other members.",
                "zh-CN": f"每行都是不同的整数：{_named(learned, numbered, 'zh-CN')}。"
                "若为编号，请去掉：对其他会员没有意义。",
            }
        )
    return out + _rare(learned)


_LEFT_OUT = {
    "contaminated": ("units that were in several arms are left out", "个出现在多个组的对象未计入"),
    "duplicate": ("further rows of the same units are left out", "行为同一对象的重复记录，未计入"),
    "no_variant": ("rows without an arm are left out", "行没有分组，未计入"),
    "no_unit": ("rows without a unit's id are left out", "行没有对象编号，未计入"),
    "no_outcome": ("rows without an outcome are left out", "行没有结果，未计入"),
}


def _rare(learned: Learned) -> list[Text]:
    """Return that outcomes are all the same, or that few of an arm differ from the usual one."""
    outcome, arm = learned.trial.outcome, learned.trial.arm
    values, counts = np.unique(outcome, return_counts=True)
    usual = float(values[counts.argmax()])
    label = {lang: learned.outcome_label.get(lang) or learned.outcome for lang in ("en", "zh-CN")}
    if len(values) == 1:
        return [
            {
                "en": f"{label['en']} is {usual:g} for every unit: there is nothing to learn from.",
                "zh-CN": f"所有对象的 {label['zh-CN']} 都是 {usual:g}：没有可学习的内容。",
            }
        ]
    other = np.bincount(arm[outcome != usual], minlength=len(learned.arms))
    few = ", ".join(f"{key} {n:,}" for key, n in zip(learned.arms, other, strict=True) if n < FEW)
    if not few:
        return []
    return [
        {
            "en": f"Few units have {label['en']} other than {usual:g} ({few}): intervals are wide, and rough.",
            "zh-CN": f"{label['zh-CN']} 不为 {usual:g} 的对象很少（{few}）：区间较宽，且只是近似。",
        }
    ]


def _named(learned: Learned, names: list[str], lang: str) -> str:
    shown = [learned.labels.get(name, {}).get(lang) or name for name in names]
    return ("、" if lang != "en" else ", ").join(shown)


def _several(values: np.typing.NDArray[np.object_]) -> bool:
    if values.dtype.kind in "fiu":
        return False  # a number that varies is always read
    return len({value for value in values if value is not None}) > 1


def _numbers_units(values: np.typing.NDArray[np.object_]) -> bool:
    return (
        values.dtype.kind in "fiu"
        and len(values) >= SURELY_IDS
        and bool((values == np.floor(values)).all())
        and len(np.unique(values)) == len(values)
    )
