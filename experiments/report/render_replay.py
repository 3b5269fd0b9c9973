"""Replayed checkpoints in the terminal, as CSV, and all experiments of a file as JSON."""

from __future__ import annotations

import csv
import functools
import io
from typing import TYPE_CHECKING

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from experiments.report.render_csv import safe_text
from experiments.report.render_narrow import fitted, width_of
from experiments.report.replay_document import Replay, ReplayedSeries
from experiments.report.words import say

if TYPE_CHECKING:
    from experiments.analyze_summaries import SummaryAnalysis

PIPED_WIDTH = 140


def render_summaries_json(found: SummaryAnalysis) -> str:
    """Return the reports of all experiments and the replay as JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def render_replay_csv(found: Replay) -> str:
    """Return a row for each series."""
    names = [field.name for field in msgspec.structs.fields(ReplayedSeries)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in found.rows:
        cells = [getattr(row, name) for name in names]
        writer.writerow([safe_text(cell) if isinstance(cell, str) else _truth(cell) for cell in cells])
    return out.getvalue()


def _truth(cell: object) -> object:
    return str(cell).lower() if isinstance(cell, bool) else cell


def print_replay(found: Replay, console: Console | None = None, *, lang: str = "en") -> None:
    """Print a replay; without a terminal the lines are as wide as they need to be and carry no colour."""
    plain = functools.partial(Console, highlight=False, markup=False, emoji=False)
    target = console or plain()
    if not target.is_terminal and console is None:
        target = plain(width=max(PIPED_WIDTH, width_of(_table(found, lang))))
    target.print(_whole(found, lang, target.width))


def _whole(found: Replay, lang: str, width: int) -> RenderableType:
    title = {
        "en": f" {found.source}: {found.experiments:,} experiments, {found.series:,} series",
        "zh-CN": f" {found.source}：{found.experiments:,} 个实验，{found.series:,} 个序列",
    }
    parts: list[RenderableType] = [Text(""), Text(say(title, lang), style="bold"), Text("")]
    parts += [Padding(Text(say(line, lang)), (0, 0, 0, 2), expand=False) for line in sentences(found)]
    parts += [Text(""), fitted(_table(found, lang), width, name=1)]
    return Group(*parts)


def sentences(found: Replay) -> list[dict[str, str]]:
    """Say how many series each way of looking calls different, and what was left out."""
    told = [
        {
            "en": f"Of {found.judged:,} series that can be judged, peeking would have called {found.peeked:,} "
            f"different at some checkpoint, {found.peeked_only:,} of which show nothing at the end.",
            "zh-CN": f"在可判断的 {found.judged:,} 个序列中，中途偷看会在某个检查点判定 {found.peeked:,} 个有差异，"
            f"其中 {found.peeked_only:,} 个到最后并无差异。",
        },
        {
            "en": f"The group-sequential test calls {found.group_sequential:,} ({found.group_sequential_only:,} show "
            f"nothing at the end), the always-valid band {found.always_valid:,} ({found.always_valid_only:,}); the "
            f"last checkpoint alone {found.at_the_end:,}.",
            "zh-CN": f"成组序贯判定 {found.group_sequential:,} 个（其中 "
            f"{found.group_sequential_only:,} 个到最后无差异），任意时刻有效区间 {found.always_valid:,} 个"
            f"（{found.always_valid_only:,} 个）；仅看最后一个检查点则为 {found.at_the_end:,} 个。",
        },
    ]
    if found.arms_missing or found.arms_derived:
        told.append(
            {
                "en": f"{found.arms_missing + found.arms_derived:,} of {found.arms:,} variances are missing: "
                f"{found.arms_derived:,} follow from the mean of a metric that is 0 or 1, {found.arms_missing:,} "
                f"cannot be told. {found.without_variance:,} series are left out whole, "
                f"{found.partly_without:,} in part.",
                "zh-CN": f"{found.arms:,} 个方差中缺失 {found.arms_missing + found.arms_derived:,} 个："
                f"{found.arms_derived:,} 个由 0/1 指标的均值推出，{found.arms_missing:,} 个无法得知。"
                f"{found.without_variance:,} 个序列整体剔除，{found.partly_without:,} 个部分剔除。",
            }
        )
    if found.faulty:
        told.append(
            {
                "en": f"{found.faulty:,} checkpoints with fewer units than an earlier one are left out.",
                "zh-CN": f"{found.faulty:,} 个检查点的单元数少于更早的检查点，已剔除。",
            }
        )
    if found.srm_failed:
        told.append(
            {
                "en": f"Do not read the effects of {found.srm_failed:,} series: their units do not fit the split "
                "(SRM p <0.001).",
                "zh-CN": f"请勿解读 {found.srm_failed:,} 个序列的效果：分流与计划不符（SRM p <0.001）。",
            }
        )
    return told


def _table(found: Replay, lang: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=True, show_edge=False, header_style="dim")
    heads = {
        "en": (
            "Experiment",
            "Metric",
            "Variant",
            "Looks",
            "Units",
            "Peeked",
            "Group seq.",
            "Always-valid",
            "At the end",
        ),
        "zh-CN": ("实验", "指标", "方案", "检查点", "单元", "偷看", "成组序贯", "任意时刻有效", "最后"),
    }["zh-CN" if lang.startswith("zh") else "en"]
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place in (3, 4) else "left", no_wrap=True)
    previous = None
    for row in found.rows:
        ends = {True: {"en": "difference", "zh-CN": "有差异"}, False: {"en": "–", "zh-CN": "–"}}
        lacking = {"en": "no variance", "zh-CN": "没有方差"}
        table.add_row(
            row.experiment if row.experiment != previous else "",
            row.metric,
            row.variant,
            f"{row.checkpoints:,}",
            f"{row.units:,}",
            _call(row.peeked, row.peeked_share),
            _call(row.group_sequential, row.group_sequential_share),
            _call(row.always_valid, row.always_valid_share),
            say(lacking if row.at_the_end is None else ends[row.at_the_end], lang) + (" !" if row.srm_failed else ""),
        )
        previous = row.experiment
    return table


def _call(label: str | None, share: float | None) -> str:
    return "–" if label is None or share is None else f"{label} ({100 * share:.0f}%)"
