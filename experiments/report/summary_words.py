"""Sentences about summary statistics and replayed checkpoints, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.report.document import Text
from stats.arrays import BoolArray

if TYPE_CHECKING:
    from experiments.replaying import Looked
    from experiments.sources.summaries import Summaries


def replay_sentence(data: Summaries, looked: Looked, called: Mapping[str, BoolArray], row: int) -> Text:
    """Say when each way of looking at one series would have called it."""
    labels = data.times[row]
    name = f"{data.metric[row]}, {data.variant[row]}"
    if not looked.known[row].any():
        return {
            "en": f"{name}: no checkpoint can be judged.",
            "zh-CN": f"{name}：没有可判断的检查点。",
        }

    def told(method: str) -> tuple[str, str]:
        where = called[method][row]
        if not where.any():
            return "nothing", "未得出结论"
        label = labels[int(where.argmax())]
        return f"a difference at checkpoint {label}", f"在检查点 {label} 判定有差异"

    peeked, group, always = told("peeked"), told("group_sequential"), told("always_valid")
    ends = bool(called["peeked"][row, np.flatnonzero(looked.known[row])[-1]])
    end = ("a difference", "有差异") if ends else ("none", "无差异")
    return {
        "en": f"{name}, looked at {len(labels)} times: peeking would have called {peeked[0]}, the group-sequential "
        f"test {group[0]}, the always-valid band {always[0]}; the last checkpoint alone shows {end[0]}.",
        "zh-CN": f"{name}，共 {len(labels)} 个检查点：中途偷看{peeked[1]}，成组序贯{group[1]}，"
        f"任意时刻有效区间{always[1]}；仅看最后一个检查点：{end[1]}。",
    }


def summary_warnings(data: Summaries, rows: Sequence[int]) -> list[Text]:
    """Say what is missing in one experiment, and what replaying takes for granted."""
    warnings: list[Text] = []
    sides = (data.controls, data.variants)
    for row in rows:
        looks = len(data.times[row])
        gaps = int(np.count_nonzero(np.any([np.isnan(side.variance[row, :looks]) for side in sides], axis=0)))
        name = f"{data.metric[row]}, {data.variant[row]}"
        if gaps:
            english, chinese = f"{name}: no variance given; left out.", f"{name}：没有给出方差，已剔除。"
            if looks > 1:
                english = f"{name}: no variance at {gaps} of {looks} checkpoints; these were left out."
                chinese = f"{name}：{looks} 个检查点中有 {gaps} 个没有方差，已剔除。"
            warnings.append({"en": english, "zh-CN": chinese})
        faults = int(data.faulty[row].sum())
        if faults:
            warnings.append(
                {
                    "en": f"{name}: {faults} checkpoint(s) with fewer units than an earlier one were left out.",
                    "zh-CN": f"{name}：有 {faults} 个检查点的单元数少于更早的检查点，已剔除。",
                }
            )
    if data.derived:
        warnings.append(
            {
                "en": f"{data.derived} missing variances in the file follow from means, because the metric is 0 or 1.",
                "zh-CN": f"文件中有 {data.derived} 个缺失的方差由均值推出（该指标只取 0 或 1）。",
            }
        )
    if data.has_time:
        warnings.append(
            {
                "en": "Replaying takes the last checkpoint's units for the plan, and earlier units' outcomes for "
                "complete; where outcomes keep coming in, looks hang together in other ways.",
                "zh-CN": "回放以最后一个检查点的单元数为计划样本，并假定先进入单元的结果已完整；"
                "若结果仍在陆续到来，各次查看之间的相关性会不同。",
            }
        )
    return warnings
